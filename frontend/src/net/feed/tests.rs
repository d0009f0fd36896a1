//! The feed against hand-written stories, and against a model server that is cut off at random.

use std::collections::VecDeque;

use proptest::prelude::*;
use pulseboard_shared::{Timestamp, protocol::metrics::MergedSeries};

use super::*;
use crate::net::transport::Transport;

fn metric(name: &str, t_ms: i64, value: f64) -> Metric {
    Metric {
        name: name.into(),
        value,
        unit: String::new(),
        timestamp: Timestamp::from_millis(t_ms),
        labels: Default::default(),
    }
}

/// The figures of tick `offset`, sampled at `offset` seconds.
fn sample(offset: u64) -> Vec<Metric> {
    let t_ms = i64::try_from(offset * 1000).expect("small");
    BUILT_IN
        .into_iter()
        .map(|metric_| metric(metric_.name(), t_ms, to_f64(offset)))
        .collect()
}

fn snapshot(epoch: &str, first: u64, last: u64, resumed: bool) -> String {
    let body = Snapshot {
        epoch: epoch.into(),
        offset: last,
        window: 60,
        interval_ms: 1000,
        sent_ms: i64::try_from(last * 1000).expect("small"),
        data: (first..=last).flat_map(sample).collect(),
    };
    let message = if resumed {
        ServerMessage::Resumed(body)
    } else {
        ServerMessage::Initial(body)
    };
    serde_json::to_string(&message).expect("a message is JSON")
}

fn tick(epoch: &str, offset: u64) -> String {
    let t_ms = i64::try_from(offset * 1000).expect("small");
    serde_json::to_string(&ServerMessage::Metrics(Tick {
        epoch: epoch.into(),
        offset,
        sampled_ms: t_ms,
        sent_ms: t_ms,
        data: sample(offset),
    }))
    .expect("a message is JSON")
}

/// Offsets of the rows that these actions apply.
fn applied(actions: &[Action]) -> Vec<f64> {
    actions
        .iter()
        .flat_map(|action| match action {
            Action::Apply(Update::Window { rows, .. } | Update::Rows(rows)) => rows.clone(),
            Action::Apply(Update::Merged { rows, .. }) => rows.to_vec(),
            _ => Vec::new(),
        })
        .map(|row| row.values[0])
        .collect()
}

fn live(at: f64) -> Feed {
    let mut feed = Feed::new(1);
    assert_eq!(
        feed.on(at, Event::Start),
        [Action::Connect(Transport::Binary, None)]
    );
    assert_eq!(
        feed.on(at, Event::Opened),
        [],
        "an open socket proves nothing"
    );
    assert_eq!(feed.shown.connection, Connection::Connecting);
    feed.on(at, Event::Text(&snapshot("e", 1, 10, false)));
    assert_eq!(feed.shown.connection, Connection::Live);
    feed
}

fn connects(actions: &[Action]) -> Option<Option<Cursor>> {
    actions.iter().find_map(|action| match action {
        Action::Connect(_, cursor) => Some(cursor.clone()),
        _ => None,
    })
}

#[test]
fn resumes_with_its_cursor_and_counts() {
    let mut feed = live(10_000.0);
    assert_eq!(
        applied(&feed.on(11_000.0, Event::Text(&tick("e", 11)))),
        [11.0]
    );
    feed.on(
        12_000.0,
        Event::Closed {
            code: 1006,
            reason: "",
        },
    );
    assert!(feed.shown.connection.is_lost());
    let retry_at = feed.wake_at(12_000.0).expect("a retry is planned");
    assert!(retry_at <= 12_500.0, "the first retry is a quick one");
    let mut at = retry_at;
    let cursor = loop {
        if let Some(cursor) = connects(&feed.on(at, Event::Wake)) {
            break cursor;
        }
        at = feed.wake_at(at).expect("a retry is planned");
    };
    assert_eq!(
        cursor,
        Some(Cursor {
            epoch: "e".into(),
            offset: 11
        })
    );
    let actions = feed.on(at + 40.0, Event::Text(&snapshot("e", 12, 14, true)));
    assert_eq!(applied(&actions), [12.0, 13.0, 14.0]);
    assert_eq!(
        feed.shown.recovery,
        Some(Recovery {
            ticks: 3,
            lost: 0,
            took_ms: 40,
            away_ms: whole_ms(at + 40.0 - 12_000.0),
            hole_ms: 0,
        })
    );
    assert_eq!(feed.counts.ticks, 14);
    assert_eq!(feed.counts.recovered, 3);
}

#[test]
fn what_the_server_no_longer_holds_is_lost_and_said() {
    let mut feed = live(10_000.0);
    feed.on(
        10_000.0,
        Event::Closed {
            code: 1006,
            reason: "",
        },
    );
    feed.on(99_000.0, Event::Wake);
    let actions = feed.on(100_000.0, Event::Text(&snapshot("e", 41, 100, false)));
    assert_eq!(applied(&actions).len(), 60);
    assert_eq!(feed.counts.lost, 30);
    assert_eq!(
        feed.shown
            .recovery
            .map(|recovery| (recovery.ticks, recovery.lost)),
        Some((60, 30))
    );
}

#[test]
fn a_new_log_is_not_mistaken_for_the_old_one() {
    let mut feed = live(10_000.0);
    feed.on(
        10_000.0,
        Event::Closed {
            code: 1012,
            reason: "restarting",
        },
    );
    feed.on(11_000.0, Event::Wake);
    let actions = feed.on(12_000.0, Event::Text(&snapshot("f", 1, 3, false)));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Apply(Update::Window {
            restarted: true,
            ..
        })
    )));
    assert_eq!(feed.counts.lost, 0);
    assert_eq!(
        feed.shown.recovery, None,
        "what another log missed is unknown"
    );
    assert_eq!(feed.shown.connection, Connection::Live);
}

#[test]
fn a_log_that_becomes_another_one_on_an_open_connection_is_begun_anew() {
    let mut feed = live(10_000.0);
    feed.on(11_000.0, Event::Text(&tick("e", 11)));
    // The newest ticks are those that are here already: it was there all the time.
    let actions = feed.on(12_000.0, Event::Text(&snapshot("f", 5, 12, false)));
    assert!(!actions.contains(&Action::Close), "{actions:?}");
    assert_eq!(connects(&actions), None);
    let rows = applied(&actions);
    assert_eq!((rows.first(), rows.last()), (Some(&5.0), Some(&12.0)));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Apply(Update::Window {
            restarted: true,
            ..
        })
    )));
    assert_eq!(feed.shown.connection, Connection::Live);
    assert_eq!(feed.shown.recovery, None, "nothing is missing");
    assert_eq!((feed.counts.lost, feed.counts.recovered), (0, 0));
    assert_eq!(
        applied(&feed.on(13_000.0, Event::Text(&tick("f", 13)))),
        [13.0]
    );
    // Offsets need not grow from one log to the next, and what is missing is said.
    let later = snapshot("g", 30, 33, false).replace("\"offset\":33", "\"offset\":3");
    let actions = feed.on(33_000.0, Event::Text(&later));
    assert_eq!(applied(&actions), [30.0, 31.0, 32.0, 33.0]);
    let hole_ms = feed.shown.recovery.map(|recovery| recovery.hole_ms);
    assert!(hole_ms > Some(10_000), "{hole_ms:?}");
    assert_eq!(
        feed.cursor(),
        Some(&Cursor {
            epoch: "g".into(),
            offset: 3
        })
    );
    // Whatever of the log before is still on its way is no reason to take it for the new one.
    let actions = feed.on(34_000.0, Event::Text(&tick("f", 34)));
    assert!(actions.contains(&Action::Close), "{actions:?}");
}

#[test]
fn a_server_that_was_away_itself_leaves_a_hole() {
    for (epoch, resumed) in [("e", true), ("f", false)] {
        let mut feed = live(10_000.0);
        feed.on(
            10_000.0,
            Event::Closed {
                code: 1006,
                reason: "",
            },
        );
        feed.on(28_000.0, Event::Wake);
        // Nothing was measured for 18 s; the log goes on, or another one begins.
        let mut data = sample(11);
        for metric in &mut data {
            metric.timestamp = Timestamp::from_millis(28_000);
        }
        let body = Snapshot {
            epoch: epoch.into(),
            offset: 11,
            window: 60,
            interval_ms: 1000,
            sent_ms: 28_000,
            data,
        };
        let message = if resumed {
            ServerMessage::Resumed(body)
        } else {
            ServerMessage::Initial(body)
        };
        let text = serde_json::to_string(&message).expect("JSON");
        feed.on(28_000.0, Event::Text(&text));
        let recovery = feed.shown.recovery.expect("it came back");
        assert_eq!((recovery.away_ms, recovery.hole_ms), (18_000, 18_000));
        assert_eq!(recovery.lost, 0, "what was not measured is not lost");
    }
}

#[test]
fn without_requests_there_is_no_latency() {
    let mut feed = live(10_000.0);
    let mut data = sample(11);
    for (index, value) in [(2, 0.0), (3, 0.0)] {
        data[index].value = value;
    }
    let idle = serde_json::to_string(&ServerMessage::Metrics(Tick {
        epoch: "e".into(),
        offset: 11,
        sampled_ms: 11_000,
        sent_ms: 11_000,
        data,
    }));
    let actions = feed.on(11_000.0, Event::Text(&idle.expect("JSON")));
    let latency = actions.iter().find_map(|action| match action {
        Action::Apply(Update::Rows(rows)) => Some(rows[0].values[3]),
        _ => None,
    });
    assert!(latency.is_some_and(f64::is_nan), "{latency:?}");
}

#[test]
fn repeats_and_gaps_are_noticed() {
    let mut feed = live(10_000.0);
    assert_eq!(
        applied(&feed.on(10_500.0, Event::Text(&tick("e", 10)))),
        Vec::<f64>::new()
    );
    assert_eq!(
        applied(&feed.on(13_000.0, Event::Text(&tick("e", 13)))),
        [13.0]
    );
    assert_eq!((feed.counts.repeated, feed.counts.lost), (1, 2));
}

#[test]
fn merged_ticks_show_their_extremes() {
    let mut feed = live(10_000.0);
    let merged = ServerMessage::Merged(Merged {
        epoch: "e".into(),
        offset: 20,
        first_offset: 11,
        last_offset: 20,
        data: vec![MergedSeries {
            name: "cpu_usage".into(),
            unit: "%".into(),
            min: 2.0,
            max: 99.0,
            last: 50.0,
            count: 10,
            timestamp: Timestamp::from_millis(20_000),
            labels: Default::default(),
        }],
    });
    let text = serde_json::to_string(&merged).expect("a message is JSON");
    assert_eq!(
        applied(&feed.on(20_000.0, Event::Text(&text))),
        [2.0, 99.0, 50.0]
    );
    assert_eq!(
        (feed.counts.merged, feed.counts.lost, feed.counts.ticks),
        (10, 0, 20)
    );
}

#[test]
fn old_figures_are_not_live() {
    let mut feed = live(10_000.0);
    let wake = feed.wake_at(10_000.0).expect("a wake is planned");
    assert!(wake <= 12_001.0, "{wake}");
    feed.on(12_000.0, Event::Wake);
    assert_eq!(feed.shown.connection, Connection::Live);
    feed.on(12_100.0, Event::Wake);
    assert_eq!(feed.shown.connection, Connection::Stale { age_s: 2 });
    feed.on(13_100.0, Event::Wake);
    assert_eq!(feed.shown.connection, Connection::Stale { age_s: 3 });
    feed.on(13_200.0, Event::Text(&tick("e", 13)));
    assert_eq!(feed.shown.connection, Connection::Live);
}

#[test]
fn figures_held_up_on_the_way_are_not_live() {
    let mut feed = live(10_000.0);
    // Sent at 11 s, arrives at 15 s.
    feed.on(15_000.0, Event::Text(&tick("e", 11)));
    assert_eq!(feed.shown.connection, Connection::Stale { age_s: 4 });
}

#[test]
fn silence_is_asked_about_and_then_ends_the_connection() {
    let mut feed = live(10_000.0);
    let mut at = 10_000.0;
    let mut asked = None;
    let closed_at = loop {
        at = feed.wake_at(at).expect("a wake is planned").max(at + 1.0);
        let actions = feed.on(at, Event::Wake);
        if actions.contains(&Action::Send(ClientMessage::Ping)) {
            asked.get_or_insert(at);
        }
        if actions.contains(&Action::Close) {
            break at;
        }
        assert!(at < 60_000.0, "never closed");
    };
    assert_eq!(asked, Some(12_500.0));
    assert!((15_000.0..15_500.0).contains(&closed_at), "{closed_at}");
    assert!(feed.shown.connection.is_lost());
}

#[test]
fn a_server_without_figures_is_alive_while_it_answers() {
    let mut feed = Feed::new(1);
    feed.on(0.0, Event::Start);
    feed.on(0.0, Event::Text(&snapshot("e", 1, 0, false)));
    assert_eq!(feed.shown.connection, Connection::Waiting);
    let mut at = 0.0;
    while at < 60_000.0 {
        at = feed.wake_at(at).expect("a wake is planned").max(at + 1.0);
        let actions = feed.on(at, Event::Wake);
        assert!(!actions.contains(&Action::Close), "closed at {at}");
        if actions.contains(&Action::Send(ClientMessage::Ping)) {
            #[expect(clippy::cast_possible_truncation, reason = "a test")]
            let timestamp = Timestamp::from_millis(at as i64);
            let pong = serde_json::to_string(&ServerMessage::Pong { timestamp }).expect("JSON");
            feed.on(at + 5.0, Event::Text(&pong));
        }
    }
    assert_eq!(feed.shown.connection, Connection::Waiting);
}

#[test]
fn a_thawed_tab_is_given_its_frames_before_it_gives_up() {
    let mut feed = live(10_000.0);
    let actions = feed.on(600_000.0, Event::Wake);
    assert!(actions.contains(&Action::Send(ClientMessage::Ping)));
    assert!(!actions.contains(&Action::Close));
    assert_eq!(
        applied(&feed.on(600_001.0, Event::Text(&tick("e", 11)))),
        [11.0]
    );
}

#[test]
fn a_server_that_accepts_and_closes_is_not_hammered() {
    let mut feed = Feed::new(3);
    let mut at = 0.0;
    let mut attempts = 0;
    let mut probes = 0;
    let mut actions = feed.on(at, Event::Start);
    while at < 300_000.0 {
        if connects(&actions).is_some() {
            attempts += 1;
            feed.on(at, Event::Opened);
            actions = feed.on(
                at,
                Event::Closed {
                    code: 1006,
                    reason: "",
                },
            );
        } else {
            at = feed.wake_at(at).expect("a retry is planned");
            actions = feed.on(at, Event::Wake);
        }
        probes += actions
            .iter()
            .filter(|action| **action == Action::Probe)
            .count();
    }
    assert!(attempts < 75, "{attempts} attempts in five minutes");
    assert!(probes >= 2);
    assert!(feed.shown.connection.is_lost());
}

#[test]
fn a_nudge_does_not_wait() {
    let mut feed = live(10_000.0);
    feed.on(
        20_000.0,
        Event::Closed {
            code: 1013,
            reason: "full",
        },
    );
    assert_eq!(
        feed.shown.diagnosis,
        Some(Diagnosis::Closed {
            code: 1013,
            reason: "full".into()
        })
    );
    assert!(connects(&feed.on(20_001.0, Event::Nudge)).is_some());
}

#[test]
fn a_stranger_is_recognised() {
    let mut feed = Feed::new(1);
    feed.on(0.0, Event::Start);
    for transport in [Transport::Json, Transport::Events, Transport::Polling] {
        let actions = feed.on(1.0, Event::Text("hello"));
        assert!(
            actions.contains(&Action::Connect(transport, None)),
            "{transport:?}"
        );
    }
    let actions = feed.on(1.0, Event::Text("hello"));
    assert!(actions.contains(&Action::Close));
    assert!(matches!(
        feed.shown.diagnosis,
        Some(Diagnosis::Unreadable(_))
    ));
}

#[test]
fn binary_frames_are_read() {
    let mut feed = Feed::new(1);
    feed.on(10_000.0, Event::Start);
    let message = ServerMessage::parse(&snapshot("e", 1, 10, false)).expect("ours");
    let actions = feed.on(10_000.0, Event::Bytes(&codec::encode(&message)));
    assert_eq!(applied(&actions).len(), 10);
    assert_eq!(feed.shown.connection, Connection::Live);
}

#[test]
fn a_restarting_server_says_when_to_come_back() {
    let mut feed = live(10_000.0);
    feed.on(
        10_000.0,
        Event::Closed {
            code: 1012,
            reason: "server is stopping; retry_ms=7350",
        },
    );
    assert!(connects(&feed.on(17_349.0, Event::Wake)).is_none());
    assert!(connects(&feed.on(17_350.0, Event::Wake)).is_some());
}

/// Two attempts that bring nothing, and the server says that it is well: its ticks come as events,
/// with the same cursor, and after a while the socket is looked at again without a pause.
#[test]
fn a_proxy_without_upgrades_costs_no_tick() {
    let mut feed = live(10_000.0);
    let lost = || Event::Closed {
        code: 1006,
        reason: "",
    };
    feed.on(11_000.0, lost());
    let mut at = 11_000.0;
    let mut failures = 0;
    let actions = loop {
        at = feed.wake_at(at).expect("a retry is planned").max(at + 1.0);
        if connects(&feed.on(at, Event::Wake)).is_none() {
            continue;
        }
        failures += 1;
        if feed.on(at, lost()).contains(&Action::Probe) {
            let actions = feed.on(at, Event::Probed(Some(Diagnosis::NoUpgrade)));
            if connects(&actions).is_some() {
                break actions;
            }
        }
        assert!(failures < 3, "the transport was not left");
    };
    assert_eq!(failures, 2);
    let cursor = Some(Cursor {
        epoch: "e".into(),
        offset: 10,
    });
    assert!(actions.contains(&Action::Connect(Transport::Events, cursor)));
    let actions = feed.on(at, Event::Text(&snapshot("e", 11, 13, true)));
    assert_eq!(applied(&actions), [11.0, 12.0, 13.0]);
    assert_eq!(feed.shown.transport, Transport::Events);
    assert_eq!(feed.shown.diagnosis, None);

    let looked_at = at + 60_000.0;
    let actions = feed.on(looked_at, Event::Wake);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::ProbeBetter(Transport::Binary, Some(_)))),
        "{actions:?}"
    );
    feed.on(looked_at, Event::Text(&tick("e", 14)));
    feed.on(looked_at + 9.0, Event::Improved(Transport::Binary));
    let actions = feed.on(looked_at + 9.0, Event::Text(&snapshot("e", 14, 15, true)));
    assert_eq!(
        applied(&actions),
        [15.0],
        "what came both transports counts once"
    );
    assert_eq!(
        (feed.shown.transport, feed.counts.lost),
        (Transport::Binary, 0)
    );
    assert_eq!(
        feed.counts.recovered, 3,
        "a better transport recovers nothing"
    );
}

#[test]
fn who_polls_counts_each_tick_once() {
    let mut feed = live(10_000.0);
    let recovered = feed.counts.recovered;
    for offset in 11..=15 {
        let text = snapshot("e", offset, offset, true);
        assert_eq!(
            applied(&feed.on(to_f64(offset) * 1000.0, Event::Text(&text))).len(),
            1
        );
    }
    assert_eq!((feed.counts.ticks, feed.counts.lost), (15, 0));
    assert_eq!(feed.counts.recovered, recovered);
}

proptest! {
    /// A server that ticks, holds 60 ticks, and cuts the line at random: each tick is applied at
    /// most once and in order, and what is missing is exactly what is counted as lost.
    #[test]
    fn each_tick_once(steps in proptest::collection::vec(0_u8..10, 1..400)) {
        let mut feed = Feed::new(9);
        let mut at = 0.0;
        let mut newest = 0_u64;
        let mut line: Option<VecDeque<String>> = None;
        let mut seen: Vec<f64> = Vec::new();
        // The tick before the first one that this page could have.
        let mut before: Option<u64> = None;
        let mut todo: Vec<Action> = feed.on(at, Event::Start);
        for step in steps {
            let mut actions = std::mem::take(&mut todo);
            match step {
                // A tick, sent if there is a line.
                0..=5 => {
                    newest += 1;
                    at += 1000.0;
                    if let Some(line) = &mut line { line.push_back(tick("e", newest)); }
                }
                // Many ticks without a line.
                6 => { newest += 40; at += 40_000.0; if line.is_some() {
                    line = None;
                    actions.extend(feed.on(at, Event::Closed { code: 1006, reason: "" }));
                } }
                7 => if line.take().is_some() {
                    actions.extend(feed.on(at, Event::Closed { code: 1006, reason: "" }));
                },
                _ => actions.extend(feed.on(at, Event::Nudge)),
            }
            if let Some(line) = &mut line {
                while let Some(text) = line.pop_front() {
                    actions.extend(feed.on(at, Event::Text(&text)));
                }
            }
            for action in actions {
                match action {
                    Action::Connect(_, cursor) => {
                        let from = cursor.map(|cursor| cursor.offset + 1);
                        let oldest = newest.saturating_sub(59).max(1);
                        before.get_or_insert(oldest - 1);
                        let text = match from {
                            Some(from) if from >= oldest => snapshot("e", from, newest, true),
                            _ => snapshot("e", oldest, newest, false),
                        };
                        line = Some(VecDeque::new());
                        todo.extend(feed.on(at, Event::Text(&text)));
                    }
                    Action::Close => line = None,
                    Action::Apply(Update::Window { rows, .. } | Update::Rows(rows)) => {
                        for row in rows {
                            // A whole window repeats what is held; the store leaves that out.
                            if seen.last().is_none_or(|last| row.values[0] > *last) {
                                seen.push(row.values[0]);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        for action in todo {
            if let Action::Apply(Update::Window { rows, .. } | Update::Rows(rows)) = action {
                seen.extend(rows.iter().map(|row| row.values[0])
                    .filter(|value| seen.last().is_none_or(|last| value > last)).collect::<Vec<_>>());
            }
        }
        prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(seen.len() as u64, feed.counts.ticks);
        if let (Some(before), Some(last)) = (before, seen.last()) {
            prop_assert_eq!(to_f64(feed.counts.ticks + feed.counts.lost + before), *last);
        }
    }
}

#[test]
fn a_browser_with_as_many_streams_as_are_good_for_it_opens_no_other() {
    let mut feed = live(10_000.0);
    // What was left of the better ways does not matter here.
    feed.fallback = TransportFallback::default();
    let actions = feed.on(11_000.0, Event::Crowded);
    let cursor = Some(Cursor {
        epoch: "e".into(),
        offset: 10,
    });
    assert!(
        actions.contains(&Action::Connect(Transport::Polling, cursor)),
        "{actions:?}"
    );
    assert_eq!(
        actions[0],
        Action::Close,
        "nothing comes of the other transport"
    );
}

/// The page brings the window along: the socket brings what came since, and nothing was lost or
/// recovered by that.
#[test]
fn ticks_that_the_page_brought_are_gone_on_from() {
    let mut feed = Feed::new(1);
    let cursor = Cursor {
        epoch: "e".into(),
        offset: 10,
    };
    let ticks = Ticks {
        cursor: Some(cursor.clone()),
        sent_ms: 10_000.0,
        came_ms: 10_000.0,
        interval_ms: 1_000,
        window: 60,
        rows: (1..=10_u32)
            .map(|offset| Row {
                t_ms: f64::from(offset) * 1_000.0,
                values: [f64::from(offset); 4],
            })
            .collect(),
    };
    feed.begin_behind(&ticks);
    let actions = feed.on(10_200.0, Event::Start);
    assert!(actions.contains(&Action::Connect(Transport::Binary, Some(cursor))));
    assert_eq!(feed.shown.connection, Connection::Connecting, "not lost");
    let actions = feed.on(10_300.0, Event::Text(&snapshot("e", 11, 11, true)));
    assert_eq!(applied(&actions), [11.0]);
    assert_eq!((feed.shown.recovery, feed.counts.recovered), (None, 0));
    assert_eq!((feed.counts.ticks, feed.counts.lost), (11, 0));

    // A server that was started anew in between has another log.
    let mut feed = Feed::new(1);
    feed.begin_behind(&ticks);
    feed.on(10_200.0, Event::Start);
    let actions = feed.on(10_300.0, Event::Text(&snapshot("f", 1, 3, false)));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Apply(Update::Window {
            restarted: true,
            ..
        })
    )));
}
