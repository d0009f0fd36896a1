//! Moments as a remote write message.

use std::sync::Arc;

use pulseboard_host::describe;
use pulseboard_ingest::remote_write::Writer;
use pulseboard_series::{KeyRef, STALE_MARKER_BITS};

use crate::frame::{Moment, Table};

/// Packs these moments, each series with all of its samples; with what its metrics are where
/// `described` says so of its table.
///
/// # Errors
/// It has more bytes than can be packed, which the size of a log's file rules out.
pub(crate) fn pack(
    moments: &[Moment],
    described: impl Fn(&Table) -> bool,
    writer: &mut Writer,
) -> Result<Vec<u8>, String> {
    let mut groups: Vec<Vec<&Moment>> = Vec::new();
    for moment in moments {
        let same = |group: &&mut Vec<&Moment>| {
            let first = group.first();
            first.is_some_and(|first| Arc::ptr_eq(&first.table, &moment.table))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(moment),
            None => groups.push(vec![moment]),
        }
    }
    for group in groups {
        let Some(table) = group.first().map(|first| &first.table) else {
            continue;
        };
        for (at, series) in table.iter().enumerate() {
            let samples = group.iter().filter_map(|moment| {
                let bits = *moment.values.get(at)?;
                Some((moment.at_ms, f64::from_bits(bits)))
            });
            writer.series(KeyRef::new(&series.key), samples);
        }
        if described(table) {
            describe_all(table, writer);
        }
    }
    writer.finish().map_err(|error| error.to_string())
}

fn describe_all(table: &Table, writer: &mut Writer) {
    let mut last = "";
    for series in table.iter() {
        let name = KeyRef::new(&series.key).name();
        if name != last {
            last = name;
            let help = describe(name).map(|(_, help)| help);
            writer.metadata(name, series.kind, help.as_deref().unwrap_or_default());
        }
    }
}

/// Samples in these moments, without those that say that a series has ended.
pub(crate) fn samples(moments: &[Moment]) -> usize {
    let values = moments.iter().flat_map(|moment| &moment.values);
    values.filter(|bits| **bits != STALE_MARKER_BITS).count()
}
