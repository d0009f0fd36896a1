//! Every series' newest samples in memory, and what becomes of them.
//!
//! | module | what it is |
//! |---|---|
//! | [`engine`] | what all parts share: options, tenants, series |
//! | [`append`](mod@append) | the only way in for samples |
//! | `entry` | what one series makes of a sample that comes |
//! | [`find`] | series by selector, by name and by key |
//! | `attach` | who watches: taps and catalogs come and go |
//! | `reserve` | series that only the server itself may write to |
//! | [`tenants`] | all tenants by name |
//! | [`tenant`] | what keeps one tenant's series, taps, limits and counts apart |
//! | [`tap`] | selectors that somebody watches, and series that come and go |
//! | [`window`] | one series' newest samples: packed blocks and an open head |
//! | [`selector`] | names series by metric name and label matchers |
//! | [`mod@pattern`] | patterns of matchers, compiled within a bound and shared |
//! | [`cost`] | what one question may cost, and how it ends |
//! | `slot` | a place in the table that may be kept |
//! | `table` | the series of all tenants, in shards |
//! | `maintenance` | maintenance: eviction, sealing into the history, time to live, memory |
//! | [`census`] | which series there are, in a few bytes |
//! | `onward`, `share` | who sends on what comes in, who has other servers take it in, too |
//! | [`query`] | lists of series, ranges of time, live windows |
//! | `late` | samples of a series that are older than its window, until the history has them |
//! | [`delete`] | series, or stretches of them, that go by order |
//! | [`read`] | samples of a series, from memory and history together |
//! | `recover` | a start: what the history holds comes back |
//!
//! It knows no HTTP, no wire format and no async runtime; its clock is its callers'.
//!
//! **Invariant**: appending never waits for a disk, a reader or a watcher.
//! **Invariant**: what is not sealed is neither evicted nor forgotten.

pub mod append;
mod attach;
mod candidates;
pub mod census;
pub mod cost;
pub mod delete;
pub mod engine;
mod entry;
pub mod find;
mod labels;
mod late;
pub mod maintenance;
mod onward;
pub mod pattern;
pub mod query;
pub mod read;
mod recover;
mod reserve;
pub mod selector;
mod share;
mod slot;
mod table;
pub mod tap;
pub mod tenant;
pub mod tenants;
pub mod window;

pub use append::{Appended, Persistence};
pub use cost::{Cancel, Cost, Spent};
pub use delete::DeleteError;
pub use engine::{Engine, EngineOptions};
pub use find::Found;
pub use maintenance::MaintenanceReport;
pub use onward::Onward;
pub use selector::{NamedSeries, Selector, SelectorError};
pub use share::{Share, Taken};
pub use tap::{Catalog, Changes, Gain, SeriesName, SeriesTap};
pub use tenant::{DEFAULT_TENANT, Tenant, TenantCounts};
