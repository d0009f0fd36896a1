//! `GET /healthz` (the process lives) and `GET /readyz` (it has figures and is not stopping).

use salvo::{
    Depot, Response, handler,
    http::{HeaderValue, StatusCode},
    writing::Json,
};
use serde::Serialize;

use crate::{
    app::App,
    base::error::AppError,
    cluster::{Cluster, Standing},
    http,
    storage::Storage,
};

/// What `/healthz` answers; a page that looks for its backend knows it by `service`.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
}

/// 200 as long as the process answers at all; touches nothing else.
#[handler]
pub async fn get_health(response: &mut Response) {
    // A page from elsewhere may learn that something answers, though not what: so it can tell a
    // server that is away from one that does not allow it.
    response.headers_mut().insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    response.render(Json(Health {
        status: "ok",
        service: "pulseboard",
        version: env!("CARGO_PKG_VERSION"),
    }));
}

/// What `/readyz` answers: the parts that must be right.
#[derive(Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    stopping: bool,
    /// Whether the built-in source has ticked lately; `true` with `METRIC_SOURCE=none`.
    ticking: bool,
    /// Streams open and the most there may be.
    streams: usize,
    streams_max: usize,
    /// Absent where there is one server.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterReadiness>,
    /// Absent where TLS is not spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsReadiness>,
    /// Absent where nothing is kept on a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<HistoryReadiness>,
}

/// How this server stands among the others.
#[derive(Debug, Serialize)]
struct ClusterReadiness {
    state: Standing,
    /// Those that live, this one among them.
    members: usize,
    /// Since when the others cannot be reached, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    alone_since_ms: Option<i64>,
    /// Why no viewers are to be sent here.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl ClusterReadiness {
    fn of(cluster: &Cluster) -> Self {
        let state = cluster.standing();
        Self {
            state,
            members: match state {
                Standing::Alone => 1,
                _ => cluster.view().count(),
            },
            alone_since_ms: cluster.alone_since().map(|(since_ms, _)| since_ms),
            reason: cluster.readiness().err(),
        }
    }
}

/// How the certificate is. Why it could not be read anew is in the log.
#[derive(Debug, Serialize)]
struct TlsReadiness {
    /// Whole days until the certificate that is shown ends; below zero once it has.
    expires_in_days: i64,
    /// Whether it is what `TLS_CERT` and `TLS_KEY` say.
    current: bool,
}

/// How the disk is. Everybody may read this, so files and the system's words are left to
/// `GET /api/ingest`.
#[derive(Debug, Serialize)]
struct HistoryReadiness {
    /// Whether what comes now gets to the disk.
    writable: bool,
    /// What is wrong now.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    /// Places found damaged at the start.
    #[serde(skip_serializing_if = "is_zero")]
    complaints: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl HistoryReadiness {
    fn of(storage: &Storage) -> Option<Self> {
        storage.journal.as_ref()?;
        let writable = storage.is_writable();
        let warning = match storage.warning() {
            None => None,
            Some(_) if writable => {
                Some("maintenance of the history failed; it is tried again every few seconds")
            }
            Some(_) => Some("the history cannot be written; what comes is kept in memory alone"),
        };
        Some(Self {
            writable,
            warning,
            complaints: storage.complaints().len(),
        })
    }
}

/// 200 when ready, 503 while starting or stopping; open to everybody, as probes have no token.
/// A disk that fails leaves it 200, with a warning: reading and live figures go on, and whoever
/// took the server out of rotation for it would lose them too. What is not safe is answered 507.
#[handler]
pub async fn get_readiness(depot: &mut Depot, response: &mut Response) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let readiness = readiness(&app);
    response.status_code(if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    });
    response.render(Json(readiness));
    Ok(())
}

/// How the server is now.
#[must_use]
pub fn readiness(app: &App) -> Readiness {
    Readiness {
        ready: app.is_ready(),
        stopping: app.is_leaving(),
        ticking: app.ticking(),
        streams: app.registry.open(),
        streams_max: app.registry.max(),
        cluster: app.cluster.as_deref().map(ClusterReadiness::of),
        tls: app.certificate.as_ref().map(|certificate| TlsReadiness {
            expires_in_days: certificate.expires_in_days(),
            current: certificate.wrong().is_none(),
        }),
        history: HistoryReadiness::of(&app.storage),
    }
}
