//! One scrape of one target: asked, read, handed on; and what is known of the target from it.

use std::sync::{Arc, atomic::Ordering};

use pulseboard_outbound::{
    Answer, HeaderMap, HeaderName, HeaderValue, header, secret::hide_password,
};
use pulseboard_series::STALE_MARKER_BITS;
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    active::{ActiveTarget, Busy, Health, Status},
    context::{Context, Job},
    exposition::{self, Counts, is_tracked},
    own::{Outcome, own, push_own},
    sink::{Handed, NotTaken},
    target::Endpoint,
    tracked::push_key_row,
};

/// Bodies from this size on are read on a thread that may block.
const LARGE_BYTES: usize = 256 * 1024;
/// An error's text for people.
const ERROR_BYTES_MAX: usize = 500;

/// Scrapes once. Ends within the target's time-out, but for the reading of what came.
pub(crate) async fn scrape(context: Arc<Context>, busy: Busy, at_ms: i64) {
    let target = &busy.0;
    let (endpoint, job) = target.endpoint.read().clone();
    let begun = Instant::now();
    let answer = ask(
        &context,
        &endpoint,
        &job,
        begun + endpoint.timeout.as_duration(),
    )
    .await;
    let is_large = answer
        .as_ref()
        .is_ok_and(|answer| answer.body.len() >= LARGE_BYTES);
    let take = {
        let (context, target) = (Arc::clone(&context), Arc::clone(target));
        move || take(&context, &target, &endpoint, &job, answer, begun, at_ms)
    };
    if is_large {
        let turn = context.large.acquire().await;
        if let Err(error) = spawn_blocking(take).await {
            tracing::error!(%error, "a scrape ended in a panic");
        }
        drop(turn);
    } else {
        take();
    }
}

async fn ask(
    context: &Context,
    endpoint: &Endpoint,
    job: &Job,
    deadline: Instant,
) -> Result<Answer, String> {
    let found = job.found.load(Ordering::Relaxed) as u64;
    if job.target_limit > 0 && found > job.target_limit {
        return Err(format!(
            "the job has {found} targets, more than {} (target_limit)",
            job.target_limit
        ));
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, job.accept.clone());
    if !job.is_packed {
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    }
    let seconds = endpoint.timeout.as_duration().as_secs_f64().to_string();
    if let Ok(seconds) = HeaderValue::try_from(seconds) {
        let name = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
        headers.insert(name, seconds);
    }
    let answer = job
        .client
        .get_within(
            &endpoint.url,
            &headers,
            deadline,
            job.body_bytes_max,
            &context.bodies,
        )
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!(
            "{} answered {}",
            hide_password(&endpoint.url),
            answer.status
        ));
    }
    Ok(answer)
}

fn take(
    context: &Context,
    target: &ActiveTarget,
    endpoint: &Endpoint,
    job: &Job,
    answer: Result<Answer, String>,
    begun: Instant,
    at_ms: i64,
) {
    let mut buffers = context.take_buffers();
    let read = answer.map_err(|error| (Counts::default(), error));
    let read = read.and_then(|answer| {
        let labels = &endpoint.labels;
        let content_type = answer.content_type();
        exposition::read(
            &answer.body,
            content_type,
            labels,
            &job.shape,
            at_ms,
            &mut buffers,
        )
        .map(|counts| (counts, answer))
    });
    let (counts, answer, error) = match read {
        Ok((counts, answer)) => (counts, Some(answer), String::new()),
        Err((counts, error)) => {
            buffers.clear();
            (counts, None, error)
        }
    };
    let mut series = target.series.lock();
    if series.is_retired {
        return context.give_back(buffers);
    }
    series.was_scraped = true;
    let (added, ended) = if let Some(answer) = answer {
        let known = series.metadata.as_ref().map(|(hash, _)| *hash);
        if let Some(metadata) = context.texts.read(&answer.body, known) {
            series.metadata = Some(metadata);
        }
        let rows = buffers.rows.rows().iter().copied();
        let rows = rows.filter(|row| is_tracked(row, &job.shape, at_ms));
        let change = series.tracked.replace(&buffers.rows, rows);
        (change.added, change.ended)
    } else {
        (0, series.tracked.take_all())
    };
    let outcome = Outcome {
        is_up: error.is_empty(),
        duration: begun.elapsed(),
        counts,
        added,
    };
    let stale = f64::from_bits(STALE_MARKER_BITS);
    for key in ended {
        push_key_row(&mut buffers.rows, &key, at_ms, stale);
    }
    let own_from = buffers.rows.rows().len();
    for own in own(&outcome) {
        push_own(&mut buffers.rows, own, &endpoint.labels, at_ms);
    }
    let refused = context.sink.append(Handed {
        batch: &buffers.rows,
        own_from,
        target: &endpoint.labels,
    });
    context.give_back(buffers);
    tell(&refused, &mut series.told, endpoint, job);
    drop(series);
    let was = target.status.lock().health;
    if was != Health::Down && !outcome.is_up {
        tracing::info!(
            job = job.name,
            url = %hide_password(&endpoint.url),
            error,
            "a target is down"
        );
    }
    *target.status.lock() = Status {
        health: if outcome.is_up {
            Health::Up
        } else {
            Health::Down
        },
        last_error: cut(error),
        last_scrape_ms: at_ms,
        last_duration: outcome.duration,
        scraped: counts.scraped,
        kept: counts.kept,
        refused: refused.total,
        is_elsewhere: false,
    };
}

/// Says once of a target, for each kind of reason, that something of it is left out: the next
/// scrape leaves out the same.
fn tell(refused: &NotTaken, told: &mut u32, endpoint: &Endpoint, job: &Job) {
    for one in &refused.first {
        let bit = 1 << one.reason.index();
        if *told & bit == 0 {
            *told |= bit;
            tracing::warn!(
                job = job.name,
                url = %hide_password(&endpoint.url),
                line = one.line,
                reason = %one.reason,
                samples = refused.total,
                "samples of a target are left out; it is not said again of this target and reason"
            );
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
    text
}
