//! What a parser says of a body besides its samples.

use pulseboard_ingest::{detect::BodyFormat, otlp::Points, remote_write::Written};
use pulseboard_series::Batch;

/// What a parser says of a body.
pub trait ParseReport: Send + 'static {
    /// Whether a body may be taken in pieces: nothing that is found wrong at its end undoes what
    /// stands before, and nothing is said of rows that have been taken.
    const IN_PIECES: bool;

    /// Whether its parser adds to its tenant's totals, which one body does at a time. The others of
    /// the tenant wait for that before they have a thread, and it does not wait for anything: where
    /// there is no turn to be huge it is to be sent again.
    const IS_LOCKED: bool = false;

    /// The engine refused these rows of the batch, which come in no order.
    fn reject_rows(&mut self, batch: &Batch, rows: &[u32]);
}

impl ParseReport for () {
    const IN_PIECES: bool = true;

    fn reject_rows(&mut self, _: &Batch, _: &[u32]) {}
}

impl ParseReport for BodyFormat {
    const IN_PIECES: bool = true;

    fn reject_rows(&mut self, _: &Batch, _: &[u32]) {}
}

impl ParseReport for Written {
    const IN_PIECES: bool = false;

    fn reject_rows(&mut self, _: &Batch, rows: &[u32]) {
        Self::reject_rows(self, rows);
    }
}

impl ParseReport for Points {
    const IN_PIECES: bool = false;
    const IS_LOCKED: bool = true;

    fn reject_rows(&mut self, batch: &Batch, rows: &[u32]) {
        Self::reject_rows(self, batch, rows);
    }
}

/// Of a document that adds to its tenant's totals or groups, and is not told about its samples one
/// by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adding<T>(pub T);

impl<T: Send + 'static> ParseReport for Adding<T> {
    const IN_PIECES: bool = false;
    const IS_LOCKED: bool = true;

    fn reject_rows(&mut self, _: &Batch, _: &[u32]) {}
}
