//! `GET /healthz` (the process lives) and `GET /readyz` (it has figures and is not stopping).

use salvo::{Depot, Response, handler, http::StatusCode, writing::Json};
use serde::Serialize;

use crate::{app::App, error::AppError};

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
    response.render(Json(Health {
        status: "ok",
        service: "pulseboard",
        version: env!("CARGO_PKG_VERSION"),
    }));
}

/// What `/readyz` answers: the parts that must be right.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    stopping: bool,
    /// Whether the built-in source has ticked lately; `true` with `METRIC_SOURCE=none`.
    ticking: bool,
    /// Streams open and the most there may be.
    streams: usize,
    streams_max: usize,
}

/// 200 when ready, 503 while starting or stopping; open to everybody, as probes have no token.
#[handler]
pub async fn get_readiness(depot: &mut Depot, response: &mut Response) -> Result<(), AppError> {
    let app = App::of(depot)?;
    let stopping = app.stopping.is_cancelled();
    let ticking = app.ticking();
    let ready = ticking && !stopping;
    response.status_code(if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    });
    response.render(Json(Readiness {
        ready,
        stopping,
        ticking,
        streams: app.registry.open(),
        streams_max: app.registry.max(),
    }));
    Ok(())
}
