//! One selector's chart: history by the range endpoint, live by the rooms' socket, over a range
//! of the reader's choice, with how its last minutes went.

use std::rc::Rc;

use gloo::utils::window;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    line_table::{line_table, window_table},
    segments::segments,
    series_chart::{SeriesChart, Shown},
    series_link,
};
use crate::{
    chart::layout::Span,
    format,
    hooks::{use_answer, use_effect_with, use_seconds, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::Json,
        series::{Sample, Series},
    },
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        series::{Opened, SeriesStore, has_stopped, newest},
        shared::Shared,
        stats::StatsStore,
        track::{LINES_MAX, Track},
        view::Page,
    },
    words,
};

/// Ranges of time: in the address, on the button, and how long. The last is the longest that a
/// server keeps by default.
const RANGES: [(&str, &str, f64); 9] = [
    ("5m", "5 min", 300_000.0),
    ("15m", "15 min", 900_000.0),
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
    /// The range's name in the address.
    pub range: AttrValue,
}

/// What is to be said in place of figures, or of some of them.
fn odd_words(track: &Track, info: Option<&Series>) -> Option<String> {
    let [line] = track.lines.as_slice() else {
        return None;
    };
    let odd: u64 = line.steps.iter().map(|step| u64::from(step.odd)).sum();
    if odd > 0 && line.steps.iter().all(|step| !step.mean.is_finite()) {
        return Some(match odd {
            1 => format!("The only sample is {}", words::NOT_FINITE),
            odd => format!(
                "All {} samples are {}",
                format::grouped(odd),
                words::NOT_FINITE
            ),
        });
    }
    let newest = newest(info?, line.last);
    (!newest.value.is_finite()).then(|| format!("The newest sample is {}", words::NOT_FINITE))
}

/// Such as `Resolution: 1h from 21 Nov 2025, raw from 20 Nov 14:00`.
fn resolution(opened: &Opened) -> Option<String> {
    let part = |(index, (from_ms, name)): (usize, &(f64, String))| {
        let name = if name == "raw" { "every sample" } else { name };
        if index == 0 {
            return name.to_owned();
        }
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let at_ms = *from_ms as i64;
        let offset_min = platform::zone_offset_min(*from_ms);
        format!(
            "{name} from {} {}",
            format::date(at_ms, offset_min),
            format::clock_minutes(at_ms, offset_min)
        )
    };
    let parts: Vec<String> = opened.stretches.iter().enumerate().map(part).collect();
    if parts.is_empty() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a step in milliseconds")]
    let step_ms = opened.track.step_ms as i64;
    let step = if step_ms < 1_000 {
        format!("{step_ms} ms")
    } else {
        format::duration(step_ms)
    };
    let unknown = if opened.is_coarse() {
        [" · ", words::NAN_NOT_KEPT].concat()
    } else {
        String::new()
    };
    Some(format!(
        "Shown in steps of {step} · kept as: {}{unknown}",
        parts.join(", ")
    ))
}

/// Names offered at most.
const NEAR_MAX: usize = 5;

/// How much two names have in common: pairs of neighbouring characters that both have.
fn likeness(one: &str, other: &str) -> usize {
    let pairs = |text: &str| -> Vec<[u8; 2]> {
        let text = text.to_ascii_lowercase();
        text.as_bytes()
            .windows(2)
            .map(|pair| [pair[0], pair[1]])
            .collect()
    };
    let mut others = pairs(other);
    let common = pairs(one).into_iter().filter(|pair| {
        let place = others.iter().position(|other| other == pair);
        place.map(|place| others.swap_remove(place)).is_some()
    });
    common.count()
}

/// Those of `names` that are most like `name`, each once; such as have half of it in common.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = Vec::new();
    for other in names {
        let likeness = likeness(name, other);
        if 2 * likeness + 1 >= name.len() && !near.iter().any(|(_, known)| *known == other) {
            let place = near.partition_point(|(known, _)| *known >= likeness);
            near.insert(place, (likeness, other));
            near.truncate(NEAR_MAX);
        }
    }
    near.into_iter().map(|(_, name)| name).collect()
}

/// No series has this name: some that have one like it, of those that `json` lists.
fn near_names(name: &str, json: &Json) -> Html {
    let list = json.get("series").list().iter();
    let near = nearest(name, list.map(|series| series.text_of("name")));
    html! {
        <div class="open-series__note" role="status">
            <p>{ words::NO_SUCH_SERIES }</p>
            if !near.is_empty() {
                <p>{ "Near it: " }{ for near.into_iter().map(|name| series_link(name, name, "")) }</p>
            }
        </div>
    }
}

/// How one series stands now.
struct Now {
    value: f64,
    stopped: bool,
    words: String,
}

/// By what the server says of `info`, and by what came since. Never by a step of the history: its
/// figure is a mean, and its time the beginning of an hour or a day.
fn standing(info: &Series, heard: Option<Sample>, now_ms: f64) -> Now {
    let last = newest(info, heard);
    let stopped = if last.t_ms > info.last_ms {
        has_stopped(info.interval_ms, last.t_ms, now_ms)
    } else {
        info.stopped || has_stopped(info.interval_ms, last.t_ms, now_ms)
    };
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let age = format::duration((now_ms - last.t_ms) as i64);
    let words = if stopped {
        format!("Stopped {age} ago")
    } else if info.kind == "unknown" {
        format!("{age} ago")
    } else {
        format!("{} · {age} ago", info.kind)
    };
    Now {
        value: last.value,
        stopped,
        words,
    }
}

/// See the module.
#[component]
pub fn OpenSeries(props: &Props) -> Html {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let dispatch = use_dispatch::<SeriesStore>();
    let opened = use_selector(SeriesStore::select_opened);
    let lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let connections = *use_selector(SeriesStore::select_connections);
    let tries = use_state(|| 0_u64);
    let chosen = RANGES.iter().position(|range| range.0 == &*props.range);
    let chosen = chosen.unwrap_or(1);
    let range_ms = RANGES[chosen].2;
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();

    {
        let (dispatch, away) = (dispatch.clone(), dispatch.clone());
        use_effect_with(
            (props.selector.clone(), chosen),
            move |(selector, chosen)| {
                let range_ms = RANGES[*chosen].2;
                dispatch.change(|store| store.open(selector, range_ms));
            },
        );
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
            (props.selector.clone(), chosen, again),
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
    let history = use_answer(&props.endpoint, (*path).clone(), 0, 0);
    use_effect_with(history.clone(), {
        let selector = props.selector.clone();
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
    let encoded = encode_query(&props.selector);
    let asked_infos = format!("/api/series?match={encoded}&limit={LINES_MAX}");
    let infos = use_answer(
        &props.endpoint,
        asked_infos.clone().into(),
        REFRESH_MS,
        connections,
    );
    // Of the line that is told of below, and of no other.
    let first = opened.track.lines.first();
    let live = use_answer(
        &props.endpoint,
        first
            .map(|line| format!("/api/windows?match={}", encode_query(&line.key)))
            .unwrap_or_default()
            .into(),
        REFRESH_MS,
        connections,
    );
    let order = use_state_eq(|| None::<(usize, bool)>);
    let on_sort = {
        let order = order.clone();
        Callback::from(move |column: usize| {
            let is_first = order.is_none_or(|(by, greatest_first)| by != column || !greatest_first);
            order.set(Some((column, is_first)));
        })
    };

    let opened = &*opened;
    let lines = &opened.track.lines;
    // An answer to the question before this one is of another series.
    let answered = infos.json.clone().filter(|_| *infos.path == *asked_infos);
    let json = answered.clone().unwrap_or_default();
    let list = json.get("series").list().iter();
    let list: Vec<Series> = list.filter_map(Series::read).collect();
    let info = match list.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    let (name, labels) = info.map_or_else(
        || {
            let brace = props.selector.find('{').unwrap_or(props.selector.len());
            props.selector.split_at(brace)
        },
        |info| (info.name.as_str(), info.labels()),
    );
    // Of one series; several have their figures in a table.
    let single = info.filter(|_| lines.len() < 2);
    let now = single.map(|info| standing(info, opened.track.last(), now_ms));
    let stopped = now.as_ref().is_some_and(|now| now.stopped);
    let odd = odd_words(&opened.track, single);
    let state = now.as_ref().map(|now| now.words.clone());
    let on_range = {
        let selector = props.selector.clone();
        Callback::from(move |index: usize| {
            let (key, _, _) = RANGES[index.min(RANGES.len() - 1)];
            // Fails only where the page may not go anywhere.
            drop(window().location().set_hash(&chart_hash(&selector, key)));
        })
    };
    let retry = {
        let tries = tries.clone();
        move |_: MouseEvent| tries.set(*tries + 1)
    };
    let unknown = answered.is_some() && json.get("matched").count() == Some(0) && lines.is_empty();
    // A mistake is seldom in the first two letters.
    let asked_like = if unknown {
        let begins: String = name.chars().take(2).collect();
        format!("/api/series?limit=1000&search={}", encode_query(&begins))
    } else {
        String::new()
    };
    let like = use_answer(&props.endpoint, asked_like.into(), 0, 0);
    let like = like.json.clone().unwrap_or_default();
    let note = match (&history.problem, opened.known, lines.is_empty()) {
        (Some(problem), ..) => Some(html! {
            <p class="open-series__problem" role="alert">
                <span>{ format!("The history could not be read: {}", problem.in_words()) }</span>
                <button class="button button--small" type="button" onclick={retry}>{ "Retry" }</button>
            </p>
        }),
        (None, true, true) if unknown => Some(near_names(name, &like)),
        (None, true, true) => Some(html! {
            <p class="open-series__note">{ "No samples in this time. Choose a longer one, or wait for the next sample." }</p>
        }),
        _ => None,
    };
    let span = Span {
        from_ms: now_ms - range_ms,
        to_ms: now_ms,
    };
    let missing = match (note.is_some(), opened.known) {
        // What is said of it stands there.
        (true, _) => "",
        (false, true) => words::NO_DATA,
        (false, false) => words::LOADING,
    };
    let labels_of_ranges = RANGES.map(|range| range.1);
    let unit = lines
        .first()
        .map(|line| line.unit.as_str())
        .filter(|unit| !unit.is_empty())
        .or_else(|| info.map(|info| info.unit.as_str()))
        .unwrap_or_default();
    let now = now.map(|now| format::measure(now.value, unit));
    html! {
        <section class="open-series" aria-label="Series">
            <a class="open-series__back" href={platform::with_hash(Page::Explore.hash())}>{ "← All series" }</a>
            <div class="open-series__head">
                <h2>
                    { name.to_owned() }
                    <span class="series-name__labels">{ labels.to_owned() }</span>
                </h2>
                if let Some((figure, unit)) = now {
                    <p class={classes!("open-series__now", (stopped || lost).then_some("is-old"))}>
                        <span class="value">{ figure }</span>
                        <span class="unit">{ unit }</span>
                    </p>
                }
                if let Some(state) = state {
                    <span class="open-series__state">{ state }</span>
                }
                if let Some(odd) = odd {
                    <span class="open-series__state is-odd">{ odd }</span>
                }
                <div class="open-series__ranges">
                    { segments("Time shown", "explore-range", &labels_of_ranges, Some(chosen), &on_range) }
                </div>
            </div>
            <figure class="chart open-series__chart">
                <SeriesChart
                    track={Shared::from(opened.rc() as Rc<dyn Shown>)}
                    title={props.selector.clone()}
                    {range_ms}
                    stale={stopped || lost}
                    {missing}
                    keys=true
                />
                { note }
            </figure>
            if !lines.is_empty() {
                { line_table(opened, (stopped || lost, &span), *order, &on_sort) }
            }
            if let Some(words) = resolution(opened) {
                <p class="open-series__resolution">{ words }</p>
            }
            if let (Some(json), Some(line)) = (&live.json, lines.first()) {
                { window_table(json, line, range_ms) }
            }
        </section>
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
    fn near_names_are_offered() {
        let names = [
            "http_requests_total",
            "http_errors_total",
            "queue_depth",
            "http_requests_total",
        ];
        assert_eq!(
            nearest("http_requets_total", names.into_iter()),
            ["http_requests_total", "http_errors_total"]
        );
        assert_eq!(nearest("zz", names.into_iter()), [""; 0]);
    }

    #[test]
    fn a_live_series_is_live_whatever_the_steps_are() {
        let info = Series {
            kind: "gauge".to_owned(),
            interval_ms: Some(30_000.0),
            last: 0.63,
            last_ms: 1_000_000.0,
            ..Series::default()
        };
        // Steps of a day begin hours ago; nothing was heard live yet.
        let now = standing(&info, None, 1_012_000.0);
        assert_eq!(
            (now.value, now.stopped, now.words.as_str()),
            (0.63, false, "gauge · 12 s ago")
        );
        let heard = Sample {
            t_ms: 1_030_000.0,
            value: 2.0,
        };
        let now = standing(&info, Some(heard), 1_031_000.0);
        assert_eq!((now.value, now.words.as_str()), (2.0, "gauge · 1 s ago"));
        let now = standing(&info, Some(heard), 1_200_000.0);
        assert_eq!(
            (now.stopped, now.words.as_str()),
            (true, "Stopped 2 min 50 s ago")
        );
        // Its sender said that it ended, though it is young.
        let ended = Series {
            stopped: true,
            ..info
        };
        assert!(standing(&ended, None, 1_001_000.0).stopped);
        assert!(!standing(&ended, Some(heard), 1_031_000.0).stopped);
    }
}
