//! Pushes samples from Rust over one connection that is kept open.
//!
//! ```sh
//! cargo run -p pulseboard --example push -- http://127.0.0.1:3000 my_token
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a program for a terminal, whose functions a test uses, too"
)]

use std::time::Duration;

use reqwest::{Client, StatusCode};

/// Pushes lines of `name{label="value"} value` and returns the server's answer. A server that is
/// busy says so by 503 and gets them again.
///
/// # Errors
/// The server cannot be reached, or refuses all of it; its words are in the error.
pub async fn push(
    client: &Client,
    url: &str,
    token: Option<&str>,
    lines: &str,
) -> Result<String, Box<dyn std::error::Error>> {
    loop {
        let mut request = client.post(format!("{url}/push")).body(lines.to_owned());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        match status {
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_secs(2)).await,
            status if status.is_success() => return Ok(text),
            status => return Err(format!("{status}: {text}").into()),
        }
    }
}

#[allow(dead_code, reason = "a test uses the rest of this file")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .unwrap_or_else(|| "http://127.0.0.1:3000".to_owned());
    let token = arguments.next();
    let client = Client::builder().timeout(Duration::from_secs(10)).build()?;
    for round in 0.. {
        let lines = format!("example_rounds{{from=\"rust\"}} {round}\n");
        println!("{}", push(&client, &url, token.as_deref(), &lines).await?);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
