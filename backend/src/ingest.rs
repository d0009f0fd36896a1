//! From a request's body to samples that are safe: read, unpack, parse, append, wait for the disk.
//!
//! Bodies are bounded one by one (`MAX_BODY_BYTES`) and all together (four times that); a parser
//! is a pure function of [`pulseboard_ingest`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use parking_lot::Mutex;
use pulseboard_engine::{Appended, Safety, Tenant};
use pulseboard_history::log::LogError;
use pulseboard_ingest::{
    BodyError,
    decompress::{Coding, UnpackError, Unpacker},
    detect::Form,
    otlp::{DeltaTotals, Points},
    remote_write::Written,
};
use pulseboard_series::{Batch, Reason, batch::Refused};
use salvo::{
    Depot, Request,
    http::{StatusCode, header},
};
use tokio::sync::Semaphore;

use crate::{
    app::App,
    error::AppError,
    http::{access, tenant::tenant},
    telemetry::Limit,
};

/// A body must be there in this time as a whole: a gap between bytes may be short for ever.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Series of one tenant whose senders report differences; those of further ones are refused.
const DELTA_SERIES_MAX: usize = 100_000;

/// Larger bodies are parsed on a thread that may block; smaller ones take less than the way there.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// Bytes of samples that a byte of a body may become: the labels of an Influx line or a histogram
/// are repeated for each of its series. Larger: a small body can fill more memory. Smaller: one
/// with long labels and many fields is refused in part.
const BATCH_RATIO_MAX: usize = 256;

/// What any body's samples may take.
const BATCH_BYTES_MIN: usize = 8 << 20;

/// Room made beforehand for a body that says how long it is; what it says costs nothing.
const RESERVED_BYTES_MAX: usize = 256 * 1024;

/// Benches kept for the next body, and the largest that is worth it.
const BENCHES_MAX: usize = 16;
const BENCH_BYTES_MAX: usize = 4 << 20;

/// Seconds after which a sender may try again.
pub const RETRY_AFTER_S: u32 = 2;

/// Place of that code in [`Reason::CODES`].
const UNSUPPORTED: usize = Reason::CODES.len() - 1;
const _: () = assert!(matches!(
    Reason::CODES[UNSUPPORTED].as_bytes(),
    b"unsupported"
));

/// What bodies share.
#[derive(Debug)]
pub struct Ingest {
    /// Held by each large body that is being parsed: as many at once as there are cores, since
    /// each may take as much memory as a batch may have.
    large: Arc<Semaphore>,
    /// Bytes that bodies may still take.
    budget: Arc<AtomicUsize>,
    benches: Mutex<Vec<Bench>>,
    body_bytes_max: usize,
    /// By tenant; see [`DeltaTotals`].
    deltas: Mutex<HashMap<Box<str>, Arc<Mutex<DeltaTotals>>>>,
}

/// What one body is worked on with.
#[derive(Debug, Default)]
struct Bench {
    batch: Batch,
    unpacker: Unpacker,
    unpacked: Vec<u8>,
}

/// Bytes taken from the budget, given back when this is dropped.
#[derive(Debug)]
struct Charge {
    budget: Arc<AtomicUsize>,
    bytes: usize,
}

/// What became of a body.
#[derive(Debug)]
pub struct Taken<T> {
    /// What the parser said besides, less what the engine refused.
    pub said: T,
    /// Samples taken.
    pub accepted: u64,
    /// The first lines refused.
    pub refused: Vec<Refused>,
    /// All lines refused.
    pub refused_total: u64,
    /// Of these, such as their format allows and nobody keeps: texts among an Influx line's
    /// fields. Their senders cannot leave them away, and send the rest again when told so.
    pub unsupported: u64,
    /// Why the samples are in memory alone, where they are.
    pub unsafe_because: Option<LogError>,
}

/// What a parser says of a body.
pub trait Said: Send + 'static {
    /// The engine refused these rows of the batch, which come in no order.
    fn lose(&mut self, batch: &Batch, rows: &[u32]);
}

impl Said for () {
    fn lose(&mut self, _: &Batch, _: &[u32]) {}
}

impl Said for Form {
    fn lose(&mut self, _: &Batch, _: &[u32]) {}
}

impl Said for Written {
    fn lose(&mut self, _: &Batch, rows: &[u32]) {
        Self::lose(self, rows);
    }
}

impl Said for Points {
    fn lose(&mut self, batch: &Batch, rows: &[u32]) {
        Self::lose(self, batch, rows);
    }
}

impl Ingest {
    /// Nothing in work.
    #[must_use]
    pub fn new(body_bytes_max: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            large: Arc::new(Semaphore::new(cores)),
            budget: Arc::new(AtomicUsize::new(body_bytes_max.saturating_mul(4))),
            benches: Mutex::default(),
            body_bytes_max,
            deltas: Mutex::default(),
        }
    }

    /// A tenant's running totals of what its senders report as differences.
    #[must_use]
    pub fn delta_totals(&self, tenant: &str) -> Arc<Mutex<DeltaTotals>> {
        let mut deltas = self.deltas.lock();
        if let Some(known) = deltas.get(tenant) {
            return Arc::clone(known);
        }
        let made = Arc::new(Mutex::new(DeltaTotals::new(DELTA_SERIES_MAX)));
        deltas.insert(tenant.into(), Arc::clone(&made));
        made
    }

    /// Forgets totals that nothing was added to since the last call; called now and then.
    pub fn forget_idle(&self) {
        let totals: Vec<_> = self.deltas.lock().values().cloned().collect();
        for totals in totals {
            totals.lock().forget_idle();
        }
        self.deltas
            .lock()
            .retain(|_, totals| Arc::strong_count(totals) > 1 || !totals.lock().is_empty());
    }

    fn charge(&self) -> Charge {
        Charge {
            budget: Arc::clone(&self.budget),
            bytes: 0,
        }
    }

    fn take_bench(&self) -> Bench {
        self.benches.lock().pop().unwrap_or_default()
    }

    fn give_back(&self, mut bench: Bench) {
        bench.batch.clear();
        let is_small = bench.unpacked.capacity() <= BENCH_BYTES_MAX
            && bench.batch.capacity_bytes() <= BENCH_BYTES_MAX;
        let mut benches = self.benches.lock();
        if is_small && benches.len() < BENCHES_MAX {
            benches.push(bench);
        }
    }
}

impl Charge {
    fn take(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(bytes)
            });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// Reads the request's body, has `parse` make a batch of it, appends that and waits until it is
/// safe. `coding`: how the body is packed, whatever its header says (`None`: the header says it).
///
/// # Errors
/// Everything that takes nothing of the body; see the texts.
pub async fn take<T: Said>(
    app: &Arc<App>,
    request: &mut Request,
    depot: &Depot,
    coding: Option<Coding>,
    parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
) -> Result<Taken<T>, AppError> {
    access::require_write(depot)?;
    let tenant = engine_tenant(app, request, depot)?;
    let taken = take_for(app, &tenant, request, coding, parse).await;
    if let Err(error) = &taken {
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
    taken
}

async fn take_for<T: Said>(
    app: &Arc<App>,
    tenant: &Arc<Tenant>,
    request: &mut Request,
    coding: Option<Coding>,
    parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
) -> Result<Taken<T>, AppError> {
    let coding = match coding {
        Some(coding) => coding,
        None => coding_of(request).map_err(|error| unpack_error(app, &error))?,
    };
    let (body, charge) = read_body(app, request).await?;
    let worker = Arc::clone(app);
    let is_large = body.len() > INLINE_BYTES_MAX;
    let tenant = Arc::clone(tenant);
    let work = move || work(&worker, &tenant, coding, &body, charge, parse);
    let (said, appended) = if is_large {
        // Never closed. Held until the work ends, also when its request has gone.
        let permit = Arc::clone(&app.ingest.large).acquire_owned().await;
        let work = move || {
            let worked = work();
            drop(permit);
            worked
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            app.telemetry.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "parsing a body panicked");
            AppError::internal()
        })??
    } else {
        work()?
    };
    let unsafe_because = wait(app, appended.safety).await;
    Ok(Taken {
        said,
        accepted: appended.accepted,
        refused: appended.refused,
        refused_total: appended.refused_total,
        unsupported: appended.refused_by_code[UNSUPPORTED],
        unsafe_because,
    })
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

/// The request's tenant in the engine.
///
/// # Errors
/// As [`tenant`]; 429 where there are too many tenants.
pub fn engine_tenant(app: &App, request: &Request, depot: &Depot) -> Result<Arc<Tenant>, AppError> {
    let name = tenant(request, depot)?;
    let tenant = app.storage.engine.tenant(&name);
    tenant.map_err(|error| AppError::too_many(error.to_string(), 60))
}

/// Waits until samples are safe; why they are not, where they are not.
pub async fn wait(app: &App, safety: Safety) -> Option<LogError> {
    let error = match safety {
        Safety::InMemory => return None,
        Safety::Pending(ticket) => ticket.wait().await.err(),
        Safety::Unsafe(error) => Some(error),
    };
    if error.is_some() {
        app.telemetry.count_limit(Limit::Storage);
    }
    error
}

/// The answer where samples are not safe: the sender is to send them again.
#[must_use]
pub fn not_safe(accepted: u64, error: &LogError) -> AppError {
    let detail =
        format!("{accepted} samples are shown but not safe on the disk ({error}); send them again");
    match error {
        LogError::Busy { .. } | LogError::Closed => AppError::unavailable(detail, RETRY_AFTER_S),
        _ => AppError::new(StatusCode::INSUFFICIENT_STORAGE, detail),
    }
}

fn work<T: Said>(
    app: &App,
    tenant: &Arc<Tenant>,
    coding: Coding,
    body: &[u8],
    mut charge: Charge,
    parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError>,
) -> Result<(T, Appended), AppError> {
    let ingest = &app.ingest;
    let mut bench = ingest.take_bench();
    let body = if coding == Coding::Identity {
        body
    } else {
        let limit = ingest.body_bytes_max;
        let unpacked = &mut bench.unpacked;
        bench
            .unpacker
            .unpack(coding, body, limit, unpacked, |bytes| charge.take(bytes))
            .map_err(|error| unpack_error(app, &error))?;
        unpacked.as_slice()
    };
    bench.batch.clear();
    let bytes_max = body.len().saturating_mul(BATCH_RATIO_MAX);
    bench.batch.set_bytes_max(bytes_max.max(BATCH_BYTES_MIN));
    let mut said =
        parse(body, &mut bench.batch).map_err(|error| AppError::bad_request(error.to_string()))?;
    let appended = app
        .storage
        .engine
        .append(tenant, &bench.batch, app.clock.now_ms());
    if !appended.refused_rows.is_empty() {
        said.lose(&bench.batch, &appended.refused_rows);
    }
    ingest.give_back(bench);
    Ok((said, appended))
}

async fn read_body(app: &App, request: &mut Request) -> Result<(Vec<u8>, Charge), AppError> {
    let max = app.ingest.body_bytes_max;
    let mut charge = app.ingest.charge();
    let mut body = request.take_body();
    let expected = request.headers().get(header::CONTENT_LENGTH);
    let expected = expected.and_then(|length| length.to_str().ok()?.parse().ok());
    let expected: usize = expected.unwrap_or_default();
    let mut bytes = Vec::with_capacity(expected.min(RESERVED_BYTES_MAX));
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_broken| AppError::bad_request("the body broke off"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > max {
                app.telemetry.count_limit(Limit::BodyBytes);
                return Err(AppError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body is larger than {max} bytes"),
                ));
            }
            if !charge.take(data.len()) {
                return Err(unpack_error(app, &UnpackError::Budget));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    match tokio::time::timeout(BODY_DEADLINE, reading).await {
        Ok(read) => read?,
        Err(_late) => {
            return Err(AppError::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive within 30 s",
            ));
        }
    }
    Ok((bytes, charge))
}

fn unpack_error(app: &App, error: &UnpackError) -> AppError {
    let detail = error.to_string();
    match error {
        UnpackError::UnknownCoding(_) => AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail),
        UnpackError::TooLarge { .. } => {
            app.telemetry.count_limit(Limit::BodyBytes);
            AppError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        UnpackError::Budget => {
            app.telemetry.count_limit(Limit::BodyBudget);
            AppError::unavailable(detail, RETRY_AFTER_S)
        }
        UnpackError::Broken { .. } => AppError::bad_request(detail),
    }
}
