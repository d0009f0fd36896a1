//! Moments as bytes. Most figures stay as they are from one second to the next, so a moment is
//! what has changed since the one before it; the names stand once in each file.
//!
//! ```text
//! series = stream varint │ { kind u8 │ length varint │ key }*
//! moment = number varint │ time varint │ stream varint
//!            │ { series passed over varint │ value f64 LE }*
//! ```
//!
//! A stream is what is measured together: this machine, or one target that is scraped.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use pulseboard_history::varint::{Reader, put_varint};
use pulseboard_series::{Batch, KeyRef, Kind, Row, STALE_MARKER_BITS};

/// Record types in the log.
pub(crate) const SERIES: u8 = 1;
pub(crate) const MOMENT: u8 = 2;

/// Streams of one file, at most; past it a file is ended.
const STREAMS_MAX: usize = 4_096;

/// Bytes of tables that are remembered, and of those of one file; past it they are made and said
/// anew.
const TABLES_BYTES_MAX: usize = 32 << 20;

/// Series of one stream, at most: bounds what a damaged file can make the reader allocate.
const SERIES_MAX: usize = 1 << 20;

/// One series of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) key: Box<[u8]>,
    pub(crate) kind: Kind,
}

/// The series of some moments, in the order of their values.
pub(crate) type Table = Arc<[Series]>;

/// Every series at one time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) number: u64,
    pub(crate) at_ms: i64,
    pub(crate) table: Table,
    /// Bits of the values: a stale marker is a NaN of its own.
    pub(crate) values: Vec<u64>,
}

/// Makes moments of batches, with a marker at the end of each series that is there no more.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    table: Option<Table>,
    /// Those of the table whose end it says; they are not missed again.
    ended: HashSet<Box<[u8]>>,
}

impl Framer {
    pub(crate) fn moment(&mut self, number: u64, at_ms: i64, batch: &Batch) -> Moment {
        let mut values: Vec<u64> = batch.rows().iter().map(|row| row.value.to_bits()).collect();
        let keys = || batch.rows().iter().map(|row| batch.key(row).as_bytes());
        if let Some(table) = &self.table
            && self.ended.is_empty()
            && table.len() == values.len()
            && table
                .iter()
                .zip(keys())
                .all(|(known, key)| *known.key == *key)
        {
            let table = Arc::clone(table);
            return Moment {
                number,
                at_ms,
                table,
                values,
            };
        }
        let here: HashSet<&[u8]> = keys().collect();
        let before = self.table.take();
        let gone: Vec<Series> = before
            .iter()
            .flat_map(|table| table.iter())
            .filter(|known| !here.contains(&*known.key) && !self.ended.contains(&known.key))
            .cloned()
            .collect();
        self.ended = gone.iter().map(|series| series.key.clone()).collect();
        values.extend(gone.iter().map(|_| STALE_MARKER_BITS));
        let found = batch.rows().iter().map(|row| Series {
            key: batch.key(row).as_bytes().into(),
            kind: batch.description(row).0,
        });
        let table: Table = found.chain(gone).collect();
        self.table = Some(Arc::clone(&table));
        Moment {
            number,
            at_ms,
            table,
            values,
        }
    }
}

/// Makes moments of what is scraped, which says itself which series have ended.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// By a hash of all keys.
    known: HashMap<u64, Table>,
    bytes: usize,
}

impl Tables {
    /// The series of these rows; the same table for the same series.
    pub(crate) fn of(&mut self, batch: &Batch, rows: &[&Row]) -> Table {
        let hash = rows.iter().fold(rows.len() as u64, |hash, row| {
            hash.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ row.hash
        });
        let keys = || rows.iter().map(|row| batch.key(row).as_bytes());
        if let Some(table) = self.known.get(&hash)
            && table.len() == rows.len()
            && table
                .iter()
                .zip(keys())
                .all(|(known, key)| *known.key == *key)
        {
            return Arc::clone(table);
        }
        if self.known.len() >= STREAMS_MAX || self.bytes > TABLES_BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        let found = rows.iter().map(|row| Series {
            key: batch.key(row).as_bytes().into(),
            kind: batch.description(row).0,
        });
        let table: Table = found.collect();
        self.bytes += bytes_of(&table);
        self.known.insert(hash, Arc::clone(&table));
        table
    }
}

/// Writes moments as records.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    streams: Vec<Stream>,
    /// The stream of the moment that is written.
    current: usize,
    /// Of the streams' tables and values.
    bytes: usize,
    record: Vec<u8>,
}

/// What a table takes in memory, with a value of each series.
fn bytes_of(table: &Table) -> usize {
    let keys = table.iter().map(|series| series.key.len());
    keys.sum::<usize>() + table.len() * (size_of::<Series>() + size_of::<u64>())
}

/// What was said of a stream in this file.
#[derive(Debug)]
struct Stream {
    table: Table,
    values: Vec<u64>,
}

impl Encoder {
    /// The next record is the first of its file.
    pub(crate) fn restart(&mut self) {
        self.streams.clear();
        self.bytes = 0;
    }

    /// Whether this file can take no further stream.
    pub(crate) fn is_full(&self) -> bool {
        self.streams.len() >= STREAMS_MAX || self.bytes > TABLES_BYTES_MAX
    }

    /// The record of the moment's series, where the file has not said them.
    pub(crate) fn series(&mut self, moment: &Moment) -> Option<&[u8]> {
        let is_known = |stream: &Stream| Arc::ptr_eq(&stream.table, &moment.table);
        if let Some(at) = self.streams.iter().position(is_known) {
            self.current = at;
            return None;
        }
        self.current = self.streams.len();
        self.bytes += bytes_of(&moment.table);
        self.streams.push(Stream {
            table: Arc::clone(&moment.table),
            // None: all of the next moment stand in its record.
            values: Vec::new(),
        });
        self.record.clear();
        put_varint(&mut self.record, self.current as u64);
        for series in moment.table.iter() {
            self.record.push(series.kind as u8);
            put_varint(&mut self.record, series.key.len() as u64);
            self.record.extend_from_slice(&series.key);
        }
        Some(&self.record)
    }

    /// The record of the moment itself; [`Encoder::series`] was asked for it just before.
    pub(crate) fn moment(&mut self, moment: &Moment) -> &[u8] {
        self.record.clear();
        put_varint(&mut self.record, moment.number);
        put_varint(&mut self.record, moment.at_ms.cast_unsigned());
        put_varint(&mut self.record, self.current as u64);
        let Some(stream) = self.streams.get_mut(self.current) else {
            return &self.record;
        };
        let mut passed = 0;
        for (at, bits) in moment.values.iter().enumerate() {
            if stream.values.get(at) == Some(bits) {
                passed += 1;
                continue;
            }
            put_varint(&mut self.record, passed);
            self.record.extend_from_slice(&bits.to_le_bytes());
            passed = 0;
        }
        stream.values.clone_from(&moment.values);
        &self.record
    }
}

/// Reads the records of one file.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    streams: HashMap<u64, Stream>,
}

impl Decoder {
    /// Takes a record; a moment where it is one. A record that cannot be read is passed over, and
    /// with it all that build upon it.
    pub(crate) fn take(&mut self, record_type: u8, payload: &[u8]) -> Option<Moment> {
        let mut reader = Reader::new(payload);
        match record_type {
            SERIES => {
                let number = reader.varint()?;
                let table = table(reader);
                self.streams.remove(&number);
                if let Some(table) = table
                    && self.streams.len() < STREAMS_MAX
                {
                    let values = Vec::new();
                    self.streams.insert(number, Stream { table, values });
                }
                None
            }
            MOMENT => {
                let number = reader.varint()?;
                let at_ms = reader.varint()?.cast_signed();
                let stream = reader.varint()?;
                let known = self.streams.get_mut(&stream)?;
                let read = values(known, reader);
                if read.is_none() {
                    self.streams.remove(&stream);
                }
                let (table, values) = read?;
                Some(Moment {
                    number,
                    at_ms,
                    table,
                    values,
                })
            }
            _ => None,
        }
    }
}

fn values(stream: &mut Stream, mut reader: Reader<'_>) -> Option<(Table, Vec<u64>)> {
    let is_first = stream.values.is_empty();
    stream.values.resize(stream.table.len(), 0);
    let (mut at, mut said) = (0_usize, 0);
    while !reader.is_empty() {
        at = at.checked_add(usize::try_from(reader.varint()?).ok()?)?;
        let bits = reader.array()?;
        *stream.values.get_mut(at)? = u64::from_le_bytes(bits);
        at += 1;
        said += 1;
    }
    // The first has all of them.
    let is_whole = !is_first || said == stream.table.len();
    is_whole.then(|| (Arc::clone(&stream.table), stream.values.clone()))
}

/// The number of a moment, without reading its values.
pub(crate) fn number_of(payload: &[u8]) -> Option<(u64, i64)> {
    let mut reader = Reader::new(payload);
    Some((reader.varint()?, reader.varint()?.cast_signed()))
}

fn table(mut reader: Reader<'_>) -> Option<Table> {
    let mut all = Vec::new();
    while let Some(kind) = reader.byte() {
        let length = usize::try_from(reader.varint()?).ok()?;
        let key = reader.bytes(length)?;
        KeyRef::checked(key)?;
        if all.len() == SERIES_MAX {
            return None;
        }
        all.push(Series {
            key: key.into(),
            kind: Kind::from_u8(kind),
        });
    }
    Some(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: &[(&str, f64)]) -> Batch {
        let mut batch = Batch::new();
        for (name, value) in rows {
            batch.begin(&[name]).expect("a name");
            batch.describe(Kind::Counter, "");
            batch.finish(1, Some(1), *value).expect("a row");
        }
        batch
    }

    #[test]
    fn what_is_written_is_read_as_it_was_and_little_is_written() {
        let mut framer = Framer::default();
        let mut encoder = Encoder::default();
        let mut decoder = Decoder::default();
        let steady: Vec<(String, f64)> = (0..100).map(|n| (format!("m{n}"), 1.5)).collect();
        for number in 0..5 {
            let mut rows: Vec<(&str, f64)> = steady.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            rows.push(("moves", number as f64));
            let moment = framer.moment(number, 1_000, &batch(&rows));
            if let Some(series) = encoder.series(&moment) {
                assert_eq!(number, 0, "the names stand once");
                assert_eq!(decoder.take(SERIES, series), None);
            }
            let record = encoder.moment(&moment).to_vec();
            assert_eq!(number_of(&record), Some((number, 1_000)));
            assert!(number == 0 || record.len() < 24, "{}", record.len());
            assert_eq!(decoder.take(MOMENT, &record), Some(moment));
        }
    }

    /// A sender of other series each time does not fill the memory.
    #[test]
    fn what_is_remembered_of_tables_is_bounded() {
        let mut tables = Tables::default();
        let mut encoder = Encoder::default();
        let mut files = 1;
        for number in 0..3_000_u64 {
            let names: Vec<String> = (0..200)
                .map(|n| format!("m{number}_{n}_{}", "x".repeat(100)))
                .collect();
            let rows: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
            let batch = batch(&rows);
            let rows: Vec<&Row> = batch.rows().iter().collect();
            let moment = Moment {
                number,
                at_ms: 1,
                table: tables.of(&batch, &rows),
                values: vec![0; rows.len()],
            };
            if encoder.is_full() {
                encoder.restart();
                files += 1;
            }
            encoder.series(&moment);
            encoder.moment(&moment);
            let held: usize = tables.known.values().map(bytes_of).sum();
            let written: usize = encoder.streams.iter().map(|one| bytes_of(&one.table)).sum();
            let most = TABLES_BYTES_MAX + (1 << 20);
            assert!(held <= most && written <= most, "{held} {written}");
        }
        assert!(files > 1);
    }

    #[test]
    fn a_series_that_is_gone_ends_once() {
        let mut framer = Framer::default();
        framer.moment(1, 1, &batch(&[("a", 1.0), ("b", 2.0)]));
        let gone = framer.moment(2, 2, &batch(&[("a", 1.0)]));
        assert_eq!(gone.values, [1.0_f64.to_bits(), STALE_MARKER_BITS]);
        assert_eq!(framer.moment(3, 3, &batch(&[("a", 1.0)])).values.len(), 1);
        let back = framer.moment(4, 4, &batch(&[("a", 1.0), ("b", 2.0)]));
        assert_eq!(back.values.len(), 2);
    }

    /// A reader that begins in the middle, or finds damage, makes nothing up.
    #[test]
    fn a_moment_without_what_it_builds_upon_is_none() {
        let mut framer = Framer::default();
        let mut encoder = Encoder::default();
        let mut decoder = Decoder::default();
        let first = framer.moment(1, 1, &batch(&[("a", 1.0), ("b", 2.0)]));
        let series = encoder.series(&first).expect("the first").to_vec();
        encoder.moment(&first);
        let second = framer.moment(2, 2, &batch(&[("a", 1.0), ("b", 3.0)]));
        let record = encoder.moment(&second).to_vec();
        assert_eq!(decoder.take(MOMENT, &record), None);
        decoder.take(SERIES, &series);
        assert_eq!(
            decoder.take(MOMENT, &record),
            None,
            "its values are not all there"
        );
        for end in 0..series.len() {
            let mut decoder = Decoder::default();
            decoder.take(SERIES, &series[..end]);
            decoder.take(MOMENT, &record[..end.min(record.len())]);
        }
    }
}
