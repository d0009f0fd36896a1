//! An incident as one file: opens anywhere and for years, without a network and without scripts.

use pulseboard_engine::query::QueryError;
use pulseboard_shared::{Timestamp, figure};

use super::chart::Series;
use crate::{
    incidents::entry::{Entry, Incident},
    questions::Text,
};

/// Nothing is loaded, nothing is run.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// The same for who opens the file: what only a header may say is left out.
const POLICY_INSIDE: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;border-bottom:1px solid #d9dee5;overflow-wrap:anywhere}th{font-weight:600}td.t{white-space:nowrap;font-variant-numeric:tabular-nums}pre{overflow:auto;background:#f4f6f8;padding:.75rem;font-size:12px}figure{margin:1rem 0}figcaption{font-size:13px;overflow-wrap:anywhere}svg{width:100%;height:auto;background:#f4f6f8}.line{fill:none;stroke:#0b6bcb;stroke-width:1.5}.on{fill:#d6455d;fill-opacity:.15}.limit{stroke:#d6455d;stroke-dasharray:4 3}text{font:11px system-ui,sans-serif;fill:#4a5563}@media (prefers-color-scheme:dark){body{color:#e6eaf0;background:#14181f}th,td{border-color:#2d3642}pre,svg{background:#1c222b}text{fill:#aab4c2}.line{stroke:#6db3ff}}";

/// The size of a chart in its own units.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 20.0;

/// Writes the file.
pub(super) fn write(
    text: &mut Text<'_>,
    incident: &Incident,
    week: usize,
    charts: &[Series],
    now_ms: i64,
) -> Result<(), QueryError> {
    text.push(&head(incident, week, now_ms))?;
    text.push(
        "<h2>Timeline</h2>\n<table><tr><th>Time (UTC)<th>What<th>Value<th>Who<th>Said</tr>\n",
    )?;
    for entry in &incident.entries {
        text.push(&row(entry))?;
    }
    text.push("</table>\n<h2>Charts</h2>\n")?;
    if charts.is_empty() {
        text.push("<p>No samples of what the rule asks for are stored.</p>\n")?;
    }
    for series in charts {
        text.push(&chart(incident, series, now_ms))?;
    }
    text.push("<h2>Samples</h2>\n<details><summary>As CSV</summary>\n<pre>")?;
    text.push("series,time,value\n")?;
    for series in charts {
        let name = escape(&cell(&series.name));
        for (at_ms, value) in &series.points {
            let at = Timestamp::from_millis(*at_ms);
            text.push(&format!("{name},{at},{}\n", figure::text(*value)))?;
        }
    }
    text.push("</pre>\n</details>\n</body>\n</html>\n")
}

fn head(incident: &Incident, week: usize, now_ms: i64) -> String {
    let mut facts = String::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let (name, value) = (escape(name), escape(value));
            facts.push_str(&format!("<tr><th>{name}<td>{value}</tr>\n"));
        }
    };
    let time = |ms: i64| Timestamp::from_millis(ms).to_string();
    fact("Rule", &incident.rule);
    fact("Severity", incident.severity.as_str());
    fact("Expression", &incident.expr);
    fact("Began", &time(incident.started_ms));
    match incident.ended_ms {
        Some(ended_ms) => {
            fact("Ended", &time(ended_ms));
            fact("Lasted", &lasted(ended_ms - incident.started_ms));
        }
        None => {
            fact("Ended", "not yet");
            fact("Lasts for", &lasted(now_ms - incident.started_ms));
        }
    }
    let number = |value: Option<f64>| value.map(figure::text).unwrap_or_default();
    fact("Value", &number(incident.value));
    fact("Compared with", &number(incident.threshold));
    fact("Within a week", &format!("{week} of the same labels"));
    fact("Notifications", &incident.notified.to_string());
    let receivers: Vec<&str> = incident.receivers.iter().map(String::as_str).collect();
    fact("Receivers", &receivers.join(", "));
    for (name, value) in &incident.labels {
        fact(&format!("Label {name}"), value);
    }
    for (name, value) in &incident.annotations {
        fact(&format!("Annotation {name}"), value);
    }
    fact("Incident", &incident.id.to_string());
    fact("Written", &time(now_ms));
    let title = escape(&incident.message);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY_INSIDE}\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>\n{facts}</table>\n"
    )
}

fn row(entry: &Entry) -> String {
    let mut what = entry.kind.as_str().replace('_', " ");
    if let Some(reason) = &entry.reason {
        what.push_str(": ");
        what.push_str(&reason.replace('_', " "));
    }
    if let Some(until_ms) = entry.until_ms {
        what.push_str(&format!(" until {}", Timestamp::from_millis(until_ms)));
    }
    let value = entry.value.map(figure::text);
    let who: Vec<&str> = [&entry.by, &entry.receiver, &entry.integration]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    format!(
        "<tr><td class=\"t\">{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
        Timestamp::from_millis(entry.at_ms),
        escape(&what),
        value.unwrap_or_default(),
        escape(&who.join(", ")),
        escape(entry.text.as_deref().unwrap_or_default()),
    )
}

/// A line over time, with the stretch of the incident behind it.
fn chart(incident: &Incident, series: &Series, now_ms: i64) -> String {
    let finite = series.points.iter().filter(|(_, value)| value.is_finite());
    let points: Vec<(i64, f64)> = finite.copied().collect();
    let (Some((first_ms, _)), Some((last_ms, _))) = (points.first(), points.last()) else {
        return String::new();
    };
    let (first_ms, last_ms) = (*first_ms, (*last_ms).max(*first_ms + 1));
    let values = points.iter().map(|(_, value)| *value);
    let (mut low, mut high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let limit = incident.threshold.filter(|limit| {
        // One far away would make the line flat.
        let span = (high - low).max(high.abs() * 0.1);
        *limit >= low - 3.0 * span && *limit <= high + 3.0 * span
    });
    if let Some(limit) = limit {
        (low, high) = (low.min(limit), high.max(limit));
    }
    let span = high - low;
    if !(span > 0.0 && span.is_finite()) {
        (low, high) = (low - 1.0, high + 1.0);
    }
    let x = |at_ms: i64| {
        let part = (at_ms - first_ms) as f64 / (last_ms - first_ms) as f64;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - 10.0)
    };
    let y = |value: f64| {
        let part = (value - low) / (high - low);
        (HEIGHT - BOTTOM) - part * (HEIGHT - BOTTOM - 10.0)
    };
    let mut line = String::new();
    for (at_ms, value) in &points {
        line.push_str(&format!("{:.1},{:.1} ", x(*at_ms), y(*value)));
    }
    let (from, to) = (
        x(incident.started_ms),
        x(incident.ended_ms.unwrap_or(now_ms)),
    );
    let limit = limit.map(|limit| {
        let at = y(limit);
        format!(
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
        )
    });
    let name = escape(&series.name);
    let clock = |ms: i64| {
        let time = Timestamp::from_millis(ms).to_string();
        time.get(11..19).unwrap_or_default().to_owned()
    };
    format!(
        "<figure><figcaption>{name}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}\"><rect class=\"on\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{:.1}\"/>{}<polyline class=\"line\" points=\"{}\"/><text x=\"2\" y=\"14\">{}</text><text x=\"2\" y=\"{:.1}\">{}</text><text x=\"{LEFT}\" y=\"{:.1}\">{}</text><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text></svg></figure>\n",
        (to - from).max(1.0),
        HEIGHT - BOTTOM,
        limit.unwrap_or_default(),
        line.trim_end(),
        short(high),
        HEIGHT - BOTTOM,
        short(low),
        HEIGHT - 5.0,
        clock(first_ms),
        WIDTH - 10.0,
        HEIGHT - 5.0,
        clock(last_ms),
    )
}

/// A number beside an axis.
fn short(value: f64) -> String {
    match value.abs() {
        abs if abs != 0.0 && !(0.001..1e7).contains(&abs) => format!("{value:.2e}"),
        _ => format!("{:.3}", value)
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
    }
}

fn lasted(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// Text in HTML, inside and outside of attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char if char.is_control() && !matches!(char, '\n' | '\t') => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}

/// A text in a cell of CSV (RFC 4180), which no program takes for a formula.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_cell_is_no_formula_and_one_cell() {
        for (text, written) in [
            ("cpu", "cpu"),
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("a,b", "\"a,b\""),
            ("-a\"b", "\"'-a\"\"b\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(
            escape("<img src=x onerror='a'>&\"\u{1b}"),
            "&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&quot;\u{fffd}"
        );
    }

    #[test]
    fn numbers_beside_an_axis_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (93.4, "93.4"),
            (1.0 / 3.0, "0.333"),
            (1e9, "1.00e9"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(lasted(3_725_000), "1 h 2 min");
    }
}
