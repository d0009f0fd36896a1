//! What is asked of the server for the expressions in the address, and what it answers.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::Shown,
    format,
    hooks::{Answer, use_answer, use_live, use_seconds, use_selector},
    net::{
        config::{Endpoint, encode_query},
        prom::{self, SERIES_MAX, Value},
        series::Series,
    },
    platform,
    stores::{
        answers::{letter, lettered},
        expression::bare_selector,
        live::{Live, Wanted},
        question::{
            Answered, EXPRESSIONS_MAX, Form, Question, Rate, Since, highest, rate_of, step_ms,
        },
        series::SeriesStore,
        shared::Shared,
        stats::StatsStore,
        track::Track,
    },
};

/// A time that goes on is asked for anew this often, in parts of it and at the least.
const PARTS: f64 = 450.0;
const EVERY_MS_MIN: f64 = 2_000.0;

/// And at the least where what comes meanwhile is heard of live: late samples change what was.
const EVERY_MS_MIN_LIVE: f64 = 30_000.0;

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
    /// Of when the values are, Unix milliseconds.
    pub(super) values_ms: f64,
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

/// What is asked of the server for one expression.
#[derive(Clone, Debug, Default, PartialEq)]
struct Of {
    /// As the reader wrote it: what a line without labels is called.
    name: String,
    /// The expression that is asked; empty while it is not known whether it is a counter.
    query: String,
    rate: Option<Rate>,
    unit: String,
}

/// Every expression of `question`, as it is asked.
#[hook]
fn use_each(endpoint: &Endpoint, question: &Question, step: f64) -> Vec<Of> {
    let info_paths = [0, 1, 2, 3].map(|index| path_of_info(question, index));
    let infos = [
        use_answer(endpoint, info_paths[0].clone(), 0, 0),
        use_answer(endpoint, info_paths[1].clone(), 0, 0),
        use_answer(endpoint, info_paths[2].clone(), 0, 0),
        use_answer(endpoint, info_paths[3].clone(), 0, 0),
    ];
    let expressions = question.expressions.iter().take(EXPRESSIONS_MAX);
    let one = |(index, expression): (usize, &String)| {
        let mut of = Of {
            name: expression.clone(),
            ..Of::default()
        };
        let Some(info) = info_of(&infos[index], &info_paths[index]) else {
            return of;
        };
        if !question.raw {
            of.rate = rate_of(expression, info.as_ref(), step);
        }
        if let Some(info) = &info {
            let per = match (&of.rate, info.unit.is_empty()) {
                (Some(_), false) => "/s",
                _ => "",
            };
            of.unit = [&info.unit, per].concat();
        }
        let rate = of.rate.as_ref();
        of.query = rate.map_or(expression, |rate| &rate.expression).clone();
        of
    };
    expressions.enumerate().map(one).collect()
}

/// Asks for all of `question`: once, while the server tells by itself what comes then; else again
/// and again while its time goes on.
#[hook]
pub(super) fn use_asked(endpoint: &Endpoint, question: &Question) -> Answers {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let connections = *use_selector(SeriesStore::select_connections);
    let tries = use_state(|| 0_u64);
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let length_ms = question.time.length_ms(now_ms);
    let step = step_ms(length_ms, platform::points_across());
    let all = use_each(endpoint, question, step);
    // What is no expression will not become one.
    let asked_wrongly = use_mut_ref(|| false);

    let every_ms = (length_ms / PARTS).max(EVERY_MS_MIN).max(step);
    let every_live_ms = every_ms.max(EVERY_MS_MIN_LIVE);
    let can_be_live = question.time.is_live() && !*asked_wrongly.borrow();
    let wanted = all.iter().filter(|of| can_be_live && !of.query.is_empty());
    let wanted = wanted.map(|of| Wanted {
        query: of.query.clone(),
        step_ms: step,
        keep_ms: 2.0 * every_live_ms,
    });
    let live = use_live(wanted.collect());
    let live_of = |of: &Of| {
        let mut known = live.iter().filter(|_| can_be_live);
        known.find(|live| live.query() == of.query)
    };
    let is_live = all
        .iter()
        .all(|of| live_of(of).is_some_and(|live| live.is_live));

    let is_over = question.time.to.at(now_ms) < now_ms - every_ms;
    let every_ms = if is_live { every_live_ms } else { every_ms };
    let part = match is_over || *asked_wrongly.borrow() {
        true => 0.0,
        false => (f64::from(seconds) * 1_000.0 / every_ms).floor(),
    };
    // The same ends until it is time for the next question; on whole steps, so that nothing moves
    // but by steps. What was missed while the connection was lost is asked for.
    let again = (part.to_bits(), *tries, connections, is_live);
    let ends = use_memo((question.time, step.to_bits(), again), {
        let (_, to_ms) = question.time.ends(now_ms);
        move |_| {
            let to_ms = (to_ms / step).floor() * step;
            (to_ms - (length_ms / step).ceil() * step, to_ms)
        }
    });
    let asked_ms = (ends.0, ends.1, step);

    let paths = [0, 1, 2, 3].map(|index: usize| {
        let of = all.get(index).filter(|of| !of.query.is_empty());
        let path = of.map(|of| path(&of.query, question.form, asked_ms));
        AttrValue::from(path.unwrap_or_default())
    });
    let answers = [
        use_answer(endpoint, paths[0].clone(), 0, 0),
        use_answer(endpoint, paths[1].clone(), 0, 0),
        use_answer(endpoint, paths[2].clone(), 0, 0),
        use_answer(endpoint, paths[3].clone(), 0, 0),
    ];
    let mut values_ms = ends.1;
    let mut each = Vec::new();
    for (index, of) in all.iter().enumerate() {
        let answer = &answers[index];
        let problem = answer.problem.as_ref().filter(|_| !paths[index].is_empty());
        // Only all of them together are of one moment.
        let newest = live_of(of).filter(|live| is_live && live.at_ms > ends.1);
        let values = match (question.form, &answer.json) {
            (Form::Values, Some(_)) if problem.is_none() && newest.is_some() => {
                values_ms = values_ms.max(newest.map_or(0.0, |live| live.at_ms));
                newest.map_or_else(Vec::new, |live| values_of(live, of))
            }
            (Form::Values, Some(json)) if problem.is_none() => prom::values(json, &of.name),
            _ => Vec::new(),
        };
        each.push(Asked {
            rate: of.rate.clone(),
            problem: problem.map(|problem| problem.in_words().into()),
            is_loading: answer.json.is_none() && answer.problem.is_none(),
            values,
        });
    }
    *asked_wrongly.borrow_mut() = each.iter().all(|asked| {
        let problem = asked.problem.as_ref();
        problem.is_some_and(|problem| problem.contains(PARSE_ERROR))
    });
    // Read once, and not with each value that comes.
    let answered = use_memo((answers, all.clone()), |(answers, all)| {
        let mut lines = Vec::new();
        for (index, of) in all.iter().enumerate() {
            let answer = &answers[index];
            let Some(json) = answer.json.as_ref().filter(|_| answer.problem.is_none()) else {
                continue;
            };
            for mut line in prom::lines(json, &of.name, &of.unit) {
                line.key = lettered(&line.key, index, all.len());
                lines.push(Answered::new(line));
            }
        }
        let mut known = answers.iter().filter_map(|answer| answer.json.as_ref());
        let is_cut = known.any(|json| prom::is_cut(json));
        Shared::new((lines, is_cut))
    });
    let answered = (*answered).clone();
    let key = (answered, live.clone(), can_be_live, step.to_bits(), all);
    let lines = use_memo(key, move |(answered, live, can_be_live, _, all)| {
        let mut named = Vec::new();
        for (index, of) in all.iter().enumerate() {
            let mut known = live.iter().filter(|_| *can_be_live);
            if let Some(live) = known.find(|live| live.query() == of.query) {
                for line in &live.lines {
                    let key = name_of_line(&line.key, of);
                    named.push((lettered(key, index, all.len()), &of.unit, line));
                }
            }
        }
        let since: Vec<Since<'_>> = named
            .iter()
            .map(|(key, unit, live)| Since { key, unit, live })
            .collect();
        let (track, count) = highest(&answered.0, &since, step);
        Shared::new(Lines {
            track,
            count,
            is_cut: answered.1,
        })
    });
    Answers {
        each,
        lines: (*lines).clone(),
        asked_ms,
        values_ms,
        now_ms,
        on_retry: Callback::from(move |_: MouseEvent| tries.set(*tries + 1)),
    }
}

/// What a line is called in the answer to an expression.
fn name_of_line<'a>(key: &'a str, of: &'a Of) -> &'a str {
    if key.is_empty() { &of.name } else { key }
}

/// What an expression is right now.
fn values_of(live: &Live, of: &Of) -> Vec<(String, Value)> {
    let value = |line: &crate::stores::live::LiveLine| {
        let name = name_of_line(&line.key, of).to_owned();
        Some((name, Value::Figure(line.newest()?)))
    };
    live.lines.iter().filter_map(value).collect()
}

/// The question itself.
fn path(expression: &str, form: Form, (from_ms, to_ms, step_ms): (f64, f64, f64)) -> String {
    match form {
        Form::Values => format!(
            "/api/v1/query?query={}&time={}&limit={SERIES_MAX}",
            encode_query(expression),
            format::plain(to_ms / 1_000.0)
        ),
        Form::Chart | Form::Table => {
            prom::range_path(expression, from_ms, to_ms, step_ms, SERIES_MAX)
        }
    }
}

/// The heading of expression number `index`, of several.
pub(super) fn name_of(question: &Question, index: usize) -> &'static str {
    match question.expressions.len() {
        0 | 1 => "A",
        _ => letter(index),
    }
}
