//! Servers and a Redis in memory, with everything going wrong that can: replicas and outboxes
//! against a naive record of what Redis ever had.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use proptest::prelude::*;
use pulseboard_feed::Epoch;

use crate::{
    key::{FeedKey, Kind},
    outbox::{Job, Lane, Outbox, Outcome, Sent},
    replica::{Action, Ask, Own, Page, Replica},
    sink::Placed,
};

/// Frames that the stream keeps, and that a page has: small, so that ends are met.
const KEPT: usize = 12;
const PAGE: usize = 5;

/// What the scripts keep of one feed.
#[derive(Clone, Debug, Default)]
struct Data {
    adopted: u64,
    generation: u64,
    feed_generation: Option<u64>,
    epoch: Option<u64>,
    /// The time at which the epoch began.
    began: u64,
    offset: u64,
    numbers: HashMap<usize, u64>,
    stream: VecDeque<(u64, Bytes)>,
    /// All that it ever had, whatever the stream keeps.
    all: Vec<Bytes>,
}

/// `position.lua`, `append.lua`, `read.lua` and `tops.lua`.
#[derive(Debug)]
struct Redis {
    data: Data,
    /// What the replica has.
    copied: Data,
    lineage: u64,
    now_ms: u64,
}

type Message = (u64, u64, Bytes);

impl Redis {
    fn new() -> Self {
        Self {
            data: Data::default(),
            copied: Data::default(),
            lineage: 1,
            now_ms: 1_000,
        }
    }

    fn position(&mut self) -> (u64, u64) {
        self.now_ms += 1;
        let data = &mut self.data;
        if data.generation == 0 || data.adopted != self.lineage {
            data.generation += 1;
            data.adopted = self.lineage;
        }
        if data.feed_generation != Some(data.generation) {
            let epoch = match data.epoch {
                Some(epoch) => self.now_ms + (epoch - data.began) + 10_000,
                None => {
                    data.stream.clear();
                    self.now_ms
                }
            };
            data.feed_generation = Some(data.generation);
            data.epoch = Some(epoch);
            data.began = self.now_ms;
        }
        (data.epoch.unwrap_or_default(), data.offset)
    }

    fn append(&mut self, who: usize, said: u64, sent: &Sent) -> (Outcome, Option<Message>) {
        let (epoch, _) = self.position();
        if said != self.lineage {
            return (Outcome::Again, None);
        }
        let data = &mut self.data;
        let known = data.numbers.get(&who).copied();
        if known.is_some_and(|known| known >= sent.number) {
            return (Outcome::Done(Placed::Known), None);
        }
        if sent.before != 0 && known.is_none_or(|known| known < sent.before) {
            return (Outcome::Again, None);
        }
        let Job::Frame { frame, .. } = &sent.job else {
            return (Outcome::Again, None);
        };
        data.offset += 1;
        let offset = data.offset;
        data.numbers.insert(who, sent.number);
        data.stream.push_back((offset, frame.clone()));
        data.all.push(frame.clone());
        while data.stream.len() > KEPT {
            data.stream.pop_front();
        }
        let placed = Placed::At {
            epoch: Epoch(epoch),
            offset,
        };
        (Outcome::Done(placed), Some((epoch, offset, frame.clone())))
    }

    fn read(&mut self, ask: Ask) -> Page {
        let (epoch, top) = self.position();
        let stream = &self.data.stream;
        let from = match ask.after {
            Some((known, offset)) if known.0 == epoch && offset <= top => offset + 1,
            // The newest page.
            _ => stream.iter().rev().take(PAGE).last().map_or(0, |one| one.0),
        };
        let entries = stream.iter().filter(|(offset, _)| *offset >= from);
        Page {
            epoch,
            top,
            entries: entries.take(PAGE).cloned().collect(),
        }
    }

    fn top(&self) -> (Option<u64>, u64) {
        let data = &self.data;
        let holds = data.adopted == self.lineage && data.feed_generation == Some(data.generation);
        (data.epoch.filter(|_| holds), data.offset)
    }

    fn fail_over(&mut self) {
        self.data = self.copied.clone();
        self.lineage += 1;
    }
}

/// What a sink has been told.
#[derive(Debug, Default)]
struct Sink {
    at: Option<(u64, u64)>,
    /// By epoch and offset.
    told: BTreeMap<(u64, u64), Bytes>,
    own: HashSet<u64>,
}

impl Sink {
    fn tell(&mut self, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Append {
                epoch,
                offset,
                frame,
            } => {
                let (known, top) = self.at.unwrap_or_default();
                prop_assert_eq!(known, epoch.0, "an epoch begins with a reset");
                prop_assert_eq!(top + 1, offset, "no gap, nothing twice");
                self.keep(epoch.0, offset, frame)
            }
            Action::Reset {
                epoch,
                first,
                frames,
            } => {
                if let Some((known, top)) = self.at {
                    prop_assert!(
                        epoch.0 != known || first > top,
                        "the same epoch begins anew only where frames are gone"
                    );
                }
                self.at = Some((epoch.0, first - 1));
                for (offset, frame) in (first..).zip(frames) {
                    self.keep(epoch.0, offset, frame)?;
                }
                Ok(())
            }
        }
    }

    fn keep(&mut self, epoch: u64, offset: u64, frame: Bytes) -> Result<(), TestCaseError> {
        self.at = Some((epoch, offset));
        let before = self.told.insert((epoch, offset), frame.clone());
        prop_assert!(
            before.is_none_or(|before| before == frame),
            "one place, one content"
        );
        Ok(())
    }
}

#[derive(Debug)]
struct Server {
    who: usize,
    replica: Replica,
    outbox: Outbox,
    sink: Sink,
    /// The lineage that it read when it connected.
    lineage: u64,
    is_connected: bool,
    under_way: Vec<Sent>,
    messages: VecDeque<Message>,
    page: Option<Page>,
    top: Option<(Option<u64>, u64)>,
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    /// What waits is sent; the answer may be lost.
    Send(usize, bool),
    Connect(usize),
    Break(usize),
    Deliver(usize, usize),
    Lose(usize),
    Double(usize),
    Swap(usize),
    Ask(usize),
    Answer(usize),
    AskTop(usize),
    AnswerTop(usize),
    Alone(usize),
    Copy,
    FailOver,
    ExpireStream,
}

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (2_usize..=4).prop_flat_map(|servers| {
        let server = || 0..servers;
        let step = prop_oneof![
            8 => server().prop_map(Step::Publish),
            8 => (server(), any::<bool>()).prop_map(|(at, lost)| Step::Send(at, lost)),
            4 => server().prop_map(Step::Connect),
            1 => server().prop_map(Step::Break),
            10 => (server(), 1_usize..6).prop_map(|(at, count)| Step::Deliver(at, count)),
            2 => server().prop_map(Step::Lose),
            1 => server().prop_map(Step::Double),
            1 => server().prop_map(Step::Swap),
            6 => server().prop_map(Step::Ask),
            6 => server().prop_map(Step::Answer),
            2 => server().prop_map(Step::AskTop),
            2 => server().prop_map(Step::AnswerTop),
            1 => server().prop_map(Step::Alone),
            4 => Just(Step::Copy),
            1 => Just(Step::FailOver),
            1 => Just(Step::ExpireStream),
        ];
        (Just(servers), proptest::collection::vec(step, 0..160))
    })
}

struct World {
    redis: Redis,
    servers: Vec<Server>,
    published: u64,
    /// Epochs of servers that were alone.
    own: HashSet<u64>,
}

impl World {
    fn new(servers: usize) -> Self {
        let server = |who| Server {
            who,
            replica: Replica::new(None),
            outbox: Outbox::new(&Arc::default()),
            sink: Sink::default(),
            lineage: 0,
            is_connected: false,
            under_way: Vec::new(),
            messages: VecDeque::new(),
            page: None,
            top: None,
        };
        Self {
            redis: Redis::new(),
            servers: (0..servers).map(server).collect(),
            published: 0,
            own: HashSet::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Copy => self.redis.copied = self.redis.data.clone(),
            Step::FailOver => {
                self.redis.fail_over();
                // Connections end with their server.
                (0..self.servers.len()).for_each(|at| self.break_off(at));
            }
            Step::ExpireStream => self.redis.data.stream.clear(),
            Step::Send(at, lost) => self.send(at, lost),
            Step::Connect(at) if !self.servers[at].is_connected => self.connect(at),
            Step::Connect(_) => {}
            Step::Break(at) => self.break_off(at),
            Step::Publish(at) => {
                self.published += 1;
                self.publish(at, self.published);
            }
            Step::Alone(at) if !self.servers[at].is_connected => self.alone(at)?,
            Step::Alone(_) => {}
            Step::Deliver(at, count) => {
                for _ in 0..count {
                    self.deliver(at)?;
                }
            }
            Step::Lose(at) => {
                self.servers[at].messages.pop_front();
            }
            Step::Double(at) => {
                let messages = &mut self.servers[at].messages;
                let first = messages.front().cloned();
                messages.extend(first);
            }
            Step::Swap(at) => {
                let messages = &mut self.servers[at].messages;
                if messages.len() > 1 {
                    messages.swap(0, 1);
                }
            }
            Step::Ask(at) => self.ask(at),
            Step::Answer(at) => self.answer(at)?,
            Step::AskTop(at) if self.servers[at].is_connected => {
                self.servers[at].top = Some(self.redis.top());
            }
            Step::AskTop(_) => {}
            Step::AnswerTop(at) => self.answer_top(at),
        }
        Ok(())
    }

    fn publish(&mut self, at: usize, number: u64) {
        let frame = Bytes::from(format!("{at}:{number}"));
        let lane = Lane::Feed(FeedKey::own(Kind::Tick));
        let job = Job::Frame { once: None, frame };
        let pushed = self.servers[at]
            .outbox
            .push(lane, job, None, Instant::now());
        assert!(pushed.is_ok());
    }

    /// A new connection: the lineage is read, what may be lost goes first, everything is doubted.
    fn connect(&mut self, at: usize) {
        let lineage = self.redis.lineage;
        let server = &mut self.servers[at];
        server.lineage = lineage;
        server.is_connected = true;
        server.outbox.answered_by(&lineage.to_string().into());
        server.replica.doubt();
    }

    fn break_off(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.is_connected = false;
        server.messages.clear();
        server.page = None;
        server.top = None;
        server.under_way.clear();
        server.outbox.cut();
        server.replica.no_page();
    }

    fn send(&mut self, at: usize, is_lost: bool) {
        if !self.servers[at].is_connected {
            return;
        }
        let server = &mut self.servers[at];
        let mut sent = Vec::new();
        server.outbox.take(6, usize::MAX, &mut sent);
        let (who, said) = (server.who, server.lineage);
        let mut results = Vec::new();
        for one in sent {
            let (outcome, message) = self.redis.append(who, said, &one);
            for server in self.servers.iter_mut().filter(|server| server.is_connected) {
                server.messages.extend(message.clone());
            }
            results.push((one.lane, one.number, outcome));
        }
        match is_lost {
            true => self.break_off(at),
            false => self.servers[at].outbox.settle(results),
        }
    }

    fn alone(&mut self, at: usize) -> Result<(), TestCaseError> {
        self.redis.now_ms += 1;
        let own = Own {
            epoch: Epoch(self.redis.now_ms),
            // Far enough from that of others, who may have heard some frames more or fewer.
            apart: self.own.len() as u64 % 80 * 100,
        };
        let server = &mut self.servers[at];
        let frame = Bytes::from_static(b"own");
        for action in server.replica.alone(own, frame) {
            if let Action::Reset { epoch, .. } = &action {
                server.sink.own.insert(epoch.0);
                prop_assert!(self.own.insert(epoch.0), "no two runs are called alike");
            }
            server.sink.tell(action)?;
        }
        Ok(())
    }

    fn deliver(&mut self, at: usize) -> Result<(), TestCaseError> {
        let server = &mut self.servers[at];
        if let Some((epoch, offset, frame)) = server.messages.pop_front()
            && let Some(action) = server.replica.message(epoch, offset, frame)
        {
            server.sink.tell(action)?;
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) {
        let server = &mut self.servers[at];
        if server.is_connected
            && server.page.is_none()
            && let Some(ask) = server.replica.ask()
        {
            server.page = Some(self.redis.read(ask));
        }
    }

    fn answer(&mut self, at: usize) -> Result<(), TestCaseError> {
        let server = &mut self.servers[at];
        if let Some(page) = server.page.take() {
            let first = page.entries.first().map(|(offset, _)| *offset);
            for action in server.replica.page(page) {
                if let (Action::Reset { epoch, .. }, Some((known, top))) = (&action, server.sink.at)
                    && epoch.0 == known
                {
                    prop_assert!(
                        first.is_none_or(|first| first > top + 1),
                        "nobody begins anew where it could go on"
                    );
                }
                server.sink.tell(action)?;
            }
        }
        Ok(())
    }

    fn answer_top(&mut self, at: usize) {
        let server = &mut self.servers[at];
        if let Some((epoch, offset)) = server.top.take() {
            server.replica.top(epoch, offset);
        }
    }

    /// Everything is well from now on.
    fn heal(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..200 {
            for at in 0..self.servers.len() {
                self.step(&Step::Connect(at))?;
                self.answer_top(at);
                self.answer(at)?;
                self.send(at, false);
                self.step(&Step::Deliver(at, 20))?;
                self.step(&Step::AskTop(at))?;
                self.answer_top(at);
                self.ask(at);
                self.answer(at)?;
            }
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), TestCaseError> {
        let (epoch, top) = self.redis.top();
        let mut all: BTreeMap<(u64, u64), Bytes> = BTreeMap::new();
        for server in &self.servers {
            prop_assert!(server.outbox.is_flushed());
            prop_assert_eq!(
                server.sink.at.map(|(epoch, top)| (Some(epoch), top)),
                Some((epoch, top))
            );
            let shared = server.sink.told.iter();
            for (place, frame) in shared.filter(|((epoch, _), _)| !server.sink.own.contains(epoch))
            {
                let known = all.entry(*place).or_insert_with(|| frame.clone());
                prop_assert_eq!(&*known, frame, "one place, one content, on every server");
            }
        }
        // What was published is there once, and that of one server in its order.
        let there = &self.redis.data.all;
        prop_assert_eq!(there.len() as u64, self.published);
        for server in &self.servers {
            let name = format!("{}:", server.who);
            let text = |frame: &Bytes| String::from_utf8_lossy(frame).into_owned();
            let own = there
                .iter()
                .map(text)
                .filter(|text| text.starts_with(&name));
            let numbers: Vec<u64> = own
                .filter_map(|text| text.split(':').nth(1)?.parse().ok())
                .collect();
            prop_assert!(
                numbers.is_sorted_by(|one, next| one < next),
                "{:?}",
                numbers
            );
        }
        Ok(())
    }
}

/// As many as there is time for, unless `PROPTEST_CASES` says how many.
fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None if cfg!(debug_assertions) => ProptestConfig::with_cases(400),
        None => ProptestConfig::with_cases(10_000),
    }
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever is lost, doubled, late, in another order, broken off or failed over: nobody is told
    /// of a gap or of anything twice, no place has two contents, and in the end all have what Redis
    /// has, which is everything that was published, once.
    #[test]
    fn servers_agree_whatever_happens((servers, steps) in steps()) {
        let mut world = World::new(servers);
        for step in &steps {
            world.step(step)?;
        }
        world.heal()?;
        world.judge()?;
    }
}
