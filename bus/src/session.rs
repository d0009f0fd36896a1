//! One connection's life: looked at, put to use, and worked with until something is wrong with it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{Cmd, PushInfo, PushKind, Value};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    check::{self, Found},
    dial::{self, Connection, Purpose},
    error::{self, BusError, ConnectError},
    feeds::Entry as Watched,
    hub::{Hub, Line, Node},
    key::Kind,
    outbox::{Job, Lane, Outcome, Sent},
    replica::{Ask, Page},
    route::Partition,
    scripts::Name,
    settings::Server,
    sink::Placed,
    value,
};

/// Messages that may wait to be looked at; what is beyond is read from the stream.
const PUSHES: usize = 4_096;
/// Frames, and bytes, that are sent in one go.
const SENT: usize = 256;
const SENT_BYTES: usize = 1 << 20;
/// Feeds that are read, subscribed or compared in one go.
const READ: usize = 16;
const SUBSCRIBED: usize = 256;
const COMPARED: usize = 256;
/// With more feeds than this each is compared every fifth second.
const COMPARED_EACH_SECOND: usize = 2_000;
/// Our own messages that may be missing before a connection is given up.
const UNHEARD: Duration = Duration::from_secs(3);
/// Between two tries of what the server refused.
const AGAIN: Duration = Duration::from_millis(200);

type End = Result<Infallible, BusError>;

/// Connects and works until something is wrong: that is what it returns.
pub(crate) async fn run(hub: &Arc<Hub>, node: &Arc<Node>, server: &Server) -> ConnectError {
    let mut tasks = JoinSet::new();
    let ended = match begin(hub, node, server, &mut tasks).await {
        Ok(session) => ConnectError::Away(session.work().await),
        Err(error) => error,
    };
    hub.lose(node, ended.to_string().into());
    ended
}

async fn begin<'a>(
    hub: &'a Arc<Hub>,
    node: &'a Arc<Node>,
    server: &Server,
    tasks: &mut JoinSet<()>,
) -> Result<Session<'a>, ConnectError> {
    let connection = dial::connect(&hub.settings, server, Purpose::Ask, tasks).await?;
    let partitions = node.wanted();
    let Found { lineage } = check::check(hub, server, &connection, partitions).await?;
    let (full_node, figures) = (Arc::clone(node), Arc::clone(&hub.figures));
    let (push, messages) = dial::pushes(PUSHES, move || {
        figures.dropped_push.add(1);
        full_node.is_behind.store(true, Ordering::Release);
    });
    let listening = dial::connect(&hub.settings, server, Purpose::Hear(push), tasks).await?;
    let probe = Partition::all()
        .find(|one| partitions & crate::feeds::bit(*one) != 0)
        .map(|one| hub.keys.probe(one, &hub.member));
    let line = Line {
        connection,
        lineage,
        broken: Arc::default(),
    };
    // What is to be served may have changed meanwhile.
    hub.serve(node, &line);
    Ok(Session {
        hub,
        node,
        line,
        listening,
        messages,
        probe,
    })
}

struct Session<'a> {
    hub: &'a Arc<Hub>,
    node: &'a Arc<Node>,
    line: Line,
    listening: Connection,
    messages: mpsc::Receiver<PushInfo>,
    /// The channel of our own messages to ourselves.
    probe: Option<String>,
}

impl Session<'_> {
    async fn work(self) -> BusError {
        let Session {
            hub,
            node,
            line,
            listening,
            messages,
            probe,
        } = self;
        let heard = Mutex::new(Instant::now());
        let leaving = Leaving::default();
        let began = Instant::now();
        let hearing = Hearing {
            hub,
            node,
            probe: probe.as_deref(),
            heard: &heard,
            leaving: &leaving,
            began,
        };
        let checking = Checking {
            hub,
            node,
            line: &line,
            listening: &listening,
            probe: probe.as_deref(),
            heard: &heard,
            began,
        };
        let worked = tokio::try_join!(
            hearing.hear(messages),
            checking.check(),
            send(hub, node, &line),
            fetch(hub, node, &line),
            subscribe(node, &listening, &leaving),
            broken(&line),
        );
        match worked {
            Err(error) => error,
        }
    }
}

async fn broken(line: &Line) -> End {
    line.broken.notified().await;
    Err(BusError::away("the connection broke"))
}

// Hearing.

struct Hearing<'a> {
    hub: &'a Arc<Hub>,
    node: &'a Arc<Node>,
    probe: Option<&'a str>,
    heard: &'a Mutex<Instant>,
    leaving: &'a Leaving,
    began: Instant,
}

/// Channels that we have left, until the server says so, too.
type Leaving = Mutex<HashMap<String, usize>>;

impl Hearing<'_> {
    async fn hear(&self, mut messages: mpsc::Receiver<PushInfo>) -> End {
        while let Some(message) = messages.recv().await {
            match message.kind {
                PushKind::SMessage => self.message(message.data),
                PushKind::Disconnection => {
                    return Err(BusError::away("the connection for messages ended"));
                }
                // We have not left: the slot is somewhere else now.
                PushKind::SUnsubscribe if !self.has_left(message.data) => {
                    self.hub.moved.notify_one();
                    return Err(BusError::away("a partition moved"));
                }
                _ => {}
            }
        }
        Err(BusError::away("the connection for messages ended"))
    }

    fn message(&self, data: Vec<Value>) {
        let mut data = data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
            (data.next(), data.next())
        else {
            return;
        };
        let Ok(channel) = std::str::from_utf8(&channel) else {
            return;
        };
        if self.probe == Some(channel) {
            return self.probed(&payload);
        }
        let entry = self.hub.feeds.lock().of_channel(channel);
        if let Some(entry) = entry
            && entry.message(Bytes::from(payload), &self.hub.figures)
        {
            self.node.fetch_soon(&entry);
        }
    }

    /// Our own message: how long it took.
    fn probed(&self, payload: &[u8]) {
        let sent = std::str::from_utf8(payload)
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(sent) = sent.map(Duration::from_micros) {
            *self.heard.lock() = Instant::now();
            let lag = self.began.elapsed().saturating_sub(sent);
            let lag = i64::try_from(lag.as_micros()).unwrap_or(i64::MAX);
            self.hub.figures.lag_us.set(lag);
        }
    }

    fn has_left(&self, data: Vec<Value>) -> bool {
        let channel = data.into_iter().next();
        let Some(Value::BulkString(channel)) = channel else {
            return true;
        };
        let mut leaving = self.leaving.lock();
        let channel = String::from_utf8_lossy(&channel).into_owned();
        let Entry::Occupied(mut times) = leaving.entry(channel) else {
            return false;
        };
        *times.get_mut() -= 1;
        if *times.get() == 0 {
            times.remove();
        }
        true
    }
}

// Comparing.

struct Checking<'a> {
    hub: &'a Arc<Hub>,
    node: &'a Arc<Node>,
    line: &'a Line,
    listening: &'a Connection,
    probe: Option<&'a str>,
    heard: &'a Mutex<Instant>,
    began: Instant,
}

impl Checking<'_> {
    async fn check(&self) -> End {
        if let Some(probe) = self.probe {
            self.listening
                .one(redis::cmd("SSUBSCRIBE").arg(probe).clone())
                .await?;
        }
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_usize.. {
            seconds.tick().await;
            self.listening.one(redis::cmd("PING")).await?;
            self.probe().await?;
            if self.node.wanted() == 0 {
                return Err(BusError::away("nothing of ours is there any more"));
            }
            if self.node.owned() != self.node.wanted() {
                self.hub.serve(self.node, self.line);
            }
            self.compare(round).await?;
            self.generation().await?;
        }
        Err(BusError::away("the connection was used for too long"))
    }

    async fn probe(&self) -> Result<(), BusError> {
        let Some(channel) = self.probe else {
            return Ok(());
        };
        if self.heard.lock().elapsed() > UNHEARD {
            return Err(BusError::away("messages do not arrive"));
        }
        let sent = self.began.elapsed().as_micros();
        let mut command = redis::cmd("SPUBLISH");
        command.arg(channel).arg(sent.to_string());
        match self.line.connection.one(command).await {
            // Its partition is elsewhere now; the connection that takes this one's place has
            // another.
            Err(error) if crate::hub::is_moved(&error) => {
                self.hub.moved.notify_one();
                Err(BusError::away("the partition of our own messages moved"))
            }
            Err(error @ BusError::Refused(_)) => {
                tracing::debug!(%error, "our own message was refused");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Which generation holds in the service's own partition, where that is served here.
    async fn generation(&self) -> Result<(), BusError> {
        let own = Partition::of("");
        if !self.node.owns(own) {
            return Ok(());
        }
        let of = "a generation";
        let key = self.hub.keys.generation(own);
        let command = redis::cmd("HGET").arg(key).arg("n").clone();
        match self.line.connection.one(command).await {
            // None has begun before the first feed.
            Ok(Value::Nil) => Ok(()),
            Ok(answer) => {
                self.hub.figures.generation.set(value::number(answer, of)?);
                Ok(())
            }
            Err(error) if crate::hub::is_moved(&error) => {
                self.hub.moved.notify_one();
                Ok(())
            }
            Err(BusError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Compares positions of feeds that were quiet, or of all where messages were dropped.
    async fn compare(&self, round: usize) -> Result<(), BusError> {
        let (hub, node) = (self.hub, self.node);
        let is_behind = node.is_behind.swap(false, Ordering::AcqRel);
        let now = Instant::now();
        let all = hub.feeds.lock().of(node.owned());
        let rounds = if all.len() > COMPARED_EACH_SECOND {
            5
        } else {
            1
        };
        let mut by_partition: HashMap<Partition, Vec<Arc<Watched>>> = HashMap::new();
        for (index, entry) in all.into_iter().enumerate() {
            let is_due = index % rounds == round % rounds && entry.is_quiet(now);
            if is_behind || is_due {
                by_partition.entry(entry.partition).or_default().push(entry);
            }
        }
        // A partition without feeds is asked, too: somebody has to see another lineage.
        if by_partition.is_empty()
            && let Some(own) = Partition::all().find(|one| node.owns(*one))
        {
            by_partition.insert(own, Vec::new());
        }
        let mut asked = Vec::new();
        for (partition, entries) in by_partition {
            match entries.is_empty() {
                true => asked.push((partition, Vec::new())),
                false => {
                    let parts = entries.chunks(COMPARED);
                    asked.extend(parts.map(|part| (partition, part.to_vec())));
                }
            }
        }
        for part in asked.chunks(16) {
            self.compare_part(part).await?;
        }
        Ok(())
    }

    async fn compare_part(&self, asked: &[(Partition, Vec<Arc<Watched>>)]) -> Result<(), BusError> {
        let commands = asked.iter().map(|(partition, entries)| {
            let mut command = Name::Tops.command(entries.len() + 1);
            command.arg(self.hub.keys.generation(*partition));
            for entry in entries {
                command.arg(&entry.keys.meta);
            }
            command
        });
        let answers = self.line.connection.all(commands.collect()).await?;
        for ((_, entries), answer) in asked.iter().zip(answers) {
            if let Value::ServerError(error) = &answer {
                match reload(&self.line.connection, error).await {
                    Err(error) if crate::hub::is_moved(&error) => self.hub.judge(self.line, &error),
                    Err(error) => return Err(error),
                    Ok(_again) => {}
                }
                continue;
            }
            let mut answer = value::list(answer, "tops")?.into_iter();
            let lineage = value::text(value::next(&mut answer, "tops")?, "tops")?;
            if *lineage != *self.line.lineage {
                return Err(BusError::away("the server has another lineage now"));
            }
            for entry in entries {
                let epoch = value::text(value::next(&mut answer, "tops")?, "tops")?;
                let offset = value::number(value::next(&mut answer, "tops")?, "tops")?;
                if entry.top(epoch.parse().ok(), offset) {
                    self.node.fetch_soon(entry);
                }
            }
        }
        Ok(())
    }
}

/// What the server says of one command among many: scripts that it has forgotten are loaded anew,
/// and what ends a connection ends it.
async fn reload(connection: &Connection, error: &redis::ServerError) -> Result<BusError, BusError> {
    if error::is_unknown_script(error) {
        connection.load_scripts().await?;
        return Ok(BusError::away("scripts were loaded anew"));
    }
    match error::of_server(error) {
        error @ BusError::Away(_) => Err(error),
        error => Ok(error),
    }
}

// Sending.

async fn send(hub: &Arc<Hub>, node: &Arc<Node>, line: &Line) -> End {
    let mut first = fastrand::usize(..crate::route::PARTITIONS);
    let mut sent = Vec::new();
    let mut refused_since: Option<Instant> = None;
    loop {
        sent.clear();
        let mut bytes = SENT_BYTES;
        for partition in
            Partition::all().map(|one| (one.number() + first) % crate::route::PARTITIONS)
        {
            let Some(partition) = Partition::new(partition).filter(|one| node.owns(*one)) else {
                continue;
            };
            let left = SENT - sent.len();
            if let Some(outbox) = hub.outbox(partition)
                && left > 0
                && bytes > 0
            {
                let before = sent.len();
                outbox.lock().take(left, bytes, &mut sent);
                let taken: usize = sent.iter().skip(before).map(|one| one.job.bytes()).sum();
                bytes = bytes.saturating_sub(taken);
            }
        }
        first = first.wrapping_add(1);
        if sent.is_empty() {
            node.send.notified().await;
            continue;
        }
        match send_part(hub, line, &sent).await? {
            // Full, or without the replicas that it is to have: as good as away.
            Some(BusError::Refused(why)) => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= hub.settings.alone_after {
                    return Err(BusError::Refused(why));
                }
                sleep(AGAIN).await;
            }
            Some(why) => {
                tracing::debug!(%why, "Redis did not take what was sent to it");
                sleep(AGAIN).await;
            }
            None => refused_since = None,
        }
    }
}

/// Sends these; why some are to be sent again, where some are.
async fn send_part(
    hub: &Arc<Hub>,
    line: &Line,
    sent: &[Sent],
) -> Result<Option<BusError>, BusError> {
    let commands = sent.iter().map(|one| command_of(hub, line, one)).collect();
    let answers = line.connection.all(commands).await?;
    let mut why = None;
    let mut results: HashMap<Partition, Vec<(Lane, u64, Outcome)>> = HashMap::new();
    for (one, answer) in sent.iter().zip(answers) {
        let outcome = match answer {
            Value::ServerError(error) => {
                let error = match reload(&line.connection, &error).await {
                    Ok(error) => error,
                    // Only this partition is elsewhere.
                    Err(error) if crate::hub::is_moved(&error) => {
                        hub.judge(line, &error);
                        error
                    }
                    Err(error) => return Err(error),
                };
                if !error.is_away() {
                    hub.figures.refused.add(1);
                }
                why = Some(error);
                Outcome::Again
            }
            answer => match outcome_of(line, one, answer)? {
                Outcome::Again => {
                    why.get_or_insert(BusError::Odd("an append"));
                    Outcome::Again
                }
                done => done,
            },
        };
        let partition = partition_of(&one.lane);
        let results = results.entry(partition).or_default();
        results.push((one.lane.clone(), one.number, outcome));
    }
    for (partition, results) in results {
        if let Some(outbox) = hub.outbox(partition) {
            outbox.lock().settle(results);
        }
    }
    Ok(why)
}

fn partition_of(lane: &Lane) -> Partition {
    match lane {
        Lane::Feed(key) => Partition::of(&key.tenant),
        Lane::Counts(tenant) => Partition::of(tenant),
    }
}

fn command_of(hub: &Hub, line: &Line, sent: &Sent) -> Cmd {
    match (&sent.lane, &sent.job) {
        (Lane::Feed(key), Job::Frame { once, frame }) => {
            let keys = hub.keys.feed(key);
            let kept = hub.settings.kept.of(key.kind);
            let mut command = Name::Append.command(3);
            command
                .arg(keys.stream)
                .arg(keys.meta)
                .arg(hub.keys.generation(Partition::of(&key.tenant)))
                .arg(&*line.lineage)
                .arg(&*hub.member)
                .arg(sent.number)
                .arg(sent.before)
                .arg(kept.frames)
                .arg(kept.time.as_secs().max(1));
            match once {
                Some(once) => command.arg(*once),
                None => command.arg(""),
            };
            command.arg(&**frame);
            match key.kind {
                Kind::Ingest => command.arg(hub.ingest_bytes.load(Ordering::Relaxed)),
                _ => command.arg(""),
            };
            command
        }
        (Lane::Counts(tenant), Job::Counts(batch)) => {
            crate::counts::command(hub, tenant, batch, sent.number, sent.before)
        }
        // A lane carries its own kind.
        _ => redis::cmd("PING"),
    }
}

fn outcome_of(line: &Line, sent: &Sent, answer: Value) -> Result<Outcome, BusError> {
    let of = "an append";
    let mut answer = value::list(answer, of)?.into_iter();
    if let Lane::Counts(_) = sent.lane {
        return crate::counts::outcome(answer);
    }
    let epoch = value::number(value::next(&mut answer, of)?, of)?;
    let offset = value::number(value::next(&mut answer, of)?, of)?;
    let outcome: u8 = value::number(value::next(&mut answer, of)?, of)?;
    let lineage = value::text(value::next(&mut answer, of)?, of)?;
    let epoch = pulseboard_feed::Epoch(epoch);
    Ok(match outcome {
        0 => Outcome::Done(Placed::At { epoch, offset }),
        1 => Outcome::Done(Placed::Known),
        2 => Outcome::Done(Placed::Late),
        3 if *lineage != *line.lineage => {
            return Err(BusError::away("the server has another lineage now"));
        }
        _ => Outcome::Again,
    })
}

// Reading.

async fn fetch(hub: &Arc<Hub>, node: &Arc<Node>, line: &Line) -> End {
    loop {
        let entries = node.next_fetches(READ);
        if entries.is_empty() {
            node.fetch.notified().await;
            continue;
        }
        let mut asked: Vec<(Arc<Watched>, Ask)> = Vec::new();
        for entry in entries {
            entry.is_queued.store(false, Ordering::Release);
            if !entry.is_over()
                && node.owns(entry.partition)
                && let Some(ask) = entry.ask()
            {
                asked.push((entry, ask));
            }
        }
        if !asked.is_empty() && fetch_part(hub, node, line, &asked).await? {
            sleep(AGAIN).await;
        }
    }
}

/// Reads these; whether some could not be read.
async fn fetch_part(
    hub: &Arc<Hub>,
    node: &Arc<Node>,
    line: &Line,
    asked: &[(Arc<Watched>, Ask)],
) -> Result<bool, BusError> {
    let commands = asked.iter().map(|(entry, ask)| {
        let mut command = Name::Read.command(3);
        command
            .arg(&entry.keys.stream)
            .arg(&entry.keys.meta)
            .arg(hub.keys.generation(entry.partition))
            .arg(&*line.lineage);
        match ask.after {
            Some((epoch, offset)) => command.arg(epoch.0).arg(offset),
            None => command.arg("").arg(0),
        };
        command.arg(entry.key.kind.page());
        command.arg(u8::from(entry.key.kind.is_whole()));
        command
    });
    let answers = line.connection.all(commands.collect()).await?;
    let mut failed = false;
    for ((entry, _), answer) in asked.iter().zip(answers) {
        let wants_more = match answer {
            Value::ServerError(error) => {
                entry.no_page();
                failed = true;
                match reload(&line.connection, &error).await {
                    Ok(_) => true,
                    Err(error) if crate::hub::is_moved(&error) => {
                        hub.judge(line, &error);
                        true
                    }
                    Err(error) => return Err(error),
                }
            }
            answer => entry.page(page_of(answer)?, &hub.figures),
        };
        if wants_more {
            node.fetch_soon(entry);
        }
    }
    Ok(failed)
}

fn page_of(answer: Value) -> Result<Page, BusError> {
    let of = "a feed";
    let mut answer = value::list(answer, of)?.into_iter();
    let epoch = value::number(value::next(&mut answer, of)?, of)?;
    let top = value::number(value::next(&mut answer, of)?, of)?;
    let mut entries = Vec::new();
    for entry in value::list(value::next(&mut answer, of)?, of)? {
        let mut entry = value::list(entry, of)?.into_iter();
        let id = value::text(value::next(&mut entry, of)?, of)?;
        let offset = id
            .split_once('-')
            .and_then(|(offset, _)| offset.parse().ok());
        let mut fields = value::list(value::next(&mut entry, of)?, of)?.into_iter();
        let _name = value::next(&mut fields, of)?;
        let frame = value::bytes(value::next(&mut fields, of)?, of)?;
        entries.push((offset.ok_or(BusError::Odd(of))?, frame));
    }
    Ok(Page {
        epoch,
        top,
        entries,
    })
}

// Subscribing.

async fn subscribe(node: &Arc<Node>, listening: &Connection, leaving: &Leaving) -> End {
    let mut subscribed: HashSet<String> = HashSet::new();
    loop {
        let changes = node.changes();
        if changes.is_empty() {
            node.subscribe.notified().await;
            continue;
        }
        for part in changes.chunks(SUBSCRIBED) {
            let mut commands = Vec::with_capacity(part.len());
            for entry in part.iter().filter(|entry| node.owns(entry.partition)) {
                let channel = &entry.keys.stream;
                if entry.is_over() {
                    if subscribed.remove(channel) {
                        *leaving.lock().entry(channel.clone()).or_default() += 1;
                        commands.push(redis::cmd("SUNSUBSCRIBE").arg(channel).clone());
                    }
                } else if subscribed.insert(channel.clone()) {
                    commands.push(redis::cmd("SSUBSCRIBE").arg(channel).clone());
                }
            }
            if !commands.is_empty() {
                for answer in listening.all(commands).await? {
                    if let Value::ServerError(error) = answer {
                        return Err(BusError::away(error.to_string()));
                    }
                }
            }
            // From here on nothing is missed that is not read.
            for entry in part.iter().filter(|entry| !entry.is_over()) {
                entry.doubt();
                node.fetch_soon(entry);
            }
        }
    }
}
