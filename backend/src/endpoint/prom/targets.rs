//! What is scraped: `targets`, `targets/metadata`, `scrape_pools`, and the file's
//! `alertmanagers`. It is the default tenant's: others see that there is nothing.

use std::sync::Arc;

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_outbound::secret::{hide_in_text, hide_password};
use pulseboard_promql::parse_selector;
use pulseboard_scrape::{LabelSet, Snapshot, TargetView};
use pulseboard_shared::Timestamp;
use salvo::{Depot, Request, Response, handler};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    answer::{ApiError, NEVER, send},
    asking::Asking,
    matching::tests,
    params::bad_expression,
};
use crate::questions::Finished;

/// Targets that are scraped and targets that relabelling dropped; `state` and `scrapePool` choose.
#[handler]
pub async fn targets(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_targets(request, depot).await;
    send(response, answered);
}

async fn answer_targets(request: &mut Request, depot: &mut Depot) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, working| {
            let state = asking.params.get("state").map(str::to_ascii_lowercase);
            let wants = |kind: &str| {
                let state = state.as_deref();
                state.is_none_or(|state| state == kind || state == "any")
            };
            let snapshot = snapshot(asking, asking.params.get("scrapePool"));
            let mut text = working.text();
            text.push("{\"status\":\"success\",\"data\":{\"activeTargets\":[")?;
            let mut comma = "";
            for target in snapshot.active.iter().filter(|_| wants("active")) {
                text.push(comma)?;
                text.push_json(&active(target))?;
                comma = ",";
            }
            text.push("],\"droppedTargets\":[")?;
            comma = "";
            for (pool, labels) in snapshot.dropped.iter().filter(|_| wants("dropped")) {
                text.push(comma)?;
                text.push_json(&json!({"discoveredLabels": Shown(labels), "scrapePool": pool}))?;
                comma = ",";
            }
            text.push("],\"droppedTargetCounts\":")?;
            text.push_json(&snapshot.dropped_counts)?;
            text.push("}")?;
            // a job of which no target is found says why
            let problems = snapshot.problems.iter();
            let warnings: Vec<String> = problems
                .flat_map(|(pool, all)| all.iter().map(move |one| format!("{pool}: {one}")))
                .collect();
            if !warnings.is_empty() {
                text.push(",\"warnings\":")?;
                text.push_json(&warnings)?;
            }
            text.push("}")?;
            Ok(working.finish(text.into_pieces()))
        })
        .await
}

fn snapshot(asking: &Asking, pool: Option<&str>) -> Snapshot {
    if is_ours(asking) {
        asking.app.scraping.snapshot(pool)
    } else {
        Snapshot::default()
    }
}

fn is_ours(asking: &Asking) -> bool {
    &*asking.tenant.name == DEFAULT_TENANT
}

fn active(target: &TargetView) -> Value {
    let (endpoint, status) = (&target.endpoint, &target.status);
    let last_scrape = match status.last_scrape_ms {
        0 => NEVER.to_owned(),
        at_ms => Timestamp::from_millis(at_ms).to_string(),
    };
    let url = hide_password(&endpoint.url);
    json!({
        "discoveredLabels": Shown(&endpoint.discovered),
        "labels": endpoint.labels,
        "scrapePool": target.pool,
        "scrapeUrl": url,
        "globalUrl": url,
        "lastError": status.last_error,
        "lastScrape": last_scrape,
        "lastScrapeDuration": status.last_duration.as_secs_f64(),
        "health": status.health.name(),
        "scrapeInterval": endpoint.interval.to_string(),
        "scrapeTimeout": endpoint.timeout.to_string(),
    })
}

/// Labels before relabelling, addresses among them, without their passwords.
struct Shown<'a>(&'a LabelSet);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| {
            let shown = match name {
                "__address__" => hide_password(value),
                _ => hide_in_text(value),
            };
            (name, shown)
        }))
    }
}

/// What targets say of their metrics; `match_target`, `metric` and `limit` choose.
#[handler]
pub async fn metadata(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_metadata(request, depot).await;
    send(response, answered);
}

async fn answer_metadata(request: &mut Request, depot: &mut Depot) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, working| {
            let limit = asking.params.limit_of_metadata()?;
            let metric = asking.params.get("metric");
            let selector = asking.params.get("match_target").map(|text| {
                parse_selector(text).map_err(|error| bad_expression("match_target", &error))
            });
            let wanted = selector.transpose()?.map(|selector| tests(&selector));
            let wanted = wanted.transpose()?.unwrap_or_default();
            let snapshot = snapshot(asking, None);
            let mut text = working.text();
            text.push("{\"status\":\"success\",\"data\":[")?;
            let mut count = 0;
            for target in &snapshot.active {
                let labels = &target.endpoint.labels;
                let Some(all) = &target.metadata else {
                    continue;
                };
                if !wanted
                    .iter()
                    .all(|test| test.holds(|name| labels.get(name)))
                {
                    continue;
                }
                let metrics = all
                    .iter()
                    .filter(|told| metric.is_none_or(|metric| told.metric == metric));
                for told in metrics.take(limit.saturating_sub(count)) {
                    text.push(if count > 0 { "," } else { "" })?;
                    count += 1;
                    let mut one = json!({
                        "target": labels, "type": told.kind, "help": told.help, "unit": told.unit,
                    });
                    if metric.is_none() {
                        one["metric"] = Value::from(told.metric.as_str());
                    }
                    text.push_json(&one)?;
                }
            }
            text.push("]}")?;
            Ok(working.finish(text.into_pieces()))
        })
        .await
}

/// Names of the jobs.
#[handler]
pub async fn scrape_pools(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_pools(request, depot).await;
    send(response, answered);
}

async fn answer_pools(request: &mut Request, depot: &mut Depot) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, working| {
            let pools = if is_ours(asking) {
                asking.app.scraping.pools()
            } else {
                Vec::new()
            };
            let mut text = working.text();
            text.push_json(&json!({"status": "success", "data": {"scrapePools": pools}}))?;
            Ok(working.finish(text.into_pieces()))
        })
        .await
}

/// Alertmanagers that are found as the file says. What is wrong with how is a warning.
#[handler]
pub async fn alertmanagers(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_alertmanagers(request, depot).await;
    send(response, answered);
}

async fn answer_alertmanagers(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, working| {
            let found = match is_ours(asking) {
                true => asking.app.scraping.alertmanagers().found(),
                false => Arc::default(),
            };
            let url = |url: String| json!({"url": url});
            let active = found.active.iter().map(|one| url(one.shown()));
            let dropped = found.dropped.iter().cloned().map(url);
            let mut answer = json!({"status": "success", "data": {
                "activeAlertmanagers": active.collect::<Vec<Value>>(),
                "droppedAlertmanagers": dropped.collect::<Vec<Value>>(),
            }});
            if !found.problems.is_empty() {
                answer["warnings"] = json!(found.problems);
            }
            let mut text = working.text();
            text.push_json(&answer)?;
            Ok(working.finish(text.into_pieces()))
        })
        .await
}
