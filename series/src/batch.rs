//! Samples on their way in: what a parser makes of a body and the engine takes.
//!
//! A batch is two growing buffers that are cleared and used again, so a body of any size costs no
//! allocation once they have grown. Parsers write a row so:
//!
//! ```
//! use pulseboard_series::Batch;
//! let mut batch = Batch::new();
//! let row = batch
//!     .begin(&["queue_depth"])
//!     .and_then(|()| batch.label("host", "a"))
//!     .and_then(|()| batch.finish(1, None, 42.0));
//! if let Err(reason) = row {
//!     batch.refuse(1, reason);
//! }
//! assert_eq!(batch.rows()[0].value, 42.0);
//! assert_eq!(batch.key(&batch.rows()[0]).to_string(), r#"queue_depth{host="a"}"#);
//! ```

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
};

use foldhash::fast::RandomState;

use crate::{
    key::{KeyRef, check_label_name, check_name, check_plain_name, take_u8, take_u16},
    limits::{
        BATCH_BYTES_MAX, DESCRIPTIONS_MAX, FREE_BYTES, LABEL_VALUE_BYTES_MAX, LABELS_MAX,
        NAME_BYTES_MAX, PIECE_BYTES, REFUSED_KEPT_MAX, REFUSED_READ_MAX, UNIT_BYTES_MAX,
    },
    reason::Reason,
};

/// How a series grows, as far as its sender said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Nobody said.
    #[default]
    Unknown = 0,
    /// Goes up and down.
    Gauge = 1,
    /// Only grows, or starts again from zero.
    Counter = 2,
    /// A part of a histogram or summary (`_bucket`, `_sum`, `_count`, a quantile).
    Distribution = 3,
}

impl Kind {
    /// From what a disk holds; anything else is `Unknown`.
    #[must_use]
    pub fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Gauge,
            2 => Self::Counter,
            3 => Self::Distribution,
            _ => Self::Unknown,
        }
    }

    /// The word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Distribution => "distribution",
        }
    }
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Hash of its key, the same for equal keys within one process; see [`hash_key`].
    pub hash: u64,
    key_start: u32,
    key_length: u32,
    name_length: u16,
    /// Unix milliseconds; [`Row::NOW`] when the sender named none.
    pub at_ms: i64,
    /// Any number; NaN and infinities only where the format has them.
    pub value: f64,
    /// Line or item of the body that it came from, from 1.
    pub line: u32,
    /// Place of its description in [`Batch::description`].
    described: u32,
}

impl Row {
    /// In place of a time: the moment of arrival.
    pub const NOW: i64 = i64::MIN;
}

/// A line that was not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Line or item of the body, from 1.
    pub line: u32,
    /// Why.
    pub reason: Reason,
}

/// Where a batch's memory comes from, and who takes what is in it before its body has ended.
pub trait Outlet: fmt::Debug + Send {
    /// So many further bytes are about to be taken; `false` where there is no room for them.
    fn reserve(&mut self, bytes: usize) -> bool;

    /// Takes rows and refusals, which the batch then forgets, with the room that it reserved.
    fn take(&mut self, batch: &Batch);
}

/// Samples and refusals of one body, or of a piece of one: see [`Batch::checkpoint`].
#[derive(Debug)]
pub struct Batch {
    keys: Vec<u8>,
    rows: Vec<Row>,
    descriptions: Vec<(Kind, Box<str>)>,
    refused: Vec<Refused>,
    refused_by_code: [u64; Reason::CODES.len()],
    /// Their sum, which is asked for with every line.
    refused_total: u64,
    building: Building,
    /// What rows and keys of one body may take, those that were handed on too.
    bytes_max: usize,
    /// What they may take now without anybody being asked.
    room: usize,
    /// A piece of so many bytes is handed on.
    piece_bytes: usize,
    /// Bytes of rows and keys that were handed on.
    handed_on_bytes: usize,
    /// Refusals that were handed on.
    handed_on_refused: u64,
    outlet: Option<Box<dyn Outlet>>,
    is_out_of_room: bool,
    /// By place, the newest label names that were looked at: rows of one body have nearly always
    /// the same ones, and need not be looked at again.
    known_names: [KnownName; LABELS_MAX],
    scratch: Vec<u8>,
}

/// A label's name that was found to be one.
#[derive(Clone, Copy, Debug)]
struct KnownName {
    /// See [`prefix`].
    prefix: u64,
    /// Where it stands in `keys`; only looked at when the prefix is not all of it.
    at: u32,
    /// 255, which no name has: there is none yet.
    length: u8,
}

impl KnownName {
    const NONE: Self = Self {
        prefix: 0,
        at: 0,
        length: u8::MAX,
    };
}

/// The row that is being written, at the end of `keys`.
#[derive(Debug, Default)]
struct Building {
    start: usize,
    name_length: u16,
    /// Where its label count stands.
    count_at: usize,
    /// Where its newest label's name begins and ends.
    newest_label: (usize, usize),
    /// The beginning of that name; see [`prefix`].
    newest_prefix: u64,
    count: usize,
    is_sorted: bool,
    described: u32,
}

/// The hash of a key; seeded at random for each process, so that nobody can choose keys that
/// collide.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    static STATE: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::default);
    let mut hasher = STATE.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// The first eight bytes of a name, zeros behind a shorter one: in the order of the names, as far
/// as they differ.
#[inline]
fn prefix(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    // Pieces that overlap where the name is shorter than both: they agree there.
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << 32 | u64::from(last) << (8 * (8 - name.len()));
    }
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return 0;
    };
    let middle = name[name.len() / 2];
    u64::from(*first) << 56
        | u64::from(middle) << (8 * (7 - name.len() / 2))
        | u64::from(*last) << (8 * (8 - name.len()))
}

/// Whether all bytes are ASCII. Eight at a time, the last ones twice: what is looked at is short,
/// and a call of the library takes longer.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().fold(0, |sum, byte| sum | byte) < 0x80;
    };
    let (chunks, _) = bytes.as_chunks();
    let sum = chunks.iter().fold(u64::from_le_bytes(*last), |sum, chunk| {
        sum | u64::from_le_bytes(*chunk)
    });
    sum & HIGHS == 0
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            rows: Vec::new(),
            descriptions: vec![(Kind::Unknown, Box::default())],
            refused: Vec::new(),
            refused_by_code: [0; Reason::CODES.len()],
            refused_total: 0,
            building: Building::default(),
            bytes_max: BATCH_BYTES_MAX,
            room: BATCH_BYTES_MAX,
            piece_bytes: usize::MAX,
            handed_on_bytes: 0,
            handed_on_refused: 0,
            outlet: None,
            is_out_of_room: false,
            known_names: [KnownName::NONE; LABELS_MAX],
            scratch: Vec::new(),
        }
    }

    /// Refuses rows from that many bytes on, until this is called again.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
        self.reset_room();
    }

    /// Has `outlet` asked for memory beyond [`FREE_BYTES`], until [`Batch::close`]; and has it take
    /// pieces of the body where `in_pieces`.
    pub fn open(&mut self, outlet: Box<dyn Outlet>, in_pieces: bool) {
        self.outlet = Some(outlet);
        self.piece_bytes = if in_pieces { PIECE_BYTES } else { usize::MAX };
        self.reset_room();
    }

    /// Drops the outlet; what it did not take is still there.
    pub fn close(&mut self) {
        self.outlet = None;
        self.piece_bytes = usize::MAX;
        self.reset_room();
    }

    /// Nothing that follows changes what stands here, and no error of the whole body undoes it: it
    /// is handed on where it is much, so that a body of any size needs little memory. To be called
    /// between two lines.
    #[inline]
    pub fn checkpoint(&mut self) {
        if self.bytes() >= self.piece_bytes {
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(&mut self) {
        let Some(mut outlet) = self.outlet.take() else {
            return;
        };
        self.abandon();
        outlet.take(self);
        self.outlet = Some(outlet);
        self.handed_on_bytes += self.bytes();
        self.handed_on_refused += self.refused_total;
        // One line of many fields may have made it large.
        if self.capacity_bytes() > 4 * PIECE_BYTES {
            (self.keys, self.rows) = (Vec::new(), Vec::new());
        }
        self.forget_rows();
        self.reset_room();
    }

    /// Reserves memory beside that of rows and keys, until the body has ended or a piece of it is
    /// handed on: for what a parser makes of the body on the way. `false`: there is none, and
    /// nothing of the body is taken.
    #[must_use]
    pub fn hold(&mut self, bytes: usize) -> bool {
        let is_held = self
            .outlet
            .as_mut()
            .is_none_or(|outlet| outlet.reserve(bytes));
        self.is_out_of_room |= !is_held;
        is_held
    }

    /// Whether rows were refused because the outlet had no room, and so the body is to be sent
    /// again.
    #[must_use]
    pub fn is_out_of_room(&self) -> bool {
        self.is_out_of_room
    }

    /// Forgets everything and keeps the buffers, and the outlet.
    pub fn clear(&mut self) {
        self.forget_rows();
        self.handed_on_bytes = 0;
        self.handed_on_refused = 0;
        self.is_out_of_room = false;
    }

    fn forget_rows(&mut self) {
        self.keys.clear();
        self.rows.clear();
        self.descriptions.truncate(1);
        self.refused.clear();
        self.refused_by_code = [0; Reason::CODES.len()];
        self.refused_total = 0;
        self.building = Building::default();
        self.known_names = [KnownName::NONE; LABELS_MAX];
    }

    /// Nothing is reserved any more.
    fn reset_room(&mut self) {
        let left = self.bytes_max.saturating_sub(self.handed_on_bytes);
        self.room = match self.outlet {
            Some(_) => left.min(FREE_BYTES),
            None => left.min(BATCH_BYTES_MAX),
        };
    }

    /// Bytes of rows and keys.
    fn bytes(&self) -> usize {
        self.keys.len() + self.rows.len() * size_of::<Row>()
    }

    /// As [`Batch::begin`] for a name of which nobody knows yet whether it is text. `false`, and
    /// nothing is begun, where there is anything that [`Batch::begin`] must say.
    #[must_use]
    pub fn begin_bytes(&mut self, name: &[u8]) -> bool {
        let is_known = self.rows.last().is_some_and(|newest| {
            let from = newest.key_start as usize + 2;
            usize::from(newest.name_length) == name.len()
                && self.keys.get(from..from + name.len()) == Some(name)
        });
        if !is_known {
            let begun = std::str::from_utf8(name).is_ok_and(|name| self.begin(&[name]).is_ok());
            return begun;
        }
        self.abandon();
        if self.check_room().is_err() {
            return false;
        }
        let start = self.keys.len();
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.keys.extend_from_slice(&length.to_le_bytes());
        self.keys.extend_from_slice(name);
        self.building = Building {
            start,
            name_length: length,
            count_at: self.keys.len(),
            is_sorted: true,
            ..Building::default()
        };
        self.keys.push(0);
        true
    }

    /// Begins a row; the name comes in pieces that are put together. A row begun before and not
    /// finished is forgotten.
    ///
    /// # Errors
    /// It is no metric name, or the batch is full.
    pub fn begin(&mut self, name: &[&str]) -> Result<(), Reason> {
        self.begin_name(name, check_name)?;
        self.building.count_at = self.keys.len();
        self.keys.push(0);
        Ok(())
    }

    /// As [`Batch::begin`], for a name that stands in its text without quotation marks.
    ///
    /// # Errors
    /// It is no plain metric name, or the batch is full.
    pub fn begin_plain(&mut self, name: &str) -> Result<(), Reason> {
        self.begin_name(&[name], check_plain_name)?;
        self.building.count_at = self.keys.len();
        self.keys.push(0);
        Ok(())
    }

    fn begin_name(
        &mut self,
        name: &[&str],
        check: fn(&str) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.abandon();
        let start = self.keys.len();
        let length: usize = name.iter().map(|piece| piece.len()).sum();
        if length > NAME_BYTES_MAX {
            return Err(Reason::NameLength(length));
        }
        self.check_room()?;
        // A name that the newest row has was looked at then. Compared before it is copied: what
        // was just written is not there yet to be read.
        let is_known = match (name, self.rows.last()) {
            ([whole], Some(newest)) => {
                let from = newest.key_start as usize + 2;
                usize::from(newest.name_length) == length
                    && self.keys.get(from..from + length) == Some(whole.as_bytes())
            }
            _ => false,
        };
        self.keys
            .extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        for piece in name {
            self.keys.extend_from_slice(piece.as_bytes());
        }
        self.building = Building {
            start,
            name_length: u16::try_from(length).unwrap_or(u16::MAX),
            is_sorted: true,
            ..Building::default()
        };
        if is_known {
            return Ok(());
        }
        let checked = match name {
            [whole] => check(whole),
            // Pieces of texts are a text.
            _ => check(&String::from_utf8_lossy(&self.keys[start + 2..])),
        };
        if checked.is_err() {
            self.abandon();
        }
        checked
    }

    /// Whether a further row may be there; see [`BATCH_BYTES_MAX`], which is far below what the 32
    /// bits of a key's place can say.
    #[inline]
    fn check_room(&mut self) -> Result<(), Reason> {
        if self.bytes() < self.room {
            return Ok(());
        }
        self.make_room()
    }

    #[cold]
    fn make_room(&mut self) -> Result<(), Reason> {
        let left = self.bytes_max.saturating_sub(self.handed_on_bytes);
        let left = left.min(BATCH_BYTES_MAX);
        if self.bytes() >= left {
            return Err(Reason::Unsupported(format!(
                "the body's samples take more than {} MiB; send them in several bodies",
                self.bytes_max >> 20
            )));
        }
        let more = (self.room / 4).max(FREE_BYTES);
        let more = more.min(left - self.room.min(left));
        if !self.hold(more) {
            return Err(Reason::Busy);
        }
        self.room += more;
        Ok(())
    }

    /// Adds a label to the row; one with an empty value is no label and left away.
    ///
    /// # Errors
    /// Name or value are not accepted, or there are too many labels.
    pub fn label(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        if value.is_empty() {
            return Ok(());
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            check_label_name(name)?;
            return Err(Reason::LabelValueLength {
                name: name.to_owned(),
                bytes: value.len(),
            });
        }
        if self.building.count == LABELS_MAX {
            check_label_name(name)?;
            return Err(Reason::Labels);
        }
        let from = self.keys.len() + 1;
        if !self.note_name(name.as_bytes(), from) {
            check_label_name(name)?;
            self.remember_name(name.as_bytes(), from);
        }
        let name_length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let value_length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.keys.push(name_length);
        self.keys.extend_from_slice(name.as_bytes());
        self.keys.extend_from_slice(&value_length.to_le_bytes());
        self.keys.extend_from_slice(value.as_bytes());
        self.building.count += 1;
        Ok(())
    }

    /// Adds a label that stands in its text as `name`, any two bytes, and the value: that is how a
    /// key has it, with the value's length for the two, so it is copied in one piece. The rest is
    /// as with [`Batch::label`].
    ///
    /// # Errors
    /// Name or value are not accepted, or there are too many labels.
    pub fn label_in_place(&mut self, text: &str, name_length: usize) -> Result<(), Reason> {
        let name = text.get(..name_length).unwrap_or(text);
        let value = text.get(name_length + 2..).unwrap_or_default();
        if name_length > text.len() || self.has_no_way_for(value.len()) {
            return self.label(name, value);
        }
        if !self.note_name(name.as_bytes(), self.keys.len() + 1) {
            check_label_name(name)?;
            self.remember_name(name.as_bytes(), self.keys.len() + 1);
        }
        self.push_piece(text.as_bytes(), name_length);
        Ok(())
    }

    /// As [`Batch::label_in_place`] for bytes of which nobody knows yet whether they are text: a label
    /// of a protobuf message. `false` where there is anything that [`Batch::label`] must look at;
    /// the row is then to be begun again.
    #[must_use]
    pub fn label_of_bytes(&mut self, piece: &[u8], name_length: usize) -> bool {
        let Some((name, rest)) = piece.split_at_checked(name_length) else {
            return false;
        };
        let Some((_, value)) = rest.split_at_checked(2) else {
            return false;
        };
        if self.has_no_way_for(value.len())
            || !is_ascii(value) && std::str::from_utf8(value).is_err()
        {
            return false;
        }
        let from = self.keys.len() + 1;
        if !self.note_name(name, from) {
            let is_name =
                std::str::from_utf8(name).is_ok_and(|name| check_label_name(name).is_ok());
            if !is_name {
                return false;
            }
            self.remember_name(name, from);
        }
        self.push_piece(piece, name_length);
        true
    }

    /// Whether a value of this length is none, or one too long or too many.
    #[inline]
    fn has_no_way_for(&self, value_length: usize) -> bool {
        value_length == 0
            || value_length > LABEL_VALUE_BYTES_MAX
            || self.building.count >= LABELS_MAX
    }

    /// Writes name, two bytes and value in one piece; both are known to be good.
    #[inline]
    fn push_piece(&mut self, piece: &[u8], name_length: usize) {
        let value_length = piece.len() - name_length - 2;
        let value_length = u16::try_from(value_length).unwrap_or(u16::MAX);
        self.keys.push(u8::try_from(name_length).unwrap_or(u8::MAX));
        let to = self.keys.len() + name_length;
        self.keys.extend_from_slice(piece);
        self.keys[to..to + 2].copy_from_slice(&value_length.to_le_bytes());
        self.building.count += 1;
    }

    /// Takes note of the next label's name, which will stand at `from`: whether the labels are
    /// still in order with it, and whether it is known to be a name (`true`).
    #[inline]
    fn note_name(&mut self, name: &[u8], from: usize) -> bool {
        let prefix = prefix(name);
        let newest = std::mem::replace(&mut self.building.newest_prefix, prefix);
        let (newest_from, newest_to) =
            std::mem::replace(&mut self.building.newest_label, (from, from + name.len()));
        // Nearly always the first eight bytes tell; what was just written to `keys` is not read
        // again for them, which would wait until it is there.
        if newest >= prefix
            && self.building.count > 0
            && (newest > prefix
                || (self.keys.get(newest_from..newest_to)).is_none_or(|newest| *newest >= *name))
        {
            self.building.is_sorted = false;
        }
        let Some(known) = self.known_names.get(self.building.count) else {
            return false;
        };
        if known.prefix != prefix || usize::from(known.length) != name.len() {
            return false;
        }
        let at = known.at as usize;
        name.len() <= size_of::<u64>() || self.keys.get(at..at + name.len()) == Some(name)
    }

    /// The next label's name, which will stand at `from`, is one.
    fn remember_name(&mut self, name: &[u8], from: usize) {
        if let Some(known) = self.known_names.get_mut(self.building.count) {
            *known = KnownName {
                prefix: prefix(name),
                at: u32::try_from(from).unwrap_or(u32::MAX),
                length: u8::try_from(name.len()).unwrap_or(u8::MAX),
            };
        }
    }

    /// Says what kind of series the row belongs to and its unit (`""`: nobody said).
    pub fn describe(&mut self, kind: Kind, unit: &str) {
        let unit = if unit.len() > UNIT_BYTES_MAX {
            ""
        } else {
            unit
        };
        // Lengths first: comparing no bytes at all reads, masked, at the address that an empty box
        // has instead of memory, and the processor takes some hundred nanoseconds to forgive that.
        let is_same = |known: &(Kind, Box<str>)| {
            known.0 == kind && known.1.len() == unit.len() && (unit.is_empty() || *known.1 == *unit)
        };
        let known = self
            .descriptions
            .last()
            .filter(|newest| is_same(newest))
            .map(|_| self.descriptions.len() - 1)
            .or_else(|| self.descriptions.iter().position(is_same));
        let index = known.unwrap_or_else(|| {
            if self.descriptions.len() >= DESCRIPTIONS_MAX {
                return 0;
            }
            self.descriptions.push((kind, unit.into()));
            self.descriptions.len() - 1
        });
        self.building.described = u32::try_from(index).unwrap_or_default();
    }

    /// Ends the row.
    ///
    /// # Errors
    /// A label was named twice.
    pub fn finish(&mut self, line: u32, at_ms: Option<i64>, value: f64) -> Result<(), Reason> {
        if !self.building.is_sorted
            && let Err(reason) = self.sort_labels()
        {
            self.abandon();
            return Err(reason);
        }
        let Building {
            start, count_at, ..
        } = self.building;
        if let Some(count) = self.keys.get_mut(count_at) {
            *count = u8::try_from(self.building.count).unwrap_or(u8::MAX);
        }
        self.push_row(start, line, at_ms, value);
        Ok(())
    }

    fn push_row(&mut self, start: usize, line: u32, at_ms: Option<i64>, value: f64) {
        let key = &self.keys[start..];
        self.rows.push(Row {
            hash: hash_key(key),
            key_start: u32::try_from(start).unwrap_or(u32::MAX),
            key_length: u32::try_from(key.len()).unwrap_or(u32::MAX),
            name_length: self.building.name_length,
            at_ms: at_ms.unwrap_or(Row::NOW),
            value,
            line,
            described: self.building.described,
        });
        self.building.start = self.keys.len();
    }

    /// A further row under another name with the labels and the description of the newest one:
    /// the fields of one Influx line, the parts of one histogram.
    ///
    /// # Errors
    /// It is no metric name.
    pub fn push_sibling(
        &mut self,
        name: &[&str],
        line: u32,
        at_ms: Option<i64>,
        value: f64,
    ) -> Result<(), Reason> {
        let described = self.building.described;
        let labels = self.rows.last().and_then(|row| {
            let start = row.key_start as usize;
            let end = start + row.key_length as usize;
            let (name, _) = take_u16(&self.keys[start..end])?;
            Some(start + 2 + name.len()..end)
        });
        self.begin_name(name, check_name)?;
        self.building.described = described;
        match labels {
            Some(labels) => self.keys.extend_from_within(labels),
            None => self.keys.push(0),
        }
        let start = self.building.start;
        self.push_row(start, line, at_ms, value);
        Ok(())
    }

    /// A further row of the newest row's series: the samples of one series in a protobuf message.
    /// Nothing happens when there is none yet.
    ///
    /// # Errors
    /// The batch is full.
    pub fn push_sample(&mut self, line: u32, at_ms: Option<i64>, value: f64) -> Result<(), Reason> {
        self.abandon();
        self.check_room()?;
        if let Some(newest) = self.rows.last().copied() {
            self.rows.push(Row {
                at_ms: at_ms.unwrap_or(Row::NOW),
                value,
                line,
                ..newest
            });
        }
        Ok(())
    }

    /// Puts another value into the newest row: a total in place of what it grew by.
    pub fn replace_newest_value(&mut self, value: f64) {
        if let Some(newest) = self.rows.last_mut() {
            newest.value = value;
        }
    }

    /// Forgets all rows but the first `count`: a line turned out to be broken behind fields that
    /// were fine. What was refused stays so.
    pub fn undo_to(&mut self, count: usize) {
        self.abandon();
        self.rows.truncate(count);
        let end = self.rows.last().map_or(0, |newest| {
            newest.key_start as usize + newest.key_length as usize
        });
        self.keys.truncate(end);
        self.forget_names();
        self.building = Building {
            start: end,
            ..Building::default()
        };
    }

    /// Forgets the row that was begun and not finished.
    fn abandon(&mut self) {
        if self.building.start < self.keys.len() {
            self.keys.truncate(self.building.start);
            self.forget_names();
        }
    }

    /// Something was taken from the end of `keys`, or moved there, where names may stand that are
    /// remembered.
    #[cold]
    fn forget_names(&mut self) {
        self.known_names = [KnownName::NONE; LABELS_MAX];
    }

    /// Puts the labels of the row in order.
    #[cold]
    fn sort_labels(&mut self) -> Result<(), Reason> {
        let labels_at = self.building.count_at + 1;
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.keys[labels_at..]);
        let mut entries: Vec<(&[u8], &[u8])> = Vec::with_capacity(self.building.count);
        let mut rest = self.scratch.as_slice();
        while let Some((label, after)) = take_u8(rest) {
            let Some((value, after)) = take_u16(after) else {
                break;
            };
            let whole = label.len() + value.len() + 3;
            entries.push((label, &rest[..whole]));
            rest = after;
        }
        entries.sort_by_key(|(label, _)| *label);
        if let Some(twice) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let name = String::from_utf8_lossy(twice[0].0).into_owned();
            return Err(Reason::LabelTwice(name));
        }
        self.keys.truncate(labels_at);
        for (_, entry) in entries {
            self.keys.extend_from_slice(entry);
        }
        self.forget_names();
        Ok(())
    }

    /// Notes that a line was not taken.
    pub fn refuse(&mut self, line: u32, reason: Reason) {
        self.abandon();
        self.refused_by_code[reason.index()] += 1;
        self.refused_total += 1;
        if self.refused.len() < REFUSED_KEPT_MAX {
            self.refused.push(Refused { line, reason });
        }
    }

    /// Whether so much was refused that the rest of the body is not worth looking at.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.is_out_of_room || self.handed_on_refused + self.refused_total >= REFUSED_READ_MAX
    }

    /// Notes that so many lines were not taken, or even looked at, since what came before is
    /// hopeless.
    pub fn refuse_unread(&mut self, lines: u64) {
        self.abandon();
        let index = Reason::Malformed(String::new()).index();
        self.refused_by_code[index] += lines;
        self.refused_total += lines;
    }

    /// The samples, in the order of the body.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Which series a row belongs to.
    #[must_use]
    pub fn key(&self, row: &Row) -> KeyRef<'_> {
        let start = row.key_start as usize;
        KeyRef::new(&self.keys[start..start + row.key_length as usize])
    }

    /// Kind and unit of a row's series, as far as the sender said.
    #[must_use]
    pub fn description(&self, row: &Row) -> (Kind, &str) {
        self.descriptions
            .get(row.described as usize)
            .map_or((Kind::Unknown, ""), |(kind, unit)| (*kind, unit))
    }

    /// The first refused lines, in the order they were noted.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// How many lines were refused, by the code of their reason.
    #[must_use]
    pub fn refused_by_code(&self) -> &[u64; Reason::CODES.len()] {
        &self.refused_by_code
    }

    /// How many lines were refused in all.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// Bytes that its buffers hold, used or not.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.keys.capacity() + self.rows.capacity() * size_of::<Row>()
    }

    /// Whether there is neither a sample nor a refusal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.refused_total() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn write(batch: &mut Batch, name: &str, labels: &[(String, String)]) -> Result<(), Reason> {
        batch.begin(&[name])?;
        for (label, value) in labels {
            batch.label(label, value)?;
        }
        batch.finish(1, Some(5), 1.5)
    }

    proptest! {
        #[test]
        fn names_compare_as_their_prefixes(one in "[a-z.é]{1,10}", other in "[a-z.é]{1,10}") {
            let (first, second) = (prefix(one.as_bytes()), prefix(other.as_bytes()));
            prop_assert!(first == second || (first < second) == (one < other));
        }

        #[test]
        fn labels_in_place_are_labels(name in "[a-b]{1,9}", value in "[a-z]{0,3}", before in "[a-b]{1,9}") {
            let mut batches = [Batch::new(), Batch::new()];
            let written = [true, false].map(|is_in_place| {
                let batch = &mut batches[usize::from(is_in_place)];
                batch.begin(&["m"])?;
                batch.label(&before, "x")?;
                if is_in_place {
                    batch.label_in_place(&format!("{name}=\"{value}"), name.len())?;
                } else {
                    batch.label(&name, &value)?;
                }
                batch.finish(1, None, 1.0)
            });
            prop_assert_eq!(&written[0], &written[1]);
            let keys = batches.each_ref().map(|batch| batch.rows().first().map(|row| batch.key(row)));
            prop_assert_eq!(keys[0], keys[1]);
        }

        /// Whatever stood in a batch before, also what was refused or undone: a row is taken as in a
        /// new one, whichever way its labels are written.
        #[test]
        fn what_is_remembered_of_names_changes_nothing(
            rows in prop::collection::vec(
                (prop::collection::vec(("(aaaaaaaa)?[ab ]{1,2}", "(aaaaaaaa)?[a é]{0,2}"), 0..4), 0_u8..4),
                0..12,
            ),
        ) {
            let mut old = Batch::new();
            for (labels, way) in rows {
                let mut new = Batch::new();
                let expected = write(&mut new, "metric", &labels);
                let before = old.rows().len();
                let written = match way {
                    0 | 1 => write(&mut old, "metric", &labels),
                    2 => old.begin(&["metric"]).and_then(|()| {
                        for (name, value) in &labels {
                            old.label_in_place(&format!("{name}=\"{value}"), name.len())?;
                        }
                        old.finish(1, Some(5), 1.5)
                    }),
                    _ => {
                        let is_plain = old.begin_bytes(b"metric")
                            && labels.iter().all(|(name, value)| {
                                old.label_of_bytes(format!("{name}=\"{value}").as_bytes(), name.len())
                            });
                        if is_plain {
                            old.finish(1, Some(5), 1.5)
                        } else {
                            write(&mut old, "metric", &labels)
                        }
                    }
                };
                prop_assert_eq!(&written, &expected);
                if written.is_ok() {
                    prop_assert_eq!(old.key(&old.rows()[before]), new.key(&new.rows()[0]));
                }
                if way == 1 {
                    old.undo_to(before);
                }
            }
        }

        /// Whatever the order of the labels, the key is that of the sorted ones, and it reads back.
        #[test]
        fn labels_come_back_sorted(labels in prop::collection::vec(("[a-c]{1,2}", "[a-z\"\\\\]{0,3}"), 0..6)) {
            let mut batch = Batch::new();
            let written = write(&mut batch, "metric", &labels);
            let full: Vec<_> = labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
            let expected: BTreeMap<String, String> = full.iter().cloned().collect();
            if expected.len() < full.len() {
                prop_assert!(matches!(written, Err(Reason::LabelTwice(_))));
                prop_assert!(batch.rows().is_empty());
                return Ok(());
            }
            prop_assert_eq!(written, Ok(()));
            let key = batch.key(&batch.rows()[0]);
            prop_assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
            let read: Vec<_> = key.labels().map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(read, expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(key.name(), "metric");
        }
    }

    #[test]
    fn equal_series_have_equal_hashes() {
        let mut batch = Batch::new();
        let pair = |label: &str| (label.to_owned(), "v".to_owned());
        assert_eq!(write(&mut batch, "m", &[pair("a"), pair("b")]), Ok(()));
        assert_eq!(write(&mut batch, "m", &[pair("b"), pair("a")]), Ok(()));
        assert_eq!(batch.rows()[0].hash, batch.rows()[1].hash);
        assert_eq!(batch.key(&batch.rows()[0]), batch.key(&batch.rows()[1]));
    }

    #[test]
    fn a_refused_row_leaves_nothing_behind() {
        let mut batch = Batch::new();
        assert_eq!(write(&mut batch, "first", &[]), Ok(()));
        assert_eq!(batch.begin(&["second"]), Ok(()));
        assert!(batch.label("__name__", "v").is_err());
        batch.refuse(2, Reason::Labels);
        assert!(batch.begin(&[""]).is_err());
        assert!(batch.begin_plain("7").is_err());
        assert_eq!(write(&mut batch, "third", &[]), Ok(()));
        let names: Vec<_> = batch
            .rows()
            .iter()
            .map(|row| batch.key(row).name())
            .collect();
        assert_eq!(names, ["first", "third"]);
        assert_eq!(batch.refused_total(), 1);
    }

    #[test]
    fn further_rows_have_the_same_labels() {
        let mut batch = Batch::new();
        assert_eq!(batch.begin(&["disk", "_", "used"]), Ok(()));
        assert_eq!(batch.label("path", "/"), Ok(()));
        batch.describe(Kind::Gauge, "B");
        assert_eq!(batch.finish(3, None, 1.0), Ok(()));
        assert_eq!(
            batch.push_sibling(&["disk", "_", "free"], 3, None, 2.0),
            Ok(())
        );
        let keys: Vec<_> = batch
            .rows()
            .iter()
            .map(|row| batch.key(row).to_string())
            .collect();
        assert_eq!(keys, [r#"disk_used{path="/"}"#, r#"disk_free{path="/"}"#]);
        assert!(
            batch
                .rows()
                .iter()
                .all(|row| batch.description(row) == (Kind::Gauge, "B"))
        );
    }

    #[test]
    fn rows_repeat_change_and_are_undone() {
        let mut batch = Batch::new();
        assert_eq!(batch.push_sample(1, None, 1.0), Ok(()));
        assert!(batch.rows().is_empty());
        let pair = ("l".to_owned(), "v".to_owned());
        assert_eq!(write(&mut batch, "a", &[pair]), Ok(()));
        assert_eq!(batch.push_sample(2, Some(7), 2.5), Ok(()));
        batch.replace_newest_value(3.5);
        assert_eq!(write(&mut batch, "b", &[]), Ok(()));
        assert_eq!(batch.begin(&["c"]), Ok(()));
        batch.undo_to(2);
        assert_eq!(write(&mut batch, "d", &[]), Ok(()));
        let rows: Vec<_> = batch
            .rows()
            .iter()
            .map(|row| (batch.key(row).to_string(), row.line, row.value))
            .collect();
        let same = r#"a{l="v"}"#.to_owned();
        assert_eq!(
            rows,
            [
                (same.clone(), 1, 1.5),
                (same, 2, 3.5),
                ("d".to_owned(), 1, 1.5)
            ]
        );
        assert_eq!(batch.rows()[0].hash, batch.rows()[1].hash);
        batch.undo_to(0);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_batch_is_full_at_some_time() {
        let mut batch = Batch::new();
        let value = "v".repeat(LABEL_VALUE_BYTES_MAX);
        let labels: Vec<_> = (0..LABELS_MAX)
            .map(|at| (format!("label_{at:02}"), value.clone()))
            .collect();
        assert_eq!(write(&mut batch, "first", &labels), Ok(()));
        let refused =
            (0..100_000).find_map(|_| batch.push_sibling(&["further"], 1, None, 1.0).err());
        assert!(
            matches!(refused, Some(Reason::Unsupported(_))),
            "{refused:?}"
        );
        assert!(batch.keys.len() < BATCH_BYTES_MAX + 100_000);
        assert!(batch.push_sample(2, None, 1.0).is_err());
        batch.clear();
        batch.set_bytes_max(1 << 20);
        assert_eq!(write(&mut batch, "first", &labels), Ok(()));
        let rows =
            (0..100_000).take_while(|_| batch.push_sibling(&["further"], 1, None, 1.0).is_ok());
        assert!((20..30).contains(&rows.count()));
    }
}
