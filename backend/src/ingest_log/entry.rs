//! What travels: frames, each of one batch or deletion, and entries, which carry frames of one
//! partition. A frame also stands in the history's log, before its samples, until it was sent.
//!
//! ```text
//! entry    = version u8 │ packed u8 │ written zigzag │ publisher text │ frames, which zstd has
//!            packed where packed is 1
//! frames   = { length varint │ frame }*
//! frame    = kind u8 │ number varint │ tenant text │ now zigzag │ rest
//! samples  = descriptions varint │ { kind u8 │ unit text }* │ rows varint │ keys text │
//!            times text │ values
//! keys     = { shared varint │ length varint │ key bytes │ description varint }*
//! times    = { zigzag of what it differs by from the one before, the first from now }*
//! values   = 8 bytes little-endian each, bit for bit
//! deletion = from zigzag │ to zigzag │ selectors varint │ { text }*
//! text     = length varint │ bytes
//! ```
//!
//! A key is what it does not share with the one before. Columns pack better than rows. Pure.

use std::{collections::HashMap, io};

use pulseboard_history::varint::{Reader, put_varint, put_zigzag};
use pulseboard_series::{Batch, KeyRef, Kind, batch::Row, limits::DESCRIPTIONS_MAX};

/// The first byte of an entry; one of another version is passed over.
const VERSION: u8 = 1;

/// What a frame may have before its last row; an entry takes 256 KiB, and a key has 50 at most.
const FRAME_BYTES: usize = 128 << 10;

/// Frames are put together up to so many bytes.
pub(super) const ENTRY_BYTES: usize = 208 << 10;

/// Times are within so many milliseconds of 1970, on either side: what is added to one, or taken
/// from it, is a time, too. Nobody takes in what lies beyond.
const TIME_MAX_MS: i64 = 1 << 53;

/// What an entry unpacks to at most.
const UNPACKED_MAX: usize = 1 << 20;

/// Smaller ones are not worth packing.
const PACKED_FROM: usize = 128;

/// How hard zstd tries. More: half again as much time for a tenth fewer bytes.
const LEVEL: i32 = 1;

const SAMPLES: u8 = 1;
const DELETION: u8 = 2;

/// What a frame says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// Its place among all that its server has sent.
    pub(super) number: u64,
    pub(super) tenant: &'a str,
    /// When it came, Unix milliseconds.
    pub(super) now_ms: i64,
}

/// What a frame is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Samples; [`read_samples`] reads them.
    Samples(&'a [u8]),
    Deletion(Deletion),
}

/// A stretch of series that is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) selectors: Vec<String>,
}

/// Writes frames of batches; its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Writer {
    keys: Vec<u8>,
    times: Vec<u8>,
    values: Vec<u8>,
}

impl Writer {
    /// Writes the rows that were not refused as frames, and hands each to `done`; `number` gives
    /// each its place.
    pub(super) fn write(
        &mut self,
        (tenant, now_ms): (&str, i64),
        batch: &Batch,
        refused: &[u32],
        mut number: impl FnMut() -> u64,
        mut done: impl FnMut(u64, Vec<u8>),
    ) {
        let mut refused = refused.to_vec();
        refused.sort_unstable();
        refused.dedup();
        let mut next_refused = refused.into_iter().peekable();
        let mut places: HashMap<(Kind, &str), usize> = HashMap::new();
        // What the descriptions of this frame take.
        let mut described_bytes = 0;
        let mut newest = None;
        let mut rows = 0_u64;
        let mut last: &[u8] = &[];
        let mut last_ms = now_ms;
        for (index, row) in (0_u32..).zip(batch.rows()) {
            if next_refused.next_if_eq(&index).is_some() {
                continue;
            }
            let key = batch.key(row).as_bytes();
            let shared = shared(last, key);
            put_varint(&mut self.keys, shared as u64);
            put_text(&mut self.keys, key.get(shared..).unwrap_or_default());
            let described = batch.description(row);
            let place = match newest {
                // Nearly always all rows are described alike.
                Some((known, place)) if known == described => place,
                _ => {
                    let count = places.len();
                    *places.entry(described).or_insert_with(|| {
                        described_bytes += described.1.len() + 2;
                        count
                    })
                }
            };
            newest = Some((described, place));
            put_varint(&mut self.keys, place as u64);
            let at_ms = match row.at_ms {
                Row::NOW => now_ms,
                at_ms => at_ms,
            };
            put_zigzag(&mut self.times, at_ms.wrapping_sub(last_ms));
            self.values.extend_from_slice(&row.value.to_le_bytes());
            (last, last_ms) = (key, at_ms);
            rows += 1;
            let columns = self.keys.len() + self.times.len() + self.values.len();
            if columns + described_bytes >= FRAME_BYTES {
                let number = number();
                done(number, self.end((tenant, now_ms, number), rows, &places));
                places.clear();
                (newest, described_bytes) = (None, 0);
                (rows, last, last_ms) = (0, &[], now_ms);
            }
        }
        if rows > 0 {
            let number = number();
            done(number, self.end((tenant, now_ms, number), rows, &places));
        }
    }

    fn end(
        &mut self,
        (tenant, now_ms, number): (&str, i64, u64),
        rows: u64,
        places: &HashMap<(Kind, &str), usize>,
    ) -> Vec<u8> {
        let columns = self.keys.len() + self.times.len() + self.values.len();
        let mut frame = Vec::with_capacity(columns + tenant.len() + 64);
        put_head(&mut frame, SAMPLES, (tenant, now_ms, number));
        let mut descriptions: Vec<_> = places.iter().collect();
        descriptions.sort_unstable_by_key(|(_, place)| **place);
        put_varint(&mut frame, descriptions.len() as u64);
        for ((kind, unit), _) in descriptions {
            frame.push(*kind as u8);
            put_text(&mut frame, unit.as_bytes());
        }
        put_varint(&mut frame, rows);
        put_text(&mut frame, &self.keys);
        put_text(&mut frame, &self.times);
        frame.extend_from_slice(&self.values);
        self.keys.clear();
        self.times.clear();
        self.values.clear();
        frame
    }
}

/// Bytes that two keys begin with alike.
fn shared(last: &[u8], key: &[u8]) -> usize {
    let (words, rest) = (last.chunks_exact(8), key.chunks_exact(8));
    let alike = words.zip(rest).take_while(|(a, b)| a == b).count() * 8;
    let tails = last.iter().zip(key).skip(alike);
    alike + tails.take_while(|(a, b)| a == b).count()
}

/// Writes a deletion as a frame; nothing where no entry has room for it.
pub(super) fn write_deletion(head: (&str, i64, u64), deletion: &Deletion) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    put_head(&mut frame, DELETION, head);
    put_zigzag(&mut frame, deletion.from_ms);
    put_zigzag(&mut frame, deletion.to_ms);
    put_varint(&mut frame, deletion.selectors.len() as u64);
    for selector in &deletion.selectors {
        put_text(&mut frame, selector.as_bytes());
        if frame.len() > ENTRY_BYTES {
            return None;
        }
    }
    Some(frame)
}

fn put_head(frame: &mut Vec<u8>, kind: u8, (tenant, now_ms, number): (&str, i64, u64)) {
    frame.push(kind);
    put_varint(frame, number);
    put_text(frame, tenant.as_bytes());
    put_zigzag(frame, now_ms);
}

/// A frame of samples of which only the head can be read.
#[cfg(test)]
pub(super) fn raw_frame(head: (&str, i64, u64), rest: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_head(&mut frame, SAMPLES, head);
    frame.extend_from_slice(rest);
    frame
}

fn put_text(into: &mut Vec<u8>, text: &[u8]) {
    put_varint(into, text.len() as u64);
    into.extend_from_slice(text);
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(reader.varint()?).ok()?;
    reader.bytes(length)
}

fn is_time(at_ms: i64) -> bool {
    (-TIME_MAX_MS..=TIME_MAX_MS).contains(&at_ms)
}

/// Reads a frame; nothing where it cannot be read.
pub(super) fn read_frame(frame: &[u8]) -> Option<(Head<'_>, Said<'_>)> {
    let mut reader = Reader::new(frame);
    let kind = reader.byte()?;
    let head = Head {
        number: reader.varint()?,
        tenant: std::str::from_utf8(text(&mut reader)?).ok()?,
        now_ms: reader.zigzag().filter(|now_ms| is_time(*now_ms))?,
    };
    let said = match kind {
        SAMPLES => Said::Samples(reader.rest()),
        DELETION => {
            let (from_ms, to_ms) = (reader.zigzag()?, reader.zigzag()?);
            let count = reader.varint()?;
            let mut selectors = Vec::new();
            for _ in 0..count {
                selectors.push(std::str::from_utf8(text(&mut reader)?).ok()?.to_owned());
            }
            Said::Deletion(Deletion {
                from_ms,
                to_ms,
                selectors,
            })
        }
        _ => return None,
    };
    Some((head, said))
}

/// Reads the samples behind a head into an empty batch; nothing where they cannot be read: the
/// batch then has some of them.
pub(super) fn read_samples(now_ms: i64, rest: &[u8], batch: &mut Batch) -> Option<()> {
    let mut reader = Reader::new(rest);
    let count = usize::try_from(reader.varint()?).ok()?;
    if count > DESCRIPTIONS_MAX {
        return None;
    }
    let mut descriptions = Vec::new();
    for _ in 0..count {
        let kind = Kind::from_u8(reader.byte()?);
        descriptions.push((kind, std::str::from_utf8(text(&mut reader)?).ok()?));
    }
    let rows = reader.varint()?;
    let mut keys = Reader::new(text(&mut reader)?);
    let mut times = Reader::new(text(&mut reader)?);
    // Each has a value, and nothing follows the last one.
    let (values, rest) = reader.rest().as_chunks::<8>();
    if rows != values.len() as u64 || !rest.is_empty() {
        return None;
    }
    let mut key: Vec<u8> = Vec::new();
    let mut at_ms = now_ms;
    let mut described = u64::MAX;
    for _ in 0..rows {
        let shared = usize::try_from(keys.varint()?).ok()?;
        let own = text(&mut keys)?;
        if shared > key.len() {
            return None;
        }
        if shared < key.len() || !own.is_empty() {
            key.truncate(shared);
            key.extend_from_slice(own);
            KeyRef::checked(&key)?;
        }
        let place = keys.varint()?;
        if place != described {
            let (kind, unit) = *descriptions.get(usize::try_from(place).ok()?)?;
            batch.describe(kind, unit);
            described = place;
        }
        at_ms = at_ms.wrapping_add(times.zigzag()?);
        if !is_time(at_ms) {
            return None;
        }
        let value = f64::from_le_bytes(reader.array()?);
        let key = KeyRef::checked(&key)?;
        batch.push_key(key, at_ms, value).ok()?;
    }
    Some(())
}

/// Packs entries; its buffers are used again.
pub(super) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    frames: Vec<u8>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            zstd: zstd::bulk::Compressor::new(LEVEL)?,
            frames: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// An entry of these frames, which have [`ENTRY_BYTES`] together, or are one.
    pub(super) fn pack<'a>(
        &mut self,
        written_ms: i64,
        publisher: &str,
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<u8> {
        self.frames.clear();
        for frame in frames {
            put_text(&mut self.frames, frame);
        }
        let bound = zstd::zstd_safe::compress_bound(self.frames.len());
        self.packed.clear();
        self.packed.reserve(bound);
        let packed = match self.frames.len() {
            bytes if bytes < PACKED_FROM => None,
            bytes => {
                let packed = self.zstd.compress_to_buffer(&self.frames, &mut self.packed);
                packed.ok().filter(|packed| *packed < bytes)
            }
        };
        let body = match packed {
            Some(_) => &self.packed,
            None => &self.frames,
        };
        let mut entry = Vec::with_capacity(body.len() + publisher.len() + 16);
        entry.push(VERSION);
        entry.push(u8::from(packed.is_some()));
        put_zigzag(&mut entry, written_ms);
        put_text(&mut entry, publisher.as_bytes());
        entry.extend_from_slice(body);
        entry
    }
}

/// What an entry says before its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// When it was written, by its server's clock.
    pub(super) written_ms: i64,
    pub(super) publisher: &'a str,
    is_packed: bool,
    body: &'a [u8],
}

/// Unpacks entries; its buffers are used again.
pub(super) struct Unpacker {
    zstd: zstd::bulk::Decompressor<'static>,
    frames: Vec<u8>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

/// Reads what an entry says before its frames; nothing where it is of another version, or damaged.
pub(super) fn read_entry(entry: &[u8]) -> Option<Entry<'_>> {
    let mut reader = Reader::new(entry);
    if reader.byte()? != VERSION {
        return None;
    }
    let is_packed = reader.byte()? == 1;
    Some(Entry {
        written_ms: reader.zigzag()?,
        publisher: std::str::from_utf8(text(&mut reader)?).ok()?,
        is_packed,
        body: reader.rest(),
    })
}

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            zstd: zstd::bulk::Decompressor::new()?,
            frames: Vec::with_capacity(UNPACKED_MAX),
        })
    }

    /// The frames of an entry, one after the other; `false` where not all can be read.
    pub(super) fn each(&mut self, entry: &Entry<'_>, mut each: impl FnMut(&[u8])) -> bool {
        let frames = match entry.is_packed {
            false => entry.body,
            true => {
                self.frames.clear();
                let unpacked = self.zstd.decompress_to_buffer(entry.body, &mut self.frames);
                if unpacked.is_err() {
                    return false;
                }
                self.frames.as_slice()
            }
        };
        let mut reader = Reader::new(frames);
        while !reader.is_empty() {
            match text(&mut reader) {
                Some(frame) => each(frame),
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_bus::key::ENTRY_MAX;

    use super::*;

    type Line = (String, String, Option<i64>, u64, u8);

    fn batch_of(lines: &[Line]) -> Batch {
        let mut batch = Batch::new();
        for (name, host, at_ms, bits, kind) in lines {
            let row = batch
                .begin(&[name])
                .map(|()| batch.describe(Kind::from_u8(*kind), if *kind > 1 { "s" } else { "" }))
                .and_then(|()| batch.label("host", host))
                .and_then(|()| batch.finish(1, *at_ms, f64::from_bits(*bits)));
            row.expect("a row");
        }
        batch
    }

    /// Name and labels, time, bits of the value, kind, unit.
    type Shown = (String, i64, u64, Kind, String);

    fn shown(batch: &Batch, now_ms: i64, refused: &[u32]) -> Vec<Shown> {
        let rows = (0_u32..).zip(batch.rows());
        rows.filter(|(index, _)| !refused.contains(index))
            .map(|(_, row)| {
                let (kind, unit) = batch.description(row);
                let at_ms = if row.at_ms == Row::NOW {
                    now_ms
                } else {
                    row.at_ms
                };
                let key = batch.key(row).to_string();
                (key, at_ms, row.value.to_bits(), kind, unit.to_owned())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            lines in prop::collection::vec(("[a-z]{1,9}", "\\PC{0,40}", prop::option::of(-TIME_MAX_MS..=TIME_MAX_MS), any::<u64>(), 0_u8..4), 1..50),
            now_ms in 0_i64..1 << 45, refused in prop::collection::vec(0_u32..50, 0..5),
        ) {
            let batch = batch_of(&lines);
            let mut frames = Vec::new();
            let mut number = 6;
            let next = || { number += 1; number };
            Writer::default().write(("a tenant", now_ms), &batch, &refused, next, |_, frame| frames.push(frame));
            let mut packer = Packer::new().expect("a packer");
            let entry = packer.pack(now_ms, "a.1", frames.iter().map(Vec::as_slice));
            let read = read_entry(&entry).expect("an entry");
            prop_assert_eq!((read.written_ms, read.publisher), (now_ms, "a.1"));
            let mut all = Vec::new();
            let mut unpacker = Unpacker::new().expect("an unpacker");
            let is_whole = unpacker.each(&read, |frame| {
                let (head, said) = read_frame(frame).expect("a frame");
                assert_eq!((head.tenant, head.now_ms), ("a tenant", now_ms));
                let Said::Samples(rest) = said else { panic!("samples") };
                let mut back = Batch::new();
                read_samples(head.now_ms, rest, &mut back).expect("samples");
                all.extend(shown(&back, now_ms, &[]));
                // Damage is seen, or changes what is read; it never ends the reader.
                for cut in 0..rest.len() {
                    let _cut = read_samples(head.now_ms, &rest[..cut], &mut Batch::new());
                }
            });
            prop_assert!(is_whole);
            prop_assert_eq!(all, shown(&batch, now_ms, &refused));
        }

        #[test]
        fn nothing_ends_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some((head, Said::Samples(rest))) = read_frame(&bytes) {
                let _odd = read_samples(head.now_ms, rest, &mut Batch::new());
            }
            let mut entry = vec![VERSION, 1, 0, 0];
            entry.extend_from_slice(&bytes);
            let mut unpacker = Unpacker::new().expect("an unpacker");
            if let Some(read) = read_entry(&entry) {
                unpacker.each(&read, |frame| drop(read_frame(frame)));
            }
        }
    }

    #[test]
    fn a_large_batch_is_several_frames_that_fit_into_an_entry_each() {
        let host = |at: u64| format!("{at}-{}", "x".repeat(900));
        let lines: Vec<Line> = (0..2_000)
            .map(|at| {
                (
                    "up".to_owned(),
                    host(at),
                    Some(at as i64),
                    at.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    0,
                )
            })
            .collect();
        let batch = batch_of(&lines);
        let (mut frames, mut number) = (Vec::new(), 0);
        let next = || {
            number += 1;
            number
        };
        Writer::default().write(("", 0), &batch, &[], next, |_, frame| frames.push(frame));
        assert!(frames.len() > 1, "{}", frames.len());
        let mut packer = Packer::new().expect("a packer");
        for frame in &frames {
            assert!(frame.len() <= ENTRY_BYTES);
            let entry = packer.pack(0, "a.1", std::iter::once(frame.as_slice()));
            assert!(entry.len() <= ENTRY_MAX);
        }
    }

    /// As many as a batch may have, of which each has a unit of its own that does not pack.
    #[test]
    fn descriptions_count_for_what_a_frame_may_have() {
        let mut batch = Batch::new();
        for at in 0..DESCRIPTIONS_MAX as u64 {
            let odd = |by: u64| (at + 1).wrapping_mul(by);
            let unit = format!(
                "{:016x}{:016x}",
                odd(0x9e37_79b9_7f4a_7c15),
                odd(0xd6e8_feb8_6659_fd93)
            );
            let host = format!("{:016x}", odd(0xff51_afd7_ed55_8ccd));
            batch.begin(&["up"]).expect("a name");
            batch.describe(Kind::Gauge, &unit);
            batch.label("host", &host).expect("a label");
            let value = f64::from_bits(odd(0xc4ce_b9fe_1a85_ec53));
            batch.finish(1, None, value).expect("a row");
        }
        let (mut frames, mut number) = (Vec::new(), 0);
        let next = || {
            number += 1;
            number
        };
        Writer::default().write(("", 0), &batch, &[], next, |_, frame| frames.push(frame));
        let mut rows = 0;
        for frame in &frames {
            assert!(frame.len() <= FRAME_BYTES + 1_024, "{}", frame.len());
            let (head, said) = read_frame(frame).expect("a frame");
            let Said::Samples(rest) = said else {
                panic!("samples")
            };
            let mut back = Batch::new();
            read_samples(head.now_ms, rest, &mut back).expect("samples");
            rows += back.rows().len();
        }
        assert_eq!(rows, DESCRIPTIONS_MAX);
    }

    #[test]
    fn times_and_counts_that_cannot_be_are_refused() {
        let batch = batch_of(&[
            ("up".to_owned(), "a".to_owned(), Some(TIME_MAX_MS), 1, 0),
            ("up".to_owned(), "b".to_owned(), Some(i64::MAX), 1, 0),
        ]);
        let frame_of = |now_ms: i64, refused: &[u32]| {
            let mut frames = Vec::new();
            let mut writer = Writer::default();
            writer.write(
                ("", now_ms),
                &batch,
                refused,
                || 1,
                |_, frame| frames.push(frame),
            );
            frames.remove(0)
        };
        let read = |frame: &[u8]| {
            let (head, said) = read_frame(frame)?;
            let Said::Samples(rest) = said else {
                return None;
            };
            read_samples(head.now_ms, rest, &mut Batch::new())
        };
        assert_eq!(read(&frame_of(0, &[1])), Some(()));
        assert_eq!(
            read(&frame_of(0, &[0])),
            None,
            "a time that nobody takes in"
        );
        assert_eq!(
            read(&frame_of(i64::MIN + 1, &[1])),
            None,
            "a moment that never was"
        );
        let mut longer = frame_of(0, &[1]);
        longer.extend_from_slice(&[0; 8]);
        assert_eq!(read(&longer), None, "a value of no row");
        let mut counts = Vec::new();
        put_varint(&mut counts, DESCRIPTIONS_MAX as u64 + 1);
        counts.extend_from_slice(&[0; 3 * DESCRIPTIONS_MAX]);
        assert_eq!(read_samples(0, &counts, &mut Batch::new()), None);
    }

    #[test]
    fn neighbours_take_little_room() {
        let lines: Vec<Line> = (0..500)
            .map(|at| {
                (
                    "http_requests_total".to_owned(),
                    format!("host-{at}"),
                    None,
                    f64::from(at).to_bits(),
                    1,
                )
            })
            .collect();
        let batch = batch_of(&lines);
        let mut frames = Vec::new();
        Writer::default().write(
            ("default", 1_700_000_000_000),
            &batch,
            &[],
            || 1,
            |_, frame| frames.push(frame),
        );
        let entry =
            Packer::new()
                .expect("a packer")
                .pack(0, "a.1", frames.iter().map(Vec::as_slice));
        assert!(entry.len() < 500 * 8, "{}", entry.len());
    }

    #[test]
    fn a_deletion_is_read_as_it_was() {
        let deletion = Deletion {
            from_ms: i64::MIN,
            to_ms: 7,
            selectors: vec!["{\"up\"}".to_owned(), "{job=\"a\"}".to_owned()],
        };
        let frame = write_deletion(("a", 5, 9), &deletion).expect("there is room");
        let (head, said) = read_frame(&frame).expect("a frame");
        assert_eq!((head.number, head.tenant, head.now_ms), (9, "a", 5));
        assert_eq!(said, Said::Deletion(deletion));
        let large = Deletion {
            from_ms: 0,
            to_ms: 7,
            selectors: vec!["{job=\"a\"}".to_owned(); ENTRY_BYTES / 10],
        };
        assert_eq!(write_deletion(("a", 5, 9), &large), None);
    }
}
