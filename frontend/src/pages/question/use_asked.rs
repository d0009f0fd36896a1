//! What is asked of the server for the expressions in the address, and what it answers.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::Shown,
    format,
    hooks::{Answer, use_answer, use_seconds},
    net::{
        config::{Endpoint, encode_query},
        prom::{self, SERIES_MAX, Value},
        series::{Line, Series},
    },
    platform,
    stores::{
        answers::{letter, lettered},
        expression::bare_selector,
        question::{EXPRESSIONS_MAX, Form, Question, Rate, highest, rate_of, step_ms},
        shared::Shared,
        stats::StatsStore,
        track::Track,
    },
};

/// A time that goes on is asked for anew this often, in parts of it and at the least.
const PARTS: f64 = 450.0;
const EVERY_MS_MIN: f64 = 2_000.0;

/// In the server's words where an expression is not one.
pub(super) const PARSE_ERROR: &str = "parse error";

/// All lines of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lines {
    pub(super) track: Track,
    /// How many there are, shown or not.
    pub(super) count: usize,
    /// The server has more.
    pub(super) is_cut: bool,
}

impl Shown for Lines {
    fn track(&self) -> &Track {
        &self.track
    }
}

/// One of the expressions, as it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// What the server was asked in its place, where it is a counter and no more.
    pub(super) rate: Option<Rate>,
    /// Why there is no answer.
    pub(super) problem: Option<AttrValue>,
    /// The answer is under way, and there is none before it.
    pub(super) is_loading: bool,
    /// What it is at the end of the time.
    pub(super) values: Vec<(String, Value)>,
}

/// Everything that is known of a question.
pub(super) struct Answers {
    /// Of each expression.
    pub(super) each: Vec<Asked>,
    /// Of all together.
    pub(super) lines: Shared<Lines>,
    /// What was asked last: from, to and step, milliseconds.
    pub(super) asked_ms: (f64, f64, f64),
    /// The server's clock, Unix milliseconds.
    pub(super) now_ms: f64,
    /// Asks again at once.
    pub(super) on_retry: Callback<MouseEvent>,
}

/// Where the server tells whether an expression is a counter and no more; empty where it is more.
fn path_of_info(question: &Question, index: usize) -> AttrValue {
    let selector = question.expressions.get(index).filter(|_| !question.raw);
    let selector = selector.and_then(|expression| bare_selector(expression));
    selector.map_or_else(AttrValue::default, |selector| {
        format!("/api/series?match={}&limit=1", encode_query(selector)).into()
    })
}

/// What the server lists for a selector; `None` until it has answered.
fn info_of(answer: &Answer, path: &AttrValue) -> Option<Option<Series>> {
    if path.is_empty() {
        return Some(None);
    }
    let is_answered = answer.path == *path && (answer.json.is_some() || answer.problem.is_some());
    let json = answer.json.clone().unwrap_or_default();
    is_answered.then(|| json.get("series").list().first().and_then(Series::read))
}

/// Asks for all of `question`, again and again while its time goes on.
#[hook]
pub(super) fn use_asked(endpoint: &Endpoint, question: &Question) -> Answers {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let tries = use_state(|| 0_u64);
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let length_ms = question.time.length_ms(now_ms);
    let step = step_ms(length_ms, platform::points_across());
    let every_ms = (length_ms / PARTS).max(EVERY_MS_MIN).max(step);
    let is_over = question.time.to.at(now_ms) < now_ms - every_ms;
    // What is no expression will not become one.
    let asked_wrongly = use_mut_ref(|| false);
    let part = match is_over || *asked_wrongly.borrow() {
        true => 0.0,
        false => (f64::from(seconds) * 1_000.0 / every_ms).floor(),
    };
    // The same ends until it is time for the next question; on whole steps, so that nothing moves
    // but by steps.
    let ends = use_memo((question.time, step.to_bits(), part.to_bits(), *tries), {
        let (_, to_ms) = question.time.ends(now_ms);
        move |_| {
            let to_ms = (to_ms / step).floor() * step;
            (to_ms - (length_ms / step).ceil() * step, to_ms)
        }
    });
    let asked_ms = (ends.0, ends.1, step);

    let info_paths = [0, 1, 2, 3].map(|index| path_of_info(question, index));
    let infos = [
        use_answer(endpoint, info_paths[0].clone(), 0, 0),
        use_answer(endpoint, info_paths[1].clone(), 0, 0),
        use_answer(endpoint, info_paths[2].clone(), 0, 0),
        use_answer(endpoint, info_paths[3].clone(), 0, 0),
    ];
    let mut rates: [Option<Rate>; EXPRESSIONS_MAX] = Default::default();
    let mut units: [String; EXPRESSIONS_MAX] = Default::default();
    let mut paths: [AttrValue; EXPRESSIONS_MAX] = Default::default();
    for (index, expression) in question.expressions.iter().enumerate() {
        let Some(info) = info_of(&infos[index], &info_paths[index]) else {
            continue;
        };
        if !question.raw {
            rates[index] = rate_of(expression, info.as_ref(), step);
        }
        if let Some(info) = &info {
            let per = match (&rates[index], info.unit.is_empty()) {
                (Some(_), false) => "/s",
                _ => "",
            };
            units[index] = [&info.unit, per].concat();
        }
        let asked = rates[index]
            .as_ref()
            .map_or(expression, |rate| &rate.expression);
        paths[index] = path(asked, question.form, asked_ms).into();
    }
    let answers = [
        use_answer(endpoint, paths[0].clone(), 0, 0),
        use_answer(endpoint, paths[1].clone(), 0, 0),
        use_answer(endpoint, paths[2].clone(), 0, 0),
        use_answer(endpoint, paths[3].clone(), 0, 0),
    ];
    let mut each = Vec::new();
    for (index, expression) in question.expressions.iter().enumerate() {
        let answer = &answers[index];
        let problem = answer.problem.as_ref().filter(|_| !paths[index].is_empty());
        let values = match (question.form, &answer.json) {
            (Form::Values, Some(json)) if problem.is_none() => prom::values(json, expression),
            _ => Vec::new(),
        };
        each.push(Asked {
            rate: rates[index].clone(),
            problem: problem.map(|problem| problem.in_words().into()),
            is_loading: answer.json.is_none() && answer.problem.is_none(),
            values,
        });
    }
    *asked_wrongly.borrow_mut() = each.iter().all(|asked| {
        let problem = asked.problem.as_ref();
        problem.is_some_and(|problem| problem.contains(PARSE_ERROR))
    });
    let count = question.expressions.len();
    let expressions = question.expressions.clone();
    let lines = use_memo((answers, units, step.to_bits(), expressions), {
        move |(answers, units, _, expressions)| {
            let of_one = |index: usize| -> Vec<Line> {
                let answer = &answers[index];
                let json = answer.json.as_ref().filter(|_| answer.problem.is_none());
                json.map_or_else(Vec::new, |json| {
                    prom::lines(json, &expressions[index], &units[index])
                })
            };
            let all = (0..count).map(of_one).collect();
            let (track, count) = highest(lettered(all), step);
            let is_cut = answers
                .iter()
                .any(|answer| answer.json.as_ref().is_some_and(|json| prom::is_cut(json)));
            Shared::new(Lines {
                track,
                count,
                is_cut,
            })
        }
    });
    Answers {
        each,
        lines: (*lines).clone(),
        asked_ms,
        now_ms,
        on_retry: Callback::from(move |_: MouseEvent| tries.set(*tries + 1)),
    }
}

/// The question itself.
fn path(expression: &str, form: Form, (from_ms, to_ms, step_ms): (f64, f64, f64)) -> String {
    let seconds = |ms: f64| format::plain(ms / 1_000.0);
    let query = encode_query(expression);
    match form {
        Form::Values => format!(
            "/api/v1/query?query={query}&time={}&limit={SERIES_MAX}",
            seconds(to_ms)
        ),
        Form::Chart | Form::Table => format!(
            "/api/v1/query_range?query={query}&start={}&end={}&step={}&limit={SERIES_MAX}",
            seconds(from_ms),
            seconds(to_ms),
            seconds(step_ms)
        ),
    }
}

/// The heading of expression number `index`, of several.
pub(super) fn name_of(question: &Question, index: usize) -> &'static str {
    match question.expressions.len() {
        0 | 1 => "A",
        _ => letter(index),
    }
}
