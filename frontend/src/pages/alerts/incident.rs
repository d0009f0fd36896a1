//! One incident: what it is, its chart, its course, who was told and who was not and why; and what
//! can be done about it.

use std::rc::Rc;

use web_sys::HtmlInputElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    acknowledge::{self, Acknowledge},
    act::{Act, Ask, use_act},
    list::{all_alerts, silence_hash},
    parts::{lasted, moment, standing, use_news, use_role},
    preview::Preview,
};
use crate::{
    chart::trace::Band,
    components::use_time_bar,
    format,
    hooks::use_answer,
    markup::html,
    net::{
        config::Endpoint,
        fetch::{self, Method},
        json::quote,
    },
    platform,
    stores::{
        incidents::{Detail, Entry, Incident, links},
        question::Question,
        rules::limit_of,
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
        view::time_hash,
    },
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 5_000;

/// What is shown before and behind the stretch at the least, milliseconds.
const AROUND_MS: f64 = 900_000.0;

/// Props of [`IncidentPage`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// Names it.
    pub(super) incident: AttrValue,
    /// What the address asks, such as which time is shown.
    pub(super) asked: AttrValue,
}

/// The time around an incident: half as long again before and behind it.
fn around(incident: &Incident, now_ms: f64) -> TimeRange {
    let length_ms = incident.lasted_ms(now_ms);
    let beside_ms = (length_ms / 2.0).max(AROUND_MS);
    match incident.ended_ms {
        Some(ended_ms) => {
            let to_ms = (ended_ms + beside_ms).min(now_ms);
            TimeRange::between(incident.started_ms - beside_ms, to_ms)
        }
        // In steps, so that the same is asked for again.
        None => TimeRange::last(((length_ms + beside_ms) / 60_000.0).ceil() * 60_000.0),
    }
}

/// Facts about it, each with its name.
fn facts(detail: &Detail, now_ms: f64) -> Html {
    let incident = &detail.incident;
    let fact = |name: &'static str, value: String| {
        html! { <div><dt>{ name }</dt><dd>{ value }</dd></div> }
    };
    let began = moment(incident.started_ms);
    let age = lasted(incident.lasted_ms(now_ms));
    let held = incident.acknowledged.as_ref().map(|of| {
        let until = of.until_ms.map_or_else(
            || [" ", words::UNTIL_IT_ENDS].concat(),
            |until_ms| [" until ", &moment(until_ms)].concat(),
        );
        let comment = if of.comment.is_empty() { "" } else { ": " };
        [&of.by, until.as_str(), comment, &of.comment].concat()
    });
    let receivers = match incident.receivers.is_empty() {
        true => "nobody".to_owned(),
        false => incident.receivers.join(", "),
    };
    let week = format::count(detail.week, "time", "times");
    html! {
        <dl class="facts panel">
            { fact(words::VALUE, format::value(incident.value)) }
            if incident.threshold.is_finite() {
                { fact(words::LIMIT, format::value(incident.threshold)) }
            }
            { fact("Began", began) }
            { fact(if incident.is_firing { "Firing for" } else { "Lasted" }, age) }
            { fact("Within a week", week) }
            { fact("Goes to", receivers) }
            { fact("Notifications sent", format::grouped(incident.notified)) }
            if let Some(held) = held {
                { fact("Has it", held) }
            }
        </dl>
    }
}

/// Labels and annotations, as text.
fn described(incident: &Incident) -> Html {
    let label = |(name, value): &(String, String)| {
        html! { <li><code>{ [name, "=", &quote(value)].concat() }</code></li> }
    };
    let annotation = |(name, value): &(String, String)| {
        html! { <div><dt>{ format::spaced(name) }</dt><dd>{ value.clone() }</dd></div> }
    };
    html! {
        <div class="incident-page__texts panel">
            <h3>{ words::LABELS }</h3>
            <ul class="incident-page__labels">{ for incident.labels.iter().map(label) }</ul>
            if !incident.annotations.is_empty() {
                <dl class="facts">{ for incident.annotations.iter().map(annotation) }</dl>
            }
        </div>
    }
}

/// What happened, the newest first.
fn timeline(entries: &[Entry]) -> Html {
    let entry = |entry: &Entry| {
        html! {
            <li class={classes!("course__entry", (!entry.class.is_empty()).then(|| format!("course__entry--{}", entry.class)))}>
                <span class="course__time">{ moment(entry.at_ms) }</span>
                <span class="course__words">{ entry.words.clone() }</span>
            </li>
        }
    };
    html! {
        <section class="course panel" aria-label={words::COURSE}>
            <h3>{ words::COURSE }</h3>
            if entries.is_empty() {
                <p class="explore__empty">{ "Nothing is kept of it" }</p>
            } else {
                <ol class="course__list">{ for entries.iter().rev().map(entry) }</ol>
            }
        </section>
    }
}

/// What belongs to it elsewhere: the runbook, the dashboard, the question, all in one file.
fn leads(detail: &Detail, time: TimeRange, on_capsule: Callback<MouseEvent>) -> Html {
    let link = |(called, address): (String, String)| {
        html! { <a class="button" href={address} target="_blank" rel="noopener noreferrer">{ called }</a> }
    };
    let question = Question {
        expressions: vec![detail.expression.clone()],
        time,
        ..Question::default()
    };
    html! {
        <div class="incident-page__leads">
            { for links(&detail.incident.annotations).into_iter().map(link) }
            if !detail.expression.is_empty() {
                <a class="button" href={platform::with_hash(&question.hash())}>{ words::EXPLORE_IT }</a>
            }
            <button class="button" type="button" onclick={on_capsule} title="One file with all of it, to keep or to send">
                { "Download capsule" }
            </button>
        </div>
    }
}

/// A field for a comment.
#[hook]
fn use_comment(props: &Props, again: &Callback<()>) -> Html {
    let act = use_act(&props.endpoint);
    let text = use_state_eq(String::new);
    let onsubmit = {
        let (ask, text, incident) = (act.ask.clone(), text.clone(), props.incident.clone());
        let again = again.clone();
        move |event: SubmitEvent| {
            event.prevent_default();
            let words = text.trim().to_owned();
            if words.is_empty() {
                return;
            }
            let (text, again) = (text.setter(), again.clone());
            ask.emit(Ask {
                method: Method::Post,
                path: ["/api/alerts/", &incident, "/comments"].concat(),
                body: format!("{{\"text\":{}}}", quote(&words)),
                on_done: Callback::from(move |_| {
                    text.set(String::new());
                    again.emit(());
                }),
            });
        }
    };
    let oninput = {
        let text = text.setter();
        move |event: InputEvent| {
            text.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    html! {
        <form class="form form--inline" aria-label={words::COMMENT} {onsubmit}>
            <label class="field">
                <span class="field__label">{ "Say something about it" }</span>
                <input class="field__input" autocomplete="off" value={(*text).clone()} {oninput} />
            </label>
            <button class="button" type="submit" disabled={act.is_busy}>{ "Add comment" }</button>
            { act.problem_line() }
        </form>
    }
}

/// What an operator can do.
fn acts(
    incident: &Incident,
    act: &Act,
    on_open: Callback<MouseEvent>,
    again: &Callback<()>,
) -> Html {
    let on_back = {
        let (ask, path) = (act.ask.clone(), acknowledge::path(&incident.id));
        let again = again.clone();
        move |_: MouseEvent| {
            ask.emit(Ask {
                method: Method::Delete,
                path: path.clone(),
                body: String::new(),
                on_done: again.reform(|_| ()),
            });
        }
    };
    html! {
        <div class="incident-page__acts">
            if incident.acknowledged.is_none() {
                <button class="button button--primary" type="button" onclick={on_open}>{ words::ACKNOWLEDGE }</button>
            } else {
                <button class="button" type="button" disabled={act.is_busy} onclick={on_back}>
                    { "Take acknowledgement back" }
                </button>
            }
            <a class="button" href={platform::with_hash(&silence_hash(&incident.id))}>{ words::SILENCE }</a>
            { act.problem_line() }
        </div>
    }
}

/// One incident.
#[component]
pub(super) fn IncidentPage(props: &Props) -> Html {
    let (_, revision) = use_news();
    let stats = use_dispatch::<StatsStore>();
    let tries = use_state_eq(|| 0_u64);
    let is_open = use_state_eq(|| false);
    let role = use_role();
    let act = use_act(&props.endpoint);
    let path = ["/api/alerts/", &*props.incident].concat();
    let answer = use_answer(
        &props.endpoint,
        path.clone().into(),
        EVERY_MS,
        *tries + revision,
    );
    let again = {
        let (tries, is_open) = (tries.clone(), is_open.setter());
        Callback::from(move |()| {
            is_open.set(false);
            tries.set(*tries + 1);
        })
    };
    let comment = use_comment(props, &again);
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let json = answer.json.clone().unwrap_or_default();
    let detail = Detail::read(&json, moment);
    let incident = detail.as_ref().map(|detail| detail.incident.clone());
    let zone = platform::zone_offset_min;
    let time = TimeRange::read(&props.asked, now_ms, zone);
    let time = time.or_else(|| incident.as_ref().map(|incident| around(incident, now_ms)));
    let time = time.unwrap_or_default();
    let on_time = Callback::from(|time: TimeRange| {
        platform::go(&time_hash(&platform::hash(), time));
    });
    let time_bar = use_time_bar(time, now_ms, &on_time);
    // The end of what goes on is now; in steps, so that the chart is not painted for nothing.
    let ends = incident.as_ref().map(|incident| {
        let to_ms = incident
            .ended_ms
            .unwrap_or_else(|| (now_ms / 1_000.0).ceil() * 1_000.0);
        (incident.started_ms, to_ms)
    });
    let bands = use_memo(
        ends.map(|(from, to)| (from.to_bits(), to.to_bits())),
        move |_| {
            let band = ends.map(|(from_ms, to_ms)| Band {
                from_ms,
                to_ms,
                is_firing: true,
                row: 0,
            });
            Shared::new(band.into_iter().collect::<Vec<Band>>())
        },
    );
    let labels = incident.as_ref().map(|incident| incident.labels.clone());
    let only = use_memo(labels, |labels| labels.clone().unwrap_or_default());
    let on_capsule = {
        let (endpoint, path) = (props.endpoint.clone(), [&path, "/capsule"].concat());
        let name = ["incident-", &*props.incident, ".html"].concat();
        Callback::from(move |_: MouseEvent| download(&endpoint, &path, &name))
    };
    let Some(Detail { incident, .. }) = &detail else {
        let is_missing = answer
            .problem
            .as_ref()
            .is_some_and(|problem| problem.status == 404);
        return html! {
            <>
                if is_missing {
                    <div class="explore__empty panel">
                        <p>{ "No alert has this address, or it is older than what is kept" }</p>
                        <p><a class="button" href={all_alerts()}>{ words::ACTIVE_ALERTS }</a></p>
                    </div>
                } else {
                    { standing(false, answer.problem.as_ref()) }
                }
            </>
        };
    };
    let expression = detail.as_ref().map_or("", |detail| &detail.expression);
    let limit = limit_of(expression);
    let compared = limit.map_or(expression, |limit| limit.compared(expression));
    let on_open = {
        let is_open = is_open.setter();
        Callback::from(move |_: MouseEvent| is_open.set(true))
    };
    let can_act = role.operates();
    let severity = incident.severity.as_str();
    html! {
        <article class={classes!("incident-page", format!("alert-{severity}"), (!incident.is_firing).then_some("is-over"))}>
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={all_alerts()}>{ "← All alerts" }</a>
            </nav>
            <div class="incident-page__head">
                <span class="severity">{ severity.to_ascii_uppercase() }</span>
                <h2>{ incident.message.clone() }</h2>
                <span class="mark">{ if incident.is_firing { "Firing" } else { words::OVER } }</span>
                { for incident.marks().into_iter().map(|mark| html! { <span class="mark">{ mark }</span> }) }
            </div>
            { standing(true, answer.problem.as_ref()) }
            if can_act && incident.is_firing {
                if *is_open {
                    <Acknowledge endpoint={props.endpoint.clone()} incident={props.incident.clone()} on_done={again.clone()} />
                } else {
                    { acts(incident, &act, on_open, &again) }
                }
            }
            if let Some(detail) = &detail {
                { facts(detail, now_ms) }
                { leads(detail, time, on_capsule) }
            }
            if !expression.is_empty() {
                <div class="incident-page__chart">
                    <div class="explore__head">
                        <code class="incident-page__expression">{ expression.to_owned() }</code>
                        <div class="open-series__ranges">{ time_bar }</div>
                    </div>
                    <Preview
                        endpoint={props.endpoint.clone()}
                        expression={compared.to_owned()}
                        title={incident.rule.clone()}
                        {time}
                        bands={(*bands).clone()}
                        limit={limit.map(|limit| limit.value)}
                        only={Rc::clone(&only)}
                    />
                </div>
            }
            <div class="incident-page__parts">
                if let Some(detail) = &detail {
                    { timeline(&detail.timeline) }
                }
                { described(incident) }
            </div>
            if can_act {
                { comment }
            }
        </article>
    }
}

/// Saves what is at `path`. A page of another origin has a token that a link would not show.
pub(super) fn download(endpoint: &Endpoint, path: &str, name: &str) {
    if !endpoint.is_foreign(&platform::page_origin()) {
        return platform::save(&endpoint.http(path), name);
    }
    let (endpoint, path, name) = (endpoint.clone(), path.to_owned(), name.to_owned());
    wasm_bindgen_futures::spawn_local(async move {
        if let Ok(text) = fetch::call(&endpoint, &path, None).await {
            let text = crate::net::config::encode_query(&text);
            platform::save(&["data:application/octet-stream,", &text].concat(), &name);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::json::Json;

    #[test]
    fn the_time_around_an_incident_is_shown() {
        let read = |ended: &str| {
            let json = format!(
                r#"{{"incident":"a","severity":"low","state":"x","started":"1970-01-01T10:00:00Z","ended":{ended}}}"#
            );
            Incident::read(&Json::parse(&json).expect("JSON")).expect("an incident")
        };
        let hour = 3_600_000.0;
        let over = around(&read("\"1970-01-01T11:00:00Z\""), 20.0 * hour);
        assert_eq!(over, TimeRange::between(9.5 * hour, 11.5 * hour));
        let young = around(&read("null"), 10.0 * hour + 60_000.0);
        assert_eq!(young, TimeRange::last(16.0 * 60_000.0));
    }
}
