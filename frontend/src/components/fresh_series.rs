//! The newest series that were pushed, each with its chart: they come and go by themselves.

use std::rc::Rc;

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    push_hint::use_push_hint,
    series_chart::{SeriesChart, Shown},
    series_link,
};
use crate::{
    format,
    hooks::{use_answer, use_effect_with, use_seconds, use_selector},
    markup::html,
    net::{config::Endpoint, series::Series},
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        series::{FRESH_BACK_MS, FRESH_MAX, RecentSeries, SeriesStore, has_stopped},
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
        track::Track,
        view::Page,
    },
    words,
};

/// So many of the newest are looked through for those that are not the server's own.
const LISTED: &str = "/api/series?order=newest&limit=200";

impl Shown for RecentSeries {
    fn track(&self) -> &Track {
        &self.track
    }
}

/// Props of [`FreshSeries`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// The newest series that were pushed, each with its chart.
#[component]
pub fn FreshSeries(Props { endpoint }: &Props) -> Html {
    use_seconds();
    let dispatch = use_dispatch::<SeriesStore>();
    let fresh = use_selector(SeriesStore::select_fresh);
    let total = *use_selector(SeriesStore::select_total);
    let connections = *use_selector(SeriesStore::select_connections);
    let lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let stats = use_dispatch::<StatsStore>();
    let hint = use_push_hint(endpoint);
    let answer = use_answer(endpoint, LISTED.into(), 0, connections);
    let listed = answer.json.is_some();
    use_effect_with(answer, move |answer| {
        if let Some(json) = &answer.json {
            let list = json.get("series").list().iter();
            let list: Vec<Series> = list.filter_map(Series::read).collect();
            let total = json.get("total").count();
            let whole = total <= Some(list.len() as u64);
            dispatch.change(|store| {
                store.list(&list, whole);
                store.listed(total);
            });
        }
    });
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    html! {
        <section class="fresh" aria-label={words::PUSHED_SERIES}>
            <div class="fresh__head">
                <h2>{ words::PUSHED_SERIES }</h2>
                if fresh.len() == FRESH_MAX {
                    <span class="fresh__note">{ format!("the newest {FRESH_MAX}") }</span>
                }
                if let Some(total) = total.filter(|total| *total > 0) {
                    <a class="fresh__all" href={platform::with_hash(Page::Explore.hash())}>
                        { format!("Explore all {}", format::grouped(total)) }
                    </a>
                }
            </div>
            if fresh.is_empty() {
                { empty(listed.then_some(hint)) }
            } else {
                <div class="fresh__tiles">
                    { for fresh.iter().map(|fresh| tile(fresh, now_ms, lost)) }
                </div>
            }
        </section>
    }
}

/// In the place of tiles: how to have one, or that it is not known yet whether there are any.
fn empty(hint: Option<Html>) -> Html {
    html! {
        <div class="fresh__empty">
            if let Some(hint) = hint {
                <p>{ "Nothing pushed yet. This makes a chart appear here:" }</p>
                { hint }
            } else {
                <p>{ words::LOADING_ALL }</p>
            }
        </div>
    }
}

/// The same section before anything can be asked: its place is taken from the beginning, so that
/// nothing moves once it is known what is in it.
pub(crate) fn no_series_yet() -> Html {
    html! {
        <section class="fresh" aria-label={words::PUSHED_SERIES}>
            <div class="fresh__head"><h2>{ words::PUSHED_SERIES }</h2></div>
            { empty(None) }
        </section>
    }
}

fn tile(fresh: &Rc<RecentSeries>, now_ms: f64, lost: bool) -> Html {
    let RecentSeries { series, track, .. } = &**fresh;
    let last = fresh.last();
    let line = track.lines.first();
    let unit = line.map_or("", |line| line.unit.as_str());
    let unit = if unit.is_empty() { &series.unit } else { unit };
    let interval_ms = line
        .and_then(|line| line.pace_ms)
        .or(series.interval_ms)
        .or_else(|| line?.interval_ms());
    let stopped = has_stopped(interval_ms, last.t_ms, now_ms);
    let state = stopped.then(|| {
        #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
        let age = format::duration((now_ms - last.t_ms) as i64);
        words::stopped(&age)
    });
    let (figure, unit) = format::measure(last.value, unit);
    html! {
        <article
            key={series.key.as_str()}
            class={classes!("series-tile", (stopped || lost).then_some("is-old"))}
        >
            <div class="series-tile__head">
                <h3>{ series_link(&series.key, &series.name, series.labels()) }</h3>
                <span class="series-tile__state">{ state }</span>
            </div>
            <p class="series-tile__now">
                <span class="value">{ figure }</span>
                <span class="unit">{ unit }</span>
            </p>
            <SeriesChart
                track={Shared::from(Rc::clone(fresh) as Rc<dyn Shown>)}
                title={series.key.clone()}
                time={TimeRange::last(f64::from(FRESH_BACK_MS))}
                missing={if fresh.known { words::NO_DATA } else { words::LOADING }}
                stale={stopped || lost}
            />
        </article>
    }
}
