//! Rules as `GET /api/rules` tells of them, as they are written in the form, and what their
//! expression is compared with.

use super::{hosts::Trouble, targets::moment};
use crate::{
    format,
    net::json::{Json, quote, write},
    words,
};

/// One rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Names it; empty for one that is not there yet.
    pub id: String,
    /// It makes alerts; else it records.
    pub is_alert: bool,
    /// The name of its alerts or of what it records.
    pub name: String,
    /// Its group.
    pub group: String,
    /// `builtin`, `file` or `api`.
    pub source: String,
    /// The file that it stands in; empty where it stands in none.
    pub file: String,
    /// What it asks.
    pub expression: String,
    /// How often it is evaluated, such as `15s`; empty for the customary.
    pub every: String,
    /// It is evaluated.
    pub enabled: bool,
    /// `ok`, `err` or `unknown`.
    pub health: String,
    /// Why it could not be evaluated.
    pub error: String,
    /// When it was evaluated last, Unix milliseconds.
    pub last_ms: Option<f64>,
    /// How long that took, seconds.
    pub took_s: f64,
    /// `inactive`, `pending` or `firing`.
    pub state: String,
    /// As it came.
    pub json: Json,
}

impl Rule {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        let of = |name| json.text_of(name).to_owned();
        let is_alert = json.get("alert").text().is_some();
        let name = of(if is_alert { "alert" } else { "record" });
        (!name.is_empty()).then(|| Self {
            id: of("id"),
            is_alert,
            name,
            group: of("group"),
            source: of("source"),
            file: of("file"),
            expression: of("expr"),
            every: of("every"),
            enabled: *json.get("enabled") != Json::Bool(false),
            health: of("health"),
            error: of("lastError"),
            last_ms: moment(json.text_of("lastEvaluation")),
            took_s: json.get("evaluationTime").figure(),
            state: of("state"),
            json: json.clone(),
        })
    }

    /// All of an answer: those that fire first, then those that are wrong, then by group and name.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for rule in json.get("rules").list().iter().filter_map(Self::read) {
            let place = all.partition_point(|other| other.order() <= rule.order());
            all.insert(place, rule);
        }
        all
    }

    fn order(&self) -> (u8, &str, &str) {
        let state = match (self.state.as_str(), self.health.as_str()) {
            ("firing", _) => 0,
            (_, "err") => 1,
            ("pending", _) => 2,
            _ => 3,
        };
        (state, &self.group, &self.name)
    }

    /// It can be changed here.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.source != "file"
    }

    /// How it stands, in a word and a colour.
    #[must_use]
    pub fn standing(&self) -> (Trouble, String) {
        match (self.enabled, self.health.as_str(), self.state.as_str()) {
            (false, ..) => (Trouble::None, "off".to_owned()),
            (_, "err", _) => (Trouble::Critical, "broken".to_owned()),
            (_, _, "firing") => (Trouble::Critical, "firing".to_owned()),
            (_, _, "pending") => (Trouble::Warning, "pending".to_owned()),
            (_, "unknown", _) => (Trouble::None, "not evaluated yet".to_owned()),
            _ => (Trouble::None, "inactive".to_owned()),
        }
    }

    /// Where it comes from, in words.
    #[must_use]
    pub fn source_words(&self) -> String {
        match self.source.as_str() {
            "builtin" => "built in".to_owned(),
            "api" => words::MADE_HERE.to_owned(),
            _ => self.file.clone(),
        }
    }
}

/// What is done while nothing comes of what a rule asks for.
pub const MISSING: [(&str, &str); 3] = [
    ("resolve", "It ends"),
    ("keep", "It stays as it is"),
    ("alert", "It fires"),
];

/// A rule as it is being written.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// It makes alerts; else it records.
    pub is_alert: bool,
    /// See [`Rule::name`].
    pub name: String,
    /// See [`Rule::group`].
    pub group: String,
    /// See [`Rule::expression`].
    pub expression: String,
    /// How long the condition holds before it fires.
    pub wait: String,
    /// How long it goes on firing without the condition.
    pub keep: String,
    /// The value of the label `severity`.
    pub severity: String,
    /// Other labels, a line each: `name=value`.
    pub labels: String,
    /// What people are told, one line.
    pub summary: String,
    /// What people are told, at length.
    pub description: String,
    /// What to do about it.
    pub runbook: String,
    /// Other annotations, a line each.
    pub annotations: String,
    /// What ends it: an expression, or a value.
    pub clear: String,
    /// See [`Rule::every`].
    pub every: String,
    /// One of [`MISSING`].
    pub missing: String,
    /// See [`Rule::enabled`].
    pub enabled: bool,
    /// What it was when it was read: what somebody else has changed since is not lost.
    pub revision: Option<u64>,
    /// What the form does not know, which stays.
    pub rest: Vec<(String, Json)>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            severity: "warning".to_owned(),
            ..Self::of(&Rule {
                is_alert: true,
                enabled: true,
                ..Rule::default()
            })
        }
    }
}

const RUNBOOK: &str = "runbook_url";

/// Fields that the form knows, and those that are the server's.
const KNOWN: [&str; 13] = [
    "alert",
    "record",
    "group",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
    "annotations",
    "clear",
    "every",
    "missing",
    "enabled",
    "file",
];
const OUTSIDE: [&str; 9] = [
    "alerts",
    "id",
    "source",
    "revision",
    "health",
    "lastError",
    "lastEvaluation",
    "evaluationTime",
    "state",
];

/// The texts of an object but for those called `apart`, a line each.
fn lines_of(json: &Json, apart: &[&str]) -> String {
    let others = json.entries().iter();
    let others = others.filter(|(name, _)| !apart.contains(&name.as_str()));
    let line =
        |(name, value): &(String, Json)| [name, "=", value.text().unwrap_or_default()].concat();
    others.map(line).collect::<Vec<_>>().join("\n")
}

/// The way back: the name and value of a line; `None` without a name.
fn pair_of(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name, value.trim()))
}

impl Draft {
    /// Of a rule that is there.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let json = &rule.json;
        let (labels, annotations) = (json.get("labels"), json.get("annotations"));
        let is_rest = |(name, _): &&(String, Json)| {
            !KNOWN.contains(&name.as_str()) && !OUTSIDE.contains(&name.as_str())
        };
        let clear = match json.get("clear") {
            Json::Number(number) => format::plain(*number),
            other => other.text().unwrap_or_default().to_owned(),
        };
        Self {
            is_alert: rule.is_alert,
            name: rule.name.clone(),
            group: rule.group.clone(),
            expression: rule.expression.clone(),
            wait: json.text_of("for").to_owned(),
            keep: json.text_of("keep_firing_for").to_owned(),
            severity: labels.text_of("severity").to_owned(),
            labels: lines_of(labels, &["severity"]),
            summary: annotations.text_of("summary").to_owned(),
            description: annotations.text_of("description").to_owned(),
            runbook: annotations.text_of(RUNBOOK).to_owned(),
            annotations: lines_of(annotations, &["summary", "description", RUNBOOK]),
            clear,
            every: rule.every.clone(),
            missing: match json.text_of("missing") {
                "" => MISSING[0].0,
                missing => missing,
            }
            .to_owned(),
            revision: json.get("revision").count(),
            enabled: rule.enabled,
            rest: json.entries().iter().filter(is_rest).cloned().collect(),
        }
    }

    /// What has to be filled in before it can be sent.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let is_line = |line: &str| line.trim().is_empty() || line.contains('=');
        let mut lines = self.labels.lines().chain(self.annotations.lines());
        match () {
            () if self.name.trim().is_empty() => Some("A rule has a name"),
            () if self.expression.trim().is_empty() => Some("A rule has an expression"),
            () if !lines.all(is_line) => {
                Some("Labels and annotations are written name=value, a line each")
            }
            () => None,
        }
    }

    /// As the server takes it.
    #[must_use]
    pub fn json(&self) -> String {
        let mut fields: Vec<(&str, String)> = Vec::new();
        let mut text = |name, value: &str| {
            if !value.trim().is_empty() {
                fields.push((name, quote(value.trim())));
            }
        };
        text(if self.is_alert { "alert" } else { "record" }, &self.name);
        text("group", &self.group);
        text("expr", &self.expression);
        text("every", &self.every);
        let clear = self.clear.trim();
        let clear_number = Json::parse(clear).and_then(|json| json.number());
        if self.is_alert {
            text("for", &self.wait);
            text("keep_firing_for", &self.keep);
            text("missing", &self.missing);
            if clear_number.is_none() {
                text("clear", clear);
            }
        }
        let object = |known: &[(&str, &str)], lines: &str| {
            let known = known.iter().copied().filter(|(_, value)| !value.is_empty());
            let all = known.chain(lines.lines().filter_map(pair_of));
            let all = all.map(|(name, value)| [&quote(name), ":", &quote(value)].concat());
            ["{", &all.collect::<Vec<_>>().join(","), "}"].concat()
        };
        let severity = if self.is_alert {
            self.severity.trim()
        } else {
            ""
        };
        fields.push(("labels", object(&[("severity", severity)], &self.labels)));
        if self.is_alert {
            if clear_number.is_some() {
                fields.push(("clear", clear.to_owned()));
            }
            let known = [
                ("summary", self.summary.trim()),
                ("description", self.description.trim()),
                (RUNBOOK, self.runbook.trim()),
            ];
            fields.push(("annotations", object(&known, &self.annotations)));
        }
        fields.push(("enabled", self.enabled.to_string()));
        if let Some(revision) = self.revision {
            fields.push(("revision", revision.to_string()));
        }
        for (name, value) in &self.rest {
            fields.push((name, write(value, format::plain)));
        }
        let fields = fields
            .iter()
            .map(|(name, value)| [&quote(name), ":", value].concat());
        ["{", &fields.collect::<Vec<_>>().join(","), "}"].concat()
    }

    /// The question of when it would have fired between two moments.
    #[must_use]
    pub fn rehearsal(&self, (from_ms, to_ms): (f64, f64)) -> String {
        let moment = |ms: f64| quote(&super::answers::utc(ms));
        format!(
            r#"{{"rule":{},"start":{},"end":{}}}"#,
            self.json(),
            moment(from_ms),
            moment(to_ms)
        )
    }
}

/// The one number that an expression is compared with, as in `rate(x[5m]) > 0.9`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Where what is compared ends, in bytes.
    left: usize,
    /// Where the number stands.
    from: usize,
    to: usize,
    /// The number.
    pub value: f64,
}

/// The limit of `expression`: where it is one comparison with a number on its right, and no more.
#[must_use]
pub fn limit_of(expression: &str) -> Option<Limit> {
    const OPERATORS: [&str; 6] = [">=", "<=", "==", "!=", ">", "<"];
    let bytes = expression.as_bytes();
    let (mut depth, mut quote, mut at) = (0_u32, None::<u8>, 0);
    let mut found = None;
    while let Some(byte) = bytes.get(at) {
        let mut length = 1;
        match (quote, *byte) {
            (Some(mark), b'\\') if mark != b'`' => length = 2,
            (Some(mark), byte) if byte == mark => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'' | b'`') => quote = Some(*byte),
            (None, b'#') => return None,
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (None, b'<' | b'>' | b'=' | b'!') if depth == 0 => {
                let rest = expression.get(at..)?;
                let operator = OPERATORS.iter().find(|known| rest.starts_with(**known))?;
                if found.replace((at, at + operator.len())).is_some() {
                    return None;
                }
                length = operator.len();
            }
            (None, byte) if depth == 0 && byte.is_ascii_alphabetic() => {
                let word = expression.get(at..)?;
                let is_word =
                    |letter: char| letter.is_ascii_alphanumeric() || "_:.".contains(letter);
                let word = &word[..word.find(|letter| !is_word(letter)).unwrap_or(word.len())];
                if matches!(word, "and" | "or" | "unless") {
                    return None;
                }
                length = word.len();
            }
            (None, _) => {}
        }
        at += length;
    }
    let (left, right) = found?;
    let rest = expression.get(right..)?;
    let rest = rest
        .trim_start()
        .strip_prefix("bool ")
        .unwrap_or(rest)
        .trim_start();
    let from = expression.len() - rest.len();
    let number = rest.trim_end();
    let unsigned = number.strip_prefix('+').unwrap_or(number);
    let value = Json::parse(unsigned)?.number()?;
    (!expression[..left].trim().is_empty()).then_some(Limit {
        left: expression[..left].trim_end().len(),
        from,
        to: from + number.len(),
        value,
    })
}

impl Limit {
    /// What is compared with it.
    #[must_use]
    pub fn compared(self, expression: &str) -> &str {
        expression.get(..self.left).unwrap_or_default()
    }

    /// `expression` with another number in its place.
    #[must_use]
    pub fn moved(self, expression: &str, digits: &str) -> String {
        let part = |from, to| expression.get(from..to).unwrap_or_default();
        [part(0, self.from), digits, part(self.to, expression.len())].concat()
    }
}

/// `value` as a hand can choose it on an axis that is `height` high: in hundredths of that and no
/// finer.
#[must_use]
pub fn chosen(value: f64, height: f64) -> f64 {
    if height <= 0.0 || !height.is_finite() {
        return value;
    }
    let wanted = height / 200.0;
    // A step is so many of so small parts: divisions of whole numbers leave nothing behind the last
    // digit that counts.
    let (mut many, mut parts) = (1.0, 1.0);
    while many / parts > wanted && parts < 1e12 {
        parts *= 10.0;
    }
    while many / parts * 10.0 <= wanted {
        many *= 10.0;
    }
    let times = [5.0, 2.0];
    let times = times
        .into_iter()
        .find(|times| many * times / parts <= wanted);
    many *= times.unwrap_or(1.0);
    (value * parts / many).round() * many / parts
}

/// A stretch of a rehearsal.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// It fires; else it waits for that.
    pub is_firing: bool,
    /// From when, Unix milliseconds.
    pub from_ms: f64,
    /// To when.
    pub to_ms: f64,
}

/// When a rule would have fired: of each series its labels and stretches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rehearsal {
    /// Those that would have fired, or waited for it.
    pub series: Vec<(String, Vec<Stretch>)>,
    /// Notifications that would have been sent.
    pub notifications: u64,
    /// There are more series or stretches than are told.
    pub is_cut: bool,
    /// Why some evaluations failed; empty where none did.
    pub error: String,
}

impl Rehearsal {
    /// Reads it.
    #[must_use]
    pub fn read(json: &Json) -> Self {
        let stretch = |span: &Json| {
            Some(Stretch {
                is_firing: span.text_of("state") == "firing",
                from_ms: moment(span.text_of("start"))?,
                to_ms: moment(span.text_of("end"))?,
            })
        };
        let series = json.get("series").list().iter().map(|series| {
            let stretches = series.get("spans").list().iter().filter_map(stretch);
            (
                crate::net::prom::key(series.get("labels")),
                stretches.collect(),
            )
        });
        Self {
            series: series.collect(),
            notifications: json.get("notifications").count().unwrap_or(0),
            is_cut: json.get("truncated").is_true(),
            error: json.text_of("error").to_owned(),
        }
    }

    /// How often something would have fired, and for how long in all, milliseconds.
    #[must_use]
    pub fn fired(&self) -> (u64, f64) {
        let stretches = self.series.iter().flat_map(|(_, stretches)| stretches);
        let firing = stretches.filter(|stretch| stretch.is_firing);
        firing.fold((0, 0.0), |(count, ms), stretch| {
            (count + 1, ms + stretch.to_ms - stretch.from_ms)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        Rule::read(&Json::parse(json).expect("JSON")).expect("a rule")
    }

    #[test]
    fn a_rule_becomes_a_draft_and_a_rule_again() {
        let json = r#"{"id":"7","group":"host","source":"api","alert":"CPU","expr":"cpu > 90","for":"5m",
            "labels":{"severity":"critical","team":"a=b"},"annotations":{"summary":"CPU {{ $value }}",
            "runbook_url":"https://example.org","dashboard":"x"},"clear":"cpu < 80","every":"1s","missing":"keep","query_offset":"1m",
            "enabled":true,"revision":3,"health":"ok","evaluationTime":0.001,"state":"firing"}"#;
        let rule = rule(json);
        assert_eq!(rule.standing().1, "firing");
        let draft = Draft::of(&rule);
        assert_eq!(draft.problem(), None);
        let sent = Json::parse(&draft.json()).expect("JSON");
        let came = Json::parse(json).expect("JSON");
        for name in [
            "alert",
            "group",
            "expr",
            "for",
            "labels",
            "annotations",
            "clear",
            "every",
            "missing",
            "enabled",
            "query_offset",
        ] {
            assert_eq!(sent.get(name), came.get(name), "{name}");
        }
        assert_eq!(sent.get("revision").count(), Some(3), "as it was read");
        for name in ["id", "source", "health", "state"] {
            assert_eq!(*sent.get(name), Json::Null, "{name} is the server's");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut draft = Draft::default();
        assert_eq!(draft.problem(), Some("A rule has a name"));
        draft.name = "CPU".into();
        assert_eq!(draft.problem(), Some("A rule has an expression"));
        draft.expression = "cpu > 90".into();
        assert_eq!(draft.problem(), None);
        draft.labels = "team".into();
        assert!(draft.problem().is_some());
    }

    #[test]
    fn the_number_that_is_compared_with_is_found() {
        for (expression, compared, value) in [
            ("cpu > 90", "cpu", 90.0),
            ("rate(x{a=\"<5\"}[5m])>=0.5", "rate(x{a=\"<5\"}[5m])", 0.5),
            ("a - b < bool -1e3 ", "a - b", -1_000.0),
            ("sum by (job) (up == 0) > 2", "sum by (job) (up == 0)", 2.0),
        ] {
            let limit = limit_of(expression).unwrap_or_else(|| panic!("{expression}"));
            assert_eq!(limit.compared(expression), compared);
            assert_eq!(limit.value, value, "{expression}");
            let moved = limit_of(&limit.moved(expression, "12.5")).expect("a limit");
            assert_eq!((moved.compared(expression), moved.value), (compared, 12.5));
        }
        for expression in [
            "cpu",
            "cpu > memory",
            "cpu > 90 and memory > 80",
            "90 < cpu",
            "cpu > 1 > 2",
            "absent(up)",
            "x > 5m",
            "> 3",
            "cpu > 90 # high",
        ] {
            assert_eq!(limit_of(expression), None, "{expression}");
        }
    }

    #[test]
    fn a_hand_chooses_round_numbers() {
        for (value, height, expected) in [
            (83.217, 100.0, 83.0),
            (0.083_217, 0.2, 0.083),
            (123_456.0, 500_000.0, 124_000.0),
            (5.0, 0.0, 5.0),
            (0.299_999, 1.0, 0.3),
        ] {
            assert_eq!(chosen(value, height), expected);
        }
    }

    #[test]
    fn a_rehearsal_is_counted() {
        let json = r#"{"series":[{"labels":{"instance":"a"},"spans":[
            {"state":"pending","start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:10Z","value":1},
            {"state":"firing","start":"1970-01-01T00:00:10Z","end":"1970-01-01T00:01:00Z","value":1}]}],"notifications":2}"#;
        let rehearsal = Rehearsal::read(&Json::parse(json).expect("JSON"));
        assert_eq!(rehearsal.fired(), (1, 50_000.0));
        assert_eq!(rehearsal.notifications, 2);
        assert_eq!(rehearsal.series[0].0, "{instance=\"a\"}");
    }
}
