//! What `promtool check rules` says of a file.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    file::{self, Fault, Told},
    spec::GroupSpec,
};

/// What is printed, and whether all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Whether the exit code is 0 (otherwise 1).
    pub ok: bool,
}

/// What is said of the text of a file, called `file`. Rules that are there twice are told, and that
/// is no failure.
#[must_use]
pub fn check(file: &str, text: &str) -> Report {
    let read = file::read(text);
    let mut report = Report {
        out: format!("Checking {file}\n"),
        err: String::new(),
        ok: read.faults.is_empty(),
    };
    let mut failed = |errors: &[String]| {
        report.err.push_str("  FAILED:\n");
        for error in errors {
            report.err.push_str(error);
            report.err.push('\n');
        }
    };
    if read.faults.is_empty() {
        match duplicates(&read.groups) {
            Some(words) => failed(&[words]),
            None => {
                let rules: usize = read.groups.iter().map(|group| group.rules.len()).sum();
                let _infallible = writeln!(report.out, "  SUCCESS: {rules} rules found");
            }
        }
    } else {
        let errors: Vec<String> = errors(&read.faults)
            .into_iter()
            .map(|error| format!("{file}: {error}"))
            .collect();
        failed(&errors);
    }
    report.out.push('\n');
    report
}

/// Errors as Prometheus tells them: what is no YAML or of the wrong type hides the rest.
pub(crate) fn errors(faults: &[Fault]) -> Vec<String> {
    let duration = faults.iter().find_map(|fault| match &fault.told {
        Told::Duration(what) | Told::Syntax(what) => Some(what.clone()),
        _ => None,
    });
    if let Some(what) = duration {
        return vec![what];
    }
    let typed: Vec<&str> = faults
        .iter()
        .filter_map(|fault| match &fault.told {
            Told::Typed(line) => Some(line.as_str()),
            _ => None,
        })
        .collect();
    if !typed.is_empty() {
        // Prometheus reads a file twice, the second time for the places of groups alone.
        let again: Vec<String> = typed
            .iter()
            .filter_map(|line| {
                let (line, kind) = line.rsplit_once(" into ")?;
                let kind = match kind {
                    "rulefmt.RuleGroups" => "rulefmt.ruleGroups",
                    "[]rulefmt.RuleGroup" => "[]yaml.Node",
                    _ => return None,
                };
                Some(format!("{line} into {kind}"))
            })
            .collect();
        let told = |lines: &str| format!("yaml: unmarshal errors:\n  {lines}");
        let mut errors = vec![told(&typed.join("\n  "))];
        if !again.is_empty() {
            errors.push(told(&again.join("\n  ")));
        }
        return errors;
    }
    faults
        .iter()
        .filter_map(|fault| match &fault.told {
            Told::Whole(what) => Some(what.clone()),
            _ => None,
        })
        .collect()
}

/// A rule's name and labels.
type Known<'a> = (&'a str, Vec<(&'a String, &'a String)>);

/// What is said of rules with one name and the same labels.
fn duplicates(groups: &[GroupSpec]) -> Option<String> {
    let mut counts: BTreeMap<Known<'_>, usize> = BTreeMap::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let key = (rule.name(), rule.labels.iter().collect());
        *counts.entry(key).or_default() += 1;
    }
    counts.retain(|_, count| *count > 1);
    if counts.is_empty() {
        return None;
    }
    let mut words = format!("lint error {} duplicate rule(s) found.\n", counts.len());
    for (name, labels) in counts.keys() {
        let _infallible = writeln!(words, "Metric: {name}\nLabel(s):");
        for (name, value) in labels {
            let _infallible = writeln!(words, "\t{name}: {value}");
        }
    }
    words.push_str("Might cause inconsistency while recording expressions");
    Some(words)
}
