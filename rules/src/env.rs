//! What an evaluation is done with.

use std::{collections::BTreeMap, fmt};

use pulseboard_promql::{Guard, Options, Storage};

/// What an evaluation is done with.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// Where samples are.
    pub storage: &'a dyn Storage,
    /// Who says whether it may go on: time and memory of one rule.
    pub guard: &'a dyn Guard,
    /// Look-back, and how many samples one rule may read.
    pub options: Options,
    /// `$externalLabels`.
    pub external_labels: &'a BTreeMap<String, String>,
    /// `$externalURL`.
    pub external_url: &'a str,
    /// An alert that goes on is said again after so long.
    pub resend_delay_ms: i64,
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("options", &self.options)
            .field("external_url", &self.external_url)
            .finish_non_exhaustive()
    }
}
