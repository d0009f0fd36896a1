//! A chart of one question about a machine, with the names of its lines.

use std::rc::Rc;

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::{SeriesChart, Shown},
    format,
    hooks::{use_answer, use_seconds, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::Json,
        prom,
    },
    platform,
    stores::{
        connection::ConnectionStore,
        question::{Answered, Question, highest, step_ms},
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
        track::Track,
        view::Page,
    },
    words,
};

/// A time that goes on is asked for anew this often, in parts of it and at the least.
const PARTS: f64 = 200.0;
const EVERY_MS_MIN: f64 = 4_000.0;

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

/// The lines of an answer.
struct Lines(Track);

impl Shown for Lines {
    fn track(&self) -> &Track {
        &self.0
    }
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
    let every_ms = (length_ms / PARTS).max(EVERY_MS_MIN).max(step);
    let part = match props.time.to.at(now_ms) < now_ms - every_ms {
        true => 0.0,
        false => (f64::from(seconds) * 1_000.0 / every_ms).floor(),
    };
    let path = use_memo((props.question.clone(), props.time, part.to_bits()), {
        let (_, to_ms) = props.time.ends(now_ms);
        move |(question, ..)| {
            let to_ms = (to_ms / step).floor() * step;
            let seconds = |ms: f64| format::plain(ms / 1_000.0);
            let path = format!(
                "/api/v1/query_range?query={}&start={}&end={}&step={}&limit=100",
                encode_query(question),
                seconds(to_ms - (length_ms / step).ceil() * step),
                seconds(to_ms),
                seconds(step)
            );
            AttrValue::from(path)
        }
    });
    let answer = use_answer(&props.endpoint, (*path).clone(), 0, 0);
    let is_answered = answer.json.is_some() || answer.problem.is_some();
    let unit = props.unit;
    let lines = use_memo(answer.json.clone(), move |json: &Option<Shared<Json>>| {
        let lines = json
            .as_ref()
            .map_or_else(Vec::new, |json| prom::lines(json, "", unit));
        let lines: Vec<Answered> = lines.into_iter().map(Answered::new).collect();
        let (mut track, count) = highest(&lines, &[], step);
        for line in &mut track.lines {
            line.key = short_name(&line.key);
        }
        (Shared::new(Lines(track)), count)
    });
    let (lines, count) = (lines.0.clone(), lines.1);
    if is_answered && lines.0.lines.is_empty() {
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
    let more = count.saturating_sub(lines.0.lines.len());
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
                { for lines.0.lines.iter().enumerate().map(name) }
                if more > 0 {
                    <li>{ format!("and {more} more") }</li>
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
