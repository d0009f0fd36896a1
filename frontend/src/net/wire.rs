//! The wire types that the page reads, from [`Json`]: `shared` says what they are, and tests
//! here hold both readers to its golden messages.

use pulseboard_shared::{
    Alert, AlertState, Labels, Metric, Role, Timestamp,
    protocol::{
        metrics::{ClientMessage, Merged, MergedSeries, ServerMessage, Snapshot, Tick},
        operator::Figures,
    },
};
use uuid::Uuid;

use super::json::{Json, quote};

fn text(json: &Json, name: &str) -> Option<String> {
    json.get(name).text().map(str::to_owned)
}

fn timestamp(json: &Json, name: &str) -> Option<Timestamp> {
    json.get(name).text()?.parse().ok()
}

/// As the server writes it: 32 hexadecimal digits, with dashes behind the 8th, 12th, 16th and 20th.
/// The crate's own reader takes every other spelling, too, and a kilobyte of the page.
fn uuid(text: &str) -> Option<Uuid> {
    const CHARACTERS: usize = 36;
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    if text.len() != CHARACTERS {
        return None;
    }
    let mut value = 0_u128;
    for (place, character) in text.char_indices() {
        if DASHES.contains(&place) {
            if character != '-' {
                return None;
            }
        } else {
            value = value << 4 | u128::from(character.to_digit(16)?);
        }
    }
    Some(Uuid::from_u128(value))
}

fn labels(json: &Json) -> Labels {
    let mut labels = Labels::new();
    for (name, value) in json.get("labels").entries() {
        if let Some(value) = value.text() {
            labels.insert(name.clone(), value.to_owned());
        }
    }
    labels
}

fn metric(json: &Json) -> Option<Metric> {
    Some(Metric {
        name: text(json, "name")?,
        value: json.get("value").figure(),
        unit: text(json, "unit")?,
        timestamp: timestamp(json, "timestamp")?,
        labels: labels(json),
    })
}

fn snapshot(json: &Json) -> Option<Snapshot> {
    Some(Snapshot {
        epoch: text(json, "epoch")?,
        offset: json.get("offset").count()?,
        window: json.get("window").count()?,
        interval_ms: json.get("interval_ms").count()?,
        sent_ms: json.get("sent_ms").moment()?,
        data: json
            .get("data")
            .list()
            .iter()
            .map(metric)
            .collect::<Option<_>>()?,
    })
}

fn merged(json: &Json) -> Option<MergedSeries> {
    Some(MergedSeries {
        name: text(json, "name")?,
        unit: text(json, "unit")?,
        labels: labels(json),
        min: json.get("min").figure(),
        max: json.get("max").figure(),
        last: json.get("last").figure(),
        count: json.get("count").count()?,
        timestamp: timestamp(json, "timestamp")?,
    })
}

fn message(json: &Json) -> Option<ServerMessage> {
    Some(match json.text_of("type") {
        "initial" => ServerMessage::Initial(snapshot(json)?),
        "resumed" => ServerMessage::Resumed(snapshot(json)?),
        "metrics" => ServerMessage::Metrics(Tick {
            epoch: text(json, "epoch")?,
            offset: json.get("offset").count()?,
            sampled_ms: json.get("sampled_ms").moment()?,
            sent_ms: json.get("sent_ms").moment()?,
            data: json
                .get("data")
                .list()
                .iter()
                .map(metric)
                .collect::<Option<_>>()?,
        }),
        "merged" => ServerMessage::Merged(Merged {
            epoch: text(json, "epoch")?,
            offset: json.get("offset").count()?,
            first_offset: json.get("first_offset").count()?,
            last_offset: json.get("last_offset").count()?,
            data: json
                .get("data")
                .list()
                .iter()
                .map(merged)
                .collect::<Option<_>>()?,
        }),
        "subscribed" => {
            let names = json.get("metrics").list().iter();
            ServerMessage::Subscribed {
                metrics: names
                    .map(|name| name.text().map(str::to_owned))
                    .collect::<Option<_>>()?,
            }
        }
        "pong" => ServerMessage::Pong {
            timestamp: timestamp(json, "timestamp")?,
        },
        "error" => ServerMessage::Error {
            text: text(json, "text")?,
        },
        _ => return None,
    })
}

/// A message of `/ws/metrics`.
///
/// # Errors
/// What is wrong, in words.
pub fn server_message(text: &str) -> Result<ServerMessage, String> {
    let json = Json::parse(text).ok_or("it is not JSON")?;
    message(&json).ok_or_else(|| match json.text_of("type") {
        "" => "it has no type".to_owned(),
        kind => format!("{} is not a type that this page knows", quote(kind)),
    })
}

/// What the page says on `/ws/metrics`.
#[must_use]
pub fn client_message(message: &ClientMessage) -> String {
    match message {
        ClientMessage::Ping => r#"{"type":"ping"}"#.to_owned(),
        ClientMessage::Subscribe { metrics } => {
            let names: Vec<String> = metrics.iter().map(|name| quote(name)).collect();
            format!(r#"{{"type":"subscribe","metrics":[{}]}}"#, names.join(","))
        }
    }
}

/// An alert, as in `/events/alerts` and `/api/alerts`.
#[must_use]
pub fn alert(json: &Json) -> Option<Alert> {
    Some(Alert {
        id: uuid(json.get("id").text()?)?,
        message: text(json, "message")?,
        severity: json.get("severity").text()?.parse().ok()?,
        timestamp: timestamp(json, "timestamp")?,
        incident: uuid(json.get("incident").text()?)?,
        rule: text(json, "rule")?,
        state: match json.text_of("state") {
            "firing" => AlertState::Firing,
            "resolved" => AlertState::Resolved,
            _ => return None,
        },
        value: json.get("value").figure(),
        threshold: json.get("threshold").figure(),
        started: timestamp(json, "started")?,
        labels: labels(json),
    })
}

/// The operator's figures.
#[must_use]
pub fn figures(json: &Json) -> Option<Figures> {
    Some(Figures {
        cpu_percent: json.get("cpu_percent").number()?,
        memory_percent: json.get("memory_percent").number()?,
        requests_total: json.get("requests_total").count()?,
        errors_total: json.get("errors_total").count()?,
        active_connections: json.get("active_connections").count()?,
        alert_threshold: json.get("alert_threshold").number()?,
    })
}

/// A role by its name.
#[must_use]
pub fn role(json: &Json) -> Option<Role> {
    json.get("role").text()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each golden message of `shared`, which its own tests hold against serde.
    macro_rules! golden {
        ($name:literal) => {
            include_str!(concat!("../../../shared/tests/wire/", $name, ".json"))
        };
    }

    #[test]
    fn reads_what_the_wire_crate_reads() {
        for text in [
            golden!("initial"),
            golden!("resumed"),
            golden!("metrics"),
            golden!("merged"),
            golden!("subscribed"),
            golden!("pong"),
            golden!("error"),
        ] {
            let (got, expected) = (server_message(text), ServerMessage::parse(text));
            // By their texts: a figure that is none is not equal to itself.
            assert_eq!(
                format!("{:?}", got.expect("a message")),
                format!("{:?}", expected.expect("a message"))
            );
        }
        let text = golden!("alert");
        let expected = serde_json::from_str::<Alert>(text).expect("an alert");
        assert_eq!(alert(&Json::parse(text).expect("JSON")), Some(expected));
    }

    #[test]
    fn reads_the_one_spelling_of_a_uuid() {
        let known = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        for text in [known.to_string(), known.to_string().to_uppercase()] {
            assert_eq!(uuid(&text), Some(known), "{text}");
        }
        for text in [
            "",
            "0123456789abcdef0123456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567-89ab-cdef-0123-456789abcde-",
            "0123456-789ab-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef0",
            "01234567-89ab-cdef-0123-456789abcd+f",
            "ä1234567-89ab-cdef-0123-456789abcde",
        ] {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, words) in [
            ("<html>", "it is not JSON"),
            ("[]", "it has no type"),
            (
                r#"{"type":"hello"}"#,
                r#""hello" is not a type that this page knows"#,
            ),
            (
                r#"{"type":"pong"}"#,
                r#""pong" is not a type that this page knows"#,
            ),
        ] {
            assert_eq!(server_message(text), Err(words.to_owned()));
        }
    }

    #[test]
    fn says_what_the_server_reads() {
        for message in [
            ClientMessage::Ping,
            ClientMessage::Subscribe {
                metrics: vec!["cpu_usage".into(), r#"a{b="c"}"#.into()],
            },
        ] {
            let text = client_message(&message);
            assert_eq!(ClientMessage::parse(&text), Ok(Some(message)));
        }
    }
}
