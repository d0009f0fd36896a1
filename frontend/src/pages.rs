//! The page's views, one a file, each of [`crate::components`]: what the address leads to. A page
//! asks for what it shows and says what stands where; its parts know nothing of each other.

mod aggregate;
mod alerts;
mod explore;
mod hosts;
mod operator;
mod overview;
mod question;
mod series;
mod targets;

pub use aggregate::AggregateView;
pub use alerts::Alerts;
pub use explore::Explore;
pub use hosts::{HostPage, Hosts};
pub use operator::OperatorView;
pub(crate) use overview::overview;
pub use question::Questions;
pub use series::OpenSeries;
pub use targets::Targets;
