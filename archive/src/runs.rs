//! Which run of the store answers: its start time, as its `/metrics` says it.

use std::{str, time::Duration};

use pulseboard_forward::{RunAnswer, Runs, TENANT_IN_URL};
use pulseboard_outbound::{Client, HeaderMap};
use tokio::time::Instant;

/// So long the store has to say it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Of its figures; those of a large VictoriaMetrics are a few hundred kilobytes.
const FIGURES_BYTES: usize = 8 << 20;

/// Figures that say when the process began. The first that is there counts.
const BEGAN: [&str; 2] = ["process_start_time_seconds", "vm_app_start_timestamp"];

/// Asks the store for its start time.
#[derive(Debug)]
pub(crate) struct StartTime {
    client: Client,
    url: String,
}

impl StartTime {
    /// Of the store that is written to at `write_url`.
    pub(crate) fn of(client: Client, write_url: &str) -> Self {
        let url = figures_url(write_url);
        Self { client, url }
    }
}

impl Runs for StartTime {
    fn run(&self) -> RunAnswer<'_> {
        Box::pin(async {
            let deadline = Instant::now() + PATIENCE;
            let headers = HeaderMap::new();
            let asked = self
                .client
                .get(&self.url, &headers, deadline, FIGURES_BYTES)
                .await;
            let answer = asked.map_err(|error| error.to_string())?;
            match answer.status {
                200..=299 => Ok(began(&answer.body)),
                502..=504 => Err(format!("{} at {}", answer.status, self.url)),
                // It is there, and has no figures at that place.
                _ => Ok(None),
            }
        })
    }
}

/// Where a store that is written to at this address has its figures: beside the API, or, where
/// the tenant is in the path, at the server's top.
fn figures_url(write_url: &str) -> String {
    let above = |mark: &str| write_url.split_once(mark).map(|(above, _)| above);
    let top = [TENANT_IN_URL, "/insert/", "/api/v1/"]
        .iter()
        .filter_map(|mark| above(mark))
        .min_by_key(|above| above.len());
    let top = top.map(|top| match top.strip_suffix('/') {
        // Of `…/insert/{tenant}/…` the part before the word.
        Some(top) if write_url.contains(TENANT_IN_URL) => {
            top.rsplit_once('/').map_or(top, |(top, _)| top)
        }
        _ => top,
    });
    let origin = || {
        let url = url::Url::parse(write_url).ok()?;
        Some(url.join("/").ok()?.to_string())
    };
    let top = top.map(str::to_owned).or_else(origin).unwrap_or_default();
    format!("{}/metrics", top.trim_end_matches('/'))
}

/// The start time in an exposition, as a number that is another one for another time.
fn began(figures: &[u8]) -> Option<u64> {
    let mut known: [Option<u64>; BEGAN.len()] = [None; BEGAN.len()];
    for line in figures.split(|byte| *byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else {
            continue;
        };
        for (name, known) in BEGAN.iter().zip(&mut known) {
            let value = line.strip_prefix(name).and_then(|rest| {
                let rest = match rest.strip_prefix('{') {
                    Some(labels) => labels.split_once('}')?.1,
                    None => rest.strip_prefix(' ')?,
                };
                let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
                (value > 0.0).then_some(value.to_bits())
            });
            *known = known.or(value);
        }
    }
    known.into_iter().flatten().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_beside_the_api() {
        for (write_url, expected) in [
            ("http://a:8428/api/v1/write", "http://a:8428/metrics"),
            ("http://a/prom/api/v1/write", "http://a/prom/metrics"),
            ("https://a/api/v1/push", "https://a/metrics"),
            (
                "http://a:8480/insert/{tenant}/prometheus/api/v1/write",
                "http://a:8480/metrics",
            ),
            (
                "http://a:8480/insert/0/prometheus/api/v1/write",
                "http://a:8480/metrics",
            ),
            ("http://a:9090/receive", "http://a:9090/metrics"),
        ] {
            assert_eq!(figures_url(write_url), expected);
        }
    }

    #[test]
    fn the_start_time_is_found() {
        let seconds = 1_700_000_000.25_f64.to_bits();
        let of_prometheus =
            b"# HELP process_start_time_seconds Start.\nprocess_start_time_seconds 1.70000000025e+09\n";
        assert_eq!(began(of_prometheus), Some(seconds));
        let of_vm = b"vm_app_start_timestamp 1700000001\nprocess_start_time_seconds_x 3\n";
        assert_eq!(began(of_vm), Some(1_700_000_001_f64.to_bits()));
        assert_eq!(began(b"up 1\nprocess_start_time_seconds\n"), None);
    }
}
