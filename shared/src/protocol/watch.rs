//! Live queries on `GET /ws`: a room per selector, history first, then live.
//!
//! ```text
//! → {"action":"watch","match":"http_requests{job=\"api\"}","max_points":300}
//! ← {"type":"watched","match":…,"epoch":…,"offset":7,"step_ms":1000,"series":[…points…]}
//! ← {"type":"samples","match":…,"epoch":…,"offset":8,"series":[{"key":…,"points":[[ms,value]]}]}
//! → {"action":"watch","match":…,"epoch":…,"offset":8}       after a lost connection
//! ← {"type":"rewatched","match":…,"epoch":…,"offset":8}     and the frames after it
//! → {"action":"unwatch","match":…}          ← {"type":"unwatched","match":…}
//! → {"action":"catalog"}                    ← {"type":"catalog","total":12}
//! ← {"type":"appeared","total":13,"series":[SeriesInfo…]}   when new series come
//! ← {"type":"vanished","total":12,"keys":[…]}               when series go
//! ```
//!
//! With `"query":EXPR,"step_ms"?` in place of `match` an expression of PromQL is evaluated once a
//! step; the answers are the same and name `query`, and `{"type":"failed","query":…,"text":…}` says
//! why there is no value at a step ([`ExpressionMessage`]).
//!
//! `match` comes back as the client wrote it. Where frames were skipped, a
//! `{"type":"merged",…}` says so, and the client asks again for the stretch.

use serde::{Deserialize, Serialize};

use crate::{
    Labels,
    protocol::series::{RangeSeries, SeriesInfo},
};

/// What is watched, as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// A selector (`match`): every sample of its series.
    Selector(String),
    /// A PromQL expression (`query`): its value at each step.
    Expression(String),
}

impl Watched {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Selector(text) | Self::Expression(text) => text,
        }
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchRequest {
    /// The selector or the expression.
    pub watched: Watched,
    /// Milliseconds between two evaluations of an expression.
    pub step_ms: Option<u64>,
    /// Steps of history at most, for each series.
    pub max_points: Option<u64>,
    /// How far back the history goes, in milliseconds.
    pub back_ms: Option<u64>,
    /// The last frame seen, to resume behind it.
    pub after: Option<(String, u64)>,
}

/// New samples of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleRun {
    /// Which one.
    pub key: String,
    /// Its name, when it is the first time that this feed speaks of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its labels, likewise.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its unit, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// `[time_ms, value]` in the order they came; what is no finite number in words
    /// ([`crate::figure`]), `null` where the series has ended.
    #[serde(with = "crate::figure::samples")]
    pub points: Vec<(i64, Option<f64>)>,
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum WatchMessage {
    /// The history, and where live goes on.
    Watched {
        /// The selector.
        #[serde(rename = "match")]
        selector: String,
        /// Names this run of the feed.
        epoch: String,
        /// The newest frame that the history holds.
        offset: u64,
        /// Length of one step of the history.
        step_ms: i64,
        /// What there is, sorted by key.
        series: Vec<RangeSeries>,
    },
    /// The frames after the one that the client named follow.
    Rewatched {
        /// The selector.
        #[serde(rename = "match")]
        selector: String,
        /// Names this run of the feed.
        epoch: String,
        /// The frame that the client named.
        offset: u64,
    },
    /// New samples.
    Samples {
        /// The selector.
        #[serde(rename = "match")]
        selector: String,
        /// Names this run of the feed.
        epoch: String,
        /// This frame's place.
        offset: u64,
        /// Whose.
        series: Vec<SampleRun>,
    },
    /// The client watches this no more.
    Unwatched {
        /// The selector.
        #[serde(rename = "match")]
        selector: String,
    },
    /// The client is told of series that come and go from now on.
    Catalog {
        /// How many there are.
        total: u64,
    },
    /// New series.
    Appeared {
        /// How many there are now.
        total: u64,
        /// The new ones; at most a hundred in one message, the rest is in the list.
        series: Vec<SeriesInfo>,
    },
    /// Series that have gone.
    Vanished {
        /// How many there are now.
        total: u64,
        /// Their keys; at most a hundred in one message.
        keys: Vec<String>,
    },
}

/// What the server sends of an expression that is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ExpressionMessage {
    /// The history, and where live goes on.
    Watched {
        /// The expression.
        query: String,
        /// Names this run of the feed.
        epoch: String,
        /// The newest frame that the history holds.
        offset: u64,
        /// Length of one step of the history.
        step_ms: i64,
        /// What there is.
        series: Vec<RangeSeries>,
    },
    /// The frames after the one that the client named follow.
    Rewatched {
        /// The expression.
        query: String,
        /// Names this run of the feed.
        epoch: String,
        /// The frame that the client named.
        offset: u64,
    },
    /// Its value at a step.
    Samples {
        /// The expression.
        query: String,
        /// Names this run of the feed.
        epoch: String,
        /// This frame's place.
        offset: u64,
        /// One point each; `null` for a series that is gone.
        series: Vec<SampleRun>,
    },
    /// It has no value at a step.
    Failed {
        /// The expression.
        query: String,
        /// Names this run of the feed.
        epoch: String,
        /// This frame's place.
        offset: u64,
        /// Why.
        text: String,
    },
    /// The client watches this no more.
    Unwatched {
        /// The expression.
        query: String,
    },
}
