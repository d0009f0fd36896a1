//! Sums latencies up.

use std::collections::VecDeque;

use serde::Serialize;

/// Frames whose first arrival is remembered.
const FRAMES_REMEMBERED: usize = 256;

/// Quantiles of what was measured, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Half were at most this.
    pub p50_us: u64,
    /// 99 of 100 were at most this.
    pub p99_us: u64,
    /// All were at most this.
    pub max_us: u64,
}

impl Summary {
    /// Sorts and reads; zeros when there is nothing.
    #[must_use]
    pub fn of(mut latencies_us: Vec<u32>) -> Self {
        latencies_us.sort_unstable();
        let at = |share: usize| {
            let index =
                (latencies_us.len() * share / 100).min(latencies_us.len().saturating_sub(1));
            latencies_us.get(index).map_or(0, |us| u64::from(*us))
        };
        Self {
            p50_us: at(50),
            p99_us: at(99),
            max_us: at(100),
        }
    }
}

/// Takes arrivals in: each one's delay since its frame was sent, and since its frame first came
/// to anybody. The second needs no agreement on what "sent" means, so servers that stamp their
/// frames in different ways can be compared by it.
#[derive(Debug, Default)]
pub struct Arrivals {
    delays_us: Vec<u32>,
    spreads_us: Vec<u32>,
    /// Newest last.
    firsts: VecDeque<(u64, u64)>,
    frames: u64,
}

impl Arrivals {
    /// A frame that was sent at `sent_us`, which also names it, came at `now_us`.
    pub fn note(&mut self, sent_us: u64, now_us: u64) {
        let known = self.firsts.iter().rev().find(|(sent, _)| *sent == sent_us);
        let first_us = match known {
            Some((_, first_us)) => *first_us,
            None => {
                if self.firsts.len() == FRAMES_REMEMBERED {
                    self.firsts.pop_front();
                }
                self.firsts.push_back((sent_us, now_us));
                self.frames += 1;
                now_us
            }
        };
        self.delays_us.push(micros(now_us.saturating_sub(sent_us)));
        self.spreads_us
            .push(micros(now_us.saturating_sub(first_us)));
    }

    /// Arrivals so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.delays_us.len() as u64
    }

    /// Different frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Delays since sending, and since the first arrival of the same frame.
    #[must_use]
    pub fn sum_up(self) -> (Summary, Summary) {
        (Summary::of(self.delays_us), Summary::of(self.spreads_us))
    }
}

fn micros(us: u64) -> u32 {
    u32::try_from(us).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_noted() {
        let summary = Summary::of((1..=200).rev().collect());
        assert_eq!(
            summary,
            Summary {
                p50_us: 101,
                p99_us: 199,
                max_us: 200
            }
        );
        assert_eq!(Summary::of(Vec::new()), Summary::default());
    }

    #[test]
    fn a_frame_is_compared_with_its_own_first_arrival() {
        let mut arrivals = Arrivals::default();
        for (sent, now) in [(100, 150), (200, 210), (100, 170), (200, 260)] {
            arrivals.note(sent, now);
        }
        assert_eq!((arrivals.count(), arrivals.frames()), (4, 2));
        let (delay, spread) = arrivals.sum_up();
        assert_eq!((delay.max_us, spread.max_us), (70, 50));
    }
}
