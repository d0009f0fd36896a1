//! A WebSocket client: tokio-tungstenite, with the patience of a test.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Response},
};

use super::{PATIENCE, TestServer};

pub(crate) struct WsClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl TestServer {
    pub(crate) async fn ws(&self, path: &str) -> WsClient {
        self.try_ws(path, &[]).await.expect("the socket opens")
    }

    /// Opens a socket with headers; the refusal as HTTP where there is one.
    pub(crate) async fn try_ws(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<WsClient, Response<Option<Vec<u8>>>> {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header value"));
        }
        let opening = tokio_tungstenite::connect_async(request);
        match tokio::time::timeout(PATIENCE, opening)
            .await
            .expect("an answer in time")
        {
            Ok((socket, _)) => Ok(WsClient(socket)),
            Err(Error::Http(response)) => Err(*response),
            Err(error) => panic!("the socket did not open: {error}"),
        }
    }
}

impl WsClient {
    pub(crate) async fn send(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.expect("the message is sent");
    }

    /// The next message of any kind but pings and pongs.
    pub(crate) async fn next_message(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next())
                .await
                .expect("a message in time");
            match next {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next text message as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        match self.next_message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The next text message, which must be of this type.
    pub(crate) async fn json_of(&mut self, kind: &str) -> Value {
        let message = self.json().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// Reads on until the server closes; the code and the reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next_message().await {
                Some(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }
}
