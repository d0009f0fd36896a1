//! The outbox: order, patience, bounds, and what is still there after it was opened anew.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::notification::{AlertStatus, NotifiedAlert};

/// Who sends in these tests: what each receiver answers, and what it was sent.
struct Hands {
    /// Answers of a receiver, one after the other; then `Sent`.
    answers: Mutex<BTreeMap<String, Vec<Outcome>>>,
    sent: Mutex<Vec<(String, String, String)>>,
    /// A receiver of this name never answers while it is so.
    hangs: AtomicBool,
    resolved: bool,
}

impl Hands {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            sent: Mutex::default(),
            hangs: AtomicBool::new(true),
            resolved: true,
        })
    }

    fn answer(&self, receiver: &str, outcomes: &[Outcome]) {
        let mut answers = self.answers.lock();
        answers.insert(receiver.to_owned(), outcomes.to_vec());
    }

    /// Keys that a receiver was sent.
    fn sent(&self, receiver: &str) -> Vec<String> {
        let sent = self.sent.lock();
        let of = sent.iter().filter(|(one, ..)| one == receiver);
        of.map(|(.., key)| key.clone()).collect()
    }
}

/// So that a test has hands of its own behind the trait's.
struct Handed(Arc<Hands>);

impl Deliver for Handed {
    fn ways(&self, _tenant: &str, receiver: &str) -> Option<Vec<(WayName, bool)>> {
        let way = |name: &str| (WayName(name.to_owned()), self.0.resolved);
        match receiver {
            "nobody" => Some(Vec::new()),
            "unknown" => None,
            "two" => Some(vec![way("slack[0]"), way("email[0]")]),
            _ => Some(vec![way("webhook[0]")]),
        }
    }

    fn deliver(&self, notification: Arc<Notification>, way: WayName) -> Trying {
        let hands = Arc::clone(&self.0);
        Box::pin(async move {
            let receiver = notification.receiver.clone();
            if receiver == "hangs" && hands.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            assert_ne!(receiver, "panics", "as it is told to");
            let mut answers = hands.answers.lock();
            let mine = answers.get_mut(&receiver).filter(|mine| !mine.is_empty());
            let outcome = mine.map_or(Outcome::Sent, |mine| mine.remove(0));
            let key = notification.key.clone();
            hands.sent.lock().push((receiver, way.0, key));
            outcome
        })
    }
}

fn notification(receiver: &str, group: &str, key: &str) -> Notification {
    let labels = BTreeMap::from([("alertname".to_owned(), "Down".to_owned())]);
    Notification {
        key: key.to_owned(),
        tenant: "default".into(),
        receiver: receiver.to_owned(),
        group_key: group.to_owned(),
        group_labels: labels.clone(),
        alerts: vec![NotifiedAlert {
            fingerprint: crate::fingerprint(&labels),
            labels,
            annotations: BTreeMap::new(),
            starts_at_ms: 0,
            ends_at_ms: None,
            generator_url: String::new(),
            status: AlertStatus::Firing,
        }],
        truncated: 0,
        external_url: String::new(),
        created_ms: now_ms(),
        note: None,
        page: None,
    }
}

fn options(folder: Option<&std::path::Path>) -> OutboxOptions {
    OutboxOptions {
        folder: folder.map(Into::into),
        backoff: Backoff {
            first_ms: 1,
            longest_ms: 5,
        },
        ..OutboxOptions::default()
    }
}

type Events = Arc<Mutex<Vec<Event>>>;

fn open(options: OutboxOptions, hands: &Arc<Hands>) -> (Outbox, Events) {
    let events = Events::default();
    let told = Arc::clone(&events);
    let outbox = Outbox::open(options, Arc::new(Handed(Arc::clone(hands))), move |event| {
        told.lock().push(event);
    });
    (outbox.expect("it opens"), events)
}

/// Waits, a minute at most, until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_group_keeps_its_order_however_often_its_first_is_tried() {
    let hands = Hands::new();
    let again = vec![Outcome::retry("busy"); 4];
    hands.answer("a", &again);
    let (outbox, events) = open(options(None), &hands);
    for key in ["1", "2", "3"] {
        let put = outbox.put(notification("a", "g", key)).await;
        assert_eq!(put, Ok(Accepted::Durable));
    }
    until("all are sent", || outbox.stats().delivered == 3).await;
    assert_eq!(hands.sent("a"), ["1", "1", "1", "1", "1", "2", "3"]);
    let lines = outbox.deliveries("default");
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0].key.as_str(), lines[2].key.as_str()), ("3", "1"));
    assert_eq!((lines[2].tries, lines[2].state), (5, DeliveryState::Sent));
    assert_eq!(lines[2].error, None);
    until("each try is told", || events.lock().len() == 7).await;
    let retries = events
        .lock()
        .iter()
        .filter(|event| matches!(event, Event::Retrying(_)))
        .count();
    assert_eq!(retries, 4);
    assert!(outbox.deliveries("other").is_empty());
    let stats = outbox.stats();
    assert_eq!((stats.waiting, stats.bytes, stats.retries), (0, 0, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_of_a_group_begins_when_what_became_of_the_last_is_written_and_told() {
    let hands = Hands::new();
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = Arc::clone(&gate);
    let deliver = Arc::new(Handed(Arc::clone(&hands)));
    let outbox = Outbox::open(options(None), deliver, move |event| {
        if matches!(event, Event::Delivered(line) if line.key == "1") {
            held.wait();
            held.wait();
        }
    })
    .expect("it opens");
    let put = outbox.put(notification("a", "g", "1")).await;
    assert_eq!(put, Ok(Accepted::Durable));
    gate.wait();
    // It went, and nothing of its group waits; whoever sent it is still about it.
    let put = outbox.put(notification("a", "g", "2")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = hands.sent("a");
    gate.wait();
    assert_eq!(put, Ok(Accepted::Durable));
    assert_eq!(begun, ["1"], "by another than who looks after the group");
    until("both are sent", || outbox.stats().delivered == 2).await;
    assert_eq!(hands.sent("a"), ["1", "2"]);
}

#[tokio::test]
async fn who_hangs_or_panics_holds_up_nobody_else() {
    let hands = Hands::new();
    let (outbox, _events) = open(options(None), &hands);
    for number in 0..50 {
        let group = format!("g{number}");
        outbox
            .put(notification("hangs", &group, &group))
            .await
            .expect("room");
    }
    outbox
        .put(notification("panics", "g", "p"))
        .await
        .expect("room");
    outbox
        .put(notification("two", "g", "t"))
        .await
        .expect("room");
    until("both ways of the other are gone", || {
        hands.sent("two").len() == 2
    })
    .await;
    until("the fault is told", || outbox.stats().failed == 1).await;
    let lines = outbox.deliveries("default");
    let fault = lines
        .iter()
        .find(|line| line.receiver == "panics")
        .expect("its line");
    assert_eq!(
        fault.error.as_deref(),
        Some("it could not be made: a fault here")
    );
    until("only what hangs waits", || outbox.stats().waiting == 50).await;
    outbox.close(Duration::from_millis(10)).await;
    assert_eq!(
        outbox.put(notification("two", "g", "u")).await,
        Err(PutError::Closed)
    );
}

#[tokio::test]
async fn what_waits_is_there_again_with_its_tries_and_what_went_is_not_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let hands = Hands::new();
    let slow = Outcome::Retry {
        after_ms: Some(3_000_000),
        why: "later".to_owned(),
    };
    hands.answer("slow", &[slow]);
    let path = folder.path().join("outbox");
    {
        let (outbox, _events) = open(options(Some(&path)), &hands);
        assert_eq!(
            outbox.put(notification("a", "g", "1")).await,
            Ok(Accepted::Durable)
        );
        assert_eq!(
            outbox.put(notification("slow", "g", "2")).await,
            Ok(Accepted::Durable)
        );
        assert_eq!(
            outbox.put(notification("hangs", "g", "3")).await,
            Ok(Accepted::Durable)
        );
        until("one went, one was tried", || {
            outbox.stats().delivered == 1 && outbox.stats().retries == 1
        })
        .await;
        outbox.close(Duration::from_millis(10)).await;
    }
    #[cfg(unix)]
    for file in std::fs::read_dir(&path).expect("its folder") {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file
            .expect("a file")
            .metadata()
            .expect("its data")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "nobody else reads it");
    }
    hands.hangs.store(false, Ordering::Relaxed);
    let (outbox, _events) = open(options(Some(&path)), &hands);
    until("what hung is sent", || hands.sent("hangs") == ["3"]).await;
    assert_eq!(hands.sent("a"), ["1"], "what went is not sent again");
    assert_eq!(hands.sent("slow"), ["2"], "it asked for a pause");
    until("it is said", || outbox.stats().delivered == 1).await;
    let lines = outbox.deliveries("default");
    let states: Vec<_> = lines
        .iter()
        .map(|line| (line.key.as_str(), line.state))
        .collect();
    assert_eq!(
        states,
        [
            ("3", DeliveryState::Sent),
            ("2", DeliveryState::Retrying),
            ("1", DeliveryState::Sent)
        ]
    );
    assert_eq!(
        (lines[1].tries, lines[1].error.as_deref()),
        (1, Some("later"))
    );
    for key in ["1", "2", "3"] {
        let receiver = ["a", "slow", "hangs"][usize::from(key.as_bytes()[0] - b'1')];
        let put = outbox.put(notification(receiver, "g", key)).await;
        assert_eq!(put, Ok(Accepted::Known), "{key}");
    }
    outbox.retry_now("default", "slow");
    until("its pause is over", || hands.sent("slow") == ["2", "2"]).await;
}

#[tokio::test]
async fn what_has_no_room_is_told_and_what_waits_stays() {
    let hands = Hands::new();
    let small = OutboxOptions {
        count: 8,
        ..options(None)
    };
    let (outbox, events) = open(small, &hands);
    for key in ["1", "2"] {
        outbox
            .put(notification("hangs", "g", key))
            .await
            .expect("room");
    }
    let error = outbox
        .put(notification("hangs", "g", "3"))
        .await
        .expect_err("no room");
    assert_eq!(
        error.to_string(),
        "2 notifications for this receiver wait, and no more may"
    );
    outbox
        .put(notification("a", "g", "4"))
        .await
        .expect("others have theirs");
    let unknown = outbox.put(notification("unknown", "g", "5")).await;
    assert_eq!(unknown, Err(PutError::NoReceiver("unknown".to_owned())));
    let nobody = outbox.put(notification("nobody", "g", "6")).await;
    assert_eq!(nobody, Ok(Accepted::Nobody));
    let refused = events
        .lock()
        .iter()
        .filter(|event| matches!(event, Event::Refused { .. }))
        .count();
    assert_eq!((refused, outbox.stats().refused), (2, 1));
    until("the others went", || hands.sent("a") == ["4"]).await;
    hands.hangs.store(false, Ordering::Relaxed);

    let bytes = OutboxOptions {
        bytes: 1000,
        ..options(None)
    };
    let hands = Hands::new();
    let (outbox, _events) = open(bytes, &hands);
    outbox
        .put(notification("hangs", "g", "1"))
        .await
        .expect("room");
    let error = outbox
        .put(notification("a", "g", "2"))
        .await
        .expect_err("no room");
    assert!(
        error.to_string().contains("and 1000 are the limit"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_too_old_or_can_never_go_is_given_up_and_told() {
    let hands = Hands::new();
    let (outbox, events) = open(options(None), &hands);
    hands.answer("old", &[Outcome::retry("refused")]);
    let mut old = notification("old", "g", "1");
    old.created_ms -= 86_400_000;
    outbox.put(old).await.expect("room");
    hands.answer("never", &[Outcome::failed("it answered 404")]);
    outbox
        .put(notification("never", "g", "2"))
        .await
        .expect("room");
    let gone = Outcome::Gone {
        why: "unsubscribed".to_owned(),
    };
    hands.answer("gone", &[gone]);
    outbox
        .put(notification("gone", "g", "3"))
        .await
        .expect("room");
    until("all are given up", || events.lock().len() == 3).await;
    let lines = outbox.deliveries("default");
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.state, line.error.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            (DeliveryState::Gone, "unsubscribed"),
            (DeliveryState::Failed, "it answered 404"),
            (DeliveryState::Failed, "given up after 1 tries: refused"),
        ]
    );
    assert!(
        events
            .lock()
            .iter()
            .all(|event| matches!(event, Event::Failed(_)))
    );
}

#[tokio::test]
async fn who_is_not_told_of_what_is_over_is_not() {
    let hands = Arc::new(Hands {
        answers: Mutex::default(),
        sent: Mutex::default(),
        hangs: AtomicBool::new(false),
        resolved: false,
    });
    let (outbox, _events) = open(options(None), &hands);
    let mut over = notification("a", "g", "1");
    over.alerts[0].status = AlertStatus::Resolved;
    assert_eq!(outbox.put(over).await, Ok(Accepted::Nobody));
    assert_eq!(
        outbox.put(notification("a", "g", "2")).await,
        Ok(Accepted::Durable)
    );
}

#[tokio::test]
async fn the_log_is_written_anew_and_keeps_what_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let hands = Hands::new();
    let path = folder.path().join("outbox");
    {
        let (outbox, _events) = open(options(Some(&path)), &hands);
        outbox
            .put(notification("hangs", "g", "kept"))
            .await
            .expect("room");
        for key in ["1", "2"] {
            outbox.put(notification("a", "g", key)).await.expect("room");
        }
        until("they went", || outbox.stats().delivered == 2).await;
        let before = std::fs::read_dir(&path).expect("its folder").count();
        let inner = Arc::clone(&outbox.0);
        let done = tokio::task::spawn_blocking(move || inner.compact()).await;
        done.expect("no panic").expect("it can be");
        assert_eq!(
            std::fs::read_dir(&path).expect("its folder").count(),
            before
        );
        // What is done after it is done for good.
        outbox.put(notification("a", "g", "3")).await.expect("room");
        until("it went", || outbox.stats().delivered == 3).await;
        outbox.close(Duration::from_millis(10)).await;
    }
    hands.hangs.store(false, Ordering::Relaxed);
    let (outbox, _events) = open(options(Some(&path)), &hands);
    until("what waited is sent", || hands.sent("hangs") == ["kept"]).await;
    until("it is said", || outbox.stats().delivered == 1).await;
    assert_eq!(hands.sent("a"), ["1", "2", "3"]);
    assert_eq!(outbox.deliveries("default").len(), 4);
}

#[tokio::test]
async fn where_the_disk_fails_it_is_sent_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("outbox");
    let hands = Hands::new();
    let (outbox, _events) = open(options(Some(&path)), &hands);
    std::fs::remove_dir_all(&path).expect("it was there");
    let put = outbox.put(notification("a", "g", "1")).await;
    assert_eq!(put, Ok(Accepted::Memory));
    until("it is sent", || hands.sent("a") == ["1"]).await;
    until("it is said", || outbox.stats().undurable >= 1).await;
}
