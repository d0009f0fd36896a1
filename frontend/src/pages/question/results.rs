//! Answers as tables: every value of every line, and values at one time.

use yew::prelude::*;

use super::use_asked::{Answers, name_of};
use crate::{
    format,
    markup::html,
    net::prom::Value,
    platform,
    stores::{answers::rows, question::Question, track::Track},
    words,
};

/// Rows of a table of values; the newest ones. All are in the CSV.
const ROWS_MAX: usize = 200;

/// A moment as it is read in a table.
fn moment(t_ms: f64) -> String {
    let offset_min = platform::zone_offset_min(t_ms);
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let at_ms = t_ms as i64;
    format!(
        "{} {}",
        format::date(at_ms, offset_min),
        format::clock(at_ms, offset_min)
    )
}

/// A row a moment, a column a line.
pub(super) fn values_over_time(track: &Track, missing: &'static str) -> Html {
    if track.lines.is_empty() {
        return html! { <p class="explore__empty panel" role="status">{ missing }</p> };
    }
    let rows = rows(track);
    let count = rows.len();
    let row = |(t_ms, row): &(f64, Vec<Option<f64>>)| {
        let cell = |value: &Option<f64>| {
            html! { <td>{ value.map(format::value) }</td> }
        };
        html! {
            <tr>
                <th scope="row">{ moment(*t_ms) }</th>
                { for row.iter().map(cell) }
            </tr>
        }
    };
    let caption = if count > ROWS_MAX {
        format!(
            "The newest {ROWS_MAX} of {} moments; all are in the CSV",
            format::grouped(count as u64)
        )
    } else {
        format::count(count as u64, "moment", "moments")
    };
    html! {
        <div class="windows panel questions__table" tabindex="0" role="region" aria-label="Values over time">
            <table>
                <caption>{ caption }</caption>
                <thead>
                    <tr>
                        <th scope="col">{ "Time" }</th>
                        { for track.lines.iter().map(|line| html! { <th scope="col"><code>{ line.key.clone() }</code></th> }) }
                    </tr>
                </thead>
                <tbody>{ for rows.iter().take(ROWS_MAX).map(row) }</tbody>
            </table>
        </div>
    }
}

/// A row for each value at the end of the time, as long as it is no number without sense.
pub(super) fn value_table(question: &Question, answers: &Answers) -> Html {
    let mut cells: Vec<Html> = Vec::new();
    for (index, asked) in answers.each.iter().enumerate() {
        for (name, value) in &asked.values {
            let (figure, exact) = match value {
                Value::Figure(figure) => (format::value(*figure), platform::digits(*figure)),
                Value::Text(text) => (text.clone(), String::new()),
            };
            let letter = match answers.each.len() {
                1 => "",
                _ => name_of(question, index),
            };
            cells.push(html! {
                <tr>
                    <th scope="row"><code>{ [letter, " ", name].concat() }</code></th>
                    <td title={exact}>{ figure }</td>
                </tr>
            });
        }
    }
    if cells.is_empty() {
        let is_loading = answers.each.iter().any(|asked| asked.is_loading);
        let words = if is_loading {
            words::LOADING_ALL
        } else {
            "Nothing has a value at this time"
        };
        return html! { <p class="explore__empty panel" role="status">{ words }</p> };
    }
    let caption = format!("At {}", moment(answers.values_ms));
    html! {
        <div class="windows panel questions__table" tabindex="0" role="region" aria-label="Values">
            <table>
                <caption>{ caption }</caption>
                <thead>
                    <tr><th scope="col">{ words::SERIES }</th><th scope="col">{ words::VALUE }</th></tr>
                </thead>
                <tbody>{ for cells }</tbody>
            </table>
        </div>
    }
}
