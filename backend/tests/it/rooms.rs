//! `GET /ws`, `GET /api/rooms`, `POST /api/rooms/{room}/events`.

use std::collections::BTreeMap;

use pulseboard::settings::{RoomSettings, Settings};
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestServer, problem, token, ws::WsClient};

/// Opens `/ws` and reads what comes at once.
async fn enter(server: &TestServer) -> WsClient {
    let mut client = server.ws("/ws").await;
    client.json_of("init").await;
    client
}

async fn join(client: &mut WsClient, channel: &str) {
    client
        .send(&json!({"action": "subscribe", "channel": channel}).to_string())
        .await;
    assert_eq!(
        client.json().await,
        json!({"type": "subscribed", "channel": channel})
    );
}

fn with_roles(settings: &mut Settings) {
    settings.anonymous_role = Some(Role::None);
    settings.tokens = Role::ALL
        .map(|role| token(&role.to_string(), role, None))
        .to_vec();
}

async fn enter_as(server: &TestServer, role: &str) -> WsClient {
    let bearer = format!("Bearer {role}");
    let mut client = server
        .try_ws("/ws", &[("authorization", &bearer)])
        .await
        .unwrap_or_else(|_| panic!("{role} opens"));
    client.json_of("init").await;
    client
}

#[tokio::test]
async fn rooms_of_one_name_are_apart_for_each_tenant_and_go_when_empty() {
    let server = TestServer::start().await;
    let mut red = server.ws("/ws?tenant=red").await;
    let mut blue = server.ws("/ws?tenant=blue").await;
    for client in [&mut red, &mut blue] {
        client
            .send(r#"{"action":"subscribe","channel":"talk"}"#)
            .await;
    }
    server
        .eventually("each tenant has one member in its room", async || {
            let mut ones = 0;
            for tenant in ["red", "blue", "default"] {
                let rooms = server.json(&format!("/api/rooms?tenant={tenant}")).await;
                let rooms = rooms.as_array().cloned().unwrap_or_default();
                ones += rooms
                    .iter()
                    .filter(|room| room["name"] == "talk" && room["members"] == 1)
                    .count();
            }
            ones == 2
        })
        .await;
    blue.send(r#"{"action":"publish","channel":"talk","data":1}"#)
        .await;
    blue.send(r#"{"action":"ping"}"#).await;
    while blue.json().await["type"] != "pong" {}
    red.send(r#"{"action":"ping"}"#).await;
    loop {
        let message = red.json().await;
        assert_ne!(message["type"], "message", "nothing comes from elsewhere");
        if message["type"] == "pong" {
            break;
        }
    }
    drop(red);
    server
        .eventually("the empty room goes after its time", async || {
            server.clock.advance(std::time::Duration::from_secs(10));
            let rooms = server.json("/api/rooms?tenant=red").await;
            let rooms = rooms.as_array().cloned().unwrap_or_default();
            rooms.iter().all(|room| room["name"] != "talk")
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn the_dashboard_gets_figures_on_opening_and_at_each_tick() {
    let mut server =
        TestServer::start_with(|settings| settings.anonymous_role = Some(Role::Viewer)).await;
    server.tick(10.0).await;
    let mut client = server.ws("/ws").await;
    let init = client.json_of("init").await;
    assert_eq!(init["data"], server.json("/api/stats").await);
    server.tick(20.0).await;
    let update = client.json().await;
    assert_eq!(
        update,
        json!({"type": "update", "data": server.json("/api/stats").await})
    );
    client
        .send(r#"{"action":"unsubscribe","channel":"dashboard"}"#)
        .await;
    assert_eq!(
        client.json().await,
        json!({"type": "unsubscribed", "channel": "dashboard"})
    );
    server.tick(30.0).await;
    client.send(r#"{"action":"dance"}"#).await;
    assert_eq!(
        client.json().await,
        json!({"type": "error", "text": "Unknown action"}),
        "and no update before it"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_message_reaches_each_member_once_in_order_and_not_its_sender() {
    let server =
        TestServer::start_with(|settings| settings.anonymous_role = Some(Role::Operator)).await;
    let (mut sender, mut member, mut stranger) = (
        enter(&server).await,
        enter(&server).await,
        enter(&server).await,
    );
    join(&mut sender, "team/a").await;
    join(&mut member, "team/a").await;
    join(&mut stranger, "team/b").await;
    for number in 0..500 {
        sender
            .send(
                &json!({"action": "publish", "channel": "team/a", "data": {"number": number}})
                    .to_string(),
            )
            .await;
    }
    for number in 0..500 {
        let message = member.json().await;
        assert_eq!(
            message,
            json!({"type": "message", "channel": "team/a", "data": {"number": number}})
        );
    }
    for client in [&mut sender, &mut stranger] {
        client.send(r#"{"action":"ping"}"#).await;
        client.json_of("pong").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn each_action_asks_for_its_role() {
    let server = TestServer::start_with(with_roles).await;
    for role in ["viewer", "operator"] {
        let mut client = enter_as(&server, role).await;
        client
            .send(r#"{"action":"subscribe","channel":"operations"}"#)
            .await;
        let refused = client.json_of("error").await;
        assert!(
            refused["text"]
                .as_str()
                .is_some_and(|text| text.starts_with("Forbidden: ")),
            "{refused}"
        );
    }
    let mut viewer = enter_as(&server, "viewer").await;
    viewer
        .send(r#"{"action":"publish","channel":"x","data":1}"#)
        .await;
    let refused = viewer.json_of("error").await;
    assert!(
        refused["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Forbidden: ")),
        "{refused}"
    );
    for role in ["none", "writer"] {
        let bearer = format!("Bearer {role}");
        let refused = server
            .try_ws("/ws", &[("authorization", &bearer)])
            .await
            .err();
        assert_eq!(
            refused.map(|answer| answer.status().as_u16()),
            Some(403),
            "{role}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn operations_carries_typed_figures_and_alerts_to_admins() {
    let mut server = TestServer::start_with(|settings| {
        with_roles(settings);
        settings.anonymous_role = Some(Role::Viewer);
    })
    .await;
    let mut admin = enter_as(&server, "admin").await;
    server.tick(95.0).await;
    let mut seen = BTreeMap::new();
    while seen.len() < 2 {
        let message = admin.json().await;
        if message["type"] == "event" {
            assert_eq!(message["room"], "operations");
            seen.insert(
                message["event"].as_str().unwrap_or_default().to_owned(),
                message["data"].clone(),
            );
        }
    }
    assert_eq!(
        seen["metrics:update"],
        json!({"cpu": 95.0, "memory": 47.5, "requests": 950.0, "errors": 0.0, "latency": 23.75})
    );
    let alert = &seen["alert:triggered"];
    assert_eq!(
        (&alert["severity"], &alert["message"]),
        (&json!("critical"), &json!("CPU usage critical: 95.0%"))
    );
    assert!(alert["timestamp"].is_i64() && alert["alertId"].is_string());
    server.stop().await;
}

fn with_deploys(settings: &mut Settings) {
    let version = json!({"type": "object", "required": ["version"], "properties": {"version": {"type": "string"}}});
    settings.rooms.insert(
        "deploys".to_owned(),
        RoomSettings {
            description: "What went out".to_owned(),
            events: BTreeMap::from([
                ("done".to_owned(), version.clone()),
                ("begun".to_owned(), version),
            ]),
            default_subscriptions: vec!["done".to_owned()],
            ..RoomSettings::default()
        },
    );
}

async fn trigger(server: &TestServer, room: &str, body: &Value) -> reqwest::Response {
    let request = server.request(Method::POST, &format!("/api/rooms/{room}/events"));
    request.json(body).send().await.expect("an answer")
}

#[tokio::test]
async fn an_event_that_does_not_fit_is_refused_and_not_sent() {
    let server = TestServer::start_with(with_deploys).await;
    let mut client = enter(&server).await;
    join(&mut client, "deploys").await;
    let refused = problem(
        trigger(
            &server,
            "deploys",
            &json!({"event": "done", "data": {"version": 7}}),
        )
        .await,
        422,
    )
    .await;
    assert_eq!(refused["errors"][0]["pointer"], "/data/version");
    problem(
        trigger(&server, "deploys", &json!({"event": "undone", "data": {}})).await,
        422,
    )
    .await;
    problem(trigger(&server, "deploys", &json!({"data": {}})).await, 400).await;
    problem(
        trigger(&server, "a%20b", &json!({"event": "x", "data": 1})).await,
        400,
    )
    .await;
    let sent = trigger(
        &server,
        "deploys",
        &json!({"event": "done", "data": {"version": "1.2"}}),
    )
    .await;
    assert_eq!(sent.status(), 200);
    assert_eq!(
        client.json().await,
        json!({"type": "event", "room": "deploys", "event": "done", "data": {"version": "1.2"}})
    );
    server.stop().await;
}

#[tokio::test]
async fn a_member_gets_the_rooms_default_events_or_those_it_asks_for() {
    let server = TestServer::start_with(with_deploys).await;
    let (mut by_default, mut asking) = (enter(&server).await, enter(&server).await);
    join(&mut by_default, "deploys").await;
    asking
        .send(r#"{"action":"subscribe","channel":"deploys","events":["begun"]}"#)
        .await;
    asking.json_of("subscribed").await;
    for event in ["begun", "done"] {
        trigger(
            &server,
            "deploys",
            &json!({"event": event, "data": {"version": "1"}}),
        )
        .await;
    }
    assert_eq!(by_default.json_of("event").await["event"], "done");
    assert_eq!(asking.json_of("event").await["event"], "begun");
    server.stop().await;
}

/// Reads on to an answer, past what the room says.
async fn answered(client: &mut WsClient, kind: &str) {
    while client.json().await["type"] != kind {}
}

#[tokio::test]
async fn a_triggered_event_says_how_many_get_it() {
    let server = TestServer::start_with(with_deploys).await;
    let (mut by_default, mut asking, _elsewhere) = (
        enter(&server).await,
        enter(&server).await,
        enter(&server).await,
    );
    join(&mut by_default, "deploys").await;
    asking
        .send(r#"{"action":"subscribe","channel":"deploys","events":["begun","done"]}"#)
        .await;
    asking.json_of("subscribed").await;
    let members = async |event: &str| {
        let body = json!({"event": event, "data": {"version": "1"}});
        let answer = trigger(&server, "deploys", &body).await;
        answer.json::<Value>().await.expect("JSON")["members"].clone()
    };
    assert_eq!(
        (members("begun").await, members("done").await),
        (json!(1), json!(2))
    );
    // Asking for something else, a member stays one.
    asking
        .send(r#"{"action":"subscribe","channel":"deploys","events":["begun"]}"#)
        .await;
    answered(&mut asking, "subscribed").await;
    assert_eq!(
        (members("begun").await, members("done").await),
        (json!(1), json!(1))
    );
    asking
        .send(r#"{"action":"unsubscribe","channel":"deploys"}"#)
        .await;
    answered(&mut asking, "unsubscribed").await;
    assert_eq!(
        (members("begun").await, members("done").await),
        (json!(0), json!(1))
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_published_into_a_typed_room_fits_one_of_its_events_or_is_not_sent() {
    let server = TestServer::start_with(with_deploys).await;
    let (mut sender, mut member) = (enter(&server).await, enter(&server).await);
    for client in [&mut sender, &mut member] {
        join(client, "deploys").await;
    }
    for data in [json!("hello"), json!({"version": 7}), json!(null)] {
        let publish = json!({"action": "publish", "channel": "deploys", "data": data});
        sender.send(&publish.to_string()).await;
        let error = sender.json_of("error").await;
        let text = error["text"].as_str().unwrap_or_default();
        assert!(
            text.contains("deploys") && text.contains("nothing was sent"),
            "{text}"
        );
    }
    let fits = json!({"action": "publish", "channel": "deploys", "data": {"version": "2"}});
    sender.send(&fits.to_string()).await;
    // The first that comes.
    assert_eq!(
        member.json().await,
        json!({"type": "message", "channel": "deploys", "data": {"version": "2"}})
    );
    let mut talking = server.ws("/ws/chat").await;
    talking.json_of("system").await;
    talking
        .send(r#"{"type":"join_room","room":"deploys"}"#)
        .await;
    let error = talking.json_of("error").await;
    assert!(
        error["text"]
            .as_str()
            .is_some_and(|text| text.contains("typed events"))
    );
    server.stop().await;
}

#[tokio::test]
async fn presence_is_listed_and_told_to_those_who_ask() {
    let server = TestServer::start().await;
    let mut watcher = enter(&server).await;
    watcher
        .send(r#"{"action":"subscribe","channel":"lobby","presence":true}"#)
        .await;
    watcher.json_of("subscribed").await;
    assert_eq!(
        watcher.json().await,
        json!({"type": "presence", "channel": "lobby", "members": 1})
    );
    let mut guest = enter(&server).await;
    join(&mut guest, "lobby").await;
    assert_eq!(watcher.json_of("presence").await["members"], 2);
    let rooms = server.json("/api/rooms").await;
    let lobby = rooms
        .as_array()
        .and_then(|rooms| rooms.iter().find(|room| room["name"] == "lobby"));
    assert_eq!(lobby.map(|room| &room["members"]), Some(&json!(2)));
    drop(guest);
    assert_eq!(
        watcher.json_of("presence").await["members"],
        1,
        "a lost connection leaves at once"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_member_that_comes_back_resumes_behind_what_it_saw() {
    let server = TestServer::start().await;
    let (mut sender, mut member) = (enter(&server).await, enter(&server).await);
    member
        .send(r#"{"action":"subscribe","channel":"log","cursor":true}"#)
        .await;
    member.json_of("subscribed").await;
    for number in 0..3 {
        sender
            .send(&json!({"action": "publish", "channel": "log", "data": number}).to_string())
            .await;
    }
    let seen = member.json_of("message").await;
    drop(member);
    let mut member = enter(&server).await;
    let again = json!({"action": "subscribe", "channel": "log", "epoch": seen["epoch"], "offset": seen["offset"]});
    member.send(&again.to_string()).await;
    member.json_of("subscribed").await;
    for number in 1..3 {
        assert_eq!(member.json_of("message").await["data"], number);
    }
    server.stop().await;
}

#[tokio::test]
async fn rooms_of_one_client_are_bounded() {
    let server = TestServer::start_with(|settings| {
        with_roles(settings);
        settings.anonymous_role = Some(Role::Viewer);
        settings.max_rooms_per_client = 3;
    })
    .await;
    let mut client = enter_as(&server, "admin").await; // in dashboard and in operations
    join(&mut client, "one").await;
    client
        .send(r#"{"action":"subscribe","channel":"two"}"#)
        .await;
    client.json_of("error").await;
    assert_eq!(
        server
            .own_metric("pulseboard_limit_hits_total{limit=\"rooms\"}")
            .await,
        1
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_for_something_else_misses_nothing_meanwhile() {
    const MESSAGES: u64 = 400;
    let server = TestServer::start().await;
    let (mut member, mut publisher) = (enter(&server).await, enter(&server).await);
    join(&mut member, "x").await;
    let publishing = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let message = json!({"action": "publish", "channel": "x", "data": number});
            publisher.send(&message.to_string()).await;
        }
        publisher
    });
    let mut expected = 0;
    while expected < MESSAGES {
        member
            .send(r#"{"action":"subscribe","channel":"x","cursor":true}"#)
            .await;
        let message = member.json().await;
        if message["type"] == "message" {
            assert_eq!(message["data"], expected, "each once, in order");
            expected += 1;
        }
    }
    drop(publishing.await.expect("published"));
    server.stop().await;
}

#[tokio::test]
async fn members_that_come_and_go_take_no_place_in_what_a_resume_needs() {
    let server = TestServer::start().await;
    let mut member = enter(&server).await;
    member
        .send(r#"{"action":"subscribe","channel":"lobby","presence":true,"cursor":true}"#)
        .await;
    member.json_of("subscribed").await;
    assert_eq!(member.json_of("presence").await.get("offset"), None);
    let mut other = enter(&server).await;
    join(&mut other, "lobby").await;
    for (number, guests) in [(1, 10), (2, 0)] {
        for _ in 0..guests {
            let mut guest = enter(&server).await;
            join(&mut guest, "lobby").await;
        }
        other
            .send(r#"{"action":"publish","channel":"lobby","data":"hello"}"#)
            .await;
        let message = loop {
            let message = member.json().await;
            if message["type"] != "presence" {
                break message;
            }
        };
        assert_eq!(message["offset"], number, "{message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_said_while_the_only_member_is_away_is_there_when_it_comes_back() {
    let server = TestServer::start().await;
    let mut other = enter(&server).await;
    let mut member = enter(&server).await;
    let subscribe = |after: &Value| {
        json!({"action": "subscribe", "channel": "lobby", "cursor": true,
               "epoch": after["epoch"], "offset": after["offset"]})
        .to_string()
    };
    member
        .send(r#"{"action":"subscribe","channel":"lobby","cursor":true}"#)
        .await;
    member.json_of("subscribed").await;
    let say =
        |data: u32| json!({"action": "publish", "channel": "lobby", "data": data}).to_string();
    other.send(&say(1)).await;
    let seen = member.json_of("message").await;
    drop(member);
    server
        .eventually("it has left", async || {
            let rooms = server.json("/api/rooms").await;
            let lobby = rooms
                .as_array()
                .and_then(|rooms| rooms.iter().find(|room| room["name"] == "lobby"));
            lobby.is_some_and(|lobby| lobby["members"] == 0)
        })
        .await;
    other.send(&say(2)).await;
    other.send(r#"{"action":"ping"}"#).await;
    other.json_of("pong").await;
    let mut back = enter(&server).await;
    back.send(&subscribe(&seen)).await;
    back.json_of("subscribed").await;
    assert_eq!(back.json_of("message").await["data"], 2);
    server.stop().await;
}
