//! What the browser tests are told with: a real server, a real browser, and what may happen to
//! the network between them.
//!
//! | word | what it is |
//! |---|---|
//! | [`Server`] | the built binary on a port of its own; killed and started again |
//! | [`Page`] | a Chromium of its own, seen as a user sees it |
//! | [`Link`] | the network between them: cut, stalled, mended |
//! | [`Proxy`] | a proxy between them that refuses what it does not understand |
//! | [`Site`] | another origin that serves the page as plain files |
//! | [`eventually`] | waits for something to become true, and never longer than it says |
//!
//! Each ends what it started when it is dropped, also when a test panics. `cargo xtask test`
//! builds the server and says in the environment where everything is (see [`setting`]).

mod link;
mod page;
mod proxy;
mod server;
mod site;
mod wait;

pub use link::Link;
pub use page::{Look, Page, visit, visit_watched};
pub use proxy::Proxy;
pub use server::Server;
pub use site::Site;
pub use wait::{SOON, eventually};

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where something that the tests need lies: `PULSEBOARD_BIN` (the server), `PULSEBOARD_PAGE`
/// (the built page), `CHROMIUM`, `CHROMEDRIVER`, and `AXE_CORE` (a script, or `none`).
///
/// # Errors
/// It is not said; a test must then fail and not pass for want of something to test.
pub fn setting(name: &str) -> Result<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).with_context(|| {
        format!("{name} is not set; `cargo xtask test` sees to all that the browser tests need")
    })
}
