//! A chart of one question about a machine, with the names of its lines.

use std::rc::Rc;

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::{SeriesChart, Shown},
    format,
    hooks::{use_answer, use_effect_with, use_live, use_seconds, use_selector},
    markup::html,
    net::{config::Endpoint, json::Json, prom},
    platform,
    stores::{
        connection::ConnectionStore,
        live::Wanted,
        question::{Answered, Question, Since, highest, step_ms},
        series::SeriesStore,
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
        view::Page,
    },
    words,
};

/// A time that goes on is asked for anew this often, in parts of it and at the least; more seldom
/// where what comes meanwhile is heard of live, since only late samples change what was.
const PARTS: f64 = 200.0;
const EVERY_MS_MIN: f64 = 4_000.0;
const EVERY_MS_MIN_LIVE: f64 = 30_000.0;

/// Lines that are asked for; the highest are drawn.
const LINES_MAX: usize = 100;

/// Steps across a chart of half the page.
const POINTS: f64 = 300.0;

/// Props of [`Panel`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) question: AttrValue,
    pub(super) time: TimeRange,
    pub(super) on_time: Callback<TimeRange>,
}

/// A line's name without what all lines have: its labels' values.
fn short_name(key: &str) -> String {
    let (name, labels) = key.split_at(key.find('{').unwrap_or(key.len()));
    let values = labels.split('"').skip(1).step_by(2);
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    // A family of names differs in the names; all else in the labels.
    match name {
        "" => values.join(" "),
        name => {
            let name = name
                .trim_start_matches("node_")
                .trim_start_matches("memory_");
            name.trim_end_matches("_bytes").replace('_', " ")
        }
    }
}

/// A chart; nothing at all where nobody sends such figures.
#[component]
pub(super) fn Panel(props: &Props) -> Html {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let length_ms = props.time.length_ms(now_ms);
    let step = step_ms(length_ms, POINTS);
    // Where nobody sends such figures there is nothing to be heard of.
    let has_lines = use_state_eq(|| false);
    let every_ms = (length_ms / PARTS).max(EVERY_MS_MIN).max(step);
    let every_live_ms = every_ms.max(EVERY_MS_MIN_LIVE);
    let wanted = (*has_lines && props.time.is_live()).then(|| Wanted {
        query: props.question.to_string(),
        step_ms: step,
        keep_ms: 2.0 * every_live_ms,
    });
    let live = use_live(wanted.into_iter().collect());
    let live = live.iter().find(|live| live.query() == &*props.question);
    let live = live.filter(|_| props.time.is_live()).cloned();
    let is_live = live.as_ref().is_some_and(|live| live.is_live);
    let is_over = props.time.to.at(now_ms) < now_ms - every_ms;
    let every_ms = if is_live { every_live_ms } else { every_ms };
    let part = match is_over {
        true => 0.0,
        false => (f64::from(seconds) * 1_000.0 / every_ms).floor(),
    };
    let connections = *use_selector(SeriesStore::select_connections);
    // What was missed while the connection was lost is asked for.
    let again = (part.to_bits(), connections, is_live);
    let path = use_memo((props.question.clone(), props.time, again), {
        let (_, to_ms) = props.time.ends(now_ms);
        move |(question, ..)| {
            let to_ms = (to_ms / step).floor() * step;
            let from_ms = to_ms - (length_ms / step).ceil() * step;
            AttrValue::from(prom::range_path(question, from_ms, to_ms, step, LINES_MAX))
        }
    });
    let answer = use_answer(&props.endpoint, (*path).clone(), 0, 0);
    let is_answered = answer.json.is_some() || answer.problem.is_some();
    let unit = props.unit;
    // Read once, and not with each value that comes.
    let answered = use_memo(answer.json.clone(), move |json: &Option<Shared<Json>>| {
        let lines = json
            .as_ref()
            .map_or_else(Vec::new, |json| prom::lines(json, "", unit));
        let lines: Vec<Answered> = lines.into_iter().map(Answered::new).collect();
        Shared::new(lines)
    });
    {
        let has_lines = has_lines.setter();
        use_effect_with(answered.is_empty(), move |is_empty| {
            has_lines.set(!is_empty)
        });
    }
    let key = ((*answered).clone(), live);
    let lines = use_memo(key, move |(answered, live)| {
        let lines = live.as_ref().map_or(&[][..], |live| &live.lines);
        let since = lines.iter().map(|live| Since {
            key: &live.key,
            unit,
            live,
        });
        let (mut track, count) = highest(answered, &since.collect::<Vec<_>>(), step);
        for line in &mut track.lines {
            line.key = short_name(&line.key);
        }
        (Shared::new(track), count)
    });
    let (lines, count) = (lines.0.clone(), lines.1);
    if is_answered && lines.lines.is_empty() {
        return Html::default();
    }
    let question = Question {
        expressions: vec![props.question.to_string()],
        time: props.time,
        ..Question::default()
    };
    let missing = if is_answered {
        words::NO_DATA
    } else {
        words::LOADING
    };
    let name = |(index, line): (usize, &crate::net::series::Line)| {
        let newest = line.steps.last().map_or(f64::NAN, |step| step.mean);
        let (figure, unit) = format::measure(newest, &line.unit);
        html! {
            <li class={format!("legend__line legend__line--{}", index + 1)}>
                { format!("{} {figure} {unit}", line.key) }
            </li>
        }
    };
    let more = count.saturating_sub(lines.lines.len());
    html! {
        <figure class="chart host-page__panel">
            <figcaption class="host-page__head">
                <h3>{ props.title }</h3>
                <a href={platform::with_hash(&question.hash())}>{ Page::Explore.label() }</a>
            </figcaption>
            <SeriesChart
                track={Shared::from(lines.rc() as Rc<dyn Shown>)}
                title={props.title}
                time={props.time}
                stale={is_lost}
                {missing}
                on_time={Some(props.on_time.clone())}
                keys=true
            />
            <ul class="host-page__names">
                { for lines.lines.iter().enumerate().map(name) }
                if more > 0 {
                    <li>{ words::and_more(more) }</li>
                }
            </ul>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_differs() {
        for (key, name) in [
            ("{cpu=\"0\"}", "0"),
            ("{device=\"sda\",way=\"read\"}", "sda read"),
            ("node_load1{instance=\"a\",job=\"node\"}", "load1"),
            ("node_memory_Cached_bytes{instance=\"a\"}", "Cached"),
        ] {
            assert_eq!(short_name(key), name);
        }
    }
}
