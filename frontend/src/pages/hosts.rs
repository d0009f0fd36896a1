//! Machines: all of them with the few figures that matter, the worst first; each leads to its own
//! page.

use web_sys::HtmlSelectElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

mod one;
mod panels;
mod processes;

pub use self::one::HostPage;
use crate::{
    chart::scale::within,
    components::{spark_path, state},
    format,
    hooks::{Answer, use_answer, use_seconds, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::Json,
    },
    platform,
    stores::{
        connection::ConnectionStore,
        hosts::{self, AGE, Host, LISTED, LISTED_S, QUESTIONS, Trouble, grouped, groupings, join},
        stats::StatsStore,
        view::Page,
    },
    words,
};

/// Figures are asked for anew this often.
const EVERY_MS: u32 = 2_000;

/// The list itself, and sparklines.
const SELDOM_MS: u32 = 15_000;

/// What a sparkline is of: so long, in steps as long as that, seconds.
const SPARK_S: (f64, f64) = (900.0, 30.0);

/// Props of [`Hosts`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

fn instant(question: &str) -> AttrValue {
    format!("/api/v1/query?query={}", encode_query(question)).into()
}

/// All hosts as they are known now, and whether that is all there is.
#[hook]
fn use_hosts(endpoint: &Endpoint) -> (Vec<Host>, Answer) {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let silent = format!("&lookback_delta={LISTED_S}");
    let listed = [&*instant(LISTED), &silent].concat();
    let age = [&*instant(AGE), &silent].concat();
    let listed = use_answer(endpoint, listed.into(), SELDOM_MS, 0);
    let age = use_answer(endpoint, age.into(), EVERY_MS, 0);
    let columns = [
        use_answer(endpoint, instant(QUESTIONS[0].1), EVERY_MS, 0),
        use_answer(endpoint, instant(QUESTIONS[1].1), EVERY_MS, 0),
        use_answer(endpoint, instant(QUESTIONS[2].1), SELDOM_MS, 0),
        use_answer(endpoint, instant(QUESTIONS[3].1), EVERY_MS, 0),
        use_answer(endpoint, instant(QUESTIONS[4].1), SELDOM_MS, 0),
        use_answer(endpoint, instant(QUESTIONS[5].1), SELDOM_MS, 0),
    ];
    // The same question until there is a further step.
    let part = (f64::from(seconds) / SPARK_S.1).floor();
    let sparks = use_memo(part.to_bits(), |_| {
        let now_s = (platform::now_ms() + stats.get().clock_offset_ms()) / 1_000.0;
        let to_s = (now_s / SPARK_S.1).floor() * SPARK_S.1;
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={}",
            encode_query(QUESTIONS[0].1),
            format::plain(to_s - SPARK_S.0),
            format::plain(to_s),
            format::plain(SPARK_S.1)
        );
        AttrValue::from(path)
    });
    let sparks = use_answer(endpoint, (*sparks).clone(), 0, 0);
    let json = |answer: &Answer| answer.json.clone().unwrap_or_default();
    let (list, ages, lines) = (json(&listed), json(&age), json(&sparks));
    let answered = columns.map(|answer| json(&answer));
    let answered: Vec<_> = QUESTIONS.iter().zip(&answered).collect();
    let answered: Vec<(hosts::Column, &Json)> = answered
        .into_iter()
        .map(|((column, _), json)| (*column, &**json))
        .collect();
    (join(&list, &ages, &answered, &lines), listed)
}

/// A share of a whole as a bar, with its figure beside it.
fn meter(name: &'static str, percent: f64, trouble: Trouble) -> Html {
    let class = match trouble {
        Trouble::None => "meter",
        Trouble::Warning => "meter meter--warning",
        Trouble::Critical => "meter meter--critical",
    };
    let width = format::fixed(within(percent, 0.0, 100.0), 1);
    let text = if percent.is_finite() {
        [&format::fixed(percent, 0), " %"].concat()
    } else {
        format::UNKNOWN.to_owned()
    };
    html! {
        <span class={class}>
            <span class="meter__name">{ name }</span>
            <svg class="meter__bar" width="100%" height="6" aria-hidden="true" focusable="false">
                <rect class="meter__track" width="100%" height="6" rx="3" />
                if percent.is_finite() {
                    <rect class="meter__used" width={[&width, "%"].concat()} height="6" rx="3" />
                }
            </svg>
            <span class="meter__figure">{ text }</span>
        </span>
    }
}

/// A figure with its name.
fn figure(name: &'static str, value: f64, unit: &str) -> Html {
    let (number, unit) = format::measure(value, unit);
    html! {
        <span class="host__figure">
            <span class="meter__name">{ name }</span>
            { format!("{number} {unit}") }
        </span>
    }
}

fn link_to(name: &str) -> String {
    let hash = format!("{}?host={}", Page::Hosts.hash(), encode_query(name));
    platform::with_hash(&hash)
}

/// One host as a row.
fn row(host: &Host) -> Html {
    let word = match host.worst() {
        _ if host.is_lost() => "lost",
        Trouble::None => "ok",
        Trouble::Warning => "warning",
        Trouble::Critical => "critical",
    };
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let age = format::duration((host.age_s * 1_000.0) as i64);
    let age = if host.is_lost() {
        words::stopped(&age)
    } else {
        [age.as_str(), " ago"].concat()
    };
    html! {
        <li key={host.name.as_str()} class={classes!("host", host.is_lost().then_some("is-old"))}>
            <span class="host__name">
                <a class="series-name" href={link_to(&host.name)}>{ host.name.clone() }</a>
                { state(host.worst(), word.to_owned()) }
            </span>
            <svg class="series-row__spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true" focusable="false">
                <path d={spark_path(&host.spark)} />
            </svg>
            { meter(words::CPU, host.cpu, host.cpu_trouble()) }
            { meter(words::MEMORY, host.memory, host.memory_trouble()) }
            { meter("Disk", host.disk, host.disk_trouble()) }
            { figure("Network", host.network, "B/s") }
            { figure(words::LOAD, host.load, "") }
            if host.temperature.is_finite() {
                { figure(words::HEAT, host.temperature, "°C") }
            } else {
                <span></span>
            }
            <span class="host__age">{ age }</span>
        </li>
    }
}

/// The list of all hosts.
#[component]
pub fn Hosts(Props { endpoint }: &Props) -> Html {
    let (all, listed) = use_hosts(endpoint);
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let label = use_state_eq(String::new);
    let labels = groupings(&all);
    let onchange = {
        let (label, labels) = (label.setter(), labels.clone());
        move |event: Event| {
            let menu = event.target_unchecked_into::<HtmlSelectElement>();
            let chosen = usize::try_from(menu.selected_index() - 1).ok();
            let chosen = chosen.and_then(|chosen| labels.get(chosen)).cloned();
            label.set(chosen.unwrap_or_default());
        }
    };
    let group = |(name, hosts): &(String, Vec<&Host>)| {
        html! {
            <section class="hosts__group" key={name.as_str()}>
                if !label.is_empty() {
                    <h3>{ format!("{} = {}", *label, if name.is_empty() { "–" } else { name }) }</h3>
                }
                <ol class={classes!("host-list", "panel", is_lost.then_some("is-old"))}>
                    { for hosts.iter().map(|host| row(host)) }
                </ol>
            </section>
        }
    };
    let count = format::count(all.len() as u64, "host", "hosts");
    let is_loading = listed.json.is_none() && listed.problem.is_none();
    html! {
        <section class="hosts" aria-label={Page::Hosts.label()}>
            <div class="explore__head">
                <h2>{ Page::Hosts.label() }</h2>
                <span class="explore__place" role="status">
                    { if is_loading { words::LOADING_ALL.to_owned() } else { count } }
                </span>
                if !labels.is_empty() {
                    <select class="field__input history-menu" aria-label="Group by label" {onchange}>
                        <option selected=true>{ words::NOT_GROUPED }</option>
                        { for labels.iter().map(|label| html! { <option>{ ["By ", label].concat() }</option> }) }
                    </select>
                }
            </div>
            if let Some(problem) = &listed.problem {
                <p class="explore__problem" role="alert">{ problem.in_words() }</p>
            }
            if !is_loading && all.is_empty() && listed.problem.is_none() {
                <div class="explore__empty panel">
                    <p>{ "No host sends figures yet. A host is whatever sends node_load1 with a label instance: this machine, node_exporter by a scrape, or an agent." }</p>
                </div>
            }
            { for grouped(&all, &label).iter().filter(|(_, hosts)| !hosts.is_empty()).map(group) }
        </section>
    }
}
