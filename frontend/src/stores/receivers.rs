//! To whom samples are sent on, as `GET /api/v1/status/remote_write` tells of it.

use super::targets::moment;
use crate::net::json::Json;

/// One receiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receiver {
    /// What the file calls it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// It takes nothing, and is tried again.
    pub is_retried: bool,
    /// What went wrong last; empty where nothing did.
    pub error: String,
    /// Samples that wait for it.
    pub waiting: f64,
    /// Bytes on disk that wait for it.
    pub bytes: f64,
    /// How much older its newest sample is than the newest that came, in milliseconds; `None` where
    /// it has none, though some came.
    pub behind_ms: Option<f64>,
    /// Samples that it has.
    pub sent: f64,
    /// Samples that it refused for good.
    pub refused: f64,
    /// Samples that waited for too long, or were too many.
    pub given_up: f64,
}

/// All of them: those that are in trouble first, then by name.
#[must_use]
pub fn read(answer: &Json) -> Vec<Receiver> {
    let mut receivers: Vec<Receiver> = Vec::new();
    for json in answer.get("data").get("receivers").list() {
        let (newest, newest_sent) = (
            json.text_of("newestSample"),
            json.text_of("newestSentSample"),
        );
        let receiver = Receiver {
            name: json.text_of("name").to_owned(),
            url: json.text_of("url").to_owned(),
            is_retried: json.text_of("state") == "retrying",
            error: json.text_of("lastError").to_owned(),
            waiting: json.get("waitingSamples").figure(),
            bytes: json.get("bufferBytes").figure(),
            behind_ms: match (moment(newest), moment(newest_sent)) {
                (Some(newest_ms), Some(sent_ms)) => Some((newest_ms - sent_ms).max(0.0)),
                (Some(_), None) => None,
                (None, _) => Some(0.0),
            },
            sent: json.get("sentSamples").figure(),
            refused: json.get("refusedSamples").figure(),
            given_up: json.get("givenUpSamples").figure(),
        };
        let place = receivers.partition_point(|other| other.order() <= receiver.order());
        receivers.insert(place, receiver);
    }
    receivers
}

impl Receiver {
    fn order(&self) -> (bool, &str) {
        (!self.is_retried, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_in_trouble_come_first_and_say_how_far_behind_they_are() {
        let receiver = |name: &str, state: &str, sent: &str| {
            format!(
                r#"{{"name":"{name}","url":"http://{name}/","state":"{state}","lastError":null,
                "newestSample":"2026-11-28T15:00:09.000Z","newestSentSample":{sent},"waitingSamples":7,
                "bufferBytes":1000,"sentSamples":20,"refusedSamples":3,"givenUpSamples":0}}"#
            )
        };
        let text = format!(
            r#"{{"data":{{"receivers":[{},{},{}]}}}}"#,
            receiver("b", "ok", r#""2026-11-28T15:00:09.500Z""#),
            receiver("a", "ok", r#""2026-11-28T15:00:08.000Z""#),
            receiver("c", "retrying", "null")
        );
        let receivers = read(&Json::parse(&text).expect("JSON"));
        let told: Vec<_> = receivers
            .iter()
            .map(|one| (one.name.as_str(), one.is_retried, one.behind_ms))
            .collect();
        assert_eq!(
            told,
            [
                ("c", true, None),
                ("a", false, Some(1_000.0)),
                ("b", false, Some(0.0))
            ]
        );
        assert_eq!((receivers[0].waiting, receivers[0].refused), (7.0, 3.0));
        assert!(read(&Json::Null).is_empty());
    }
}
