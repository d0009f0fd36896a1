//! Several real servers and a real Redis: what people make at one of them is at all, rules are
//! evaluated once, and people are told once, whoever is killed or stands still. What is not to be
//! had here (redis-server) is said and passed over.

#![cfg(unix)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "crash/recorder.rs"]
mod recorder;
mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use recorder::Recorder;
use servers::{Redis, Server, eventually, has_redis};

/// Of an admin, and as servers are told of it.
const ADMIN: &str = "a-token-of-an-admin-for-tests";
const TOKENS: (&str, &str) = ("AUTH_TOKENS", "a-token-of-an-admin-for-tests=admin");

/// What is made at one server is at all others within this.
const SOON: Duration = Duration::from_secs(1);

/// Sends something as an admin of a tenant; status and body.
async fn send(
    server: &Server,
    (method, path): (&str, &str),
    tenant: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let url = format!("http://{}{path}", server.address);
    let method = method.parse().expect("a method");
    let mut asked = server.http.request(method, url);
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    if !body.is_null() {
        asked = asked.json(body);
    }
    let asked = asked.bearer_auth(ADMIN).header("x-tenant-id", tenant);
    let answer = asked.send().await.expect("an answer");
    let status = answer.status().as_u16();
    if let Some(after) = answer.headers().get("retry-after") {
        assert!(status == 503 || status == 429, "{status}: {after:?}");
    } else {
        assert_ne!(status, 503, "who is to come back is told when");
    }
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn make(server: &Server, path: &str, tenant: &str, body: &Value) -> Value {
    let (status, made) = send(server, ("POST", path), tenant, body, &[]).await;
    assert!(matches!(status, 200 | 201), "{path}: {status}: {made}");
    made
}

async fn get(server: &Server, path: &str, tenant: &str) -> Value {
    send(server, ("GET", path), tenant, &Value::Null, &[])
        .await
        .1
}

/// Waits until all servers answer so, and says how long that took.
async fn soon(
    what: &str,
    servers: &[&Server],
    path: &str,
    tenant: &str,
    is_so: impl Fn(&Value) -> bool,
) {
    let began = Instant::now();
    for server in servers {
        loop {
            let answer = get(server, path, tenant).await;
            if is_so(&answer) {
                break;
            }
            assert!(
                began.elapsed() < SOON,
                "{what}: not at {} in time: {answer}",
                server.name
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn lists(answer: &Value, list: &str, field: &str, value: &str) -> bool {
    let all = if list.is_empty() {
        answer
    } else {
        &answer[list]
    };
    let mut all = all.as_array().into_iter().flatten();
    all.any(|one| one[field] == value)
}

fn hook(name: &str, url: &str) -> Value {
    json!({"name": name, "webhook_configs": [{"url": url}]})
}

fn silence(matcher: &str, value: &str) -> Value {
    let at = |seconds: u64| {
        let time = SystemTime::now() + Duration::from_secs(seconds);
        let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("later");
        let seconds = i64::try_from(since.as_secs()).expect("small");
        pulseboard_shared::Timestamp::from_millis(seconds * 1000).to_string()
    };
    json!({
        "matchers": [{"name": matcher, "value": value, "isRegex": false, "isEqual": true}],
        "startsAt": at(0), "endsAt": at(3_600), "createdBy": "me", "comment": "because",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_make_at_one_server_is_at_all_of_them() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let more = [TOKENS, ("METRIC_SOURCE", "none"), ("NOTIFY_PRIVATE", "on")];
    let [a, b, c] = ["a", "b", "c"].map(|name| Server::start(name, &redis, &more));
    for server in [&a, &b, &c] {
        server.is_joined_by(3).await;
    }
    let all = [&a, &b, &c];

    // receivers
    make(
        &a,
        "/api/receivers",
        "shop",
        &hook("ops", "http://127.0.0.1:9/"),
    )
    .await;
    let has_ops = |answer: &Value| lists(answer, "receivers", "name", "ops");
    soon("a receiver", &all, "/api/receivers", "shop", has_ops).await;
    // two at once, at two servers: both are there
    let [x, y] = ["x", "y"].map(|name| hook(name, "http://127.0.0.1:9/"));
    let (one, other) = tokio::join!(
        send(&a, ("POST", "/api/receivers"), "shop", &x, &[]),
        send(&b, ("POST", "/api/receivers"), "shop", &y, &[]),
    );
    assert_eq!((one.0, other.0), (201, 201), "{one:?} {other:?}");
    soon("both", &all, "/api/receivers", "shop", |answer| {
        lists(answer, "receivers", "name", "x") && lists(answer, "receivers", "name", "y")
    })
    .await;

    // rules, and who comes late with one
    let rule = json!({"alert": "Made", "expr": "vector(1) > 2", "every": "1s"});
    let made = make(&b, "/api/rules", "shop", &rule).await;
    let path = format!("/api/rules/{}", made["id"].as_str().expect("an id"));
    let read = format!("\"{}\"", made["revision"]);
    // what was read at one holds at another at once
    let changed = json!({"alert": "Made", "expr": "vector(1) > 3", "every": "1s"});
    let (status, at_c) = send(&c, ("PUT", &path), "shop", &changed, &[("if-match", &read)]).await;
    assert_eq!(status, 200, "{at_c}");
    assert_ne!(at_c["revision"], made["revision"]);
    let (status, late) = send(&a, ("PUT", &path), "shop", &rule, &[("if-match", &read)]).await;
    assert_eq!(status, 412, "{late}");
    soon("the change", &all, &path, "shop", |rule| {
        rule["expr"] == "vector(1) > 3" && rule["revision"] == at_c["revision"]
    })
    .await;
    // a built-in one, too
    let cpu = get(&a, "/api/rules/cpu_high", "default").await;
    assert_eq!(cpu["enabled"], true, "{cpu}");
    let mut off = cpu.clone();
    off["enabled"] = json!(false);
    let (status, _) = send(&a, ("PUT", "/api/rules/cpu_high"), "default", &off, &[]).await;
    assert_eq!(status, 200);
    let is_off = |rule: &Value| rule["enabled"] == false;
    soon("off", &all, "/api/rules/cpu_high", "default", is_off).await;

    // silences
    let silenced = make(&c, "/api/v2/silences", "shop", &silence("alertname", "No")).await;
    let id = silenced["silenceID"].as_str().expect("an id").to_owned();
    let path_of_silence = format!("/api/v2/silence/{id}");
    soon("a silence", &all, &path_of_silence, "shop", |one| {
        one["status"]["state"] == "active"
    })
    .await;
    let (status, _) = send(&a, ("DELETE", &path_of_silence), "shop", &Value::Null, &[]).await;
    assert_eq!(status, 200);
    soon("its end", &all, &path_of_silence, "shop", |one| {
        one["status"]["state"] == "expired"
    })
    .await;

    // maintenance windows
    let window = json!({
        "name": "night", "comment": "",
        "matchers": [{"name": "a", "value": "b", "isRegex": false, "isEqual": true}],
        "intervals": [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}],
    });
    let window = make(&a, "/api/maintenance", "shop", &window).await;
    let has_window = |answer: &Value| lists(answer, "windows", "name", "night");
    soon("a window", &all, "/api/maintenance", "shop", has_window).await;
    let of_window = format!("/api/maintenance/{}", window["id"].as_str().expect("an id"));
    let (status, _) = send(&b, ("DELETE", &of_window), "shop", &Value::Null, &[]).await;
    assert_eq!(status, 204);
    soon("none", &all, "/api/maintenance", "shop", |answer| {
        !has_window(answer)
    })
    .await;

    // of two who come with what both have read, at two servers in one moment, one is late
    let night = json!({
        "name": "night", "comment": "",
        "matchers": [{"name": "a", "value": "b", "isRegex": false, "isEqual": true}],
        "intervals": [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}],
    });
    let mut known = make(&a, "/api/maintenance", "shop", &night).await;
    let of_window = format!("/api/maintenance/{}", known["id"].as_str().expect("an id"));
    for round in 0..10 {
        let read = format!("\"{}\"", known["revision"]);
        let read = [("if-match", &*read)];
        let [one, two] = ["one", "two"].map(|comment| {
            let mut window = night.clone();
            window["comment"] = json!(comment);
            window
        });
        let (at_a, at_b) = tokio::join!(
            send(&a, ("PUT", &of_window), "shop", &one, &read),
            send(&b, ("PUT", &of_window), "shop", &two, &read),
        );
        let (won, lost) = if at_a.0 == 200 {
            (at_a, at_b)
        } else {
            (at_b, at_a)
        };
        assert_eq!(
            (won.0, lost.0),
            (200, 412),
            "round {round}: {won:?} {lost:?}"
        );
        known = won.1;
        let is_known = |window: &Value| {
            window["revision"] == known["revision"] && window["comment"] == known["comment"]
        };
        soon("the one that won", &all, &of_window, "shop", is_known).await;
    }
    // who minds nothing is not late, and nothing is lost between
    let (at_a, at_b) = tokio::join!(
        send(&a, ("PUT", &of_window), "shop", &night, &[]),
        send(&b, ("PUT", &of_window), "shop", &night, &[]),
    );
    assert_eq!((at_a.0, at_b.0), (200, 200), "{at_a:?} {at_b:?}");
    let by_two = known["revision"].as_u64().expect("a number") + 2;
    soon("both", &all, &of_window, "shop", |window| {
        window["revision"] == by_two
    })
    .await;
    let read = format!("\"{}\"", known["revision"]);
    let read = [("if-match", &*read)];
    let late = send(&c, ("DELETE", &of_window), "shop", &Value::Null, &read).await;
    assert_eq!(late.0, 412, "{late:?}");

    // who joins takes what is there, another tenant sees nothing
    let d = Server::start("d", &redis, &more);
    d.is_joined_by(4).await;
    eventually("who joins has it", async || {
        has_ops(&get(&d, "/api/receivers", "shop").await)
            && get(&d, &path, "shop").await["revision"] == at_c["revision"]
            && get(&d, &path_of_silence, "shop").await["id"] == id
    })
    .await;
    assert!(!has_ops(&get(&d, "/api/receivers", "other").await));

    // without Redis everything is read, and nothing is changed
    redis.kill();
    for server in [&a, &d] {
        for (method, path, body) in [
            ("POST", "/api/rules", &rule),
            ("POST", "/api/receivers", &hook("z", "http://127.0.0.1:9/")),
            ("POST", "/api/v2/silences", &silence("a", "b")),
            ("DELETE", &*path, &Value::Null),
        ] {
            let (status, said) = send(server, (method, path), "shop", body, &[]).await;
            assert_eq!(status, 503, "{method} {path}: {said}");
        }
        assert!(has_ops(&get(server, "/api/receivers", "shop").await));
        assert_eq!(get(server, &path, "shop").await["expr"], "vector(1) > 3");
    }
    // A Redis that has lost everything is told by those who know.
    redis.again();
    let all = [&a, &b, &c, &d];
    for server in all {
        server.is_joined_by(4).await;
    }
    let late = hook("late", "http://127.0.0.1:9/");
    eventually("changes are taken again", async || {
        let path = ("POST", "/api/receivers");
        matches!(send(&d, path, "shop", &late, &[]).await.0, 201 | 409)
    })
    .await;
    let has_both = |answer: &Value| has_ops(answer) && lists(answer, "receivers", "name", "late");
    soon("both", &all, "/api/receivers", "shop", has_both).await;
    let same = |rule: &Value| rule["revision"] == at_c["revision"];
    soon("as it was", &all, &path, "shop", same).await;
}

/// One that was away while something was removed does not bring it back, though Redis has lost
/// everything meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_does_not_come_back_with_who_was_away() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let more = [TOKENS, ("METRIC_SOURCE", "none")];
    let [a, b] = ["a", "b"].map(|name| Server::start(name, &redis, &more));
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    let mut paths = Vec::new();
    for name in ["Stays", "Goes"] {
        let rule = json!({"alert": name, "expr": "vector(1) > 2", "every": "1s"});
        let made = make(&a, "/api/rules", "shop", &rule).await;
        paths.push(format!(
            "/api/rules/{}",
            made["id"].as_str().expect("an id")
        ));
    }
    for path in &paths {
        soon("it is made", &[&a, &b], path, "shop", |rule| {
            rule["expr"] == "vector(1) > 2"
        })
        .await;
    }
    let folder = b.kill();
    let (status, _) = send(&a, ("DELETE", &paths[1]), "shop", &Value::Null, &[]).await;
    assert_eq!(status, 204);
    redis.kill();
    redis.again();
    let more_rules = json!({"alert": "Later", "expr": "vector(1) > 2", "every": "1s"});
    eventually("changes are taken again", async || {
        let made = send(&a, ("POST", "/api/rules"), "shop", &more_rules, &[]);
        made.await.0 == 201
    })
    .await;
    let b = Server::start_in(folder, "b", &redis, &more);
    let is_there = async |server: &Server, path: &str| {
        let answer = send(server, ("GET", path), "shop", &Value::Null, &[]).await;
        answer.0 == 200
    };
    for server in [&a, &b] {
        server.is_joined_by(2).await;
        eventually("it has what stays, and what goes is gone", async || {
            is_there(server, &paths[0]).await && !is_there(server, &paths[1]).await
        })
        .await;
    }
    tokio::time::sleep(SOON).await;
    for server in [&a, &b] {
        assert!(is_there(server, &paths[0]).await, "{}", server.name);
        assert!(!is_there(server, &paths[1]).await, "{}", server.name);
    }
}

/// Alerts as a Prometheus posts them, each by itself and with this much text.
fn posted(names: impl IntoIterator<Item = String>, text: usize) -> Value {
    let alerts = names.into_iter().map(
        |name| json!({"labels": {"alertname": name}, "annotations": {"text": "x".repeat(text)}}),
    );
    alerts.collect()
}

/// Alerts that somebody posts are taken or not, alike at whichever server; and people are told of
/// all that were taken, whoever is killed then.
#[tokio::test(flavor = "multi_thread")]
async fn posted_alerts_are_told_of_wherever_they_were_taken() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let recorder = Recorder::start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = one_by_one(folder.path(), &recorder.url);
    let more = [
        TOKENS,
        ("METRIC_SOURCE", "none"),
        ("NOTIFY_PRIVATE", "on"),
        ("NOTIFY_BUDGET", "off"),
        ("ALERTMANAGER_CONFIG", &*config),
    ];
    let mut servers: Vec<Server> = ["a", "b"]
        .map(|name| Server::start(name, &redis, &more))
        .into();
    for server in &servers {
        server.is_joined_by(2).await;
    }
    let path = ("POST", "/api/v2/alerts");
    // Under which keys each was told: what was on its way when its server died may come again.
    let keys = || {
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for one in recorder.heard() {
            for (name, status) in one.told("alertname") {
                assert_eq!(status, "firing", "{name}");
                let of = keys.entry(name.to_owned()).or_default();
                of.insert(one.key.clone());
            }
        }
        keys
    };
    let is_told = |names: &[String]| {
        let keys = keys();
        names.iter().all(|name| keys.contains_key(name))
    };
    eventually("somebody tells of alerts", async || {
        let nothing = posted(["First".to_owned()], 1);
        let mut statuses = Vec::new();
        for server in &servers {
            statuses.push(send(server, path, "default", &nothing, &[]).await.0);
        }
        statuses == [200, 200]
    })
    .await;

    // What is wrong is said alike, and what is good is taken all the same.
    let mut said = Vec::new();
    for server in &servers {
        let good = format!("Good-{}", server.name);
        let bad = json!([
            {"labels": {"alertname": good}},
            {"labels": {"alertname": ""}},
            {"labels": {"alertname": "x"}, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"},
        ]);
        let (status, why) = send(server, path, "default", &bad, &[]).await;
        assert_eq!(status, 400, "{why}");
        said.push(why);
        eventually("the good one is told of", async || {
            is_told(std::slice::from_ref(&good))
        })
        .await;
    }
    assert_eq!(said[0], said[1]);

    // As many as a Prometheus sends at once, with long texts.
    for server in &servers {
        let names: Vec<String> = (0..64)
            .map(|one| format!("L{one}-{}", server.name))
            .collect();
        let (status, why) = send(server, path, "default", &posted(names.clone(), 8_000), &[]).await;
        assert_eq!(status, 200, "{why}");
        eventually("all are told of", async || is_told(&names)).await;
    }

    // Whoever was to tell of them stands still and dies: one of the two is that.
    for (dies, takes, name) in [(0, 1, "a"), (1, 0, "b")] {
        servers[dies].signal("STOP");
        let mut taken = Vec::new();
        for number in 0..10 {
            let one = format!("D{number}-{name}");
            let body = posted([one.clone()], 10);
            let (status, why) = send(&servers[takes], path, "default", &body, &[]).await;
            assert!(matches!(status, 200 | 503), "{status}: {why}");
            if status == 200 {
                taken.push(one);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(!taken.is_empty());
        servers[dies].signal("KILL");
        eventually("all that were taken are told of", async || is_told(&taken)).await;
        servers[dies] = Server::start(name, &redis, &more);
        for server in &servers {
            server.is_joined_by(2).await;
        }
    }

    for (name, keys) in keys() {
        assert_eq!(keys.len(), 1, "{name} is told once: {keys:?}");
    }

    // While nobody can be reached that would tell of them they are not taken.
    redis.kill();
    for server in &servers {
        eventually("it is alone", async || server.state().await.1 == "alone").await;
        let body = posted(["Lost".to_owned()], 1);
        let (status, why) = send(server, path, "shop", &body, &[]).await;
        assert_eq!(status, 503, "{why}");
    }
}

/// `ALERTMANAGER_CONFIG`, which is the default tenant's: each alert by itself, soon.
fn one_by_one(folder: &Path, url: &str) -> String {
    let file = folder.join("alertmanager.yml");
    let yaml = format!(
        "route: {{receiver: ops, group_by: [alertname], group_wait: 100ms, group_interval: 200ms, repeat_interval: 24h}}\n\
         receivers: [{{name: ops, webhook_configs: [{{url: '{url}'}}]}}]\n"
    );
    fs::write(&file, yaml).expect("written");
    file.to_str().expect("text").to_owned()
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("later").as_secs()
}

/// Rules that a server has evaluated.
async fn evaluated(server: &Server) -> f64 {
    figure(server, "pulseboard_rule_evaluations_total").await
}

async fn figure(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").await.text().await.expect("text");
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("it is there").parse().expect("a number")
}

/// Which of them evaluates most: that is who has the many rules.
async fn holder(servers: &[Server]) -> usize {
    let mut before = Vec::new();
    for server in servers {
        before.push(evaluated(server).await);
    }
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (place, server) in servers.iter().enumerate() {
            if evaluated(server).await - before[place] > 20.0 {
                return place;
            }
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "nobody evaluates"
        );
    }
}

/// Alerts that were told, with how often they were told so and under which keys.
type Told = BTreeMap<(String, String), (usize, BTreeSet<String>)>;

/// What a user of a receiver would complain about; what was told.
fn told_well(recorder: &Recorder, label: &str) -> Told {
    let mut times = Told::new();
    for one in recorder.heard() {
        for (name, status) in one.told(label) {
            let is_begun = times.contains_key(&(name.to_owned(), "firing".to_owned()));
            assert!(
                status == "firing" || is_begun,
                "{name} ends before it began"
            );
            let key = (name.to_owned(), status.to_owned());
            let (count, keys) = times.entry(key).or_default();
            *count += 1;
            keys.insert(one.key.clone());
        }
    }
    for ((name, status), (count, keys)) in &times {
        assert!(*count <= 2, "{name} {status}: {count} times");
        let what = "what came twice has one key";
        assert_eq!(keys.len(), 1, "{name} {status}: {what}: {keys:?}");
    }
    times
}

/// Incidents by the name of their rule.
async fn incidents(server: &Server, tenant: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let all = get(server, "/api/incidents?limit=1000", tenant).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut by_rule: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in all["incidents"].as_array().expect("a list") {
        let entry = by_rule.entry(text(&one["rule"])).or_default();
        entry.push((text(&one["incident"]), text(&one["state"])));
    }
    by_rule
}

/// Rules of the default tenant.
const RULES: u64 = 40;

/// Rules of two tenants, whose holder is killed three times and stands still once: everybody is
/// told once of each firing, and all servers know the same.
#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_once_whoever_is_killed_or_stands_still() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (recorder, of_shop) = (Recorder::start(), Recorder::start());
    let folder = tempfile::tempdir().expect("a folder");
    let config = one_by_one(folder.path(), &recorder.url);
    let more = [
        TOKENS,
        ("METRIC_SOURCE", "none"),
        ("NOTIFY_PRIVATE", "on"),
        ("NOTIFY_BUDGET", "off"),
        ("ALERTMANAGER_CONFIG", &*config),
    ];
    let mut servers: Vec<Server> = ["a", "b", "c"]
        .map(|name| Server::start(name, &redis, &more))
        .into();
    for server in &servers {
        server.is_joined_by(3).await;
    }
    make(
        &servers[0],
        "/api/receivers",
        "shop",
        &hook("shop", &of_shop.url),
    )
    .await;
    // Each fires once, for a dozen seconds; every second of them has to hold first.
    let first = now_s() + 8;
    for number in 0..RULES {
        let (from, hold) = (first + number, if number % 2 == 0 { "0s" } else { "3s" });
        let rule = json!({
            "alert": format!("R{number}"), "every": "500ms", "for": hold,
            "expr": format!("(vector(time()) >= {from}) < {}", from + 12),
        });
        let server = &servers[usize::try_from(number).expect("small") % 3];
        make(server, "/api/rules", "default", &rule).await;
    }
    for number in 0..3 {
        let rule = json!({
            "alert": "Shop", "every": "1s", "labels": {"i": number.to_string()},
            "expr": format!("vector(time()) >= {first}"),
        });
        make(&servers[1], "/api/rules", "shop", &rule).await;
    }

    // Acknowledged at one, it is seen at all; silenced at one, nobody is told by any.
    make(
        &servers[2],
        "/api/v2/silences",
        "default",
        &silence("alertname", "R39"),
    )
    .await;
    let names = ["a", "b", "c"];
    for round in 0..3 {
        let dies = holder(&servers).await;
        servers[dies].signal("KILL");
        let name = names[dies];
        tokio::time::sleep(Duration::from_secs(5)).await;
        servers[dies] = Server::start(name, &redis, &more);
        servers[dies].is_joined_by(3).await;
        eprintln!(
            "round {round}: {name} was killed at {}",
            now_s().saturating_sub(first)
        );
    }
    let stands = holder(&servers).await;
    servers[stands].signal("STOP");
    eprintln!(
        "{} stands still at {}",
        names[stands],
        now_s().saturating_sub(first)
    );
    tokio::time::sleep(Duration::from_secs(8)).await;
    servers[stands].signal("CONT");

    // Until all is over.
    let left = (first + RULES + 12 + 8).saturating_sub(now_s());
    tokio::time::sleep(Duration::from_secs(left)).await;
    for server in &servers {
        server.is_joined_by(3).await;
    }
    let is_whole = |told: &Told| {
        (0..RULES - 1).all(|number| {
            let has = |status: &str| told.contains_key(&(format!("R{number}"), status.to_owned()));
            has("firing") && has("resolved")
        })
    };
    eventually("everybody is told of everything", async || {
        is_whole(&told_well(&recorder, "alertname"))
    })
    .await;
    let told = told_well(&recorder, "alertname");
    assert!(
        !told.contains_key(&("R39".to_owned(), "firing".to_owned())),
        "it is silenced"
    );
    let twice = told.values().filter(|(count, _)| *count > 1).count();
    assert!(twice <= 8, "{twice} doubles by four takeovers");
    eventually("the other tenant, too", async || {
        (0..3).all(|number| {
            told_well(&of_shop, "i").contains_key(&(number.to_string(), "firing".to_owned()))
        })
    })
    .await;
    for ((number, _), (count, _)) in told_well(&of_shop, "i") {
        assert!(count <= 2, "{number}: {count} times");
    }

    // All know the same: one incident of each firing, wherever they are asked.
    let mut known = Vec::new();
    for server in &servers {
        eventually("it is over everywhere", async || {
            let all = incidents(server, "default").await;
            (0..RULES).all(|number| {
                let of = all.get(&format!("R{number}"));
                of.is_some_and(|of| of.iter().all(|(_, state)| state == "resolved"))
            })
        })
        .await;
        known.push(incidents(server, "default").await);
    }
    for number in 0..RULES {
        let name = format!("R{number}");
        let of: Vec<_> = known.iter().map(|all| &all[&name]).collect();
        assert_eq!(of[0].len(), 1, "{name}: one firing is one incident: {of:?}");
        assert!(of.iter().all(|one| *one == of[0]), "{name}: {of:?}");
    }
    let shop = incidents(&servers[0], "shop").await;
    assert_eq!(shop["Shop"].len(), 3, "{shop:?}");

    // Who takes one in hand at one server has it in hand at all.
    let (id, _) = &shop["Shop"][0];
    let path = format!("/api/alerts/{id}/ack");
    make(&servers[2], &path, "shop", &json!({"comment": "mine"})).await;
    let all: Vec<&Server> = servers.iter().collect();
    let path = format!("/api/alerts/{id}");
    soon("in hand", &all, &path, "shop", |one| {
        one["acknowledged"]["comment"] == "mine"
    })
    .await;
    // The log of what was sent is the same, too.
    soon(
        "the log",
        &all,
        "/api/notifications?limit=1000",
        "default",
        |log| {
            let all = log["notifications"].as_array();
            all.is_some_and(|all| all.len() >= 2 * (usize::try_from(RULES).expect("small") - 1))
        },
    )
    .await;
    let refused = figure(&servers[stands], "pulseboard_alert_writes_refused_total").await;
    eprintln!("writes refused: {refused}, doubles: {twice}");
}

/// Without Redis a server tells of what its own host has, or of everything; and of everything that
/// it did not tell once the others are there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_alone_tells_what_it_is_to_tell() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let (quiet, loud) = (Recorder::start(), Recorder::start());
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let of = |prefix: &'static str, alone: &'static str, recorder: &Recorder, place: usize| {
        let config = one_by_one(folders[place].path(), &recorder.url);
        let more = [
            TOKENS,
            ("METRIC_SOURCE", "none"),
            ("NOTIFY_PRIVATE", "on"),
            ("REDIS_PREFIX", prefix),
            ("ALERTS_ALONE", alone),
            ("ALERTMANAGER_CONFIG", &*config),
        ];
        Server::start(prefix, &redis, &more)
    };
    let (own, all) = (of("own", "own", &quiet, 0), of("all", "all", &loud, 1));
    let from = now_s() + 12;
    let rule = json!({
        "alert": "Later", "every": "500ms", "expr": format!("vector(time()) >= {from}"),
    });
    for server in [&own, &all] {
        server.is_joined_by(1).await;
        make(server, "/api/rules", "default", &rule).await;
        eventually("it is evaluated", async || evaluated(server).await > 0.0).await;
    }
    redis.kill();
    for server in [&own, &all] {
        eventually("it is alone", async || server.state().await.1 == "alone").await;
    }
    let is_told = |recorder: &Recorder| {
        told_well(recorder, "alertname").contains_key(&("Later".to_owned(), "firing".to_owned()))
    };
    eventually("it tells of everything", async || is_told(&loud)).await;
    assert!(!is_told(&quiet), "this is not about its own host");
    redis.again();
    for server in [&own, &all] {
        server.is_joined_by(1).await;
    }
    eventually("it tells once it has joined", async || is_told(&quiet)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = told_well(&loud, "alertname");
    assert_eq!(told.len(), 1, "it goes on: {told:?}");
    assert_eq!(incidents(&all, "default").await["Later"].len(), 1);
}
