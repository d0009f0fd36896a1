//! When it is tried again.

/// Pauses between tries: by chance, up to twice as long each time ("full jitter"), so that those
/// who wait for the same receiver do not all come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest pause after the first try.
    pub first_ms: u64,
    /// The longest pause at all, unless the receiver asks for a longer one.
    pub longest_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first_ms: 2000,
            longest_ms: 300_000,
        }
    }
}

/// No two tries are closer.
const SHORTEST_MS: u64 = 100;

impl Backoff {
    /// The pause after so many tries in vain; no shorter than the receiver asked for.
    pub(super) fn pause_ms(self, tries: u32, asked_ms: Option<u64>) -> u64 {
        let doublings = tries.saturating_sub(1).min(20);
        let grown = self.first_ms.saturating_mul(1 << doublings);
        let most = grown.min(self.longest_ms);
        let pause = fastrand::u64(0..=most).max(SHORTEST_MS.min(self.longest_ms));
        match asked_ms {
            // Who was told the same pause by the same answer should not come back together either.
            Some(asked) => asked.saturating_add(fastrand::u64(0..=(asked / 10).min(1000))),
            None => pause,
        }
        .max(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_chance_and_no_further_than_the_longest() {
        let backoff = Backoff::default();
        for (tries, most) in [
            (1, 2000),
            (2, 4000),
            (5, 32_000),
            (9, 300_000),
            (u32::MAX, 300_000),
        ] {
            let pauses: Vec<u64> = (0..200).map(|_| backoff.pause_ms(tries, None)).collect();
            assert!(pauses.iter().all(|pause| (100..=most).contains(pause)));
            assert!(pauses.iter().any(|pause| *pause > most / 2), "{tries}");
            assert!(pauses.iter().any(|pause| *pause < most / 2), "{tries}");
        }
        assert!(backoff.pause_ms(1, Some(60_000)) >= 60_000);
    }
}
