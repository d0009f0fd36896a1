//! Who is told of what: an Alertmanager a tenant, fed by the server's own alerts and by those that
//! others send, and the outbox that its notifications leave by.
//!
//! ```text
//! alerts ──queue──┐                        ┌──▶ outbox ──▶ receivers
//!                 ├──▶ state (a tenant) ───┤
//! POST /api/v2 ───┘      ▲                 └──▶ timelines, the feed of alerts
//!                        └── what became of what was sent
//! ```
//!
//! One task does it all in rounds ([`Notifying::run`]): what came, what is due, to disk, and into
//! the outbox. What is on its way is on disk before it is in the outbox, so after a kill the outbox
//! is asked what became of it, and what it has not got is made anew. Where the disk failed
//! meanwhile, a notification that is made again has the same key as long as it says the same at the
//! same time.
//!
//! Of several servers one acts for a tenant ([`several`]): it is fed, it notifies, and it writes
//! what it knows with its lease's token before anybody is told. The others show that. What people
//! made (`people`: silences, windows, acknowledgements) is a document each, which all servers have.
//!
//! The file is the default tenant's, and so are the server's own alerts. Others have the receivers
//! that they made.

pub mod browsers;
mod carrier;
mod file;
mod keeping;
mod made;
mod name;
mod passed;
mod people;
mod people_made;
mod rounds;
mod several;
mod state;
mod subscribing;
mod windows;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use pulseboard_alerting::{AlertEvent, AlertSink, new_id};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_notify::{
    Ack, AckError, AlertLimits, BudgetOptions, Fingerprint, Options, PostedAlert, Refused,
    SilenceError, api::PostableSilence, config::Config,
};
use pulseboard_outbound::Secret;
use pulseboard_receivers::{
    Courier, Directory, Outbox, OutboxOptions, Outcome as Tried, Sender, Tested,
    config::Receiver,
    outbox::{Delivery as Line, DeliveryState, Event, OutboxStats},
};
use pulseboard_template::alertmanager::Templates;
use tokio::sync::{Notify, watch};

use self::{
    browsers::Browsers,
    carrier::{Carrier, Tells, way_of},
    file::Loaded,
    passed::Passed,
    people_made::Made,
    state::Outcome,
};
pub use self::{
    file::check,
    made::{Change, MakeError, NOBODY},
    people_made::Untold,
    state::{NOTIFICATION_FAILED, State},
};
use crate::{
    alerts::Alerts,
    base::{
        clock::Clock,
        data_dir,
        documents::{DocumentError, Documents, Expected},
        telemetry::{Limit, Telemetry},
    },
    cluster::alike::Alike,
    incidents::{
        Incidents,
        entry::{Entry, FROM_OTHERS, Kind},
    },
    settings::{DataDir, NotifyBudget, Settings},
};

/// Tenants with alerts, silences or receivers at once, beside the default one.
const TENANTS_MAX: usize = 256;

/// With those whose rules give alerts: who posts for many tenants keeps nobody's rules from being
/// heard.
const TENANTS_OF_RULES_MAX: usize = 2 * TENANTS_MAX;

/// Events of our own that wait for the task; past it what goes on is looked up anew.
const QUEUE_MAX: usize = 4_096;

/// Their texts, in bytes, likewise.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// After a failure it is tried again.
const RETRY_MS: i64 = 2_000;

/// Changes at other servers that one gives way to.
const CONFLICTS_MAX: u32 = 5;

/// A round that takes longer is none that works.
const ROUND_MS_MAX: i64 = 30_000;

/// What tenants but the default one may have of alerts.
const OTHERS: AlertLimits = AlertLimits {
    count: 5_000,
    bytes: 8 << 20,
};

/// Notifications of all tenants.
pub struct Notifying {
    clock: Clock,
    file: Option<PathBuf>,
    external_url: String,
    repeat_ms: i64,
    budget: NotifyBudget,
    /// Of the tenants' states and of the outbox; `None` keeps everything in memory.
    folder: Option<PathBuf>,
    documents: Arc<Documents>,
    /// Where there are other servers.
    alike: Option<Arc<Alike>>,
    /// Whether what people made at other servers is known.
    knows_people: AtomicBool,
    incidents: Arc<Incidents>,
    telemetry: Arc<Telemetry>,
    /// Each with a lock of its own. Leaf lock.
    tenants: Mutex<BTreeMap<Arc<str>, Arc<Tenant>>>,
    /// Leaf lock.
    loaded: Mutex<FromFile>,
    /// Leaf lock.
    queue: Mutex<Queue>,
    /// What was posted for other servers to take. Leaf lock.
    passed: Mutex<Passed>,
    /// What the outbox told. Leaf lock.
    told: Mutex<Vec<Event>>,
    wake: Notify,
    /// Held while receivers are changed, so that what is stored and what is used are one.
    changing: Mutex<()>,
    browsers: Browsers,
    directory: Directory,
    sender: Sender,
    started: OnceLock<Started>,
    /// When the round began that is under way, by the steady clock; 0 between rounds.
    round_ms: AtomicI64,
    /// Some way of some receiver does not work.
    is_failing: AtomicBool,
    /// How many times all that had changed was written.
    kept: watch::Sender<Keeping>,
    counters: Counters,
}

/// What is there once it runs.
struct Started {
    outbox: Outbox,
    alerts: Arc<Alerts>,
}

/// One tenant's. Its lock is held while actions are carried out, never while others are told.
struct Tenant {
    name: Arc<str>,
    state: Mutex<State>,
    /// Held while its file is written, so that the newest state is the last one written; taken
    /// before `state`.
    writing: Mutex<()>,
    /// Held while it is found out whether this server acts for the tenant, and what the one before
    /// left is taken in; taken before `state`.
    taking: Mutex<()>,
    /// By which right this server acts for the tenant, of several servers.
    term: AtomicU64,
    /// Which of the states that those who acted wrote is known here.
    seen: AtomicU64,
    /// When what people made and is long over was last looked for, by the steady clock.
    tidied_ms: AtomicI64,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<AlertEvent>,
    /// Of their texts.
    bytes: usize,
    /// Some were dropped.
    is_short: bool,
}

/// The file as it was read last.
#[derive(Debug, Default)]
struct FromFile {
    loaded: Option<Loaded>,
    state: FileState,
}

/// What is told of the file.
#[derive(Clone, Debug, Default)]
pub struct FileState {
    /// What is wrong with the newest reading of it, which is not used.
    pub error: Option<String>,
    /// What it asks for that is not there.
    pub warnings: Vec<String>,
    /// When it was last read with success, in Unix milliseconds; 0 without a file.
    pub loaded_ms: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Keeping {
    asked: u64,
    done: u64,
    failed: bool,
    /// By the steady clock.
    next_ms: i64,
}

struct Counters {
    delivered: Counter,
    retried: Counter,
    failed: Counter,
    reloads_failed: Counter,
    untold: Counter,
    untaken: Counter,
    write_failures: Counter,
}

/// Who may not have a state of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many tenants with alerts as there may be ({TENANTS_MAX})")]
pub struct TooManyTenants;

/// Why a maintenance window is not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// There is none of that identity.
    #[error("there is no such maintenance window")]
    NotFound,
    /// Somebody was faster.
    #[error("somebody has changed this maintenance window meanwhile: read it again")]
    Changed,
    /// It cannot be.
    #[error("{0}")]
    Invalid(String),
    /// There is no room for the tenant.
    #[error(transparent)]
    TooManyTenants(#[from] TooManyTenants),
    /// The other servers cannot be told.
    #[error(transparent)]
    Untold(#[from] Untold),
}

/// Why nothing becomes of alerts that somebody sent, whatever they say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPosted {
    /// There is no room for the tenant.
    #[error(transparent)]
    TooManyTenants(#[from] TooManyTenants),
    /// Whoever acts for the tenant cannot be told.
    #[error(transparent)]
    Untold(#[from] Untold),
}

/// Why nothing becomes of a silence, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSilence {
    /// There is no room for the tenant.
    #[error(transparent)]
    TooManyTenants(#[from] TooManyTenants),
    /// The other servers cannot be told.
    #[error(transparent)]
    Untold(#[from] Untold),
}

/// What was done is in memory alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk does not take it; it is in memory alone, and is tried again")]
pub struct NotKept;

/// A delivery, as the log has it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Who was told.
    pub receiver: String,
    /// By which way.
    pub integration: String,
    /// The rest.
    pub line: Line,
}

impl Notifying {
    /// Nothing runs yet.
    ///
    /// # Errors
    /// The file is wrong, in one line; or what is stored cannot be read.
    pub fn new(
        settings: &Settings,
        (documents, alike): (&Arc<Documents>, Option<&Arc<Alike>>),
        incidents: &Arc<Incidents>,
        clock: Clock,
        telemetry: &Arc<Telemetry>,
    ) -> io::Result<Arc<Self>> {
        let folder = match &settings.data_dir {
            DataDir::Memory => None,
            DataDir::Path(path) => Some(path.clone()),
        };
        let loaded = check(settings.alertmanager_config.as_deref()).map_err(io::Error::other)?;
        let counter = |name, help| telemetry.counter(name, help);
        let notifying = Arc::new(Self {
            file: settings.alertmanager_config.clone(),
            external_url: settings.external_address(),
            repeat_ms: i64::try_from(settings.alert_check.as_millis()).unwrap_or(i64::MAX),
            budget: settings.notify_budget,
            folder,
            documents: Arc::clone(documents),
            alike: alike.cloned(),
            knows_people: AtomicBool::new(false),
            incidents: Arc::clone(incidents),
            telemetry: Arc::clone(telemetry),
            tenants: Mutex::default(),
            loaded: Mutex::new(FromFile::of(loaded, clock.now_ms())),
            queue: Mutex::default(),
            passed: Mutex::default(),
            told: Mutex::default(),
            wake: Notify::new(),
            changing: Mutex::new(()),
            browsers: Browsers::open(documents, settings.notify_private)?,
            directory: Directory::new(),
            sender: Sender::new(settings.notify_private),
            started: OnceLock::new(),
            round_ms: AtomicI64::new(0),
            is_failing: AtomicBool::new(false),
            kept: watch::Sender::default(),
            counters: Counters {
                delivered: counter(
                    "pulseboard_notifications_delivered",
                    "Notifications that arrived, each way out of a receiver by itself.",
                ),
                retried: counter(
                    "pulseboard_notifications_retried",
                    "Tries to deliver a notification that did not work and are made again.",
                ),
                failed: counter(
                    "pulseboard_notifications_failed",
                    "Notifications that were given up.",
                ),
                reloads_failed: counter(
                    "pulseboard_notify_reloads_failed",
                    "Readings of ALERTMANAGER_CONFIG that found it wrong and changed nothing.",
                ),
                untold: counter(
                    "pulseboard_alerts_without_incident",
                    "Alerts that others sent and that have no incident, since there were too many at once.",
                ),
                untaken: counter(
                    "pulseboard_alerts_without_room",
                    "Alerts of rules that nobody is told of, since there were too many at once.",
                ),
                write_failures: counter(
                    "pulseboard_notify_write_failures",
                    "Times that the disk did not take what is known of alerts and silences.",
                ),
            },
            clock,
        });
        notifying.restore()?;
        Ok(notifying)
    }

    fn options(&self, tenant: &str) -> Options {
        let per_hour = self.budget.per_hour(self.is_of_file(tenant));
        let options = Options {
            external_url: self.external_url.clone(),
            budget: per_hour.map(|notifications| BudgetOptions {
                notifications,
                ..BudgetOptions::default()
            }),
            ..Options::default()
        };
        match tenant {
            DEFAULT_TENANT => options,
            _ => Options {
                limits: OTHERS,
                groups_max: OTHERS.count,
                ..options
            },
        }
    }

    /// Who is told of what of a tenant's.
    fn config_of(&self, tenant: &str) -> (Arc<Config>, Arc<Templates>) {
        let (config, templates) = self.config_without_browsers(tenant);
        (self.browsers.beside(tenant, config), templates)
    }

    fn config_without_browsers(&self, tenant: &str) -> (Arc<Config>, Arc<Templates>) {
        if tenant == DEFAULT_TENANT
            && let Some(loaded) = &self.loaded.lock().loaded
        {
            return (Arc::clone(&loaded.config), Arc::clone(&loaded.templates));
        }
        let config = made::config(&self.documents, tenant).unwrap_or_else(|error| {
            tracing::error!(error, tenant, "the receivers that were made cannot be used");
            Arc::default()
        });
        (config, Arc::new(Templates::new()))
    }

    /// Whether the file says who a tenant's receivers are.
    #[must_use]
    pub fn is_of_file(&self, tenant: &str) -> bool {
        tenant == DEFAULT_TENANT && self.file.is_some()
    }

    /// The state that a tenant's own receivers are in, which grows with each change; 0 for none
    /// yet.
    #[must_use]
    pub fn receivers_revision(&self, tenant: &str) -> u64 {
        made::revision(&self.documents, tenant)
    }

    /// Whether there is a file.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.file.is_some()
    }

    /// How the file is.
    #[must_use]
    pub fn file_state(&self) -> FileState {
        self.loaded.lock().state.clone()
    }

    /// Opens the outbox, and takes up what goes on. Blocks for the disk; inside a runtime.
    ///
    /// # Errors
    /// The outbox cannot be opened.
    pub fn start(self: &Arc<Self>, alerts: &Arc<Alerts>) -> Result<(), String> {
        let options = OutboxOptions {
            folder: self
                .folder
                .as_ref()
                .map(|folder| folder.join(data_dir::OUTBOX)),
            ..OutboxOptions::default()
        };
        let courier = Courier::new(self.directory.clone(), self.sender.clone());
        let told = Arc::downgrade(self);
        let tells = Arc::downgrade(self);
        let carrier = Carrier {
            courier,
            tells: Tells(Box::new(move |tenant| {
                tells
                    .upgrade()
                    .is_some_and(|notifying| notifying.tells(tenant))
            })),
        };
        let outbox = Outbox::open(options, Arc::new(carrier), move |event| {
            if let Some(notifying) = told.upgrade() {
                notifying.told.lock().push(event);
                notifying.wake.notify_one();
            }
        })
        .map_err(|error| error.to_string())?;
        let now_ms = self.clock.now_ms();
        for tenant in self.all() {
            let mut state = tenant.state.lock();
            let lines = outbox.deliveries(&tenant.name);
            for key in state.in_flight() {
                match lines.iter().find(|line| line.key == key) {
                    Some(line) => settle_line(&mut state, now_ms, line),
                    None => state.settle(now_ms, &key, Outcome::Lost),
                }
            }
        }
        let started = Started {
            outbox,
            alerts: Arc::clone(alerts),
        };
        drop(self.started.set(started));
        self.queue.lock().is_short = true;
        // Of several servers whoever acts for a tenant does so.
        if self.alike.is_none() {
            self.settle_told(now_ms, |_| true);
        }
        Ok(())
    }

    /// Incidents of alerts that others sent, and of ways that fail, which nobody goes on with, end.
    fn settle_told(&self, now_ms: i64, is_asked: impl Fn(&str) -> bool) {
        let Some(started) = self.started.get() else {
            return;
        };
        let mut told: BTreeMap<Arc<str>, Vec<AlertEvent>> = BTreeMap::new();
        for event in started.alerts.manager().told() {
            if is_ours(&event) {
                continue;
            }
            let tenant = event.tenant.clone();
            let tenant = tenant.unwrap_or_else(|| DEFAULT_TENANT.into());
            if !is_asked(&tenant) {
                continue;
            }
            told.entry(tenant).or_default().push(event);
        }
        for (name, events) in told {
            if let Ok(tenant) = self.tenant(&name) {
                tenant.state.lock().settle_told(now_ms, events);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Tenant>> {
        self.tenants.lock().values().cloned().collect()
    }

    fn known(&self, tenant: &str) -> Option<Arc<Tenant>> {
        self.tenants.lock().get(tenant).cloned()
    }

    /// A tenant's, made where there is none.
    fn tenant(&self, tenant: &str) -> Result<Arc<Tenant>, TooManyTenants> {
        self.tenant_of(tenant, TENANTS_MAX)
    }

    /// Likewise of one whose rules give alerts.
    fn tenant_of_rules(&self, tenant: &str) -> Result<Arc<Tenant>, TooManyTenants> {
        let made = self.tenant_of(tenant, TENANTS_OF_RULES_MAX);
        made.inspect_err(|error| {
            self.counters.untaken.inc();
            tracing::error!(%error, tenant, "nobody is told of alerts of a tenant's rules");
        })
    }

    fn tenant_of(&self, tenant: &str, most: usize) -> Result<Arc<Tenant>, TooManyTenants> {
        if let Some(known) = self.known(tenant) {
            return Ok(known);
        }
        let made = Arc::new(self.new_tenant(tenant));
        let mut tenants = self.tenants.lock();
        if let Some(known) = tenants.get(tenant) {
            return Ok(Arc::clone(known));
        }
        if tenants.len() > most {
            self.telemetry.count_limit(Limit::Tenants);
            return Err(TooManyTenants);
        }
        tenants.insert(Arc::clone(&made.name), Arc::clone(&made));
        Ok(made)
    }

    fn new_tenant(&self, tenant: &str) -> Tenant {
        let name: Arc<str> = tenant.into();
        let (config, templates) = self.config_of(tenant);
        self.directory
            .set(tenant, config.all_receivers(), templates);
        let mut state = State::new(Arc::clone(&name), config, self.options(tenant));
        if self.alike.is_some() {
            state.keep_notifications();
        }
        Tenant::new(name, state)
    }

    /// What goes on is looked up anew: it is told under other labels from now on.
    pub fn look_anew(&self) {
        self.queue.lock().is_short = true;
        self.wake.notify_one();
    }

    /// What a tenant's alerts are asked; one of whom nothing is known has none.
    pub fn read<T>(&self, tenant: &str, read: impl FnOnce(&State) -> T) -> T {
        match self.known(tenant) {
            Some(known) => read(&known.state.lock()),
            None => {
                let (config, _) = self.config_of(tenant);
                let name: Arc<str> = tenant.into();
                read(&State::new(name, config, self.options(tenant)))
            }
        }
    }

    /// Alerts that somebody sent. What was refused, and why. Blocks where there are other servers.
    ///
    /// # Errors
    /// There are too many tenants, or the server that acts for this one cannot be told.
    pub fn post(&self, tenant: &str, alerts: Vec<PostedAlert>) -> Result<Vec<Refused>, NotPosted> {
        if let Some(alike) = &self.alike {
            return self.post_to_all(alike, tenant, alerts);
        }
        let tenant = self.tenant(tenant)?;
        Ok(self.take_posted(&tenant, self.clock.now_ms(), alerts))
    }

    fn take_posted(&self, tenant: &Tenant, now_ms: i64, alerts: Vec<PostedAlert>) -> Vec<Refused> {
        let mut state = tenant.state.lock();
        let refused = state.take_posted(now_ms, self.repeat_ms, alerts);
        let effects = state.take_effects();
        drop(state);
        self.carry_out(&tenant.name, effects);
        self.wake.notify_one();
        refused
    }

    /// Makes or changes a silence, and says so in the timelines of what it silences. Its identity.
    ///
    /// # Errors
    /// It cannot be, there are too many tenants, or the other servers cannot be told.
    pub fn silence(
        &self,
        tenant: &str,
        silence: PostableSilence,
        by: &str,
    ) -> Result<Result<String, SilenceError>, NoSilence> {
        let before = silence.id.clone();
        let now_ms = self.clock.now_ms();
        let until_ms = silence.ends_at.0;
        let comment = silence.comment.clone();
        let tenant = self.tenant(tenant)?;
        let mut state = tenant.state.lock();
        let made = state
            .manager_mut()
            .set_silence(now_ms, silence, new_id(now_ms).to_string());
        let Ok(id) = made else {
            return Ok(made);
        };
        let silenced = silenced_by(&state, now_ms, &id);
        let kept = |id: &str| state.manager().kept_silence(id).cloned();
        let (made, replaced) = (kept(&id), kept(&before).filter(|_| before != id));
        drop(state);
        self.put_people(&tenant, Made::Silences, &id, made.as_ref())?;
        if replaced.is_some() {
            self.put_people(&tenant, Made::Silences, &before, replaced.as_ref())?;
        }
        for fingerprint in silenced {
            let entry = Entry {
                by: Some(by.to_owned()),
                text: Some(comment.clone()),
                until_ms: Some(until_ms),
                ..Entry::new(now_ms, Kind::Silenced)
            };
            self.incidents
                .add_to_newest(&tenant.name, fingerprint, entry);
        }
        self.wake.notify_one();
        Ok(Ok(id))
    }

    /// Ends a silence; one that has ended stays as it is.
    ///
    /// # Errors
    /// The other servers cannot be told; or there is none.
    pub fn expire(&self, tenant: &str, id: &str) -> Result<Result<(), SilenceError>, Untold> {
        let Some(tenant) = self.known(tenant) else {
            return Ok(Err(SilenceError::NotFound));
        };
        let now_ms = self.clock.now_ms();
        let ended = {
            let mut state = tenant.state.lock();
            if let Err(error) = state.manager_mut().expire_silence(now_ms, id) {
                return Ok(Err(error));
            }
            state.manager().kept_silence(id).cloned()
        };
        self.put_people(&tenant, Made::Silences, id, ended.as_ref())?;
        self.wake.notify_one();
        Ok(Ok(()))
    }

    /// Somebody takes an alert in hand.
    ///
    /// # Errors
    /// The other servers cannot be told; or it is over, or the text or the end cannot be.
    pub fn acknowledge(&self, tenant: &str, ack: Ack) -> Result<Result<(), AckError>, Untold> {
        let Some(tenant) = self.known(tenant) else {
            return Ok(Err(AckError::NotFiring));
        };
        let now_ms = self.clock.now_ms();
        let acknowledged = {
            let mut state = tenant.state.lock();
            state.manager_mut().acknowledge(now_ms, ack.clone())
        };
        // Whoever acts for the tenant may know by now that it fires.
        if matches!(acknowledged, Ok(()) | Err(AckError::NotFiring)) {
            let id = ack.fingerprint.to_string();
            self.put_people(&tenant, Made::Acks, &id, Some(&ack))?;
        }
        self.wake.notify_one();
        Ok(acknowledged)
    }

    /// Nobody has it in hand any more; whether somebody had.
    ///
    /// # Errors
    /// The other servers cannot be told.
    pub fn unacknowledge(&self, tenant: &str, fingerprint: Fingerprint) -> Result<bool, Untold> {
        let Some(tenant) = self.known(tenant) else {
            return Ok(false);
        };
        let ack = tenant.state.lock().manager_mut().unacknowledge(fingerprint);
        self.put_people::<Ack>(&tenant, Made::Acks, &fingerprint.to_string(), None)?;
        self.wake.notify_one();
        Ok(ack.is_some())
    }

    /// Changes the receivers that a tenant made, and goes on by them. Blocks.
    ///
    /// # Errors
    /// See [`MakeError`]; nothing has changed then. Or there are too many tenants.
    pub fn change_receivers(
        &self,
        tenant: &str,
        change: Change,
        believed: Expected,
    ) -> Result<(), MakeError> {
        if self.is_of_file(tenant) {
            return Err(MakeError::ReadOnly);
        }
        let tenant = self
            .tenant(tenant)
            .map_err(|error| MakeError::Invalid(error.to_string()))?;
        let _changing = self.changing.lock();
        let mut tries = 0;
        let config = loop {
            match made::change(&self.documents, &tenant.name, change.clone(), believed) {
                // At another server somebody changed another one of them: both are to be, but for
                // who says which state was read.
                Err(MakeError::Document(DocumentError::Conflict { .. }))
                    if believed == Expected::Any
                        && tries < CONFLICTS_MAX
                        && self
                            .alike
                            .as_ref()
                            .is_some_and(|alike| alike.copy_now().is_ok()) =>
                {
                    tries += 1;
                }
                changed => break changed?,
            }
        };
        let config = self.browsers.beside(&tenant.name, config);
        self.use_config(&tenant, config, Arc::new(Templates::new()));
        Ok(())
    }

    fn use_config(&self, tenant: &Tenant, config: Arc<Config>, templates: Arc<Templates>) {
        self.directory
            .set(&tenant.name, config.all_receivers(), templates);
        let now_ms = self.clock.now_ms();
        let mut state = tenant.state.lock();
        state.set_config(now_ms, Arc::clone(&config));
        let effects = state.take_effects();
        if !self.acts(tenant) {
            // Whoever acts follows the same configuration, and says what comes of it.
            drop((effects, state.take_to_send()));
            return;
        }
        drop(state);
        self.carry_out(&tenant.name, effects);
        if let Some(started) = self.started.get() {
            for receiver in config.all_receivers() {
                for (name, _) in receiver.ways() {
                    let way = pulseboard_notify::Way {
                        receiver: receiver.name.clone(),
                        name,
                    };
                    started
                        .outbox
                        .retry_now(&tenant.name, &carrier::name_of(&way));
                }
            }
        }
        self.wake.notify_one();
    }

    /// Reads the file again and goes on by it. Blocks.
    ///
    /// # Errors
    /// As [`check`]; everything then is as before.
    pub fn reload(&self) -> Result<(), String> {
        match check(self.file.as_deref()) {
            Ok(None) => Ok(()),
            Ok(Some(loaded)) => {
                let _changing = self.changing.lock();
                *self.loaded.lock() = FromFile::of(Some(loaded), self.clock.now_ms());
                if let Ok(tenant) = self.tenant(DEFAULT_TENANT) {
                    let (config, templates) = self.config_of(DEFAULT_TENANT);
                    self.use_config(&tenant, config, templates);
                }
                tracing::info!("the configuration of notifications was read again");
                Ok(())
            }
            Err(error) => {
                self.counters.reloads_failed.inc();
                self.loaded.lock().state.error = Some(error.clone());
                tracing::error!(error, "the configuration of notifications is not taken");
                Err(error)
            }
        }
    }

    /// Sends a test over each way of a receiver; `None` where there is none of that name.
    pub async fn test(&self, tenant: &str, receiver: &str) -> Option<Vec<Tested>> {
        let (config, templates) = self.config_of(tenant);
        let mut receivers = config.receivers.iter();
        let receiver: Receiver = receivers.find(|one| one.name == receiver)?.clone();
        let key = format!("test-{}", new_id(self.clock.now_ms()));
        let url = &self.external_url;
        let tested =
            pulseboard_receivers::test(&self.sender, &receiver, &templates, tenant, &key, url);
        Some(tested.await)
    }

    /// Sends a test to a browser that has subscribed; `None` where there is none of that identity.
    /// One that turns out to have unsubscribed is forgotten.
    pub async fn test_browser(self: &Arc<Self>, tenant: &str, id: &str) -> Option<Tested> {
        let receiver = self.browsers.alone(tenant, id)?;
        let (_, templates) = self.config_of(tenant);
        let key = format!("test-{}", new_id(self.clock.now_ms()));
        let url = &self.external_url;
        let tested =
            pulseboard_receivers::test(&self.sender, &receiver, &templates, tenant, &key, url);
        let tested = tested.await.pop()?;
        if tested.is_gone {
            let (tenant, id) = (tenant.to_owned(), id.to_owned());
            self.blocking(move |notifying| drop(notifying.forget_browser(&tenant, &id)))
                .await;
        }
        Some(tested)
    }

    /// Calls an address, as whoever sends notifications.
    pub async fn call(&self, url: &Secret) -> Tried {
        self.sender.call(url, None).await
    }

    /// What became of the newest notifications of a tenant, newest first.
    #[must_use]
    pub fn log(&self, tenant: &str) -> Vec<Logged> {
        let Some(started) = self.started.get() else {
            return Vec::new();
        };
        let lines = self.with_lines_of_others(tenant, started.outbox.deliveries(tenant));
        let lines = lines.into_iter().map(|line| {
            let way = way_of(&line.receiver);
            Logged {
                receiver: way.receiver,
                integration: way.name.0,
                line,
            }
        });
        lines.collect()
    }

    /// Figures of the outbox.
    #[must_use]
    pub fn outbox_stats(&self) -> OutboxStats {
        let started = self.started.get();
        started
            .map(|started| started.outbox.stats())
            .unwrap_or_default()
    }

    /// The address under which people reach this server.
    #[must_use]
    pub fn external_url(&self) -> &str {
        &self.external_url
    }

    /// Whether notifications are dispatched, and those that were due arrived.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let began_ms = self.round_ms.load(Ordering::Relaxed);
        let is_stuck = began_ms != 0 && self.clock.steady_ms() - began_ms > ROUND_MS_MAX;
        !is_stuck && !self.is_failing.load(Ordering::Relaxed)
    }
}

/// Whether an alert is one of a rule of this server, and not one that follows from what was sent
/// here or from here.
#[must_use]
pub fn is_ours(event: &AlertEvent) -> bool {
    let detail = event.detail.as_deref();
    detail.is_none_or(|detail| ![FROM_OTHERS, NOTIFICATION_FAILED].contains(&&*detail.rule_id))
}

/// Where the page shows what an expression gives.
#[must_use]
pub fn generator(external_url: &str, expr: &str) -> String {
    match expr.is_empty() {
        true => format!("{external_url}/alerts"),
        false => {
            let query: String = url::form_urlencoded::byte_serialize(expr.as_bytes()).collect();
            format!("{external_url}/graph?g0.expr={query}&g0.tab=1")
        }
    }
}

fn settle_line(state: &mut State, now_ms: i64, line: &Line) {
    let why = line.error.as_deref().unwrap_or_default();
    let outcome = match line.state {
        DeliveryState::Waiting => return,
        DeliveryState::Retrying => Outcome::Retrying(line.tries, why),
        DeliveryState::Sent => Outcome::Sent,
        DeliveryState::Failed | DeliveryState::Gone => Outcome::Failed(why),
    };
    state.settle(now_ms, &line.key, outcome);
}

/// Alerts that fire and that this silence, or window, keeps quiet.
fn silenced_by(state: &State, now_ms: i64, id: &str) -> Vec<Fingerprint> {
    let all = state.manager().alerts(now_ms, &Default::default());
    let silenced = all.into_iter().filter(|alert| {
        let ids = &alert.status.silenced_by;
        ids.iter().any(|one| one == id)
    });
    silenced.map(|alert| alert.fingerprint).collect()
}

impl FromFile {
    fn of(loaded: Option<Loaded>, now_ms: i64) -> Self {
        let Some(loaded) = loaded else {
            return Self::default();
        };
        let warnings = loaded.config.warnings();
        for warning in &warnings {
            tracing::warn!("ALERTMANAGER_CONFIG: {warning}");
        }
        Self {
            loaded: Some(loaded),
            state: FileState {
                error: None,
                warnings,
                loaded_ms: now_ms,
            },
        }
    }
}

impl Tenant {
    fn new(name: Arc<str>, state: State) -> Self {
        Self {
            name,
            state: Mutex::new(state),
            writing: Mutex::new(()),
            taking: Mutex::new(()),
            term: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            tidied_ms: AtomicI64::new(0),
        }
    }
}

impl AlertSink for Notifying {
    fn publish(&self, _offset: u64, event: &AlertEvent) {
        self.queue_up(event);
    }

    fn hear(&self, _offset: u64, event: &AlertEvent) {
        self.queue_up(event);
    }
}

impl Notifying {
    fn queue_up(&self, event: &AlertEvent) {
        if !is_ours(event) {
            return;
        }
        let mut queue: MutexGuard<'_, Queue> = self.queue.lock();
        let bytes = queue.bytes + event.bytes();
        if queue.events.len() >= QUEUE_MAX || bytes > QUEUE_BYTES_MAX {
            queue.events.clear();
            queue.bytes = 0;
            queue.is_short = true;
        }
        if !queue.is_short {
            queue.bytes = bytes;
            queue.events.push_back(event.clone());
        }
        drop(queue);
        self.wake.notify_one();
    }
}

impl fmt::Debug for Notifying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifying")
            .field("tenants", &self.tenants.lock().len())
            .field("is_of_file", &self.file.is_some())
            .finish_non_exhaustive()
    }
}
