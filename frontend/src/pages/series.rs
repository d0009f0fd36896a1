//! One selector's chart: history by the range endpoint, live by the rooms' socket, over a range
//! of the reader's choice, with how its last minutes went.

use std::rc::Rc;

use yew::prelude::*;

mod state;
mod use_open_series;

use self::{
    state::{Now, odd_words, resolution, state_of},
    use_open_series::{OpenSeriesState, split_selector, use_open_series},
};
use crate::{
    chart::layout::Span,
    components::{
        LineTable, SeriesChart, Shown, line_table, near_names, use_time_bar, window_table,
    },
    format,
    markup::html,
    net::config::Endpoint,
    platform,
    stores::{
        question::Question, series::Opened, shared::Shared, time::TimeRange, track::Track,
        view::Page,
    },
    words,
};

impl Shown for Opened {
    fn track(&self) -> &Track {
        &self.track
    }
}

/// Props of [`OpenSeries`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// Which series.
    pub selector: AttrValue,
    /// The time that is shown.
    pub time: TimeRange,
}

/// One selector's chart, with a table of its lines and how the first one did lately.
#[component]
pub fn OpenSeries(props: &Props) -> Html {
    let state = use_open_series(&props.endpoint, &props.selector, props.time);
    let hidden = use_state_eq(|| 0_u8);
    let time_bar = use_time_bar(props.time, state.now_ms, &state.on_time);
    let opened = &*state.opened;
    let lines = &opened.track.lines;
    let info = match state.list.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    // Of one series; several have their figures in a table.
    let single = info.filter(|_| lines.len() < 2);
    let now = single.map(|info| state_of(info, opened.track.last(), state.now_ms));
    let is_stale = state.is_lost || now.as_ref().is_some_and(|now| now.stopped);
    let (name, labels) = info.map_or_else(
        || split_selector(&props.selector),
        |info| (info.name.as_str(), info.labels()),
    );
    let unit = lines
        .first()
        .map(|line| line.unit.as_str())
        .filter(|unit| !unit.is_empty())
        .or_else(|| info.map(|info| info.unit.as_str()))
        .unwrap_or_default();
    let note = note(&state, name);
    let missing = match (note.is_some(), opened.known) {
        // What is said of it stands there.
        (true, _) => "",
        (false, true) => words::NO_DATA,
        (false, false) => words::LOADING,
    };
    let on_hide = {
        let hidden = hidden.setter();
        Callback::from(move |lines: u8| hidden.set(lines))
    };
    let question = Question {
        expressions: vec![props.selector.to_string()],
        time: props.time,
        ..Question::default()
    };
    html! {
        <section class="open-series" aria-label={words::SERIES}>
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={platform::with_hash(Page::Explore.hash())}>{ words::ALL_SERIES }</a>
                <a class="open-series__back" href={platform::with_hash(&question.hash())}>{ "Ask about it in PromQL" }</a>
            </nav>
            <div class="open-series__head">
                <h2>
                    { name.to_owned() }
                    <span class="series-name__labels">{ labels.to_owned() }</span>
                </h2>
                { newest_figure(now, unit, is_stale) }
                if let Some(odd) = odd_words(&opened.track, single) {
                    <span class="open-series__state is-odd">{ odd }</span>
                }
                <div class="open-series__ranges">
                    { time_bar }
                </div>
            </div>
            <figure class="chart open-series__chart">
                <SeriesChart
                    track={Shared::from(state.opened.rc() as Rc<dyn Shown>)}
                    title={props.selector.clone()}
                    time={props.time}
                    hidden={*hidden}
                    stale={is_stale}
                    {missing}
                    on_time={Some(state.on_time.clone())}
                    keys=true
                />
                { note }
            </figure>
            if !lines.is_empty() {
                { line_table(&LineTable {
                    track: &opened.track,
                    span: Span::between(props.time.ends(state.now_ms)),
                    is_live: props.time.is_live(),
                    is_coarse: opened.is_coarse(),
                    is_stale,
                    order: state.order,
                    hidden: *hidden,
                    on_sort: &state.on_sort,
                    on_hide: &on_hide,
                }) }
            }
            if let Some(words) = resolution(opened) {
                <p class="open-series__resolution">{ words }</p>
            }
            if let (Some(json), Some(line)) = (&state.windows, lines.first()) {
                { window_table(json, line, state.range_ms) }
            }
        </section>
    }
}

/// The newest value, and beside it how the series stands.
fn newest_figure(now: Option<Now>, unit: &str, is_stale: bool) -> Html {
    let Some(now) = now else {
        return Html::default();
    };
    let (figure, unit) = format::measure(now.value, unit);
    html! {
        <>
            <p class={classes!("open-series__now", is_stale.then_some("is-old"))}>
                <span class="value">{ figure }</span>
                <span class="unit">{ unit }</span>
            </p>
            <span class="open-series__state">{ now.words }</span>
        </>
    }
}

/// What is said in place of lines: why there are none.
fn note(state: &OpenSeriesState, name: &str) -> Option<Html> {
    let is_empty = state.opened.track.lines.is_empty();
    match (&state.problem, state.opened.known && is_empty) {
        (Some(problem), _) => Some(html! {
            <p class="open-series__problem" role="alert">
                <span>{ format!("The history could not be read: {}", problem.in_words()) }</span>
                <button class="button button--small" type="button" onclick={state.on_retry.clone()}>{ words::RETRY }</button>
            </p>
        }),
        (None, true) if state.is_unknown => Some(near_names(name, &state.alike)),
        (None, true) => Some(html! {
            <p class="open-series__note">{ "No samples in this time. Choose a longer range, or wait for the next sample." }</p>
        }),
        (None, false) => None,
    }
}
