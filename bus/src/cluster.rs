//! What servers share beside feeds: who they are, what they measured, small documents, tables,
//! secrets' digests, counts and figures. All of it is asked of Redis and takes a round trip; none
//! of it is known while a server is alone.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use pulseboard_feed::Epoch;
use redis::{Cmd, Value};

use crate::{
    counts::{self, Bucket, Total, Waiting},
    error::BusError,
    hub::Hub,
    key::FeedKey,
    members::{Member, Members, NotReady, View},
    route::Partition,
    scripts::Name,
    sink::Refused,
    value,
};

/// What servers share beside feeds.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) hub: Arc<Hub>,
    pub(crate) members: Members,
    pub(crate) counts: Waiting,
}

/// What members measured at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reports {
    /// How many live: once there are as many reports, nobody is waited for.
    pub live: usize,
    /// Member and what it measured.
    pub reports: Vec<(String, Bytes)>,
}

/// A document with its revision, which grows with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// 1 for the first.
    pub revision: u64,
    /// What it says.
    pub bytes: Bytes,
}

/// A table with its revision, which grows with each change of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// 0 where nothing was ever in it.
    pub revision: u64,
    /// Entries by name.
    pub entries: HashMap<String, Bytes>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is done; this is the revision now.
    Done(u64),
    /// Somebody else has changed it; this is the revision that it has.
    Other(u64),
    /// There are as many entries as may be.
    Full,
}

/// What is found by a digest and ends by itself. A secret is never in Redis, only its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Tickets: used once.
    Ticket,
    /// Sessions.
    Session,
    /// Anything else that ends, such as links of an admin.
    Link,
    /// Leave for a member to copy what another one keeps: used once.
    Copy,
}

impl Space {
    const fn name(self) -> &'static str {
        match self {
            Self::Ticket => "tkt",
            Self::Session => "ses",
            Self::Link => "lnk",
            Self::Copy => "cpy",
        }
    }
}

/// What a member says of one figure before it has more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub name: String,
    /// What it has.
    pub has: u64,
    /// How much more it would have.
    pub wants: u64,
    /// What all members together may have.
    pub max: u64,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What the others have.
    pub others: u64,
    /// What counts as the member's own from here on, beside what it has.
    pub taken: u64,
}

/// What the other members have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many of them live.
    pub members: usize,
    /// The sums of their figures by name.
    pub sums: HashMap<String, u64>,
}

/// Figures that end with their member are kept for so long: a little longer than it takes until it
/// counts as dead.
const OWN_FIGURES_KEPT: Duration = Duration::from_secs(7);

/// Figures that each member has for itself and that are added up over those that live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Who is in a tenant's rooms.
    Presence,
    /// Open streams of a token or an address.
    Limit,
    /// Anything else of a tenant.
    Other,
}

impl Figure {
    const fn name(self) -> &'static str {
        match self {
            Self::Presence => "p",
            Self::Limit => "lim",
            Self::Other => "fig",
        }
    }

    /// A member says its figures each five seconds; those of who is dead are not added up anyway.
    const fn kept(self) -> Duration {
        match self {
            Self::Limit => Duration::from_secs(15),
            Self::Presence | Self::Other => Duration::from_secs(60),
        }
    }
}

impl Cluster {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self {
            members: Members::new(hub),
            hub: Arc::clone(hub),
            counts: Waiting::default(),
        }
    }

    async fn ask(&self, tenant: &str, command: Cmd) -> Result<Value, BusError> {
        self.hub.ask(Partition::of(tenant), command).await
    }

    // Members.

    /// Who we are: `INSTANCE.INCARNATION`, which nobody else ever was.
    #[must_use]
    pub fn member(&self) -> &Arc<str> {
        &self.hub.member
    }

    /// What we are called.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.hub.settings.instance
    }

    /// Who lives, as heard in the last second.
    #[must_use]
    pub fn view(&self) -> View {
        self.members.view()
    }

    /// Changes what we say of ourselves with the next heartbeat.
    pub fn say(&self, change: impl FnOnce(&mut Member)) {
        self.members.change(change);
    }

    /// Whether this server may be sent viewers and senders.
    ///
    /// # Errors
    /// Why not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        self.members.readiness(&self.hub)
    }

    /// Whether somebody does this [work](crate::Work) of a partition now, or will before long.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn is_leased(&self, work: &str, partition: Partition) -> Result<bool, BusError> {
        let mut command = Name::Leased.command(1);
        command.arg(self.hub.keys.lease(partition, work));
        let answer = self.hub.ask(partition, command).await?;
        let left_ms: i64 = value::number(answer, "a lease")?;
        Ok(left_ms > 0)
    }

    // Feeds.

    /// Where feeds are, in their order: epoch and newest offset. `None` where whoever reads the
    /// feed begins an epoch.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn tops(&self, keys: &[FeedKey]) -> Result<Vec<Option<(Epoch, u64)>>, BusError> {
        let of = "tops";
        let asked = keys.iter().map(|key| {
            let partition = Partition::of(&key.tenant);
            let mut command = Name::Tops.command(2);
            command
                .arg(self.hub.keys.generation(partition))
                .arg(self.hub.keys.feed(key).meta);
            self.hub.ask(partition, command)
        });
        let mut tops = Vec::with_capacity(keys.len());
        for answer in join_all(asked).await {
            let mut answer = value::list(answer?, of)?.into_iter();
            let _lineage = value::next(&mut answer, of)?;
            let epoch = value::text(value::next(&mut answer, of)?, of)?;
            let offset = value::number(value::next(&mut answer, of)?, of)?;
            tops.push(epoch.parse().ok().map(|epoch| (Epoch(epoch), offset)));
        }
        Ok(tops)
    }

    /// The epoch that a feed began with: those that it has had since, after failovers, are its
    /// continuations. Where Redis loses the feed it begins with another. `None`: there is none.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn born(&self, key: &FeedKey) -> Result<Option<Epoch>, BusError> {
        let meta = self.hub.keys.feed(key).meta;
        let command = redis::cmd("HGET").arg(meta).arg("a").clone();
        match self.ask(&key.tenant, command).await? {
            Value::Nil => Ok(None),
            born => Ok(Some(Epoch(value::number(born, "a feed's beginning")?))),
        }
    }

    /// What Redis holds of each feed of [`Kind::Ingest`](crate::Kind::Ingest) at most, in bytes, as
    /// far as this server appends to it; the oldest go.
    pub fn bound_ingest(&self, bytes: u64) {
        self.hub.ingest_bytes.store(bytes, Ordering::Relaxed);
    }

    // Ticks.

    /// Says what we measured at a moment, and hears what all have measured at it.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn report(&self, moment_ms: i64, measured: &[u8]) -> Result<Reports, BusError> {
        let of = "reports";
        let mut command = Name::Report.command(2);
        command
            .arg(self.hub.keys.own("now"))
            .arg(self.hub.keys.own("members"))
            .arg(&**self.member())
            .arg(moment_ms)
            .arg(measured)
            .arg(crate::members::DEAD_AFTER.as_millis().to_string());
        let answer = self.ask("", command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        let live = value::number(value::next(&mut answer, of)?, of)?;
        let reports = value::pairs(answer, of)?;
        Ok(Reports { live, reports })
    }

    // Documents and tables.

    fn document_key(&self, tenant: &str, name: &str) -> String {
        self.hub.keys.item(tenant, "doc", name)
    }

    /// A document of a tenant, `""` for the service's own.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn document(&self, tenant: &str, name: &str) -> Result<Option<Document>, BusError> {
        let of = "a document";
        let key = self.document_key(tenant, name);
        let command = redis::cmd("HMGET").arg(key).arg("v").arg("d").clone();
        let answer = self.ask(tenant, command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        let revision = value::next(&mut answer, of)?;
        if revision == Value::Nil {
            return Ok(None);
        }
        Ok(Some(Document {
            revision: value::number(revision, of)?,
            bytes: value::bytes(value::next(&mut answer, of)?, of)?,
        }))
    }

    /// Writes a document: only over the revision that was read (0: there was none), or over any.
    /// With `kept` it ends by itself.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn put_document(
        &self,
        (tenant, name): (&str, &str),
        read: Option<u64>,
        bytes: &[u8],
        kept: Option<Duration>,
    ) -> Result<Put, BusError> {
        let mut command = Name::Put.command(1);
        command
            .arg(self.document_key(tenant, name))
            .arg(revision(read))
            .arg(bytes)
            .arg(kept.map_or(0, millis));
        put(self.ask(tenant, command).await?)
    }

    /// A whole table of a tenant, `""` for the service's own.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn table(&self, tenant: &str, name: &str) -> Result<Table, BusError> {
        let of = "a table";
        let mut command = Name::Table.command(2);
        let [entries, revision] = self.table_keys(tenant, name);
        command.arg(entries).arg(revision);
        let answer = self.ask(tenant, command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        Ok(Table {
            revision: value::number(value::next(&mut answer, of)?, of)?,
            entries: value::pairs(answer, of)?.into_iter().collect(),
        })
    }

    fn table_keys(&self, tenant: &str, name: &str) -> [String; 2] {
        let keys = &self.hub.keys;
        [
            keys.item(tenant, "tab", name),
            keys.item(tenant, "tabv", name),
        ]
    }

    /// Writes (`Some`) or removes (`None`) an entry of a table that may have so many, if the table
    /// is of the revision that was read, or in any case.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn put_entry(
        &self,
        (tenant, table): (&str, &str),
        entry: &str,
        bytes: Option<&[u8]>,
        read: Option<u64>,
        entries_max: usize,
    ) -> Result<Put, BusError> {
        let mut command = Name::Entry.command(2);
        let [entries, revision_key] = self.table_keys(tenant, table);
        command
            .arg(entries)
            .arg(revision_key)
            .arg(revision(read))
            .arg(entry)
            .arg(if bytes.is_some() { "set" } else { "del" })
            .arg(bytes.unwrap_or_default())
            .arg(entries_max);
        put(self.ask(tenant, command).await?)
    }

    /// Every field of a tenant's hash: what each member writes under names of its own, so that
    /// nobody writes over what another does, and writing it again changes nothing.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn fields(&self, tenant: &str, hash: &str) -> Result<Vec<(String, Bytes)>, BusError> {
        let of = "fields";
        let key = self.hub.keys.tenant(tenant, hash);
        let command = redis::cmd("HGETALL").arg(key).clone();
        let answer = self.ask(tenant, command).await?;
        value::pairs(value::list(answer, of)?.into_iter(), of)
    }

    /// Writes fields of a tenant's hash.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn put_fields(
        &self,
        tenant: &str,
        hash: &str,
        fields: &[(String, Vec<u8>)],
    ) -> Result<(), BusError> {
        if fields.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HSET");
        command.arg(self.hub.keys.tenant(tenant, hash));
        for (field, bytes) in fields {
            command.arg(field).arg(&**bytes);
        }
        self.ask(tenant, command).await.map(drop)
    }

    /// The revision of a table; 0 where nothing was ever in it.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn table_revision(&self, tenant: &str, name: &str) -> Result<u64, BusError> {
        let [_, revision] = self.table_keys(tenant, name);
        let command = redis::cmd("GET").arg(revision).clone();
        match self.ask(tenant, command).await? {
            Value::Nil => Ok(0),
            revision => value::number(revision, "a revision"),
        }
    }

    /// Fills a table that nothing was ever in, as one step; whether it was such a one.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn begin_table(
        &self,
        (tenant, table): (&str, &str),
        entries: &[(String, Vec<u8>)],
    ) -> Result<bool, BusError> {
        let mut command = Name::Begin.command(2);
        let [entries_key, revision] = self.table_keys(tenant, table);
        command.arg(entries_key).arg(revision);
        for (entry, bytes) in entries {
            command.arg(entry).arg(&**bytes);
        }
        let begun: u8 = value::number(self.ask(tenant, command).await?, "a table")?;
        Ok(begun == 1)
    }

    // What ends by itself.

    fn digest_key(&self, space: Space, digest: &str) -> String {
        self.hub.keys.own(&format!("{}:{}", space.name(), digest))
    }

    /// Keeps something under a digest for a while; `false`: there is something already.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn keep_new(
        &self,
        space: Space,
        digest: &str,
        bytes: &[u8],
        kept: Duration,
    ) -> Result<bool, BusError> {
        let mut command = redis::cmd("SET");
        command.arg(self.digest_key(space, digest)).arg(bytes);
        command.arg("NX").arg("PX").arg(millis(kept));
        Ok(self.ask("", command).await? != Value::Nil)
    }

    /// As [`Self::keep_new`], in the place of what is there.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn keep(
        &self,
        space: Space,
        digest: &str,
        bytes: &[u8],
        kept: Duration,
    ) -> Result<(), BusError> {
        let mut command = redis::cmd("SET");
        command.arg(self.digest_key(space, digest)).arg(bytes);
        command.arg("PX").arg(millis(kept));
        self.ask("", command).await.map(drop)
    }

    /// What is kept under a digest.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn look(&self, space: Space, digest: &str) -> Result<Option<Bytes>, BusError> {
        let command = redis::cmd("GET")
            .arg(self.digest_key(space, digest))
            .clone();
        value::maybe_bytes(self.ask("", command).await?, "GET")
    }

    /// As [`Self::keep`], for what is one of a list of which there may be so many: past that the
    /// oldest of the list go, whose digests are returned.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn keep_of(
        &self,
        (space, digest): (Space, &str),
        bytes: &[u8],
        kept: Duration,
        (list, max): (&str, usize),
    ) -> Result<Vec<String>, BusError> {
        let mut command = Name::Keep.command(2);
        command
            .arg(self.digest_key(space, digest))
            .arg(self.digest_key(space, &format!("of:{list}")))
            .arg(self.digest_key(space, ""))
            .arg(digest)
            .arg(bytes)
            .arg(millis(kept))
            .arg(max);
        let of = "those that went";
        let gone = value::list(self.ask("", command).await?, of)?;
        gone.into_iter().map(|one| value::text(one, of)).collect()
    }

    /// What is kept under each of these digests.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn look_all(
        &self,
        space: Space,
        digests: &[String],
    ) -> Result<Vec<Option<Bytes>>, BusError> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let of = "MGET";
        let mut command = redis::cmd(of);
        for digest in digests {
            command.arg(self.digest_key(space, digest));
        }
        let found = value::list(self.ask("", command).await?, of)?;
        if found.len() != digests.len() {
            return Err(BusError::Odd(of));
        }
        found
            .into_iter()
            .map(|one| value::maybe_bytes(one, of))
            .collect()
    }

    /// What is kept under a digest, for who asks first alone.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn take(&self, space: Space, digest: &str) -> Result<Option<Bytes>, BusError> {
        let command = redis::cmd("GETDEL")
            .arg(self.digest_key(space, digest))
            .clone();
        value::maybe_bytes(self.ask("", command).await?, "GETDEL")
    }

    /// Keeps nothing under a digest any more; whether something was.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn forget(&self, space: Space, digest: &str) -> Result<bool, BusError> {
        let command = redis::cmd("DEL")
            .arg(self.digest_key(space, digest))
            .clone();
        let gone: u64 = value::number(self.ask("", command).await?, "DEL")?;
        Ok(gone > 0)
    }

    /// Keeps nothing under these digests any more.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn forget_all(&self, space: Space, digests: &[String]) -> Result<(), BusError> {
        if digests.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("DEL");
        for digest in digests {
            command.arg(self.digest_key(space, digest));
        }
        self.ask("", command).await.map(drop)
    }

    // Figures.

    /// Says our figures of these names and hears the sums over all live members, ours included, of
    /// every name that has one. Figures end where they are not said again within [a while]: limits
    /// after 15 s, others after 60 s, and at once where their member is dead.
    ///
    /// [a while]: Figure
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn figures(
        &self,
        figure: Figure,
        (tenant, of): (&str, &str),
        own: &[(&str, u64)],
    ) -> Result<HashMap<String, u64>, BusError> {
        let what = "figures";
        let mut command = Name::Gauge.command(1);
        command.arg(self.hub.keys.item(tenant, figure.name(), of));
        command.arg(millis(figure.kept()));
        for (name, value) in own {
            command
                .arg(format!("{name}\0{}", self.member()))
                .arg(*value);
        }
        let answer = self.ask(tenant, command).await?;
        let view = self.view();
        let mut sums: HashMap<String, u64> = HashMap::new();
        for (field, value) in value::pairs(value::list(answer, what)?.into_iter(), what)? {
            let Some((name, member)) = field.rsplit_once('\0') else {
                continue;
            };
            if member != &**self.member() && !view.is_live(member) {
                continue;
            }
            let value = std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok());
            let sum = sums.entry(name.to_owned()).or_default();
            *sum = sum.saturating_add(value.unwrap_or_default());
        }
        Ok(sums)
    }

    fn own_figures(&self, of: &str) -> [String; 3] {
        let keys = &self.hub.keys;
        let all = keys.own(&format!("own:{of}:"));
        [keys.own("members"), format!("{all}{}", self.member()), all]
    }

    /// Says all of our figures of a kind and hears those of the others that live. Ours are
    /// forgotten with us: at once by the others when we are dead to them, and by Redis soon after.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn tell(&self, kind: &str, own: &[(String, u64)]) -> Result<Others, BusError> {
        let of = "figures of members";
        let [members, ours, all] = self.own_figures(kind);
        let mut command = Name::Tell.command(2);
        command
            .arg(members)
            .arg(ours)
            .arg(&**self.member())
            .arg(all)
            .arg(millis(crate::members::DEAD_AFTER))
            .arg(millis(OWN_FIGURES_KEPT));
        for (name, figure) in own {
            command.arg(name).arg(*figure);
        }
        let mut answer = value::list(self.ask("", command).await?, of)?.into_iter();
        let members = value::number(value::next(&mut answer, of)?, of)?;
        let mut sums = HashMap::new();
        for (name, sum) in value::pairs(answer, of)? {
            let sum = std::str::from_utf8(&sum)
                .ok()
                .and_then(|text| text.parse().ok());
            sums.insert(name, sum.ok_or(BusError::Odd(of))?);
        }
        Ok(Others { members, sums })
    }

    /// Says what we have of some figures of a kind, and takes as much more of each as the limit of
    /// all leaves, as one step. It counts as ours until figures are said again.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn ask_for(&self, kind: &str, asked: &[Asked]) -> Result<Vec<Granted>, BusError> {
        let of = "a share";
        let [members, ours, all] = self.own_figures(kind);
        let mut command = Name::Ask.command(2);
        command
            .arg(members)
            .arg(ours)
            .arg(&**self.member())
            .arg(all)
            .arg(millis(crate::members::DEAD_AFTER))
            .arg(millis(OWN_FIGURES_KEPT));
        for one in asked {
            command
                .arg(&one.name)
                .arg(one.has)
                .arg(one.wants)
                .arg(one.max);
        }
        let mut answer = value::list(self.ask("", command).await?, of)?.into_iter();
        let mut granted = Vec::with_capacity(asked.len());
        for _ in asked {
            granted.push(Granted {
                others: value::number(value::next(&mut answer, of)?, of)?,
                taken: value::number(value::next(&mut answer, of)?, of)?,
            });
        }
        Ok(granted)
    }

    // Counts.

    /// Counts an item of a tenant; it is sent within a fifth of a second, and once whatever happens
    /// while this server lives. `lengths` are those of the buckets that it is put into, in seconds.
    ///
    /// # Errors
    /// Too much waits to be sent.
    pub fn count(
        &self,
        tenant: &Arc<str>,
        name: &str,
        value: f64,
        at_ms: i64,
        lengths: &[u32],
    ) -> Result<(), Refused> {
        self.counts
            .add(&self.hub, tenant, (name, value, at_ms), lengths)
    }

    /// Everything that was counted of a tenant, by name.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn totals(&self, tenant: &str) -> Result<HashMap<String, Total>, BusError> {
        counts::totals(&self.hub, tenant).await
    }

    /// The newest buckets of a length, oldest first.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn buckets(&self, tenant: &str, length: u32) -> Result<Vec<Bucket>, BusError> {
        counts::buckets(&self.hub, tenant, length).await
    }

    /// Begins counting anew with nothing.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn reset_counts(&self, tenant: &str, lengths: &[u32]) -> Result<(), BusError> {
        counts::reset(&self.hub, tenant, lengths).await
    }
}

fn revision(read: Option<u64>) -> String {
    read.map(|read| read.to_string()).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn put(answer: Value) -> Result<Put, BusError> {
    let of = "a change";
    let mut answer = value::list(answer, of)?.into_iter();
    let outcome: u8 = value::number(value::next(&mut answer, of)?, of)?;
    let revision = value::number(value::next(&mut answer, of)?, of)?;
    Ok(match outcome {
        0 => Put::Other(revision),
        1 => Put::Done(revision),
        _ => Put::Full,
    })
}
