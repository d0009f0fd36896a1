//! What is refused of a batch, by its parser and by the engine.

use std::collections::BinaryHeap;

use pulseboard_series::{Batch, Reason, batch::Refused, limits::REFUSED_KEPT_MAX};

/// What was refused so far.
pub(super) struct Refusals {
    /// Places in the batch of the rows that the engine refused, in no order.
    pub(super) rows: Vec<u32>,
    /// All of them, by [`Reason::CODES`].
    pub(super) by_code: [u64; Reason::CODES.len()],
    pub(super) lines: FirstLines,
}

impl Refusals {
    /// What the parser refused.
    pub(super) fn of(batch: &Batch) -> Self {
        Self {
            rows: Vec::new(),
            by_code: *batch.refused_by_code(),
            lines: FirstLines(batch.refused().iter().cloned().map(ByLine).collect()),
        }
    }

    /// A row that the engine refuses, by its place in the batch.
    pub(super) fn add(&mut self, index: u32, refused: Refused) {
        self.rows.push(index);
        self.by_code[refused.reason.index()] += 1;
        self.lines.add(refused);
    }
}

/// The first lines refused, the last of them on top: rows come shard by shard, and what is kept is
/// the first lines of the body.
pub(super) struct FirstLines(BinaryHeap<ByLine>);

impl FirstLines {
    fn add(&mut self, refused: Refused) {
        if self.0.len() == REFUSED_KEPT_MAX {
            if (self.0.peek()).is_none_or(|last| last.0.line <= refused.line) {
                return;
            }
            self.0.pop();
        }
        self.0.push(ByLine(refused));
    }

    /// By line.
    pub(super) fn into_sorted(self) -> Vec<Refused> {
        let sorted = self.0.into_sorted_vec();
        sorted.into_iter().map(|by_line| by_line.0).collect()
    }
}

/// Orders refusals by their lines.
struct ByLine(Refused);

impl PartialEq for ByLine {
    fn eq(&self, other: &Self) -> bool {
        self.0.line == other.0.line
    }
}

impl Eq for ByLine {}

impl PartialOrd for ByLine {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByLine {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.line.cmp(&other.0.line)
    }
}
