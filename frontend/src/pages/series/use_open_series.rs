//! What an opened series is: chosen by the address, read by four questions, kept by the store. The
//! markup in [`super`] renders what this hook returns.

use gloo::utils::window;
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
        track::LINES_MAX,
        view::Page,
    },
    words,
};

/// Ranges of time: in the address, on the button, and how long. The last is the longest that a
/// server keeps by default.
pub(super) const RANGES: [(&str, &str, f64); 9] = [
    ("5m", words::FIVE_MINUTES, 300_000.0),
    ("15m", words::QUARTER_HOUR, 900_000.0),
    ("1h", "1 h", 3_600_000.0),
    ("6h", "6 h", 21_600_000.0),
    ("24h", "24 h", 86_400_000.0),
    ("7d", "7 d", 604_800_000.0),
    ("30d", "30 d", 2_592_000_000.0),
    ("1y", "1 y", 31_536_000_000.0),
    ("2y", "2 y", 63_072_000_000.0),
];

/// Live windows and the newest state are asked for this often.
const REFRESH_MS: u32 = 5_000;

/// The history is asked for anew this often, in parts of the range and at the least: live samples
/// of a long step are gathered, but how many it had before is known to the server only.
const HISTORY_PARTS: f64 = 200.0;
const HISTORY_MS_MIN: f64 = 30_000.0;

/// Steps of a history: about one for each pixel across.
const POINTS: std::ops::RangeInclusive<f64> = 200.0..=1_200.0;

/// What a chart leaves free of the window's width.
const BESIDE_PX: f64 = 110.0;

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
    /// Which of [`RANGES`] is shown.
    pub(super) range: usize,
    /// The same in milliseconds.
    pub(super) range_ms: f64,
    /// The server's clock, Unix milliseconds.
    pub(super) now_ms: f64,
    /// How the table is sorted: by which column, and whether the greatest comes first.
    pub(super) order: Option<(usize, bool)>,
    /// Sorts the table by a column, or turns its order round.
    pub(super) on_sort: Callback<usize>,
    /// Shows another of [`RANGES`].
    pub(super) on_range: Callback<usize>,
    /// Reads the history again at once.
    pub(super) on_retry: Callback<MouseEvent>,
}

/// Name and labels of a selector as they are written in it.
pub(super) fn split_selector(selector: &str) -> (&str, &str) {
    selector.split_at(selector.find('{').unwrap_or(selector.len()))
}

/// Opens `selector` over the range that the address calls `range`, and keeps what is known of it
/// fresh until the component is gone.
#[hook]
pub(super) fn use_open_series(
    endpoint: &Endpoint,
    selector: &AttrValue,
    range: &AttrValue,
) -> OpenSeriesState {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let dispatch = use_dispatch::<SeriesStore>();
    let opened = use_selector(SeriesStore::select_opened);
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let connections = *use_selector(SeriesStore::select_connections);
    let tries = use_state(|| 0_u64);
    let chosen = RANGES.iter().position(|known| known.0 == &**range);
    let chosen = chosen.unwrap_or(1);
    let range_ms = RANGES[chosen].2;
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();

    {
        let (dispatch, away) = (dispatch.clone(), dispatch.clone());
        use_effect_with((selector.clone(), chosen), move |(selector, chosen)| {
            let range_ms = RANGES[*chosen].2;
            dispatch.change(|store| store.open(selector, range_ms));
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
    let again = part + *tries + connections;
    let path = {
        let width = window().inner_width().ok().and_then(|width| width.as_f64());
        let points = (width.unwrap_or(*POINTS.end()) - BESIDE_PX)
            .max(*POINTS.start())
            .min(*POINTS.end());
        use_memo(
            (selector.clone(), chosen, again),
            move |(selector, _, _)| {
                let whole = |number: f64| format::fixed(number, 0);
                AttrValue::from(format!(
                    "/api/range?match={}&start={}&end={}&max_points={}&agg=avg&topk={LINES_MAX}",
                    encode_query(selector),
                    whole(now_ms - range_ms),
                    whole(now_ms),
                    whole(points)
                ))
            },
        )
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
    let on_range = {
        let selector = selector.clone();
        Callback::from(move |index: usize| {
            let (key, _, _) = RANGES[index.min(RANGES.len() - 1)];
            // Fails only where the page may not go anywhere.
            drop(window().location().set_hash(&chart_hash(&selector, key)));
        })
    };
    OpenSeriesState {
        opened: (*opened).clone(),
        list,
        is_unknown,
        alike: alike.json.clone().unwrap_or_default(),
        windows: live.json.clone(),
        problem,
        is_lost,
        range: chosen,
        range_ms,
        now_ms,
        order: *order,
        on_sort,
        on_range,
        on_retry: Callback::from(move |_: MouseEvent| tries.set(*tries + 1)),
    }
}

/// Where the chart of `selector` is, over the range called `range`.
fn chart_hash(selector: &str, range: &str) -> String {
    format!(
        "{}?match={}&range={range}",
        Page::Explore.hash(),
        encode_query(selector)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_names_series_and_range() {
        assert_eq!(
            chart_hash("up{job=\"a\"}", "1h"),
            "#/explore?match=up%7Bjob%3D%22a%22%7D&range=1h"
        );
    }

    #[test]
    fn a_selector_is_a_name_and_labels() {
        assert_eq!(split_selector("up{job=\"a\"}"), ("up", "{job=\"a\"}"));
        assert_eq!(split_selector("up"), ("up", ""));
    }
}
