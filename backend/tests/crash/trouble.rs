//! Receivers that hang, refuse, ask for patience or break TLS, beside one that works: that one is
//! told as ever, the others as soon as they can be, by the same key, and a kill changes nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    recorder::{Heard, Recorder},
    server::{PATIENCE, Server},
};

/// The server's first pause between two tries is two seconds, the next four: so long until what
/// works again is found to.
const MENDED: Duration = Duration::from_secs(60);

/// What the one that is busy asks for.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// Answers no handshake as one that speaks TLS would.
#[allow(
    clippy::disallowed_methods,
    reason = "it ends with the test's process, or when whoever sends has gone"
)]
fn breaks_tls() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.read(&mut [0; 1024]));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    url
}

/// Everybody is told of everything, each alert by itself.
fn file_of(folder: &Path, receivers: &[(&str, &str)]) -> String {
    let file = folder.join("alertmanager.yml");
    let names = receivers.iter().map(|(name, _)| name);
    let routes: Vec<String> = names
        .map(|name| format!("{{receiver: {name}, continue: true}}"))
        .collect();
    let receivers: Vec<String> = receivers
        .iter()
        .map(|(name, url)| {
            format!("{{name: {name}, webhook_configs: [{{url: '{url}', timeout: 1s}}]}}")
        })
        .collect();
    let yaml = format!(
        "route: {{receiver: good, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 24h, routes: [{}]}}\nreceivers: [{}]\n",
        routes.join(", "),
        receivers.join(", "),
    );
    fs::write(&file, yaml).expect("written");
    file.to_str().expect("text").to_owned()
}

async fn fire(server: &Server, tenant: &str, names: &[&str]) {
    let names = names.iter();
    let alerts: Vec<Value> = names
        .map(|name| json!({"labels": {"alertname": name, "severity": "critical"}}))
        .collect();
    let asked = server.http.post(format!("{}/api/v2/alerts", server.url));
    let asked = asked.header("x-tenant-id", tenant).json(&alerts);
    let answer = asked.timeout(PATIENCE).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

fn names(heard: &[Heard]) -> Vec<String> {
    let alerts = heard.iter().flat_map(|one| one.told("alertname"));
    let mut names: Vec<String> = alerts.map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

/// When it was tried to tell of an alert, and by which key.
fn tries(heard: &[Heard], name: &str) -> Vec<(Instant, String)> {
    let tries = heard
        .iter()
        .filter(|one| one.told("alertname").any(|(told, _)| told == name));
    tries.map(|one| (one.at, one.key.clone())).collect()
}

/// Of what alerts it was answered that they are taken.
fn taken(heard: &[Heard]) -> Vec<String> {
    let taken = heard.iter().filter(|one| one.is_taken).cloned();
    names(&taken.collect::<Vec<_>>())
}

/// What the delivery log says of a receiver: what it says of each line.
async fn errors(server: &Server, receiver: &str) -> Vec<String> {
    let log = server.json("/api/notifications").await;
    let lines = log["notifications"].as_array().expect("lines").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .filter(|line| line["receiver"] == receiver)
        .map(|line| text(&line["detail"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_holds_up_nobody_and_is_told_when_it_can_be() {
    let good = Recorder::start();
    let is_mended = Arc::new(AtomicBool::new(false));
    let until_mended = |said: Option<&'static str>| {
        let is_mended = Arc::clone(&is_mended);
        Recorder::answering(move || match is_mended.load(Ordering::SeqCst) {
            true => Some("200 OK"),
            false => said,
        })
    };
    let hangs = until_mended(None);
    let busy = until_mended(Some("429 Too Many Requests\r\nretry-after: 3"));
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let refuses = format!("http://{address}/");
    let tls = breaks_tls();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let file = file_of(
        folder.path(),
        &[
            ("good", &good.url),
            ("hangs", &hangs.url),
            ("busy", &busy.url),
            ("refuses", &refuses),
            ("tls", &tls),
        ],
    );
    let settings = [
        ("NOTIFY_PRIVATE", "on"),
        ("ALERTMANAGER_CONFIG", file.as_str()),
    ];
    let mut server = Server::start_with(&data, &settings);
    fire(&server, "shop", &["OfShop"]).await;
    fire(&server, "default", &["A", "B"]).await;
    server
        .within(
            Duration::from_secs(5),
            "the good one is told at once",
            async || names(&good.heard()) == ["A", "B"],
        )
        .await;
    server
        .eventually("it is said of each what is wrong", async || {
            for (receiver, why) in [
                ("hangs", "did not answer in time"),
                ("busy", "429"),
                ("refuses", "no connection"),
                ("tls", "no connection"),
            ] {
                let errors = errors(&server, receiver).await;
                let are_said = errors.iter().all(|error| error.contains(why));
                if errors.len() != 2 || !are_said {
                    return false;
                }
            }
            true
        })
        .await;
    assert_eq!(errors(&server, "good").await, ["", ""]);

    // What waits outlives a kill, and one that was closed opens meanwhile.
    server.kill();
    is_mended.store(true, Ordering::SeqCst);
    let listener = TcpListener::bind(address).expect("its port again");
    let refuses = Recorder::at(listener, || Some("200 OK"));
    server = Server::start_with(&data, &settings);
    server
        .within(MENDED, "all that can be told are", async || {
            let all = [&hangs, &busy, &refuses];
            all.iter().all(|one| taken(&one.heard()) == ["A", "B"])
        })
        .await;
    assert_eq!(names(&good.heard()), ["A", "B"], "told once");
    for name in ["A", "B"] {
        for recorder in [&hangs, &busy, &refuses] {
            let keys = tries(&recorder.heard(), name);
            assert!(keys.windows(2).all(|two| two[0].1 == two[1].1), "{keys:?}");
        }
        for pair in tries(&busy.heard(), name).windows(2) {
            let pause = pair[1].0 - pair[0].0;
            assert!(pause >= RETRY_AFTER, "{name}: again after {pause:?}");
        }
    }
    // Nobody heard of what another tenant has, which knows nothing of all this.
    for one in [&good, &hangs, &busy, &refuses] {
        assert!(!names(&one.heard()).contains(&"OfShop".to_owned()));
    }
    let of_shop = server.json("/api/notifications?tenant=shop").await;
    assert_eq!(of_shop["notifications"], json!([]));
    server.kill();
}
