//! What applications count, as the aggregate stream tells it.

use std::rc::Rc;

use yewdux::store::Store;

use crate::net::json::Json;

/// Buckets that the server tells of, and that the chart has room for.
pub const BUCKETS: usize = 10;

/// What was tracked under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemTotals {
    /// The name.
    pub name: String,
    /// Items.
    pub count: f64,
    /// Sum of their values.
    pub total: f64,
    /// When the newest came, Unix milliseconds.
    pub last_ms: f64,
}

/// What fell into one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Its beginning, Unix milliseconds.
    pub start_ms: f64,
    /// Items.
    pub count: f64,
    /// Sum of their values.
    pub sum: f64,
}

/// What applications count: every tracked item, and the buckets of the chosen one.
#[derive(Clone, Debug, Default, PartialEq, Store)]
pub struct Aggregate {
    /// By name, in its order; `None` before the first event.
    pub tallies: Option<Rc<[ItemTotals]>>,
    /// Of the asked name, newest first.
    pub buckets: Rc<[Bucket]>,
    /// The server's clock with them; 0 before they came.
    pub now_ms: f64,
    /// When the newest event came, by the page's clock.
    pub heard_ms: f64,
    /// What was asked for.
    asked: String,
}

impl Aggregate {
    /// Something is asked for; what is known of something else goes.
    pub fn ask(&mut self, query: &str) {
        if self.asked != query {
            query.clone_into(&mut self.asked);
            self.buckets = Rc::default();
            self.now_ms = 0.0;
        }
    }

    /// An event of the feed came; one that is not known changes nothing.
    pub fn hear(&mut self, event: &str, json: &Json) {
        let tallies = match event {
            "init" => json.get("metrics"),
            "update" => json.get("stats").get("metrics"),
            _ => return,
        };
        let tally = |(name, tally): &(String, Json)| ItemTotals {
            name: name.clone(),
            count: tally.get("count").number().unwrap_or(0.0),
            total: tally.get("total").figure(),
            last_ms: tally.get("lastUpdate").number().unwrap_or(0.0),
        };
        self.tallies = Some(tallies.entries().iter().map(tally).collect());
        if event == "update" {
            let bucket = |bucket: &Json| Bucket {
                start_ms: bucket.get("timestamp").figure(),
                count: bucket.get("count").number().unwrap_or(0.0),
                sum: bucket.get("sum").figure(),
            };
            let series = json.get("timeSeries").list().iter();
            self.buckets = series.map(bucket).collect();
            self.now_ms = json.get("timestamp").number().unwrap_or(0.0);
        }
    }

    /// Its buckets have come, so it is known which time they are of. Before, an axis would begin
    /// with 1 January 1970.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.now_ms > 0.0
    }

    /// Items in each of the newest [`BUCKETS`] stretches of `window_ms`, oldest first; what is
    /// older is left out, and what held nothing is 0.
    #[must_use]
    pub fn activity(&self, window_ms: f64) -> [f64; BUCKETS] {
        let newest = (self.now_ms / window_ms).floor();
        let mut counts = [0.0; BUCKETS];
        for bucket in &*self.buckets {
            let age = newest - (bucket.start_ms / window_ms).floor();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast saturates, and what is too large is left out"
            )]
            if let Some(count) = (age >= 0.0)
                .then(|| (BUCKETS - 1).checked_sub(age as usize))
                .flatten()
                .and_then(|index| counts.get_mut(index))
            {
                *count += bucket.count;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::protocol::dashboard;

    use super::*;

    #[test]
    fn takes_in_what_the_stream_tells() {
        let tally = dashboard::ItemTotals {
            count: 3,
            total: 4.5,
            last_update_ms: 7,
        };
        let init = dashboard::Init {
            metrics: [("page_view".to_owned(), tally)].into(),
            connected_clients: 1,
        };
        let mut aggregate = Aggregate::default();
        let json = |text: &str| Json::parse(text).expect("JSON");
        aggregate.hear("init", &json(&serde_json::to_string(&init).expect("JSON")));
        let tallies = aggregate.tallies.clone().expect("tallies");
        assert!(!aggregate.is_timed(), "cards are there before the bars");
        assert_eq!(
            (tallies[0].name.as_str(), tallies[0].count, tallies[0].total),
            ("page_view", 3.0, 4.5)
        );
        let update = dashboard::Update {
            stats: init,
            time_series: vec![
                dashboard::Bucket {
                    count: 2,
                    sum: 3.0,
                    start_ms: 600_000,
                },
                dashboard::Bucket {
                    count: 1,
                    sum: 1.5,
                    start_ms: 480_000,
                },
                dashboard::Bucket {
                    count: 9,
                    sum: 1.0,
                    start_ms: 0,
                },
            ],
            now_ms: 630_000,
        };
        aggregate.hear(
            "update",
            &json(&serde_json::to_string(&update).expect("JSON")),
        );
        aggregate.hear("nonsense", &Json::Null);
        assert!(aggregate.is_timed());
        let activity = aggregate.activity(60_000.0);
        assert_eq!(activity, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0]);
        aggregate.ask("?type=other");
        assert!(!aggregate.is_timed(), "nor are the bars of another type");
    }
}
