//! The outbox in a process that is killed at random: nothing that was accepted is lost, nothing
//! arrives twice within one life, and no group is out of order.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_receivers::{
    AlertStatus, Courier, Directory, Outbox, OutboxOptions, Sender, outbox::Backoff,
};
use pulseboard_template::alertmanager::Templates;

use crate::{
    made::{alert, notification, receiver},
    server::{Server, says},
};

const FOLDER: &str = "PULSEBOARD_TEST_OUTBOX";
const URL: &str = "PULSEBOARD_TEST_URL";
const LIFE: &str = "PULSEBOARD_TEST_LIFE";
const LIVES: u64 = 15;
const GROUPS: u64 = 7;

/// The process that is killed; run by the test below alone. It accepts until it is killed, and in
/// its last life only sends what is left.
#[test]
#[ignore = "the other half of a test"]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let url = std::env::var(URL).expect("where to");
    let life: u64 = std::env::var(LIFE)
        .expect("which")
        .parse()
        .expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let directory = Directory::new();
        let yaml = format!("{{name: all, webhook_configs: [{{url: '{url}/{life}'}}]}}");
        directory.set("default", &[receiver(&yaml)], Arc::new(Templates::new()));
        let courier = Courier::new(directory, Sender::new(true));
        let options = OutboxOptions {
            folder: Some(folder.into()),
            backoff: Backoff {
                first_ms: 2,
                longest_ms: 20,
            },
            ..OutboxOptions::default()
        };
        let outbox = Outbox::open(options, Arc::new(courier), |_| {}).expect("it opens");
        if life == LIVES {
            while outbox.stats().waiting > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            outbox.close(Duration::from_secs(10)).await;
            return;
        }
        for number in 0.. {
            let status = match (number / GROUPS) % 2 {
                0 => AlertStatus::Firing,
                _ => AlertStatus::Resolved,
            };
            let mut one = notification(vec![alert("a:1", status)]);
            one.key = format!("{life}-{number}");
            one.group_key = format!("group {}", number % GROUPS);
            one.created_ms = i64::MAX / 2;
            if outbox.put(one).await.is_ok() {
                // One write, so that no half of it is read.
                use std::io::Write as _;
                let line = format!("accepted {life}-{number}\n");
                std::io::stdout().write_all(line.as_bytes()).expect("read");
            }
        }
    });
}

fn start(folder: &std::path::Path, url: &str, life: u64) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["crash::child", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(URL, url)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// What arrived and was answered 200: life and key, in order, by group.
type Arrived = Arc<Mutex<BTreeMap<String, Vec<(u64, String)>>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_and_nothing_is_sent_twice_in_one_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let arrived = Arrived::default();
    let count = AtomicU64::new(0);
    let written = Arc::clone(&arrived);
    let server = Server::start(move |asked| {
        // One of nine is not taken.
        if count.fetch_add(1, Ordering::Relaxed) % 9 == 4 {
            return says(503, "busy");
        }
        let body = asked.json();
        let group = body["groupKey"].as_str().expect("a group").to_owned();
        let life = asked.path.trim_start_matches('/').parse().expect("a life");
        let key = asked.headers["idempotency-key"].clone();
        written.lock().entry(group).or_default().push((life, key));
        says(200, "")
    })
    .await;
    let path = folder.path().join("outbox");
    let mut accepted = HashSet::new();
    for life in 0..=LIVES {
        let mut child = start(&path, &server.url, life);
        let out = child.stdout.take().expect("its output");
        let reading = tokio::task::spawn_blocking(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines
                .filter_map(|line| line.strip_prefix("accepted ").map(str::to_owned))
                .collect::<Vec<String>>()
        });
        if life < LIVES {
            // The moment of death is what is by chance here.
            tokio::time::sleep(Duration::from_millis(40 + fastrand::u64(0..200))).await;
            child.kill().expect("it runs");
        }
        let status = tokio::task::spawn_blocking(move || child.wait());
        let status = tokio::time::timeout(Duration::from_secs(120), status).await;
        let status = status.expect("it ends").expect("no panic").expect("waited");
        assert_eq!(status.success(), life == LIVES);
        accepted.extend(reading.await.expect("read"));
    }
    assert!(accepted.len() > 20, "only {} were accepted", accepted.len());
    let arrived = arrived.lock();
    let (mut most, mut twice, mut keys) = (0, 0, HashMap::new());
    for lines in arrived.values() {
        let mut lives = HashSet::new();
        let mut firsts = Vec::new();
        for (life, key) in lines {
            assert!(
                lives.insert((*life, key.clone())),
                "{key} twice in life {life}"
            );
            let times = keys.entry(key.clone()).or_insert(0);
            *times += 1;
            most = most.max(*times);
            if *times == 1 {
                let (life, number) = key.split_once('-').expect("two numbers");
                let at: (u64, u64) = (life.parse().expect("one"), number.parse().expect("one"));
                firsts.push(at);
            } else {
                twice += 1;
            }
        }
        assert!(firsts.is_sorted(), "out of order: {firsts:?}");
    }
    let lost: Vec<&String> = accepted
        .iter()
        .filter(|key| !keys.contains_key(*key))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    eprintln!(
        "{} accepted in {LIVES} lives, {} arrived, {twice} once more, {most} times at most",
        accepted.len(),
        keys.len()
    );
}
