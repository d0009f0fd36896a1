//! Made-up figures, uniformly random: for demonstrations, and for tests that need something to
//! move. They look restless on purpose; nobody takes them for a machine's.

use crate::source::{Extra, Reading, Source, Traffic, round};

/// Requests made up a second, from and to, both included.
const REQUESTS_PER_SEC: (f64, f64) = (10.0, 100.0);

/// Errors made up a second, from and to, both included.
const ERRORS_PER_SEC: (f64, f64) = (0.0, 3.0);

/// The source of made-up figures.
#[derive(Debug)]
pub struct Simulator {
    random: fastrand::Rng,
    requests: Total,
    errors: Total,
}

/// A total that grows by fractions and is counted in whole numbers.
#[derive(Debug, Default)]
struct Total {
    /// What was made up and not yet counted, below 1: with a tick of some milliseconds most
    /// ticks count nothing, and all of them together count right.
    owed: f64,
}

impl Total {
    /// Makes up `amount` more and returns how many whole ones are to be counted now.
    fn add(&mut self, amount: f64) -> u64 {
        self.owed += amount;
        let whole = self.owed.floor();
        self.owed -= whole;
        whole as u64
    }
}

impl Simulator {
    /// Different figures at every start.
    #[must_use]
    pub fn new() -> Self {
        Self::with_random(fastrand::Rng::new())
    }

    /// The same figures for the same seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::with_random(fastrand::Rng::with_seed(seed))
    }

    fn with_random(random: fastrand::Rng) -> Self {
        Self {
            random,
            requests: Total::default(),
            errors: Total::default(),
        }
    }

    /// Uniform from `least` to `most` in steps of 0.1.
    fn uniform(&mut self, least: f64, most: f64) -> f64 {
        round(least + self.random.f64() * (most - least), 10.0)
    }

    /// A whole number from `least` to `most`, each equally often.
    fn whole(&mut self, (least, most): (f64, f64)) -> f64 {
        f64::from(self.random.u32(least as u32..=most as u32))
    }
}

impl Default for Simulator {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for Simulator {
    /// Only `traffic.elapsed` counts: what the server really answered is not mixed in.
    fn read(&mut self, traffic: Traffic) -> Reading {
        let seconds = traffic.elapsed.as_secs_f64();
        let requests = self.whole(REQUESTS_PER_SEC) * seconds;
        let errors = self.whole(ERRORS_PER_SEC) * seconds;
        let (requests, errors) = (self.requests.add(requests), self.errors.add(errors));
        let made_up = Traffic {
            requests,
            errors,
            ..traffic
        };
        Reading {
            cpu: self.uniform(0.0, 100.0),
            memory: self.uniform(40.0, 80.0),
            requests: self.whole((0.0, 499.0)),
            latency: self.uniform(10.0, 100.0),
            extras: vec![Extra::errors_per_sec(made_up.errors_per_sec())],
            totals: Some((requests, errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(elapsed: Duration) -> Traffic {
        Traffic {
            elapsed,
            ..Traffic::default()
        }
    }

    #[test]
    fn figures_fill_their_ranges_and_stay_inside() {
        let mut simulator = Simulator::with_seed(1);
        let readings: Vec<Reading> = (0..20_000)
            .map(|_| simulator.read(after(Duration::from_secs(1))))
            .collect();
        for (figure, least, most) in [
            (
                &(|r: &Reading| r.cpu) as &dyn Fn(&Reading) -> f64,
                0.0,
                100.0,
            ),
            (&|r| r.memory, 40.0, 80.0),
            (&|r| r.requests, 0.0, 499.0),
            (&|r| r.latency, 10.0, 100.0),
            (&|r| r.extras[0].value, 0.0, 3.0),
        ] {
            let values = || readings.iter().map(figure);
            let (low, high) = (
                values().fold(f64::INFINITY, f64::min),
                values().fold(f64::NEG_INFINITY, f64::max),
            );
            let slack = (most - least) / 100.0;
            assert!((least..=least + slack).contains(&low), "{low}");
            assert!((most - slack..=most).contains(&high), "{high}");
        }
        assert!(
            readings
                .iter()
                .all(|reading| reading.requests.fract() == 0.0)
        );
        for reading in &readings {
            let (requests, errors) = reading.totals.expect("it makes totals up");
            assert!((10..=100).contains(&requests) && errors <= 3);
            assert_eq!(reading.extras[0].value, errors as f64);
        }
    }

    #[test]
    fn totals_grow_alike_at_every_interval() {
        for millis in [1, 7, 250, 1000, 60_000] {
            let mut simulator = Simulator::with_seed(2);
            let ticks = 3_600_000 / millis;
            let (mut requests, mut errors) = (0, 0);
            for _ in 0..ticks {
                let reading = simulator.read(after(Duration::from_millis(millis)));
                let (more_requests, more_errors) = reading.totals.expect("it makes totals up");
                requests += more_requests;
                errors += more_errors;
            }
            // An hour at 55 and 1.5 a second.
            assert!(
                (150_000..250_000).contains(&requests),
                "{millis} ms: {requests}"
            );
            assert!((3_500..7_500).contains(&errors), "{millis} ms: {errors}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        let read = |seed| Simulator::with_seed(seed).read(after(Duration::from_secs(1)));
        assert_eq!(read(3), read(3));
        assert_ne!(read(3), read(4));
    }
}
