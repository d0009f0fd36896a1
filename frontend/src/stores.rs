//! What the page knows, apart from how it is drawn. Each store is cheap to clone (every reduce
//! clones it) and compares by a revision; everything costly is computed in the reducer, once.

pub mod aggregate;
pub mod alert;
pub mod answers;
pub mod asked;
pub mod browsers;
pub mod change;
pub mod chat;
pub mod cluster;
pub mod completion;
pub mod connection;
pub mod expression;
pub mod feeds;
pub mod functions;
pub mod hosts;
pub mod incidents;
pub mod latency;
pub mod live;
pub mod maintenance;
pub mod notifiers;
pub mod operator;
pub mod question;
pub mod receivers;
pub mod ring;
pub mod rules;
pub mod series;
pub mod session;
pub mod shared;
pub mod silences;
pub mod stats;
pub mod targets;
pub mod time;
pub mod track;
pub mod usual;
pub mod view;
