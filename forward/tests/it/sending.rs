//! What reaches a receiver, and what does not.

use std::{path::Path, sync::Arc, time::Duration};

use pulseboard_forward::{Families, Forwarding, Limits, View};
use pulseboard_scrape::{Config, WallClock, config};
use pulseboard_series::Batch;
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::receiver::{Receiver, Says};

const PATIENCE: Duration = Duration::from_secs(30);

/// Short waits, so that tests are.
const QUICK: &str =
    "  queue_config: {batch_send_deadline: 20ms, min_backoff: 5ms, max_backoff: 50ms}\n";

/// Forwarding with its tasks; they end when it is dropped.
struct Sending {
    forwarding: Forwarding,
    tasks: TaskTracker,
    stop: CancellationToken,
    next: i64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn file(yaml: &str) -> Config {
    config::parse(yaml, Path::new("prometheus.yml")).expect("a file")
}

impl Sending {
    fn start(folder: Option<&Path>, yaml: &str) -> Self {
        Self::start_with(folder, yaml, Limits::default())
    }

    fn start_with(folder: Option<&Path>, yaml: &str, limits: Limits) -> Self {
        let clock = WallClock::new(|| 1_000_000);
        let describe = Arc::new(Families::new);
        let folder = folder.map(Path::to_owned);
        let sending = Self {
            forwarding: Forwarding::new(folder, limits, clock, describe),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            next: 0,
        };
        assert_eq!(sending.apply(yaml), Vec::<String>::new());
        sending
    }

    fn apply(&self, yaml: &str) -> Vec<String> {
        self.forwarding.apply(&file(yaml), &self.tasks, &self.stop)
    }

    /// Appends the next moment of so many series, and waits until it outlives the process.
    async fn append(&mut self, series: usize) {
        let mut batch = Batch::new();
        for one in 0..series {
            let row = batch
                .begin(&["m"])
                .and_then(|()| batch.label("series", &one.to_string()))
                .and_then(|()| batch.finish(1, Some(self.next), self.next as f64));
            row.expect("a row");
        }
        self.next += 1;
        for ticket in self.forwarding.take(&batch, &[], 1_000_000) {
            ticket.wait().await.expect("written");
        }
    }

    fn view(&self) -> View {
        self.forwarding.views().remove(0)
    }

    async fn until(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let began = std::time::Instant::now();
        while !holds(&self.view()) {
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", self.view());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Every series has the moments from 0 up to `end`, once and in order.
fn has_all(receiver: &Receiver, series: usize, end: i64) -> bool {
    let taken = receiver.taken();
    taken.len() == series
        && taken.values().all(|samples| {
            let expected = (0..end).map(|at_ms| (at_ms, at_ms as f64));
            samples.iter().copied().eq(expected)
        })
}

fn remote(receiver: &Receiver, more: &str) -> String {
    format!("remote_write:\n- url: {}\n{QUICK}{more}", receiver.url)
}

#[tokio::test]
async fn both_messages_reach_a_receiver_with_what_the_file_says_of_it() {
    for (message, version, content_type) in [
        (
            "prometheus.WriteRequest",
            "0.1.0",
            "application/x-protobuf\r\n",
        ),
        (
            "io.prometheus.write.v2.Request",
            "2.0.0",
            "application/x-protobuf;proto=io.prometheus.write.v2.request\r\n",
        ),
    ] {
        let receiver = Receiver::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let more = format!(
            "  protobuf_message: {message}\n  basic_auth: {{username: me, password: hunter2}}\n  headers: {{X-Scope-OrgID: team}}\n"
        );
        let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, &more));
        for _ in 0..20 {
            sending.append(10).await;
        }
        receiver
            .until("all", |receiver| has_all(receiver, 10, 20))
            .await;
        let head = receiver.heads.lock()[0].clone();
        for line in [
            "post /write http/1.1".to_owned(),
            format!("x-prometheus-remote-write-version: {version}"),
            format!("content-type: {content_type}"),
            "content-encoding: snappy".to_owned(),
            "authorization: basic bwu6ahvudgvymg==".to_owned(),
            "x-scope-orgid: team".to_owned(),
        ] {
            assert!(head.contains(&line), "{line}: {head}");
        }
        sending.until("counted", |view| view.sent == 200).await;
        let view = sending.view();
        assert_eq!((view.chosen, view.waiting, view.refused), (200, 0, 0));
        assert_eq!((view.newest_ms, view.newest_sent_ms), (19, 19));
        assert!(view.sent_bytes > 0 && view.taken_at_ms == 1_000_000);
    }
}

#[tokio::test]
async fn external_labels_and_rules_choose_what_is_sent() {
    let receiver = Receiver::start().await;
    let rules = "  write_relabel_configs: [{source_labels: [series], regex: '[01]', action: keep}, {regex: series, action: labeldrop}, {source_labels: [zone], target_label: region}]\n";
    let yaml = format!(
        "global: {{external_labels: {{zone: z1}}}}\n{}",
        remote(&receiver, rules)
    );
    let mut sending = Sending::start(None, &yaml);
    sending.append(1).await;
    sending.append(3).await;
    receiver
        .until("all", |receiver| receiver.samples() == 3)
        .await;
    let taken = receiver.taken();
    let names: Vec<&String> = taken.keys().collect();
    assert_eq!(names, [r#"m{region="z1",zone="z1"}"#]);
    assert_eq!(sending.view().dropped, 1);
}

#[tokio::test]
async fn a_receiver_that_fails_or_asks_for_patience_gets_everything_later() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, ""));
    for says in [
        Says::Status(503, ""),
        Says::Status(429, "retry-after: 0\r\n"),
        Says::Status(500, "retry-after: 1\r\n"),
    ] {
        receiver.say(says);
        let before = receiver.requests();
        for _ in 0..10 {
            sending.append(30).await;
        }
        receiver
            .until("it was asked", |receiver| receiver.requests() > before)
            .await;
        sending.until("said", |view| view.trouble.is_some()).await;
        receiver.say(Says::Taken);
        let end = sending.next;
        receiver
            .until("all", |receiver| has_all(receiver, 30, end))
            .await;
    }
    sending
        .until("it is well", |view| {
            view.trouble.is_none() && view.waiting == 0
        })
        .await;
    let view = sending.view();
    assert_eq!((view.sent, view.given_up, view.refused), (900, 0, 0));
    assert!(view.requests[2] >= 3, "{view:?}");
}

#[tokio::test]
async fn the_pause_that_a_receiver_asks_for_is_kept() {
    let receiver = Receiver::start().await;
    let mut sending = Sending::start(None, &remote(&receiver, ""));
    receiver.say(Says::Status(429, "retry-after: 2\r\n"));
    sending.append(1).await;
    receiver
        .until("it was asked", |receiver| receiver.requests() == 1)
        .await;
    let began = std::time::Instant::now();
    receiver.say(Says::Taken);
    receiver
        .until("all", |receiver| has_all(receiver, 1, 1))
        .await;
    assert!(
        began.elapsed() > Duration::from_millis(1_800),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(receiver.requests(), 2);
}

#[tokio::test]
async fn what_a_receiver_refuses_for_good_is_dropped_and_counted_and_the_rest_goes_on() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, ""));
    receiver.say(Says::Status(400, ""));
    sending.append(7).await;
    sending.until("refused", |view| view.refused == 7).await;
    assert_eq!(sending.view().refusal.as_deref(), Some("400 why"));
    receiver.say(Says::Taken);
    sending.append(7).await;
    receiver
        .until("the next", |receiver| receiver.samples() == 7)
        .await;
    sending
        .until("counted", |view| view.sent == 7 && view.waiting == 0)
        .await;
}

/// What is too large for a receiver goes in parts, in order; only a sample that is too large alone
/// is dropped.
#[tokio::test]
async fn what_is_too_large_for_a_receiver_is_sent_in_parts() {
    for protocol in ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"] {
        let receiver = Receiver::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let more = format!("  protobuf_message: {protocol}\n");
        let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, &more));
        receiver.say(Says::TakesUpTo(150));
        for _ in 0..5 {
            sending.append(200).await;
        }
        receiver
            .until("all", |receiver| has_all(receiver, 200, 5))
            .await;
        sending.until("counted", |view| view.sent == 1_000).await;
        assert_eq!((sending.view().refused, sending.view().given_up), (0, 0));
        receiver.say(Says::TakesUpTo(1));
        sending.append(2).await;
        sending.until("refused", |view| view.refused == 2).await;
        let refusal = sending.view().refusal;
        assert_eq!(refusal.as_deref(), Some("413 why"));
        receiver.say(Says::Taken);
        sending.append(2).await;
        sending.until("the next", |view| view.sent == 1_002).await;
    }
}

/// A receiver that never answers holds up nobody, and is asked again when the time is over.
#[tokio::test]
async fn a_receiver_that_hangs_holds_nothing_up() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let more = "  remote_timeout: 300ms\n";
    let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, more));
    receiver.say(Says::Hangs);
    for _ in 0..200 {
        sending.append(50).await;
    }
    receiver
        .until("it was asked", |receiver| receiver.requests() > 0)
        .await;
    sending
        .until("it is late", |view| view.trouble.is_some())
        .await;
    receiver.say(Says::Taken);
    receiver
        .until("all", |receiver| has_all(receiver, 50, 200))
        .await;
}

/// The answer is not seen, so it is sent again: this alone is there twice.
#[tokio::test]
async fn what_has_no_answer_is_sent_again() {
    let receiver = Receiver::start().await;
    let mut sending = Sending::start(None, &remote(&receiver, ""));
    receiver.say(Says::TakenInSilence);
    sending.append(1).await;
    receiver
        .until("taken", |receiver| receiver.samples() >= 1)
        .await;
    receiver.say(Says::Taken);
    sending.until("done", |view| view.waiting == 0).await;
    sending.append(1).await;
    receiver
        .until("the next", |receiver| {
            receiver
                .taken()
                .values()
                .any(|samples| samples.ends_with(&[(1, 1.0)]))
        })
        .await;
    let samples = receiver
        .taken()
        .remove(r#"m{series="0"}"#)
        .expect("a series");
    assert!(samples.len() >= 3, "{samples:?}");
    assert!(samples.is_sorted_by_key(|(at_ms, _)| *at_ms));
}

/// Stopped in the middle, started again on the same folder, with another password meanwhile.
#[tokio::test]
async fn what_waits_outlives_a_restart() {
    let receiver = Receiver::start().await;
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, ""));
    for _ in 0..20 {
        sending.append(40).await;
    }
    receiver
        .until("some", |receiver| receiver.samples() > 0)
        .await;
    sending.until("sent", |view| view.waiting == 0).await;
    receiver.say(Says::Status(503, ""));
    for _ in 0..20 {
        sending.append(40).await;
    }
    let next = sending.next;
    sending.stop.cancel();
    sending.tasks.close();
    sending.tasks.wait().await;
    sending.forwarding.close();
    drop(sending);
    receiver.say(Says::Taken);
    let more = "  bearer_token: another\n";
    let mut sending = Sending::start(Some(folder.path()), &remote(&receiver, more));
    sending.next = next;
    for _ in 0..5 {
        sending.append(40).await;
    }
    receiver
        .until("all", |receiver| has_all(receiver, 40, 45))
        .await;
}

#[tokio::test]
async fn a_reload_keeps_what_waits_and_ends_who_is_gone() {
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sending = Sending::start(Some(folder.path()), &remote(&first, ""));
    first.say(Says::Status(503, ""));
    sending.append(3).await;
    first
        .until("it was asked", |receiver| receiver.requests() > 0)
        .await;
    let both = format!(
        "{}\n- url: {}\n{QUICK}  name: second\n",
        remote(&first, ""),
        second.url
    );
    assert!(sending.apply(&both).is_empty());
    sending.append(3).await;
    second
        .until("its first", |receiver| receiver.samples() == 3)
        .await;
    first.say(Says::Taken);
    first.until("all", |receiver| has_all(receiver, 3, 2)).await;
    assert!(sending.apply("remote_write: []").is_empty());
    assert!(sending.forwarding.is_idle());
    sending.append(3).await;
    // Back again: what came meanwhile was for nobody.
    assert!(sending.apply(&both).is_empty());
    sending.append(3).await;
    second
        .until("its next", |receiver| receiver.samples() == 6)
        .await;
    let times: Vec<i64> = second.taken()[r#"m{series="1"}"#]
        .iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(times, [1, 3]);
}

/// Much at once: several requests are under way, and no series passes itself.
#[tokio::test]
async fn much_is_sent_by_many_at_once_and_in_order() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    receiver.say(Says::Status(503, ""));
    let yaml = remote(&receiver, "").replace(
        "queue_config: {",
        "queue_config: {max_samples_per_send: 300, ",
    );
    let mut sending = Sending::start(Some(folder.path()), &yaml);
    for _ in 0..300 {
        sending.append(200).await;
    }
    receiver.say(Says::Taken);
    receiver
        .until("all", |receiver| has_all(receiver, 200, 300))
        .await;
    sending.until("counted", |view| view.sent == 60_000).await;
    assert!(receiver.requests() >= 200);
}
