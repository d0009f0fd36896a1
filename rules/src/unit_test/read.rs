//! The file of a unit test, read as strictly as promtool reads it.

use std::collections::{BTreeMap, BTreeSet};

use pulseboard_shared::timestamp::Timestamp;

use crate::{
    file::FILE_BYTES_MAX,
    period::Period,
    yaml::{self, Node, NodeKind},
};

/// A file.
#[derive(Debug, Default)]
pub(super) struct TestFile {
    pub(super) rule_files: Vec<String>,
    pub(super) evaluation_interval: Period,
    pub(super) group_eval_order: Vec<String>,
    pub(super) fuzzy_compare: bool,
    pub(super) tests: Vec<TestGroup>,
}

/// One of its tests.
#[derive(Debug, Default)]
pub(super) struct TestGroup {
    pub(super) interval: Period,
    /// Series and values, as texts.
    pub(super) input_series: Vec<(String, String)>,
    pub(super) alerts: Vec<AlertTest>,
    pub(super) exprs: Vec<ExprTest>,
    pub(super) external_labels: BTreeMap<String, String>,
    pub(super) external_url: String,
    pub(super) name: String,
    pub(super) start_ms: i64,
}

/// What fires at a time.
#[derive(Debug, Default)]
pub(super) struct AlertTest {
    pub(super) eval_time: Period,
    pub(super) alertname: String,
    /// Labels and annotations.
    pub(super) expected: Vec<(BTreeMap<String, String>, BTreeMap<String, String>)>,
}

/// What an expression comes to at a time.
#[derive(Debug, Default)]
pub(super) struct ExprTest {
    pub(super) expr: String,
    pub(super) eval_time: Period,
    pub(super) expected: Vec<ExpectedSample>,
}

/// A sample that is expected.
#[derive(Debug, Default)]
pub(super) struct ExpectedSample {
    pub(super) labels: String,
    pub(super) value: f64,
    pub(super) has_histogram: bool,
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it, in promtool's words.
pub(super) fn read(text: &str) -> Result<TestFile, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    let (documents, syntax) = yaml::documents(text);
    if let Some(syntax) = syntax {
        return Err(format!("yaml: line {}: {}", syntax.place.0, syntax.what));
    }
    let mut reader = Reader::default();
    let file = match documents.first() {
        Some(document) => reader.file(document),
        None => TestFile::default(),
    };
    if let Some(what) = reader.fatal {
        return Err(what);
    }
    match reader.errors.is_empty() {
        true => Ok(file),
        false => Err(format!(
            "yaml: unmarshal errors:\n  {}",
            reader.errors.join("\n  ")
        )),
    }
}

#[derive(Default)]
struct Reader {
    errors: Vec<String>,
    /// What ends the reading.
    fatal: Option<String>,
}

impl Reader {
    fn error(&mut self, node: &Node, what: &str) {
        self.errors.push(format!("line {}: {what}", node.place.0));
    }

    /// Whether it is a map, with these fields alone.
    fn fields(&mut self, node: &Node, kind: &str, known: &[&str]) -> bool {
        let NodeKind::Map(pairs) = &node.kind else {
            if !node.is_null() {
                self.error(
                    node,
                    &format!("cannot unmarshal {} into {kind}", node.told()),
                );
            }
            return false;
        };
        let mut seen = BTreeSet::new();
        for (key, _) in pairs {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                self.error(key, &format!("field {name} not found in type {kind}"));
            } else if !seen.insert(name) {
                self.error(key, &format!("field {name} already set in type {kind}"));
            }
        }
        true
    }

    fn text(&mut self, node: &Node, field: &str) -> String {
        let Some(value) = node.get(field) else {
            return String::new();
        };
        match value.text() {
            Some(text) => text.to_owned(),
            None => {
                let what = format!("cannot unmarshal {} into string", value.told());
                self.error(value, &what);
                String::new()
            }
        }
    }

    fn period(&mut self, node: &Node, field: &str) -> Period {
        if node.get(field).is_none_or(Node::is_null) {
            return Period::default();
        }
        let text = self.text(node, field);
        Period::parse(&text).unwrap_or_else(|what| {
            self.fatal.get_or_insert(what);
            Period::default()
        })
    }

    fn list<'n>(&mut self, node: &'n Node, field: &str, kind: &str) -> &'n [Node] {
        match node.get(field) {
            Some(Node {
                kind: NodeKind::List(items),
                ..
            }) => items,
            None => &[],
            Some(value) if value.is_null() => &[],
            Some(value) => {
                let what = format!("cannot unmarshal {} into {kind}", value.told());
                self.error(value, &what);
                &[]
            }
        }
    }

    fn words(&mut self, node: &Node, field: &str) -> Vec<String> {
        let mut words = Vec::new();
        for item in self.list(node, field, "[]string") {
            match item.text() {
                Some(text) => words.push(text.to_owned()),
                None => {
                    let what = format!("cannot unmarshal {} into string", item.told());
                    self.error(item, &what);
                }
            }
        }
        words
    }

    fn map(&mut self, node: &Node, field: &str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        match node.get(field) {
            Some(Node {
                kind: NodeKind::Map(pairs),
                ..
            }) => {
                for (key, value) in pairs {
                    match (key.text(), value.text()) {
                        (Some(key_text), Some(text)) => {
                            if map.insert(key_text.to_owned(), text.to_owned()).is_some() {
                                self.error(key, &format!("key {key_text:?} already set in map"));
                            }
                        }
                        _ => {
                            let what = format!("cannot unmarshal {} into string", value.told());
                            self.error(value, &what);
                        }
                    }
                }
            }
            None => {}
            Some(value) if value.is_null() => {}
            Some(value) => {
                let what = format!("cannot unmarshal {} into map[string]string", value.told());
                self.error(value, &what);
            }
        }
        map
    }

    fn file(&mut self, node: &Node) -> TestFile {
        let known = [
            "rule_files",
            "evaluation_interval",
            "group_eval_order",
            "fuzzy_compare",
            "tests",
            "start_timestamp",
        ];
        if !self.fields(node, "main.unitTestFile", &known) {
            return TestFile::default();
        }
        let start_ms = self.start(node).unwrap_or_default();
        let fuzzy = self.text(node, "fuzzy_compare");
        let fuzzy_compare = match fuzzy.to_ascii_lowercase().as_str() {
            "true" => true,
            "" | "false" => false,
            _ => {
                let what = format!("cannot unmarshal !!str `{fuzzy}` into bool");
                self.error(node.get("fuzzy_compare").unwrap_or(node), &what);
                false
            }
        };
        TestFile {
            rule_files: self.words(node, "rule_files"),
            evaluation_interval: self.period(node, "evaluation_interval"),
            group_eval_order: self.words(node, "group_eval_order"),
            fuzzy_compare,
            tests: self
                .list(node, "tests", "[]main.testGroup")
                .iter()
                .map(|item| self.group(item, start_ms))
                .collect(),
        }
    }

    /// Unix seconds, or a time as RFC 3339 has it.
    fn start(&mut self, node: &Node) -> Option<i64> {
        let value = node
            .get("start_timestamp")
            .filter(|value| !value.is_null())?;
        let text = value.text().unwrap_or_default();
        let seconds = text.parse::<f64>().ok();
        let start_ms = seconds
            .filter(|seconds| seconds.is_finite() && seconds.abs() < 1e12)
            .map(|seconds| (seconds * 1000.0).round() as i64)
            .or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millis));
        if start_ms.is_none() {
            self.fatal.get_or_insert(format!(
                "start_timestamp: {text:?} is no time: neither Unix seconds nor RFC 3339"
            ));
        }
        start_ms
    }

    fn group(&mut self, node: &Node, start_ms: i64) -> TestGroup {
        let known = [
            "interval",
            "input_series",
            "alert_rule_test",
            "promql_expr_test",
            "external_labels",
            "external_url",
            "name",
            "start_timestamp",
        ];
        if !self.fields(node, "main.testGroup", &known) {
            return TestGroup::default();
        }
        TestGroup {
            start_ms: self.start(node).unwrap_or(start_ms),
            interval: self.period(node, "interval"),
            input_series: self
                .list(node, "input_series", "[]main.series")
                .iter()
                .map(|item| {
                    self.fields(item, "main.series", &["series", "values"]);
                    (self.text(item, "series"), self.text(item, "values"))
                })
                .collect(),
            alerts: self
                .list(node, "alert_rule_test", "[]main.alertTestCase")
                .iter()
                .map(|item| self.alert(item))
                .collect(),
            exprs: self
                .list(node, "promql_expr_test", "[]main.promqlTestCase")
                .iter()
                .map(|item| self.expr(item))
                .collect(),
            external_labels: self.map(node, "external_labels"),
            external_url: self.text(node, "external_url"),
            name: self.text(node, "name"),
        }
    }

    fn alert(&mut self, node: &Node) -> AlertTest {
        let known = ["eval_time", "alertname", "exp_alerts"];
        self.fields(node, "main.alertTestCase", &known);
        AlertTest {
            eval_time: self.period(node, "eval_time"),
            alertname: self.text(node, "alertname"),
            expected: self
                .list(node, "exp_alerts", "[]main.alert")
                .iter()
                .map(|item| {
                    self.fields(item, "main.alert", &["exp_labels", "exp_annotations"]);
                    (
                        self.map(item, "exp_labels"),
                        self.map(item, "exp_annotations"),
                    )
                })
                .collect(),
        }
    }

    fn expr(&mut self, node: &Node) -> ExprTest {
        let known = ["expr", "eval_time", "exp_samples"];
        self.fields(node, "main.promqlTestCase", &known);
        ExprTest {
            expr: self.text(node, "expr"),
            eval_time: self.period(node, "eval_time"),
            expected: self
                .list(node, "exp_samples", "[]main.sample")
                .iter()
                .map(|item| {
                    self.fields(item, "main.sample", &["labels", "value", "histogram"]);
                    ExpectedSample {
                        labels: self.text(item, "labels"),
                        value: self.number(item),
                        has_histogram: !self.text(item, "histogram").is_empty(),
                    }
                })
                .collect(),
        }
    }

    fn number(&mut self, node: &Node) -> f64 {
        let Some(value) = node.get("value").filter(|value| !value.is_null()) else {
            return 0.0;
        };
        let text = value.text().unwrap_or_default().replace('_', "");
        let (sign, plain) = match text.strip_prefix('-') {
            Some(plain) => (-1.0, plain),
            None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
        };
        let number = match plain.to_ascii_lowercase().as_str() {
            ".inf" => Some(f64::INFINITY),
            ".nan" => Some(f64::NAN),
            "inf" | "nan" | "infinity" => None,
            _ => yaml::int(value)
                .map(|number| number.abs() as f64)
                .or_else(|| plain.parse::<f64>().ok()),
        };
        number.map_or_else(
            || {
                let what = format!("cannot unmarshal {} into float64", value.told());
                self.error(value, &what);
                0.0
            },
            |number| sign * number,
        )
    }
}
