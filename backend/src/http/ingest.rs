//! Bodies of samples as requests bring them: who may send them, reading them, and what the sender
//! is told. What becomes of them is [`crate::ingest`]'s.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use pulseboard_engine::Tenant;
use pulseboard_history::log::LogError;
use pulseboard_ingest::{
    BodyError,
    decompress::{Coding, UnpackError},
};
use pulseboard_series::{Batch, Reason};
use salvo::{
    Depot, Request,
    http::{StatusCode, header},
};

use super::{
    body::{self, BODY_DEADLINE},
    caller::{self, client_address},
    tenant,
};
use crate::{
    app::App,
    base::error::AppError,
    ingest::{IngestError, IngestOutcome, Packed, ParseReport, RETRY_AFTER_S},
    refusals::Sent,
    shares::{CallerKeys, Refused, Share},
};

/// Room made beforehand for a body that says how long it is; what it says costs nothing.
const RESERVED_BYTES_MAX: usize = 256 * 1024;

/// A body has room for so many times what has come of it, where it says that there will be as much.
const AHEAD_RATIO: usize = 4;

/// What the sender is told where nothing was taken.
pub(crate) fn refusal(error: IngestError) -> AppError {
    let detail = error.to_string();
    match error {
        IngestError::Malformed(_) => AppError::bad_request(detail),
        IngestError::UnknownCoding(_) => AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail),
        IngestError::TooLarge(_) => AppError::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
        // Every sender tries again after a 503, and few after a 429.
        IngestError::NoMemory(_) | IngestError::Budget(_) | IngestError::Busy => {
            AppError::unavailable(detail, RETRY_AFTER_S)
        }
        IngestError::Panicked => AppError::internal(),
    }
}

/// Reads the request's body, has `parse` make a batch of it for its tenant ([`writing_tenant`]),
/// appends that and waits until it is safe. `coding`: how the body is packed, whatever its header
/// says (`None`: the header says it).
///
/// # Errors
/// Everything that takes nothing of the body; see the texts.
pub async fn take<T: ParseReport>(
    app: &Arc<App>,
    tenant: &Arc<Tenant>,
    request: &mut Request,
    depot: &Depot,
    coding: Option<Coding>,
    parse: impl Fn(&Arc<Tenant>, &[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
) -> Result<IngestOutcome<T>, AppError> {
    let (sender, endpoint) = (client_address(request), request.uri().path().to_owned());
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    find_place(app, depot, tenant, &keys)?;
    let owner = Arc::clone(tenant);
    let parse = move |body: &[u8], batch: &mut Batch| parse(&owner, body, batch);
    let taken = take_for(app, tenant, &keys, request, coding, parse).await;
    note(app, tenant, &endpoint, sender, &taken);
    taken
}

/// Takes note of what became of a body: what was refused, for who asks why something is missing.
pub(crate) fn note<T>(
    app: &App,
    tenant: &Tenant,
    endpoint: &str,
    sender: IpAddr,
    taken: &Result<IngestOutcome<T>, AppError>,
) {
    let of = Sent {
        tenant: &tenant.name,
        endpoint,
        sender: Some(sender),
        at_ms: app.clock.now_ms(),
    };
    match taken {
        Ok(taken) => {
            // What a format allows and nobody keeps comes with each of its bodies.
            let lines = taken.refused.iter();
            let lines = lines.filter(|refused| !matches!(refused.reason, Reason::Unsupported(_)));
            let lines = lines.map(|refused| (Some(refused.line), refused.reason.to_string()));
            app.refusals.note(&of, lines);
        }
        Err(error) => app.refusals.note(&of, [(None, error.detail().to_owned())]),
    }
    if let Err(error) = taken {
        // One for a body of which nobody knows how many samples it has.
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => tenant.count_refused(&Reason::BodyTooLarge),
            StatusCode::SERVICE_UNAVAILABLE => tenant.count_refused(&Reason::Busy),
            status if status.is_client_error() => {
                tenant.count_refused(&Reason::Malformed(String::new()));
            }
            _ => {}
        }
    }
}

/// A place among all tenants for who sends the first samples of one; see
/// [`crate::ingest::Tenants::find_place`].
///
/// # Errors
/// The caller made too many; 503 or 429.
pub fn find_place(
    app: &App,
    depot: &Depot,
    tenant: &Tenant,
    keys: &CallerKeys,
) -> Result<(), AppError> {
    // Asked for only where it matters: most senders have a place.
    if tenant.is_listed() {
        return Ok(());
    }
    let is_bound = caller::caller(depot)?.tenant.is_some();
    app.ingest
        .tenants
        .find_place(tenant, keys, is_bound)
        .map_err(Refused::into_error)
}

async fn take_for<T: ParseReport>(
    app: &Arc<App>,
    tenant: &Arc<Tenant>,
    keys: &CallerKeys,
    request: &mut Request,
    coding: Option<Coding>,
    parse: impl Fn(&[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
) -> Result<IngestOutcome<T>, AppError> {
    let coding = match coding {
        Some(coding) => coding,
        None => coding_of(request).map_err(|error| refusal(app.ingest.unpack_error(&error)))?,
    };
    let (bytes, share) = read_body(app, keys, request).await?;
    let packed = Packed {
        coding: coding.or_by_content(&bytes),
        bytes,
        share,
    };
    let taken = app.ingest.append(tenant, keys, packed, parse).await;
    taken.map_err(refusal)
}

/// How the request says that its body is packed.
fn coding_of(request: &Request) -> Result<Coding, UnpackError> {
    let mut named = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let first = named
        .next()
        .map(|value| value.to_str().unwrap_or("not text"));
    match named.next() {
        None => Coding::from_header(first),
        // Several headers are one list of several.
        Some(_) => Err(UnpackError::UnknownCoding("several".to_owned())),
    }
}

/// Whose samples an endpoint is to take. Asked before anything else that an endpoint looks at: a
/// request of one who may not write is refused for that, whatever else is wrong with it.
///
/// # Errors
/// 401 or 403 for who may not write; then as [`engine_tenant`].
pub fn writing_tenant(
    app: &App,
    request: &Request,
    depot: &Depot,
) -> Result<Arc<Tenant>, AppError> {
    caller::require_write(depot)?;
    engine_tenant(app, request, depot)
}

/// The request's tenant in the engine.
///
/// # Errors
/// As [`tenant::tenant`]; 429 where there are too many tenants.
pub fn engine_tenant(app: &App, request: &Request, depot: &Depot) -> Result<Arc<Tenant>, AppError> {
    let name = tenant::borrowed(request, depot)?;
    let tenant = app.storage.engine.tenant(name);
    tenant.map_err(|error| AppError::too_many(error.to_string(), 60))
}

/// The answer where samples are not safe: the sender is to send them again.
#[must_use]
pub fn not_durable(accepted: u64, error: &LogError) -> AppError {
    let detail =
        format!("{accepted} samples are shown but not safe on the disk ({error}); send them again");
    match error {
        LogError::Busy { .. } | LogError::Closed => AppError::unavailable(detail, RETRY_AFTER_S),
        _ => AppError::new(StatusCode::INSUFFICIENT_STORAGE, detail),
    }
}

async fn read_body(
    app: &App,
    keys: &CallerKeys,
    request: &mut Request,
) -> Result<(Vec<u8>, Share), AppError> {
    let max = app.ingest.body_bytes_max();
    let expected = body::said_length(request);
    if expected > max as u64 {
        return Err(refusal(app.ingest.too_large()));
    }
    let expected = usize::try_from(expected).unwrap_or(max);
    gather(app, keys, &mut request.take_body(), expected, max).await
}

/// Reads all of a body, and has room for each piece before it is kept.
pub(crate) async fn gather<B>(
    app: &App,
    keys: &CallerKeys,
    arriving: &mut B,
    expected: usize,
    max: usize,
) -> Result<(Vec<u8>, Share), AppError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut share = app.ingest.begin_body(keys).map_err(refusal)?;
    let mut bytes = Vec::with_capacity(expected.min(RESERVED_BYTES_MAX));
    let reading = async {
        while let Some(frame) = arriving.frame().await {
            let frame = frame.map_err(|_broken| body::broken())?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > max {
                return Err(refusal(app.ingest.too_large()));
            }
            let needed = bytes.len() + data.len();
            if needed > share.count() {
                // Some ahead, as far as it says that it goes on: a share is asked for once for
                // several pieces, and what it says still costs nothing that it does not send a part
                // of.
                let ahead = expected.min(AHEAD_RATIO * needed).max(needed);
                let has = share.count();
                share
                    .grow_ahead(needed - has, ahead - has)
                    .map_err(|refused| refusal(IngestError::NoMemory(refused)))?;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    let read = tokio::time::timeout(BODY_DEADLINE, reading).await;
    read.map_err(|_late| body::late())??;
    share.shrink(share.count() - bytes.len());
    Ok((bytes, share))
}
