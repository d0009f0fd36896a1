//! The operator's figures and counters: `GET /api/metrics`.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use pulseboard_shared::{BuiltIn, protocol::operator::Figures};

use crate::{
    live::Live,
    telemetry::{StreamKind, Telemetry},
};

/// Percent of cpu above which the operator's stream raises its alert, until it is set.
pub const ALERT_THRESHOLD_DEFAULT: f64 = 80.0;

/// Totals that can be reset, and the threshold.
pub struct Operator {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    /// Leaf lock.
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    requests_total: u64,
    errors_total: u64,
    alert_threshold: f64,
}

impl Operator {
    /// Totals at 0 and the default threshold.
    #[must_use]
    pub fn new(live: Arc<Live>, telemetry: Arc<Telemetry>) -> Self {
        let state = State {
            requests_total: 0,
            errors_total: 0,
            alert_threshold: ALERT_THRESHOLD_DEFAULT,
        };
        Self {
            live,
            telemetry,
            state: Mutex::new(state),
        }
    }

    /// Counts what was answered (or, by the simulator, made up) since the last tick.
    pub fn add(&self, requests: u64, errors: u64) {
        let mut state = self.state.lock();
        state.requests_total += requests;
        state.errors_total += errors;
    }

    /// The six figures now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let state = *self.state.lock();
        let newest = self.live.with_window(|window| window.newest().cloned());
        let value = |metric: BuiltIn| {
            newest
                .as_ref()
                .map(|tick| tick.built_in(metric))
                .filter(|value| value.is_finite())
                .unwrap_or(0.0)
        };
        Figures {
            cpu_percent: value(BuiltIn::Cpu),
            memory_percent: value(BuiltIn::Memory),
            requests_total: state.requests_total,
            errors_total: state.errors_total,
            active_connections: self.telemetry.open(StreamKind::WsControl),
            alert_threshold: state.alert_threshold,
        }
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("state", &*self.state.lock())
            .finish_non_exhaustive()
    }
}
