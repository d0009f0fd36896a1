//! Pulseboard's server: figures in, a rolling window, feeds, and viewers that follow them.
//!
//! | task or thread | state it owns | what wakes it | inbound bound, and what happens at it |
//! |---|---|---|---|
//! | `schedule::Ticker` | source, appends to window and tick feed, rules | the clock | late ticks are skipped and counted |
//! | `schedule::shared` (one for each tick, where there are several servers) | nothing; reports, and makes the tick if nobody has | the tick's moment, an answer | ends with the tick, a second and a half at most |
//! | `schedule::keep_common`, where there are several servers | what was told of who is here | the clock, each second; what the operator changes | 64 tenants a second |
//! | `schedule::keep_alike`, where there are several servers | nothing; takes in documents and states of others on threads that may block | the clock, five times a second | 4 MiB at a time |
//! | `schedule::hear_alerts`, where there are several servers | nothing | what others say of alerts | 16 384 of these wait: the oldest go, and it is said (drop) |
//! | `schedule::keep_links`, where there are several servers | nothing; reads the folder's admin link | the clock, four times a second | two links |
//! | `schedule::keep_credentials`, where there are several servers | nothing; reads and stores tokens | the clock, each second; what others say of tokens and sessions | 512 sessions a second; 10 000 that ended wait, past which all are looked for anew (coalesce) |
//! | `schedule::keep_counting`, where there are several servers | nothing | the clock, each fifth of a second | 64 tenants, 250 names of each at once: the rest waits for its turn (coalesce) |
//! | `schedule::keep_limits`, where there are several servers | nothing | the clock, each second; a wrong token | 4 000 callers and 2 000 guesses are told, those that have most |
//! | `schedule::tell_shared_ticks`, where there are several servers | nothing | a tick | the newest tick (coalesce) |
//! | the tasks of `pulseboard_bus` | connections to Redis, what waits to be sent | what is published, messages, the clock | see there |
//! | `schedule::keep_node` | this machine's figures under node_exporter's names; on a thread that may block | the clock | late readings are skipped |
//! | `schedule::keep_processes` | processes that use most, of five minutes; on a thread that may block | the clock, every 5 s | late readings are skipped |
//! | `schedule::sweep_streams` | nothing | the clock, each second | – |
//! | `fan-out-N` (threads) | nothing; writes to sockets under each viewer's outbox lock | a feed that grew | dirty members, one entry a feed (coalesce) |
//! | `schedule::tell_regularly` | nothing | the clock, each second | – |
//! | `schedule::maintain` | nothing; blocks for the disk on a thread of its own, which gives way to others | the clock, every 5 s | a round that is late comes later, never beside another |
//! | `log-writer` (threads) | the files of history and journal | a record | 64 MiB wait at most: refused (reject) |
//! | `ingest-send` (thread), where there are several servers | what was taken in here and waits for the others | a frame, an answer of the bus | 32 MiB wait: the rest is sent from the history's log (coalesce) |
//! | `ingest-again` (thread), likewise | what was missed | the bus is there again | one entry at a time, half of the time; 1 GiB of the log is held: then the oldest goes, and is counted |
//! | `ingest-take` (thread), likewise | places in the log of each partition | an entry, the clock | 64 MiB wait: the rest is read from Redis again (coalesce) |
//! | `live_query::flush::flush` | nothing | a watched series that grew, here or for another server | one entry a feed (coalesce) |
//! | `elsewhere::Elsewhere::hear`, with `CLUSTER_MODE=sharded` | nothing; series are found on threads that may block | samples of other servers, what they want | 1 024 frames wait: dropped and counted (reject) |
//! | `elsewhere::Elsewhere::keep`, likewise | nothing; guests are let go and series counted on threads that may block | what is newly watched, the clock | one after the other |
//! | `live_expression::run` | nothing; evaluates on threads that may block, with a turn; what it read is kept for the next step where it can be (`followed`, 64 MiB in all) | the clock, at each step of what is watched | two at once; one that takes long is evaluated less often |
//! | `server::statsd::run` | nothing | datagrams | 4 096 datagrams and 4 MiB wait: dropped and counted (reject) |
//! | `statsd` (thread) | sums between flushes | a datagram, the clock | 100 000 metrics: refused and counted (reject) |
//! | `server::graphite` | listener and socket | a connection, datagrams | 256 connections, 32 of one address: closed; datagrams of 4 MiB wait: dropped and counted (reject) |
//! | a connection of it | a piece of 64 KiB | its socket | nothing is read before what came is safe |
//! | the scheduler of `pulseboard_scrape` | when each target is due | the clock | a target that is still being scraped is passed over (coalesce) |
//! | a scrape of `pulseboard_scrape` | nothing; large bodies are read on a thread that may block | the scheduler | its time-out; 64 MiB of body |
//! | a discovery of `pulseboard_scrape` | what it found last | its interval, an answer | answers ≤ 64 MiB |
//! | a receiver of `pulseboard_forward` | what of its log is on its way | samples that came, answers, pauses | eight requests at once; its log on disk |
//! | the archive's sender, likewise; and who asks which run of it answers | how far what it took is released | samples that came, answers, the clock every 5 s | four requests at once; its log on disk |
//! | `archive::Archive::follow`, where there are several servers | whose samples are ours to send | the clock, each second | – |
//! | the log's writer of each receiver (a thread) | its file | what came | 16 MiB towards the disk |
//! | `alertmanagers::Alertmanagers::run` | nothing | an alert, what is found, the clock | 20 000 alerts, 64 MiB: what is new is not told, and counted (reject) |
//! | an Alertmanager that is told | nothing; writes requests on a thread that may block | what waits for it, pauses | one request at once; 10 000 alerts wait: the oldest is dropped and counted |
//! | `notifying::Notifying::run` | nothing; a round's work and what it writes are done on threads that may block | an alert, what became of a notification, the clock | 4 096 events, 16 MiB of texts, wait: past it what goes on is looked up anew (coalesce) |
//! | tries of `pulseboard_receivers` | a notification | a notification that is due | four at a time of each way; 10 000 notifications, 64 MiB: refused and told (reject) |
//! | `incidents::Incidents::run` | nothing; writes on a thread that may block | what happened | 8 MiB of lines: the file is written anew from what is held (coalesce) |
//! | `schedule::beat` | when `HEARTBEAT_URL` was called | the clock | one call at a time |
//! | `server::hangup` | nothing | SIGHUP | one after the other |
//! | `certificate::Certificate::watch` | the certificate that is shown; reads on a thread that may block | the clock, each second | the newest of its files (coalesce) |
//! | `server::grpc` | listener | a connection | 256 connections, 32 of one address: closed and counted; 32 requests each wait (HTTP/2) |
//! | `schedule::pushed` | names that ticks have pushed samples of; on a thread that may block | a tick | one look-up at a time: the next tick has the newest there is (coalesce) |
//! | `server::accept` | listener | a connection | files in all: closed; each address's connections: 429; both counted (reject) |
//! | a connection | hyper's state until a stream takes the socket | the socket | one request at a time, head ≤ 64 KiB |
//! | a handshake (`server::doors`) | rustls' state | the socket | 10 s; 128 of one address, 2 048 in all: they wait |
//! | a connection of HTTP/2 (`server::http2`) | hyper's state, an event stream's last bytes | the socket, a viewer that writes | 100 requests at once; one whose answer is not read ends it |
//! | a stream (`stream::ws_session::run`, `stream::sse_session::run`) | inbound protocol state | the socket, its viewer | replies ≤ 32: not read from meanwhile |
//!
//! **Invariants**: no viewer has a queue of its own; no handler awaits a slow client; the feeds
//! know nothing of HTTP; time comes from [`base::clock::Clock`] alone.

pub mod access;
pub mod agents;
pub mod alertmanagers;
pub mod alerts;
pub mod app;
pub mod archive;
pub mod base;
pub mod certificate;
pub mod cluster;
pub mod elsewhere;
pub mod endpoint;
pub mod expressions;
pub mod forwarding;
pub mod http;
pub mod incidents;
pub mod ingest;
pub mod ingest_log;
pub mod live_expression;
pub mod live_query;
pub mod notifying;
pub mod operator;
pub mod questions;
pub mod refusals;
pub mod rooms;
pub mod router;
pub mod rules;
pub mod schedule;
pub mod scraping;
pub mod server;
pub mod settings;
pub mod shares;
pub mod storage;
pub mod stream;
pub mod ticks;
pub mod told;
pub mod tracking;
pub mod watchable;

pub use app::App;
pub use server::run::{Sources, run, run_with};
