//! Receivers of notifications as `GET /api/receivers` tells of them, the ways that the form knows,
//! and what was delivered.

use super::{hosts::Trouble, targets::moment};
use crate::{
    net::{
        json::{Json, quote, write},
        prom,
    },
    words,
};

/// What a field of a way takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown again.
    Secret,
    /// A number.
    Number,
}

/// A field of a way: its name in `alertmanager.yml`, what it is called, and whether it must be
/// there.
pub type Field = (&'static str, &'static str, Kind, bool);

/// A way to tell somebody: its list in `alertmanager.yml`, what it is called, and its fields.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its list in `alertmanager.yml`.
    pub list: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// What is asked for in the form; all else that is there stays as it is.
    pub fields: &'static [Field],
}

use Kind::{Number, Secret, Text};

/// The ways that the form knows.
pub const WAYS: [Way; 12] = [
    Way {
        list: "email_configs",
        label: "E-mail",
        fields: &[
            ("to", "To", Text, true),
            ("from", words::FROM, Text, false),
            ("smarthost", "Mail server, HOST:PORT", Text, false),
            ("auth_username", "User", Text, false),
            ("auth_password", "Password", Secret, false),
        ],
    },
    Way {
        list: "webhook_configs",
        label: "Webhook",
        fields: &[("url", "URL", Secret, true)],
    },
    Way {
        list: "slack_configs",
        label: "Slack",
        fields: &[
            ("api_url", "URL of the incoming webhook", Secret, true),
            ("channel", "Channel", Text, false),
        ],
    },
    Way {
        list: "telegram_configs",
        label: "Telegram",
        fields: &[
            ("bot_token", "Token of the bot", Secret, true),
            ("chat_id", "Number of the chat", Number, true),
        ],
    },
    Way {
        list: "ntfy_configs",
        label: "ntfy",
        fields: &[
            ("topic", "Topic", Secret, true),
            ("url", "Server; empty: ntfy.sh", Secret, false),
            ("token", "Token, where it needs one", Secret, false),
        ],
    },
    Way {
        list: "gotify_configs",
        label: "Gotify",
        fields: &[
            ("url", "Server", Secret, true),
            ("token", "Token of the application", Secret, true),
        ],
    },
    Way {
        list: "discord_configs",
        label: "Discord",
        fields: &[("webhook_url", "URL of its webhook", Secret, true)],
    },
    Way {
        list: "msteamsv2_configs",
        label: "Teams",
        fields: &[("webhook_url", "URL of the workflow", Secret, true)],
    },
    Way {
        list: "msteams_configs",
        label: "Teams, old connector",
        fields: &[("webhook_url", "URL of the connector", Secret, true)],
    },
    Way {
        list: "pagerduty_configs",
        label: "PagerDuty",
        fields: &[("routing_key", "Integration key", Secret, true)],
    },
    Way {
        list: "pushover_configs",
        label: "Pushover",
        fields: &[
            ("user_key", "User key", Secret, true),
            ("token", "API token", Secret, true),
        ],
    },
    Way {
        list: "opsgenie_configs",
        label: "Opsgenie",
        fields: &[
            ("api_key", "API key", Secret, true),
            ("api_url", "API URL; empty: the customary", Text, false),
        ],
    },
];

/// One receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// `file` or `api`.
    pub source: String,
    /// A route leads to it.
    pub used: bool,
    /// As it came.
    pub json: Json,
}

/// Fields that are the server's.
const OUTSIDE: [&str; 4] = ["name", "source", "used", "revision"];

impl Receiver {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        Some(Self {
            name: json.get("name").text()?.to_owned(),
            source: json.text_of("source").to_owned(),
            used: json.get("used").is_true(),
            json: json.clone(),
        })
    }

    /// All of an answer.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let all = json.get("receivers").list().iter();
        all.filter_map(Self::read).collect()
    }

    /// Its ways, such as `E-mail to ops@example.org`.
    #[must_use]
    pub fn ways(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (list, sections) in self.json.entries() {
            for section in sections.list() {
                let way = WAYS.iter().find(|way| way.list == list);
                let label = way.map_or_else(
                    || list.trim_end_matches("_configs").to_owned(),
                    |way| way.label.to_owned(),
                );
                let first = way.and_then(|way| {
                    let mut fields = way.fields.iter();
                    let field = fields.find(|(name, _, kind, _)| {
                        *kind == Text && !section.text_of(name).is_empty()
                    })?;
                    Some(section.text_of(field.0))
                });
                words.push(match first {
                    Some(first) => [&label, " ", first].concat(),
                    None => label,
                });
            }
        }
        words
    }
}

/// One way of a receiver as it is being written.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its list; see [`WAYS`].
    pub list: String,
    /// What is typed into its fields.
    pub values: Vec<(String, String)>,
    /// It is also told that alerts are over.
    pub resolved: bool,
    /// What else is there and stays.
    rest: Vec<(String, Json)>,
}

impl Section {
    /// A new one of way number `index`.
    #[must_use]
    pub fn new(index: usize) -> Self {
        let way = &WAYS[index.min(WAYS.len() - 1)];
        Self::of(way, &Json::Null)
    }

    fn of(way: &Way, json: &Json) -> Self {
        let value = |(name, ..): &Field| {
            let text = match json.get(name) {
                Json::Number(number) => crate::format::plain(*number),
                other => other.text().unwrap_or_default().to_owned(),
            };
            ((*name).to_owned(), text)
        };
        let is_rest = |(name, _): &&(String, Json)| {
            name != "send_resolved" && way.fields.iter().all(|field| field.0 != name.as_str())
        };
        Self {
            list: way.list.to_owned(),
            values: way.fields.iter().map(value).collect(),
            resolved: *json.get("send_resolved") != Json::Bool(false),
            rest: json.entries().iter().filter(is_rest).cloned().collect(),
        }
    }

    /// Its way.
    #[must_use]
    pub fn way(&self) -> &'static Way {
        let mut ways = WAYS.iter();
        ways.find(|way| way.list == self.list).unwrap_or(&WAYS[0])
    }

    /// What is typed into a field.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        let mut values = self.values.iter();
        values
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// Something was typed into a field.
    pub fn set(&mut self, name: &str, value: String) {
        if let Some(known) = self.values.iter_mut().find(|(known, _)| known == name) {
            known.1 = value;
        }
    }

    fn json(&self) -> Json {
        let mut entries = self.rest.clone();
        for (name, _, kind, _) in self.way().fields {
            let value = self.value(name).trim();
            let number = Json::parse(value).filter(|_| *kind == Number);
            if !value.is_empty() {
                let value = number.unwrap_or_else(|| Json::Text(value.to_owned()));
                entries.push(((*name).to_owned(), value));
            }
        }
        entries.push(("send_resolved".to_owned(), Json::Bool(self.resolved)));
        Json::Object(entries)
    }
}

/// A receiver as it is being written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Its ways.
    pub sections: Vec<Section>,
    /// Which state of them was read, so that nobody's change is lost.
    revision: Option<f64>,
    /// Ways that the form does not know, which stay.
    rest: Vec<(String, Json)>,
}

impl Draft {
    /// Of a receiver that is there.
    #[must_use]
    pub fn of(receiver: &Receiver) -> Self {
        let mut draft = Self {
            name: receiver.name.clone(),
            revision: receiver.json.get("revision").number(),
            ..Self::default()
        };
        for (list, value) in receiver.json.entries() {
            match WAYS.iter().find(|way| way.list == list) {
                Some(way) => {
                    let sections = value.list().iter().map(|json| Section::of(way, json));
                    draft.sections.extend(sections);
                }
                None if OUTSIDE.contains(&list.as_str()) || value.list().is_empty() => {}
                None => draft.rest.push((list.clone(), value.clone())),
            }
        }
        draft
    }

    /// What has to be filled in before it can be sent.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.name.trim().is_empty() {
            return Some("A receiver has a name".to_owned());
        }
        if self.sections.is_empty() && self.rest.is_empty() {
            return Some("A receiver has at least one way to be told".to_owned());
        }
        for section in &self.sections {
            let way = section.way();
            for (name, label, kind, must) in way.fields {
                let value = section.value(name).trim();
                // It may be in a file in its place.
                let file = [name, "_file"].concat();
                let is_in_file = section.rest.iter().any(|(known, _)| *known == file);
                if *must && value.is_empty() && !is_in_file {
                    return Some(format!("{}: {label} is missing", way.label));
                }
                let is_number = || Json::parse(value).is_some_and(|json| json.number().is_some());
                if *kind == Number && !value.is_empty() && !is_number() {
                    return Some(format!("{}: {label} is a number", way.label));
                }
            }
        }
        None
    }

    /// As the server takes it; `digits` writes a number with all of its digits.
    #[must_use]
    pub fn json(&self, digits: fn(f64) -> String) -> String {
        let mut lists: Vec<(String, Json)> =
            vec![("name".to_owned(), Json::Text(self.name.trim().to_owned()))];
        lists.extend(self.rest.iter().cloned());
        for section in &self.sections {
            let json = section.json();
            match lists.iter_mut().find(|(list, _)| *list == section.list) {
                Some((_, Json::List(sections))) => sections.push(json),
                _ => lists.push((section.list.clone(), Json::List(vec![json]))),
            }
        }
        if let Some(revision) = self.revision {
            lists.push(("revision".to_owned(), Json::Number(revision)));
        }
        write(&Json::Object(lists), digits)
    }
}

/// What came of a test, a line each.
#[must_use]
pub fn outcomes(json: &Json) -> Vec<(Trouble, String)> {
    let results = json.get("results").list().iter();
    let outcome = |result: &Json| outcome_of(result, result.text_of("integration"));
    results.map(outcome).collect()
}

/// What came of a test of one way, which is called so.
#[must_use]
pub fn outcome_of(json: &Json, way: &str) -> (Trouble, String) {
    let detail = match json.text_of("detail") {
        "" => String::new(),
        detail => [": ", detail].concat(),
    };
    match json.text_of("outcome") {
        "sent" => (Trouble::None, format!("{way} took it{detail}")),
        _ => (Trouble::Critical, format!("{way} failed{detail}")),
    }
}

/// One notification of the delivery log.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Names it, also for the receiver.
    pub key: String,
    /// To whom it goes, and by which way.
    pub to: String,
    /// Labels of its group, as one writes them.
    pub group: String,
    /// How many alerts it tells of.
    pub alerts: u64,
    /// It says that they are over.
    pub is_resolved: bool,
    /// When it was tried last or came to be, Unix milliseconds.
    pub at_ms: f64,
    /// How often it was tried.
    pub tries: u64,
    /// How it stands, in a word and a colour.
    pub outcome: (Trouble, &'static str),
    /// What the receiver said.
    pub detail: String,
}

impl Notification {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        let outcome = match json.text_of("outcome") {
            "sent" => (Trouble::None, "sent"),
            "failed" => (Trouble::Critical, "failed"),
            _ => (Trouble::Warning, "waiting"),
        };
        let at = [json.text_of("at"), json.text_of("created")];
        Some(Self {
            key: json.get("key").text()?.to_owned(),
            to: [json.text_of("receiver"), " ", json.text_of("integration")].concat(),
            group: prom::key(json.get("group")),
            alerts: json.get("alerts").count().unwrap_or(0),
            is_resolved: json.text_of("status") == "resolved",
            at_ms: at.into_iter().find_map(moment)?,
            tries: json.get("tries").count().unwrap_or(0),
            outcome,
            detail: json.text_of("detail").to_owned(),
        })
    }

    /// All of an answer.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let all = json.get("notifications").list().iter();
        all.filter_map(Self::read).collect()
    }
}

/// The route as lines, each child further to the right: whom it leads to and for what.
#[must_use]
pub fn route_lines(route: &Json) -> Vec<String> {
    /// More than that nobody reads.
    const LINES_MAX: usize = 200;
    let mut lines = Vec::new();
    let mut waiting = vec![(route, 0_usize)];
    while let Some((route, depth)) = waiting.pop() {
        if lines.len() == LINES_MAX || *route == Json::Null {
            break;
        }
        let mut conditions: Vec<String> = Vec::new();
        for matcher in route.get("matchers").list() {
            conditions.push(match matcher.text() {
                Some(text) => text.to_owned(),
                None => {
                    let of = |name| matcher.text_of(name);
                    [of("name"), "=", &quote(of("value"))].concat()
                }
            });
        }
        for (name, value) in route.get("match").entries() {
            conditions.push([name, "=", &quote(value.text().unwrap_or_default())].concat());
        }
        let whom = match route.text_of("receiver") {
            "" => "the same",
            receiver => receiver,
        };
        let what = match conditions.is_empty() {
            true => "all".to_owned(),
            false => conditions.join(", "),
        };
        lines.push(format!("{}{what} → {whom}", "    ".repeat(depth)));
        for child in route.get("routes").list().iter().rev() {
            waiting.push((child, depth + 1));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(json: &str) -> Receiver {
        Receiver::read(&Json::parse(json).expect("JSON")).expect("a receiver")
    }

    const ONCALL: &str = r#"{"name":"oncall","source":"api","used":true,
        "email_configs":[{"to":"ops@example.org","html":"<b>","send_resolved":false}],
        "telegram_configs":[{"bot_token":"<secret>","chat_id":-100123,"send_resolved":true}],
        "webpush_configs":[{"topic":"x"}]}"#;

    #[test]
    fn what_the_form_does_not_know_stays() {
        let read = receiver(ONCALL);
        assert_eq!(
            read.ways(),
            ["E-mail ops@example.org", "Telegram", "webpush"]
        );
        let mut draft = Draft::of(&read);
        assert_eq!(draft.problem(), None);
        draft.sections[0].set("to", "dev@example.org".to_owned());
        let sent = draft.json(crate::format::plain);
        let sent = Json::parse(&sent).expect("JSON");
        let email = &sent.get("email_configs").list()[0];
        assert_eq!(email.text_of("to"), "dev@example.org");
        assert_eq!(email.text_of("html"), "<b>");
        assert_eq!(*email.get("send_resolved"), Json::Bool(false));
        let telegram = &sent.get("telegram_configs").list()[0];
        assert_eq!(telegram.text_of("bot_token"), "<secret>");
        assert_eq!(telegram.get("chat_id").number(), Some(-100_123.0));
        assert_eq!(
            sent.get("webpush_configs"),
            read.json.get("webpush_configs")
        );
        assert_eq!(*sent.get("source"), Json::Null);
    }

    /// Who saves what somebody else has changed meanwhile is told so.
    #[test]
    fn what_was_read_is_said() {
        let json = r#"{"name":"a","revision":7,"used":true,"ntfy_configs":[{"topic":"<secret>"}]}"#;
        let sent = Draft::of(&receiver(json)).json(|number| number.to_string());
        let sent = Json::parse(&sent).expect("JSON");
        assert_eq!(sent.get("revision").number(), Some(7.0));
        assert!(sent.get("used").text().is_none() && !sent.get("used").is_true());
        let new = Draft::default().json(|number| number.to_string());
        assert!(!new.contains("revision"), "{new}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut draft = Draft::default();
        assert!(draft.problem().is_some());
        draft.name = "oncall".into();
        assert!(draft.problem().is_some());
        for (index, way) in WAYS.iter().enumerate() {
            draft.sections = vec![Section::new(index)];
            let problem = draft.problem().expect("an empty field that must be there");
            assert!(problem.starts_with(way.label), "{problem}");
        }
        let json = r#"{"name":"a","slack_configs":[{"api_url_file":"/a"}],"webpush_configs":[]}"#;
        assert_eq!(Draft::of(&receiver(json)).problem(), None, "in a file");
        draft.sections = vec![Section::new(3)];
        draft.sections[0].set("bot_token", "a".into());
        draft.sections[0].set("chat_id", "ops".into());
        assert!(
            draft
                .problem()
                .is_some_and(|problem| problem.contains("number"))
        );
    }

    #[test]
    fn the_outcome_of_a_test_is_told() {
        let json = r#"{"results":[{"integration":"email[0]","outcome":"sent"},
            {"integration":"slack[0]","outcome":"failed","detail":"404 no_service"}]}"#;
        let told = outcomes(&Json::parse(json).expect("JSON"));
        assert_eq!(told[0], (Trouble::None, "email[0] took it".to_owned()));
        assert_eq!(told[1].1, "slack[0] failed: 404 no_service");
    }

    #[test]
    fn a_route_is_told_line_by_line() {
        let json = r#"{"receiver":"all","routes":[{"matchers":["severity=\"critical\""],"receiver":"oncall",
            "routes":[{"match":{"job":"db"}}]},{"receiver":"log"}]}"#;
        assert_eq!(
            route_lines(&Json::parse(json).expect("JSON")),
            [
                "all → all",
                "    severity=\"critical\" → oncall",
                "        job=\"db\" → the same",
                "    all → log"
            ]
        );
        assert!(route_lines(&Json::Null).is_empty());
    }

    #[test]
    fn a_notification_is_read() {
        let json = r#"{"notifications":[{"key":"k","receiver":"oncall","integration":"email[0]","group":{"alertname":"CPU"},
            "alerts":2,"status":"firing","created":"1970-01-01T00:00:01Z","at":"1970-01-01T00:00:02Z","tries":3,
            "outcome":"failed","detail":"refused"}]}"#;
        let all = Notification::read_all(&Json::parse(json).expect("JSON"));
        assert_eq!(all[0].at_ms, 2_000.0);
        assert_eq!(all[0].to, "oncall email[0]");
        assert_eq!(all[0].group, "{alertname=\"CPU\"}");
        assert_eq!(all[0].outcome.1, "failed");
    }
}
