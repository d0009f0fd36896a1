//! What a room allows: its least role, its typed events and their JSON Schemas.

use std::{collections::BTreeMap, fmt, sync::Arc};

use pulseboard_shared::{
    Role,
    protocol::rooms::{DASHBOARD_ROOM, GENERAL_ROOM, OPERATIONS_ROOM},
};
use serde_json::{Value, json};

use crate::settings::RoomSettings;

/// What does not fit that an answer lists.
const VIOLATIONS_SHOWN: usize = 10;

/// What a room allows. The default is what rooms nobody configured get: open to all who read,
/// any event.
pub struct RoomConfig {
    /// The least role of its members.
    pub min_role: Role,
    /// What it is for.
    pub description: String,
    /// Its typed events; where there are none, any name and any data will do.
    events: BTreeMap<String, jsonschema::Validator>,
    /// The events that a member gets without asking; `None`: all.
    pub default_events: Option<Arc<[String]>>,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            min_role: Role::Viewer,
            description: String::new(),
            events: BTreeMap::new(),
            default_events: None,
        }
    }
}

/// An event that does not fit its room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The room has typed events, and this is none of them.
    #[error("room {room} has no event {event:?}; it has {known}")]
    Unknown {
        room: String,
        event: String,
        known: String,
    },
    /// The data does not fit the schema.
    #[error("the data does not fit event {event:?}")]
    Data {
        event: String,
        /// Where (a JSON Pointer into the data) and what.
        violations: Vec<(String, String)>,
    },
    /// A message, which names no event, and whose data fits none of the room's.
    #[error("room {room} has typed events, and the data fits none of them; it has {known}")]
    Message { room: String, known: String },
    /// A configured schema is not a valid one.
    #[error("rooms.{room}.events.{event}: not a JSON Schema: {why}")]
    Schema {
        room: String,
        event: String,
        why: String,
    },
}

impl RoomConfig {
    /// Checks an event against the room called `room`.
    ///
    /// # Errors
    /// The event is none of the room's, or its data does not fit.
    pub fn check(&self, room: &str, event: &str, data: &Value) -> Result<(), EventError> {
        if self.events.is_empty() {
            return Ok(());
        }
        let validator = self.events.get(event).ok_or_else(|| EventError::Unknown {
            room: room.to_owned(),
            event: event.to_owned(),
            known: self.event_names().collect::<Vec<_>>().join(", "),
        })?;
        let violations: Vec<(String, String)> = validator
            .iter_errors(data)
            .take(VIOLATIONS_SHOWN)
            .map(|error| (error.instance_path().to_string(), error.to_string()))
            .collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(EventError::Data {
                event: event.to_owned(),
                violations,
            })
        }
    }

    /// Checks a plain message, which names no event: where there are typed events, its data fits
    /// one of them.
    ///
    /// # Errors
    /// It fits none.
    pub fn check_message(&self, room: &str, data: &Value) -> Result<(), EventError> {
        let fits = |validator: &jsonschema::Validator| validator.is_valid(data);
        if self.events.is_empty() || self.events.values().any(fits) {
            return Ok(());
        }
        Err(EventError::Message {
            room: room.to_owned(),
            known: self.event_names().collect::<Vec<_>>().join(", "),
        })
    }

    /// Its typed events, sorted.
    pub fn event_names(&self) -> impl Iterator<Item = &str> {
        self.events.keys().map(String::as_str)
    }
}

/// The built-in rooms, changed and joined by those of the settings.
pub(super) fn build(
    settings: &BTreeMap<String, RoomSettings>,
) -> Result<BTreeMap<String, RoomConfig>, EventError> {
    let mut rooms = BTreeMap::from([
        (
            DASHBOARD_ROOM.to_owned(),
            RoomConfig {
                description: "Statistics over the window, each tick".to_owned(),
                ..RoomConfig::default()
            },
        ),
        (
            GENERAL_ROOM.to_owned(),
            RoomConfig {
                description: "Talk beside the dashboard".to_owned(),
                ..RoomConfig::default()
            },
        ),
        (OPERATIONS_ROOM.to_owned(), operations()?),
    ]);
    for (name, given) in settings {
        let room = rooms.entry(name.clone()).or_default();
        if let Some(min_role) = given.min_role {
            room.min_role = min_role;
        }
        if !given.description.is_empty() {
            room.description.clone_from(&given.description);
        }
        for (event, schema) in &given.events {
            room.events
                .insert(event.clone(), compile(name, event, schema)?);
        }
        if !given.default_subscriptions.is_empty() {
            room.default_events = Some(given.default_subscriptions.clone().into());
        }
    }
    Ok(rooms)
}

fn operations() -> Result<RoomConfig, EventError> {
    let percent = json!({"type": "number", "minimum": 0, "maximum": 100});
    let at_least_zero = json!({"type": "number", "minimum": 0});
    let schemas = [
        (
            "metrics:update",
            json!({
                "type": "object",
                "required": ["cpu", "memory", "requests", "errors", "latency"],
                "properties": {
                    "cpu": percent, "memory": percent,
                    "requests": at_least_zero, "errors": at_least_zero, "latency": at_least_zero,
                },
            }),
        ),
        (
            "alert:triggered",
            json!({
                "type": "object",
                "required": ["alertId", "severity", "message", "timestamp"],
                "properties": {
                    "alertId": {"type": "string", "minLength": 1},
                    "severity": {"enum": ["low", "medium", "high", "critical"]},
                    "message": {"type": "string"},
                    "timestamp": {"type": "number"},
                },
            }),
        ),
    ];
    let events = schemas
        .into_iter()
        .map(|(event, schema)| Ok((event.to_owned(), compile(OPERATIONS_ROOM, event, &schema)?)))
        .collect::<Result<_, EventError>>()?;
    Ok(RoomConfig {
        min_role: Role::Admin,
        description: "Figures and alerts for those who run the place".to_owned(),
        events,
        default_events: None,
    })
}

fn compile(room: &str, event: &str, schema: &Value) -> Result<jsonschema::Validator, EventError> {
    jsonschema::validator_for(schema).map_err(|error| EventError::Schema {
        room: room.to_owned(),
        event: event.to_owned(),
        why: error.to_string(),
    })
}

impl fmt::Debug for RoomConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomConfig")
            .field("min_role", &self.min_role)
            .field("events", &self.event_names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_takes_its_events_and_nothing_else() {
        let room = operations().expect("our own schemas compile");
        let good = json!({"cpu": 0, "memory": 100, "requests": 1.5, "errors": 0, "latency": 3});
        assert_eq!(room.check("operations", "metrics:update", &good), Ok(()));
        for (field, value) in [
            ("cpu", json!(100.1)),
            ("memory", json!(-1)),
            ("latency", json!("fast")),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            let refused = room.check("operations", "metrics:update", &bad);
            assert!(
                matches!(&refused, Err(EventError::Data { violations, .. }) if violations[0].0 == format!("/{field}")),
                "{refused:?}"
            );
        }
        assert!(matches!(
            room.check("operations", "metrics:gone", &good),
            Err(EventError::Unknown { .. })
        ));
    }

    #[test]
    fn a_schema_that_is_none_is_said() {
        let events = BTreeMap::from([("e".to_owned(), json!({"type": "no such type"}))]);
        let settings = BTreeMap::from([(
            "r".to_owned(),
            RoomSettings {
                events,
                ..RoomSettings::default()
            },
        )]);
        let said = build(&settings).expect_err("refused").to_string();
        assert!(said.starts_with("rooms.r.events.e: "), "{said}");
    }
}
