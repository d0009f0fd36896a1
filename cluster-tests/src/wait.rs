//! Waiting for conditions, and never longer than said.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Asks until it is so; how long that took.
///
/// # Errors
/// It is not so within that time; the text has what the last answer was.
pub async fn eventually(
    what: &str,
    within: Duration,
    mut is_so: impl AsyncFnMut() -> Result<bool>,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let answer = is_so().await;
        let took = began.elapsed();
        match answer {
            Ok(true) => return Ok(took),
            Ok(false) if took > within => bail!("not so within {within:?}: {what}"),
            Err(error) if took > within => {
                return Err(error.context(format!("not so within {within:?}: {what}")));
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A port that nobody listens at now.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
