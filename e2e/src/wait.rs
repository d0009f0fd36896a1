//! Waiting for a condition with a deadline, in place of sleeping and hoping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for anything that should happen at once, on a machine that is busy with other
/// browsers.
pub const SOON: Duration = Duration::from_secs(10);

/// Between two looks: short beside a tick of the server, long beside what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `probe` yields something, and returns it.
///
/// A look that fails is as good as one that sees nothing: while a page is changing, an element
/// can be gone between being found and being read.
///
/// # Errors
/// It did not happen within `within`; the text tells `what`, and what the last look said.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let looked = probe().await;
        if let Ok(Some(seen)) = looked {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            match looked {
                Err(error) => bail!("within {within:?}, not seen: {what} (last: {error:#})"),
                Ok(_) => bail!("within {within:?}, not seen: {what}"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
