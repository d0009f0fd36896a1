//! The same configuration and the same alerts as a real Alertmanager has: the same groups at the
//! same times. Skipped, with a word, where `prometheus-alertmanager` is not installed.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::drive::{Drive, SECOND, START, Told, labels, plain};

/// All flushes fall between the posts, which come at whole seconds; no repeat is a multiple of an
/// interval.
const CONFIG: &str = r#"
global: {resolve_timeout: 5s}
route:
  receiver: all
  group_by: [c]
  group_wait: 1500ms
  group_interval: 2s
  repeat_interval: 7s
  routes:
    - matchers: [s=page]
      receiver: pager
      continue: true
      group_by: ['...']
      group_wait: 500ms
      group_interval: 3s
    - match_re: {s: "page|warn"}
      receiver: both
      group_by: [s]
      group_interval: 4s
    - matchers: [s=quiet]
      receiver: quiet
      group_by: []
inhibit_rules:
  - source_matchers: [inhibits=yes]
    target_matchers: [inhibited=yes]
    equal: [c]
receivers:
  - name: all
    webhook_configs: [{url: 'http://HOOK/all'}]
  - name: pager
    webhook_configs: [{url: 'http://HOOK/pager'}]
  - name: both
    webhook_configs: [{url: 'http://HOOK/both'}]
  - name: quiet
    webhook_configs: [{url: 'http://HOOK/quiet', send_resolved: false}]
"#;

const BINARY: &str = "prometheus-alertmanager";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn request(to: SocketAddr, method: &str, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// One request to the webhook: its body.
fn hooked(stream: TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut stream = reader.into_inner();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .ok()?;
    serde_json::from_slice(&body).ok()
}

fn told(body: &Value, at_ms: i64) -> Told {
    let names = |status: &str| {
        let alerts = body["alerts"].as_array().into_iter().flatten();
        alerts
            .filter(|alert| alert["status"] == status)
            .map(|alert| alert["labels"]["i"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    Told {
        at_ms,
        receiver: text("receiver"),
        group: text("groupKey"),
        firing: names("firing"),
        resolved: names("resolved"),
    }
}

/// What is posted at which second: fires or is over. Each is told before it is over, since ours
/// does not tell the end of what nobody heard of.
const POSTS: &[(u64, &[(&str, bool)])] = &[
    (
        1,
        &[
            ("c=a,i=1,s=info", true),
            ("c=b,i=2,s=info", true),
            ("c=a,i=3,s=page", true),
        ],
    ),
    (
        2,
        &[
            ("c=a,i=4,s=info", true),
            ("c=a,i=5,s=warn", true),
            ("i=6,s=quiet", true),
        ],
    ),
    (
        4,
        &[
            ("c=x,i=7,inhibits=yes", true),
            ("c=x,i=8,inhibited=yes", true),
            ("c=y,i=9,inhibited=yes", true),
        ],
    ),
    (5, &[("c=a,i=10,s=page", true)]),
    (7, &[("c=a,i=1,s=info", false), ("i=6,s=quiet", false)]),
    (10, &[("c=a,i=3,s=page", false), ("c=a,i=1,s=info", true)]),
    (
        11,
        &[("c=x,i=7,inhibits=yes", false), ("i=6,s=quiet", true)],
    ),
    (12, &[("c=b,i=2,s=info", false)]),
    (14, &[("c=b,i=2,s=info", true), ("c=a,i=3,s=page", true)]),
    // said once and no more: over after the timeout
    (15, &[("c=t,i=11", true)]),
];

const SECONDS: u64 = 25;

#[test]
fn a_real_alertmanager_tells_the_same_groups_at_the_same_times() {
    let found = Command::new(BINARY)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        eprintln!("skipped: {BINARY} is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let hook = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = hook.local_addr().expect("an address");
    let yaml = CONFIG.replace("HOOK", &address.to_string());
    let file = folder.path().join("alertmanager.yml");
    fs::write(&file, &yaml).expect("written");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let theirs = free.local_addr().expect("an address");
    drop(free);
    let child = Command::new(BINARY)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={theirs}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(child.expect("started"));
    let patience = Instant::now();
    while request(theirs, "GET", "/-/ready", "") != Some(200) {
        assert!(
            patience.elapsed() < Duration::from_secs(20),
            "it does not start"
        );
        thread::sleep(Duration::from_millis(50));
    }

    let heard: Mutex<Vec<Told>> = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let now = || START + i64::try_from(began.elapsed().as_millis()).unwrap_or_default();
    let mut ours = Drive::new(&yaml, plain());
    let mut were_taken = true;
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in hook.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let at_ms = now();
                if let Some(body) = stream.ok().and_then(hooked) {
                    heard.lock().expect("not poisoned").push(told(&body, at_ms));
                }
            }
        });
        for second in 1..SECONDS {
            let at = Duration::from_secs(second);
            thread::sleep(at.saturating_sub(began.elapsed()));
            // alerts without an end are said again, as Prometheus does
            let said: Vec<(&str, bool)> = current(second);
            if said.is_empty() {
                continue;
            }
            let at_ms = now();
            let stamp = rfc3339_now();
            let body: Vec<Value> = said
                .iter()
                .map(|(text, fires)| match fires {
                    true => json!({"labels": labels(text)}),
                    false => json!({"labels": labels(text), "endsAt": stamp}),
                })
                .collect();
            let status = request(
                theirs,
                "POST",
                "/api/v2/alerts",
                &Value::from(body).to_string(),
            );
            // a panic here would leave the webhook listening for ever
            were_taken &= status == Some(200);
            ours.until(at_ms);
            for (text, fires) in said {
                match fires {
                    true => ours.fire(text),
                    false => ours.resolve(text),
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address));
    });
    assert!(were_taken, "a post was refused");
    let end = START + i64::try_from(SECONDS - 1).unwrap_or_default() * SECOND;
    ours.until(end);
    let theirs = heard.into_inner().expect("not poisoned");
    let ours = ours.told();
    let show = |all: &[Told]| -> String {
        let lines = all.iter().map(|one| {
            format!(
                "{:.1} {} {} +{:?} -{:?}\n",
                (one.at_ms - START) as f64 / 1000.0,
                one.receiver,
                one.group,
                one.firing,
                one.resolved
            )
        });
        lines.collect()
    };
    let both = format!("theirs:\n{}ours:\n{}", show(&theirs), show(&ours));
    assert!(theirs.len() > 20, "{both}");
    let mut left = ours.clone();
    for one in &theirs {
        let found = left.iter().position(|our| {
            (our.at_ms - one.at_ms).abs() <= SECOND
                && (&our.receiver, &our.group) == (&one.receiver, &one.group)
                && (&our.firing, &our.resolved) == (&one.firing, &one.resolved)
        });
        let found = found.unwrap_or_else(|| panic!("only theirs: {one:?}\n{both}"));
        left.remove(found);
    }
    assert!(left.is_empty(), "only ours: {left:?}\n{both}");
    eprintln!("{} notifications, the same", theirs.len());
}

/// What is said at a second: what changes, and what fires still every third second.
fn current(second: u64) -> Vec<(&'static str, bool)> {
    let mut state: Vec<(&str, bool, u64)> = Vec::new();
    for (at, posts) in POSTS.iter().filter(|(at, _)| *at <= second) {
        for (text, fires) in *posts {
            state.retain(|(one, _, _)| one != text);
            state.push((text, *fires, *at));
        }
    }
    let said = state.into_iter().filter(|(text, fires, at)| {
        let is_again = *fires && (second - at).is_multiple_of(3) && !text.contains("c=t");
        *at == second || is_again
    });
    said.map(|(text, fires, _)| (text, fires)).collect()
}

fn rfc3339_now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = i64::try_from(since.map_or(0, |since| since.as_millis())).unwrap_or_default();
    pulseboard_shared::Timestamp::from_millis(ms).to_string()
}
