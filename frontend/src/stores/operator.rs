//! The operator's figures and log.

use std::{collections::VecDeque, rc::Rc};

use pulseboard_shared::protocol::operator::Figures;
use yewdux::store::Store;

use crate::net::{json::Json, wire};

/// Lines kept: the oldest are forgotten.
pub const LINES_MAX: usize = 200;

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Grows by one with each line.
    pub number: u64,
    /// When it came, Unix milliseconds.
    pub at_ms: f64,
    /// Text, never markup.
    pub text: Rc<str>,
}

/// The operator's figures, and the log of what was answered and raised.
#[derive(Clone, Debug, Default, Store)]
pub struct OperatorStore {
    figures: Option<Figures>,
    threshold: Option<f64>,
    /// Newest first.
    lines: Rc<VecDeque<LogLine>>,
    logged: u64,
    revision: u64,
}

impl PartialEq for OperatorStore {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl OperatorStore {
    /// An event of the operator's feed came `at_ms`.
    pub fn hear(&mut self, event: &str, data: &Json, at_ms: f64) {
        match event {
            "metrics" => {
                if let Some(figures) = wire::figures(data) {
                    self.threshold = Some(figures.alert_threshold);
                    self.figures = Some(figures);
                    self.revision += 1;
                }
            }
            "alert" => self.log(data.text().unwrap_or_default(), at_ms),
            _ => {}
        }
    }

    /// The threshold, from the answer of `GET /api/metrics`.
    pub fn learn(&mut self, figures: &Json) {
        let threshold = figures.get("alert_threshold").number();
        if threshold.is_some() && threshold != self.threshold {
            self.threshold = threshold;
            self.revision += 1;
        }
    }

    /// The control channel answered.
    pub fn reply(&mut self, text: &str, at_ms: f64) {
        let reply = Json::parse(text).unwrap_or_default();
        // Else as it came: somebody has to see it.
        self.log(reply.get("message").text().unwrap_or(text), at_ms);
    }

    /// Adds a line.
    pub fn log(&mut self, text: &str, at_ms: f64) {
        self.logged += 1;
        let lines = Rc::make_mut(&mut self.lines);
        lines.push_front(LogLine {
            number: self.logged,
            at_ms,
            text: text.into(),
        });
        lines.truncate(LINES_MAX);
        self.revision += 1;
    }

    /// The newest figures; `None` before the first.
    #[must_use]
    pub const fn figures(&self) -> Option<&Figures> {
        self.figures.as_ref()
    }

    /// The threshold, however it was heard of.
    #[must_use]
    pub const fn select_threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// The log, newest line first.
    #[must_use]
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &LogLine> {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use yewdux::{Context, Dispatch};

    use super::*;

    #[test]
    fn takes_in_the_stream_and_the_replies() {
        let dispatch = Dispatch::<OperatorStore>::new(&Context::new());
        dispatch.reduce_mut(|store| {
            let json = |text| Json::parse(text).expect("JSON");
            store.hear("config", &json(r#"{"interval_ms":1000}"#), 0.0);
            let figures = json(
                r#"{"cpu_percent":87.3,"memory_percent":41.0,"requests_total":7,"errors_total":1,
                    "active_connections":1,"alert_threshold":80.0}"#,
            );
            store.hear("metrics", &figures, 0.0);
            store.hear("metrics", &Json::Null, 0.0);
            store.hear("alert", &json(r#""CPU usage at 87.3%""#), 1.0);
            store.reply(r#"{"message":"Unknown command: <b>x</b>"}"#, 2.0);
        });
        let store = dispatch.get();
        assert_eq!(store.select_threshold(), Some(80.0));
        let asked = Json::parse(r#"{"alert_threshold":5.0}"#).expect("JSON");
        dispatch.reduce_mut(|store| store.learn(&asked));
        assert_eq!(dispatch.get().select_threshold(), Some(5.0));
        assert_eq!(
            store.figures().map(|figures| figures.requests_total),
            Some(7)
        );
        let lines: Vec<&str> = store.lines().map(|line| &*line.text).collect();
        assert_eq!(lines, ["Unknown command: <b>x</b>", "CPU usage at 87.3%"]);
    }

    #[test]
    fn the_log_is_bounded() {
        let mut store = OperatorStore::default();
        for _ in 0..LINES_MAX + 50 {
            store.log("CPU usage at 99.0%", 0.0);
        }
        assert_eq!(store.lines().len(), LINES_MAX);
        assert_eq!(store.lines().next().map(|line| line.number), Some(250));
    }
}
