//! What a chart of any series draws: for each of its lines the mean, least and greatest figure
//! of steps of time. History comes as steps; live samples are gathered into steps as long.

use crate::net::series::{Line, Sample, Step};

/// Lines drawn at most; more cannot be told apart.
pub const LINES_MAX: usize = 8;

/// Steps held for each line at most; the oldest go first. More than any range asks for.
const STEPS_MAX: usize = 4_000;

/// Samples looked at to tell how often a line has one.
const LOOK_AT: usize = 31;

/// A sample that comes later than so many intervals leaves a gap.
const GAP_INTERVALS: f64 = 3.0;

impl Step {
    /// One more sample. Where it is not known how many there were, the mean stays until the history
    /// is asked for again.
    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.odd += 1;
        } else if !self.mean.is_finite() {
            let odd = self.odd;
            *self = Self::of(self.t_ms, value);
            self.odd = odd;
        } else {
            self.least = self.least.min(value);
            self.greatest = self.greatest.max(value);
            if self.count > 0.0 {
                self.count += 1.0;
                self.mean += (value - self.mean) / self.count;
            }
        }
    }
}

impl Line {
    /// Takes in a live sample; one that is older than the newest step finds its step or is left
    /// to the next history.
    fn add(&mut self, sample: Sample, step_ms: f64) {
        if let Some(last) = self.last.filter(|last| last.t_ms < sample.t_ms) {
            let interval = sample.t_ms - last.t_ms;
            let pace = self.pace_ms.unwrap_or(interval);
            self.pace_ms = Some(pace + (interval - pace) * 0.3);
        }
        if self.last.is_none_or(|last| last.t_ms <= sample.t_ms) {
            self.last = Some(sample);
        }
        let begins = (sample.t_ms / step_ms).floor() * step_ms;
        match self.steps.iter().rposition(|step| step.t_ms <= begins) {
            Some(index) if self.steps[index].t_ms == begins => self.steps[index].add(sample.value),
            place => {
                let place = place.map_or(0, |index| index + 1);
                if place == self.steps.len() {
                    self.steps.push(Step::of(begins, sample.value));
                    let excess = self.steps.len().saturating_sub(STEPS_MAX);
                    self.steps.drain(..excess);
                }
            }
        }
    }

    /// Between two steps that hold something, as a rule: the middle one of the newest intervals,
    /// since nobody says how often a series is to be sent. `None` before the second step.
    #[must_use]
    pub fn interval_ms(&self) -> Option<f64> {
        let mut intervals: Vec<f64> = Vec::new();
        let newest = &self.steps[self.steps.len().saturating_sub(LOOK_AT)..];
        for pair in newest.windows(2) {
            let interval = pair[1].t_ms - pair[0].t_ms;
            let place = intervals.partition_point(|other| *other <= interval);
            intervals.insert(place, interval);
        }
        intervals.get(intervals.len() / 2).copied()
    }

    /// Later than so long after the step before, something is missing.
    #[must_use]
    pub fn gap_ms(&self, step_ms: f64) -> f64 {
        GAP_INTERVALS * self.interval_ms().unwrap_or(0.0).max(step_ms)
    }
}

/// What a chart of series draws: its lines in steps of time, and how the rest did together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// Length of a step; 0 before the first history.
    pub step_ms: f64,
    /// As they came with the history: the greatest first.
    pub lines: Vec<Line>,
    /// From the least to the greatest of the series that are not lines of their own.
    pub others: Option<Line>,
    /// How many those are.
    pub others_count: u64,
}

impl Track {
    /// The unit that all lines have in common, if they have one.
    #[must_use]
    pub fn unit(&self) -> &str {
        let mut units = self.lines.iter().map(|line| line.unit.as_str());
        let first = units.next().unwrap_or_default();
        if units.all(|unit| unit == first) {
            first
        } else {
            ""
        }
    }

    /// Takes in live samples of the line `key`; `back_ms` is how far back is still looked at.
    pub fn add(&mut self, key: &str, unit: &str, samples: &[Sample], back_ms: f64) {
        let step_ms = self.step_ms.max(1.0);
        let index = self.lines.iter().position(|line| line.key == key);
        // A line that is not among those that matter is told with the next history.
        if index.is_none() && self.lines.len() >= LINES_MAX {
            return;
        }
        let index = index.unwrap_or_else(|| {
            self.lines.push(Line {
                key: key.to_owned(),
                ..Line::default()
            });
            self.lines.len() - 1
        });
        let line = &mut self.lines[index];
        if !unit.is_empty() {
            unit.clone_into(&mut line.unit);
        }
        for sample in samples {
            line.add(*sample, step_ms);
        }
        if let Some(last) = line.last {
            let from = last.t_ms - back_ms;
            let old = line.steps.iter().take_while(|step| step.t_ms < from);
            let old = old.count();
            line.steps.drain(..old);
        }
    }

    /// The newest figure of all lines that came live.
    #[must_use]
    pub fn last(&self) -> Option<Sample> {
        let samples = self.lines.iter().filter_map(|line| line.last);
        samples.reduce(|one, other| if other.t_ms > one.t_ms { other } else { one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::json::Json;

    fn sample(t_ms: f64, value: f64) -> Sample {
        Sample { t_ms, value }
    }

    fn means(line: &Line) -> Vec<(f64, f64)> {
        line.steps
            .iter()
            .map(|step| (step.t_ms, step.mean))
            .collect()
    }

    #[test]
    fn gathers_samples_into_steps() {
        let mut track = Track {
            step_ms: 1_000.0,
            ..Track::default()
        };
        let samples = [
            sample(100.0, 2.0),
            sample(900.0, 4.0),
            sample(1_000.0, f64::NAN),
            sample(2_500.0, 7.0),
            sample(1_200.0, 9.0),
        ];
        track.add("a", "ms", &samples, 60_000.0);
        let line = &track.lines[0];
        assert_eq!(means(line), [(0.0, 3.0), (1_000.0, 9.0), (2_000.0, 7.0)]);
        assert_eq!((line.steps[0].least, line.steps[0].greatest), (2.0, 4.0));
        assert_eq!(line.unit, "ms");
        assert_eq!(track.last(), Some(sample(2_500.0, 7.0)));
        track.add("a", "", &[sample(63_000.0, 1.0)], 60_000.0);
        assert_eq!(
            means(&track.lines[0]),
            [(63_000.0, 1.0)],
            "what is too old goes"
        );
    }

    #[test]
    fn the_mean_of_a_step_that_came_as_one_stays() {
        let json = Json::parse(r#"{"key":"a","points":[[0,5,1,9],[1000,null,null,null]]}"#);
        let mut track = Track {
            step_ms: 1_000.0,
            lines: vec![Line::read(&json.expect("JSON"))],
            ..Track::default()
        };
        assert_eq!(track.last(), None, "a step is no sample");
        track.add(
            "a",
            "",
            &[sample(10.0, 20.0), sample(1_001.0, 3.0)],
            60_000.0,
        );
        let steps = &track.lines[0].steps;
        assert_eq!(track.lines[0].last, Some(sample(1_001.0, 3.0)));
        assert_eq!((steps[0].mean, steps[0].greatest), (5.0, 20.0));
        assert_eq!(steps[1].mean, 3.0);
    }

    #[test]
    fn what_is_missing_shows_by_the_usual_interval() {
        let mut track = Track {
            step_ms: 1_000.0,
            ..Track::default()
        };
        for minute in 0..9 {
            track.add("a", "", &[sample(f64::from(minute) * 60_000.0, 1.0)], 1e9);
        }
        assert_eq!(track.lines[0].gap_ms(1_000.0), 180_000.0);
        assert_eq!(Line::default().gap_ms(1_000.0), 3_000.0);
    }
}
