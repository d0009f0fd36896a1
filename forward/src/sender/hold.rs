//! What a receiver took is held until it has run on for long enough: which run of it answers is
//! asked for regularly, and at once when it was not there.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::line::Line;

/// How often a receiver that answers is asked.
const PERIOD: Duration = Duration::from_secs(5);

/// Likewise one that does not.
const PERIOD_AWAY: Duration = Duration::from_millis(500);

/// What is held is sent again this often at most to a receiver that does not say which run of it
/// answers, however often it is away.
const AGAIN_PERIOD: Duration = Duration::from_secs(60);

/// Runs that are known: of a receiver behind one address there may be several.
const RUNS_MAX: usize = 64;

/// What is known of a receiver's runs. Pure.
#[derive(Debug)]
struct Known {
    /// The newest last.
    runs: VecDeque<u64>,
    again_at: Option<Instant>,
}

/// What is to be done about what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is sent again; the receiver runs as this.
    SendAgain(u64),
    /// The receiver still is who it was.
    IsWell(u64),
    /// That is not known.
    Wait,
}

impl Known {
    fn new(run: u64) -> Self {
        let runs = (run != 0).then_some(run);
        Self {
            runs: runs.into_iter().collect(),
            again_at: None,
        }
    }

    fn newest(&self) -> u64 {
        self.runs.back().copied().unwrap_or_default()
    }

    /// The receiver answers as `run`, or without saying so.
    fn hear(&mut self, run: Option<u64>, was_away: bool, now: Instant) -> Then {
        match run {
            Some(run) if self.runs.contains(&run) => Then::IsWell(run),
            Some(run) => {
                let is_first = self.runs.is_empty();
                if self.runs.len() == RUNS_MAX {
                    self.runs.pop_front();
                }
                self.runs.push_back(run);
                match is_first {
                    true => Then::IsWell(run),
                    false => Then::SendAgain(run),
                }
            }
            None if !was_away => Then::IsWell(self.newest()),
            None => {
                let again_at = self.again_at;
                if again_at.is_some_and(|at| now.duration_since(at) < AGAIN_PERIOD) {
                    return Then::Wait;
                }
                self.again_at = Some(now);
                Then::SendAgain(self.newest())
            }
        }
    }
}

/// Watches over what is held until it is stopped.
pub(super) async fn watch(line: Arc<Line>, name: String) {
    let Some((_, runs)) = line.manner.hold.clone() else {
        return;
    };
    let mut known = Known::new(line.queue.run());
    loop {
        let began = Instant::now();
        let number = line.doubt.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let told = match &runs {
            Some(runs) => runs.run().await,
            None => Ok(None),
        };
        let takes = line.trouble.lock().is_none();
        let told = match told {
            // Where nobody ever says it, it suffices that samples are taken.
            Err(_) if known.runs.is_empty() && takes => Ok(None),
            told => told,
        };
        let is_there = told.is_ok();
        match told {
            Ok(run) => {
                let was_away = line.doubt.was_away.swap(false, Ordering::Relaxed);
                let then = known.hear(run, was_away, began);
                if then == Then::Wait {
                    line.doubt.was_away.store(true, Ordering::Relaxed);
                }
                act(&line, &name, then, began).await;
            }
            Err(why) => {
                line.doubt.was_away.store(true, Ordering::Relaxed);
                tracing::debug!(
                    receiver = name,
                    "which run of it answers is not known: {why}"
                );
            }
        }
        line.doubt.ended.send_replace(number);
        let pause = if is_there { PERIOD } else { PERIOD_AWAY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = line.doubt.asks.notified() => {
                // Not more often, however often it breaks off.
                tokio::time::sleep(PERIOD_AWAY / 10).await;
            }
        }
    }
}

async fn act(line: &Arc<Line>, name: &str, then: Then, at: Instant) {
    let acting = Arc::clone(line);
    let held = line.queue.held();
    if let Then::SendAgain(_) = then
        && held > 0
    {
        tracing::info!(
            receiver = name,
            samples.held = held,
            "the receiver was started anew: what it took of late is sent again"
        );
    }
    let acted = tokio::task::spawn_blocking(move || match then {
        Then::SendAgain(run) => acting.queue.send_again(run),
        Then::IsWell(run) => acting.queue.is_well(at, run),
        Then::Wait => {}
    });
    if acted.await.is_err() {
        tracing::error!("writing down what is held panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_sent_again_to_another_run_alone() {
        let mut known = Known::new(0);
        let now = Instant::now();
        assert_eq!(known.hear(Some(7), true, now), Then::IsWell(7), "the first");
        assert_eq!(known.hear(Some(7), true, now), Then::IsWell(7), "a break");
        assert_eq!(known.hear(Some(8), false, now), Then::SendAgain(8));
        assert_eq!(
            known.hear(Some(7), false, now),
            Then::IsWell(7),
            "two of them"
        );
        let mut known = Known::new(7);
        assert_eq!(known.hear(Some(9), true, now), Then::SendAgain(9), "since");
        for run in 0..2_000 {
            known.hear(Some(run), false, now);
        }
        assert_eq!(known.runs.len(), RUNS_MAX);
    }

    #[test]
    fn who_does_not_say_it_gets_it_again_after_a_break_now_and_then() {
        let mut known = Known::new(0);
        let now = Instant::now();
        assert_eq!(known.hear(None, false, now), Then::IsWell(0));
        assert_eq!(known.hear(None, true, now), Then::SendAgain(0));
        assert_eq!(known.hear(None, true, now), Then::Wait);
        let later = now + AGAIN_PERIOD;
        assert_eq!(known.hear(None, true, later), Then::SendAgain(0));
    }
}
