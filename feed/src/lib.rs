//! Feeds: bounded logs of frames with growing offsets, and cursors into them.
//!
//! One mechanism is live delivery (the cursor is at the end), resume (it starts after the offset
//! the client last saw) and slow viewers (a cursor too far behind is moved to the end and its
//! viewer gets one merged frame). Where a feed goes on under another epoch, each cursor finds out
//! once and its viewer gets one message that says how things stand ([`Feed::reset`]). A frame is
//! encoded once per [`Payload::View`], however many watch it.
//!
//! **Invariant**: no viewer has a queue of its own, and appending never waits for a viewer.
//!
//! It knows nothing of ticks, alerts or HTTP, and has counters of its own ([`Counters`]). How a
//! message is framed on a stream is [`wire`]'s; how a payload reaches another server,
//! [`portable`]'s.

mod counters;
mod cursor;
mod feed;
mod ledger;
mod log;
mod members;
mod pass;
pub mod portable;
mod position;
pub mod wire;

pub use counters::Counters;
pub use cursor::{Arriving, Member, Step, Subscription};
pub use feed::{Feed, RestartMessage};
pub use ledger::Ledgers;
pub use log::{Bounds, Frame, Log, Payload, Read, Restart};
pub use members::{Fanout, MemberGuard, Members, Subscriber};
pub use pass::FanoutPass;
pub use portable::{NotPortable, Portable};
pub use position::{At, Epoch, EventId, Position, Spot};
