//! Writes remote write messages, for whoever sends samples on, packed with snappy's block format:
//! 1.0 is `prometheus.WriteRequest` with time series (1) and metadata (3), 2.0 is
//! `io.prometheus.write.v2.Request` with symbols (4) and time series (5).

use std::collections::HashMap;

use pulseboard_series::{KeyRef, Kind};

/// A message that is being written. Its buffers are used again after [`Writer::finish`].
#[derive(Debug, Default)]
pub struct Writer {
    message: Vec<u8>,
    /// One series or description, whose length stands before it.
    part: Vec<u8>,
    /// One label or sample, likewise.
    field: Vec<u8>,
}

impl Writer {
    /// A series with its samples, each a time (Unix milliseconds) and a value. The protocol wants
    /// them in order of time.
    pub fn series(&mut self, key: KeyRef<'_>, samples: impl Iterator<Item = (i64, f64)>) {
        self.part.clear();
        // Sorted by name, the metric's own name among them.
        let name = ("__name__", key.name());
        let mut is_named = false;
        for (label, value) in key.labels() {
            if !is_named && label > name.0 {
                is_named = true;
                self.label(name.0, name.1);
            }
            self.label(label, value);
        }
        if !is_named {
            self.label(name.0, name.1);
        }
        for (at_ms, value) in samples {
            self.field.clear();
            self.field.push(0x09);
            self.field.extend_from_slice(&value.to_le_bytes());
            self.field.push(0x10);
            put_varint(&mut self.field, at_ms.cast_unsigned());
            put_bytes(&mut self.part, 0x12, &self.field);
        }
        put_bytes(&mut self.message, 0x0a, &self.part);
    }

    fn label(&mut self, name: &str, value: &str) {
        self.field.clear();
        put_bytes(&mut self.field, 0x0a, name.as_bytes());
        put_bytes(&mut self.field, 0x12, value.as_bytes());
        put_bytes(&mut self.part, 0x0a, &self.field);
    }

    /// What a metric is, under the name that its series have.
    pub fn metadata(&mut self, name: &str, kind: Kind, help: &str) {
        let number = match kind {
            Kind::Counter => 1,
            Kind::Gauge => 2,
            Kind::Unknown | Kind::Distribution => 0,
        };
        self.described(name, number, help, "");
    }

    /// As [`Writer::metadata`], for who knows the type's word (such as `histogram`) and the unit.
    pub fn family(&mut self, name: &str, kind: &str, help: &str, unit: &str) {
        self.described(name, type_number(kind), help, unit);
    }

    fn described(&mut self, name: &str, number: u64, help: &str, unit: &str) {
        self.part.clear();
        self.part.push(0x08);
        put_varint(&mut self.part, number);
        put_bytes(&mut self.part, 0x12, name.as_bytes());
        put_bytes(&mut self.part, 0x22, help.as_bytes());
        if !unit.is_empty() {
            put_bytes(&mut self.part, 0x2a, unit.as_bytes());
        }
        put_bytes(&mut self.message, 0x1a, &self.part);
    }

    /// Bytes so far, before they are packed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// The packed message; the next one begins.
    ///
    /// # Errors
    /// It has more than the 4 GiB that snappy can pack.
    pub fn finish(&mut self) -> Result<Vec<u8>, snap::Error> {
        let packed = snap::raw::Encoder::new().compress_vec(&self.message);
        self.message.clear();
        packed
    }
}

/// A 2.0 message that is being written. Its buffers are used again after [`WriterV2::finish`].
#[derive(Debug)]
pub struct WriterV2 {
    symbols: HashMap<Box<str>, u64>,
    /// The symbols as they stand in the message, in the order of their numbers.
    table: Vec<u8>,
    series: Vec<u8>,
    /// One series, whose length stands before it.
    part: Vec<u8>,
    /// One sample, or the numbers of labels, likewise.
    field: Vec<u8>,
}

impl Default for WriterV2 {
    fn default() -> Self {
        let mut writer = Self {
            symbols: HashMap::new(),
            table: Vec::new(),
            series: Vec::new(),
            part: Vec::new(),
            field: Vec::new(),
        };
        writer.restart();
        writer
    }
}

impl WriterV2 {
    /// The first symbol is always the empty one.
    fn restart(&mut self) {
        self.symbols.clear();
        self.table.clear();
        self.series.clear();
        self.symbol("");
    }

    fn symbol(&mut self, text: &str) -> u64 {
        if let Some(number) = self.symbols.get(text) {
            return *number;
        }
        let number = self.symbols.len() as u64;
        self.symbols.insert(text.into(), number);
        put_bytes(&mut self.table, 0x22, text.as_bytes());
        number
    }

    /// A series with its samples in order of time, each a time (Unix milliseconds) and a value, and
    /// what is known of its metric: the word for its type, its help and its unit, or nothing.
    pub fn series(
        &mut self,
        key: KeyRef<'_>,
        samples: impl Iterator<Item = (i64, f64)>,
        (kind, help, unit): (&str, &str, &str),
    ) {
        let name = ("__name__", key.name());
        // Sorted by name, the metric's own name among them.
        let mut labels: Vec<(&str, &str)> = key.labels().collect();
        let at = labels.partition_point(|(label, _)| *label < name.0);
        labels.insert(at, name);
        let mut numbers = Vec::with_capacity(2 * labels.len());
        for (label, value) in labels {
            numbers.push(self.symbol(label));
            numbers.push(self.symbol(value));
        }
        let texts = (self.symbol(help), self.symbol(unit));
        self.part.clear();
        self.field.clear();
        for number in numbers {
            put_varint(&mut self.field, number);
        }
        put_bytes(&mut self.part, 0x0a, &self.field);
        for (at_ms, value) in samples {
            self.field.clear();
            self.field.push(0x09);
            self.field.extend_from_slice(&value.to_le_bytes());
            self.field.push(0x10);
            put_varint(&mut self.field, at_ms.cast_unsigned());
            put_bytes(&mut self.part, 0x12, &self.field);
        }
        self.field.clear();
        for (tag, number) in [(0x08, type_number(kind)), (0x18, texts.0), (0x20, texts.1)] {
            self.field.push(tag);
            put_varint(&mut self.field, number);
        }
        put_bytes(&mut self.part, 0x2a, &self.field);
        put_bytes(&mut self.series, 0x2a, &self.part);
    }

    /// The packed message; the next one begins.
    ///
    /// # Errors
    /// It has more than the 4 GiB that snappy can pack.
    pub fn finish(&mut self) -> Result<Vec<u8>, snap::Error> {
        let message = [self.table.as_slice(), &self.series].concat();
        self.restart();
        snap::raw::Encoder::new().compress_vec(&message)
    }
}

/// The number of a type's word; the same in both versions.
fn type_number(kind: &str) -> u64 {
    const WORDS: [&str; 8] = [
        "unknown",
        "counter",
        "gauge",
        "histogram",
        "gaugehistogram",
        "summary",
        "info",
        "stateset",
    ];
    let number = WORDS.iter().position(|word| *word == kind);
    number.unwrap_or_default() as u64
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn put_bytes(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    into.push(tag);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_series::Batch;

    use super::*;
    use crate::remote_write::{Version, metadata, parse};

    fn written(batch: &Batch) -> Vec<u8> {
        let mut writer = Writer::default();
        for row in batch.rows() {
            writer.series(batch.key(row), [(row.at_ms, row.value)].into_iter());
        }
        let packed = writer.finish().expect("small");
        snap::raw::Decoder::new()
            .decompress_vec(&packed)
            .expect("snappy")
    }

    fn written_v2(batch: &Batch) -> Vec<u8> {
        let mut writer = WriterV2::default();
        for row in batch.rows() {
            let samples = [(row.at_ms, row.value)].into_iter();
            writer.series(batch.key(row), samples, ("gauge", "What it is.", "seconds"));
        }
        let packed = writer.finish().expect("small");
        assert!(writer.series.is_empty());
        snap::raw::Decoder::new()
            .decompress_vec(&packed)
            .expect("snappy")
    }

    proptest! {
        /// What is written is read as it was, to the last bit.
        #[test]
        fn what_is_written_is_read_as_it_was(
            rows in prop::collection::vec(
                ("[a-zA-Z_][a-z_]{0,20}", prop::collection::btree_map("[A-Za-z][a-z]{0,9}", "\\PC{1,300}", 0..5), any::<i32>(), any::<u64>()),
                0..20,
            ),
        ) {
            let mut batch = Batch::new();
            for (name, labels, at_ms, bits) in &rows {
                prop_assert!(batch.begin(&[name]).is_ok());
                for (label, value) in labels {
                    prop_assert!(batch.label(label, value).is_ok());
                }
                let value = f64::from_bits(*bits);
                prop_assert!(batch.finish(1, Some(i64::from(*at_ms) * 1_000), value).is_ok());
            }
            for (version, message) in [
                (Version::V1, written(&batch)),
                (Version::V2, written_v2(&batch)),
            ] {
                let mut again = Batch::new();
                let counts = parse(version, &message, &mut again).expect("a message");
                prop_assert_eq!(counts.samples, rows.len() as u64);
                prop_assert_eq!(again.rows().len(), batch.rows().len());
                for (read, row) in again.rows().iter().zip(batch.rows()) {
                    prop_assert_eq!(again.key(read).as_bytes(), batch.key(row).as_bytes());
                    prop_assert_eq!(read.at_ms, row.at_ms);
                    prop_assert_eq!(read.value.to_bits(), row.value.to_bits());
                    let described = again.description(read);
                    let is_v2 = matches!(version, Version::V2);
                    prop_assert!(!is_v2 || described == (Kind::Gauge, "seconds"));
                }
            }
        }
    }

    #[test]
    fn a_series_may_have_many_samples_and_a_metric_a_description() {
        let mut batch = Batch::new();
        batch.begin(&["a_total"]).expect("a name");
        batch.finish(1, Some(1), 1.0).expect("a row");
        let mut writer = Writer::default();
        let samples = (0..500).map(|at| (at * 1_000, at as f64));
        writer.series(batch.key(&batch.rows()[0]), samples);
        writer.metadata("a_total", Kind::Counter, "What it counts.");
        let packed = writer.finish().expect("small");
        assert!(writer.is_empty());
        let message = snap::raw::Decoder::new()
            .decompress_vec(&packed)
            .expect("snappy");
        let mut again = Batch::new();
        let counts = parse(Version::V1, &message, &mut again).expect("a message");
        assert_eq!((counts.samples, again.rows().len()), (500, 500));
        let mut described = Vec::new();
        metadata(&message, |told| {
            described.push([told.family, told.kind, told.help].map(str::to_owned));
        })
        .expect("read");
        assert_eq!(described, [["a_total", "counter", "What it counts."]]);
    }
}
