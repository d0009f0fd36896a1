//! One machine: what it does with its parts, over the time that is shown.

use yew::prelude::*;

use super::{panels::Panel, processes::Processes};
use crate::{
    components::{AlertFeed, use_time_bar},
    hooks::use_answer,
    markup::html,
    net::config::{Endpoint, encode_query},
    platform,
    stores::{
        time::TimeRange,
        view::{Page, time_hash},
    },
    words,
};

/// Props of [`HostPage`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// The value of its label `instance`.
    pub host: AttrValue,
    /// The time that is shown.
    pub time: TimeRange,
}

/// What a machine is looked at for: a heading, the unit, and the question; `$` stands for the
/// matcher of its label `instance`.
const PANELS: [(&str, &str, &str); 12] = [
    (
        "Processors, each",
        "%",
        "100*(1-max by(cpu)(rate(node_cpu_seconds_total{$,mode=\"idle\"}[1m])))",
    ),
    (
        "Processors by mode",
        "%",
        "100*avg by(mode)(rate(node_cpu_seconds_total{$,mode!=\"idle\"}[1m]))",
    ),
    (
        "Memory by kind",
        "B",
        "{$,__name__=~\"node_memory_(MemTotal|MemAvailable|MemFree|Cached|Buffers|AnonPages|Slab|SwapTotal|SwapFree)_bytes\"}",
    ),
    (
        "File systems, used",
        "%",
        "100*max by(mountpoint)(1-node_filesystem_avail_bytes{$}/node_filesystem_size_bytes)",
    ),
    (
        "Disks",
        "B/s",
        "label_replace(sum by(device)(rate(node_disk_read_bytes_total{$}[1m])),\"way\",\"read\",\"\",\"\")or label_replace(sum by(device)(rate(node_disk_written_bytes_total{$}[1m])),\"way\",\"written\",\"\",\"\")",
    ),
    (
        "Networks",
        "B/s",
        "label_replace(sum by(device)(rate(node_network_receive_bytes_total{$,device!=\"lo\"}[1m])),\"way\",\"in\",\"\",\"\")or label_replace(sum by(device)(rate(node_network_transmit_bytes_total{$,device!=\"lo\"}[1m])),\"way\",\"out\",\"\",\"\")",
    ),
    (words::LOAD, "", "{$,__name__=~\"node_load(1|5|15)\"}"),
    (
        "Pressure, time that somebody waited",
        "%",
        "100*(label_replace(max(rate(node_pressure_cpu_waiting_seconds_total{$}[1m])),\"for\",\"cpu\",\"\",\"\")or label_replace(max(rate(node_pressure_memory_waiting_seconds_total{$}[1m])),\"for\",\"memory\",\"\",\"\")or label_replace(max(rate(node_pressure_io_waiting_seconds_total{$}[1m])),\"for\",\"io\",\"\",\"\"))",
    ),
    (
        words::HEAT,
        "°C",
        "max by(chip,sensor)(node_hwmon_temp_celsius{$})",
    ),
    (
        "Containers, processors",
        "%",
        "100*topk(8,sum by(name,id)(rate(container_cpu_usage_seconds_total{$}[1m])))",
    ),
    (
        "Containers, memory",
        "B",
        "topk(8,sum by(name,id)(container_memory_working_set_bytes{$}))",
    ),
    (
        "Processes of the machine",
        "",
        "{$,__name__=~\"node_procs_(running|blocked)\"}",
    ),
];

/// What the machine calls itself, and what runs on it: of `node_uname_info`.
fn described(json: &crate::net::json::Json) -> String {
    let series = json.get("data").get("result").list().first();
    let labels = series.map(|series| series.get("metric"));
    let parts = ["nodename", "sysname", "release", "machine"];
    let parts = parts.iter().filter_map(|name| labels?.get(name).text());
    parts.collect::<Vec<_>>().join(" · ")
}

/// One machine.
#[component]
pub fn HostPage(props: &Props) -> Html {
    let now_ms = platform::now_ms();
    let on_time = Callback::from(|time: TimeRange| {
        platform::go(&time_hash(&platform::hash(), time));
    });
    let time_bar = use_time_bar(props.time, now_ms, &on_time);
    let matcher = ["instance=", &crate::net::json::quote(&props.host)].concat();
    let path = format!(
        "/api/v1/query?query={}",
        encode_query(&["node_uname_info{", &matcher, "}"].concat())
    );
    let info = use_answer(&props.endpoint, path.into(), 60_000, 0);
    let own = use_answer(&props.endpoint, "/api/processes".into(), 5_000, 0);
    let own = own.json.unwrap_or_default();
    let is_own = own.text_of("instance") == &*props.host;
    let info = info.json.unwrap_or_default();
    let panel = |(title, unit, question): &(&'static str, &'static str, &'static str)| {
        let question = question.replace('$', &matcher);
        html! {
            <Panel
                key={*title}
                endpoint={props.endpoint.clone()}
                title={*title}
                unit={*unit}
                {question}
                time={props.time}
                on_time={on_time.clone()}
            />
        }
    };
    html! {
        <section class="host-page" aria-label={["Host ", &props.host].concat()}>
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={platform::with_hash(Page::Hosts.hash())}>{ "← All hosts" }</a>
            </nav>
            <div class="open-series__head">
                <h2>{ props.host.to_string() }</h2>
                <span class="open-series__state">{ described(&info) }</span>
                <div class="open-series__ranges">{ time_bar }</div>
            </div>
            <div class="host-page__panels">{ for PANELS.iter().map(panel) }</div>
            if is_own {
                { processes(&own) }
                { alerts() }
            }
        </section>
    }
}

/// What is wrong with the machine that the server runs on.
fn alerts() -> Html {
    html! { <AlertFeed /> }
}

/// The processes that use most.
fn processes(json: &crate::net::json::Json) -> Html {
    let readings = json.get("readings").list();
    match readings.last() {
        Some(newest) => Processes::of(newest).view(),
        None => Html::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_of_the_machine() {
        for (title, _, question) in PANELS {
            assert!(question.contains("{$"), "{title}");
        }
    }
}
