//! An expression as text again: on one line, or over several where it is long.

use std::fmt::{self, Write as _};

use crate::ast::{Aggregate, At, Binary, Cardinality, Expr, ExprKind, Matcher, Selector, When};

/// Longer ones are put on several lines by [`pretty`].
const LINE_MAX: usize = 100;

/// A duration as Prometheus writes it: years and weeks only where nothing is left over.
#[must_use]
pub fn duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = if ms < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    let mut rest = ms.unsigned_abs();
    for (unit, length, exact) in [
        ("y", 365 * 86_400_000_u64, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ] {
        let count = rest / length;
        if count > 0 && (!exact || rest.is_multiple_of(length)) {
            let _infallible = write!(text, "{count}{unit}");
            rest -= count * length;
        }
    }
    text
}

/// A number as Go's `fmt` prints one: shortest, with an exponent where that is below -4 or above 5.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// A text in quotation marks, with Go's escapes.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for one in text.chars() {
        match one {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            one if one.is_control() => {
                let number = u32::from(one);
                let _infallible = match number {
                    7 => quoted.write_str("\\a"),
                    8 => quoted.write_str("\\b"),
                    11 => quoted.write_str("\\v"),
                    12 => quoted.write_str("\\f"),
                    0..0x80 => write!(quoted, "\\x{number:02x}"),
                    _ => write!(quoted, "\\u{number:04x}"),
                };
            }
            one => quoted.push(one),
        }
    }
    quoted.push('"');
    quoted
}

fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_plain_name(name: &str) -> bool {
    is_plain_label(&name.replace(':', "_"))
}

fn label(name: &str) -> String {
    match is_plain_label(name) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

fn labels<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| label(name.as_ref())).collect();
    names.join(", ")
}

fn when(when: &When) -> String {
    let mut text = match when.at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        Some(At::Time(ms)) => format!(" @ {:.3}", ms as f64 / 1000.0),
    };
    if when.offset_ms != 0 {
        text.push_str(" offset ");
        text.push_str(&duration(when.offset_ms));
    }
    text
}

fn matcher(one: &Matcher) -> String {
    format!(
        "{}{}{}",
        label(&one.name),
        one.op.text(),
        quoted(&one.value)
    )
}

/// A selector without its times.
fn series(selector: &Selector) -> String {
    let plain = selector.name.as_deref().filter(|name| is_plain_name(name));
    let mut inside: Vec<String> = match (&selector.name, plain) {
        (Some(name), None) => vec![quoted(name)],
        _ => Vec::new(),
    };
    let named = selector.name.is_some();
    let is_name =
        |one: &Matcher| named && &*one.name == "__name__" && one.op == crate::ast::MatchOp::Equal;
    let others = selector.matchers.iter().filter(|one| !is_name(one));
    let mut others: Vec<String> = others.map(matcher).collect();
    // In the order of what is written, as Prometheus has them.
    others.sort_unstable();
    inside.append(&mut others);
    match (plain, inside.is_empty()) {
        (Some(name), true) => name.to_owned(),
        (name, _) => format!("{}{{{}}}", name.unwrap_or_default(), inside.join(",")),
    }
}

fn aggregate_head(aggregate: &Aggregate) -> String {
    let name = aggregate.op.name();
    match (aggregate.without, aggregate.grouping.is_empty()) {
        (true, _) => format!("{name} without ({}) ", labels(&aggregate.grouping)),
        (false, false) => format!("{name} by ({}) ", labels(&aggregate.grouping)),
        (false, true) => name.to_owned(),
    }
}

fn operator(binary: &Binary) -> String {
    let mut text = binary.op.text().to_owned();
    if binary.is_bool {
        text.push_str(" bool");
    }
    let matching = &binary.matching;
    if matching.is_on || !matching.labels.is_empty() {
        let word = if matching.is_on { "on" } else { "ignoring" };
        let _infallible = write!(text, " {word} ({})", labels(&matching.labels));
        let side = match matching.cardinality {
            Cardinality::One => return text,
            Cardinality::Left => "left",
            Cardinality::Right => "right",
        };
        let _infallible = write!(text, " group_{side} ({})", labels(&matching.include));
    }
    text
}

fn subquery_tail(range_ms: i64, step_ms: Option<i64>, at: &When) -> String {
    format!(
        "[{}:{}]{}",
        duration(range_ms),
        step_ms.map(duration).unwrap_or_default(),
        when(at)
    )
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(value) => f.write_str(&number(*value)),
            ExprKind::Text(text) => f.write_str(&quoted(text)),
            ExprKind::Vector(selector) => write!(f, "{}{}", series(selector), when(&selector.when)),
            ExprKind::Matrix { selector, range_ms } => write!(
                f,
                "{}[{}]{}",
                series(selector),
                duration(*range_ms),
                when(&selector.when)
            ),
            ExprKind::Subquery {
                expr,
                range_ms,
                step_ms,
                when,
            } => write!(f, "{expr}{}", subquery_tail(*range_ms, *step_ms, when)),
            ExprKind::Call { function, args } => {
                write!(f, "{}(", function.name)?;
                for (index, arg) in args.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{arg}")?;
                }
                f.write_str(")")
            }
            ExprKind::Aggregate(aggregate) => {
                write!(f, "{}(", aggregate_head(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Binary(binary) => {
                write!(f, "{} {} {}", binary.lhs, operator(binary), binary.rhs)
            }
            ExprKind::Negative(expr) => write!(f, "-{expr}"),
            ExprKind::Positive(expr) => write!(f, "+{expr}"),
            ExprKind::Paren(expr) => write!(f, "({expr})"),
        }
    }
}

/// The same, on several lines where it is long.
#[must_use]
pub fn pretty(expr: &Expr) -> String {
    at_level(expr, 0)
}

fn at_level(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    if line.len() <= LINE_MAX {
        return format!("{indent}{line}");
    }
    match &expr.kind {
        ExprKind::Aggregate(aggregate) => {
            let param = aggregate
                .param
                .as_ref()
                .map(|param| format!("{},\n", at_level(param, level + 1)))
                .unwrap_or_default();
            format!(
                "{indent}{}(\n{param}{}\n{indent})",
                aggregate_head(aggregate),
                at_level(&aggregate.expr, level + 1)
            )
        }
        ExprKind::Binary(binary) => format!(
            "{}\n{indent}{}\n{}",
            at_level(&binary.lhs, level + 1),
            operator(binary),
            at_level(&binary.rhs, level + 1)
        ),
        ExprKind::Call { function, args } => {
            let args: Vec<String> = args.iter().map(|arg| at_level(arg, level + 1)).collect();
            format!(
                "{indent}{}(\n{}\n{indent})",
                function.name,
                args.join(",\n")
            )
        }
        ExprKind::Subquery {
            expr,
            range_ms,
            step_ms,
            when,
        } => format!(
            "{}{}",
            at_level(expr, level),
            subquery_tail(*range_ms, *step_ms, when)
        ),
        ExprKind::Paren(inner) => {
            format!("{indent}(\n{}\n{indent})", at_level(inner, level + 1))
        }
        ExprKind::Negative(inner) => format!("{indent}-{}", at_level(inner, level).trim_start()),
        ExprKind::Positive(inner) => format!("{indent}+{}", at_level(inner, level).trim_start()),
        _ => format!("{indent}{line}"),
    }
}
