//! How much of a message was written.

use std::{collections::BTreeSet, ops::Range};

use pulseboard_series::Batch;

/// What was written, for the answer's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples; of a sender's view, so a histogram is none.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Always 0: exemplars are not kept.
    pub exemplars: u64,
    /// Whether a 1.0 message has anything for [`metadata`](super::metadata).
    pub has_metadata: bool,
    /// The rows of each histogram in the batch, in their order.
    histogram_rows: Vec<Range<u32>>,
}

impl Written {
    /// Names and values of the headers that 2.0 wants in every answer ("Required Written Response
    /// Headers").
    #[must_use]
    pub fn headers(&self) -> [(&'static str, u64); 3] {
        [
            ("X-Prometheus-Remote-Write-Samples-Written", self.samples),
            (
                "X-Prometheus-Remote-Write-Histograms-Written",
                self.histograms,
            ),
            (
                "X-Prometheus-Remote-Write-Exemplars-Written",
                self.exemplars,
            ),
        ]
    }
}

impl Written {
    /// These rows of the batch, in no order, were not taken after all; a histogram of which one is
    /// missing was not written.
    pub fn reject_rows(&mut self, rows: &[u32]) {
        let mut lost = BTreeSet::new();
        for row in rows {
            let at = self
                .histogram_rows
                .partition_point(|range| range.end <= *row);
            match self.histogram_rows.get(at) {
                Some(range) if range.contains(row) => drop(lost.insert(at)),
                _ => self.samples = self.samples.saturating_sub(1),
            }
        }
        self.histograms = self.histograms.saturating_sub(lost.len() as u64);
    }

    /// Rows from `first` on are those of one histogram.
    pub(super) fn count_histogram(&mut self, first: usize, batch: &Batch) {
        self.histograms += 1;
        let place = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        self.histogram_rows
            .push(place(first)..place(batch.rows().len()));
    }
}
