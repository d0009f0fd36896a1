//! Answers of Prometheus' HTTP API, as far as the page asks for them: lines over a range, values at
//! one time, and names.

use super::{
    config::encode_query,
    json::{Json, quote},
    series::{Line, Step},
};
use crate::format;

/// Lines of an answer that are looked at; the server is asked for no more.
pub const SERIES_MAX: usize = 200;

/// Where an expression is answered over a time, with so many lines at the most.
#[must_use]
pub fn range_path(query: &str, from_ms: f64, to_ms: f64, step_ms: f64, most: usize) -> String {
    let seconds = |ms: f64| format::plain(ms / 1_000.0);
    format!(
        "/api/v1/query_range?query={}&start={}&end={}&step={}&limit={most}",
        encode_query(query),
        seconds(from_ms),
        seconds(to_ms),
        seconds(step_ms)
    )
}

/// Labels as one writes them: `name{label="value",…}`; `{}` where there are none.
#[must_use]
pub fn key(labels: &Json) -> String {
    match key_of(labels.text_of("__name__"), labels) {
        key if key.is_empty() => "{}".to_owned(),
        key => key,
    }
}

/// A name and labels as one writes them; nothing where there are none.
#[must_use]
pub fn key_of(name: &str, labels: &Json) -> String {
    let mut key = name.to_owned();
    let mut mark = '{';
    for (label, value) in labels.entries() {
        if label == "__name__" {
            continue;
        }
        key.push(mark);
        key.push_str(label);
        key.push('=');
        key.push_str(&quote(value.text().unwrap_or_default()));
        mark = ',';
    }
    if mark == ',' {
        key.push('}');
    }
    key
}

/// `[seconds, "value"]` as milliseconds and the figure; `None` for what is none.
#[must_use]
pub fn sample(json: &Json) -> Option<(f64, f64)> {
    let [at_s, value] = json.list() else {
        return None;
    };
    Some((at_s.number()? * 1_000.0, figure(value.text()?)))
}

/// A figure as Prometheus writes it.
fn figure(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        _ => Json::parse(text).map_or(f64::NAN, |json| json.figure()),
    }
}

/// The lines of a question over a range; one that has no labels is called `nameless`.
#[must_use]
pub fn lines(answer: &Json, nameless: &str, unit: &str) -> Vec<Line> {
    let result = answer.get("data").get("result").list().iter();
    let line = |series: &Json| {
        let values = series.get("values").list().iter();
        let values = values.filter_map(sample);
        let steps = values.map(|(t_ms, value)| Step::of(t_ms, value)).collect();
        Line {
            key: named(series.get("metric"), nameless),
            unit: unit.to_owned(),
            steps,
            ..Line::default()
        }
    };
    result.take(SERIES_MAX).map(line).collect()
}

fn named(labels: &Json, nameless: &str) -> String {
    match labels.entries() {
        [] => nameless.to_owned(),
        _ => key(labels),
    }
}

/// What an answer has at one time, name and text of the figure each; of a range vector its newest.
#[must_use]
pub fn values(answer: &Json, nameless: &str) -> Vec<(String, Value)> {
    let data = answer.get("data");
    let result = data.get("result");
    match data.text_of("resultType") {
        "scalar" => sample(result)
            .map(|(_, value)| (nameless.to_owned(), Value::Figure(value)))
            .into_iter()
            .collect(),
        "string" => {
            let text = result.list().get(1).and_then(Json::text);
            let text = text.unwrap_or_default().to_owned();
            vec![(nameless.to_owned(), Value::Text(text))]
        }
        _ => {
            let series = result.list().iter().take(SERIES_MAX);
            let value = |series: &Json| {
                let newest = series.get("values").list().last();
                let (_, value) = sample(newest.unwrap_or_else(|| series.get("value")))?;
                let name = named(series.get("metric"), nameless);
                Some((name, Value::Figure(value)))
            };
            series.filter_map(value).collect()
        }
    }
}

/// What an expression is at one time.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; may be none.
    Figure(f64),
    /// A string.
    Text(String),
}

/// The server left out some of the series.
#[must_use]
pub fn is_cut(answer: &Json) -> bool {
    let warnings = answer.get("warnings").list().iter();
    warnings
        .filter_map(Json::text)
        .any(|warning| warning.contains("limit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).expect("JSON")
    }

    #[test]
    fn names_are_written_as_selectors() {
        for (labels, name) in [
            (r#"{"__name__":"up"}"#, "up"),
            (
                r#"{"__name__":"up","a":"b","c":"\""}"#,
                r#"up{a="b",c="\""}"#,
            ),
            (r#"{"a":"b"}"#, r#"{a="b"}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(key(&json(labels)), name);
        }
    }

    #[test]
    fn reads_lines_and_values() {
        let answer = json(
            r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"up","job":"a"},"values":[[1.5,"1"],[2,"NaN"],[3,"+Inf"],[4,"1e+21"]]},
            {"metric":{},"values":[[1,"-2.5e-07"]]}]},"warnings":["results truncated due to limit"]}"#,
        );
        let lines = lines(&answer, "sum(up)", "s");
        assert_eq!(lines[0].key, "up{job=\"a\"}");
        let steps = &lines[0].steps;
        assert_eq!((steps[0].t_ms, steps[0].mean), (1_500.0, 1.0));
        assert_eq!((steps[1].odd, steps[2].odd), (1, 1));
        assert_eq!(steps[3].mean, 1e21);
        assert_eq!(
            (lines[1].key.as_str(), lines[1].steps[0].mean),
            ("sum(up)", -2.5e-7)
        );
        assert!(is_cut(&answer));
        let newest = values(&answer, "x");
        assert_eq!(newest[1], ("x".into(), Value::Figure(-2.5e-7)));
    }

    #[test]
    fn reads_every_type_of_value() {
        let vector = json(
            r#"{"data":{"resultType":"vector","result":[{"metric":{"a":"1"},"value":[1,"7"]}]}}"#,
        );
        assert_eq!(
            values(&vector, ""),
            [("{a=\"1\"}".into(), Value::Figure(7.0))]
        );
        let scalar = json(r#"{"data":{"resultType":"scalar","result":[1,"7"]}}"#);
        assert_eq!(values(&scalar, "x"), [("x".into(), Value::Figure(7.0))]);
        let text = json(r#"{"data":{"resultType":"string","result":[1,"hello"]}}"#);
        assert_eq!(
            values(&text, "x"),
            [("x".into(), Value::Text("hello".into()))]
        );
        assert!(values(&Json::Null, "x").is_empty() && !is_cut(&Json::Null));
    }
}
