//! What is counted.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What is counted; the backend shows each as `pulseboard_bus_…` or as it is named here.
#[derive(Debug, Default)]
pub struct Figures {
    /// `bus_connected`: 1 where every partition can be reached.
    pub connected: Gauge,
    /// `bus_lag_seconds`, in microseconds: from sending a message to hearing it.
    pub lag_us: Gauge,
    /// `bus_gaps_total`: messages that did not follow, read from the stream.
    pub gaps: Count,
    /// `bus_resets_total{reason="epoch"}`: another epoch.
    pub resets_epoch: Count,
    /// `bus_resets_total{reason="gone"}`: the same epoch, and frames no longer held.
    pub resets_gone: Count,
    /// `bus_resets_total{reason="alone"}`: an epoch of our own.
    pub resets_alone: Count,
    /// `bus_resent_total`: frames and batches that were sent again.
    pub resent: Count,
    /// `bus_dropped_total{what="push"}`: messages for which there was no room; read from the
    /// stream.
    pub dropped_push: Count,
    /// `bus_dropped_total{what="unsent"}`: frames that waited for too long.
    pub dropped_unsent: Count,
    /// `bus_dropped_total{what="kept"}`: frames that were taken and would have been sent again
    /// where a server is lost; what is new took their room.
    pub dropped_kept: Count,
    /// `bus_refused_total`: frames that were not taken, or that Redis refused.
    pub refused: Count,
    /// `bus_reconnects_total`: connections that were made anew.
    pub reconnects: Count,
    /// `cluster_members`.
    pub members: Gauge,
    /// `cluster_generation`: of the service's own partition.
    pub generation: Gauge,
    /// `leases_held`.
    pub leases: Gauge,
    /// `clock_skew_seconds`, in milliseconds: ours less that of Redis.
    pub skew_ms: Gauge,
    /// Bytes that wait to be sent or to be safe.
    pub held_bytes: Gauge,
}

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn set(&self, figure: i64) {
        self.0.store(figure, Ordering::Relaxed);
    }

    /// The figure.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
