//! What `promtool test rules` says of a file.
//!
//! Series come from the file, rules from the files that it names; every group is evaluated at each
//! `evaluation_interval` over a storage in memory, as promtool does it: at each evaluation the
//! samples up to its time are there and no later ones.

mod go;
mod read;

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use pulseboard_promql::{Answer, Labels, Options, instant, parse, storage::Unguarded};

use crate::{
    check, file,
    group::{Defaults, Env, Group},
    memory::Memory,
    notation,
    state::State,
    unit_test::{
        go::{duration, exponent, indented, labels, pairs},
        read::{AlertTest, ExprTest, TestFile, TestGroup},
    },
};

pub use crate::check::Report;

/// Evaluations of all rules of one test; the command's `--help` and the README say so.
pub const EVALUATIONS_MAX: i64 = 1_000_000;

/// Values of all series of one test.
const SAMPLES_MAX: usize = 20_000_000;

/// Where files come from.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, as the operating system says it: `open FILE: no such file or
    /// directory`.
    fn read(&mut self, path: &str) -> Result<String, String>;

    /// The files that a pattern stands for (`*`, `?`, `[…]`), in order; one without wildcards
    /// stands for itself where it is there.
    ///
    /// # Errors
    /// It is no pattern.
    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Runs the tests of a file; what it names is relative to its folder.
#[must_use]
pub fn test(file: &str, files: &mut dyn Files) -> Report {
    let mut report = Report {
        out: format!("Unit Testing:  {file}\n"),
        err: String::new(),
        ok: true,
    };
    let errors = run(file, files, &mut report.err);
    if errors.is_empty() {
        report.out.push_str("  SUCCESS\n");
    } else {
        report.ok = false;
        report.err.push_str("  FAILED:\n");
        for error in errors {
            report.err.push_str(&error);
            report.err.push('\n');
            report.out.push('\n');
        }
    }
    report.out.push('\n');
    report
}

fn run(file: &str, files: &mut dyn Files, err: &mut String) -> Vec<String> {
    let text = match files.read(file) {
        Ok(text) => text,
        Err(what) => return vec![what],
    };
    let test = match read::read(&text) {
        Ok(test) => test,
        Err(what) => return vec![what],
    };
    let folder = match file.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((folder, _)) => format!("{folder}/"),
        None => String::new(),
    };
    let mut rules = Vec::new();
    for pattern in &test.rule_files {
        let path = match pattern.is_empty() || pattern.starts_with('/') {
            true => pattern.clone(),
            false => clean(&format!("{folder}{pattern}")),
        };
        let found = match files.glob(&path) {
            Ok(found) => found,
            Err(what) => return vec![what],
        };
        if found.is_empty() {
            err.push_str("  WARNING: no file match pattern ");
            err.push_str(&path);
            err.push('\n');
        }
        rules.extend(found);
    }
    let mut order = BTreeMap::new();
    for (index, name) in test.group_eval_order.iter().enumerate() {
        if order.insert(name.as_str(), index).is_some() {
            return vec![format!("group name repeated in evaluation order: {name}")];
        }
    }
    let mut loaded = Vec::new();
    for path in rules {
        loaded.push((path.clone(), files.read(&path)));
    }
    let tests = test.tests.iter();
    tests
        .flat_map(|one| group(&test, one, &order, &loaded))
        .collect()
}

/// A path without `./` and `x/../`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, ".." | "")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A series of a test, and how far it is loaded.
struct Input {
    labels: Labels,
    values: Vec<Option<f64>>,
    next: usize,
}

/// Series with their values. Of two with the same labels it is the later one, as a whole: promtool
/// keeps them by their labels.
fn inputs(test: &TestGroup) -> Result<Vec<Input>, String> {
    let mut count = 0;
    let mut all: Vec<Input> = Vec::with_capacity(test.input_series.len());
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for (series, values) in &test.input_series {
        let one = Input {
            labels: notation::series(series)?,
            values: notation::values(values, series.len() + 1)?,
            next: 0,
        };
        count += one.values.len();
        if count > SAMPLES_MAX {
            return Err(format!("more than {SAMPLES_MAX} values in one test"));
        }
        match known.entry(one.labels.clone()) {
            Entry::Occupied(before) => {
                if let Some(before) = all.get_mut(*before.get()) {
                    *before = one;
                }
            }
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(one);
            }
        }
    }
    Ok(all)
}

fn load(
    interval_ms: i64,
    order: &BTreeMap<&str, usize>,
    rules: &[(String, Result<String, String>)],
) -> Result<Vec<Group>, Vec<String>> {
    let mut groups = Vec::new();
    for (path, text) in rules {
        let text = text
            .as_ref()
            .map_err(|what| vec![format!("{path}: {what}")])?;
        let read = file::read(text);
        if !read.faults.is_empty() {
            let errors = check::errors(&read.faults).into_iter();
            return Err(errors.map(|what| format!("{path}: {what}")).collect());
        }
        for spec in &read.groups {
            let defaults = Defaults {
                interval_ms,
                query_offset_ms: 0,
            };
            let group = Group::new(path, spec, defaults).map_err(|problems| -> Vec<String> {
                let problems = problems.into_iter();
                problems
                    .map(|(_, problem)| format!("{path}: {}", problem.what))
                    .collect()
            })?;
            groups.push(group);
        }
    }
    // Those that are not named go first, as in promtool.
    groups.sort_by_key(|group| order.get(group.name()).copied().unwrap_or_default());
    Ok(groups)
}

fn group(
    file: &TestFile,
    test: &TestGroup,
    order: &BTreeMap<&str, usize>,
    rules: &[(String, Result<String, String>)],
) -> Vec<String> {
    let every_ms = match file.evaluation_interval.as_millis() {
        0 => 60_000,
        interval_ms => interval_ms,
    };
    let interval_ms = match test.interval.as_millis() {
        0 => every_ms,
        interval_ms => interval_ms,
    };
    let mut inputs = match inputs(test) {
        Ok(inputs) => inputs,
        Err(what) => return vec![what],
    };
    let mut groups = match load(interval_ms, order, rules) {
        Ok(groups) => groups,
        Err(errors) => return errors,
    };
    let name = match test.name.as_str() {
        "" => String::new(),
        name => format!(" (in TestGroup {name})"),
    };
    for alert in &test.alerts {
        if alert.alertname.is_empty() {
            return vec![format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time {}{name}",
                alert.eval_time
            )];
        }
    }
    let alert_times = test.alerts.iter().map(|one| one.eval_time);
    let expr_times = test.exprs.iter().map(|one| one.eval_time);
    let last_ms = alert_times
        .chain(expr_times)
        .map(|time| time.as_millis())
        .max()
        .unwrap_or_default();
    let rule_count = groups.iter().map(Group::len).sum::<usize>().max(1);
    if (last_ms / every_ms + 1).saturating_mul(rule_count as i64) > EVALUATIONS_MAX {
        return vec![format!(
            "evaluating {rule_count} rules each {} until {} is more than {EVALUATIONS_MAX} evaluations{name}",
            file.evaluation_interval,
            duration(last_ms)
        )];
    }
    let mut memory = Memory::new();
    let mut errors = Vec::new();
    let mut alerts: Vec<&AlertTest> = test.alerts.iter().collect();
    alerts.sort_by_key(|one| one.eval_time);
    let mut alerts = alerts.into_iter().peekable();
    let mut passed_ms = 0;
    while passed_ms <= last_ms {
        let at_ms = test.start_ms + passed_ms;
        for input in &mut inputs {
            while let Some(value) = input.values.get(input.next)
                && interval_ms * input.next as i64 <= passed_ms
            {
                let sample_ms = test.start_ms + interval_ms * input.next as i64;
                if let Some(value) = value {
                    memory.push(&input.labels, sample_ms, *value);
                }
                input.next += 1;
            }
        }
        let failed = evaluate(&mut groups, at_ms, passed_ms, &mut memory, (test, every_ms));
        if !failed.is_empty() {
            errors.extend(failed);
            return errors;
        }
        while let Some(alert) =
            alerts.next_if(|alert| alert.eval_time.as_millis() < passed_ms + every_ms)
        {
            errors.extend(compare_alerts(alert, test, &groups));
        }
        passed_ms += every_ms;
    }
    for one in &test.exprs {
        errors.extend(compare_samples(one, file, test, &memory, every_ms));
    }
    errors
}

fn options(every_ms: i64) -> Options {
    Options {
        subquery_step_ms: every_ms,
        ..Options::default()
    }
}

fn evaluate(
    groups: &mut [Group],
    at_ms: i64,
    passed_ms: i64,
    memory: &mut Memory,
    (test, every_ms): (&TestGroup, i64),
) -> Vec<String> {
    let mut failed = Vec::new();
    for group in groups {
        for index in 0..group.len() {
            let env = Env {
                storage: &*memory,
                guard: &Unguarded,
                options: options(every_ms),
                external_labels: &test.external_labels,
                external_url: &test.external_url,
                resend_delay_ms: 0,
            };
            let outcome = group.evaluate_rule(index, at_ms, &env);
            for sample in &outcome.samples {
                memory.push(&sample.labels, sample.at_ms, sample.value);
            }
            if let Some(what) = outcome.error
                && let Some(rule) = group.rules().nth(index)
            {
                failed.push(format!(
                    "    rule: {}, time: {}, err: {what}",
                    rule.spec().name(),
                    duration(passed_ms)
                ));
            }
        }
    }
    failed
}

type Texts = Vec<(String, String)>;

fn compare_alerts(alert: &AlertTest, test: &TestGroup, groups: &[Group]) -> Option<String> {
    let mut expected: Vec<(Texts, Texts)> = alert
        .expected
        .iter()
        .map(|(labels, annotations)| {
            let mut labels = labels.clone();
            labels.insert("alertname".to_owned(), alert.alertname.clone());
            (
                labels.into_iter().collect(),
                annotations.clone().into_iter().collect(),
            )
        })
        .collect();
    let runners = groups.iter().flat_map(|group| &group.runners);
    let mut got: Vec<(Texts, Texts)> = runners
        .filter(|runner| runner.rule.spec().alert == alert.alertname)
        .flat_map(|runner| runner.machine.alerts())
        .filter(|one| one.state == State::Firing)
        .map(|one| {
            let annotations = one.annotations.iter();
            (
                pairs(&one.labels),
                annotations
                    .map(|(name, text)| (name.clone(), text.clone()))
                    .collect(),
            )
        })
        .collect();
    expected.sort();
    got.sort();
    if expected == got {
        return None;
    }
    let name = match test.name.as_str() {
        "" => String::new(),
        name => format!("    name: {name},\n"),
    };
    let shown = |all: &[(Texts, Texts)]| indented(&alerts(all), "            ");
    Some(format!(
        "{name}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}",
        alert.alertname,
        alert.eval_time,
        shown(&expected),
        shown(&got)
    ))
}

fn alerts(all: &[(Texts, Texts)]) -> String {
    if all.is_empty() {
        return "[]".to_owned();
    }
    let shown: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(index, (own, annotations))| {
            let text = format!(
                "\nLabels:{}\nAnnotations:{}",
                labels(own),
                labels(annotations)
            );
            format!("{index}:{}", indented(&text, "  "))
        })
        .collect();
    format!("[\n{}\n]", shown.join(",\n"))
}

fn compare_samples(
    one: &ExprTest,
    file: &TestFile,
    test: &TestGroup,
    memory: &Memory,
    every_ms: i64,
) -> Option<String> {
    let head = format!(
        "    expr: {}, time: {},",
        pulseboard_promql::print::quoted(&one.expr),
        one.eval_time
    );
    let at_ms = test.start_ms + one.eval_time.as_millis();
    let answer = parse(&one.expr)
        .map_err(|error| error.to_string())
        .and_then(|expr| {
            instant(&expr, at_ms, memory, &Unguarded, options(every_ms))
                .map_err(|error| error.to_string())
        });
    let mut got: Vec<(Texts, f64)> = match answer {
        Err(what) => return Some(format!("{head} err: {what}")),
        Ok((Answer::Vector(series), _)) => series
            .iter()
            .map(|(labels, (_, value))| (pairs(labels), *value))
            .collect(),
        Ok((Answer::Scalar((_, value)), _)) => vec![(Vec::new(), value)],
        Ok(_) => return Some(format!("{head} err: rule result is not a vector or scalar")),
    };
    let mut expected = Vec::with_capacity(one.expected.len());
    for sample in &one.expected {
        if sample.has_histogram {
            return Some(format!(
                "{head} err: labels {:?}: a native histogram is expected, and they are not supported",
                sample.labels
            ));
        }
        match notation::series(&sample.labels) {
            Ok(labels) => expected.push((pairs(&labels), sample.value)),
            Err(what) => {
                return Some(format!(
                    "{head} err: labels {}: {what}",
                    pulseboard_promql::print::quoted(&sample.labels)
                ));
            }
        }
    }
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    got.sort_by(|one, other| one.0.cmp(&other.0));
    let is_near = |one: f64, other: f64| {
        one == other || file.fuzzy_compare && (one.next_up() == other || one.next_down() == other)
    };
    let is_same = expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|(one, other)| one.0 == other.0 && is_near(one.1, other.1));
    if is_same {
        return None;
    }
    let shown = |all: &[(Texts, f64)]| match all.is_empty() {
        true => "nil".to_owned(),
        false => all
            .iter()
            .map(|(own, value)| format!("{} {}", labels(own), exponent(*value)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    Some(format!(
        "{head}\n        exp: {}\n        got: {}",
        shown(&expected),
        shown(&got)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_go_cleans_them() {
        for (path, cleaned) in [
            ("a/./b.yml", "a/b.yml"),
            ("a/../b.yml", "b.yml"),
            ("../b.yml", "../b.yml"),
            ("a/b/../../../c.yml", "../c.yml"),
            ("/a//b.yml", "/a/b.yml"),
            ("/../b.yml", "/../b.yml"),
        ] {
            assert_eq!(clean(path), cleaned);
        }
    }
}
