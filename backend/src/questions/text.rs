//! An answer as it is written: in pieces that are counted before they are taken.

use std::io;

use pulseboard_engine::{Cost, Spent, query::QueryError};
use serde::Serialize;

/// The first piece of a text; most answers are no longer.
const TEXT_BEGINS_BYTES: usize = 8 * 1024;

/// Each further piece. Larger: more is taken than is written. Smaller: more calls to send it.
const TEXT_PIECE_BYTES: usize = 64 * 1024;

/// Text that is counted as it grows, piece by piece: what is written is never moved, so that an
/// answer takes no more than its length at any time.
#[derive(Debug)]
pub struct Text<'a> {
    pieces: Vec<Vec<u8>>,
    cost: &'a Cost,
    /// Why it is not written any further.
    refused: Option<Spent>,
}

impl<'a> Text<'a> {
    /// Nothing yet; `cost` is asked for each piece.
    pub(super) fn of(cost: &'a Cost) -> Self {
        Self {
            pieces: Vec::new(),
            cost,
            refused: None,
        }
    }

    /// Adds a piece as it is.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn push(&mut self, piece: &str) -> Result<(), QueryError> {
        self.extend(piece.as_bytes())
    }

    /// Adds something as JSON.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn push_json(&mut self, message: &impl Serialize) -> Result<(), QueryError> {
        match serde_json::to_writer(&mut *self, message) {
            Ok(()) => Ok(()),
            Err(error) => match self.refused {
                Some(spent) => Err(spent.into()),
                None => {
                    tracing::error!(%error, "an answer could not be written as JSON");
                    self.push("null")
                }
            },
        }
    }

    /// What has been written.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Vec<u8>> {
        self.pieces
    }

    fn extend(&mut self, mut text: &[u8]) -> Result<(), QueryError> {
        loop {
            if let Some(piece) = self.pieces.last_mut() {
                let free = piece.capacity() - piece.len();
                let (fits, rest) = text.split_at(free.min(text.len()));
                piece.extend_from_slice(fits);
                text = rest;
            }
            if text.is_empty() {
                return Ok(());
            }
            let bytes = match self.pieces.is_empty() {
                true => TEXT_BEGINS_BYTES,
                false => TEXT_PIECE_BYTES,
            };
            self.cost.hold(bytes).inspect_err(|spent| {
                self.refused = Some(*spent);
            })?;
            self.pieces.push(Vec::with_capacity(bytes));
        }
    }
}

impl io::Write for Text<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.extend(piece).map_err(io::Error::other)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
