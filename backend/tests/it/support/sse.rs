//! An event-stream client: reqwest and eventsource-stream, with the patience of a test.

use std::pin::Pin;

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{PATIENCE, TestServer};

pub(crate) struct SseClient {
    pub(crate) headers: HeaderMap,
    events: Pin<Box<dyn Stream<Item = Option<Event>> + Send>>,
}

impl TestServer {
    pub(crate) async fn sse(&self, path: &str) -> SseClient {
        self.sse_with(path, &[]).await
    }

    pub(crate) async fn sse_with(&self, path: &str, headers: &[(&'static str, &str)]) -> SseClient {
        let client = reqwest::Client::new();
        let request = headers
            .iter()
            .fold(client.get(self.url(path)), |request, (name, value)| {
                request.header(*name, *value)
            });
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers().clone();
        let events = answer.bytes_stream().eventsource().map(Result::ok);
        SseClient {
            headers,
            events: Box::pin(events),
        }
    }
}

impl SseClient {
    /// The next event, or `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.events.next())
            .await
            .expect("an event in time")
            .flatten()
    }

    /// The next event with its data as JSON.
    pub(crate) async fn json(&mut self) -> (Event, Value) {
        let event = self.next().await.expect("the stream goes on");
        let data = serde_json::from_str(&event.data).expect("JSON");
        (event, data)
    }
}
