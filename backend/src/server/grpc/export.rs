//! The one method: `MetricsService/Export`. Who calls is found out as everywhere, by the token in
//! the metadata or by where they come from; a proxy's word about others is not taken.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{self, HeaderMap, HeaderValue},
};
use pulseboard_engine::Tenant;
use pulseboard_ingest::{
    decompress::Coding,
    otlp::{
        self, Encoding, Points,
        grpc::{PATH, PREFIX_BYTES, unframe},
    },
};
use salvo::http::StatusCode;

use super::message::{self, Body};
use crate::{
    access::{
        Caller,
        peer::{Arrival, Peer},
    },
    app::App,
    base::{address::network_of, error::AppError},
    http::{caller::may_write, identify::identify_grpc, ingest, tenant::tenant_in_headers},
    ingest::{IngestOutcome, Packed, RETRY_AFTER_S},
    shares::{CallerKeys, Refused, Share},
};

/// Calls of one connection.
pub(super) struct Calls {
    app: Arc<App>,
    /// Where it is listened to.
    bound: SocketAddr,
    arrival: Arrival,
}

impl Calls {
    pub(super) fn new(
        app: &Arc<App>,
        bound: SocketAddr,
        (remote, local): (SocketAddr, SocketAddr),
        tls: bool,
    ) -> Self {
        Self {
            app: Arc::clone(app),
            bound,
            arrival: Arrival {
                peer: Arc::new(Peer::new(remote, local)),
                // In HTTP/2 every target has an authority.
                absolute: false,
                tls,
            },
        }
    }

    /// Does what a call asks for.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let began = Instant::now();
        let exported = self.export(request).await;
        let status = exported
            .as_ref()
            .map_or_else(AppError::status, |_| StatusCode::OK);
        self.app
            .telemetry
            .count_request(status.as_u16(), began.elapsed());
        match exported {
            Ok(taken) => {
                let (rejected, text) = (taken.said.rejected, taken.said.message(&taken.refused));
                message::answer(&otlp::response(Encoding::Protobuf, rejected, &text))
            }
            Err(error) => message::failure(&error),
        }
    }

    async fn export(&self, request: Request<Incoming>) -> Result<IngestOutcome<Points>, AppError> {
        let (head, mut arriving) = request.into_parts();
        let mut headers = head.headers;
        if let Some(authority) = head.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(header::HOST, host);
        }
        let app = &self.app;
        let caller = identify_grpc(&app.access, self.bound, &self.arrival, &headers)?;
        may_write(&caller)?;
        let coding = check(&head.method, head.uri.path(), &headers)?;
        let tenant = tenant_in_headers(&app.access, &caller, &headers)?;
        let tenant = app.storage.engine.tenant(tenant);
        let tenant = tenant.map_err(|error| AppError::too_many(error.to_string(), 60))?;
        let sender = self.arrival.peer.remote.ip();
        let keys = CallerKeys {
            client: None,
            address: Some(network_of(sender)),
            token: caller.credential.token,
            tenant: Some(Arc::from(&*tenant.name)),
        };
        self.find_place(&caller, &tenant, &keys)?;
        let taken = self.take(&mut arriving, &tenant, &keys, coding).await;
        ingest::note(app, &tenant, PATH, sender, &taken);
        let taken = taken?;
        match &taken.not_durable {
            Some(error) => {
                let refusal = ingest::not_durable(taken.accepted, error);
                Err(AppError::unavailable(refusal.detail(), RETRY_AFTER_S))
            }
            None => Ok(taken),
        }
    }

    fn find_place(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        keys: &CallerKeys,
    ) -> Result<(), AppError> {
        let tenants = &self.app.ingest.tenants;
        let found = tenants.find_place(tenant, keys, caller.tenant.is_some());
        found.map_err(Refused::into_error)
    }

    async fn take(
        &self,
        arriving: &mut Incoming,
        tenant: &Arc<Tenant>,
        keys: &CallerKeys,
        coding: Coding,
    ) -> Result<IngestOutcome<Points>, AppError> {
        let (mut bytes, share) = self.read(arriving, keys).await?;
        let is_packed = unframe(&mut bytes).map_err(AppError::bad_request)?;
        let packed = Packed {
            bytes,
            coding: if is_packed { coding } else { Coding::Identity },
            share,
        };
        let (worker, owner) = (Arc::clone(&self.app), Arc::clone(tenant));
        let taken = self
            .app
            .ingest
            .append(tenant, keys, packed, move |body, batch| {
                let known = |key: &[u8]| worker.storage.engine.last_of(&owner, key);
                worker.ingest.tenants.with_deltas(&owner, |totals| {
                    otlp::parse(Encoding::Protobuf, body, totals, &known, batch)
                })
            });
        taken.await.map_err(ingest::refusal)
    }

    /// Reads the call's one frame.
    async fn read(
        &self,
        arriving: &mut Incoming,
        keys: &CallerKeys,
    ) -> Result<(Vec<u8>, Share), AppError> {
        let max = self.app.ingest.body_bytes_max() + PREFIX_BYTES;
        ingest::gather(&self.app, keys, arriving, 0, max).await
    }
}

/// Whether it is the method, and how its message may be packed.
fn check(method: &Method, path: &str, headers: &HeaderMap) -> Result<Coding, AppError> {
    if method != Method::POST || path != PATH {
        return Err(AppError::not_found(format!(
            "this service has one method: {PATH}"
        )));
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().ok());
    let content_type = text("content-type").flatten().unwrap_or_default();
    if !matches!(content_type, "application/grpc" | "application/grpc+proto") {
        return Err(AppError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "accepted are application/grpc and application/grpc+proto",
        ));
    }
    match text("grpc-encoding") {
        None | Some(Some("identity")) => Ok(Coding::Identity),
        Some(Some("gzip")) => Ok(Coding::Gzip),
        Some(_) => Err(AppError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "accepted codings are identity and gzip",
        )),
    }
}
