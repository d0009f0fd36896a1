//! Maintenance windows in a list: what each keeps quiet, when, and when it is open next.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::parts::{MAINTENANCE, NEW, lasted, moment, part_hash, standing, use_role};
use crate::{
    components::state,
    format,
    hooks::{use_answer, use_seconds},
    markup::html,
    net::config::{Endpoint, encode_query},
    platform,
    stores::{hosts::Trouble, maintenance::Window, silences::Matcher, stats::StatsStore},
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 15_000;

/// Props of [`WindowList`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
}

/// The address of a window.
fn hash_of(id: &str) -> String {
    [&part_hash(MAINTENANCE), "/", &encode_query(id)].concat()
}

/// When it is open, in words.
fn next_words(window: &Window, now_ms: f64) -> String {
    match window.next {
        Some((_, to_ms)) if window.is_open => {
            let left = lasted((to_ms - now_ms).max(0.0));
            format!("until {}, {left} left", moment(to_ms))
        }
        Some((from_ms, to_ms)) => format!("next {} to {}", moment(from_ms), moment(to_ms)),
        None => "not within a year".to_owned(),
    }
}

/// One of them.
fn row(window: &Window, now_ms: f64, can_act: bool) -> Html {
    let (trouble, word) = match window.is_open {
        true => (Trouble::Warning, "open now"),
        false => (Trouble::None, "closed"),
    };
    let matchers = window.matchers.iter().map(Matcher::text);
    let matchers = matchers.collect::<Vec<String>>().join(" ");
    let why = match window.comment.as_str() {
        "" => window.by.clone(),
        comment => [comment, " — ", &window.by].concat(),
    };
    let interval = |words: String| html! { <span class="window__interval">{ words }</span> };
    html! {
        <li key={window.id.clone()} class="silence window">
            { state(trouble, word.to_owned()) }
            <span class="silence__what">
                <strong class="window__name">{ window.name.clone() }</strong>
                { " " }
                <code>{ matchers }</code>
            </span>
            <span class="silence__why">
                { for window.intervals.iter().map(|one| interval(one.words())) }
                <span class="window__why">{ why }</span>
            </span>
            <span class="silence__time">
                { next_words(window, now_ms) }
                if let Some(until) = window.until() {
                    { [", over for good ", &until].concat() }
                }
            </span>
            <span class="incident__acts">
                if can_act {
                    <a class="button button--small" href={platform::with_hash(&hash_of(&window.id))}
                        aria-label={[words::EDIT, " ", &window.name].concat()}>
                        { words::EDIT }
                    </a>
                }
            </span>
        </li>
    }
}

/// The list.
#[component]
pub(super) fn WindowList(props: &Props) -> Html {
    use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let role = use_role();
    let answer = use_answer(&props.endpoint, "/api/maintenance".into(), EVERY_MS, 0);
    let windows = use_memo(answer.json.clone(), |json| {
        json.as_ref()
            .map_or_else(Vec::new, |json| Window::read_all(json))
    });
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let can_act = role.operates();
    let count = windows.len() as u64;
    html! {
        <>
            <div class="explore__head">
                <h2 class="visually-hidden">{ words::MAINTENANCE }</h2>
                if can_act {
                    <a class="button button--primary" href={platform::with_hash(&hash_of(NEW))}>{ words::NEW_WINDOW }</a>
                }
                <span class="explore__place" role="status">
                    if answer.json.is_some() {
                        { format::count(count, "window", "windows") }
                    }
                </span>
                <span class="explore__place">{ "Silences that come again by the calendar. Times of opening are those of the page." }</span>
            </div>
            { standing(answer.json.is_some(), answer.problem.as_ref()) }
            if answer.json.is_some() && windows.is_empty() {
                <p class="explore__empty panel">{ "No maintenance is planned. Alerts within a window go on and are listed, and nobody is told of them until it closes." }</p>
            }
            if !windows.is_empty() {
                <ol class="silences panel">
                    { for windows.iter().map(|window| row(window, now_ms, can_act)) }
                </ol>
            }
        </>
    }
}
