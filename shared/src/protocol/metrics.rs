//! `GET /ws/metrics`: the tick, live and resumable.
//!
//! A viewer's place is an *epoch* (which log) and an *offset* (which tick in it). Offset alone
//! is not enough: a server restarted without history counts from 0 again, so a viewer that
//! comes back with offset 40 would take tick 41 of the new run for the one after its own
//! tick 40 and never notice the 40 ticks it missed.

use serde::{Deserialize, Serialize};

use crate::{Labels, Metric, Timestamp, limits};

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage {
    /// On opening: the whole window, oldest first.
    Initial(Snapshot),
    /// On opening with a cursor that is still held: exactly the ticks that were missed.
    Resumed(Snapshot),
    /// One tick.
    Metrics(Tick),
    /// Ticks that this viewer was too slow for, merged into one.
    Merged(Merged),
    /// Answers `subscribe`: from now on only these are sent (all four when empty).
    Subscribed {
        /// The names as asked for.
        metrics: Vec<String>,
    },
    /// Answers `ping`.
    Pong {
        /// The server's clock when it answered.
        timestamp: Timestamp,
    },
    /// The client's message could not be read; the connection stays open.
    Error {
        /// What was wrong and what is accepted.
        text: String,
    },
}

impl ServerMessage {
    /// Reads one text message.
    ///
    /// The same as the derived [`Deserialize`], which has to keep a whole message in an
    /// intermediate form until it knows the `type`; this looks at the `type` first and then reads
    /// the message straight into place, which costs a page half the time and half the code.
    ///
    /// # Errors
    /// Text that is no JSON object of a known `type` with all its fields.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        /// Only the field that says what the message is; the others are skipped.
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(rename = "type", borrow)]
            kind: std::borrow::Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Subscribed {
            metrics: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Pong {
            timestamp: Timestamp,
        }
        #[derive(Deserialize)]
        struct Error {
            text: String,
        }

        let Head { kind } = serde_json::from_str(text)?;
        Ok(match &*kind {
            "initial" => Self::Initial(serde_json::from_str(text)?),
            "resumed" => Self::Resumed(serde_json::from_str(text)?),
            "metrics" => Self::Metrics(serde_json::from_str(text)?),
            "merged" => Self::Merged(serde_json::from_str(text)?),
            "subscribed" => {
                let Subscribed { metrics } = serde_json::from_str(text)?;
                Self::Subscribed { metrics }
            }
            "pong" => {
                let Pong { timestamp } = serde_json::from_str(text)?;
                Self::Pong { timestamp }
            }
            "error" => {
                let Error { text } = serde_json::from_str(text)?;
                Self::Error { text }
            }
            _ => {
                return Err(serde::de::Error::custom(format_args!(
                    "unknown type {kind:?}"
                )));
            }
        })
    }
}

/// Several ticks at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The log that `offset` counts in; new at each server start without history.
    pub epoch: String,
    /// The newest tick in `data`; a client that resumes names it. 0 before the first tick.
    pub offset: u64,
    /// Ticks in the server's rolling window when it is full.
    pub window: u64,
    /// Nominal milliseconds between ticks; 0 where there is no source and none will come.
    pub interval_ms: u64,
    /// When the server sent this, Unix milliseconds.
    pub sent_ms: i64,
    /// Samples, oldest tick first; within a tick in the order of [`crate::BUILT_IN`].
    pub data: Vec<Metric>,
}

/// One tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// The log that `offset` counts in.
    pub epoch: String,
    /// This tick; one more than the one before.
    pub offset: u64,
    /// When the samples were taken, Unix milliseconds.
    pub sampled_ms: i64,
    /// When the server handed the frame to its viewers, Unix milliseconds.
    pub sent_ms: i64,
    /// The samples, in the order of [`crate::BUILT_IN`].
    pub data: Vec<Metric>,
}

/// What a viewer that was too slow gets in place of the ticks `first_offset..=last_offset`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// The log that the offsets count in.
    pub epoch: String,
    /// The newest tick merged, as in the other messages.
    pub offset: u64,
    /// The oldest tick merged.
    pub first_offset: u64,
    /// The newest tick merged.
    pub last_offset: u64,
    /// One entry a series.
    pub data: Vec<MergedSeries>,
}

/// What one series did in the ticks that were merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergedSeries {
    /// The series.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// What tells it from others of its name.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Newest value.
    pub last: f64,
    /// Samples merged.
    pub count: u64,
    /// When the newest one was taken.
    pub timestamp: Timestamp,
}

/// What a client may say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage {
    /// Send only these metrics from now on; `[]` means the four again. A name is a metric name
    /// or a whole series, `name{label="value"}`.
    Subscribe {
        /// The names, at most [`limits::SUBSCRIBED_METRICS_MAX`].
        metrics: Vec<String>,
    },
    /// Asks for a [`ServerMessage::Pong`].
    Ping,
}

impl ClientMessage {
    /// Reads one text message. A message of an unknown `type` is `Ok(None)`: newer clients may
    /// say more than this server knows.
    ///
    /// # Errors
    /// Text that is not JSON, is no object, or a `subscribe` without a usable list; the message
    /// says what was wrong and what is accepted.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| format!("The message is not JSON: {error}"))?;
        let Some(object) = value.as_object() else {
            return Err("The message is JSON but not an object; expected {\"type\":…}".to_owned());
        };
        match object.get("type").and_then(serde_json::Value::as_str) {
            Some("ping") => Ok(Some(Self::Ping)),
            Some("subscribe") => parse_subscribe(object.get("metrics")).map(Some),
            _ => Ok(None),
        }
    }
}

fn parse_subscribe(metrics: Option<&serde_json::Value>) -> Result<ClientMessage, String> {
    const EXPECTED: &str = "\"metrics\" must be a list of metric names, such as [\"cpu_usage\"]";
    let list = metrics
        .and_then(serde_json::Value::as_array)
        .ok_or_else(|| format!("In \"subscribe\", {EXPECTED}"))?;
    if list.len() > limits::SUBSCRIBED_METRICS_MAX {
        return Err(format!(
            "In \"subscribe\", \"metrics\" has {} names; at most {} are accepted",
            list.len(),
            limits::SUBSCRIBED_METRICS_MAX
        ));
    }
    let names = list
        .iter()
        .enumerate()
        .map(|(index, name)| match name.as_str() {
            Some(name) if name.chars().count() <= limits::METRIC_NAME_CHARS_MAX => {
                Ok(name.to_owned())
            }
            Some(_) => Err(format!(
                "In \"subscribe\", name {index} of \"metrics\" is longer than {} characters",
                limits::METRIC_NAME_CHARS_MAX
            )),
            None => Err(format!(
                "In \"subscribe\", item {index} of \"metrics\" is not a text; {EXPECTED}"
            )),
        });
    Ok(ClientMessage::Subscribe {
        metrics: names.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_say() {
        let snapshot = Snapshot {
            epoch: "e\"1".into(),
            offset: 7,
            window: 60,
            interval_ms: 1000,
            sent_ms: 5,
            data: vec![Metric {
                name: "cpu_usage".into(),
                value: 78.4,
                unit: "%".into(),
                timestamp: Timestamp::from_millis(4),
                labels: Labels::new(),
            }],
        };
        let tick = Tick {
            epoch: "e".into(),
            offset: 8,
            sampled_ms: 6,
            sent_ms: 7,
            data: snapshot.data.clone(),
        };
        let merged = Merged {
            epoch: "e".into(),
            offset: 9,
            first_offset: 8,
            last_offset: 9,
            data: Vec::new(),
        };
        for message in [
            ServerMessage::Initial(snapshot.clone()),
            ServerMessage::Resumed(snapshot),
            ServerMessage::Metrics(tick),
            ServerMessage::Merged(merged),
            ServerMessage::Subscribed {
                metrics: vec!["cpu_usage".into()],
            },
            ServerMessage::Pong {
                timestamp: Timestamp::from_millis(1),
            },
            ServerMessage::Error { text: "no".into() },
        ] {
            let text = serde_json::to_string(&message).expect("a message is JSON");
            assert_eq!(ServerMessage::parse(&text).ok(), Some(message.clone()));
            assert_eq!(serde_json::from_str(&text).ok(), Some(message));
        }
        for wrong in [
            "",
            "7",
            "{}",
            r#"{"type":"dance"}"#,
            r#"{"type":"initial"}"#,
        ] {
            assert!(ServerMessage::parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn reads_what_clients_say() {
        assert_eq!(
            ClientMessage::parse(r#"{"type":"ping"}"#),
            Ok(Some(ClientMessage::Ping))
        );
        assert_eq!(
            ClientMessage::parse(r#"{"type":"subscribe","metrics":["cpu_usage"]}"#),
            Ok(Some(ClientMessage::Subscribe {
                metrics: vec!["cpu_usage".into()]
            }))
        );
        for ignored in ["{}", r#"{"type":"dance"}"#, r#"{"type":7}"#] {
            assert_eq!(ClientMessage::parse(ignored), Ok(None));
        }
        for wrong in [
            "",
            "hello",
            "7",
            "[]",
            "null",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","metrics":[1]}"#,
        ] {
            assert!(ClientMessage::parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
