//! Asks for what the charts are to show and no stream tells: what the page was not there for (and
//! says so when that fails), and the operator's threshold.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    format,
    hooks::{use_answer, use_effect_with, use_falls_back, use_selector},
    markup::html,
    net::{config::Endpoint, rooms::Follow},
    stores::{
        change::Change,
        feeds::FeedStore,
        operator::OperatorStore,
        stats::{Past, StatsStore},
        view::{Range, ViewStore},
    },
};

/// What was not answered is asked for again after this time.
const AGAIN_MS: u32 = 5_000;

/// The operator's threshold may be set by somebody else. Where no socket opens, on which it comes
/// with the operator's figures, it is looked at this often.
const THRESHOLD_MS: u32 = 10_000;

/// Props of [`PastFigures`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    /// Where the backend is.
    pub(super) endpoint: Endpoint,
}

/// The question for what is missing of `range`; empty when nothing is.
fn question(stats: &StatsStore, range: Range) -> AttrValue {
    stats
        .missing(range.ms())
        .map_or_else(AttrValue::default, |(start_ms, step_ms)| {
            let (start, step) = (format::fixed(start_ms, 0), format::fixed(step_ms, 0));
            format!("/api/range?own=true&start={start}&step={step}").into()
        })
}

/// Asks for earlier samples and for the threshold; shows nothing but why they did not come.
#[component]
pub(super) fn PastFigures(Props { endpoint }: &Props) -> Html {
    let range = *use_selector(|view: &ViewStore| view.range);
    let past = *use_selector(StatsStore::select_past);
    let stats = use_dispatch::<StatsStore>();
    let place = Range::ALL.iter().position(|one| *one == range);
    let known = place.is_none_or(|place| past[place] == Past::Known);
    // The same question until it is answered.
    let asked = stats.clone();
    // Before the first figures it is not known when the server's now is.
    let ready = *use_selector(|stats: &StatsStore| stats.select_newest_ms().is_some());
    let path = use_memo((range, known, ready), move |(range, ..)| {
        question(&asked.get(), *range)
    });
    let answer = use_answer(endpoint, (*path).clone(), AGAIN_MS, 0);
    let ours = !known && answer.path == *path;
    use_effect_with((ours, answer.clone()), move |(ours, answer)| {
        match (&answer.json, &answer.problem) {
            _ if !ours => {}
            (_, Some(_)) => stats.change(StatsStore::miss_past),
            (Some(json), None) => stats.change(|stats| stats.take_past(json)),
            (None, None) => {}
        }
    });
    let operator = use_dispatch::<OperatorStore>();
    let feeds = use_dispatch::<FeedStore>();
    use_effect_with((), move |()| {
        feeds.change(|store| store.follow(Follow::OPERATOR));
        move || feeds.change(|store| store.unfollow(&Follow::OPERATOR))
    });
    let falls_back = use_falls_back();
    let known_once = use_selector(|store: &OperatorStore| store.select_threshold().is_some());
    // The feed says it with the next tick, which may be long in coming.
    let asked = if falls_back || !*known_once {
        "/api/metrics"
    } else {
        ""
    };
    let figures = use_answer(endpoint, asked.into(), THRESHOLD_MS, 0);
    use_effect_with(figures, move |figures| {
        if let Some(figures) = &figures.json {
            operator.change(|store| store.learn(figures));
        }
    });
    match &answer.problem {
        Some(problem) if ours => html! {
            <p class="notice" role="status">
                { format!("Earlier samples could not be loaded: {}. Trying again every {} s.",
                    problem.in_words(), AGAIN_MS / 1_000) }
            </p>
        },
        _ => Html::default(),
    }
}
