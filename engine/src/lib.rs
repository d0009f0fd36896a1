//! Every series' newest samples in memory, and what becomes of them.
//!
//! | module | what it is |
//! |---|---|
//! | [`engine`] | tenants and their series; finding and watching them |
//! | [`append`](mod@append) | the only way in for samples |
//! | [`tenant`] | what keeps one tenant's series, watches, limits and counts apart |
//! | [`watch`] | selectors that somebody watches, and series that come and go |
//! | [`window`] | one series' newest samples: packed blocks and an open head |
//! | [`selector`] | names series by metric name and label matchers |
//! | [`mod@pattern`] | patterns of matchers, compiled within a bound and shared |
//! | [`cost`] | what one question may cost, and how it ends |
//! | `slot` | a place in the table that may be kept |
//! | `table` | the series of all tenants, in shards |
//! | `keep` | house-keeping: eviction, sealing into the history, time to live, memory |
//! | [`query`] | lists of series, ranges of time, live windows |
//! | [`read`] | samples of a series, from memory and history together |
//! | `recover` | a start: what the history holds comes back |
//!
//! It knows no HTTP, no wire format and no async runtime; its clock is its callers'.
//!
//! **Invariant**: appending never waits for a disk, a reader or a watcher.
//! **Invariant**: what is not sealed is neither evicted nor forgotten.

pub mod append;
pub mod cost;
pub mod engine;
pub mod keep;
pub mod pattern;
pub mod query;
pub mod read;
mod recover;
pub mod selector;
mod slot;
mod table;
pub mod tenant;
pub mod watch;
pub mod window;

pub use append::{Appended, Safety};
pub use cost::{Cancel, Cost, Spent};
pub use engine::{Engine, EngineOptions, Found};
pub use keep::Kept;
pub use selector::{NamedSeries, Selector, SelectorError};
pub use tenant::{DEFAULT_TENANT, Tenant, TenantCounts};
pub use watch::{Catalog, Changes, Gain, SeriesName, Watch};
