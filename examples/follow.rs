//! Follows the ticks over a WebSocket and misses none when the connection is lost: it comes back
//! with the epoch and the offset that it saw last.
//!
//! ```sh
//! cargo run -p pulseboard --example follow -- ws://127.0.0.1:3000
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a program for a terminal, whose functions a test uses, too"
)]

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// What was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Names the run of offsets.
    pub epoch: String,
    /// The newest tick seen in it.
    pub offset: u64,
}

/// Follows one connection until it ends, or until `seen` wants no more; tells it of each message.
/// The position goes along with what was seen, so that the next call goes on from there.
///
/// # Errors
/// The server cannot be reached, or sends what is no message.
pub async fn follow(
    url: &str,
    position: &mut Option<Position>,
    mut seen: impl FnMut(&str, &Value) -> bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let resume = position.as_ref().map_or_else(String::new, |position| {
        format!("?epoch={}&offset={}", position.epoch, position.offset)
    });
    let (mut socket, _) = connect_async(format!("{url}/ws/metrics{resume}")).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        let message: Value = serde_json::from_str(&text)?;
        let kind = message["type"].as_str().unwrap_or_default();
        if let (Some(epoch), Some(offset)) = (message["epoch"].as_str(), message["offset"].as_u64())
        {
            *position = Some(Position {
                epoch: epoch.to_owned(),
                offset,
            });
        }
        if !seen(kind, &message["data"]) {
            break;
        }
    }
    Ok(())
}

#[allow(dead_code, reason = "a test uses the rest of this file")]
#[tokio::main]
async fn main() {
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ws://127.0.0.1:3000".to_owned());
    let mut position = None;
    loop {
        let followed = follow(&url, &mut position, |kind, data| {
            println!("{kind}: {data}");
            true
        });
        if let Err(error) = followed.await {
            eprintln!("{error}; trying again in a second");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
