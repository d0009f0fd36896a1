//! Items that were counted, on their way into the totals of all servers.

use std::collections::HashMap;

/// What came of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) last_ms: i64,
}

impl Sum {
    fn add(&mut self, value: f64, at_ms: i64) {
        self.count += 1;
        self.sum += value;
        self.last_ms = self.last_ms.max(at_ms);
    }
}

/// Items of one tenant, counted together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// By name.
    pub(crate) items: HashMap<String, Sum>,
    /// By length of the bucket and its start, both in seconds.
    pub(crate) buckets: HashMap<(u32, i64), Sum>,
}

impl Batch {
    pub(crate) fn add(&mut self, name: &str, value: f64, at_ms: i64, lengths: &[u32]) {
        match self.items.get_mut(name) {
            Some(sum) => sum.add(value, at_ms),
            None => {
                let mut sum = Sum::default();
                sum.add(value, at_ms);
                self.items.insert(name.to_owned(), sum);
            }
        }
        let at = at_ms.div_euclid(1_000).max(0);
        for length in lengths.iter().copied().filter(|length| *length > 0) {
            let start = at - at.rem_euclid(i64::from(length));
            let bucket = self.buckets.entry((length, start)).or_default();
            bucket.add(value, at_ms);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let names: usize = self.items.keys().map(|name| name.len() + 64).sum();
        names + self.buckets.len() * 64
    }
}
