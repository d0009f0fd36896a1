//! `GET /metrics`: this server's own figures for Prometheus. What is counted is
//! `base::telemetry`'s; figures that services can be asked for, and those of the caller's tenants,
//! are read here.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry};
use pulseboard_engine::{DEFAULT_TENANT, Tenant, TenantCounts};
use pulseboard_forward::View;
use pulseboard_series::Reason;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, header},
};

use super::alertmanager;
use crate::{
    access::Caller,
    alertmanagers::View as Told,
    app::App,
    base::{
        error::AppError,
        exposition::{Families, Format},
    },
    http::{self, caller},
};

/// Counters of this server, and the newest value of every series it measures.
#[handler]
pub async fn get_own_metrics(
    request: &Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenants = seen_by(caller::caller(depot)?, &app);
    let lists = request.headers().get_all(header::ACCEPT).iter();
    let lists: Vec<&str> = lists.filter_map(|list| list.to_str().ok()).collect();
    let format = Format::asked(&lists.join(","));
    let mut figures = Registry::default();
    figures.register_collector(Box::new(Figures {
        app: Arc::clone(&app),
        tenants,
    }));
    let mut text = String::with_capacity(16_384);
    let written = app
        .telemetry
        .write(format, &mut text)
        .and_then(|()| format.write(&figures, &mut text))
        .and_then(|()| format.end(&mut text));
    written.map_err(|error| {
        tracing::error!(%error, "the server's own figures cannot be written");
        AppError::internal()
    })?;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    response.body(text);
    Ok(())
}

/// The tenants that a caller is told of. Whoever is bound to one is told of that one, operators
/// and admins of all, callers without a token of those that they may speak for where tokens are
/// bound, everybody else of the default one.
fn seen_by(caller: &Caller, app: &App) -> Vec<Arc<Tenant>> {
    let mut tenants = app.storage.engine.tenants();
    let theirs = app.access.anonymous_tenants().filter(|_| !caller.known);
    let own = caller.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
    let sees_all = caller.tenant.is_none() && caller.role.operates();
    tenants.retain(|tenant| match theirs {
        Some(theirs) => theirs.iter().any(|name| **name == *tenant.name),
        None => sees_all || *tenant.name == *own,
    });
    tenants
}

/// What is read when somebody asks.
#[derive(Debug)]
struct Figures {
    app: Arc<App>,
    /// Those that the caller is told of.
    tenants: Vec<Arc<Tenant>>,
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families::new(encoder);
        self.write_server(&mut families)?;
        self.write_tenants(&mut families)?;
        self.write_storage(&mut families)?;
        self.write_cluster(&mut families)?;
        self.write_ingest_log(&mut families)?;
        self.write_elsewhere(&mut families)?;
        self.write_sent_on(&mut families)?;
        self.write_archived(&mut families)?;
        self.write_alertmanagers(&mut families)?;
        self.write_samples(&mut families)
    }
}

impl Figures {
    fn write_server(&self, families: &mut Families) -> fmt::Result {
        let app = &self.app;
        families.info(
            "pulseboard_build",
            "Always 1; the labels say what runs.",
            &[("version", env!("CARGO_PKG_VERSION"))],
        )?;
        // What Karma looks for, to know whom it asks.
        families.info(
            "alertmanager_build",
            "Always 1; the version of Alertmanager whose API is served at /api/v2.",
            &[("version", alertmanager::VERSION)],
        )?;
        self.write_notifying(families)?;
        if let Some(certificate) = &app.certificate {
            families.gauge(
                "pulseboard_tls_certificate_expires_seconds",
                "Seconds until the certificate that is shown ends; below zero once it has.",
                certificate.expires_in_seconds(),
            )?;
            families.gauge(
                "pulseboard_tls_certificate_good",
                "1 while the newest reading of TLS_CERT and TLS_KEY is what is shown.",
                u64::from(certificate.wrong().is_none()),
            )?;
        }
        families.gauge(
            "pulseboard_uptime_seconds",
            "Seconds since the start.",
            app.uptime_seconds(),
        )?;
        let (forward, back) = app.clock.steps();
        let directions = [("forward", forward), ("back", back)].into_iter();
        families.counters(
            "pulseboard_clock_steps",
            "How often the machine's clock was set by more than two seconds.",
            directions.map(|(direction, count)| ([("direction", direction)], count)),
        )?;
        families.gauge(
            "pulseboard_streams_max",
            "Streams that may be open at once.",
            app.registry.max(),
        )?;
        families.gauge(
            "pulseboard_questions",
            "Questions that are worked on or wait for it.",
            app.questions.asked(),
        )?;
        families.gauge(
            "pulseboard_answer_bytes",
            "Bytes of answers that wait for those who asked.",
            app.questions.held_bytes(),
        )?;
        families.gauge(
            "pulseboard_feed_log_bytes",
            "Bytes of rooms', watches' and catalogs' frames that are kept for who comes back.",
            app.live_queries.log_bytes(),
        )?;
        families.gauge(
            "pulseboard_late_samples",
            "Samples older than their windows that are in memory until the history has had them for a moment.",
            app.storage.engine.late_samples(),
        )?;
        families.gauge(
            "pulseboard_watched_selectors",
            "Selectors that are watched, or kept for who comes back.",
            app.live_queries.len(),
        )?;
        families.gauge(
            "pulseboard_watched_expressions",
            "PromQL expressions that are watched.",
            app.live_expressions.len(),
        )?;
        families.gauge(
            "pulseboard_watched_expression_bytes",
            "Bytes of samples that watched expressions keep from one step to the next.",
            app.live_expressions.kept_bytes(),
        )?;
        families.gauge(
            "pulseboard_watched_pattern_bytes",
            "Bytes of the compiled patterns of what is watched, counted for each viewer.",
            app.live_queries.pattern_bytes(),
        )?;
        families.gauge(
            "pulseboard_pattern_bytes",
            "Bytes that all compiled patterns take.",
            pulseboard_engine::pattern::pattern_bytes(),
        )
    }

    /// Samples that all servers have.
    /// What comes from other servers and goes to them, where each has what came in at it.
    fn write_elsewhere(&self, families: &mut Families) -> fmt::Result {
        let Some(elsewhere) = &self.app.elsewhere else {
            return Ok(());
        };
        let (wanted, relayed) = elsewhere.counts();
        families.gauge(
            "pulseboard_elsewhere_wanted",
            "Selectors of which somebody here wants samples of other servers.",
            wanted as f64,
        )?;
        families.gauge(
            "pulseboard_elsewhere_relayed",
            "Selectors of which other servers are sent the samples that come in here.",
            relayed as f64,
        )?;
        families.gauge(
            "pulseboard_elsewhere_series",
            "Series of other servers of which somebody here wants samples.",
            elsewhere.guests().series() as f64,
        )
    }

    fn write_ingest_log(&self, families: &mut Families) -> fmt::Result {
        let Some(log) = &self.app.ingest_log else {
            return Ok(());
        };
        families.gauge(
            "pulseboard_ingest_log_backlog",
            "Frames of samples that the other servers have not got, since they could not be reached.",
            log.backlog() as f64,
        )?;
        let figures = log.figures();
        let mut counts = [
            (
                "sent",
                "Entries that were sent to all servers.",
                &figures.sent,
            ),
            ("sent_bytes", "Their bytes.", &figures.sent_bytes),
            (
                "resent",
                "Frames that were sent again, since they may not have arrived.",
                &figures.resent,
            ),
            (
                "applied",
                "Entries of all servers that were taken in.",
                &figures.applied,
            ),
            (
                "refused",
                "Samples of other servers that were refused here, for want of room.",
                &figures.refused,
            ),
            (
                "unreadable",
                "Entries of other servers that could not be read.",
                &figures.unreadable,
            ),
            (
                "unreadable_segments",
                "Segments of the log that could not be read, or not as a whole, to send again what is in them.",
                &figures.unreadable_segments,
            ),
            (
                "lost_bytes",
                "Bytes that the other servers will never get: they could not be kept until those were there again, or fit into no entry.",
                &figures.lost_bytes,
            ),
            (
                "gaps",
                "How often more was missed than Redis holds.",
                &figures.gaps,
            ),
        ]
        .into_iter();
        counts.try_for_each(|(name, help, count)| {
            families.counter(&format!("pulseboard_ingest_log_{name}"), help, count.get())
        })
    }

    /// The other servers, where there may be some.
    fn write_cluster(&self, families: &mut Families) -> fmt::Result {
        let Some(cluster) = &self.app.cluster else {
            return Ok(());
        };
        let figures = cluster.figures();
        let mut gauges = [
            (
                "bus_connected",
                "Whether the other servers can be reached.",
                figures.connected.get() as f64,
            ),
            (
                "bus_lag_seconds",
                "From sending a message on the bus to hearing it.",
                figures.lag_us.get() as f64 / 1e6,
            ),
            (
                "bus_held_bytes",
                "What waits to be sent over the bus, or to be safe there.",
                figures.held_bytes.get() as f64,
            ),
            (
                "cluster_members",
                "Servers that live, this one among them.",
                figures.members.get() as f64,
            ),
            (
                "cluster_generation",
                "Which generation of what Redis holds this is: one more whenever another lineage of it is gone on with.",
                figures.generation.get() as f64,
            ),
            (
                "leases_held",
                "Leases of work that one server does for all.",
                figures.leases.get() as f64,
            ),
            (
                "cluster_tokens_unlike",
                "Servers whose AUTH_TOKENS are others than this one's.",
                self.app
                    .access
                    .shared()
                    .map_or(0, |shared| shared.unlike().len()) as f64,
            ),
            (
                "clock_skew_seconds",
                "This server's clock less that of Redis.",
                figures.skew_ms.get() as f64 / 1e3,
            ),
        ]
        .into_iter();
        gauges.try_for_each(|(name, help, figure)| {
            families.gauge(&format!("pulseboard_{name}"), help, figure)
        })?;
        families.counters(
            "pulseboard_bus_resets",
            "Feeds that were begun anew: under another epoch, since frames were no longer held, or alone.",
            [
                ([("reason", "epoch")], figures.resets_epoch.get()),
                ([("reason", "gone")], figures.resets_gone.get()),
                ([("reason", "alone")], figures.resets_alone.get()),
            ],
        )?;
        families.counters(
            "pulseboard_bus_dropped",
            "What there was no room or no time for: messages that are read from the stream instead, frames that waited for too long, and frames that were sent and would be sent again where a Redis is lost.",
            [
                ([("what", "push")], figures.dropped_push.get()),
                ([("what", "unsent")], figures.dropped_unsent.get()),
                ([("what", "kept")], figures.dropped_kept.get()),
            ],
        )?;
        let mut counts = [
            ("bus_gaps", "Messages that did not follow on the one before; what lies between is read from the stream.", figures.gaps.get()),
            ("bus_resent", "Frames and batches that were sent again.", figures.resent.get()),
            ("bus_refused", "Frames that were not taken, or that Redis refused.", figures.refused.get()),
            ("bus_reconnects", "Connections to Redis that were made anew.", figures.reconnects.get()),
        ]
        .into_iter();
        counts.try_for_each(|(name, help, count)| {
            families.counter(&format!("pulseboard_{name}"), help, count)
        })
    }

    /// What is on its way to people.
    fn write_notifying(&self, families: &mut Families) -> fmt::Result {
        let notifying = &self.app.notifying;
        let outbox = notifying.outbox_stats();
        families.gauge(
            "pulseboard_notifications_waiting",
            "Notifications that are on their way.",
            outbox.waiting,
        )?;
        families.gauge(
            "pulseboard_notify_config_good",
            "1 while the newest reading of ALERTMANAGER_CONFIG is the one that is used.",
            u64::from(notifying.file_state().error.is_none()),
        )?;
        families.gauge(
            "pulseboard_incidents",
            "Incidents of all tenants that are kept.",
            self.app.incidents.size().0,
        )
    }

    /// What came in.
    fn write_tenants(&self, families: &mut Families) -> fmt::Result {
        let counts: Vec<(&str, TenantCounts)> = self
            .tenants
            .iter()
            .map(|tenant| (&*tenant.name, tenant.counts()))
            .collect();
        let by_tenant = |value: fn(&TenantCounts) -> u64| {
            let all = counts.iter();
            all.map(move |(tenant, counts)| ([("tenant", *tenant)], value(counts)))
        };
        families.counters(
            "pulseboard_ingest_accepted",
            "Samples taken.",
            by_tenant(|counts| counts.accepted),
        )?;
        families.counters(
            "pulseboard_ingest_replaced",
            "Samples that replaced another value for the same time.",
            by_tenant(|counts| counts.replaced),
        )?;
        families.gauges(
            "pulseboard_series",
            "Series in memory.",
            by_tenant(|counts| counts.series),
        )?;
        let refused = counts.iter().flat_map(|(tenant, counts)| {
            let reasons = Reason::CODES.into_iter().zip(counts.refused);
            reasons
                .filter(|(_, count)| *count > 0)
                .map(move |(code, count)| ([("tenant", *tenant), ("reason", code)], count))
        });
        families.counters(
            "pulseboard_ingest_refused",
            "Samples not taken, by reason.",
            refused,
        )
    }

    /// What is kept.
    fn write_storage(&self, families: &mut Families) -> fmt::Result {
        let engine = &self.app.storage.engine;
        families.gauge(
            "pulseboard_series_bytes",
            "Bytes that all series take in memory.",
            engine.held_bytes(),
        )?;
        families.gauge(
            "pulseboard_series_window_seconds",
            "How far back the windows in memory reach, of the tenant with the shortest.",
            engine.window_ms() / 1000,
        )?;
        let Some(history) = engine.history() else {
            return Ok(());
        };
        let stats = history.stats();
        families.gauge(
            "pulseboard_history_log_bytes",
            "Bytes of the history's log.",
            stats.log.bytes,
        )?;
        families.gauge(
            "pulseboard_history_blocks_bytes",
            "Bytes of all sealed chunks and rollups.",
            stats.blocks_bytes,
        )?;
        families.gauge(
            "pulseboard_history_file_bytes",
            "Size of the blocks' file, free pages included.",
            stats.file_bytes,
        )?;
        families.gauge(
            "pulseboard_history_writable",
            "1 while samples can be made safe.",
            u64::from(self.app.storage.warning().is_none()),
        )?;
        families.counter(
            "pulseboard_history_syncs",
            "Group commits.",
            stats.log.syncs,
        )?;
        families.counter(
            "pulseboard_history_failures",
            "Writes and syncs that failed.",
            stats.log.failures,
        )?;
        families.counter(
            "pulseboard_history_damaged",
            "Damaged blocks that were passed over.",
            stats.damaged,
        )?;
        families.counter(
            "pulseboard_history_sync_seconds",
            "Time that group commits took.",
            stats.log.sync_time.as_secs_f64(),
        )
    }

    /// What `remote_write` sends on, for those who may know of its tenant.
    fn write_sent_on(&self, families: &mut Families) -> fmt::Result {
        let tenant = &self.app.settings.remote_write_tenant;
        if !self.tenants.iter().any(|seen| *seen.name == **tenant) {
            return Ok(());
        }
        let views = self.app.scraping.forwarding().views();
        if views.is_empty() {
            return Ok(());
        }
        let by_receiver = |value: fn(&View) -> u64| {
            let all = views.iter();
            all.map(move |view| ([("receiver", view.name.as_str())], value(view)))
        };
        type Figure = (&'static str, &'static str, fn(&View) -> u64);
        const COUNTERS: [Figure; 8] = [
            (
                "pulseboard_remote_write_samples",
                "Samples that came and that the rules chose to be sent on.",
                |view| view.chosen,
            ),
            (
                "pulseboard_remote_write_relabelled_away",
                "Samples that the rules dropped, or of which they make no series.",
                |view| view.dropped + view.broken,
            ),
            (
                "pulseboard_remote_write_sent",
                "Samples that the receiver has.",
                |view| view.sent,
            ),
            (
                "pulseboard_remote_write_refused",
                "Samples that the receiver refused for good.",
                |view| view.refused,
            ),
            (
                "pulseboard_remote_write_given_up",
                "Samples that were too old or too many to be kept for the receiver, or could not be read.",
                |view| view.given_up,
            ),
            (
                "pulseboard_remote_write_unwritten",
                "Samples that waited in memory alone, since the disk took nothing.",
                |view| view.unwritten,
            ),
            (
                "pulseboard_remote_write_retries",
                "Requests that the receiver could not take and that were made again.",
                |view| view.requests[2],
            ),
            (
                "pulseboard_remote_write_sent_bytes",
                "Bytes of requests that the receiver took.",
                |view| view.sent_bytes,
            ),
        ];
        for (name, help, value) in COUNTERS {
            families.counters(name, help, by_receiver(value))?;
        }
        families.gauges(
            "pulseboard_remote_write_waiting",
            "Samples that wait for the receiver.",
            by_receiver(|view| view.waiting),
        )?;
        families.gauges(
            "pulseboard_remote_write_buffer_bytes",
            "Bytes on disk that wait for the receiver.",
            by_receiver(|view| view.bytes),
        )?;
        families.gauges(
            "pulseboard_remote_write_behind_seconds",
            "How much older the newest sample is that the receiver has than the newest that came.",
            views.iter().map(|view| {
                let behind_ms = view.newest_ms - view.newest_sent_ms.max(view.began_ms);
                let behind = behind_ms.max(0) as f64 / 1000.0;
                ([("receiver", view.name.as_str())], behind)
            }),
        )
    }

    /// What the archive gets. It gets everybody's, so that nobody's can be told from it.
    fn write_archived(&self, families: &mut Families) -> fmt::Result {
        let archive = self.app.archive.as_ref();
        let Some(view) = archive.and_then(|archive| archive.view()) else {
            return Ok(());
        };
        let lag_ms = archive.map_or(0, |archive| archive.lag_ms());
        families.gauge(
            "pulseboard_archive_lag_seconds",
            "How long the oldest sample has waited that the archive does not have yet.",
            lag_ms as f64 / 1000.0,
        )?;
        families.counters(
            "pulseboard_archive_refused",
            "Samples that the archive refused for good.",
            view.refused_for
                .iter()
                .map(|(reason, count)| ([("reason", *reason)], *count)),
        )?;
        let counters = [
            (
                "resent",
                "Samples that were sent to the archive again, since it may have lost them.",
                view.resent,
            ),
            ("sent", "Samples that the archive took.", view.sent),
            (
                "given_up",
                "Samples that were too old or too many to be kept for the archive, or could not be read.",
                view.given_up,
            ),
            (
                "held_given_up",
                "Samples that the archive took and that were not held for as long as they should be.",
                view.held_given_up,
            ),
            (
                "left_to_others",
                "Samples that another server sends to the archive.",
                view.others,
            ),
        ];
        for (name, help, value) in counters {
            let name = format!("pulseboard_archive_{name}");
            families.counter(&name, help, value)?;
        }
        for (name, help, value) in [
            (
                "waiting",
                "Samples that wait for the archive.",
                view.waiting,
            ),
            (
                "held",
                "Samples that the archive took and that are held, in case it loses them.",
                view.held,
            ),
            (
                "buffer_bytes",
                "Bytes on disk of what waits for the archive and is held.",
                view.bytes,
            ),
        ] {
            families.gauge(&format!("pulseboard_archive_{name}"), help, value as f64)?;
        }
        Ok(())
    }

    /// What Alertmanagers of others are told, for those who may know of the default tenant.
    fn write_alertmanagers(&self, families: &mut Families) -> fmt::Result {
        if !self
            .tenants
            .iter()
            .any(|seen| *seen.name == *DEFAULT_TENANT)
        {
            return Ok(());
        }
        let views = self.app.alertmanagers.views();
        if views.is_empty() {
            return Ok(());
        }
        type Figure = (&'static str, &'static str, fn(&Told) -> u64);
        const COUNTERS: [Figure; 5] = [
            (
                "pulseboard_alertmanager_sent",
                "Alerts that the Alertmanager took; those that go on are sent again each minute.",
                |view| view.sent,
            ),
            (
                "pulseboard_alertmanager_refused",
                "Alerts that the Alertmanager refused.",
                |view| view.refused,
            ),
            (
                "pulseboard_alertmanager_dropped",
                "Alerts that were dropped since too many waited for the Alertmanager.",
                |view| view.dropped,
            ),
            (
                "pulseboard_alertmanager_relabelled_away",
                "Alerts that alert_relabel_configs dropped.",
                |view| view.relabelled_away,
            ),
            (
                "pulseboard_alertmanager_failures",
                "Requests that the Alertmanager did not answer, or not well.",
                |view| view.failures,
            ),
        ];
        let by_name = |value: fn(&Told) -> u64| {
            let all = views.iter();
            all.map(move |view| ([("alertmanager", view.name.as_str())], value(view)))
        };
        for (name, help, value) in COUNTERS {
            families.counters(name, help, by_name(value))?;
        }
        families.gauges(
            "pulseboard_alertmanager_waiting",
            "Alerts that wait for the Alertmanager.",
            by_name(|view| view.waiting),
        )?;
        families.counter(
            "pulseboard_alertmanager_left_out",
            "Alerts that no Alertmanager was told of, since too many were held.",
            self.app.alertmanagers.left_out(),
        )
    }

    /// The newest tick.
    fn write_samples(&self, families: &mut Families) -> fmt::Result {
        let newest = self.app.live.with_window(|window| window.newest().cloned());
        let Some(tick) = newest else {
            return Ok(());
        };
        let samples = tick.series.iter().zip(&tick.values).map(|(series, value)| {
            let own = [("metric", &*series.name), ("unit", &*series.unit)];
            let labels = series.labels.iter();
            let labels = labels.map(|(name, value)| (&**name, &**value));
            let labels: Vec<(&str, &str)> = own.into_iter().chain(labels).collect();
            (labels, *value)
        });
        families.gauges(
            "pulseboard_sample",
            "Newest value of each measured series.",
            samples,
        )
    }
}
