//! A metric that is measured here: its name, how it grows, and what it says in words; and where
//! its samples go.

use pulseboard_series::{Batch, Kind};

/// A metric of a fixed name.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

/// One that goes up and down.
pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
    }
}

/// One that only grows.
pub(crate) const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
    }
}

/// Takes samples: of this moment ([`Rows`]), or to be given again for some moments ([`Kept`]).
pub(crate) trait Sink {
    /// A sample of the metric whose name is these pieces together.
    fn sample<L: AsRef<str>>(
        &mut self,
        name: &[&str],
        kind: Kind,
        labels: &[(&str, L)],
        value: f64,
    );

    /// A sample of a metric of a fixed name.
    fn put<L: AsRef<str>>(&mut self, metric: &Metric, labels: &[(&str, L)], value: f64) {
        self.sample(&[metric.name], metric.kind, labels, value);
    }

    /// A sample of a metric that is alone under its name.
    fn plain(&mut self, metric: &Metric, value: f64) {
        self.put(metric, &[("", ""); 0], value);
    }
}

/// Samples of one moment, with the labels that all of them have.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) at_ms: i64,
    pub(crate) target: &'a [(&'static str, String)],
}

impl Sink for Rows<'_> {
    /// What the engine would not take (a name too long, say) is left out.
    fn sample<L: AsRef<str>>(
        &mut self,
        name: &[&str],
        kind: Kind,
        labels: &[(&str, L)],
        value: f64,
    ) {
        let mut write = || {
            self.batch.begin(name)?;
            for (label, text) in labels {
                self.batch.label(label, text.as_ref())?;
            }
            for (label, text) in self.target {
                self.batch.label(label, text)?;
            }
            self.batch.describe(kind, "");
            self.batch.finish(1, Some(self.at_ms), value)
        };
        if let Err(reason) = write() {
            tracing::debug!(%reason, ?name, "a figure of this machine cannot be kept");
        }
    }
}

/// Samples that are read less often than they are given.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<KeptSample>);

#[derive(Debug)]
struct KeptSample {
    name: String,
    kind: Kind,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Samples that are kept, at most: a machine with thousands of interfaces or mounts must not make
/// every second dear.
const KEPT_MAX: usize = 20_000;

impl Kept {
    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives all of them once more.
    pub(crate) fn give(&self, sink: &mut impl Sink) {
        let mut labels: Vec<(&str, &str)> = Vec::new();
        for sample in &self.0 {
            labels.clear();
            labels.extend(sample.labels.iter().map(|(l, v)| (l.as_str(), v.as_str())));
            sink.sample(&[&sample.name], sample.kind, &labels, sample.value);
        }
    }
}

impl Sink for Kept {
    fn sample<L: AsRef<str>>(
        &mut self,
        name: &[&str],
        kind: Kind,
        labels: &[(&str, L)],
        value: f64,
    ) {
        if self.0.len() >= KEPT_MAX {
            return;
        }
        self.0.push(KeptSample {
            name: name.concat(),
            kind,
            labels: labels
                .iter()
                .map(|(label, text)| ((*label).to_owned(), text.as_ref().to_owned()))
                .collect(),
            value,
        });
    }
}
