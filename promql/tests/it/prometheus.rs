//! Our answers beside those of a real Prometheus, bit for bit where both compute alike.
//!
//! The Prometheus of Debian is 2.42, whose ranges and look-back are closed to the left where ours
//! are open, as Prometheus 3 has them. So no sample and no time of a subquery is ever at a left
//! edge. What else Prometheus 3 has changed, the grammar keeps away from. Without the program the
//! test says so and passes.

mod server;

use std::{collections::BTreeMap, env, path::PathBuf};

use fastrand::Rng;
use pulseboard_promql::parse;
use serde_json::Value;

use self::server::Server;
use crate::{
    compare::{OPTIONS, Outcome, Run, agree, differences, ours},
    generated::{self, LENGTH_S, START_S},
    grammar::{Grammar, Made},
    support::Memory,
};

/// Expressions of one run; each is asked at one time and over a range.
const EXPRESSIONS: usize = 1_200;

/// Starts the program that the environment names, if it does.
fn program() -> Option<PathBuf> {
    let program = env::var_os("PULSEBOARD_PROMETHEUS").map(PathBuf::from);
    let found = program.filter(|program| program.is_file());
    if found.is_none() {
        eprintln!("left out: PULSEBOARD_PROMETHEUS names no Prometheus to compare with");
    }
    found
}

fn point(value: &Value) -> (i64, f64) {
    let time = value[0].as_f64().expect("a time");
    let number = value[1].as_str().expect("a number");
    (
        (time * 1000.0).round() as i64,
        number.parse().expect("a number"),
    )
}

fn theirs(server: &Server, text: &str, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Outcome {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let said = match step_ms {
        0 => server.question(
            "/api/v1/query",
            &[("query", text), ("time", &seconds(start_ms))],
        ),
        _ => server.question(
            "/api/v1/query_range",
            &[
                ("query", text),
                ("start", &seconds(start_ms)),
                ("end", &seconds(end_ms)),
                ("step", &seconds(step_ms)),
            ],
        ),
    };
    if said["status"] != "success" {
        return Outcome::Refused(said["error"].to_string());
    }
    let result = &said["data"]["result"];
    if said["data"]["resultType"] == "scalar" {
        return Outcome::Series(BTreeMap::from([("{}".to_owned(), vec![point(result)])]));
    }
    let series = result.as_array().expect("series").iter().map(|series| {
        let labels = series["metric"].as_object().expect("labels");
        let labels: pulseboard_promql::Labels = labels
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().into(),
                    value.as_str().unwrap_or_default().into(),
                )
            })
            .collect();
        let points = match series["values"].as_array() {
            Some(values) => values.iter().map(point).collect(),
            None => vec![point(&series["value"])],
        };
        (labels.to_string(), points)
    });
    Outcome::Series(series.collect())
}

/// An expression with a piece of it left out, doubled or moved: mostly no expression any more.
fn damaged(random: &mut Rng, text: &str) -> String {
    let is_word = |one: char| one.is_ascii_alphanumeric() || "_.\"=~!<>".contains(one);
    let mut pieces: Vec<String> = Vec::new();
    for one in text.chars() {
        match pieces.last_mut() {
            Some(last) if is_word(one) && last.ends_with(is_word) => last.push(one),
            _ => pieces.push(one.to_string()),
        }
    }
    let (at, other) = (random.usize(..pieces.len()), random.usize(..pieces.len()));
    match random.u8(..4) {
        0 => drop(pieces.remove(at)),
        1 => pieces.insert(other, pieces[at].clone()),
        2 => pieces.swap(at, other),
        _ => {
            let more = [
                "bool",
                "offset 5m",
                "@ 5",
                "by (job)",
                "[5m]",
                "[5m:]",
                ",",
                "on()",
                "-",
                "\"a\"",
                "group_left",
                "()",
                "{}",
                "{a=\"b\"}",
                "and",
                "1",
                "x",
                "NaN",
                "ignoring(a)",
                "@ end()",
            ];
            pieces.insert(at, format!(" {} ", more[random.usize(..more.len())]));
        }
    }
    pieces.concat()
}

/// Whether Prometheus 3 reads it otherwise than 2.42 does, of what damage can make: there numbers
/// and durations are one, and so are names and texts inside braces; and only blanks may stand
/// behind a duration in brackets, where 2.42 takes a word.
fn is_read_otherwise(text: &str) -> bool {
    let mut outside = String::new();
    let mut in_brackets = false;
    for one in text.chars() {
        in_brackets = one == '[' || in_brackets && one != ']';
        match in_brackets {
            true if one == '.' || one == '@' => return true,
            true => {}
            false => outside.push(one),
        }
    }
    let words = || outside.split(|one: char| !one.is_ascii_alphanumeric());
    let is_duration = |word: &str| {
        word.starts_with(|one: char| one.is_ascii_digit()) && word.ends_with(['s', 'm'])
    };
    words().any(is_duration)
        || text.contains(" x ]")
        || text.contains("{ \"")
        || text.contains("( \"a\"")
        || text.contains("offset")
}

#[test]
fn what_is_no_expression_is_none_for_a_real_prometheus() {
    let Some(program) = program() else {
        return;
    };
    let mut run = Run::begin();
    let mut random = run.random();
    let server = Server::start(&program, OPTIONS.lookback_ms, OPTIONS.subquery_step_ms);
    let mut refused = 0;
    for _ in 0..EXPRESSIONS * 2 {
        let made = Grammar::careful(&mut random).question();
        let text = damaged(&mut random, &made.text);
        let (ours, theirs) = (
            parse(&text),
            server.question("/api/v1/query", &[("query", &text)]),
        );
        let is_refused = theirs["errorType"] == "bad_data";
        refused += usize::from(is_refused);
        if ours.is_err() != is_refused && !is_read_otherwise(&text) {
            run.differs(format!(
                "{text}\n  ours:   {:?}\n  theirs: {}",
                ours.err(),
                theirs["error"]
            ));
        }
    }
    run.end(&format!(
        "{} expressions, {refused} refused",
        EXPRESSIONS * 2
    ));
}

#[test]
fn answers_are_those_of_a_real_prometheus() {
    let Some(program) = program() else {
        return;
    };
    let mut run = Run::begin();
    let mut random = run.random();
    let all = generated::all(&mut random);
    let server = Server::start(&program, OPTIONS.lookback_ms, OPTIONS.subquery_step_ms);
    server.fill(&all);
    let memory = Memory::of(all);
    let (mut asked, mut answered, mut refused) = (0, 0, 0);
    for _ in 0..EXPRESSIONS {
        let Made { text, is_exact, .. } = Grammar::careful(&mut random).question();
        let at_ms = (START_S + random.i64(-20..LENGTH_S + 60)) * 1000 + 300;
        let step_ms = [1_000, 7_000, 13_000, 60_000][random.usize(..4)];
        let end_ms = at_ms + step_ms * random.i64(0..20);
        for times in [(at_ms, at_ms, 0), (at_ms, end_ms, step_ms)] {
            let (ours, theirs) = (ours(&memory, &text, times), theirs(&server, &text, times));
            asked += 1;
            match &ours {
                Outcome::Refused(_) => refused += 1,
                Outcome::Series(series) => answered += usize::from(!series.is_empty()),
            }
            if !agree(&ours, &theirs, is_exact) {
                run.differs(format!(
                    "{text} over {times:?}\n{}",
                    differences(&ours, &theirs)
                ));
            }
        }
    }
    run.end(&format!(
        "{asked} questions, {answered} with series in their answers, {refused} refused"
    ));
}
