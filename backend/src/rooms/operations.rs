//! What the server itself says in rooms: figures of every tick, and alerts to `operations`.

use std::sync::Arc;

use pulseboard_alerting::{AlertEvent, AlertSink};
use pulseboard_shared::{
    AlertState, Severity, StatsReport,
    protocol::rooms::{DASHBOARD_ROOM, OPERATIONS_ROOM, frames::RoomMessage},
};
use serde_json::{Value, json};

use super::{Room, RoomPayload, Rooms};
use crate::base::json::json_text;

impl Rooms {
    /// What every tick says: `update` to the dashboard, `metrics:update` to the operators.
    pub fn tell_tick(&self, stats: StatsReport, operations: impl FnOnce() -> Value) {
        let dashboards = self.inhabited(None, DASHBOARD_ROOM);
        if !dashboards.is_empty() {
            let text = json_text(&RoomMessage::Update { data: stats });
            for room in dashboards {
                room.send(RoomPayload::update(text.clone()));
            }
        }
        let rooms = self.inhabited(None, OPERATIONS_ROOM);
        if !rooms.is_empty() {
            self.trigger_own(rooms, "metrics:update", &operations());
        }
    }

    fn trigger_own(&self, rooms: Vec<Arc<Room>>, event: &str, data: &Value) {
        match self.event_text(OPERATIONS_ROOM, event, data) {
            Ok(text) => {
                for room in rooms {
                    room.send(RoomPayload::event(event, text.clone()));
                }
            }
            Err(error) => {
                tracing::error!(room.name = OPERATIONS_ROOM, %error, "an event of our own does not fit its schema");
            }
        }
    }
}

/// What every firing alert says to `operations`.
impl AlertSink for Rooms {
    fn publish(&self, _offset: u64, event: &AlertEvent) {
        let alert = &event.alert;
        if alert.state != AlertState::Firing {
            return;
        }
        let rooms = self.inhabited(event.tenant.as_deref(), OPERATIONS_ROOM);
        if rooms.is_empty() {
            return;
        }
        let severity = match alert.severity {
            Severity::Warning => Severity::Medium,
            severity => severity,
        };
        self.trigger_own(
            rooms,
            "alert:triggered",
            &json!({
                "alertId": alert.id,
                "severity": severity,
                "message": alert.message,
                "timestamp": alert.timestamp.as_millis(),
            }),
        );
    }
}
