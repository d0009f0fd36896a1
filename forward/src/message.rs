//! Samples that waited as a message of remote write.

use std::collections::HashMap;

use pulseboard_ingest::remote_write::{Writer, WriterV2};
use pulseboard_series::{KeyRef, Kind};

use crate::{
    receiver::{Families, Protocol},
    record::Sample,
};

/// Packs samples: those of one series together, in the order of their times.
///
/// # Errors
/// They take more bytes than can be packed; in words.
pub(crate) fn pack<'a>(
    protocol: Protocol,
    samples: impl Iterator<Item = &'a Sample>,
    families: &Families,
) -> Result<Vec<u8>, String> {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut series: Vec<(&Sample, Vec<(i64, f64)>)> = Vec::new();
    for sample in samples {
        let place = *places.entry(&sample.key).or_insert_with(|| {
            series.push((sample, Vec::new()));
            series.len() - 1
        });
        let value = (sample.at_ms, f64::from_bits(sample.bits));
        if let Some((_, values)) = series.get_mut(place) {
            values.push(value);
        }
    }
    for (_, values) in &mut series {
        values.sort_by_key(|(at_ms, _)| *at_ms);
    }
    let packed = match protocol {
        Protocol::V1 => {
            let mut writer = Writer::default();
            for (first, values) in series {
                writer.series(KeyRef::new(&first.key), values.into_iter());
            }
            writer.finish()
        }
        Protocol::V2 => {
            let mut writer = WriterV2::default();
            for (first, values) in series {
                let key = KeyRef::new(&first.key);
                let told = family(families, key.name());
                let (kind, help, unit) = told.map_or(("unknown", "", ""), |family| {
                    (&*family.kind, &*family.help, &*family.unit)
                });
                let kind = match (kind, first.kind) {
                    ("unknown", Kind::Counter) => "counter",
                    ("unknown", Kind::Gauge) => "gauge",
                    _ => kind,
                };
                writer.series(key, values.into_iter(), (kind, help, unit));
            }
            writer.finish()
        }
    };
    packed.map_err(|error| error.to_string())
}

/// What is known of the metric that a series belongs to.
fn family<'a>(
    families: &'a Families,
    name: &str,
) -> Option<&'a pulseboard_scrape::metadata::Metric> {
    const PARTS: [&str; 6] = ["_total", "_bucket", "_count", "_sum", "_created", "_info"];
    families.get(name).or_else(|| {
        let mut stems = PARTS.iter().filter_map(|part| name.strip_suffix(part));
        stems.find_map(|stem| families.get(stem))
    })
}

/// Packs what is known of metrics, as 1.0 has it: some at a time.
///
/// # Errors
/// As [`pack`].
pub(crate) fn pack_families(families: &Families, at_once: usize) -> Result<Vec<Vec<u8>>, String> {
    let all: Vec<_> = families.values().collect();
    let pieces = all.chunks(at_once.max(1)).map(|piece| {
        let mut writer = Writer::default();
        for family in piece {
            writer.family(&family.metric, &family.kind, &family.help, &family.unit);
        }
        writer.finish().map_err(|error| error.to_string())
    });
    pieces.collect()
}
