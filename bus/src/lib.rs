//! Several servers as one: what they share, over Redis or within one process.
//!
//! [`Bus`] is what the rest of the server sees. [`Local`] is the only server's: calls, and nothing
//! else. [`Redis`] has every server's copies of feeds agree, and has beside feeds what servers
//! share otherwise ([`Cluster`]), and leases for what one does for all ([`Leases`]).
//!
//! **Invariants.** What a sink is told of one epoch has no gap and nothing twice, and is the same
//! on every server. An epoch belongs to one lineage of the data: after a failover or a restart of
//! Redis there is another, since writes may be gone that somebody has seen. Publishing never waits.
//! Nothing here grows without a bound.
//!
//! | module | what it is |
//! |---|---|
//! | [`bus`], [`sink`], [`figures`] | the trait, who is told, what is counted |
//! | `local`, `shared` | the two of it |
//! | [`key`], [`route`] | what a feed is called, and where it lies |
//! | [`settings`] | which Redis, read and checked |
//! | `replica` | one server's copy of a feed: a pure state machine |
//! | `outbox` | what was published and may have to be sent again: pure |
//! | `scripts` | what Redis runs |
//! | `hub`, `feeds` | what all parts share; who watches what |
//! | `link`, `session`, `dial`, `check` | finding primaries; one connection's life, how it is made, whether it will do |
//! | [`members`], [`lease`], [`counts`], [`incidents`], [`shelf`], [`wanted`], [`cluster`] | who is there, who does what, what was counted, what goes on, what all have a copy of, what each wants of the others, the rest |

mod batch;
pub mod bus;
mod check;
pub mod cluster;
pub mod counts;
mod dial;
mod error;
mod feeds;
pub mod figures;
mod hub;
pub mod incidents;
pub mod key;
pub mod lease;
mod link;
mod local;
pub mod members;
#[cfg(test)]
mod model;
mod outbox;
mod replica;
pub mod route;
mod scripts;
mod session;
pub mod settings;
mod shared;
pub mod shelf;
pub mod sink;
mod value;
pub mod wanted;

pub use bus::Bus;
pub use cluster::{Asked, Cluster, Document, Figure, Granted, Others, Put, Reports, Space, Table};
pub use error::{BusError, ConnectError, Unfit};
pub use figures::Figures;
pub use incidents::{Incident, Step, Stepped};
pub use key::{FeedKey, Kind};
pub use lease::{Leases, Spread, Work};
pub use local::Local;
pub use members::{Member, NotReady, View};
pub use route::Partition;
pub use settings::{Address, AddressError, Settings};
pub use shared::Redis;
pub use shelf::{Fence, Shelve, Shelved};
pub use sink::{FeedSink, Placed, Refused, State, Subscription, Told};
