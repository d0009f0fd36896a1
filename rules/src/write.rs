//! Groups as YAML.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::spec::{Clear, GroupSpec, Missing, RuleSpec};

/// A rule file of these groups, as `promtool check rules` takes it. What a rule has beyond
/// Prometheus' is left out, and a comment above the rule says so; a rule that is switched off is a
/// comment as a whole.
#[must_use]
pub fn write(groups: &[GroupSpec]) -> String {
    let mut text = String::from("groups:\n");
    if groups.is_empty() {
        return "groups: []\n".to_owned();
    }
    for group in groups {
        field(&mut text, "  - ", "name", &group.name);
        match group.interval {
            Some(interval) if interval.is_zero() => {
                text.push_str("    # left out: evaluated at each tick\n");
            }
            Some(interval) => field(&mut text, "    ", "interval", &interval.to_string()),
            None => {}
        }
        if let Some(offset) = group.query_offset {
            field(&mut text, "    ", "query_offset", &offset.to_string());
        }
        if group.limit != 0 {
            let _infallible = writeln!(text, "    limit: {}", group.limit);
        }
        texts(&mut text, "    ", "labels", &group.labels);
        if group.rules.iter().any(|rule| rule.enabled) {
            text.push_str("    rules:\n");
        } else {
            text.push_str("    rules: []\n");
        }
        for spec in &group.rules {
            rule(&mut text, spec);
        }
    }
    text
}

fn rule(text: &mut String, spec: &RuleSpec) {
    let mut left_out = Vec::new();
    match &spec.clear {
        Some(Clear::Number(number)) => left_out.push(format!("clear: {number}")),
        Some(Clear::Expr(expr)) => left_out.push(format!("clear: {}", double(expr))),
        None => {}
    }
    match spec.missing {
        Missing::Keep => left_out.push("missing: keep".to_owned()),
        Missing::Alert => left_out.push("missing: alert".to_owned()),
        Missing::Resolve => {}
    }
    if let Some(every) = spec.every {
        left_out.push(format!("every: {every}"));
    }
    if !spec.enabled {
        left_out.push("enabled: false, and the rule with it".to_owned());
    }
    if !left_out.is_empty() {
        let _infallible = writeln!(text, "      # left out: {}", left_out.join(", "));
    }
    let mut own = String::new();
    let (kind, name) = match spec.alert.is_empty() {
        true => ("record", &spec.record),
        false => ("alert", &spec.alert),
    };
    field(&mut own, "      - ", kind, name);
    field(&mut own, "        ", "expr", &spec.expr);
    for (name, period) in [
        ("for", spec.hold),
        ("keep_firing_for", spec.keep_firing_for),
    ] {
        if !period.is_zero() {
            field(&mut own, "        ", name, &period.to_string());
        }
    }
    texts(&mut own, "        ", "labels", &spec.labels);
    texts(&mut own, "        ", "annotations", &spec.annotations);
    if spec.enabled {
        text.push_str(&own);
    } else {
        for line in own.lines() {
            let _infallible = writeln!(text, "      # {}", line.get(6..).unwrap_or(line));
        }
    }
}

fn texts(text: &mut String, indent: &str, name: &str, all: &BTreeMap<String, String>) {
    if all.is_empty() {
        return;
    }
    let _infallible = writeln!(text, "{indent}{name}:");
    let deeper = format!("{indent}  ");
    for (name, value) in all {
        field(text, &deeper, &scalar(name), value);
    }
}

fn field(text: &mut String, indent: &str, name: &str, value: &str) {
    if !is_literal(value) {
        let _infallible = writeln!(text, "{indent}{name}: {}", scalar(value));
        return;
    }
    let chomp = match (value.ends_with("\n\n"), value.ends_with('\n')) {
        (true, _) => "+",
        (false, true) => "",
        (false, false) => "-",
    };
    let _infallible = writeln!(text, "{indent}{name}: |{chomp}");
    let deeper = " ".repeat(indent.len() + 2);
    let body = value.strip_suffix('\n').unwrap_or(value);
    for line in body.split('\n') {
        match line.is_empty() {
            true => text.push('\n'),
            false => {
                let _infallible = writeln!(text, "{deeper}{line}");
            }
        }
    }
}

/// Whether a text of several lines can stand as it is.
fn is_literal(value: &str) -> bool {
    let body = value.trim_end_matches('\n');
    body.contains('\n')
        && !value.starts_with([' ', '\n', '\t'])
        && value.chars().all(|one| one == '\n' || is_shown(one))
}

fn is_shown(one: char) -> bool {
    matches!(one, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// A text on one line, with quotation marks where it needs some.
fn scalar(value: &str) -> String {
    let is_word = |one: char| one.is_ascii_alphanumeric() || " _./%()+-".contains(one);
    let reserved = [
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan",
    ];
    let is_duration = value.len() < 20
        && value.starts_with(|one: char| one.is_ascii_digit())
        && value.ends_with(['s', 'm', 'h', 'd', 'w', 'y'])
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_plain = is_duration
        || value.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_')
            && value.chars().all(|one| is_word(one) || one == ':')
            && !value.contains(": ")
            && !value.ends_with([' ', ':'])
            && !reserved.contains(&value.to_ascii_lowercase().as_str());
    if is_plain {
        return value.to_owned();
    }
    match value.chars().all(is_shown) {
        true => format!("'{}'", value.replace('\'', "''")),
        false => double(value),
    }
}

/// A text in double quotation marks.
fn double(value: &str) -> String {
    let mut text = String::from("\"");
    for one in value.chars() {
        match one {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            one if is_shown(one) => text.push(one),
            one => {
                let _infallible = match u32::from(one) {
                    number @ 0..=0xff => write!(text, "\\x{number:02x}"),
                    number @ 0x100..=0xffff => write!(text, "\\u{number:04x}"),
                    number => write!(text, "\\U{number:08x}"),
                };
            }
        }
    }
    text.push('"');
    text
}
