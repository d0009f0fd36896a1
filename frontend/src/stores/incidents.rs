//! Incidents as `GET /api/incidents` and `GET /api/alerts/{incident}` tell of them: what is wrong
//! or was, who has it, who was told of it, and why somebody was not.

use pulseboard_shared::Severity;

use super::{hosts::Trouble, targets::moment};
use crate::{
    format,
    net::{
        address::param,
        config::encode_query,
        json::{Json, quote},
    },
    words,
};

/// Who said "I have it".
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// Who it was.
    pub by: String,
    /// What they wrote.
    pub comment: String,
    /// Until when that holds, Unix milliseconds; `None` until the incident ends.
    pub until_ms: Option<f64>,
}

/// One incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Names it.
    pub id: String,
    /// The rule that it is of.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line for people.
    pub message: String,
    /// It goes on.
    pub is_firing: bool,
    /// Labels, by name.
    pub labels: Vec<(String, String)>,
    /// Annotations, by name.
    pub annotations: Vec<(String, String)>,
    /// What the rule's expression was; NaN where that is not known.
    pub value: f64,
    /// What it is compared with; NaN where it is not compared with one number.
    pub threshold: f64,
    /// When it began, Unix milliseconds.
    pub started_ms: f64,
    /// When it ended.
    pub ended_ms: Option<f64>,
    /// Who has it.
    pub acknowledged: Option<Acknowledged>,
    /// Silences that match it.
    pub silenced_by: Vec<String>,
    /// How many alerts inhibit it.
    pub inhibited_by: usize,
    /// To whom it is routed.
    pub receivers: Vec<String>,
    /// Notifications that were sent of it.
    pub notified: u64,
}

/// Texts of an object, in their order.
fn pairs(json: &Json) -> Vec<(String, String)> {
    let pair = |(name, value): &(String, Json)| Some((name.clone(), value.text()?.to_owned()));
    json.entries().iter().filter_map(pair).collect()
}

fn texts(json: &Json) -> Vec<String> {
    let texts = json.list().iter().filter_map(Json::text);
    texts.map(str::to_owned).collect()
}

impl Incident {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        let acknowledged = json.get("acknowledged");
        let acknowledged = (*acknowledged != Json::Null).then(|| Acknowledged {
            by: acknowledged.text_of("by").to_owned(),
            comment: acknowledged.text_of("comment").to_owned(),
            until_ms: moment(acknowledged.text_of("until")),
        });
        Some(Self {
            id: json.get("incident").text()?.to_owned(),
            rule: json.text_of("rule").to_owned(),
            severity: json.text_of("severity").parse().ok()?,
            message: json.text_of("message").to_owned(),
            is_firing: json.text_of("state") == "firing",
            labels: pairs(json.get("labels")),
            annotations: pairs(json.get("annotations")),
            value: json.get("value").figure(),
            threshold: json.get("threshold").figure(),
            started_ms: moment(json.text_of("started"))?,
            ended_ms: moment(json.text_of("ended")),
            acknowledged,
            silenced_by: texts(json.get("silencedBy")),
            inhibited_by: json.get("inhibitedBy").list().len(),
            receivers: texts(json.get("receivers")),
            notified: json.get("notified").count().unwrap_or(0),
        })
    }

    /// All of an answer.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let all = json.get("incidents").list().iter();
        all.filter_map(Self::read).collect()
    }

    /// How bad it is, as a colour.
    #[must_use]
    pub const fn trouble(&self) -> Trouble {
        match self.severity {
            _ if !self.is_firing => Trouble::None,
            Severity::Critical | Severity::High => Trouble::Critical,
            _ => Trouble::Warning,
        }
    }

    /// How long it has been going on, or did, milliseconds.
    #[must_use]
    pub fn lasted_ms(&self, now_ms: f64) -> f64 {
        (self.ended_ms.unwrap_or(now_ms) - self.started_ms).max(0.0)
    }

    /// What is to be known at a glance besides how bad it is: who has it, and why nobody is told.
    #[must_use]
    pub fn marks(&self) -> Vec<String> {
        let mut marks = Vec::new();
        if let Some(of) = &self.acknowledged {
            let by = if of.by.is_empty() { "somebody" } else { &of.by };
            marks.push(["Acknowledged by ", by].concat());
        }
        if !self.silenced_by.is_empty() {
            marks.push("Silenced".to_owned());
        }
        if self.inhibited_by > 0 {
            marks.push("Inhibited".to_owned());
        }
        marks
    }

    /// Nobody has to do anything about it now.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.acknowledged.is_some() || !self.silenced_by.is_empty() || self.inhibited_by > 0
    }

    /// Its labels as one writes them, without those that are said elsewhere.
    #[must_use]
    pub fn label_words(&self) -> String {
        let others = self
            .labels
            .iter()
            .filter(|(name, _)| name != ALERT_NAME && name != SEVERITY);
        let others = others.map(|(name, value)| [name, "=", &quote(value)].concat());
        others.collect::<Vec<_>>().join(" ")
    }

    /// The value of a label; empty where it has none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        let mut labels = self.labels.iter();
        labels
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The part of the address behind and with its `#`.
    #[must_use]
    pub fn hash(&self) -> String {
        [super::view::Page::Alerts.hash(), "/", &self.id].concat()
    }

    /// Matchers of exactly this alert, a line each.
    #[must_use]
    pub fn matchers(&self) -> String {
        let matcher = |(name, value): &(String, String)| [name, "=", &quote(value)].concat();
        let lines: Vec<String> = self.labels.iter().map(matcher).collect();
        lines.join("\n")
    }
}

const ALERT_NAME: &str = "alertname";
const SEVERITY: &str = "severity";

/// What is behind the `#` for a list of incidents: which of them, and how they are grouped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Only these words are in it.
    pub search: String,
    /// Only so bad ones; empty for all.
    pub severity: String,
    /// Only of this rule; empty for all.
    pub rule: String,
    /// Grouped by this; see [`grouped`].
    pub group: String,
}

impl Wanted {
    /// Of an address.
    #[must_use]
    pub fn read(asked: &str) -> Self {
        let of = |name| param(asked, name).unwrap_or_default();
        Self {
            search: of("q"),
            severity: of("severity"),
            rule: of("rule"),
            group: of("group"),
        }
    }

    fn parts(&self, names: [(&'static str, &String); 4]) -> String {
        let known = names.into_iter().filter(|(_, value)| !value.is_empty());
        let parts = known.map(|(name, value)| [name, "=", &encode_query(value)].concat());
        parts.collect::<Vec<_>>().join("&")
    }

    /// As the address has it, with its `?`; empty where everything is wanted.
    #[must_use]
    pub fn query(&self) -> String {
        let parts = self.parts([
            ("q", &self.search),
            (SEVERITY, &self.severity),
            ("rule", &self.rule),
            ("group", &self.group),
        ]);
        match parts.is_empty() {
            true => parts,
            false => ["?", &parts].concat(),
        }
    }

    /// Where the server tells of them: those that go on, or all; older ones than `before` where it
    /// is not empty.
    #[must_use]
    pub fn path(&self, firing: bool, before: &str) -> String {
        let parts = self.parts([
            ("q", &self.search),
            (SEVERITY, &self.severity),
            ("rule", &self.rule),
            ("before", &before.to_owned()),
        ]);
        let state = if firing { "state=firing&" } else { "" };
        format!("/api/incidents?{state}limit={PAGE_MAX}&{parts}")
            .trim_end_matches('&')
            .to_owned()
    }
}

/// Incidents that the server is asked for at once.
pub const PAGE_MAX: usize = 100;

/// By what incidents are grouped besides labels: the rule that they are of, to whom they go.
pub const BY_RULE: &str = "rule";
/// See [`BY_RULE`].
pub const BY_RECEIVER: &str = "receiver";

/// Names of labels that tell `incidents` apart or have them in common, by name.
#[must_use]
pub fn label_names(incidents: &[Incident]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in incidents.iter().flat_map(|incident| &incident.labels) {
        if name != ALERT_NAME && name != SEVERITY {
            let place = names.partition_point(|known| known < name);
            if names.get(place) != Some(name) {
                names.insert(place, name.clone());
            }
        }
    }
    names
}

/// `incidents` under their headings: of those that go on what is to be done first, the worst first.
/// By a rule, a receiver, a label (`label:NAME`), or all together under an empty heading.
#[must_use]
pub fn grouped<'a>(incidents: &'a [Incident], by: &str) -> Vec<(String, Vec<&'a Incident>)> {
    let rank = |incident: &Incident| (incident.is_quiet(), std::cmp::Reverse(incident.severity));
    let mut groups: Vec<(String, Vec<&Incident>)> = Vec::new();
    for incident in incidents {
        let headings = match by {
            BY_RULE => vec![incident.rule.clone()],
            BY_RECEIVER if incident.receivers.is_empty() => vec!["No receiver".to_owned()],
            BY_RECEIVER => incident.receivers.clone(),
            by => match by.strip_prefix("label:") {
                Some(name) => match incident.label(name) {
                    "" => vec![["Without ", name].concat()],
                    value => vec![[name, " = ", value].concat()],
                },
                None => vec![String::new()],
            },
        };
        for heading in headings {
            let known = groups.iter().position(|(other, _)| *other == heading);
            let place = known.unwrap_or_else(|| {
                groups.push((heading, Vec::new()));
                groups.len() - 1
            });
            let of_it = &mut groups[place].1;
            let place = of_it.partition_point(|other| rank(other) <= rank(incident));
            of_it.insert(place, incident);
        }
    }
    // The group that has the most to be done in it comes first; a sort of the standard library
    // would be kilobytes.
    let mut sorted: Vec<(String, Vec<&Incident>)> = Vec::new();
    for group in groups {
        let order = |group: &(String, Vec<&Incident>)| group.1.first().map(|first| rank(first));
        let place = sorted.partition_point(|other| order(other) <= order(&group));
        sorted.insert(place, group);
    }
    sorted
}

/// One line of an incident's course.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was, Unix milliseconds.
    pub at_ms: f64,
    /// What happened, in words.
    pub words: String,
    /// How it looks: `bad`, `good`, `told`, `untold` or empty.
    pub class: &'static str,
}

/// Why somebody was not told, in words.
#[must_use]
pub fn reason_words(reason: &str) -> &str {
    match reason {
        "silenced" => "a silence matches it",
        "inhibited" => "another alert that fires inhibits it",
        "grouped" => "it waits for others of its group",
        "outside_hours" => "it is outside the hours of its route",
        "acknowledged" => "somebody has acknowledged it",
        "budget" => "the receiver has had its share for now; a digest follows in minutes",
        "repeat" => "they know already, and are not reminded yet",
        "no_receiver" => "it is routed to nobody",
        "flapping" => "it flaps, and that was told once",
        "no_room" => "there are too many alerts at once",
        other => other,
    }
}

/// `before` and `text` where there is a text.
fn with(before: &str, text: &str) -> String {
    match text {
        "" => String::new(),
        text => [before, text].concat(),
    }
}

impl Entry {
    /// Reads one; `clock` writes when something ends.
    #[must_use]
    pub fn read(json: &Json, clock: fn(f64) -> String) -> Option<Self> {
        let at_ms = moment(json.text_of("at"))?;
        let of = |name| json.text_of(name);
        let value = match json.get("value") {
            Json::Null => String::new(),
            value => format::value(value.figure()),
        };
        let whom = match (of("receiver"), of("integration")) {
            ("", "") => "nobody".to_owned(),
            (receiver, "") => receiver.to_owned(),
            (receiver, integration) => format!("{receiver} ({integration})"),
        };
        let (text, by) = (with(": ", of("text")), with(" by ", of("by")));
        let until =
            moment(of("until")).map_or_else(String::new, |until| with(" until ", &clock(until)));
        let value = with(": ", &value);
        let (class, words) = match of("kind") {
            "pending" => ("", format!("The condition holds{value}{text}")),
            "firing" => ("bad", format!("Fires{value}{text}")),
            "value" => ("", format!("Goes on{value}{text}")),
            "resolved" => ("good", format!("Resolved{value}{text}")),
            "notified" => ("told", format!("Told {whom}{text}")),
            "not_notified" => {
                let reason = reason_words(of("reason"));
                let whom = with(" ", of("receiver")) + &with(" by ", of("integration"));
                ("untold", format!("Not told{whom}: {reason}{text}"))
            }
            "retrying" => (
                "untold",
                format!("Could not tell {whom} yet, trying again{text}"),
            ),
            "failed" => ("bad", format!("Could not tell {whom}{text}")),
            "acknowledged" => ("good", format!("Acknowledged{by}{until}{text}")),
            "unacknowledged" => ("", format!("Acknowledgement taken back{by}{text}")),
            "comment" => ("", format!("Said{by}{text}")),
            "silenced" => ("untold", format!("Silenced{by}{until}{text}")),
            "flapping" => ("bad", format!("Flaps{text}")),
            other => ("", format!("{}{value}{text}", format::spaced(other))),
        };
        Some(Self {
            at_ms,
            words,
            class,
        })
    }
}

/// An incident with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// The incident itself.
    pub incident: Incident,
    /// What its rule asks.
    pub expression: String,
    /// How often its rule fired within a week.
    pub week: u64,
    /// What the expression was, milliseconds and figure, oldest first.
    pub values: Vec<(f64, f64)>,
    /// What happened, oldest first.
    pub timeline: Vec<Entry>,
}

impl Detail {
    /// Reads it; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json, clock: fn(f64) -> String) -> Option<Self> {
        let value = |pair: &Json| match pair.list() {
            [at, value] => Some((at.number()?, value.figure())),
            _ => None,
        };
        let timeline = json.get("timeline").list().iter();
        Some(Self {
            incident: Incident::read(json)?,
            expression: json.text_of("expr").to_owned(),
            week: json.get("week").count().unwrap_or(0),
            values: json.get("values").list().iter().filter_map(value).collect(),
            timeline: timeline
                .filter_map(|entry| Entry::read(entry, clock))
                .collect(),
        })
    }
}

/// An annotation that leads somewhere: what it is called, and the address. Only of the web, since a
/// page is not to run what an annotation says.
#[must_use]
pub fn links(annotations: &[(String, String)]) -> Vec<(String, String)> {
    let is_web = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        text.starts_with("https://") || text.starts_with("http://")
    };
    let link = |(name, value): &(String, String)| {
        let called = match name.as_str() {
            "runbook_url" | "runbook" => "Runbook".to_owned(),
            "dashboard_url" | "dashboard" => "Dashboard".to_owned(),
            other => format::spaced(other),
        };
        is_web(value).then(|| (called, value.trim().to_owned()))
    };
    annotations.iter().filter_map(link).collect()
}

/// Rules by how often they fired, the most first.
#[must_use]
pub fn counts(json: &Json) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for (rule, count) in json.get("counts").entries() {
        let count = count.count().unwrap_or(0);
        let place = counts.partition_point(|(_, other)| *other >= count);
        counts.insert(place, (rule.clone(), count));
    }
    counts
}

/// What fired while nobody looked at the page here: of `incidents` those that are critical and
/// began after `since_ms`. `None` where there are none.
#[must_use]
pub fn unseen(incidents: &[Incident], since_ms: f64, is_cut: bool) -> Option<String> {
    let is_unseen = |incident: &&Incident| {
        incident.severity == Severity::Critical && incident.started_ms > since_ms
    };
    let unseen: Vec<&Incident> = incidents.iter().filter(is_unseen).collect();
    let untold = unseen.iter().filter(|incident| incident.notified == 0);
    let (count, untold) = (unseen.len(), untold.count());
    if count == 0 {
        return None;
    }
    let more = if is_cut && count == incidents.len() {
        words::OR_MORE
    } else {
        ""
    };
    let times = match count {
        1 => "once".to_owned(),
        count => format!("{count}{more} times"),
    };
    let told = match untold {
        0 => String::new(),
        untold if untold == count => ". Nobody was told".to_owned(),
        untold => format!(". Nobody was told of {untold}"),
    };
    let goes_on = unseen.iter().filter(|incident| incident.is_firing).count();
    let still = match goes_on {
        0 => ", and all is over".to_owned(),
        goes_on if goes_on == count => String::new(),
        goes_on => format!(", and {goes_on} go on"),
    };
    Some(format!(
        "{} {times} {}{still}{told}",
        words::CRITICAL_FIRED,
        words::NOBODY_LOOKED
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn incident(json: &str) -> Incident {
        Incident::read(&Json::parse(json).expect("JSON")).expect("an incident")
    }

    fn one(id: &str, severity: &str, rest: &str) -> Incident {
        incident(&format!(
            r#"{{"incident":"{id}","rule":"cpu","severity":"{severity}","message":"CPU","state":"firing",
               "labels":{{"alertname":"cpu","instance":"{id}","job":"node"}},"annotations":{{}},"value":93.4,
               "threshold":90,"started":"2026-11-28T14:00:00.000Z","ended":null,"notified":1{rest}}}"#
        ))
    }

    #[test]
    fn an_incident_is_read() {
        let read = one(
            "a",
            "critical",
            r#","acknowledged":{"by":"ann","comment":"mine","at":"2026-11-28T14:01:00Z","until":null},
               "silencedBy":["s1"],"inhibitedBy":["00"],"receivers":["oncall"]"#,
        );
        assert_eq!(read.started_ms, 1_795_874_400_000.0);
        assert_eq!(read.lasted_ms(read.started_ms + 5_000.0), 5_000.0);
        assert_eq!(
            read.marks(),
            ["Acknowledged by ann", "Silenced", "Inhibited"]
        );
        assert_eq!(read.label_words(), "instance=\"a\" job=\"node\"");
        assert_eq!(
            read.matchers(),
            "alertname=\"cpu\"\ninstance=\"a\"\njob=\"node\""
        );
        assert_eq!(read.hash(), "#/alerts/a");
        assert_eq!(Incident::read(&Json::Null), None);
    }

    #[test]
    fn what_is_to_be_done_first_stands_first() {
        let all = [
            one("a", "warning", ""),
            one("b", "critical", r#","silencedBy":["s"]"#),
            one("c", "critical", r#","receivers":["x","y"]"#),
        ];
        let ids = |by: &str| -> Vec<(String, Vec<&str>)> {
            let groups = grouped(&all, by).into_iter();
            groups
                .map(|(heading, of_it)| {
                    (heading, of_it.iter().map(|one| one.id.as_str()).collect())
                })
                .collect()
        };
        assert_eq!(ids(""), [(String::new(), vec!["c", "a", "b"])]);
        assert_eq!(
            ids("label:instance"),
            [
                ("instance = c".to_owned(), vec!["c"]),
                ("instance = a".to_owned(), vec!["a"]),
                ("instance = b".to_owned(), vec!["b"])
            ]
        );
        assert_eq!(
            ids("label:pod"),
            [("Without pod".to_owned(), vec!["c", "a", "b"])]
        );
        assert_eq!(
            ids(BY_RECEIVER),
            [
                ("x".to_owned(), vec!["c"]),
                ("y".to_owned(), vec!["c"]),
                ("No receiver".to_owned(), vec!["a", "b"])
            ]
        );
        assert_eq!(label_names(&all), ["instance", "job"]);
    }

    #[test]
    fn the_address_says_which() {
        let wanted = Wanted::read("q=a%20b&severity=critical&group=label:job");
        assert_eq!(wanted.search, "a b");
        assert_eq!(
            wanted.query(),
            "?q=a%20b&severity=critical&group=label%3Ajob"
        );
        assert_eq!(
            wanted.path(true, ""),
            "/api/incidents?state=firing&limit=100&q=a%20b&severity=critical"
        );
        assert_eq!(
            Wanted::default().path(false, ""),
            "/api/incidents?limit=100"
        );
        assert_eq!(Wanted::read("").query(), "");
    }

    #[test]
    fn the_timeline_says_why_nobody_was_told() {
        let words = |json: &str| {
            let entry = Json::parse(json).expect("JSON");
            let entry = Entry::read(&entry, format::plain).expect("an entry");
            entry.words
        };
        for (rest, expected) in [
            (r#""kind":"firing","value":93.4"#, "Fires: 93.4"),
            (
                r#""kind":"not_notified","receiver":"oncall","integration":"email[0]","reason":"silenced","text":"s1""#,
                "Not told oncall by email[0]: a silence matches it: s1",
            ),
            (
                r#""kind":"not_notified","reason":"no_receiver""#,
                "Not told: it is routed to nobody",
            ),
            (
                r#""kind":"acknowledged","by":"ann","text":"mine","until":"1970-01-01T00:00:01Z""#,
                "Acknowledged by ann until 1000: mine",
            ),
            (
                r#""kind":"handed_over","text":"to bob""#,
                "handed over: to bob",
            ),
        ] {
            let json = format!(r#"{{"at":"2026-11-28T14:00:00Z",{rest}}}"#);
            assert_eq!(words(&json), expected);
        }
    }

    #[test]
    fn links_lead_to_the_web_alone() {
        let annotations = [
            ("runbook_url", "https://example.org/a"),
            ("summary", "CPU"),
            ("dashboard", " HTTP://example.org/d"),
            ("evil", "javascript:alert(1)"),
        ];
        let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            links(&annotations),
            [
                ("Runbook".to_owned(), "https://example.org/a".to_owned()),
                ("Dashboard".to_owned(), "HTTP://example.org/d".to_owned())
            ]
        );
    }

    #[test]
    fn what_fired_unseen_is_counted() {
        let mut all = [
            one("a", "critical", ""),
            one("b", "critical", ""),
            one("c", "warning", ""),
        ];
        let before = all[0].started_ms - 1.0;
        all[1].notified = 0;
        all[1].is_firing = false;
        assert_eq!(
            unseen(&all, before, false).as_deref(),
            Some(
                "Critical alerts fired 2 times while nobody looked here, and 1 go on. Nobody was told of 1"
            )
        );
        assert_eq!(unseen(&all, before + 5.0, false), None);
    }
}
