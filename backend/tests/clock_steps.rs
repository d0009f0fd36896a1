//! The real program on a machine whose clock is set: a small library stands between it and
//! `clock_gettime(CLOCK_REALTIME)`, and adds as many seconds as a file says. Where there is no C
//! compiler, or no such linker, the test says so and is left out.

#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// How long each thing may take to come about; all of them take a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

const HOUR_S: i64 = 3_600;

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    const char *path = getenv("CLOCK_SHIFT_FILE");
    if (!failed && clock == CLOCK_REALTIME && path) {
        FILE *file = fopen(path, "r");
        long seconds = 0;
        if (file) {
            if (fscanf(file, "%ld", &seconds) == 1) at->tv_sec += seconds;
            fclose(file);
        }
    }
    return failed;
}
"#;

struct Server {
    child: Child,
    url: String,
    http: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start(shim: &Path, shift: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
            .args(["--bind", "127.0.0.1:0", "--data-dir", "memory"])
            .env("LD_PRELOAD", shim)
            .env("CLOCK_SHIFT_FILE", shift)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let from = line.find("http://").expect("an address");
        let url: String = line[from..]
            .chars()
            .take_while(|character| !character.is_whitespace() && *character != '#')
            .collect();
        // What it says afterwards is read by nobody, and must not end it.
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the process that it reads from"
        )]
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            drop(std::io::Read::read_to_end(&mut stdout, &mut rest));
        });
        Self {
            child,
            url: url.trim_end_matches('/').to_owned(),
            http: reqwest::Client::new(),
        }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await;
        answer.expect("an answer")
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("JSON")
    }

    async fn push(&self, at_ms: i64) -> u16 {
        let body = format!("clock_test 1 {at_ms}");
        let answer = self.http.post(format!("{}/push", self.url)).body(body);
        answer.send().await.expect("an answer").status().as_u16()
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text().await.expect("text");
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name}"))
    }

    async fn eventually(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !condition().await {
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How far the newest tick is from a moment, in milliseconds.
    async fn newest_tick_off(&self, now_ms: i64) -> i64 {
        let recent = self.json("/api/metrics/recent?count=1").await;
        let at = recent[0]["timestamp"].as_str().unwrap_or_default();
        let at: Option<pulseboard_shared::Timestamp> = at.parse().ok();
        at.map_or(i64::MAX, |at| (at.as_millis() - now_ms).abs())
    }
}

/// By the machine's own clock.
fn real_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("before the end")
}

/// Says the shift in one step, as a reader sees it.
fn shift_by(file: &Path, seconds: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, seconds.to_string()).expect("written");
    std::fs::rename(&new, file).expect("renamed");
}

#[tokio::test]
async fn a_machine_whose_clock_is_set_goes_on_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let [source, shim, shift] = ["shim.c", "shim.so", "shift"].map(|name| folder.path().join(name));
    std::fs::write(&source, SHIM).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&shim, &source])
        .output();
    if !built.as_ref().is_ok_and(|built| built.status.success()) {
        eprintln!("left out: there is no C compiler that builds the shim ({built:?})");
        return;
    }
    // The machine's clock is an hour ahead when the server starts.
    shift_by(&shift, HOUR_S);
    let server = Server::start(&shim, &shift);
    let hour_ms = HOUR_S * 1_000;
    server
        .eventually("it ticks an hour ahead", async || {
            server.newest_tick_off(real_ms() + hour_ms).await < 3_000
        })
        .await;
    assert_eq!(server.push(real_ms() + hour_ms).await, 200);
    assert_eq!(server.push(real_ms()).await, 400);

    // It is set right.
    shift_by(&shift, 0);
    server
        .eventually("it ticks at the right time", async || {
            server.newest_tick_off(real_ms()).await < 3_000
        })
        .await;
    assert_eq!(server.get("/readyz").await.status(), 200);
    let back = "pulseboard_clock_steps_total{direction=\"back\"}";
    assert_eq!(server.metric(back).await, 1);
    assert_eq!(server.push(real_ms() + hour_ms).await, 400);
    assert_eq!(server.push(real_ms()).await, 200);
    let list = server.json("/api/series?match=clock_test").await;
    let ahead_ms = list["series"][0]["ahead_ms"].as_i64().unwrap_or_default();
    assert!((hour_ms - 60_000..=hour_ms).contains(&ahead_ms), "{list}");
    let last_ms = list["series"][0]["last_ms"].as_i64().unwrap_or_default();
    assert!((real_ms() - last_ms).abs() < 60_000, "{list}");

    // One tick an interval, though an hour of them is there already.
    let (ticks, began) = (
        server.metric("pulseboard_ticks_total").await,
        Instant::now(),
    );
    server
        .eventually("five ticks", async || {
            server.metric("pulseboard_ticks_total").await >= ticks + 5
        })
        .await;
    assert!(began.elapsed() > Duration::from_millis(3_500));
    assert!(began.elapsed() < Duration::from_secs(10));

    // And forward.
    shift_by(&shift, 2 * HOUR_S);
    server
        .eventually("it ticks two hours ahead", async || {
            server.newest_tick_off(real_ms() + 2 * hour_ms).await < 3_000
        })
        .await;
    let forward = "pulseboard_clock_steps_total{direction=\"forward\"}";
    assert_eq!(server.metric(forward).await, 1);
    assert_eq!(server.metric("pulseboard_ticks_skipped_total").await, 0);
}
