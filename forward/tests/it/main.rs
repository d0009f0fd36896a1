//! A receiver that records, fails, hangs and asks for patience, and what reaches it.

mod receiver;
mod sending;
