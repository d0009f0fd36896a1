//! From a request's body to samples that are safe: read, unpack, parse, append, wait for the disk.
//!
//! Bodies are bounded one by one (`MAX_BODY_BYTES`) and all together (four times that, of which
//! each caller has a share); a parser is a pure function of [`pulseboard_ingest`].
//!
//! Only a short body that is not packed is worked on where it was read. All others wait for a turn
//! on a thread that may block: those that turn out to be small have turns of their own, so that
//! none of them waits for a large one, and turns go round among callers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use parking_lot::Mutex;
use pulseboard_engine::{Appended, Engine, Safety, Tenant, tenant::TENANTS_MAX};
use pulseboard_history::log::LogError;
use pulseboard_ingest::{
    BodyError,
    decompress::{Coding, UnpackError, Unpacker},
    detect::Form,
    otlp::{DeltaTotals, Points},
    remote_write::Written,
};
use pulseboard_series::{Batch, Reason, batch::Refused as RefusedLine};
use salvo::{
    Depot, Request,
    http::{StatusCode, header},
};

use crate::http::caller;
use crate::{
    app::App,
    base::{
        error::AppError,
        telemetry::{Limit, Telemetry},
    },
    http::{caller::client_address, tenant::tenant},
    questions::lane::{Lane, Queue, Turn},
    refusals::Sent,
    shares::{CallerKeys, Refused, Scope, Share, ShareLimits, Shares},
};

/// A body must be there in this time as a whole: a gap between bytes may be short for ever.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Series of one tenant whose senders report differences; those of further ones are refused.
const DELTA_SERIES_MAX: usize = 100_000;

/// The same of all tenants; where there are so many, no tenant gets further ones.
const DELTA_SERIES_ALL_MAX: usize = 1_000_000;

/// Larger bodies, and all that are packed, are worked on by a thread that may block; others take
/// less than the way there. Larger: what a worker does for one client is felt by others.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// What makes a body a small one, unpacked.
const SMALL_BYTES_MAX: usize = 1 << 20;

/// A body waits so long for its turn.
const TURN_DEADLINE: Duration = Duration::from_secs(30);

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
    /// Turns of small bodies, as many as there are cores.
    small: Arc<Lane>,
    /// Turns of large bodies, as many as there are cores, since each may take as much memory as a
    /// batch may have.
    large: Arc<Lane>,
    /// Bytes of bodies, packed and unpacked, and who has them.
    bytes: Arc<Shares>,
    /// Tenants that have a place among all, and who made them.
    tenants: Arc<Shares>,
    benches: Mutex<Vec<Bench>>,
    body_bytes_max: usize,
    /// Series of all tenants whose senders report differences, as last counted.
    delta_series: AtomicUsize,
}

/// What is kept with each tenant that something is sent for.
#[derive(Debug)]
struct OfTenant {
    /// The place among all tenants, for whoever sent first.
    place: Mutex<Option<Share>>,
    deltas: Mutex<DeltaTotals>,
}

/// What one body is worked on with.
#[derive(Debug, Default)]
struct Bench {
    batch: Batch,
    unpacker: Unpacker,
    unpacked: Vec<u8>,
}

/// What became of a body.
#[derive(Debug)]
pub struct Taken<T> {
    /// What the parser said besides, less what the engine refused.
    pub said: T,
    /// Samples taken.
    pub accepted: u64,
    /// The first lines refused.
    pub refused: Vec<RefusedLine>,
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
    pub fn new(body_bytes_max: usize, telemetry: &Arc<Telemetry>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let counted_as = |scope| match scope {
            Scope::All => Limit::BodyBudget,
            _ => Limit::BodyShare,
        };
        let limits = ShareLimits {
            client: usize::MAX,
            ..ShareLimits::of(body_bytes_max.saturating_mul(4))
        };
        let telemetry = || Arc::clone(telemetry);
        Self {
            small: Lane::new(cores),
            large: Lane::new(cores),
            bytes: Shares::new("bytes of bodies", counted_as, limits, telemetry()),
            tenants: Shares::new(
                "tenants made",
                |_| Limit::Tenants,
                ShareLimits::of(TENANTS_MAX),
                telemetry(),
            ),
            benches: Mutex::default(),
            body_bytes_max,
            delta_series: AtomicUsize::new(0),
        }
    }

    /// Has `parse` work with a tenant's running totals of what its senders report as differences.
    /// There is room for so many series of each tenant, and no tenant takes more than a quarter of
    /// what is left of the room for all.
    pub fn with_deltas<T>(&self, tenant: &Tenant, parse: impl FnOnce(&mut DeltaTotals) -> T) -> T {
        let Some(of) = of_tenant(tenant) else {
            return parse(&mut DeltaTotals::new(0));
        };
        let mut totals = of.deltas.lock();
        let before = totals.len();
        let left = DELTA_SERIES_ALL_MAX.saturating_sub(self.delta_series.load(Ordering::Relaxed));
        totals.set_series_max(DELTA_SERIES_MAX.min(before + left / 4));
        let parsed = parse(&mut totals);
        let more = totals.len().saturating_sub(before);
        self.delta_series.fetch_add(more, Ordering::Relaxed);
        parsed
    }

    /// Forgets totals that nothing was added to since the last call; called now and then.
    pub fn forget_idle(&self, engine: &Engine) {
        self.count_deltas(engine, DeltaTotals::forget_idle);
    }

    /// Counts the series of all tenants whose senders report differences anew; called every few
    /// seconds, since those of tenants that were never made or have gone are there no longer.
    pub fn recount(&self, engine: &Engine) {
        self.count_deltas(engine, |_| 0);
    }

    fn count_deltas(&self, engine: &Engine, first: impl Fn(&mut DeltaTotals) -> usize) {
        let mut series = 0;
        for tenant in engine.tenants() {
            if let Some(of) = of_tenant(&tenant) {
                let mut deltas = of.deltas.lock();
                first(&mut deltas);
                series += deltas.len();
            }
        }
        self.delta_series.store(series, Ordering::Relaxed);
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

/// What is kept with a tenant; always there, since nobody else keeps anything with one.
fn of_tenant(tenant: &Tenant) -> Option<Arc<OfTenant>> {
    tenant.attached(|| OfTenant {
        place: Mutex::default(),
        deltas: Mutex::new(DeltaTotals::new(DELTA_SERIES_MAX)),
    })
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
    let tenant = writing_tenant(app, request, depot)?;
    let (sender, door) = (client_address(request), request.uri().path().to_owned());
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    find_place(app, depot, &tenant, &keys)?;
    let taken = take_for(app, &tenant, &keys, request, coding, parse).await;
    let of = Sent {
        tenant: &tenant.name,
        door: &door,
        sender: Some(sender),
        at_ms: app.clock.now_ms(),
    };
    match &taken {
        Ok(taken) => {
            // What a format allows and nobody keeps comes with each of its bodies.
            let lines = taken.refused.iter();
            let lines = lines.filter(|refused| !matches!(refused.reason, Reason::Unsupported(_)));
            let lines = lines.map(|refused| (Some(refused.line), refused.reason.to_string()));
            app.refusals.note(&of, lines);
        }
        Err(error) => app.refusals.note(&of, [(None, error.detail().to_owned())]),
    }
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

/// A share of all tenants' places for who sends the first samples of one, kept as long as the
/// tenant is. A tenant that the caller's token names has a place in any case.
///
/// # Errors
/// The caller made too many; 503 or 429.
pub fn find_place(
    app: &App,
    depot: &Depot,
    tenant: &Tenant,
    keys: &CallerKeys,
) -> Result<(), AppError> {
    if tenant.is_listed() {
        return Ok(());
    }
    if caller::caller(depot)?.tenant.is_some() {
        app.storage.engine.keep_tenant(&tenant.name);
        return Ok(());
    }
    let Some(of) = of_tenant(tenant) else {
        return Ok(());
    };
    let mut place = of.place.lock();
    if place.is_none() {
        // Its own name is new, so there is nothing to share within it.
        let keys = CallerKeys {
            tenant: None,
            ..keys.clone()
        };
        let share = app.ingest.tenants.acquire(&keys, 1);
        *place = Some(share.map_err(Refused::into_error)?);
    }
    Ok(())
}

async fn take_for<T: Said>(
    app: &Arc<App>,
    tenant: &Arc<Tenant>,
    keys: &CallerKeys,
    request: &mut Request,
    coding: Option<Coding>,
    parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
) -> Result<Taken<T>, AppError> {
    let coding = match coding {
        Some(coding) => coding,
        None => coding_of(request).map_err(|error| unpack_error(app, &error))?,
    };
    let ingest = &app.ingest;
    let (body, share) = read_body(app, keys, request).await?;
    let mut body = Body {
        packed: body,
        coding,
        share,
        bench: ingest.take_bench(),
        is_unpacked: false,
    };
    let (said, appended) = if coding == Coding::Identity && body.packed.len() <= INLINE_BYTES_MAX {
        work(app, tenant, body, parse)?
    } else {
        let queue = Queue::of(keys);
        if coding != Coding::Identity && body.packed.len() <= SMALL_BYTES_MAX {
            let turn = turn(&ingest.small, queue).await?;
            let app = Arc::clone(app);
            body = blocking(&Arc::clone(&app), turn, move || {
                body.unpack(&app, SMALL_BYTES_MAX).map(|()| body)
            })
            .await??;
        }
        let is_small = body
            .bytes()
            .is_some_and(|bytes| bytes.len() <= SMALL_BYTES_MAX);
        let lane = if is_small {
            &ingest.small
        } else {
            &ingest.large
        };
        let turn = turn(lane, queue).await?;
        let (app, tenant) = (Arc::clone(app), Arc::clone(tenant));
        blocking(&Arc::clone(&app), turn, move || {
            work(&app, &tenant, body, parse)
        })
        .await??
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

/// Whose samples a door is to take. Asked before anything else that a door looks at: a request of
/// one who may not write is refused for that, whatever else is wrong with it.
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

/// A body on its way, with the memory that it was given.
struct Body {
    packed: Vec<u8>,
    coding: Coding,
    share: Share,
    bench: Bench,
    is_unpacked: bool,
}

impl Body {
    /// What there is to parse, if it is unpacked.
    fn bytes(&self) -> Option<&[u8]> {
        match self.coding {
            Coding::Identity => Some(&self.packed),
            _ => self.is_unpacked.then_some(&*self.bench.unpacked),
        }
    }

    /// Unpacks it, unless that was done. A body of more than `enough` bytes stays as it is where
    /// `enough` is less than what is accepted.
    fn unpack(&mut self, app: &App, enough: usize) -> Result<(), AppError> {
        if self.bytes().is_some() {
            return Ok(());
        }
        let limit = app.ingest.body_bytes_max;
        let Bench {
            unpacker, unpacked, ..
        } = &mut self.bench;
        let before = self.share.count();
        let mut refusal = None;
        let charge = |bytes| match self.share.grow(bytes) {
            Ok(()) => true,
            Err(refused) => {
                refusal = Some(refused);
                false
            }
        };
        let done = unpacker.unpack(
            self.coding,
            &self.packed,
            enough.min(limit),
            unpacked,
            charge,
        );
        match (done, refusal) {
            (Ok(()), _) => {
                self.is_unpacked = true;
                Ok(())
            }
            (Err(UnpackError::TooLarge { .. }), _) if enough < limit => {
                self.share.shrink(self.share.count() - before);
                Ok(())
            }
            (_, Some(refused)) => Err(no_memory(refused)),
            (Err(error), None) => Err(unpack_error(app, &error)),
        }
    }
}

/// Waits for a turn at a lane.
async fn turn(lane: &Arc<Lane>, queue: Queue) -> Result<Turn, AppError> {
    let turn = tokio::time::timeout(TURN_DEADLINE, lane.enter(queue)).await;
    turn.map_err(|_late| AppError::unavailable("too many bodies wait; try again", RETRY_AFTER_S))
}

/// Runs `work` on a thread that may block. The turn is held until the work ends, also when its
/// request has gone.
async fn blocking<T: Send + 'static>(
    app: &App,
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    let worked = tokio::task::spawn_blocking(move || {
        let worked = work();
        drop(turn);
        worked
    });
    worked.await.map_err(|error| {
        app.telemetry.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "work on a body panicked");
        AppError::internal()
    })
}

fn work<T: Said>(
    app: &App,
    tenant: &Arc<Tenant>,
    mut body: Body,
    parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError>,
) -> Result<(T, Appended), AppError> {
    body.unpack(app, usize::MAX)?;
    let Body {
        packed,
        coding,
        mut bench,
        share,
        ..
    } = body;
    let bytes = match coding {
        Coding::Identity => packed.as_slice(),
        _ => bench.unpacked.as_slice(),
    };
    bench.batch.clear();
    let bytes_max = bytes.len().saturating_mul(BATCH_RATIO_MAX);
    bench.batch.set_bytes_max(bytes_max.max(BATCH_BYTES_MIN));
    let mut said =
        parse(bytes, &mut bench.batch).map_err(|error| AppError::bad_request(error.to_string()))?;
    let appended = app
        .storage
        .engine
        .append(tenant, &bench.batch, app.clock.now_ms());
    if !appended.refused_rows.is_empty() {
        said.lose(&bench.batch, &appended.refused_rows);
    }
    app.ingest.give_back(bench);
    drop(share);
    Ok((said, appended))
}

async fn read_body(
    app: &App,
    keys: &CallerKeys,
    request: &mut Request,
) -> Result<(Vec<u8>, Share), AppError> {
    let max = app.ingest.body_bytes_max;
    let mut share = app.ingest.bytes.acquire(keys, 0).map_err(no_memory)?;
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
            share.grow(data.len()).map_err(no_memory)?;
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
    Ok((bytes, share))
}

/// Memory for bodies is short, for all or for this caller; every sender tries again after a 503,
/// and few after a 429.
fn no_memory(refused: Refused) -> AppError {
    AppError::unavailable(
        format!("there is no memory left for bodies now; try again ({refused})"),
        RETRY_AFTER_S,
    )
}

fn unpack_error(app: &App, error: &UnpackError) -> AppError {
    let detail = error.to_string();
    match error {
        UnpackError::UnknownCoding(_) => AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail),
        UnpackError::TooLarge { .. } => {
            app.telemetry.count_limit(Limit::BodyBytes);
            AppError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        UnpackError::Budget => AppError::unavailable(detail, RETRY_AFTER_S),
        UnpackError::Broken { .. } => AppError::bad_request(detail),
    }
}
