//! `GET /ws/chat`.

use serde_json::{Value, json};

use crate::support::{TestServer, ws::WsClient};

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
    assert_eq!(
        bob.json().await,
        said,
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
