//! What one caller cannot use up for the rest: rooms, tenants, memory for bodies, threads.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use pulseboard::rooms::ROOMS_MAX;
use pulseboard_shared::Role;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{PATIENCE, TestServer, problem, ws::WsClient},
};

/// Joins a room, or is told why not.
async fn join(client: &mut WsClient, room: &str) -> Result<(), String> {
    client
        .send(&json!({ "action": "subscribe", "channel": room }).to_string())
        .await;
    loop {
        let said = client.json().await;
        match said["type"].as_str() {
            Some("subscribed") => return Ok(()),
            Some("error") => return Err(said["text"].as_str().unwrap_or_default().to_owned()),
            _ => {}
        }
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(body).expect("to memory");
    packed.finish().expect("to memory")
}

#[tokio::test]
async fn rooms_that_one_client_went_through_are_gone() {
    let server = TestServer::start_with(|settings| settings.max_messages_per_sec = 100_000).await;
    let mut chat = server.ws("/ws/chat").await;
    for number in 0..1_100 {
        let join = json!({ "type": "join_room", "room": format!("r{number}") });
        chat.send(&join.to_string()).await;
    }
    let last = json!({ "type": "system", "text": "Joined room: r1099" });
    loop {
        let said = chat.json().await;
        assert_ne!(said["type"], "error", "{said}");
        if said == last {
            break;
        }
    }
    let rooms = server.json("/api/rooms").await;
    let names: Vec<_> = rooms.as_array().map_or_else(
        || rooms["rooms"].as_array().cloned().unwrap_or_default(),
        Clone::clone,
    );
    let names: Vec<_> = names
        .iter()
        .filter_map(|room| room["name"].as_str())
        .collect();
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with('r'))
            .collect::<Vec<_>>(),
        [&"r1099"],
        "an empty room in which nothing was said goes at once"
    );
    assert_eq!(server.ws("/ws").await.json().await["type"], "init");
    server.stop().await;
}

#[tokio::test]
async fn who_made_too_many_rooms_is_told_and_others_and_the_known_rooms_are_open() {
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.max_messages_per_sec = 100_000;
    })
    .await;
    let open = async |role, path| {
        let authorization = bearer(role);
        server
            .try_ws(path, &[("authorization", &authorization)])
            .await
            .expect("it opens")
    };
    let mut clients = Vec::new();
    let mut made = 0;
    let refusal = 'full: loop {
        let mut client = open(Role::Viewer, "/ws").await;
        for _ in 0..90 {
            match join(&mut client, &format!("mine-{made}")).await {
                Ok(()) => made += 1,
                Err(refusal) => break 'full refusal,
            }
        }
        clients.push(client);
    };
    assert!(made <= ROOMS_MAX / 2, "one token has a share: {made}");
    assert!(refusal.starts_with("Too many rooms: "), "{refusal}");
    assert!(refusal.contains("for those who have at most"), "{refusal}");
    // One that is there can be joined by whoever likes.
    let mut same = open(Role::Viewer, "/ws").await;
    assert_eq!(join(&mut same, "mine-0").await, Ok(()));
    for known in ["general", "dashboard"] {
        assert_eq!(join(&mut same, known).await, Ok(()), "always open");
    }
    let mut other = open(Role::Operator, "/ws").await;
    assert_eq!(join(&mut other, "yours").await, Ok(()));
    let mut chat = open(Role::Viewer, "/ws/chat").await;
    assert_eq!(chat.json().await["text"], "Welcome to the chat!");
    let mut admin = open(Role::Admin, "/ws").await;
    assert_eq!(join(&mut admin, "operations").await, Ok(()));
    // What was made is given back.
    drop(clients);
    server
        .eventually("there is room again", async || {
            join(&mut same, "another").await.is_ok()
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn the_events_that_a_client_names_are_bounded_in_all_its_rooms() {
    let server = TestServer::start().await;
    let mut client = server.ws("/ws").await;
    client.json_of("init").await;
    let events: Vec<String> = (0..100).map(|number| format!("e{number:0119}")).collect();
    let mut taken = 0;
    let refusal = loop {
        let ask =
            json!({ "action": "subscribe", "channel": format!("r{taken}"), "events": events });
        client.send(&ask.to_string()).await;
        let said = client.json().await;
        if said["type"] == "error" {
            break said["text"].as_str().expect("text").to_owned();
        }
        taken += 1;
    };
    assert_eq!(taken, 4, "64 KiB are four lists of 14 KB");
    assert!(refusal.starts_with("Too many event names"), "{refusal}");
    // The same room again is no other, and one that was left is forgotten.
    for action in ["subscribe", "unsubscribe"] {
        let ask = json!({ "action": action, "channel": "r0", "events": events });
        client.send(&ask.to_string()).await;
        assert_ne!(client.json().await["type"], "error");
    }
    let ask = json!({ "action": "subscribe", "channel": "r9", "events": events });
    client.send(&ask.to_string()).await;
    client.json_of("subscribed").await;
    server.stop().await;
}

/// Neither a refused push, nor one of which nothing is taken, nor a question makes a tenant.
#[tokio::test]
async fn asking_in_a_tenants_name_leaves_nothing_behind() {
    let server = TestServer::start_with(with_tokens).await;
    let send = async |role: Option<Role>, path: &str, tenant: &str, body: &'static str| {
        let mut request = server
            .request(reqwest::Method::POST, path)
            .header("content-type", "application/json")
            .header("x-tenant-id", tenant);
        if let Some(role) = role {
            request = request.header("authorization", bearer(role));
        }
        let answer = request.body(body).send().await.expect("an answer");
        answer.status().as_u16()
    };
    let tenants = async || {
        let answer = server
            .send_as(&bearer(Role::Admin), reqwest::Method::GET, "/metrics", None)
            .await;
        let text = answer.text().await.expect("text");
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("pulseboard_series{tenant=\"")?;
            rest.split('"').next().map(str::to_owned)
        });
        lines.collect::<Vec<_>>()
    };
    for path in [
        "/v1/metrics",
        "/push",
        "/write",
        "/api/v2/write",
        "/metrics/track",
    ] {
        assert_eq!(send(None, path, "ghost1", "{}").await, 401, "{path}");
        assert_eq!(
            send(Some(Role::Viewer), path, "ghost2", "{}").await,
            403,
            "{path}"
        );
    }
    send(Some(Role::Writer), "/push", "ghost3", "{}").await;
    send(Some(Role::Writer), "/v1/metrics", "ghost4", "{}").await;
    for path in [
        "/api/series",
        "/api/range?match=a",
        "/api/ingest",
        "/api/windows?match=a",
    ] {
        let answer = server
            .request(reqwest::Method::GET, path)
            .header("authorization", bearer(Role::Viewer))
            .header("x-tenant-id", "ghost5");
        answer.send().await.expect("an answer");
    }
    assert_eq!(tenants().await, ["default"]);
    let body = r#"{"name":"a","value":1}"#;
    assert_eq!(send(Some(Role::Writer), "/push", "red", body).await, 200);
    assert_eq!(tenants().await, ["default", "red"]);
    let item = r#"{"type":"page_view","value":1}"#;
    let path = "/metrics/track";
    assert_eq!(send(Some(Role::Writer), path, "blue", item).await, 200);
    assert_eq!(tenants().await, ["blue", "default", "red"]);
    server.stop().await;
}

/// Who watches a tenant before it is there sees its first sample.
#[tokio::test]
async fn a_tenant_that_is_watched_before_it_is_there_is_one_and_the_same() {
    let server = TestServer::start().await;
    let mut client = server.ws("/ws?tenant=new").await;
    client.json_of("init").await;
    client.send(r#"{"action":"watch","match":"a"}"#).await;
    client.json_of("watched").await;
    let answer = server
        .request(reqwest::Method::POST, "/push?tenant=new")
        .body("a 7\n");
    assert_eq!(answer.send().await.expect("an answer").status(), 200);
    let samples = client.json_of("samples").await;
    assert!(samples.to_string().contains('7'), "{samples}");
    server.stop().await;
}

/// Small packed bodies that become large are worked on beside the threads that serve, and one
/// sender's wait for each other and not in front of another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packed_bodies_hold_nobody_up() {
    let server = TestServer::start_with(with_tokens).await;
    let mistakes = gzipped(&b"!\n".repeat(1 << 20));
    assert!(mistakes.len() < 16 * 1024, "{} bytes", mistakes.len());
    let send = |body: Vec<u8>, role| {
        let request = server
            .request(reqwest::Method::POST, "/push")
            .timeout(10 * PATIENCE)
            .header("authorization", bearer(role));
        let request = match body.starts_with(&[0x1f, 0x8b]) {
            true => request.header("content-encoding", "gzip"),
            false => request,
        };
        tokio::spawn(request.body(body).send())
    };
    let flood: Vec<_> = (0..12)
        .map(|_| send(mistakes.clone(), Role::Writer))
        .collect();
    let began = Instant::now();
    let good = send(gzipped(b"good 1\n"), Role::Operator);
    for _ in 0..20 {
        assert_eq!(server.get("/healthz").await.status(), 200);
    }
    let good = good.await.expect("no panic").expect("an answer");
    assert_eq!(good.status(), 200);
    let waited = began.elapsed();
    let mut refused = Vec::new();
    for one in flood {
        let answer = one.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 400);
        let answer: Value = answer.json().await.expect("JSON");
        refused.push(answer["refusedTotal"].clone());
    }
    let flooded = began.elapsed();
    assert!(
        waited < flooded / 2,
        "a good sender waited {waited:?} of {flooded:?}"
    );
    // Also of those lines that were not looked at.
    assert_eq!(refused, vec![json!(1 << 20); 12]);
    server.stop().await;
}

#[tokio::test]
async fn one_token_cannot_take_all_the_memory_for_bodies() {
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.max_body_bytes = 100_000;
    })
    .await;
    // Four times that is there for all, the half of it for a token. The last bytes do not come.
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut raw = server.raw_connection().await;
        let head = format!(
            "POST /push HTTP/1.1\r\nHost: x\r\nContent-Length: 90001\r\nAuthorization: {}\r\n\r\n",
            bearer(Role::Writer)
        );
        raw.send(head.as_bytes()).await;
        raw.send(&vec![b'#'; 90_000]).await;
        slow.push(raw);
    }
    // The third finds no more.
    let mut answers = Vec::new();
    for raw in &mut slow {
        let answer = tokio::time::timeout(Duration::from_millis(500), raw.head()).await;
        answers.extend(answer);
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].starts_with("HTTP/1.1 503"), "{answers:?}");
    assert!(
        answers[0].to_lowercase().contains("retry-after"),
        "{answers:?}"
    );
    let good = server
        .request(reqwest::Method::POST, "/push")
        .header("authorization", bearer(Role::Operator))
        .body(format!("{}\ngood 1\n", "#".repeat(60_000)));
    assert_eq!(good.send().await.expect("an answer").status(), 200);
    let text = server
        .send_as(&bearer(Role::Admin), reqwest::Method::GET, "/metrics", None)
        .await;
    let text = text.text().await.expect("text");
    assert!(text.contains("pulseboard_limit_hits_total{limit=\"body_share\"} 1\n"));
    drop(slow);
    server.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_all_places_for_streams() {
    let server = TestServer::start_with(|settings| settings.max_connections = 16).await;
    let mut streams = Vec::new();
    let refused = loop {
        match server.try_ws("/ws/metrics", &[]).await {
            Ok(stream) => streams.push(stream),
            Err(refused) => break refused,
        }
    };
    assert_eq!(streams.len(), 13, "what leaves three to others");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let elsewhere = reqwest::Client::builder()
        .local_address(std::net::IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)))
        .build()
        .expect("a client");
    let stream = elsewhere.get(server.url("/events/alerts")).send().await;
    assert_eq!(stream.expect("an answer").status(), 200);
    let again = server.get("/events/alerts").await;
    problem(again, 503).await;
    drop(streams);
    server.stop().await;
}
