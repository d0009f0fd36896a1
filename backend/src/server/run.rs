//! Starts what the settings ask for, and stops it in order.

use std::{io, sync::Arc, time::Duration};

use pulseboard_host::{Source, host::Host, node::Node, processes::Processes, simulator::Simulator};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::middleware::Middleware;
#[cfg(unix)]
use crate::server::hangup;
use crate::{
    access::token::Given,
    app::App,
    base::clock::Clock,
    ingest_log::copy,
    live_query, router,
    schedule::{self, Ticker},
    server::{accept, drain, farewell, graphite, grpc, statsd},
    settings::{DataDir, Settings, SourceKind},
};
use salvo::Service;

/// From the word to stop until the end, whatever takes long.
const STOP_WITHIN_MS: i64 = 9_500;

/// How long viewers have to take their last bytes.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long everything has to end after that.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How long notifications that are under way have; what does not arrive is sent by the next run.
const DELIVERIES_DEADLINE: Duration = Duration::from_secs(2);

/// The least that each of these has where those before it took long.
const LEAST: Duration = Duration::from_millis(400);

/// Reconnecting viewers are spread over this time.
const RECONNECT_SPREAD_MS: u64 = 5_000;

/// What the server measures by itself; `None` for what it does not.
#[derive(Default)]
pub struct Sources {
    /// The four built-in metrics, and what comes with them.
    pub ticks: Option<Box<dyn Source>>,
    /// This machine under node_exporter's names.
    pub node: Option<Node>,
    /// Its processes that use most.
    pub processes: Option<Processes>,
}

impl Sources {
    /// What the settings ask for.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let is_host = settings.metric_source == SourceKind::Host;
        let reads_node = is_host && settings.node_metrics;
        Self {
            ticks: source_of(settings.metric_source),
            node: reads_node.then(|| Node::new(&settings.instance)),
            processes: is_host.then(Processes::new),
        }
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Serves on `listener` until `stop` is cancelled, then stops in order: no new connections,
/// viewers are told, requests in flight end, everything is joined; within 10 s. `link`: the secret
/// of the admin link that was printed, if one was.
///
/// # Errors
/// The operating system refuses the fan-out threads.
pub async fn run(
    listener: TcpListener,
    mut settings: Settings,
    mut link: Option<&str>,
    clock: Clock,
    stop: CancellationToken,
) -> io::Result<()> {
    // What a run after this one needs of the tokens is no secret.
    let given = Given::take(&mut settings);
    let listener = listener.into_std()?;
    loop {
        if let DataDir::Path(folder) = &settings.data_dir {
            // What a run that was killed has begun.
            copy::finish(folder)?;
        }
        let sources = Sources::of(&settings);
        let listening = TcpListener::from_std(listener.try_clone()?)?;
        let (clock, stop) = (clock.clone(), stop.clone());
        let shown = (given.clone(), link);
        match run_once(listening, settings.clone(), shown, clock, sources, stop).await? {
            Ended::Stopped => return Ok(()),
            Ended::Again { is_adopted } => {
                let adopted = match &settings.data_dir {
                    DataDir::Path(folder) if is_adopted => copy::adopt(folder)?,
                    _ => false,
                };
                tracing::info!(adopted, "beginning anew with the history of another server");
            }
        }
        // The link was for the first run alone.
        link = None;
    }
}

/// Why a run has ended.
enum Ended {
    /// It was told to.
    Stopped,
    /// Another server's history lies ready, and may take the place of this one's: all that this one
    /// had taken in is with the others.
    Again {
        /// Whether it may.
        is_adopted: bool,
    },
}

/// [`run`] over sources of the caller's; tests bring one that says what they need.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    listener: TcpListener,
    mut settings: Settings,
    link: Option<&str>,
    clock: Clock,
    sources: Sources,
    stop: CancellationToken,
) -> io::Result<()> {
    let shown = (Given::take(&mut settings), link);
    run_once(listener, settings, shown, clock, sources, stop)
        .await
        .map(drop)
}

async fn run_once(
    listener: TcpListener,
    settings: Settings,
    shown: (Given, Option<&str>),
    clock: Clock,
    sources: Sources,
    stop: CancellationToken,
) -> io::Result<Ended> {
    let app = App::new(settings, shown, clock)?;
    let bus_ended = CancellationToken::new();
    if let Some(cluster) = &app.cluster {
        cluster.check().await?;
        // Not among the tasks that are waited for: they may have something to say to the last.
        tokio::spawn(Arc::clone(cluster).run(bus_ended.clone()));
        let keeping =
            schedule::keep_common(Arc::clone(&app), Arc::clone(cluster), app.stopping.clone());
        app.tasks.spawn(keeping);
        let keeping = schedule::keep_credentials(Arc::clone(&app), app.stopping.clone());
        app.tasks.spawn(keeping);
        let keeping = schedule::keep_links(Arc::clone(&app), app.stopping.clone());
        app.tasks.spawn(keeping);
        let keeping =
            schedule::keep_counting(Arc::clone(&app), Arc::clone(cluster), app.stopping.clone());
        app.tasks.spawn(keeping);
        let keeping = schedule::keep_limits(Arc::clone(&app), app.stopped.clone());
        app.tasks.spawn(keeping);
    }
    if let Some(alike) = app.alike.clone() {
        let stopping = app.stopping.clone();
        let keeping = schedule::keep_alike(Arc::clone(&app), stopping.clone());
        app.tasks.spawn(keeping);
        app.tasks
            .spawn(schedule::hear_alerts(Arc::clone(&app), alike, stopping));
    }
    let _bus_ends = bus_ended.drop_guard();
    if let Some(log) = &app.ingest_log {
        log.start(&app.tasks, &app.stopping)?;
    }
    if let Some(elsewhere) = &app.elsewhere {
        let hearing = Arc::clone(elsewhere).hear(app.stopping.clone());
        app.tasks.spawn(hearing);
        let keeping = Arc::clone(elsewhere).keep(app.stopping.clone());
        app.tasks.spawn(keeping);
    }
    // Before anything comes in: the file says to whom that is sent on.
    app.scraping
        .start(app.tasks.clone(), app.stopping.clone())
        .map_err(io::Error::other)?;
    app.follow_labels();
    if let Some(archive) = &app.archive {
        archive.start(&app.tasks, &app.stopping);
    }
    // Before anything happens that somebody is to be told of.
    app.notifying.start(&app.alerts).map_err(io::Error::other)?;
    app.tasks
        .spawn(Arc::clone(&app.notifying).run(app.stopping.clone()));
    app.tasks.spawn(Arc::clone(&app.alertmanagers).run(
        app.scraping.alertmanagers().watch(),
        app.tasks.clone(),
        app.stopping.clone(),
    ));
    let incidents = Arc::clone(&app.incidents);
    app.tasks
        .spawn(incidents.run(app.clock.clone(), app.stopping.clone()));
    if let Some(url) = app.settings.heartbeat_url.clone() {
        app.tasks
            .spawn(schedule::beat(Arc::clone(&app), url, app.stopping.clone()));
    }
    let starting = Arc::clone(&app);
    // What is read from the disk does not hold up a worker.
    tokio::task::spawn_blocking(move || starting.rules.start(starting.scraping.for_rules()))
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
    let service = Service::new(router::router()).hoop(Middleware::new(Arc::clone(&app)));
    if let Some(source) = sources.ticks {
        let ticker = Ticker::new(Arc::clone(&app), source);
        app.tasks
            .spawn(ticker.run(app.settings.metric_interval, app.stopping.clone()));
    }
    if let Some(node) = sources.node {
        let keeping = schedule::keep_node(Arc::clone(&app), node, app.stopping.clone());
        app.tasks.spawn(keeping);
    }
    if let Some(processes) = sources.processes {
        let keeping = schedule::keep_processes(Arc::clone(&app), processes, app.stopping.clone());
        app.tasks.spawn(keeping);
    }
    app.tasks
        .spawn(Arc::clone(&app.rules).run(app.stopping.clone()));
    app.tasks.spawn(schedule::sweep_streams(
        Arc::clone(&app),
        app.stopped.clone(),
    ));
    let expressions = Arc::clone(&app.live_expressions);
    app.tasks.spawn(expressions.run(app.stopping.clone()));
    if let Some(dues) = app.take_watch_dues() {
        app.tasks.spawn(live_query::flush::flush(
            app.clock.clone(),
            dues,
            app.stopping.clone(),
        ));
    }
    if let Some(address) = app.settings.statsd_addr {
        let socket = statsd::bind(address).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("STATSD_ADDR={address}: cannot listen there: {error}"),
            )
        })?;
        app.tasks
            .spawn(statsd::run(Arc::clone(&app), socket, app.stopping.clone()));
    }
    if let Some(address) = app.settings.otlp_grpc_addr {
        let listener = accept::bind(address).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("OTLP_GRPC_ADDR={address}: cannot listen there: {error}"),
            )
        })?;
        app.tasks.spawn(grpc::run(Arc::clone(&app), listener));
    }
    if let Some(address) = app.settings.graphite_addr {
        let sockets = graphite::bind(address).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("GRAPHITE_ADDR={address}: cannot listen there: {error}"),
            )
        })?;
        app.tasks.spawn(graphite::run(
            Arc::clone(&app),
            sockets,
            app.stopping.clone(),
        ));
    }
    // Also where nothing is scraped: unheard, the signal would end the process.
    #[cfg(unix)]
    app.tasks
        .spawn(hangup::on_hangup(Arc::clone(&app), app.stopping.clone()));
    app.tasks.spawn(schedule::tell_regularly(
        Arc::clone(&app),
        app.stopping.clone(),
    ));
    app.tasks
        .spawn(schedule::maintain(Arc::clone(&app), app.stopping.clone()));
    if let Some(certificate) = app.certificate.clone() {
        app.tasks.spawn(certificate.watch(app.stopping.clone()));
    }
    let accepting = app
        .tasks
        .spawn(accept::accept(Arc::clone(&app), listener, service));

    let is_again = tokio::select! {
        () = stop.cancelled() => false,
        () = app.again.cancelled() => true,
    };
    let ends_ms = app.clock.steady_ms() + STOP_WITHIN_MS;
    let left = |most| within(most, ends_ms - app.clock.steady_ms());
    // Who has nothing to show yet has nobody to send away.
    if app.is_one_of_several() && !is_again {
        drain::drain(&app, app.settings.drain).await;
    }
    tracing::info!(
        streams.open = app.registry.open(),
        "stopping: telling viewers, finishing requests"
    );
    app.stopping.cancel();
    // Nobody is served any more before viewers are told, so none comes back to this process. Who is
    // still finishing keeps it alive, and probes are told what it does.
    let mut probes = JoinSet::new();
    match accepting.await {
        Ok(listener) => {
            probes.spawn(farewell::answer_probes(Arc::clone(&app), listener));
        }
        Err(_panicked) => tracing::error!("the accepting task panicked"),
    }
    app.registry.tell_stopping(RECONNECT_SPREAD_MS);
    app.tasks.close();
    app.stopped.cancel();
    if tokio::time::timeout(left(FAREWELL), app.tasks.wait())
        .await
        .is_err()
    {
        app.registry.abort_all();
        if tokio::time::timeout(left(STOP_DEADLINE), app.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks.left = app.tasks.len(),
                "some connections did not end in time"
            );
        }
    }
    // What it knows is told while it may still be.
    app.notifying.close(left(DELIVERIES_DEADLINE)).await;
    if let Some(log) = &app.ingest_log {
        log.flush().await;
    }
    if let Some(cluster) = &app.cluster {
        cluster.leave().await;
    }
    // Nobody asks for anything any more: what is left goes to the disk.
    let last = Arc::clone(&app);
    let closed = tokio::task::spawn_blocking(move || {
        let is_adopted = last.ingest_log.as_ref().is_some_and(|log| log.close());
        last.scraping.forwarding().close();
        if let Some(archive) = &last.archive {
            archive.close();
        }
        last.storage.close(&last.tracked, || last.journal_state());
        is_adopted
    })
    .await;
    if closed.is_err() {
        tracing::error!("closing the history panicked");
    }
    probes.shutdown().await;
    tracing::info!("stopped");
    Ok(match is_again {
        false => Ended::Stopped,
        true => Ended::Again {
            is_adopted: closed.unwrap_or(false),
        },
    })
}

/// As long as `most` where there is still that much time, with some left for what comes after.
fn within(most: Duration, left_ms: i64) -> Duration {
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
    most.min(left.saturating_sub(LEAST)).max(LEAST)
}

/// The source of a kind; `None` when none is wanted. Made when the ticks begin: the host's first
/// CPU figure covers the time from here to the first reading.
fn source_of(kind: SourceKind) -> Option<Box<dyn Source>> {
    match kind {
        SourceKind::Host => Some(Box::new(Host::new())),
        SourceKind::Simulator => Some(Box::new(Simulator::new())),
        SourceKind::None => None,
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_host::Traffic;

    use super::*;

    #[test]
    fn each_kind_builds_its_source() {
        assert!(source_of(SourceKind::None).is_none());
        for kind in [SourceKind::Host, SourceKind::Simulator] {
            let mut source = source_of(kind).expect("this kind has a source");
            let reading = source.read(Traffic::default());
            assert_eq!(reading.extras[0].name, "errors_per_sec");
            assert_eq!(reading.totals.is_some(), kind == SourceKind::Simulator);
        }
    }
}
