//! The processes of the server's machine that use most, as two tables.

use yew::prelude::*;

use crate::{format, markup::html, net::json::Json, words};

/// What a reading lists.
pub(super) struct Processes<'a> {
    cpu: &'a [Json],
    memory: &'a [Json],
    count: u64,
}

impl<'a> Processes<'a> {
    /// Of one reading.
    pub(super) fn of(reading: &'a Json) -> Self {
        Self {
            cpu: reading.get("cpu").list(),
            memory: reading.get("memory").list(),
            count: reading.get("count").count().unwrap_or(0),
        }
    }

    /// Both tables.
    pub(super) fn view(&self) -> Html {
        html! {
            <div class="host-page__tables">
                { table("Processes by processor", self.cpu, self.count) }
                { table("Processes by memory", self.memory, self.count) }
            </div>
        }
    }
}

fn table(title: &'static str, rows: &[Json], count: u64) -> Html {
    let row = |process: &Json| {
        let memory = format::measure(process.get("memory_bytes").figure(), "B");
        let cpu = format::figure(process.get("cpu_percent").figure());
        html! {
            <tr>
                <th scope="row">{ process.text_of("name").to_owned() }</th>
                <td>{ format::plain(process.get("pid").figure()) }</td>
                <td>{ [&cpu, " %"].concat() }</td>
                <td>{ [&memory.0, " ", &memory.1].concat() }</td>
            </tr>
        }
    };
    let caption = format!("{title}: {} of {}", rows.len(), format::grouped(count));
    html! {
        <div class="windows panel" tabindex="0" role="region" aria-label={title}>
            <table>
                <caption>{ caption }</caption>
                <thead>
                    <tr>
                        <th scope="col">{ words::NAME }</th>
                        <th scope="col">{ "PID" }</th>
                        <th scope="col">{ words::CPU }</th>
                        <th scope="col">{ words::MEMORY }</th>
                    </tr>
                </thead>
                <tbody>{ for rows.iter().map(row) }</tbody>
            </table>
        </div>
    }
}
