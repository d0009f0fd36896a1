//! The operator's figures (`GET /api/metrics`, `metrics` events of `GET /api/metrics/stream`) and
//! commands (`GET /ws/control`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Six figures at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Newest `cpu_usage`, percent 0–100; 0 before the first tick.
    pub cpu_percent: f64,
    /// Newest `memory_usage`, percent 0–100; 0 before the first tick.
    pub memory_percent: f64,
    /// Requests since the start or the last reset.
    pub requests_total: u64,
    /// Of these, the failed ones.
    pub errors_total: u64,
    /// Control sockets open now.
    pub active_connections: u64,
    /// Percent of cpu above which the operator's stream raises its alert.
    pub alert_threshold: f64,
}

/// The threshold that `set_threshold` without a value sets.
pub const THRESHOLD_DEFAULT: f64 = 80.0;

/// The first event of the operator's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamConfig {
    /// Nominal milliseconds between ticks.
    pub interval_ms: u64,
}

/// Answers a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlReply {
    /// One line for the operator's log.
    pub message: String,
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ControlCommand {
    /// Totals back to 0.
    ResetCounters,
    /// Percent of cpu above which the operator's stream raises its alert.
    SetThreshold(f64),
}

impl ControlCommand {
    /// Reads one text message.
    ///
    /// # Errors
    /// The message of the reply: `Error: …`, or `Unknown command: NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("Error: the message is not JSON: {error}"))?;
        let object = value
            .as_object()
            .ok_or("Error: the message is JSON but not an object; expected {\"command\":…}")?;
        match object.get("command") {
            Some(Value::String(command)) => match command.as_str() {
                "reset_counters" => Ok(Self::ResetCounters),
                "set_threshold" => threshold(object.get("value")).map(Self::SetThreshold),
                other => Err(format!(
                    "Unknown command: {}",
                    other.chars().take(COMMAND_CHARS_SHOWN).collect::<String>()
                )),
            },
            Some(other) => Err(format!("Unknown command: {other}")),
            None => Err(
                "Error: \"command\" is missing; reset_counters and set_threshold are known"
                    .to_owned(),
            ),
        }
    }
}

/// Characters of an unknown command that are repeated in the reply.
const COMMAND_CHARS_SHOWN: usize = 100;

/// Numbers and numeric texts from 0 to 100.
fn threshold(value: Option<&Value>) -> Result<f64, String> {
    let number = match value {
        None => Some(THRESHOLD_DEFAULT),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    match number {
        Some(number) if (0.0..=100.0).contains(&number) => Ok(number.abs()),
        _ => Err("Error: \"value\" must be a number from 0 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_operators_order() {
        use ControlCommand::{ResetCounters, SetThreshold};
        for (text, command) in [
            (r#"{"command":"reset_counters"}"#, ResetCounters),
            (
                r#"{"command":"set_threshold","value":90}"#,
                SetThreshold(90.0),
            ),
            (
                r#"{"command":"set_threshold","value":"72.5"}"#,
                SetThreshold(72.5),
            ),
            (r#"{"command":"set_threshold"}"#, SetThreshold(80.0)),
            (
                r#"{"command":"set_threshold","value":0}"#,
                SetThreshold(0.0),
            ),
        ] {
            assert_eq!(ControlCommand::parse(text), Ok(command), "{text}");
        }
        for value in [
            "-1", "100.1", "\"x\"", "\"NaN\"", "\"inf\"", "true", "[]", "null", "1e999",
        ] {
            let refused =
                ControlCommand::parse(&format!(r#"{{"command":"set_threshold","value":{value}}}"#));
            assert!(
                refused.is_err_and(|text| text.starts_with("Error: ")),
                "{value}"
            );
        }
        assert_eq!(
            ControlCommand::parse(r#"{"command":"dance"}"#),
            Err("Unknown command: dance".to_owned())
        );
        for wrong in ["", "x", "[]", "{}"] {
            assert!(
                ControlCommand::parse(wrong).is_err_and(|text| text.starts_with("Error: ")),
                "{wrong:?}"
            );
        }
    }
}
