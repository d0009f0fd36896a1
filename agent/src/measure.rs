//! A moment of this machine: its figures, its containers, and how the agent itself does.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use pulseboard_host::{containers::Containers, node::Node};
use pulseboard_series::{Batch, Kind, Reason};
use tokio_util::sync::CancellationToken;

use crate::{buffer::Buffer, names, options::Options, sender::Live};

/// The `job` of the agent's own figures.
const JOB: &str = "pulseboard-agent";

/// Measures, writes down, and hands on.
#[derive(Debug)]
pub(crate) struct Measuring {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    instance: String,
    node: Node,
    containers: Containers,
    buffer: Arc<Mutex<Buffer>>,
    live: Arc<Live>,
    batch: Batch,
}

impl Measuring {
    pub(crate) fn new(options: &Options, buffer: Arc<Mutex<Buffer>>, live: Arc<Live>) -> Self {
        Self {
            inner: Box::new(Inner {
                instance: options.instance.clone(),
                node: Node::new(&options.instance),
                containers: Containers::new(&options.instance),
                buffer,
                live,
                batch: Batch::new(),
            }),
        }
    }

    /// Measures at each multiple of `interval` of the wall clock until it is told to stop.
    pub(crate) async fn run(mut self, interval: Duration, stopping: CancellationToken) {
        let interval_ms = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let known = self.inner.containers.names();
        let naming = names::keep(known, stopping.clone());
        let measuring = async {
            loop {
                let now_ms = now_ms();
                let due_ms = (now_ms.div_euclid(interval_ms) + 1).saturating_mul(interval_ms);
                let wait = Duration::from_millis((due_ms - now_ms).unsigned_abs());
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                let mut inner = self.inner;
                let measured = tokio::task::spawn_blocking(move || {
                    inner.measure(due_ms);
                    inner
                });
                match measured.await {
                    Ok(inner) => self.inner = inner,
                    Err(error) => {
                        tracing::error!(%error, "nothing is measured any more");
                        return stopping.cancel();
                    }
                }
            }
        };
        tokio::join!(measuring, naming);
    }
}

impl Inner {
    fn measure(&mut self, at_ms: i64) {
        self.batch.clear();
        self.node.read(&mut self.batch, at_ms);
        self.containers.read(&mut self.batch, at_ms);
        let mut buffer = self.buffer.lock();
        let figures = [
            (
                "pulseboard_agent_moments_total",
                Kind::Counter,
                buffer.next(),
            ),
            (
                "pulseboard_agent_moments_given_up_total",
                Kind::Counter,
                buffer.given_up(),
            ),
            (
                "pulseboard_agent_moments_waiting",
                Kind::Gauge,
                buffer.waiting(),
            ),
            ("pulseboard_agent_log_bytes", Kind::Gauge, buffer.bytes()),
            (
                "pulseboard_agent_samples_refused_total",
                Kind::Counter,
                self.live.refused(),
            ),
        ];
        for (name, kind, value) in figures {
            if let Err(reason) = own(&mut self.batch, &self.instance, name, kind, value, at_ms) {
                tracing::debug!(%reason, name, "a figure of the agent cannot be kept");
            }
        }
        let appended = buffer.measured(&self.batch, at_ms);
        self.live.push(appended);
    }
}

/// A figure of the agent's own.
fn own(
    batch: &mut Batch,
    instance: &str,
    name: &str,
    kind: Kind,
    value: u64,
    at_ms: i64,
) -> Result<(), Reason> {
    batch.begin(&[name])?;
    batch.label("instance", instance)?;
    batch.label("job", JOB)?;
    batch.describe(kind, "");
    batch.finish(1, Some(at_ms), value as f64)
}

/// Unix milliseconds now.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
