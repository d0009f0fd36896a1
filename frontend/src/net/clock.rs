//! What time it is at the server.
//!
//! Each frame says when it was sent. The page cannot know how long it travelled, but the frame
//! that travelled least bounds the difference between the clocks best, so the largest
//! `sent − arrived` of the last minute is the estimate. Figures that were held up on the way
//! (a proxy that buffers, a frozen tab) are thereby seen to be old.

/// Estimates older than this make way for newer ones, so that a server's clock that was set
/// back is believed after at most twice this time.
const GENERATION_MS: f64 = 30_000.0;

/// The difference between the server's clock and ours. `at` is always our own clock.
#[derive(Clone, Debug, Default)]
pub struct ServerClock {
    /// Best estimate of the generation that is being gathered, and when it began.
    current: Option<(f64, f64)>,
    /// Best estimate of the generation before.
    previous: Option<f64>,
}

impl ServerClock {
    /// A frame that was sent at `server_ms` arrived `at`.
    pub fn observe(&mut self, at: f64, server_ms: f64) {
        let offset = server_ms - at;
        match &mut self.current {
            Some((best, since)) if at - *since < GENERATION_MS => *best = best.max(offset),
            Some((best, _)) => {
                self.previous = Some(*best);
                self.current = Some((offset, at));
            }
            None => self.current = Some((offset, at)),
        }
    }

    /// A ping that left at `sent_at` was answered at `server_ms` and the answer arrived `at`:
    /// half of the way there and back is a better estimate than none at all.
    pub fn observe_round_trip(&mut self, sent_at: f64, at: f64, server_ms: f64) {
        let way = ((at - sent_at) / 2.0).max(0.0);
        self.observe(at, server_ms + way.min(1000.0));
    }

    /// Forgets everything: another server may have another clock.
    pub const fn clear(&mut self) {
        self.current = None;
        self.previous = None;
    }

    /// Milliseconds to add to our clock; 0 while nothing is known.
    #[must_use]
    pub fn offset_ms(&self) -> f64 {
        match (self.current, self.previous) {
            (Some((current, _)), Some(previous)) => current.max(previous),
            (Some((current, _)), None) => current,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_frame_counts() {
        let mut clock = ServerClock::default();
        assert_eq!(clock.offset_ms(), 0.0);
        clock.observe(1_000.0, 5_900.0);
        clock.observe(2_000.0, 6_990.0);
        clock.observe(3_000.0, 7_000.0); // held up for a second
        assert_eq!(clock.offset_ms(), 4_990.0);
    }

    #[test]
    fn a_clock_set_back_is_believed_in_time() {
        let mut clock = ServerClock::default();
        for second in 0..120 {
            let at = f64::from(second) * 1000.0;
            let offset = if second < 10 { 8_000.0 } else { 3_000.0 };
            clock.observe(at, at + offset);
        }
        assert_eq!(clock.offset_ms(), 3_000.0);
    }

    #[test]
    fn a_round_trip_is_halved() {
        let mut clock = ServerClock::default();
        clock.observe_round_trip(0.0, 100.0, 1_050.0);
        assert_eq!(clock.offset_ms(), 1_000.0);
    }
}
