//! Silences in a list, maintenance windows among them: those that hold, those to come, those that
//! are over.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    act::{Ask, use_act},
    parts::{NEW, SILENCES, lasted, moment, part_hash, standing, use_role},
};
use crate::{
    components::state,
    format,
    hooks::{use_answer, use_seconds},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        fetch::Method,
    },
    platform,
    stores::{silences::Silence, stats::StatsStore},
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 5_000;

/// What is over is shown up to so many.
const OVER_MAX: usize = 50;

/// Props of [`SilenceList`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
}

/// From when to when, and how long yet.
fn time_words(silence: &Silence, now_ms: f64) -> String {
    let ends = format!("{} to {}", moment(silence.from_ms), moment(silence.to_ms));
    match silence.state.as_str() {
        "active" => format!("{ends}, {} left", lasted((silence.to_ms - now_ms).max(0.0))),
        "pending" => format!(
            "{ends}, begins in {}",
            lasted((silence.from_ms - now_ms).max(0.0))
        ),
        _ => ends,
    }
}

/// One of them; `on_end` ends it.
fn row(silence: &Silence, now_ms: f64, on_end: Option<&Callback<String>>) -> Html {
    let (trouble, word) = silence.standing();
    let end = on_end.filter(|_| !silence.is_over()).map(|on_end| {
        let (on_end, id) = (on_end.clone(), silence.id.clone());
        html! {
            <button
                class="button button--small"
                type="button"
                aria-label={["End now: ", &silence.text()].concat()}
                onclick={move |_: MouseEvent| on_end.emit(id.clone())}
            >
                { "End now" }
            </button>
        }
    });
    let again = on_end.map(|_| {
        let hash = [&part_hash(SILENCES), "/", NEW, "?like=", &encode_query(&silence.id)].concat();
        html! {
            <a class="button button--small" href={platform::with_hash(&hash)} aria-label={["Again: ", &silence.text()].concat()}>
                { "Again" }
            </a>
        }
    });
    html! {
        <li key={silence.id.clone()} class={classes!("silence", silence.is_over().then_some("is-old"))}>
            { state(trouble, word.to_owned()) }
            <span class="silence__what"><code>{ silence.text() }</code></span>
            <span class="silence__why">{ [&silence.comment, " — ", &silence.by].concat() }</span>
            <span class="silence__time">{ time_words(silence, now_ms) }</span>
            <span class="incident__acts">
                { end }
                { again }
            </span>
        </li>
    }
}

/// The list.
#[component]
pub(super) fn SilenceList(props: &Props) -> Html {
    use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let again = use_state_eq(|| 0_u64);
    let act = use_act(&props.endpoint);
    let role = use_role();
    let answer = use_answer(&props.endpoint, "/api/v2/silences".into(), EVERY_MS, *again);
    let silences = use_memo(answer.json.clone(), |json| {
        json.as_ref()
            .map_or_else(Vec::new, |json| Silence::read_all(json))
    });
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let on_end = {
        let (ask, again) = (act.ask.clone(), again.clone());
        Callback::from(move |id: String| {
            let again = again.clone();
            ask.emit(Ask {
                method: Method::Delete,
                path: ["/api/v2/silence/", &id].concat(),
                body: String::new(),
                on_done: Callback::from(move |_| again.set(*again + 1)),
            });
        })
    };
    let can_act = role.operates();
    let over = silences.iter().filter(|silence| silence.is_over()).count();
    let shown = silences.len() - over + over.min(OVER_MAX);
    let held = silences
        .iter()
        .filter(|silence| silence.state == "active")
        .count();
    let place = format!("{} now", format::count(held as u64, "silence", "silences"));
    html! {
        <>
            <div class="explore__head">
                <h2 class="visually-hidden">{ words::SILENCES }</h2>
                if can_act {
                    <a class="button button--primary" href={platform::with_hash(&[&part_hash(SILENCES), "/", NEW].concat())}>
                        { words::NEW_SILENCE }
                    </a>
                }
                <span class="explore__place" role="status">
                    if answer.json.is_some() {
                        { place }
                    }
                </span>
            </div>
            { act.problem_line() }
            { standing(answer.json.is_some(), answer.problem.as_ref()) }
            if answer.json.is_some() && silences.is_empty() {
                <p class="explore__empty panel">{ "Nothing is silent: everybody is told of everything that concerns them" }</p>
            }
            if !silences.is_empty() {
                <ol class="silences panel">
                    { for silences.iter().take(shown).map(|silence| row(silence, now_ms, can_act.then_some(&on_end))) }
                </ol>
            }
        </>
    }
}
