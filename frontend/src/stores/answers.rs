//! What came of a question: the lines of all its expressions on one chart, as text for a
//! spreadsheet, and as what one types to ask the same.

use super::track::Track;
use crate::{format, net::series::Line};

/// The name of expression number `index`.
#[must_use]
pub fn letter(index: usize) -> &'static str {
    ["A", "B", "C", "D"].get(index).copied().unwrap_or("D")
}

/// What a line of expression number `index` of `count` is called: with the letter of its own
/// before its name, where there are several.
#[must_use]
pub fn lettered(key: &str, index: usize, count: usize) -> String {
    match count {
        1 => key.to_owned(),
        _ => [letter(index), " ", key].concat(),
    }
}

/// Every moment of any of the lines, newest first, with the figure of each line there.
#[must_use]
pub fn rows(track: &Track) -> Vec<(f64, Vec<Option<f64>>)> {
    let mut ends: Vec<usize> = track.lines.iter().map(|line| line.steps.len()).collect();
    let mut rows = Vec::new();
    loop {
        let newest = |(line, end): (&Line, &usize)| Some(line.steps.get(end.checked_sub(1)?)?.t_ms);
        let moments = track.lines.iter().zip(&ends).filter_map(newest);
        let Some(t_ms) = moments.reduce(f64::max) else {
            return rows;
        };
        let mut row = Vec::new();
        for (line, end) in track.lines.iter().zip(&mut ends) {
            let step = end.checked_sub(1).and_then(|at| line.steps.get(at));
            let step = step.filter(|step| step.t_ms == t_ms);
            if step.is_some() {
                *end -= 1;
            }
            row.push(step.map(|step| step.mean));
        }
        rows.push((t_ms, row));
    }
}

/// A cell of a table as spreadsheets read it (RFC 4180). What they would take for a formula gets an
/// apostrophe before it, which they show as text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if is_formula { "'" } else { "" };
    if is_formula || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{mark}{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

/// Such as `2026-11-28T14:31:07.250Z` (RFC 3339).
#[must_use]
pub fn utc(t_ms: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let t_ms = t_ms as i64;
    let (year, month, day) = format::civil(t_ms.div_euclid(format::DAY_MS));
    let clock = format::clock_of_a_day(t_ms, 0);
    let part = t_ms.rem_euclid(1_000);
    format!("{year:04}-{month:02}-{day:02}T{clock}.{part:03}Z")
}

/// A column for the time and one for each line, oldest row first; `number` writes a figure with all
/// of its digits.
#[must_use]
pub fn csv(track: &Track, number: fn(f64) -> String) -> String {
    let mut text = "time".to_owned();
    for line in &track.lines {
        text.push(',');
        text.push_str(&cell(&line.key));
    }
    text.push_str("\r\n");
    for (t_ms, row) in rows(track).iter().rev() {
        text.push_str(&utc(*t_ms));
        for value in row {
            text.push(',');
            if let Some(value) = value.filter(|value| value.is_finite()) {
                text.push_str(&number(value));
            }
        }
        text.push_str("\r\n");
    }
    text
}

/// `text` as one word of a shell.
#[must_use]
pub fn quoted_for_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What one types to ask `expression` of the server at `address`, which is that of `query_range`.
/// Who has to show a token puts it into `TOKEN`.
#[must_use]
pub fn curl(
    address: &str,
    expression: &str,
    (start, end, step): (f64, f64, f64),
    token: bool,
) -> String {
    let seconds = |ms: f64| format::plain(ms / 1_000.0);
    let token = if token {
        " -H \"Authorization: Bearer $TOKEN\""
    } else {
        ""
    };
    format!(
        "curl -G{token} {} --data-urlencode {} -d start={} -d end={} -d step={}",
        quoted_for_shell(address),
        quoted_for_shell(&["query=", expression].concat()),
        seconds(start),
        seconds(end),
        seconds(step)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::series::Step;

    fn line(key: &str, steps: &[(f64, f64)]) -> Line {
        Line {
            key: key.into(),
            steps: steps
                .iter()
                .map(|(t_ms, value)| Step::of(*t_ms, *value))
                .collect(),
            ..Line::default()
        }
    }

    #[test]
    fn a_spreadsheet_gets_every_figure_and_no_formula() {
        let track = Track {
            lines: vec![
                line(
                    "up{a=\"b\"}",
                    &[(0.0, 1.0), (1_000.0, f64::NAN), (2_000.0, 0.1)],
                ),
                line("=cmd()", &[(1_000.0, -7.0)]),
            ],
            ..Track::default()
        };
        assert_eq!(
            csv(&track, |value| value.to_string()),
            "time,\"up{a=\"\"b\"\"}\",\"'=cmd()\"\r\n\
             1970-01-01T00:00:00.000Z,1,\r\n\
             1970-01-01T00:00:01.000Z,,-7\r\n\
             1970-01-01T00:00:02.000Z,0.1,\r\n"
        );
        assert_eq!(csv(&Track::default(), |_| String::new()), "time\r\n");
        assert_eq!(cell("-x"), "\"'-x\"");
    }

    #[test]
    fn a_shell_reads_what_was_asked() {
        assert_eq!(
            curl(
                "http://a/api/v1/query_range",
                "up{a='b'}",
                (1_500.0, 3_000.0, 250.0),
                true
            ),
            "curl -G -H \"Authorization: Bearer $TOKEN\" 'http://a/api/v1/query_range' \
             --data-urlencode 'query=up{a='\\''b'\\''}' -d start=1.5 -d end=3 -d step=0.25"
        );
    }

    #[test]
    fn lines_of_several_expressions_are_told_apart() {
        assert_eq!(lettered("a", 0, 1), "a");
        assert_eq!([0, 1].map(|index| lettered("a", index, 2)), ["A a", "B a"]);
    }
}
