//! What is sent to the store: every tenant's samples, by [`pulseboard_forward`]'s queue, held for a
//! while when the store has them.

use std::{path::Path, sync::Arc, time::Duration};

use pulseboard_forward::{IsOurs, Limits, Manner, Runs, Sending};
use pulseboard_outbound::{Client, ClientConfig};
use pulseboard_scrape::{WallClock, config};

use crate::{TENANT_LABEL, Way, runs::StartTime};

/// Samples of one request, how long they wait for more, and how many requests are under way.
const QUEUE: &str = "max_samples_per_send: 2000, batch_send_deadline: 1s, max_shards: 4, \
    min_backoff: 250ms, max_backoff: 10s";

/// Where samples go, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address of remote write. A name and a password may stand in it.
    pub url: String,
    /// How it is told whose they are.
    pub way: Way,
    /// What the store has is held for so long.
    pub hold: Duration,
}

/// Takes samples for a store, nothing of which is sent before [`Sending::start`]. What waits and is
/// held is kept in `folder`, or in memory where there is none; `is_ours` says whose samples are
/// this server's to send. Blocks for the disk.
///
/// # Errors
/// What is wrong with the address, or with the folder; in words.
pub fn open(
    target: &Target,
    folder: Option<&Path>,
    limits: Limits,
    is_ours: Option<IsOurs>,
    clock: WallClock,
) -> Result<Sending, String> {
    target.way.check(&target.url)?;
    // As a file would say it: what is missing is as there.
    let url = serde_json::Value::from(target.url.as_str());
    let file = format!(
        "remote_write: [{{url: {url}, name: archive, queue_config: {{{QUEUE}}}, \
         metadata_config: {{send: false}}}}]"
    );
    let config = config::parse(&file, Path::new("archive")).map_err(|error| error.to_string())?;
    let config = config.remote_write.first().ok_or("there is no address")?;
    let client = Client::patient(&ClientConfig::default()).map_err(|error| error.to_string())?;
    let runs: Arc<dyn Runs> = Arc::new(StartTime::of(client, &target.url));
    let manner = Manner {
        tenant_label: Some(TENANT_LABEL),
        said: target.way.said(),
        is_careful: true,
        hold: Some((target.hold, Some(runs))),
        is_ours,
    };
    Sending::open(folder, limits, config, manner, clock)
}
