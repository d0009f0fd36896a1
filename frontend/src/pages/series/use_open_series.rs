//! What an opened series is: chosen by the address, read by four questions, kept by the store. The
//! markup in [`super`] renders what this hook returns.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    format,
    hooks::{use_answer, use_effect_with, use_seconds, use_selector},
    net::{
        config::{Endpoint, encode_query},
        json::Json,
        refusal::Refusal,
        series::Series,
    },
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        series::{Opened, SeriesStore},
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
        track::LINES_MAX,
        view::Page,
    },
};

/// Live windows and the newest state are asked for this often.
const REFRESH_MS: u32 = 5_000;

/// The history is asked for anew this often, in parts of the range and at the least: live samples
/// of a long step are gathered, but how many it had before is known to the server only.
const HISTORY_PARTS: f64 = 200.0;
const HISTORY_MS_MIN: f64 = 30_000.0;

/// An opened series, as it is known at this moment.
pub(super) struct OpenSeriesState {
    /// Its lines.
    pub(super) opened: Shared<Opened>,
    /// What the server lists for the selector; empty until it has answered.
    pub(super) list: Vec<Series>,
    /// Whether the server knows no series of this name.
    pub(super) is_unknown: bool,
    /// Series whose names begin like the unknown one.
    pub(super) alike: Shared<Json>,
    /// The live windows of the first line.
    pub(super) windows: Option<Shared<Json>>,
    /// Why the history could not be read.
    pub(super) problem: Option<Refusal>,
    /// Whether the page is without a connection.
    pub(super) is_lost: bool,
    /// The time that is shown, milliseconds.
    pub(super) range_ms: f64,
    /// The server's clock, Unix milliseconds.
    pub(super) now_ms: f64,
    /// How the table is sorted: by which column, and whether the greatest comes first.
    pub(super) order: Option<(usize, bool)>,
    /// Sorts the table by a column, or turns its order round.
    pub(super) on_sort: Callback<usize>,
    /// Shows another time.
    pub(super) on_time: Callback<TimeRange>,
    /// Reads the history again at once.
    pub(super) on_retry: Callback<MouseEvent>,
}

/// Name and labels of a selector as they are written in it.
pub(super) fn split_selector(selector: &str) -> (&str, &str) {
    selector.split_at(selector.find('{').unwrap_or(selector.len()))
}

/// Opens `selector` over `time`, and keeps what is known of it
/// fresh until the component is gone.
#[hook]
pub(super) fn use_open_series(
    endpoint: &Endpoint,
    selector: &AttrValue,
    time: TimeRange,
) -> OpenSeriesState {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let dispatch = use_dispatch::<SeriesStore>();
    let opened = use_selector(SeriesStore::select_opened);
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let connections = *use_selector(SeriesStore::select_connections);
    let tries = use_state(|| 0_u64);
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let (from_ms, to_ms) = time.ends(now_ms);
    let range_ms = to_ms - from_ms;

    {
        let (dispatch, away) = (dispatch.clone(), dispatch.clone());
        use_effect_with((selector.clone(), time), move |(selector, time)| {
            // Of a time that is past, what comes now pushes nothing out.
            let back_ms = now_ms - time.from.at(now_ms);
            dispatch.change(|store| store.open(selector, back_ms));
        });
        use_effect_with((), move |()| {
            move || away.change(|store| store.open("", 0.0))
        });
    }

    // The same question until it is time for the next one.
    let part_ms = (range_ms / HISTORY_PARTS).max(HISTORY_MS_MIN);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of parts"
    )]
    let part = (f64::from(seconds) * 1_000.0 / part_ms) as u64;
    let part = if time.to.at(now_ms) < now_ms - part_ms {
        0
    } else {
        part
    };
    let again = part + *tries + connections;
    let path = {
        let points = platform::points_across();
        use_memo((selector.clone(), time, again), move |(selector, _, _)| {
            let whole = |number: f64| format::fixed(number, 0);
            AttrValue::from(format!(
                "/api/range?match={}&start={}&end={}&max_points={}&agg=avg&topk={LINES_MAX}",
                encode_query(selector),
                whole(from_ms),
                whole(to_ms),
                whole(points)
            ))
        })
    };
    let history = use_answer(endpoint, (*path).clone(), 0, 0);
    let problem = history.problem.clone();
    use_effect_with(history, {
        let selector = selector.clone();
        move |history| {
            let asked = format!("match={}&", encode_query(&selector));
            if let Some(json) = history
                .json
                .as_ref()
                .filter(|_| history.problem.is_none() && history.path.contains(&asked))
            {
                dispatch.change(|store| store.history(json));
            }
        }
    });
    let asked_infos = format!(
        "/api/series?match={}&limit={LINES_MAX}",
        encode_query(selector)
    );
    let infos = use_answer(
        endpoint,
        asked_infos.clone().into(),
        REFRESH_MS,
        connections,
    );
    // Of the line that is told of below, and of no other.
    let first = opened.track.lines.first();
    let live = use_answer(
        endpoint,
        first
            .map(|line| format!("/api/windows?match={}", encode_query(&line.key)))
            .unwrap_or_default()
            .into(),
        REFRESH_MS,
        connections,
    );
    let order = use_state_eq(|| None::<(usize, bool)>);

    // An answer to the question before this one is of another series.
    let answered = infos.json.clone().filter(|_| *infos.path == *asked_infos);
    let is_answered = answered.is_some();
    let json = answered.unwrap_or_default();
    let list = json.get("series").list().iter();
    let list: Vec<Series> = list.filter_map(Series::read).collect();
    let is_unknown =
        is_answered && json.get("matched").count() == Some(0) && opened.track.lines.is_empty();
    // A mistake is seldom in the first two letters.
    let asked_alike = if is_unknown {
        let begins: String = split_selector(selector).0.chars().take(2).collect();
        format!("/api/series?limit=1000&search={}", encode_query(&begins))
    } else {
        String::new()
    };
    let alike = use_answer(endpoint, asked_alike.into(), 0, 0);

    let on_sort = {
        let order = order.clone();
        Callback::from(move |column: usize| {
            let is_first = order.is_none_or(|(by, greatest_first)| by != column || !greatest_first);
            order.set(Some((column, is_first)));
        })
    };
    let on_time = {
        let selector = selector.clone();
        Callback::from(move |time: TimeRange| platform::go(&chart_hash(&selector, time)))
    };
    OpenSeriesState {
        opened: (*opened).clone(),
        list,
        is_unknown,
        alike: alike.json.clone().unwrap_or_default(),
        windows: live.json.clone(),
        problem,
        is_lost,
        range_ms,
        now_ms,
        order: *order,
        on_sort,
        on_time,
        on_retry: Callback::from(move |_: MouseEvent| tries.set(*tries + 1)),
    }
}

/// Where the chart of `selector` is, over `time`.
fn chart_hash(selector: &str, time: TimeRange) -> String {
    format!(
        "{}?match={}&{}",
        Page::Explore.hash(),
        encode_query(selector),
        time.query()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_names_series_and_range() {
        assert_eq!(
            chart_hash("up{job=\"a\"}", TimeRange::last(3_600_000.0)),
            "#/explore?match=up%7Bjob%3D%22a%22%7D&range=1h"
        );
    }

    #[test]
    fn a_selector_is_a_name_and_labels() {
        assert_eq!(split_selector("up{job=\"a\"}"), ("up", "{job=\"a\"}"));
        assert_eq!(split_selector("up"), ("up", ""));
    }
}
