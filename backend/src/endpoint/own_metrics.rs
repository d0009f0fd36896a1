//! `GET /metrics`: this server's own figures in the Prometheus text format.

use pulseboard_engine::{DEFAULT_TENANT, TenantCounts};
use pulseboard_series::Reason;
use salvo::{
    Depot, Response, handler,
    http::{HeaderValue, header},
};

use crate::{
    access::Caller,
    app::App,
    base::{
        error::AppError,
        telemetry::{line, write_head},
    },
    http::{self, caller},
};

/// The exposition format's media type, version 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of this server, and the newest value of every series it measures.
#[handler]
pub async fn get_own_metrics(depot: &mut Depot, response: &mut Response) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let mut text = app.telemetry.render();
    write_head(
        &mut text,
        "pulseboard_build_info",
        "gauge",
        "Always 1; the labels say what runs.",
    );
    line(
        &mut text,
        "pulseboard_build_info",
        &format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
        1,
    );
    write_head(
        &mut text,
        "pulseboard_uptime_seconds",
        "gauge",
        "Seconds since the start.",
    );
    line(
        &mut text,
        "pulseboard_uptime_seconds",
        "",
        app.uptime_seconds(),
    );
    write_head(
        &mut text,
        "pulseboard_clock_steps_total",
        "counter",
        "How often the machine's clock was set by more than two seconds.",
    );
    let (forward, back) = app.clock.steps();
    for (direction, count) in [("forward", forward), ("back", back)] {
        let labels = format!("{{direction=\"{direction}\"}}");
        line(&mut text, "pulseboard_clock_steps_total", &labels, count);
    }
    write_head(
        &mut text,
        "pulseboard_streams_max",
        "gauge",
        "Streams that may be open at once.",
    );
    line(&mut text, "pulseboard_streams_max", "", app.registry.max());
    let gauges = [
        (
            "pulseboard_questions",
            "Questions that are worked on or wait for it.",
            app.questions.asked(),
        ),
        (
            "pulseboard_answer_bytes",
            "Bytes of answers that wait for those who asked.",
            app.questions.held_bytes(),
        ),
        (
            "pulseboard_feed_log_bytes",
            "Bytes of rooms', watches' and catalogs' frames that are kept for who comes back.",
            app.live_queries.log_bytes(),
        ),
        (
            "pulseboard_watched_selectors",
            "Selectors that are watched, or kept for who comes back.",
            app.live_queries.len(),
        ),
        (
            "pulseboard_watched_pattern_bytes",
            "Bytes of the compiled patterns of what is watched, counted for each viewer.",
            app.live_queries.pattern_bytes(),
        ),
        (
            "pulseboard_pattern_bytes",
            "Bytes that all compiled patterns take.",
            pulseboard_engine::pattern::pattern_bytes(),
        ),
    ];
    for (name, help, value) in gauges {
        write_head(&mut text, name, "gauge", help);
        line(&mut text, name, "", value);
    }
    write_storage(&mut text, &app, caller::caller(depot)?);
    let newest = app.live.with_window(|window| window.newest().cloned());
    if let Some(tick) = newest {
        write_head(
            &mut text,
            "pulseboard_sample",
            "gauge",
            "Newest value of each measured series.",
        );
        for (series, value) in tick.series.iter().zip(&tick.values) {
            let own = [("metric", &*series.name), ("unit", &*series.unit)];
            let labels = own.into_iter().chain(
                series
                    .labels
                    .iter()
                    .map(|(name, value)| (&**name, &**value)),
            );
            let labels: Vec<String> = labels
                .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
                .collect();
            line(
                &mut text,
                "pulseboard_sample",
                &format!("{{{}}}", labels.join(",")),
                value,
            );
        }
    }
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
    response.body(text);
    Ok(())
}

/// What came in, by tenant, and what is kept. Whoever is bound to a tenant is told of that one,
/// operators and admins of all, callers without a token of those that they may speak for where
/// tokens are bound, everybody else of the default one.
fn write_storage(text: &mut String, app: &App, caller: &Caller) {
    let mut tenants = app.storage.engine.tenants();
    let theirs = app.access.anonymous_tenants().filter(|_| !caller.known);
    let own = caller.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
    let sees_all = caller.tenant.is_none() && caller.role.operates();
    tenants.retain(|tenant| match theirs {
        Some(theirs) => theirs.iter().any(|name| **name == *tenant.name),
        None => sees_all || *tenant.name == *own,
    });
    let counts: Vec<_> = tenants
        .iter()
        .map(|tenant| (escape(&tenant.name), tenant.counts()))
        .collect();
    /// Name, type, help, and where the figure is.
    type OfTenant = (
        &'static str,
        &'static str,
        &'static str,
        fn(&TenantCounts) -> u64,
    );
    let kinds: [OfTenant; 3] = [
        (
            "pulseboard_ingest_accepted_total",
            "counter",
            "Samples taken.",
            |counts| counts.accepted,
        ),
        (
            "pulseboard_ingest_replaced_total",
            "counter",
            "Samples that replaced another value for the same time.",
            |counts| counts.replaced,
        ),
        (
            "pulseboard_series",
            "gauge",
            "Series in memory.",
            |counts| counts.series,
        ),
    ];
    for (name, kind, help, value) in kinds {
        write_head(text, name, kind, help);
        for (tenant, counts) in &counts {
            line(
                text,
                name,
                &format!("{{tenant=\"{tenant}\"}}"),
                value(counts),
            );
        }
    }
    const REFUSED: &str = "pulseboard_ingest_refused_total";
    write_head(text, REFUSED, "counter", "Samples not taken, by reason.");
    for (tenant, counts) in &counts {
        for (code, count) in Reason::CODES.into_iter().zip(counts.refused) {
            if count > 0 {
                let labels = format!("{{tenant=\"{tenant}\",reason=\"{code}\"}}");
                line(text, REFUSED, &labels, count);
            }
        }
    }
    let engine = &app.storage.engine;
    gauge(
        text,
        "pulseboard_series_bytes",
        "Bytes that all series take in memory.",
        engine.held_bytes(),
    );
    gauge(
        text,
        "pulseboard_series_window_seconds",
        "How far back the windows in memory reach, of the tenant with the shortest.",
        engine.window_ms() / 1000,
    );
    if let Some(history) = engine.history() {
        let stats = history.stats();
        gauge(
            text,
            "pulseboard_history_log_bytes",
            "Bytes of the history's log.",
            stats.log.bytes,
        );
        gauge(
            text,
            "pulseboard_history_blocks_bytes",
            "Bytes of all sealed chunks and rollups.",
            stats.blocks_bytes,
        );
        gauge(
            text,
            "pulseboard_history_file_bytes",
            "Size of the blocks' file, free pages included.",
            stats.file_bytes,
        );
        gauge(
            text,
            "pulseboard_history_writable",
            "1 while samples can be made safe.",
            u8::from(app.storage.warning().is_none()),
        );
        for (name, help, count) in [
            (
                "pulseboard_history_syncs_total",
                "Group commits.",
                stats.log.syncs,
            ),
            (
                "pulseboard_history_failures_total",
                "Writes and syncs that failed.",
                stats.log.failures,
            ),
            (
                "pulseboard_history_damaged_total",
                "Damaged blocks that were passed over.",
                stats.damaged,
            ),
        ] {
            write_head(text, name, "counter", help);
            line(text, name, "", count);
        }
        const SYNC_SECONDS: &str = "pulseboard_history_sync_seconds_total";
        write_head(
            text,
            SYNC_SECONDS,
            "counter",
            "Time that group commits took.",
        );
        line(text, SYNC_SECONDS, "", stats.log.sync_time.as_secs_f64());
    }
}

fn gauge(text: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    write_head(text, name, "gauge", help);
    line(text, name, "", value);
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
