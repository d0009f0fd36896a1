//! Which metric a series is a part of, and which type that has, as far as its sender said.

use pulseboard_series::{KeyRef, Kind};

/// The type of a metric. Of several that its series hint at the greatest holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    /// Nobody said.
    #[default]
    Unknown,
    /// A count and a sum, which a histogram has as well; alone they are a summary's.
    CountAndSum,
    Gauge,
    Counter,
    Summary,
    Histogram,
}

impl Type {
    /// As Prometheus calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::CountAndSum | Self::Summary => "summary",
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

impl From<Kind> for Type {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => Self::Gauge,
            Kind::Counter => Self::Counter,
            Kind::Unknown | Kind::Distribution => Self::Unknown,
        }
    }
}

/// The metric that a series is a part of: the name without `_bucket`, `_count` and `_sum` where the
/// sender said that it is a distribution.
pub(super) fn metric_of(key: KeyRef<'_>, kind: Kind) -> (&str, Type) {
    let name = key.name();
    if kind != Kind::Distribution {
        return (name, kind.into());
    }
    if key.label("quantile").is_some() {
        return (name, Type::Summary);
    }
    if let Some(stem) = name.strip_suffix("_bucket")
        && key.label("le").is_some()
    {
        return (stem, Type::Histogram);
    }
    let stem = ["_count", "_sum", "_gcount", "_gsum"]
        .iter()
        .find_map(|part| name.strip_suffix(part));
    match stem {
        Some(stem) => (stem, Type::CountAndSum),
        None => (name, Type::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_series::Batch;

    use super::*;

    #[test]
    fn series_are_parts_of_metrics() {
        for (name, label, kind, metric, told) in [
            ("a", "", Kind::Unknown, "a", "unknown"),
            ("a_count", "", Kind::Unknown, "a_count", "unknown"),
            ("a_total", "", Kind::Counter, "a_total", "counter"),
            ("a_sum", "", Kind::Gauge, "a_sum", "gauge"),
            ("a_bucket", "le", Kind::Distribution, "a", "histogram"),
            ("a_bucket", "", Kind::Distribution, "a_bucket", "unknown"),
            ("a", "quantile", Kind::Distribution, "a", "summary"),
            ("a_sum", "", Kind::Distribution, "a", "summary"),
        ] {
            let mut batch = Batch::new();
            let row = batch
                .begin(&[name])
                .and_then(|()| match label {
                    "" => Ok(()),
                    label => batch.label(label, "1"),
                })
                .and_then(|()| batch.finish(1, None, 1.0));
            assert_eq!(row, Ok(()));
            let key = batch.key(&batch.rows()[0]);
            let (found, of_type) = metric_of(key, kind);
            assert_eq!((found, of_type.name()), (metric, told));
        }
        assert_eq!(Type::CountAndSum.max(Type::Histogram), Type::Histogram);
    }
}
