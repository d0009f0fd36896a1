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

mod names;
mod row;
mod write;

use std::fmt;

pub use self::row::Row;
use self::{names::KnownNames, row::Building};
use crate::{
    key::KeyRef,
    kind::Kind,
    limits::{
        BATCH_BYTES_MAX, FREE_BYTES, PIECE_BYTES, REFUSED_KEPT_MAX, REFUSED_READ_MAX,
        TRIAL_BYTES_MAX, TRIAL_REFUSED_MAX,
    },
    reason::Reason,
};

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
    /// Their sum.
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
    /// It is a trial: see [`Batch::begin_trial`].
    is_trial: bool,
    /// More than a trial may have came.
    is_given_up: bool,
    /// See [`Batch::is_hopeless`], which is asked for with every line.
    is_hopeless: bool,
    known_names: KnownNames,
    scratch: Vec<u8>,
    /// See [`Batch::watch_empty`].
    watched: Vec<Box<str>>,
    /// Which row says which of these, in order of rows; each once, so no more than rows and names.
    empty: Vec<(usize, usize)>,
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
            is_trial: false,
            is_given_up: false,
            is_hopeless: false,
            known_names: KnownNames::NONE,
            scratch: Vec::new(),
            watched: Vec::new(),
            empty: Vec::new(),
        }
    }

    /// From now on it is noted which rows say one of these labels with an empty value. That is no
    /// label of the series, and yet it may mean something.
    pub fn watch_empty<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.empty.clear();
        self.watched.clear();
        self.watched.extend(names.into_iter().map(Box::from));
    }

    /// Which of the watched labels a row, by its place in [`Batch::rows`], says with an empty
    /// value.
    pub fn empty_labels(&self, row: usize) -> impl Iterator<Item = &str> {
        let from = self.empty.partition_point(|(at, _)| *at < row);
        let all = self.empty.iter().skip(from);
        all.take_while(move |(at, _)| *at == row)
            .filter_map(|(_, name)| self.watched.get(*name).map(|name| &**name))
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

    /// Drops the outlet; what it did not take is still there. Ends a trial.
    pub fn close(&mut self) {
        self.outlet = None;
        self.is_trial = false;
        self.piece_bytes = usize::MAX;
        self.reset_room();
    }

    /// From now on until [`Batch::close`], rows and keys of [`TRIAL_BYTES_MAX`] and
    /// [`TRIAL_REFUSED_MAX`] refusals are all that is looked at, which takes a millisecond or two.
    /// Where there is more, the batch gives the body up: it means nothing then, is to be cleared,
    /// and the body to be read again where that may take longer. No piece of it is handed on
    /// before.
    pub fn begin_trial(&mut self) {
        self.is_trial = true;
        self.reset_room();
    }

    /// Whether more came than a trial may have.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.is_given_up
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
        self.is_hopeless |= !is_held;
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
        self.is_given_up = false;
        self.is_hopeless = false;
    }

    fn forget_rows(&mut self) {
        self.keys.clear();
        self.rows.clear();
        self.descriptions.truncate(1);
        self.refused.clear();
        self.refused_by_code = [0; Reason::CODES.len()];
        self.refused_total = 0;
        self.building = Building::default();
        self.known_names = KnownNames::NONE;
        self.empty.clear();
    }

    /// Nothing is reserved any more.
    fn reset_room(&mut self) {
        let left = self.bytes_max.saturating_sub(self.handed_on_bytes);
        if self.is_trial {
            self.room = left.min(TRIAL_BYTES_MAX);
            return;
        }
        self.room = match self.outlet {
            Some(_) => left.min(FREE_BYTES),
            None => left.min(BATCH_BYTES_MAX),
        };
    }

    /// Bytes of rows and keys.
    fn bytes(&self) -> usize {
        self.keys.len() + self.rows.len() * size_of::<Row>()
    }

    /// Whether a further row may be there; see [`BATCH_BYTES_MAX`], which is far below what the 32
    /// bits of a key's place can say.
    #[inline]
    pub(super) fn check_room(&mut self) -> Result<(), Reason> {
        if self.bytes() < self.room {
            return Ok(());
        }
        self.make_room()
    }

    #[cold]
    fn make_room(&mut self) -> Result<(), Reason> {
        if self.is_trial && self.room == TRIAL_BYTES_MAX {
            self.is_given_up = true;
            self.is_hopeless = true;
            return Err(Reason::Busy);
        }
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

    /// Notes that a line was not taken.
    pub fn refuse(&mut self, line: u32, reason: Reason) {
        self.abandon();
        self.refused_by_code[reason.index()] += 1;
        self.refused_total += 1;
        self.is_given_up |= self.is_trial && self.refused_total > TRIAL_REFUSED_MAX;
        self.note_refused();
        if self.refused.len() < REFUSED_KEPT_MAX {
            self.refused.push(Refused { line, reason });
        }
    }

    /// Notes what another batch refused as refused here, too: this one is made of that one.
    pub fn refuse_those_of(&mut self, other: &Self) {
        for (own, more) in self.refused_by_code.iter_mut().zip(other.refused_by_code) {
            *own += more;
        }
        self.refused_total += other.refused_total;
        let room = REFUSED_KEPT_MAX.saturating_sub(self.refused.len());
        let first = other.refused.iter().take(room);
        self.refused.extend(first.cloned());
    }

    /// Whether so much was refused that the rest of the body is not worth looking at.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.is_hopeless
    }

    /// Notes that so many lines were not taken, or even looked at, since what came before is
    /// hopeless.
    pub fn refuse_unread(&mut self, lines: u64) {
        self.abandon();
        let index = Reason::Malformed(String::new()).index();
        self.refused_by_code[index] += lines;
        self.refused_total += lines;
        self.note_refused();
    }

    fn note_refused(&mut self) {
        let refused = self.handed_on_refused + self.refused_total;
        self.is_hopeless |= self.is_given_up || refused >= REFUSED_READ_MAX;
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
mod tests;
