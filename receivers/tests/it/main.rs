//! Receivers against servers that write down what they are sent, and the outbox against being
//! killed.

mod crash;
mod defaults;
mod made;
mod mail;
mod makers;
mod server;
mod trouble;
