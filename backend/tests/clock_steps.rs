//! The real program on a machine whose clock is set: a small library stands between it and
//! `clock_gettime(CLOCK_REALTIME)`, and adds as many seconds as a file says. Where there is no C
//! compiler, or no such linker, the test says so and is left out.

#![cfg(target_os = "linux")]

#[path = "crash/recorder.rs"]
#[allow(dead_code, reason = "the tests beside it need more of it")]
mod recorder;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use self::recorder::Recorder;

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
    fn start(shim: &Path, shift: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
            .args(["--bind", "127.0.0.1:0", "--data-dir", "memory"])
            .envs(settings.iter().copied())
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
        self.push_of("default", format!("clock_test 1 {at_ms}"))
            .await
    }

    async fn push_of(&self, tenant: &str, body: String) -> u16 {
        let asked = self.http.post(format!("{}/push", self.url));
        let answer = asked.header("x-tenant-id", tenant).body(body).send();
        answer.await.expect("an answer").status().as_u16()
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

/// The library and the file that says the shift, in a folder; `None`, which is said, where it
/// cannot be built.
fn shim(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let [source, shim, shift] = ["shim.c", "shim.so", "shift"].map(|name| folder.join(name));
    std::fs::write(&source, SHIM).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&shim, &source])
        .output();
    if !built.as_ref().is_ok_and(|built| built.status.success()) {
        eprintln!("left out: there is no C compiler that builds the shim ({built:?})");
        return None;
    }
    Some((shim, shift))
}

/// What fires goes on and ends, and each is told once, whatever the clock does meanwhile; of two
/// tenants.
#[tokio::test]
async fn alerts_are_told_once_whatever_the_clock_does() {
    const ADMIN: &str = "a-token-of-an-admin-for-tests";
    let folder = tempfile::tempdir().expect("a folder");
    let Some((shim, shift)) = shim(folder.path()) else {
        return;
    };
    let recorder = Recorder::start();
    let file = folder.path().join("alertmanager.yml");
    let yaml = format!(
        "route: {{receiver: ops, group_by: [alertname], group_wait: 100ms, group_interval: 200ms, repeat_interval: 48h}}\n\
         receivers: [{{name: ops, webhook_configs: [{{url: '{}'}}]}}]\n",
        recorder.url
    );
    std::fs::write(&file, yaml).expect("written");
    shift_by(&shift, HOUR_S);
    let tokens = format!("{ADMIN}=admin");
    let settings = [
        ("NOTIFY_PRIVATE", "on"),
        ("ALERTMANAGER_CONFIG", file.to_str().expect("text")),
        ("AUTH_TOKENS", tokens.as_str()),
        ("METRIC_INTERVAL_MS", "200"),
    ];
    let server = Server::start(&shim, &shift, &settings);
    // While a clock is set there is a moment without a sample of the last five minutes.
    let rule = json!({
        "alert": "Load", "expr": "load > 1", "every": "200ms", "missing": "keep",
        "labels": {"severity": "critical"},
    });
    for tenant in ["default", "shop"] {
        let asked = server.http.post(format!("{}/api/rules", server.url));
        let asked = asked.bearer_auth(ADMIN).header("x-tenant-id", tenant);
        let answer = asked.json(&rule).send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
    let told = || -> Vec<String> {
        let heard = recorder.heard();
        let alerts = heard.iter().flat_map(|one| one.told("alertname"));
        alerts
            // What is measured of this machine may be high, too.
            .filter(|(name, _)| *name == "Load")
            .map(|(_, status)| status.to_owned())
            .collect()
    };
    let load = async |value: u32| {
        for tenant in ["default", "shop"] {
            assert_eq!(server.push_of(tenant, format!("load {value}")).await, 200);
        }
    };
    let until = async |what: &str, wanted: &[&str]| {
        server.eventually(what, async || told() == wanted).await;
    };
    let evaluated = async || server.metric("pulseboard_rule_evaluations_total").await;
    // Rules are evaluated so often more, by the clock as it is now.
    let go_on = async || {
        let before = evaluated().await;
        server
            .eventually("rules are evaluated", async || {
                evaluated().await >= before + 20
            })
            .await;
    };
    // The other tenant's goes the same way, and nobody hears of it.
    let shop = async |wanted: &[&str]| {
        let what = format!("the other tenant's incidents are {wanted:?}");
        let states = async || {
            let found = server.json("/api/incidents?rule=Load&tenant=shop").await;
            let found = found["incidents"].as_array().expect("a list").clone();
            let mut states: Vec<Value> = found.iter().map(|one| one["state"].clone()).collect();
            states.sort_by_key(|state| state.to_string());
            states == wanted
        };
        server.eventually(&what, states).await;
    };
    load(5).await;
    until("it fires", &["firing"]).await;
    shop(&["firing"]).await;

    // An hour back: it goes on.
    shift_by(&shift, 0);
    go_on().await;
    load(5).await;
    go_on().await;
    until("nothing new", &["firing"]).await;
    load(0).await;
    until("its end", &["firing", "resolved"]).await;
    shop(&["resolved"]).await;

    // It fires anew, and a day is left out: it goes on, and ends.
    load(5).await;
    until("it fires again", &["firing", "resolved", "firing"]).await;
    shop(&["firing", "resolved"]).await;
    shift_by(&shift, 24 * HOUR_S);
    go_on().await;
    load(5).await;
    go_on().await;
    until("nothing new", &["firing", "resolved", "firing"]).await;
    load(0).await;
    let all = ["firing", "resolved", "firing", "resolved"];
    until("its end", &all).await;

    shop(&["resolved", "resolved"]).await;
    until("nothing new", &all).await;
}

#[tokio::test]
async fn a_machine_whose_clock_is_set_goes_on_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((shim, shift)) = shim(folder.path()) else {
        return;
    };
    // The machine's clock is an hour ahead when the server starts.
    shift_by(&shift, HOUR_S);
    let server = Server::start(&shim, &shift, &[]);
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
