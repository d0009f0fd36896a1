//! `pulseboard agent`: measures a machine and sends what it measured to a hub.
//!
//! ```text
//!   each second: measure ──> log on disk ──> the newest moments ──first──┐
//!                                 │                                      ├──> POST /api/v1/write
//!                                 └── what the hub has not yet ──then────┘
//! ```
//!
//! **A moment** is every series at one time, under a number of its own that only grows, also
//! across restarts. It is on the disk before it is sent, and counts as sent when the hub itself has
//! answered that it is written, so it outlives a kill of either side. What is sent a second time
//! since the answer was lost is the same sample again, which a hub takes for what it is.
//!
//! | module | what it is |
//! |---|---|
//! | [`frame`] | moments as bytes: a table of series, and what has changed since the last moment |
//! | [`sent`] | which moments the hub has |
//! | [`buffer`] | the log of moments, what of it is to be sent, what is too old |
//! | [`message`] | moments as a remote write message |
//! | [`hub`] | one request |
//! | [`http2`] | how a connection of HTTP/2 begins |
//! | [`sender`] | what is sent next |
//! | [`measure`] | a moment of this machine |
//! | [`names`] | what containers are called |
//! | [`scraping`] | what is scraped, with this machine's name |
//! | [`local`] | what local applications send |
//! | [`options`] | what it is started with |
//! | `external` | labels of all that is sent |
//! | `error` | why it cannot start |
//! | [`mod@unit`] | the systemd unit |

mod buffer;
mod error;
mod external;
mod frame;
pub mod http2;
mod hub;
mod local;
mod measure;
mod message;
mod names;
mod options;
mod scraping;
mod sender;
mod sent;
pub mod unit;

use std::sync::Arc;

use parking_lot::Mutex;
use pulseboard_scrape::{Config, Manager, WallClock};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    buffer::Buffer, hub::Hub, local::Doors, measure::Measuring, scraping::Scraped, sender::Sender,
};
pub use self::{
    buffer::Limits,
    error::AgentError,
    hub::check_hub,
    names::keep as keep_names,
    options::{Local, Options},
};

/// Measures and sends until it is told to stop; what is not sent then is kept. A configuration that
/// comes later takes the place of the one that there was; where there was none, nothing is scraped.
///
/// # Errors
/// Something that only a person can mend; a hub that does not answer is none.
pub async fn run(
    options: Options,
    configs: mpsc::Receiver<Config>,
    stopping: CancellationToken,
) -> Result<(), AgentError> {
    let hub = Hub::new(&options)?;
    let doors = Doors::open(options.local)?;
    let buffer = Buffer::open(&options.folder, options.limits)?;
    let waiting = buffer.waiting();
    tracing::info!(
        hub = %hub.shown(),
        instance = options.instance,
        moments.waiting = waiting,
        "measuring; {waiting} moments of earlier are still to be sent"
    );
    let buffer = Arc::new(Mutex::new(buffer));
    let sender = Sender::new(hub, Arc::clone(&buffer));
    let live = sender.live();
    let scraping = TaskTracker::new();
    let mut manager = None;
    let sink = Arc::new(Scraped {
        instance: options.instance.clone(),
        buffer: Arc::clone(&buffer),
        live: Arc::clone(&live),
    });
    doors.serve(&sink, &scraping, &stopping);
    if let Some(config) = &options.scrape {
        let sink = Arc::clone(&sink);
        let clock = WallClock::new(measure::now_ms);
        let started = Manager::start(sink, clock, scraping.clone(), stopping.clone());
        scraping::apply(&started, config, &live);
        manager = Some(started);
    }
    let measuring = Measuring::new(&options, Arc::clone(&buffer), Arc::clone(&live));
    let sending = sender.run(stopping.clone());
    let reading = scraping::follow(manager.clone(), configs, live, stopping.clone());
    tokio::join!(measuring.run(options.interval, stopping), sending, reading);
    scraping.close();
    scraping.wait().await;
    drop((manager, sink));
    let left = buffer.lock().close();
    tracing::info!(moments.waiting = left, "stopped; {left} moments are kept");
    Ok(())
}
