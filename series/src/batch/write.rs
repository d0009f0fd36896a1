//! How parsers write rows: a name, labels, a value; and what undoes them.

use super::{
    Batch,
    names::{KnownNames, is_ascii, prefix},
    row::{Building, Row},
};
use crate::{
    key::{KeyRef, check_label_name, check_name, check_plain_name, hash_key, take_u8, take_u16},
    kind::Kind,
    limits::{DESCRIPTIONS_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, UNIT_BYTES_MAX},
    reason::Reason,
};

impl Batch {
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

    /// Adds a label to the row; one with an empty value is no label and is omitted.
    ///
    /// # Errors
    /// Name or value are not accepted, or there are too many labels.
    pub fn label(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        if value.is_empty() {
            self.note_empty(name);
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

    fn note_empty(&mut self, name: &str) {
        let Some(watched) = self.watched.iter().position(|known| **known == *name) else {
            return;
        };
        let row = self.rows.len();
        let said = self.empty.iter().rev().take_while(|(at, _)| *at == row);
        if said.clone().all(|(_, name)| *name != watched) {
            self.empty.push((row, watched));
        }
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

    /// As [`Batch::label_in_place`] for bytes of which nobody knows yet whether they are text: a
    /// label of a protobuf message. `false` where there is anything that [`Batch::label`] must look
    /// at; the row is then to be begun again.
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
        let place = self.building.count;
        self.known_names.has(place, name, prefix, &self.keys)
    }

    /// The next label's name, which will stand at `from`, is one.
    fn remember_name(&mut self, name: &[u8], from: usize) {
        self.known_names.remember(self.building.count, name, from);
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

    /// A further row of a series whose key is written already; what [`Batch::describe`] said before
    /// holds for it, too.
    ///
    /// # Errors
    /// The batch is full.
    pub fn push_key(&mut self, key: KeyRef<'_>, at_ms: i64, value: f64) -> Result<(), Reason> {
        self.abandon();
        self.check_room()?;
        let bytes = key.as_bytes();
        let newest = self.rows.last().copied();
        if let Some(newest) = newest.filter(|newest| self.key(newest) == key) {
            self.rows.push(Row {
                at_ms,
                value,
                described: self.building.described,
                ..newest
            });
            return Ok(());
        }
        let start = self.keys.len();
        self.keys.extend_from_slice(bytes);
        self.building.name_length = u16::try_from(key.name().len()).unwrap_or(u16::MAX);
        self.push_row(start, 0, Some(at_ms), value);
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
    pub(super) fn abandon(&mut self) {
        if self.building.start < self.keys.len() {
            self.keys.truncate(self.building.start);
            self.forget_names();
        }
        if !self.empty.is_empty() {
            let rows = self.rows.len();
            while self.empty.pop_if(|(row, _)| *row >= rows).is_some() {}
        }
    }

    /// Something was taken from the end of `keys`, or moved there, where names may stand that are
    /// remembered.
    #[cold]
    fn forget_names(&mut self) {
        self.known_names = KnownNames::NONE;
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
}
