//! `/ws` as the page lives it: which selectors it watches and which feeds it follows, how it
//! resumes them after a lost connection, and what comes. A pure state machine like [`super::feed`];
//! the connection itself is kept by [`super::link`].
//!
//! **Invariant**: after [`Rooms::opened`] the server is asked for exactly what is wanted, and a
//! frame that was seen is never heard of twice.

use super::{
    json::{Json, quote},
    prom,
    series::{Line, Sample, Series},
};

/// What is to be watched.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchRequest {
    /// Which series; or an expression.
    pub selector: String,
    /// How often an expression is evaluated; 0 of a selector.
    pub every_ms: u32,
    /// Steps of history at most, for each.
    pub points_max: u32,
    /// How far back the history goes.
    pub back_ms: u32,
}

/// What is to be followed: what an event stream would bring, without keeping one of the six
/// connections that a browser has for all its tabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Its name.
    pub feed: &'static str,
    /// What else is asked, as it stands in the message; empty, or members with a comma before.
    pub asked: String,
}

impl Follow {
    /// The operator's figures and log.
    pub const OPERATOR: Self = Self {
        feed: "operator",
        asked: String::new(),
    };
}

/// The feed of alerts.
pub const ALERTS: &str = "alerts";

#[derive(Clone, Debug)]
struct Followed {
    follow: Follow,
    /// Of the newest event, empty before the first.
    last_id: String,
}

#[derive(Clone, Debug)]
struct Watch {
    request: WatchRequest,
    /// The newest frame that came: which feed, and where in it.
    place: Option<(String, u64)>,
}

impl WatchRequest {
    /// It as it stands in a message.
    fn asked(&self) -> String {
        let name = if self.every_ms > 0 { "query" } else { "match" };
        [r#"""#, name, r#"":"#, &quote(&self.selector)].concat()
    }
}

/// What an expression is at one time, of one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Its labels as one writes them; empty where it has none.
    pub key: String,
    /// Unix milliseconds.
    pub at_ms: f64,
    /// `None` of a line that is there no more.
    pub value: Option<f64>,
}

impl Evaluated {
    fn read(run: &Json) -> Option<Self> {
        let [at_ms, value] = run.get("points").list().last()?.list() else {
            return None;
        };
        Some(Self {
            key: prom::key_of(run.text_of("name"), run.get("labels")),
            at_ms: at_ms.number()?,
            value: (*value != Json::Null).then(|| value.figure()),
        })
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// From now on the page hears of series that come and go; so many there are.
    Catalog(u64),
    /// New series, and how many there are now.
    Appeared(u64, Vec<Series>),
    /// Keys of series that have gone, and how many there are now.
    Vanished(u64, Vec<String>),
    /// The history of a selector, in place of all that came before.
    History {
        /// As it was asked for.
        selector: String,
        /// Length of a step.
        step_ms: f64,
        /// What there is.
        lines: Vec<Line>,
    },
    /// New samples, by the key of their series.
    Samples {
        /// As it was asked for.
        selector: String,
        /// Each with what it is called and counted in, where the server said so.
        runs: Vec<(String, String, Vec<Sample>)>,
    },
    /// From now on this expression is evaluated for the page.
    Watched(String),
    /// What an expression is now.
    Values {
        /// As it was asked for.
        query: String,
        /// Each line once.
        values: Vec<Evaluated>,
    },
    /// An expression has no value now.
    Failed(String),
    /// An event of a feed.
    Event {
        /// Of which.
        feed: &'static str,
        /// Its name.
        event: String,
        /// What it carries.
        data: Json,
    },
    /// The server refuses something, in its words.
    Refused(String),
}

/// The state machine of `/ws`: what is watched and followed, and what comes of it.
#[derive(Clone, Debug, Default)]
pub struct Rooms {
    open: bool,
    watches: Vec<Watch>,
    followed: Vec<Followed>,
}

/// Asks for `followed`, behind what came already.
fn ask_feed(Followed { follow, last_id }: &Followed) -> String {
    let Follow { feed, asked } = follow;
    let place = if last_id.is_empty() {
        String::new()
    } else {
        format!(r#","last_event_id":{}"#, quote(last_id))
    };
    format!(r#"{{"action":"follow","feed":"{feed}"{asked}{place}}}"#)
}

/// Asks for `watch`, behind what came already.
fn ask(watch: &Watch) -> String {
    let WatchRequest {
        every_ms,
        points_max,
        back_ms,
        ..
    } = &watch.request;
    let every = match every_ms {
        0 => String::new(),
        every_ms => format!(r#","step_ms":{every_ms}"#),
    };
    let asked = watch.request.asked();
    let place = match &watch.place {
        Some((epoch, offset)) => format!(r#","epoch":{},"offset":{offset}"#, quote(epoch)),
        None => String::new(),
    };
    format!(
        r#"{{"action":"watch",{asked}{every},"max_points":{points_max},"back_ms":{back_ms}{place}}}"#
    )
}

impl Rooms {
    /// The socket is open: what is to be said on it. The figures of the rooms that a client is
    /// in from the beginning come by another way; they are not wanted twice.
    pub fn opened(&mut self) -> Vec<String> {
        self.open = true;
        let mut words = vec![
            r#"{"action":"unsubscribe","channel":"dashboard"}"#.to_owned(),
            r#"{"action":"unsubscribe","channel":"operations"}"#.to_owned(),
            r#"{"action":"catalog"}"#.to_owned(),
        ];
        words.extend(self.followed.iter().map(ask_feed));
        words.extend(self.watches.iter().map(ask));
        words
    }

    /// From now on exactly these feeds are followed, each at most once: what is to be said.
    pub fn follow(&mut self, wants: &[Follow]) -> Vec<String> {
        let mut words = Vec::new();
        let open = self.open;
        self.followed.retain(|followed| {
            let kept = wants.contains(&followed.follow);
            // To follow it anew is to follow it no more as before.
            let replaced = wants.iter().any(|want| want.feed == followed.follow.feed);
            if !kept && !replaced && open {
                words.push(format!(
                    r#"{{"action":"unfollow","feed":"{}"}}"#,
                    followed.follow.feed
                ));
            }
            kept
        });
        for want in wants {
            if self.followed.iter().any(|known| known.follow == *want) {
                continue;
            }
            let followed = Followed {
                follow: want.clone(),
                last_id: String::new(),
            };
            if open {
                words.push(ask_feed(&followed));
            }
            self.followed.push(followed);
        }
        words
    }

    /// The socket is not open any more.
    pub const fn closed(&mut self) {
        self.open = false;
    }

    /// From now on exactly `requests` are watched: what is to be said.
    pub fn watch(&mut self, requests: &[WatchRequest]) -> Vec<String> {
        let mut words = Vec::new();
        let open = self.open;
        self.watches.retain(|watch| {
            let kept = requests.contains(&watch.request);
            if !kept && open {
                words.push(format!(
                    r#"{{"action":"unwatch",{}}}"#,
                    watch.request.asked()
                ));
            }
            kept
        });
        for request in requests {
            if self.watches.iter().any(|watch| watch.request == *request) {
                continue;
            }
            let watch = Watch {
                request: request.clone(),
                place: None,
            };
            if open {
                words.push(ask(&watch));
            }
            self.watches.push(watch);
        }
        words
    }

    /// A text came: what it says, and what is to be answered.
    pub fn text(&mut self, text: &str) -> (Option<Incoming>, Option<String>) {
        let json = Json::parse(text).unwrap_or_default();
        if json.text_of("type") == "feed" {
            return (self.event(json), None);
        }
        let total = json.get("total").count().unwrap_or(0);
        let query = json.text_of("query");
        let is_query = !query.is_empty();
        let selector = if is_query {
            query
        } else {
            json.text_of("match")
        };
        let place = json.get("offset").count();
        let place = place.map(|offset| (json.text_of("epoch").to_owned(), offset));
        let watch = self.watches.iter_mut().find(|watch| {
            watch.request.selector == selector && (watch.request.every_ms > 0) == is_query
        });
        let heard = match (json.text_of("type"), watch) {
            ("catalog", _) => Incoming::Catalog(total),
            ("appeared", _) => {
                let series = json.get("series").list().iter();
                Incoming::Appeared(total, series.filter_map(Series::read).collect())
            }
            ("vanished", _) => {
                let keys = json.get("keys").list().iter();
                let keys = keys.filter_map(|key| Some(key.text()?.to_owned()));
                Incoming::Vanished(total, keys.collect())
            }
            ("watched" | "rewatched", Some(watch)) if is_query => {
                watch.place = place;
                Incoming::Watched(selector.to_owned())
            }
            ("watched", Some(watch)) => {
                watch.place = place;
                Incoming::History {
                    selector: selector.to_owned(),
                    step_ms: json.get("step_ms").number().unwrap_or(1_000.0).max(1.0),
                    lines: json.get("series").list().iter().map(Line::read).collect(),
                }
            }
            ("samples", Some(watch)) => {
                let known = watch.place.as_ref();
                let seen = known
                    .zip(place.as_ref())
                    .is_some_and(|(known, place)| known.0 == place.0 && known.1 >= place.1);
                if seen {
                    return (None, None);
                }
                watch.place = place;
                let runs = json.get("series").list().iter();
                if is_query {
                    let heard = Incoming::Values {
                        query: selector.to_owned(),
                        values: runs.filter_map(Evaluated::read).collect(),
                    };
                    return (Some(heard), None);
                }
                Incoming::Samples {
                    selector: selector.to_owned(),
                    runs: runs
                        .map(|run| {
                            let points = run.get("points").list().iter();
                            (
                                run.text_of("key").to_owned(),
                                run.text_of("unit").to_owned(),
                                points.filter_map(Sample::read).collect(),
                            )
                        })
                        .collect(),
                }
            }
            ("failed", Some(watch)) => {
                watch.place = place;
                Incoming::Failed(selector.to_owned())
            }
            // Frames were left out: the stretch is asked for anew.
            ("merged", Some(watch)) => {
                watch.place = None;
                return (None, Some(ask(watch)));
            }
            ("error", _) => Incoming::Refused(json.text_of("text").to_owned()),
            _ => return (None, None),
        };
        (Some(heard), None)
    }

    fn event(&mut self, json: Json) -> Option<Incoming> {
        let feed = json.text_of("feed");
        let followed = self
            .followed
            .iter_mut()
            .find(|followed| followed.follow.feed == feed)?;
        let id = json.text_of("id");
        if !id.is_empty() {
            id.clone_into(&mut followed.last_id);
        }
        Some(Incoming::Event {
            feed: followed.follow.feed,
            event: json.text_of("event").to_owned(),
            data: json.take("data"),
        })
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::protocol::{follow::FeedName, rooms::ClientAction, watch::WatchMessage};

    use super::*;

    fn request(selector: &str) -> WatchRequest {
        WatchRequest {
            selector: selector.into(),
            every_ms: 0,
            points_max: 120,
            back_ms: 300_000,
        }
    }

    fn text(message: &WatchMessage) -> String {
        serde_json::to_string(message).expect("JSON")
    }

    fn samples(epoch: &str, offset: u64) -> String {
        text(&WatchMessage::Samples {
            selector: "a".into(),
            epoch: epoch.into(),
            offset,
            series: vec![pulseboard_shared::protocol::watch::SampleRun {
                key: "a".into(),
                points: vec![(1_000, Some(2.5)), (2_000, None)],
                ..Default::default()
            }],
        })
    }

    #[test]
    fn resumes_behind_what_it_saw() {
        let mut rooms = Rooms::default();
        assert!(rooms.watch(&[request("a")]).is_empty(), "nothing is open");
        let words = rooms.opened();
        assert!(words[3].starts_with(r#"{"action":"watch","match":"a","max_points":120"#));
        assert!(!words[3].contains("epoch"));
        let watched = text(&WatchMessage::Watched {
            selector: "a".into(),
            epoch: "17".into(),
            offset: 7,
            step_ms: 2_500,
            series: vec![],
        });
        assert!(matches!(
            rooms.text(&watched).0,
            Some(Incoming::History {
                step_ms: 2_500.0,
                ..
            })
        ));
        let (Some(Incoming::Samples { runs, .. }), None) = rooms.text(&samples("17", 8)) else {
            panic!("no samples");
        };
        assert_eq!(
            runs[0].2[0],
            Sample {
                t_ms: 1_000.0,
                value: 2.5
            }
        );
        assert!(runs[0].2[1].value.is_nan());
        assert_eq!(rooms.text(&samples("17", 8)), (None, None), "seen already");
        rooms.closed();
        let words = rooms.opened();
        assert!(
            words[3].ends_with(r#""epoch":"17","offset":8}"#),
            "{words:?}"
        );
    }

    #[test]
    fn asks_for_what_is_new_and_leaves_the_rest() {
        let mut rooms = Rooms::default();
        rooms.opened();
        assert_eq!(
            rooms.watch(&[request("a"), request(r#"b{c="d"}"#)]).len(),
            2
        );
        let words = rooms.watch(&[request(r#"b{c="d"}"#)]);
        assert_eq!(words, [r#"{"action":"unwatch","match":"a"}"#]);
        assert!(rooms.watch(&[request(r#"b{c="d"}"#)]).is_empty());
        // What still comes of it is not for anybody.
        assert_eq!(rooms.text(&samples("17", 9)), (None, None));
    }

    #[test]
    fn an_expression_is_evaluated_and_goes_on_where_it_was() {
        use pulseboard_shared::protocol::watch::{ExpressionMessage, SampleRun};

        let text = |message: &ExpressionMessage| serde_json::to_string(message).expect("JSON");
        let (query, epoch) = (r#"rate(a{b="c"}[1m])"#.to_owned(), "17".to_owned());
        let of_it = WatchRequest {
            every_ms: 1_000,
            ..request(&query)
        };
        let mut rooms = Rooms::default();
        rooms.opened();
        let words = rooms.watch(&[of_it, request(&query)]);
        let [ClientAction::Watch(asked), ClientAction::Watch(_)] =
            [0, 1].map(|index: usize| ClientAction::parse(&words[index]).expect("an action"))
        else {
            panic!("{words:?}");
        };
        assert_eq!(asked.step_ms, Some(1_000));
        assert_eq!(asked.watched.text(), query);
        let watched = ExpressionMessage::Watched {
            query: query.clone(),
            epoch: epoch.clone(),
            offset: 7,
            step_ms: 1_000,
            series: vec![],
        };
        let heard = rooms.text(&text(&watched)).0;
        assert_eq!(heard, Some(Incoming::Watched(query.clone())));
        let samples = ExpressionMessage::Samples {
            query: query.clone(),
            epoch: epoch.clone(),
            offset: 8,
            series: [
                ("{}", vec![], Some(f64::INFINITY)),
                ("{b=\"c\"}", vec![("b".to_owned(), "c".to_owned())], None),
            ]
            .map(|(key, labels, value)| SampleRun {
                key: key.into(),
                labels: labels.into_iter().collect(),
                points: vec![(2_000, value)],
                ..SampleRun::default()
            })
            .into(),
        };
        let (Some(Incoming::Values { values, .. }), None) = rooms.text(&text(&samples)) else {
            panic!("no values");
        };
        assert_eq!(
            (values[0].key.as_str(), values[0].value),
            ("", Some(f64::INFINITY))
        );
        assert_eq!(
            (values[1].key.as_str(), values[1].value),
            ("{b=\"c\"}", None)
        );
        assert_eq!(rooms.text(&text(&samples)), (None, None), "seen already");
        let failed = ExpressionMessage::Failed {
            query: query.clone(),
            epoch,
            offset: 9,
            text: "too much".into(),
        };
        let heard = rooms.text(&text(&failed)).0;
        assert_eq!(heard, Some(Incoming::Failed(query.clone())));
        rooms.closed();
        assert!(rooms.opened()[3].ends_with(r#""epoch":"17","offset":9}"#));
        let words = rooms.watch(&[]);
        let asks = format!(r#"{{"action":"unwatch","query":{}}}"#, quote(&query));
        assert_eq!(words[0], asks);
    }

    #[test]
    fn a_viewer_that_was_too_slow_asks_anew() {
        let mut rooms = Rooms::default();
        rooms.watch(&[request("a")]);
        rooms.opened();
        rooms.text(&samples("17", 8));
        let (None, Some(again)) =
            rooms.text(r#"{"type":"merged","match":"a","epoch":"17","offset":20}"#)
        else {
            panic!("nothing is asked");
        };
        assert!(!again.contains("epoch"));
    }

    #[test]
    fn follows_feeds_and_goes_on_behind_the_newest_event() {
        let follow = |feed, asked: &str| Follow {
            feed,
            asked: asked.into(),
        };
        let (alerts, operator) = (follow(ALERTS, ""), follow("operator", ""));
        let mut rooms = Rooms::default();
        assert!(rooms.follow(std::slice::from_ref(&alerts)).is_empty());
        let asks = r#"{"action":"follow","feed":"alerts"}"#;
        assert_eq!(rooms.opened()[3], asks);
        let event = pulseboard_shared::protocol::follow::event_text(
            FeedName::Alerts,
            Some("resolved"),
            Some("17"),
            r#"{"state":"resolved"}"#,
        );
        let (Some(Incoming::Event { feed, event, data }), None) = rooms.text(&event) else {
            panic!("no event");
        };
        assert_eq!((feed, event.as_str()), (ALERTS, "resolved"));
        assert_eq!(data.text_of("state"), "resolved");
        rooms.closed();
        assert_eq!(
            rooms.opened()[3],
            r#"{"action":"follow","feed":"alerts","last_event_id":"17"}"#
        );
        assert_eq!(
            rooms.follow(&[alerts.clone(), operator]),
            [r#"{"action":"follow","feed":"operator"}"#]
        );
        let asked = r#","type":"x","window":60"#;
        let words = rooms.follow(&[alerts.clone(), follow("aggregate", asked)]);
        assert_eq!(
            words,
            [
                r#"{"action":"unfollow","feed":"operator"}"#,
                r#"{"action":"follow","feed":"aggregate","type":"x","window":60}"#
            ]
        );
        let words = rooms.follow(&[alerts, follow("aggregate", r#","window":300"#)]);
        assert_eq!(
            words,
            [r#"{"action":"follow","feed":"aggregate","window":300}"#],
            "in place of the other"
        );
        assert_eq!(
            rooms.text(r#"{"type":"feed","feed":"operator","event":"metrics","data":{}}"#),
            (None, None),
            "still under way when it was given up"
        );
        for said in words {
            assert!(matches!(
                ClientAction::parse(&said),
                Ok(ClientAction::Follow(_))
            ));
        }
    }

    #[test]
    fn hears_of_series_that_come_and_go() {
        let mut rooms = Rooms::default();
        let info = pulseboard_shared::protocol::series::SeriesInfo {
            key: "queue_depth".into(),
            name: "queue_depth".into(),
            kind: "gauge".into(),
            last: Some(42.0),
            last_ms: 5,
            ..Default::default()
        };
        let appeared = text(&WatchMessage::Appeared {
            total: 13,
            series: vec![info],
        });
        let (Some(Incoming::Appeared(13, series)), None) = rooms.text(&appeared) else {
            panic!("nothing appeared");
        };
        assert_eq!(
            (series[0].key.as_str(), series[0].last),
            ("queue_depth", 42.0)
        );
        let vanished = text(&WatchMessage::Vanished {
            total: 12,
            keys: vec!["queue_depth".into()],
        });
        assert_eq!(
            rooms.text(&vanished).0,
            Some(Incoming::Vanished(12, vec!["queue_depth".into()]))
        );
        assert_eq!(
            rooms.text(r#"{"type":"error","text":"Unknown action"}"#).0,
            Some(Incoming::Refused("Unknown action".into()))
        );
    }
}
