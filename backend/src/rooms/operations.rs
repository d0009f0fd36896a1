//! What the server itself says in rooms: figures of every tick, and alerts to `operations`.

use std::collections::BTreeSet;

use pulseboard_alerting::{AlertEvent, AlertSink};
use pulseboard_bus::Refused;
use pulseboard_shared::{
    AlertState, Severity, StatsReport,
    protocol::rooms::{DASHBOARD_ROOM, OPERATIONS_ROOM, frames::RoomMessage},
};
use serde_json::{Value, json};

use super::{RoomPayload, Rooms};
use crate::base::json::json_text;

impl Rooms {
    /// What every tick says: `update` to the dashboard, `metrics:update` to the operators.
    /// Where several servers do, `at_ms`, the tick's moment, makes it once for all of them.
    pub fn tell_tick(&self, at_ms: i64, stats: StatsReport, operations: impl FnOnce() -> Value) {
        let once = Some(at_ms.unsigned_abs());
        let dashboards = self.inhabited(None, DASHBOARD_ROOM);
        if !dashboards.is_empty() {
            let text = json_text(&RoomMessage::Update { data: stats });
            for room in dashboards {
                unheard(room.send_once(once, RoomPayload::update(text.clone())));
            }
        }
        let rooms = self.inhabited(None, OPERATIONS_ROOM);
        if !rooms.is_empty() {
            let event = "metrics:update";
            if let Some(text) = self.own_event(event, &operations()) {
                for room in rooms {
                    unheard(room.send_once(once, RoomPayload::event(event, text.clone())));
                }
            }
        }
    }

    fn own_event(&self, event: &str, data: &Value) -> Option<String> {
        self.event_text(OPERATIONS_ROOM, event, data)
            .inspect_err(|error| {
                tracing::error!(room.name = OPERATIONS_ROOM, %error, "an event of our own does not fit its schema");
            })
            .ok()
    }

    /// Tenants that have members in `operations`, here or elsewhere: this one, or all.
    fn operated(&self, tenant: Option<&str>) -> BTreeSet<Box<str>> {
        let here = self.inhabited(tenant, OPERATIONS_ROOM);
        let mut tenants: BTreeSet<_> = here.iter().map(|room| room.tenant.clone()).collect();
        if let Some(shared) = &self.shared {
            let elsewhere = shared.tenants_elsewhere(OPERATIONS_ROOM).into_iter();
            tenants.extend(elsewhere.filter(|of| tenant.is_none_or(|tenant| **of == *tenant)));
        }
        tenants
    }
}

/// What the server says by itself has nobody who could be told that it was not heard.
fn unheard(sent: Result<(), Refused>) {
    if let Err(refused) = sent {
        tracing::debug!(%refused, "what the server says in a room was not sent");
    }
}

/// What every firing alert says to `operations`.
impl AlertSink for Rooms {
    fn publish(&self, _offset: u64, event: &AlertEvent) {
        let alert = &event.alert;
        if alert.state != AlertState::Firing {
            return;
        }
        let tenants = self.operated(event.tenant.as_deref());
        if tenants.is_empty() {
            return;
        }
        let severity = match alert.severity {
            Severity::Warning => Severity::Medium,
            severity => severity,
        };
        let name = "alert:triggered";
        let data = json!({
            "alertId": alert.id,
            "severity": severity,
            "message": alert.message,
            "timestamp": alert.timestamp.as_millis(),
        });
        let Some(text) = self.own_event(name, &data) else {
            return;
        };
        for tenant in tenants {
            let payload = RoomPayload::event(name, text.clone());
            unheard(self.send(&tenant, OPERATIONS_ROOM, payload));
        }
    }
}
