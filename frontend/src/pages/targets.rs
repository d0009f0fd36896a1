//! What comes in: the targets that are scraped, and what senders send, with what was refused; and
//! what is sent on.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::{refusal, state},
    format,
    hooks::{use_answer, use_effect_with, use_seconds},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::Json,
    },
    platform,
    stores::{
        hosts::Trouble,
        receivers::{self, Receiver},
        stats::StatsStore,
        targets::{Target, read},
        time::duration,
        view::Page,
    },
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 3_000;

/// Targets that are shown; those that are down come first.
const SHOWN_MAX: usize = 500;

/// A receiver that is no more than this behind has what there is, in milliseconds: samples are
/// gathered before they are sent.
const UP_TO_DATE_MS: f64 = 10_000.0;

/// Props of [`Targets`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// So many samples; `––` where that is not known.
fn samples(number: f64) -> String {
    let word = if number == 1.0 { " sample" } else { " samples" };
    [&count(number), word].concat()
}

/// A count of any size, with its thousands told apart.
fn count(number: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    match number >= 0.0 {
        true => format::grouped(number as u64),
        false => format::value(number),
    }
}

/// One target as a row.
fn row(target: &Target, now_ms: f64) -> Html {
    let last = target.last_ms.map_or_else(
        || "never".to_owned(),
        |last_ms| {
            #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
            let age = format::duration((now_ms - last_ms) as i64);
            [&age, " ago"].concat()
        },
    );
    let trouble = match target.health.as_str() {
        "up" => Trouble::None,
        "down" => Trouble::Critical,
        _ => Trouble::Warning,
    };
    let took = format::value((target.took_s * 1_000.0).round());
    let every = duration(&target.interval).map_or_else(
        || target.interval.clone(),
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        |ms| format::duration(ms as i64),
    );
    html! {
        <li key={[&target.pool, " ", &target.url].concat()} class="target">
            { state(trouble, target.health.clone()) }
            <span class="target__place">
                <span class="series-name">{ target.url.clone() }</span>
                { " " }
                <span class="series-name__labels">{ target.labels.clone() }</span>
            </span>
            <span>{ format!("{last}, every {every}") }</span>
            <span>{ [&took, " ms"].concat() }</span>
            <span>{ samples(target.samples) }</span>
            if target.is_down() {
                <span class="target__error">{ target.error.clone() }</span>
            }
            <details class="target__more">
                <summary>{ "Labels before relabelling" }</summary>
                <code>{ target.discovered.clone() }</code>
            </details>
        </li>
    }
}

/// Targets that are scraped.
#[hook]
fn use_targets(endpoint: &Endpoint) -> Html {
    use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let answer = use_answer(endpoint, "/api/v1/targets?state=active".into(), EVERY_MS, 0);
    let samples = format!(
        "/api/v1/query?query={}",
        encode_query("scrape_samples_scraped")
    );
    let samples = use_answer(endpoint, samples.into(), EVERY_MS, 0);
    let json = answer.json.clone().unwrap_or_default();
    let targets = read(&json, &samples.json.unwrap_or_default());
    let down = targets.iter().filter(|target| target.is_down()).count();
    let words = match &answer.problem {
        _ if answer.json.is_none() && answer.problem.is_none() => words::LOADING_ALL.to_owned(),
        // A server that cannot scrape.
        Some(problem) if problem.status == 404 => String::new(),
        Some(problem) => problem.in_words(),
        None => {
            let all = format::count(targets.len() as u64, "target", "targets");
            match down {
                0 => all,
                _ => format!("{all}, {} down", format::grouped(down as u64)),
            }
        }
    };
    let warnings = json.get("warnings").list().iter().filter_map(Json::text);
    let is_unable = answer
        .problem
        .as_ref()
        .is_some_and(|problem| problem.status == 404);
    let is_none = targets.is_empty() && (answer.json.is_some() || is_unable);
    html! {
        <section class="targets" aria-label="Scraped">
            <div class="explore__head">
                <h2>{ Page::Targets.label() }</h2>
                <span class="explore__place" role="status">{ words }</span>
            </div>
            { for warnings.map(|warning| html! { <p class="explore__problem">{ warning.to_owned() }</p> }) }
            if is_none {
                <div class="explore__empty panel">
                    <p>{ "Nothing is scraped. A prometheus.yml in PROMETHEUS_CONFIG names targets." }</p>
                </div>
            }
            if !targets.is_empty() {
                <ol class="target-list panel">
                    { for targets.iter().take(SHOWN_MAX).map(|target| row(target, now_ms)) }
                </ol>
            }
        </section>
    }
}

/// How much came a second between two answers.
fn rate(before: Option<(f64, f64)>, now: (f64, f64)) -> f64 {
    before.map_or(f64::NAN, |(at_ms, count)| {
        let passed_s = (now.0 - at_ms) / 1_000.0;
        if passed_s > 0.0 && now.1 >= count {
            (now.1 - count) / passed_s
        } else {
            f64::NAN
        }
    })
}

/// What senders send.
#[hook]
fn use_ingest(endpoint: &Endpoint) -> Html {
    let answer = use_answer(endpoint, "/api/ingest".into(), EVERY_MS, 0);
    let before = use_mut_ref(|| None::<(f64, f64)>);
    let rate_now = use_state(|| f64::NAN);
    {
        let rate_now = rate_now.setter();
        use_effect_with(answer.json.clone(), move |json| {
            if let Some(json) = json {
                let now = (platform::now_ms(), json.get("accepted").figure());
                rate_now.set(rate(before.replace(Some(now)), now));
            }
        });
    }
    let json = answer.json.unwrap_or_default();
    let refusals = json.get("refusals").list();
    let reasons = json.get("refused").entries();
    let fact = |name: &'static str, value: String| {
        html! { <div><dt>{ name }</dt><dd>{ value }</dd></div> }
    };
    let reason = |(reason, count): &(String, Json)| {
        let count = self::count(count.figure());
        html! { <div><dt>{ ["Refused: ", &format::spaced(reason)].concat() }</dt><dd>{ count }</dd></div> }
    };
    html! {
        <section class="targets" aria-label="Sent">
            <div class="explore__head">
                <h2>{ "Sent here" }</h2>
                <span class="explore__place">{ json.text_of("tenant").to_owned() }</span>
            </div>
            <dl class="facts panel">
                { fact("Samples taken", count(json.get("accepted").figure())) }
                { fact("Samples /s", format::value(*rate_now)) }
                { fact("Values that were replaced", count(json.get("replaced").figure())) }
                { fact(words::SERIES, count(json.get("series").figure())) }
                { for reasons.iter().map(reason) }
            </dl>
            <h3>{ "Last refused" }</h3>
            if refusals.is_empty() {
                <p class="explore__empty panel">{ "Nothing was refused since the start" }</p>
            } else {
                <ol class="refusals panel">
                    { for refusals.iter().map(|of_it| html! { <li>{ refusal(of_it) }</li> }) }
                </ol>
            }
        </section>
    }
}

/// How a receiver does, as what is said beside its name.
fn receiver_words(receiver: &Receiver) -> [String; 3] {
    let (bytes, unit) = format::measure(receiver.bytes, "B");
    let wait = match receiver.waiting == 0.0 {
        true => "nothing waits".to_owned(),
        false => format!("{} wait, {bytes} {unit}", samples(receiver.waiting)),
    };
    let behind = match receiver.behind_ms {
        None => "nothing sent yet".to_owned(),
        Some(behind_ms) if behind_ms < UP_TO_DATE_MS => "up to date".to_owned(),
        #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
        Some(behind_ms) => [&format::duration(behind_ms as i64), " behind"].concat(),
    };
    let mut done = [&count(receiver.sent), " sent"].concat();
    for (number, word) in [
        (receiver.refused, " refused"),
        (receiver.given_up, " given up"),
    ] {
        if number > 0.0 {
            done = [&done, " · ", &count(number), word].concat();
        }
    }
    [behind, wait, done]
}

/// One receiver as a row.
fn receiver(receiver: &Receiver) -> Html {
    let lost = receiver.refused + receiver.given_up;
    let (trouble, health) = match receiver.is_retried {
        true => (Trouble::Critical, words::TRYING_AGAIN),
        false if lost > 0.0 => (Trouble::Warning, "ok"),
        false => (Trouble::None, "ok"),
    };
    html! {
        <li key={receiver.name.clone()} class="target target--receiver">
            { state(trouble, health.to_owned()) }
            <span class="target__place">
                <span class="series-name">{ receiver.name.clone() }</span>
                { " " }
                <span class="series-name__labels">{ receiver.url.clone() }</span>
            </span>
            { for receiver_words(receiver).map(|words| html! { <span>{ words }</span> }) }
            if !receiver.error.is_empty() {
                <span class="target__error">{ receiver.error.clone() }</span>
            }
        </li>
    }
}

/// To whom samples are sent on.
#[hook]
fn use_receivers(endpoint: &Endpoint) -> Html {
    let path = "/api/v1/status/remote_write";
    let answer = use_answer(endpoint, path.into(), EVERY_MS, 0);
    let Some(json) = &answer.json else {
        return Html::default();
    };
    let receivers = receivers::read(json);
    let place = match receivers.is_empty() {
        true => String::new(),
        false => format::count(receivers.len() as u64, "receiver", "receivers"),
    };
    html! {
        <section class="targets" aria-label="Sent to others">
            <div class="explore__head">
                <h2>{ "Sent on" }</h2>
                <span class="explore__place">{ place }</span>
            </div>
            if receivers.is_empty() {
                <p class="explore__empty panel">
                    { "Nothing is sent on. remote_write in the file of PROMETHEUS_CONFIG names receivers." }
                </p>
            } else {
                <ol class="target-list panel">{ for receivers.iter().map(receiver) }</ol>
            }
        </section>
    }
}

/// Targets, what is sent, and what is sent on.
#[component]
pub fn Targets(Props { endpoint }: &Props) -> Html {
    let scraped = use_targets(endpoint);
    let sent = use_ingest(endpoint);
    let sent_on = use_receivers(endpoint);
    html! {
        <div class="incoming">
            { scraped }
            { sent }
            { sent_on }
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_how_far_it_is() {
        let mut receiver = Receiver {
            waiting: 252_079.0,
            bytes: 7_415_936.0,
            ..Receiver::default()
        };
        assert_eq!(
            receiver_words(&receiver),
            [
                "nothing sent yet",
                "252\u{a0}079 samples wait, 7.416 MB",
                "0 sent"
            ]
        );
        receiver = Receiver {
            behind_ms: Some(65_000.0),
            sent: 5.0,
            refused: 2.0,
            given_up: 1.0,
            ..Receiver::default()
        };
        assert_eq!(
            receiver_words(&receiver),
            [
                "1 min 5 s behind",
                "nothing waits",
                "5 sent · 2 refused · 1 given up"
            ]
        );
        receiver.behind_ms = Some(4_000.0);
        assert_eq!(receiver_words(&receiver)[0], "up to date");
    }

    #[test]
    fn a_rate_needs_two_counts() {
        assert!(rate(None, (1_000.0, 5.0)).is_nan());
        assert_eq!(rate(Some((1_000.0, 5.0)), (3_000.0, 25.0)), 10.0);
        assert!(
            rate(Some((1_000.0, 50.0)), (3_000.0, 25.0)).is_nan(),
            "it began anew"
        );
    }
}
