//! What is scraped, as `GET /api/v1/targets` tells of it.

use crate::net::{json::Json, prom};

/// One target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Its job.
    pub pool: String,
    /// Where it is read.
    pub url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// When it was read last, Unix milliseconds; `None` before the first time.
    pub last_ms: Option<f64>,
    /// How long that took, seconds.
    pub took_s: f64,
    /// Why it is down.
    pub error: String,
    /// Its labels, as one writes them.
    pub labels: String,
    /// Its labels before relabelling.
    pub discovered: String,
    /// How often it is read, such as `15s`.
    pub interval: String,
    /// Samples of the last time; NaN where that is not known.
    pub samples: f64,
    /// The value of its label `instance`.
    instance: String,
}

/// A time such as `2026-11-28T14:31:07.25Z` (RFC 3339, UTC) in Unix milliseconds; `None` for the
/// year 1, which stands for never.
pub(super) fn moment(text: &str) -> Option<f64> {
    let (day, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut numbers = day.split('-').map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let mut parts = clock.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds = Json::parse(parts.next()?)
        .and_then(|json| json.number())
        .unwrap_or(0.0);
    let days = crate::format::day_of(year, month) + day - 1;
    #[expect(clippy::cast_precision_loss, reason = "minutes since 1970")]
    let whole_s = (days * 86_400 + hours * 3_600 + minutes * 60) as f64;
    (year > 1).then_some((whole_s + seconds) * 1_000.0)
}

/// All that are active: those that are down first, then by job and address; with the samples of
/// each by `scrape_samples_scraped`.
#[must_use]
pub fn read(answer: &Json, samples: &Json) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for json in answer.get("data").get("activeTargets").list() {
        let labels = json.get("labels");
        let instance = labels.text_of("instance").to_owned();
        let job = labels.text_of("job");
        let result = samples.get("data").get("result").list().iter();
        let mut of_it = result.filter(|series| {
            let metric = series.get("metric");
            metric.text_of("instance") == instance && metric.text_of("job") == job
        });
        let sample = of_it
            .next()
            .and_then(|series| prom::sample(series.get("value")));
        let target = Target {
            pool: json.text_of("scrapePool").to_owned(),
            url: json.text_of("scrapeUrl").to_owned(),
            health: json.text_of("health").to_owned(),
            last_ms: moment(json.text_of("lastScrape")),
            took_s: json.get("lastScrapeDuration").figure(),
            error: json.text_of("lastError").to_owned(),
            labels: prom::key(labels),
            discovered: prom::key(json.get("discoveredLabels")),
            interval: json.text_of("scrapeInterval").to_owned(),
            samples: sample.map_or(f64::NAN, |(_, value)| value),
            instance,
        };
        let place = targets.partition_point(|other| other.order() <= target.order());
        targets.insert(place, target);
    }
    targets
}

impl Target {
    fn order(&self) -> (u8, &str, &str) {
        let health = match self.health.as_str() {
            "down" => 0,
            "unknown" => 1,
            _ => 2,
        };
        (health, &self.pool, &self.instance)
    }

    /// The last scrape failed.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.health == "down"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_down_come_first() {
        let target = |pool: &str, health: &str, last: &str| {
            format!(
                r#"{{"scrapePool":"{pool}","health":"{health}","lastScrape":"{last}","scrapeUrl":"http://{pool}/metrics",
                "labels":{{"instance":"{pool}:1","job":"{pool}"}},"discoveredLabels":{{"__address__":"{pool}:1"}},
                "lastScrapeDuration":0.25,"lastError":"","scrapeInterval":"15s"}}"#
            )
        };
        let text = format!(
            r#"{{"data":{{"activeTargets":[{},{},{}]}}}}"#,
            target("a", "up", "2026-11-28T15:00:00.5Z"),
            target("b", "down", "2026-11-28T15:00:09Z"),
            target("c", "unknown", "0001-01-01T00:00:00Z")
        );
        let samples =
            r#"{"data":{"result":[{"metric":{"instance":"a:1","job":"a"},"value":[1,"507"]}]}}"#;
        let json = |text: &str| Json::parse(text).expect("JSON");
        let targets = read(&json(&text), &json(samples));
        let pools: Vec<_> = targets.iter().map(|target| target.pool.as_str()).collect();
        assert_eq!(pools, ["b", "c", "a"]);
        assert_eq!(targets[2].last_ms, Some(1_795_878_000_500.0));
        assert_eq!(targets[0].last_ms, Some(1_795_878_009_000.0));
        assert_eq!((targets[1].last_ms, targets[2].samples), (None, 507.0));
        assert_eq!(targets[0].discovered, r#"{__address__="b:1"}"#);
    }
}
