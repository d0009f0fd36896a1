//! Each rule by itself, with its edges.

use std::sync::Arc;

use pulseboard_notify::{
    Ack, Action, AlertLimits, BudgetOptions, FlapOptions, Input, Keep, Manager, Options,
    PostedAlert, Reason, Window,
    api::{
        AlertFilter, AlertState, AlertmanagerStatus, DateTime, PostableSilence, VersionInfo,
        posted_alerts, silence_filter,
    },
    matcher::{Matchers, parse},
};
use serde_json::json;

use crate::drive::{Drive, HOUR, MINUTE, SECOND, START, config, fingerprint, labels, plain};

/// One route: waits of 10 s, 1 min, 1 h.
const ONE: &str = "
route: {receiver: r, group_by: [alertname], group_wait: 10s, group_interval: 1m, repeat_interval: 1h}
receivers:
  - name: r
    webhook_configs: [{url: 'http://127.0.0.1:1/'}]
";

fn one() -> Drive {
    Drive::new(ONE, plain())
}

fn silence(drive: &mut Drive, matchers: &str, minutes: i64) -> String {
    let body = json!({
        "matchers": parse(matchers).expect(matchers).iter().map(|one| json!({
            "name": one.name(), "value": one.value(),
            "isRegex": one.operator().is_regex(), "isEqual": one.operator().is_equal(),
        })).collect::<Vec<_>>(),
        "startsAt": DateTime(drive.now), "endsAt": DateTime(drive.now + minutes * MINUTE),
        "createdBy": "me", "comment": "because",
    });
    let silence = PostableSilence::read(body.to_string().as_bytes()).expect("a silence");
    let id = format!("id-{}", drive.now);
    drive
        .manager
        .set_silence(drive.now, silence, id)
        .expect("taken")
}

fn ack(text: &str, by: &str, until_ms: Option<i64>) -> Ack {
    Ack {
        fingerprint: fingerprint(text),
        by: by.to_owned(),
        comment: "on it".to_owned(),
        at_ms: START,
        until_ms,
    }
}

#[test]
fn a_group_waits_then_tells_what_is_new_at_each_interval_and_repeats() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    drive.pass(5 * SECOND);
    drive.fire_long("alertname=A,i=2");
    assert_eq!(drive.manager.next_due_ms(), Some(START + 10 * SECOND));
    drive.pass(30 * SECOND);
    assert_eq!(drive.news(), ["10 r +1 +2"]);
    drive.fire_long("alertname=A,i=3");
    drive.pass(20 * SECOND);
    assert_eq!(drive.news(), [""; 0]);
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["70 r +1 +2 +3"]);
    drive.until(START + HOUR);
    assert_eq!(drive.news(), [""; 0]);
    drive.pass(5 * MINUTE);
    assert_eq!(drive.news(), ["3670 r +1 +2 +3"]);
    drive.resolve("alertname=A,i=2");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["3910 r +1 +3 -2"]);
    // said anew after each time that the alert was told
    assert_eq!(
        drive.reasons("alertname=A,i=1"),
        ["waiting", "repeat", "repeat"]
    );
}

#[test]
fn an_alert_that_began_long_ago_is_told_at_once() {
    let mut drive = one();
    drive.post("alertname=A,i=1", Some(START - MINUTE), Some(START + HOUR));
    assert_eq!(drive.news(), ["0 r +1"]);
}

#[test]
fn what_nobody_says_again_is_over_after_the_timeout() {
    let mut drive = one();
    drive.fire("alertname=A,i=1");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["10 r +1", "310 r -1"]);
}

#[test]
fn over_before_it_was_told_it_is_never_told() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    drive.fire_long("alertname=A,i=2");
    drive.pass(5 * SECOND);
    drive.resolve("alertname=A,i=2");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["10 r +1"]);
    assert_eq!(drive.reasons("alertname=A,i=2"), ["waiting", "untold"]);
    drive.resolve("alertname=A,i=1");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["610 r -1"]);
}

#[test]
fn a_resolved_one_never_overtakes_its_firing() {
    let mut drive = one();
    drive.delivers = false;
    drive.fire_long("alertname=A,i=1");
    drive.pass(30 * SECOND);
    assert_eq!(drive.news(), ["10 r +1"]);
    let key = drive.manager.in_flight().pop().expect("a key");
    drive.resolve("alertname=A,i=1");
    drive.fire_long("alertname=A,i=2");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), [""; 0]);
    assert!(drive.reasons("alertname=A,i=2").contains(&"delivering"));
    // it arrives, and what waited is told at once
    drive.handle(Input::Sent { key });
    assert_eq!(drive.news(), ["630 r +2 -1"]);
}

#[test]
fn a_repeat_waits_from_when_the_last_arrived() {
    let yaml = ONE.replace("repeat_interval: 1h", "repeat_interval: 5m");
    assert_ne!(yaml, ONE);
    let mut drive = Drive::new(&yaml, plain());
    drive.delivers = false;
    drive.fire_long("alertname=A,i=1");
    drive.pass(8 * MINUTE);
    assert_eq!(drive.news(), ["10 r +1"]);
    let key = drive.manager.in_flight().pop().expect("a key");
    drive.delivers = true;
    drive.handle(Input::Sent { key });
    drive.pass(4 * MINUTE);
    assert_eq!(drive.news(), [""; 0], "told four minutes ago");
    drive.pass(2 * MINUTE);
    assert_eq!(drive.news().len(), 1);
}

#[test]
fn what_failed_is_told_anew_and_is_not_over_if_it_was_never_told() {
    let mut drive = one();
    drive.delivers = false;
    drive.fire_long("alertname=A,i=1");
    drive.pass(30 * SECOND);
    let first = drive.manager.in_flight();
    let fail = |drive: &mut Drive| {
        for key in drive.manager.in_flight() {
            drive.handle(Input::Failed { key });
        }
    };
    fail(&mut drive);
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10 r +1", "70 r +1"]);
    assert_ne!(
        drive.manager.in_flight(),
        first,
        "another notification has another key"
    );
    fail(&mut drive);
    drive.resolve("alertname=A,i=1");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), [""; 0]);
    // an answer about a key that nobody knows changes nothing
    drive.handle(Input::Sent {
        key: "x".to_owned(),
    });
}

#[test]
fn a_way_that_wants_no_resolved_hears_none_and_hears_the_next_firing() {
    let yaml = ONE.replace("1/'}", "1/', send_resolved: false}");
    let mut drive = Drive::new(&yaml, plain());
    drive.fire_long("alertname=A,i=1");
    drive.pass(MINUTE);
    drive.resolve("alertname=A,i=1");
    drive.pass(2 * MINUTE);
    drive.fire_long("alertname=A,i=1");
    drive.pass(2 * MINUTE);
    assert_eq!(drive.news(), ["10 r +1", "190 r +1"]);
    assert!(
        drive
            .reasons("alertname=A,i=1")
            .contains(&"resolved_unwanted")
    );
}

#[test]
fn each_way_of_a_receiver_is_told_by_itself() {
    let yaml = ONE.replace(
        "webhook_configs: [",
        "webhook_configs: [{url: 'http://127.0.0.1:2/', send_resolved: false}, ",
    );
    let mut drive = Drive::new(&yaml, plain());
    drive.fire_long("alertname=A,i=1");
    drive.pass(MINUTE);
    drive.resolve("alertname=A,i=1");
    drive.pass(2 * MINUTE);
    let ways: Vec<_> = drive
        .sent
        .iter()
        .map(|one| one.way.name.0.as_str())
        .collect();
    assert_eq!(ways, ["webhook[0]", "webhook[1]", "webhook[1]"]);
    let mut keys: Vec<_> = drive.sent.iter().map(|one| &one.notification.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "one key for each");
    assert!(drive.manager.in_flight().is_empty());
}

#[test]
fn a_receiver_without_a_way_swallows() {
    let mut drive = Drive::new(
        "route: {receiver: r, group_wait: 1s}\nreceivers: [{name: r}]",
        plain(),
    );
    drive.fire_long("alertname=A");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), [""; 0]);
    assert_eq!(drive.reasons("alertname=A"), ["waiting", "no_way"]);
    drive.resolve("alertname=A");
    drive.pass(HOUR);
    assert!(
        drive
            .manager
            .groups(drive.now, &AlertFilter::default())
            .is_empty()
    );
}

#[test]
fn a_silence_holds_what_matches_until_it_ends() {
    let mut drive = one();
    let id = silence(&mut drive, "i=1", 3);
    drive.fire_long("alertname=A,i=1");
    drive.fire_long("alertname=A,i=2");
    drive.pass(2 * MINUTE);
    assert_eq!(drive.news(), ["10 r +2"]);
    let silenced = drive.not_sent.iter().any(|one| {
        one.reason
            == Reason::Silenced {
                ids: vec![id.clone()],
            }
    });
    assert!(silenced, "{:?}", drive.not_sent);
    let shown = drive.manager.alerts(drive.now, &AlertFilter::default());
    let states: Vec<_> = shown
        .iter()
        .map(|one| (one.labels["i"].as_str(), one.status.state))
        .collect();
    assert!(
        states.contains(&("1", AlertState::Suppressed)),
        "{states:?}"
    );
    assert!(states.contains(&("2", AlertState::Active)), "{states:?}");
    drive.pass(2 * MINUTE);
    assert_eq!(drive.news(), ["190 r +1 +2"]);
    // silenced while it ends: nobody hears of it
    silence(&mut drive, "i=1", 60);
    drive.resolve("alertname=A,i=1");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), [""; 0]);
    // one that is expired by hand holds nothing
    let id = silence(&mut drive, "i=3", 60);
    drive.fire_long("alertname=A,i=3");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), [""; 0]);
    drive
        .manager
        .expire_silence(drive.now, &id)
        .expect("active");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["910 r +2 +3"]);
}

#[test]
fn a_maintenance_window_silences_while_it_is_open() {
    let mut drive = one();
    let window = Window {
        id: "w".to_owned(),
        name: "nightly".to_owned(),
        matchers: Matchers(parse("alertname=A").expect("matchers")),
        intervals: vec![
            yaml_serde::from_str("times: [{start_time: '00:00', end_time: '00:05'}]")
                .expect("interval"),
        ],
        created_by: String::new(),
        comment: String::new(),
        until_ms: None,
        revision: 1,
    };
    drive.manager.set_window(0, window).expect("taken");
    drive.fire_long("alertname=A,i=1");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["310 r +1"]);
    assert_eq!(
        drive.reasons("alertname=A,i=1")[..2],
        ["waiting", "maintenance"]
    );
}

#[test]
fn an_inhibited_alert_waits_for_the_end_of_what_explains_it() {
    let yaml = format!(
        "{ONE}inhibit_rules: [{{source_matchers: [s=page], target_matchers: [s=warn], equal: [c]}}]\n"
    );
    let mut drive = Drive::new(&yaml, plain());
    drive.fire_long("alertname=P,i=1,s=page,c=a");
    drive.fire_long("alertname=W,i=2,s=warn,c=a");
    drive.fire_long("alertname=X,i=3,s=warn,c=b");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10 r +1", "10 r +3"]);
    let by = fingerprint("alertname=P,i=1,s=page,c=a");
    assert!(
        drive
            .not_sent
            .iter()
            .any(|one| one.reason == Reason::Inhibited { by })
    );
    let filter = AlertFilter::parse([("inhibited", "false")]).expect("a filter");
    assert_eq!(drive.manager.alerts(drive.now, &filter).len(), 2);
    drive.resolve("alertname=P,i=1,s=page,c=a");
    drive.pass(2 * MINUTE);
    assert_eq!(drive.news(), ["70 r -1", "70 r +2"]);
}

#[test]
fn times_of_the_day_mute_a_route() {
    let yaml = "
route:
  receiver: r
  group_wait: 10s
  routes:
    - {matchers: [t=m], mute_time_intervals: [night], group_interval: 1m}
    - {matchers: [t=a], active_time_intervals: [day], group_interval: 1m}
receivers: [{name: r, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]
time_intervals:
  - {name: night, time_intervals: [{times: [{start_time: '00:00', end_time: '00:03'}]}]}
  - {name: day, time_intervals: [{times: [{start_time: '00:04', end_time: '24:00'}]}]}
";
    let mut drive = Drive::new(yaml, plain());
    drive.fire_long("i=1,t=m");
    drive.fire_long("i=2,t=a");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["190 r +1", "250 r +2"]);
    assert_eq!(drive.reasons("i=1,t=m")[..2], ["waiting", "muted"]);
    drive.until(START + 24 * HOUR);
    let muted = drive
        .manager
        .alerts(START + 24 * HOUR, &AlertFilter::default());
    let mut by: Vec<_> = muted
        .iter()
        .flat_map(|one| one.status.muted_by.clone())
        .collect();
    by.sort();
    assert_eq!(by, ["day", "night"]);
}

#[test]
fn an_acknowledged_incident_is_not_repeated_and_its_end_is_told() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10 r +1"]);
    drive
        .manager
        .acknowledge(drive.now, ack("alertname=A,i=1", "eve", None))
        .expect("firing");
    drive.pass(3 * HOUR);
    assert_eq!(drive.news(), [""; 0]);
    assert!(drive.reasons("alertname=A,i=1").contains(&"acknowledged"));
    // what is new in the group is told
    drive.fire_long("alertname=A,i=2");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10870 r +2"]);
    // and where that is over, too, nobody is to take the group to be over
    drive.resolve("alertname=A,i=2");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10930 r +1 -2"]);
    drive.resolve("alertname=A,i=1");
    assert!(
        drive
            .other
            .iter()
            .any(|one| matches!(one, Action::AckEnded(ack) if ack.by == "eve"))
    );
    assert_eq!(drive.manager.acks().count(), 0);
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10990 r -1"]);
    let told = drive
        .manager
        .acknowledge(drive.now, ack("alertname=A,i=1", "eve", None));
    assert_eq!(
        told.map_err(|error| error.to_string()),
        Err("no alert of that fingerprint is firing".to_owned())
    );
}

#[test]
fn who_has_one_in_hand_that_nobody_was_told_of_leaves_it_to_be_told() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    let until = START + 2 * HOUR;
    drive
        .manager
        .acknowledge(drive.now, ack("alertname=A,i=1", "eve", Some(until)))
        .expect("firing");
    drive.fire_long("alertname=A,i=2");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["10 r +2"]);
    drive.until(until + 2 * MINUTE);
    let news = drive.news();
    assert!(news.iter().any(|one| one.ends_with("r +1 +2")), "{news:?}");
}

/// In Alertmanager each of a receiver's integrations is tried at the group's turns alone.
#[test]
fn who_refuses_is_told_again_at_the_groups_turn_and_not_at_anothers() {
    let yaml = ONE.replace(
        "[{url: 'http://127.0.0.1:1/'}]",
        "[{url: 'http://127.0.0.1:1/'}, {url: 'http://127.0.0.1:2/'}]",
    );
    let mut drive = Drive::new(&yaml, plain());
    drive.delivers = false;
    let key_of = |drive: &Drive, number: usize| drive.sent[number].notification.key.clone();
    drive.fire_long("alertname=A,i=1");
    drive.pass(20 * SECOND);
    let [refuses, hangs] = [0, 1].map(|number| key_of(&drive, number));
    assert_eq!(drive.news(), ["10 r +1", "10 r +1"]);
    drive.handle(Input::Failed { key: refuses });
    drive.fire_long("alertname=A,i=2");
    drive.until(START + 75 * SECOND);
    let refuses = key_of(&drive, 0);
    assert_eq!(drive.news(), ["70 r +1 +2"]);
    drive.handle(Input::Failed { key: refuses });
    drive.handle(Input::Sent { key: hangs });
    drive.until(START + 125 * SECOND);
    assert_eq!(drive.news(), ["75 r +1 +2"], "the other way alone");
    drive.pass(MINUTE);
    assert_eq!(drive.news(), ["135 r +1 +2"], "at the group's turn");
}

#[test]
fn an_acknowledgement_with_an_end_ends_and_the_repeat_is_told() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    drive.pass(MINUTE);
    let until = START + 2 * HOUR;
    drive
        .manager
        .acknowledge(drive.now, ack("alertname=A,i=1", "eve", Some(until)))
        .expect("firing");
    drive.until(START + 3 * HOUR);
    assert_eq!(drive.news(), ["10 r +1", "7210 r +1", "10810 r +1"][..2]);
    assert!(
        drive
            .other
            .iter()
            .any(|one| matches!(one, Action::AckEnded(_)))
    );
}

#[test]
fn a_budget_holds_back_and_one_digest_tells_of_it() {
    let options = Options {
        budget: Some(BudgetOptions {
            notifications: 3,
            within_ms: HOUR,
        }),
        ..plain()
    };
    let mut drive = Drive::new(ONE, options);
    for number in 1..=6 {
        drive.fire_long(&format!("alertname=A{number},i={number}"));
        drive.pass(30 * SECOND);
    }
    // 4 is over before anybody hears of it, 5 is told in the digest
    drive.resolve("alertname=A4,i=4");
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["10 r +1", "40 r +2", "70 r +3"]);
    assert!(drive.reasons("alertname=A5,i=5").contains(&"budget"));
    // room for one more comes a third of the hour after the first
    drive.until(START + 20 * MINUTE + 9 * SECOND);
    assert_eq!(drive.news(), [""; 0]);
    drive.pass(SECOND);
    let note = drive.sent[0].notification.note.clone().expect("a note");
    assert!(
        note.starts_with("Digest: what 2 groups had to say"),
        "{note}"
    );
    assert_eq!(drive.news(), ["1210 r +5 +6"]);
    // what the digest told is known: its end is told where there is room for it
    drive.resolve("alertname=A5,i=5");
    drive.pass(3 * HOUR);
    let news = drive.news();
    let told = news.iter().filter(|one| one.ends_with(" -5")).count();
    assert_eq!(told, 1, "{news:?}");
}

#[test]
fn nothing_lesser_holds_back_what_is_critical_and_a_digest_comes_within_minutes() {
    let mut drive = Drive::new(ONE, Options::default());
    for number in 0..36 {
        drive.fire_long(&format!("alertname=N{number},i=1{number}"));
    }
    drive.pass(15 * SECOND);
    assert_eq!(drive.news().len(), 30);
    drive.fire_long("alertname=DatabaseDown,severity=critical,i=1");
    drive.pass(10 * SECOND);
    assert_eq!(drive.news(), ["25 r +1"]);
    drive.until(START + 3 * MINUTE);
    let news = drive.news();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].starts_with("130 r +1"), "{news:?}");
    assert_eq!(news[0].matches('+').count(), 6);
    // nor does a flood of what is said to be critical: its room is bounded, too
    for number in 0..100 {
        drive.fire_long(&format!("alertname=C{number},severity=page,i=2{number}"));
    }
    drive.pass(MINUTE);
    assert_eq!(drive.news().len(), 30);
    drive.pass(2 * MINUTE);
    assert_eq!(drive.news().len(), 1);
}

#[test]
fn an_alert_that_flaps_is_told_once_more_and_then_when_it_is_calm() {
    let yaml = ONE.replace(
        "group_wait: 10s, group_interval: 1m",
        "group_wait: 0s, group_interval: 10s",
    );
    let options = Options {
        flap: Some(FlapOptions::default()),
        ..plain()
    };
    let mut drive = Drive::new(&yaml, options);
    for round in 0..30 {
        if round % 2 == 0 {
            drive.fire_long("alertname=A,i=1");
        } else {
            drive.resolve("alertname=A,i=1");
        }
        drive.pass(20 * SECOND);
    }
    let notes: Vec<_> = drive
        .sent
        .iter()
        .filter_map(|one| one.notification.note.clone())
        .collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].starts_with("Flapping: A changed 5 times within 5 minutes"),
        "{notes:?}"
    );
    let news = drive.news();
    assert_eq!(news.len(), 5, "four changes, and that it flaps: {news:?}");
    assert!(news[4].ends_with("r +1"), "{news:?}");
    // of each of the twelve incidents that nobody was told of it is said why
    let why = drive.not_sent.iter().filter(|one| {
        let is_flapping = matches!(one.reason, Reason::Flapping { .. });
        is_flapping && !one.again
    });
    assert!(why.count() >= 12);
    // it ended with the last change, and is calm five minutes after it
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), ["880 r -1"]);
    assert!(drive.reasons("alertname=A,i=1").contains(&"flapping"));
    // and comes again as any other
    drive.fire_long("alertname=A,i=1");
    drive.pass(MINUTE);
    assert_eq!(drive.news().len(), 1);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let options = Options {
        budget: Some(BudgetOptions {
            notifications: 4,
            within_ms: HOUR,
        }),
        flap: Some(FlapOptions::default()),
        ..plain()
    };
    let run = |restarts: bool| {
        let mut drive = Drive::new(ONE, options.clone());
        for step in 0..200 {
            let name = format!("alertname=A{},i={}", step % 4, step % 7);
            if step % 3 == 2 {
                drive.resolve(&name);
            } else {
                drive.fire_long(&name);
            }
            if step == 50 {
                silence(&mut drive, "i=3", 120);
            }
            drive.pass(53 * SECOND);
            if restarts {
                let document = serde_json::to_string(&drive.manager.keep()).expect("a document");
                let keep: Keep = serde_json::from_str(&document).expect("the same");
                assert_eq!(keep, drive.manager.keep());
                drive.manager = Manager::restore(
                    Arc::from("t"),
                    config(ONE),
                    options.clone(),
                    keep,
                    drive.now,
                );
            }
        }
        let keys: Vec<String> = drive
            .sent
            .iter()
            .map(|one| one.notification.key.clone())
            .collect();
        (keys, drive.news())
    };
    let (keys, news) = run(false);
    let (keys_again, news_again) = run(true);
    assert!(news.len() > 10, "{news:?}");
    assert_eq!(news, news_again);
    assert_eq!(keys, keys_again);
}

#[test]
fn what_was_due_before_a_kill_is_told_after_it_with_the_same_key() {
    let mut drive = one();
    drive.delivers = false;
    drive.fire_long("alertname=A,i=1");
    let document = drive.manager.keep();
    drive.pass(30 * SECOND);
    let first = drive.sent[0].notification.key.clone();
    let manager = Manager::restore(Arc::from("t"), config(ONE), plain(), document, drive.now);
    let mut again = Drive::of(manager, drive.now);
    again.delivers = false;
    again.pass(5 * SECOND);
    assert_eq!(again.sent[0].notification.key, first);
    // killed after that, it is on its way still
    let manager = Manager::restore(
        Arc::from("t"),
        config(ONE),
        plain(),
        again.manager.keep(),
        again.now,
    );
    assert_eq!(manager.in_flight(), std::slice::from_ref(&first));
    let mut last = Drive::of(manager, again.now);
    last.pass(10 * MINUTE);
    assert_eq!(last.news(), [""; 0]);
    last.handle(Input::Failed { key: first });
    last.pass(MINUTE);
    assert_eq!(last.news().len(), 1);
}

#[test]
fn tenants_have_keys_of_their_own() {
    let keys = ["a", "b"].map(|tenant| {
        let manager = Manager::new(Arc::from(tenant), config(ONE), plain());
        let mut drive = Drive::of(manager, START);
        drive.fire_long("alertname=A,i=1");
        drive.pass(MINUTE);
        assert_eq!(&*drive.sent[0].notification.tenant, tenant);
        drive.sent[0].notification.key.clone()
    });
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 36);
}

#[test]
fn another_configuration_groups_anew_and_knows_what_was_told() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    drive.pass(MINUTE);
    drive.news();
    drive.set_config(ONE);
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news(), [""; 0]);
    drive.set_config(&ONE.replace("[alertname]", "[i]"));
    drive.pass(10 * MINUTE);
    assert_eq!(drive.news().len(), 1);
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait() {
    let mut drive = one();
    drive.fire_long("alertname=A,i=1");
    drive.pass(30 * SECOND);
    drive.fire_long("alertname=A,i=2");
    drive.now -= 6 * HOUR;
    drive.handle(Input::Tick);
    let due = drive.manager.next_due_ms().expect("a flush");
    assert!((0..=MINUTE).contains(&(due - drive.now)), "{due}");
    drive.pass(2 * MINUTE);
    assert_eq!(drive.sent.len(), 2);
}

#[test]
fn alerts_and_groups_are_bounded() {
    let options = Options {
        limits: AlertLimits {
            count: 3,
            bytes: 1 << 20,
        },
        groups_max: 2,
        ..plain()
    };
    let mut drive = Drive::new(ONE, options);
    for number in 1..=4 {
        drive.fire(&format!("alertname=A{number}"));
    }
    let whys: Vec<_> = drive
        .other
        .iter()
        .filter_map(|one| match one {
            Action::Refused(refused) => Some(refused.why.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        whys,
        [
            "there are 2 groups, which is all that are kept",
            "there are 3 alerts, which is all that are kept"
        ]
    );
    drive.pass(2 * HOUR);
    assert!(
        drive
            .manager
            .alerts(drive.now, &AlertFilter::default())
            .is_empty()
    );
    let forgotten = drive
        .other
        .iter()
        .filter(|one| matches!(one, Action::Forgotten(_)));
    assert_eq!(forgotten.count(), 3);
    assert_eq!(drive.manager.next_due_ms(), None, "nothing is left to do");
}

#[test]
fn alerts_of_rules_have_room_whatever_is_posted() {
    let options = Options {
        limits: AlertLimits {
            count: 3,
            bytes: 1 << 20,
        },
        groups_max: 2,
        ..plain()
    };
    let mut drive = Drive::new(ONE, options);
    for number in 1..=9 {
        drive.fire_long(&format!("alertname=A{number},i={number}"));
    }
    drive.other.clear();
    let own = |numbers: std::ops::Range<u8>| {
        let alerts = numbers.map(|number| PostedAlert {
            labels: labels(&format!("alertname=O{number},i=1{number}")),
            starts_at_ms: Some(START),
            ends_at_ms: Some(START + 1000 * HOUR),
            ..PostedAlert::default()
        });
        Input::Own(alerts.collect())
    };
    drive.handle(own(0..3));
    assert_eq!(drive.other, []);
    drive.handle(own(3..4));
    let refused = drive.other.iter().filter_map(|one| match one {
        Action::Refused(refused) => Some((refused.is_full, refused.is_own)),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(true, true)]);
    drive.pass(MINUTE);
    let mut news = drive.news();
    news.sort();
    assert_eq!(
        news,
        ["10 r +1", "10 r +10", "10 r +11", "10 r +12", "10 r +2"]
    );
    // so it is after a restart
    let keep = drive.manager.keep();
    let options = drive.manager.options().clone();
    let manager = Manager::restore(Arc::from("t"), config(ONE), options, keep, drive.now);
    let mut drive = Drive::of(manager, drive.now);
    drive.fire_long("alertname=B,i=1");
    drive.handle(own(0..3));
    let refused = drive.other.iter().filter_map(|one| match one {
        Action::Refused(refused) => Some(refused.is_own),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [false]);
}

#[test]
fn a_webhook_is_told_of_all_alerts_and_people_of_a_thousand() {
    let yaml = ONE.to_owned() + "    gotify_configs: [{url: 'http://127.0.0.1:1/', token: x}]\n";
    let mut drive = Drive::new(&yaml, plain());
    let posted = |count: usize, text: &str| {
        let alerts = (0..count).map(|number| PostedAlert {
            labels: labels(&format!("alertname=A,i={number}")),
            annotations: labels(&format!("text={text}")),
            ends_at_ms: Some(START + 1000 * HOUR),
            ..PostedAlert::default()
        });
        Input::Alerts(alerts.collect())
    };
    drive.handle(posted(1_500, ""));
    drive.pass(MINUTE);
    let told = |drive: &Drive, way: &str| {
        let mut sent = drive.sent.iter();
        let one = sent.find(|one| one.way.name.0 == way).expect("sent");
        (one.notification.alerts.len(), one.notification.truncated)
    };
    assert_eq!(told(&drive, "webhook[0]"), (1_500, 0));
    assert_eq!(told(&drive, "gotify[0]"), (1_000, 500));
    // no more bytes than the outbox has room for
    let mut drive = Drive::new(ONE, plain());
    drive.handle(posted(1_500, &"x".repeat(10_000)));
    drive.pass(MINUTE);
    let (alerts, left_out) = told(&drive, "webhook[0]");
    assert!((500..700).contains(&alerts), "{alerts}");
    assert_eq!(alerts as u64 + left_out, 1_500);
}

#[test]
fn the_shapes_are_those_of_api_v2() {
    let yaml =
        format!("{ONE}inhibit_rules: [{{source_matchers: [s=page], target_matchers: [s=warn]}}]\n");
    let mut drive = Drive::new(&yaml, plain());
    let body = json!([
        {"labels": {"alertname": "A", "empty": ""}, "annotations": {"summary": "x"},
         "startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "0001-01-01T00:00:00.000Z",
         "generatorURL": "http://g/"},
        {"labels": {"alertname": "B", "s": "page"}, "startsAt": "2026-11-29T23:59:00.5+01:00"},
        {"labels": {"alertname": "C", "s": "warn"}},
    ]);
    let posted = posted_alerts(body.to_string().as_bytes()).expect("alerts");
    drive.handle(Input::Alerts(posted));
    let alerts = drive.manager.alerts(drive.now, &AlertFilter::default());
    let json = serde_json::to_value(&alerts).expect("json");
    let of = |name: &str| {
        let list = json.as_array().expect("a list");
        list.iter()
            .find(|one| one["labels"]["alertname"] == name)
            .expect(name)
            .clone()
    };
    assert_eq!(
        of("A"),
        json!({
            "annotations": {"summary": "x"},
            "endsAt": "2026-11-30T00:05:00.000Z",
            "fingerprint": fingerprint("alertname=A").to_string(),
            "receivers": [{"name": "r"}],
            "startsAt": "2026-11-30T00:00:00.000Z",
            "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
            "updatedAt": "2026-11-30T00:00:00.000Z",
            "generatorURL": "http://g/",
            "labels": {"alertname": "A"},
        })
    );
    assert_eq!(of("B")["startsAt"], "2026-11-29T22:59:00.500Z");
    let by = fingerprint("alertname=B,s=page").to_string();
    assert_eq!(
        of("C")["status"],
        json!({
            "inhibitedBy": [by], "mutedBy": [], "silencedBy": [], "state": "suppressed",
        })
    );
    let groups = serde_json::to_value(drive.manager.groups(drive.now, &AlertFilter::default()))
        .expect("json");
    assert_eq!(groups[0]["labels"], json!({"alertname": "A"}));
    assert_eq!(groups[0]["receiver"], json!({"name": "r"}));
    assert_eq!(groups[2]["alerts"][0]["receivers"], json!([{"name": "r"}]));
    let id = silence(&mut drive, r#"a=~"b.*",c!="d""#, 60);
    let silences = serde_json::to_value(drive.manager.silences(drive.now, &[])).expect("json");
    assert_eq!(
        silences,
        json!([{
            "id": id, "status": {"state": "active"}, "updatedAt": "2026-11-30T00:00:00.000Z",
            "comment": "because", "createdBy": "me", "endsAt": "2026-11-30T01:00:00.000Z",
            "matchers": [
                {"isEqual": true, "isRegex": true, "name": "a", "value": "b.*"},
                {"isEqual": false, "isRegex": false, "name": "c", "value": "d"},
            ],
            "startsAt": "2026-11-30T00:00:00.000Z",
        }])
    );
    assert_eq!(
        serde_json::to_value(drive.manager.silence(drive.now, &id)).expect("json"),
        silences[0]
    );
    let filter = silence_filter([("filter", "a=x")]).expect("a filter");
    assert!(drive.manager.silences(drive.now, &filter).is_empty());
    let version = VersionInfo {
        version: "1".to_owned(),
        ..VersionInfo::default()
    };
    let status = AlertmanagerStatus::new(drive.manager.config(), version, START);
    let status = serde_json::to_value(status).expect("json");
    assert_eq!(
        status["cluster"],
        json!({"status": "disabled", "peers": []})
    );
    assert_eq!(status["uptime"], "2026-11-30T00:00:00.000Z");
    assert_eq!(status["versionInfo"]["version"], "1");
    assert!(
        status["config"]["original"]
            .as_str()
            .is_some_and(|yaml| yaml.contains("receiver: r"))
    );
    assert_eq!(
        serde_json::to_value(drive.manager.receivers()).expect("json"),
        json!([{"name": "r"}])
    );
}

#[test]
fn filters_are_read_as_the_original_reads_them() {
    let mut drive = one();
    drive.fire("alertname=A,i=1");
    drive.fire("alertname=B,i=2");
    silence(&mut drive, "i=1", 60);
    for (pairs, count) in [
        (&[][..], 2),
        (&[("active", "false")], 1),
        (&[("silenced", "false")], 1),
        (&[("active", "false"), ("silenced", "false")], 0),
        (&[("unprocessed", "false"), ("inhibited", "false")], 2),
        (&[("filter", "alertname=\"A\"")], 1),
        (&[("filter", "alertname=~\"A|B\""), ("filter", "i!=1")], 1),
        (&[("filter", "i=")], 0),
        (&[("receiver", "r|x")], 2),
        (&[("receiver", "R")], 0),
    ] {
        let filter = AlertFilter::parse(pairs.iter().copied()).expect("a filter");
        assert_eq!(
            drive.manager.alerts(drive.now, &filter).len(),
            count,
            "{pairs:?}"
        );
        let groups = drive.manager.groups(drive.now, &filter);
        assert_eq!(groups.len(), count, "{pairs:?}");
    }
    for (name, value, wrong) in [
        ("filter", "a", "bad matcher format"),
        ("receiver", "(", "failed to parse receiver param"),
    ] {
        let told = AlertFilter::parse([(name, value)]).expect_err(value);
        assert!(told.contains(wrong), "{told}");
    }
}

/// What `prometheus-alertmanager` 0.25 was seen to answer.
#[test]
fn bodies_are_read_as_strictly_as_there() {
    let of = |url: &str| format!(r#"[{{"labels":{{"a":"b"}},"generatorURL":"{url}"}}]"#);
    for (body, status, code, what) in [
        ("", 422, 602, "alerts in body is required"),
        ("[{}]", 422, 602, "0.labels in body is required"),
        (
            r#"[{"labels":null}]"#,
            422,
            602,
            "0.labels in body is required",
        ),
        (
            &of("not a url"),
            422,
            601,
            r#"0.generatorURL in body must be of type uri: "not a url""#,
        ),
        (&of("http://a b/"), 422, 601, "0.generatorURL"),
        (&of("http://a:b/"), 422, 601, "0.generatorURL"),
        (&of("http://a/%zz"), 422, 601, "0.generatorURL"),
        ("[[1]]", 400, 400, "parsing alerts body"),
        (r#"[["a"],{}]"#, 400, 400, "parsing alerts body"),
        (r#"[{},{"labels":1}]"#, 400, 400, "parsing alerts body"),
    ] {
        let told = posted_alerts(body.as_bytes()).expect_err(body);
        assert_eq!((told.status, told.code), (status, code), "{body}: {told}");
        assert!(told.what.starts_with(what), "{body}: {told}");
    }
    for body in [
        "null".to_owned(),
        "[]".to_owned(),
        of(""),
        of("/x y"),
        of("foo:bar"),
        of("http://[::1]:9090/graph?g0.expr=up%20%3D%3D%200&g0.tab=1#x"),
        of("http://me:p@h:80/graph?g0.expr=a%zz b"),
    ] {
        assert!(posted_alerts(body.as_bytes()).is_ok(), "{body}");
    }
    let silence = |matchers: &str| {
        format!(
            r#"{{"startsAt":"2027-01-01T00:00:00Z","endsAt":"2027-01-02T00:00:00Z","createdBy":"a","comment":"b","matchers":{matchers}}}"#
        )
    };
    for (body, status, code, what) in [
        (String::new(), 422, 602, "silence in body is required"),
        ("null".to_owned(), 422, 602, "comment in body is required"),
        ("[]".to_owned(), 400, 400, "parsing silence body"),
        (silence("null"), 422, 602, "matchers in body is required"),
        (
            silence("[]"),
            422,
            612,
            "matchers in body should have at least 1 items",
        ),
        (
            silence("[{}]"),
            422,
            602,
            "matchers.0.isRegex in body is required",
        ),
        (
            silence(r#"[{"name":"a","isRegex":false}]"#),
            422,
            602,
            "matchers.0.value in body is required",
        ),
        (
            silence(r#"[[true,false,"a","b"]]"#),
            400,
            400,
            "parsing silence body",
        ),
    ] {
        let told = PostableSilence::read(body.as_bytes()).expect_err(&body);
        assert_eq!((told.status, told.code), (status, code), "{body}: {told}");
        assert!(told.what.starts_with(what), "{body}: {told}");
    }
    let whole = silence(r#"[{"name":"a","value":"","isRegex":false}]"#);
    assert!(PostableSilence::read(whole.as_bytes()).is_ok());
    let usual = AlertFilter::parse([("active", ""), ("silenced", ""), ("muted", "")]);
    let usual = usual.expect("a filter");
    assert!(usual.active && usual.silenced && usual.muted);
    let none = AlertFilter::parse([("active", "x")]).expect("a filter");
    assert!(!none.active);
}

#[test]
fn bodies_that_are_none_are_refused() {
    let told = posted_alerts(b"{}").expect_err("no list");
    assert!(told.what.contains("parsing alerts body"), "{told}");
    let told =
        posted_alerts(br#"[{"labels":{"a":"b"},"startsAt":"yesterday"}]"#).expect_err("no time");
    assert!(told.what.contains("yesterday"), "{told}");
    let told = PostableSilence::read(br#"{"matchers":[]}"#).expect_err("fields are missing");
    assert_eq!(
        (told.status, told.what.as_str()),
        (422, "comment in body is required")
    );
    let mut drive = one();
    let body = json!({
        "matchers": [{"name": "a", "value": "(", "isRegex": true}], "comment": "", "createdBy": "",
        "startsAt": DateTime(START), "endsAt": DateTime(START + HOUR),
    });
    let silence = PostableSilence::read(body.to_string().as_bytes()).expect("a shape");
    let told = drive
        .manager
        .set_silence(START, silence, "x".to_owned())
        .expect_err("no pattern");
    assert!(
        told.to_string()
            .contains("invalid label matcher 0: invalid regular expression"),
        "{told}"
    );
    let body = json!({
        "matchers": [{"name": "a", "value": "b", "isRegex": false}], "comment": "", "createdBy": "",
        "startsAt": "0001-01-01T00:00:00Z", "endsAt": DateTime(START + HOUR),
    });
    let silence = PostableSilence::read(body.to_string().as_bytes()).expect("a shape");
    assert!(
        drive
            .manager
            .set_silence(START, silence, "x".to_owned())
            .is_err()
    );
    // an alert that is refused leaves the others
    let bad = PostedAlert {
        annotations: labels("a=b"),
        ..PostedAlert::default()
    };
    let good = PostedAlert {
        labels: labels("a=b"),
        ..PostedAlert::default()
    };
    drive.handle(Input::Alerts(vec![bad, good]));
    assert_eq!(drive.other.len(), 1);
    assert_eq!(
        drive
            .manager
            .alerts(drive.now, &AlertFilter::default())
            .len(),
        1
    );
}
