//! How long it takes to read each kind of figure, under node_exporter's names for its collectors.

use std::time::Instant;

use pulseboard_series::Kind;

use crate::metric::{Kept, Metric, Sink, gauge};

static DURATION: Metric = gauge(
    "node_scrape_collector_duration_seconds",
    "Seconds that it took to read one kind of figure.",
);
static SUCCESS: Metric = gauge(
    "node_scrape_collector_success",
    "Whether there was anything of one kind of figure.",
);

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    [&DURATION, &SUCCESS].into_iter()
}

/// Reads what the collector of this name reads. Where it is to be told, how that went goes to
/// `told`.
pub(super) fn timed<S: Sink>(
    collector: &'static str,
    told: Option<&mut Kept>,
    sink: &mut S,
    read: impl FnOnce(&mut Counted<'_, S>),
) {
    let begun = told.is_some().then(Instant::now);
    let mut counted = Counted { sink, samples: 0 };
    read(&mut counted);
    let is_found = counted.samples > 0;
    if let (Some(told), Some(begun)) = (told, begun) {
        let labels = [("collector", collector)];
        told.put(&DURATION, &labels, begun.elapsed().as_secs_f64());
        told.put(&SUCCESS, &labels, f64::from(u8::from(is_found)));
    }
}

/// Counts what goes to a sink.
#[derive(Debug)]
pub(super) struct Counted<'a, S> {
    sink: &'a mut S,
    samples: usize,
}

impl<S: Sink> Sink for Counted<'_, S> {
    fn sample<L: AsRef<str>>(
        &mut self,
        name: &[&str],
        kind: Kind,
        labels: &[(&str, L)],
        value: f64,
    ) {
        self.samples += 1;
        self.sink.sample(name, kind, labels, value);
    }
}
