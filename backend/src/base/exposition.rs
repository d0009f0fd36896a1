//! The two formats in which Prometheus reads figures: its own text format and OpenMetrics.
//!
//! Counters register themselves where they are declared ([`Telemetry::counter`]); what is no
//! counter of ours (gauges, plain atomics of the fan-out, figures of services) is read by a
//! [`Collector`] when somebody asks, and written through [`Families`].
//!
//! [`Telemetry::counter`]: super::telemetry::Telemetry::counter
//! [`Collector`]: prometheus_client::collector::Collector

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
        prometheus_text, text,
    },
    metrics::MetricType,
    registry::Registry,
};

/// What whoever asks for figures reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics where it is named and nothing that is text is
    /// liked better.
    #[must_use]
    pub fn asked(accept: &str) -> Self {
        let (mut open_metrics, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let mut quality = 1.0_f32;
            let mut version = None;
            for part in parts {
                match part.split_once('=') {
                    Some(("q" | "Q", value)) => quality = value.parse().unwrap_or(0.0),
                    Some(("version", value)) => version = Some(value),
                    _ => {}
                }
            }
            if name.eq_ignore_ascii_case("application/openmetrics-text") {
                if version.is_none_or(|version| version == "1.0.0") {
                    open_metrics = open_metrics.max(quality);
                }
            } else if name.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(quality);
            }
        }
        match open_metrics > 0.0 && open_metrics >= plain {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// As in `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Appends the figures of a registry; of several, one after the other, and [`Self::end`] last.
    ///
    /// # Errors
    /// A figure cannot be written in this format.
    pub fn write(self, registry: &Registry, into: &mut String) -> fmt::Result {
        match self {
            Self::Text => prometheus_text::encode(into, registry),
            Self::OpenMetrics => text::encode_registry(into, registry),
        }
    }

    /// Appends what says that nothing is missing.
    ///
    /// # Errors
    /// None; a `String` takes what is written to it.
    pub fn end(self, into: &mut String) -> fmt::Result {
        match self {
            Self::Text => Ok(()),
            Self::OpenMetrics => text::encode_eof(into),
        }
    }
}

/// What a collector writes its figures to. Names of counters are without `_total`, which the
/// format adds; help is a whole sentence.
#[derive(Debug)]
pub struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    /// What a collector was given.
    #[must_use]
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// One counter without labels.
    ///
    /// # Errors
    /// Nobody takes what is written; as with all of them.
    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// A counter for each of some labels.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            let mut sample = encoder.encode_family(&labels)?;
            sample.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// One gauge without labels.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        encoder.encode_gauge(&value)
    }

    /// A gauge for each of some labels.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What is always 1 and says something by its labels; the format adds `_info` to the name.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        let kind = MetricType::Info;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        encoder.encode_info(labels)
    }

    /// A histogram: the sum and the number of what was measured, and how many of them are above
    /// the bound before and up to each bound.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let kind = MetricType::Histogram;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_is_liked_best() {
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.6, text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;q=0.2,text/plain;q=0.9",
                Format::Text,
            ),
            (
                "application/openmetrics-text; version=1.0.0; q=0",
                Format::Text,
            ),
            ("application/openmetrics-text; version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=much", Format::Text),
            (";;,=,", Format::Text),
        ] {
            assert_eq!(Format::asked(accept), expected, "{accept}");
        }
    }
}
