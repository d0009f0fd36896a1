//! The page in a real browser against the real server, as a user sees it.
//!
//! One module per thing that a user relies on. The names in the page's markup are those that the
//! README promises to people who write tests or styles of their own.

mod accessibility;
mod aggregate;
mod alerts;
mod browsers;
mod chart;
mod chat;
mod explore;
mod fallback;
mod figures;
mod first;
mod hosting;
mod hosts;
mod late;
mod layout;
mod login;
mod maintenance;
mod operator;
mod pushed;
mod questions;
mod reconnect;
mod rules;
mod tabs;
mod theme;
mod time;
mod truth;

/// Made-up figures ten times a second: everything that can happen, happens soon.
const BUSY: &[&str] = &[
    "--source",
    "simulator",
    "--metric-interval-ms",
    "100",
    "--alert-check-sec",
    "1",
];
