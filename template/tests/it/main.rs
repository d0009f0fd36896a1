//! Templates as those who write them see them.

mod hostile;
mod language;
mod notifications;
mod pages;
mod promtool;
mod rules;
