//! The last refusals of each tenant: what a sender was told, for who looks at the page and asks why
//! something is missing. Bounded in tenants, in number and in bytes; nothing of it outlives a
//! restart.
//!
//! An endpoint is a path without its query, since a query may hold a token. Of what was sent there
//! is only what its reason quotes, cut short.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use parking_lot::Mutex;
use serde::Serialize;

/// Refusals kept for a tenant.
pub const KEPT_MAX: usize = 20;

/// Of one body, so that one sender does not push all others out.
const OF_BODY_MAX: usize = 5;

/// Tenants that refusals are kept of; the one that has been quiet longest goes first.
const TENANTS_MAX: usize = 1_000;

/// Characters of a reason and of an endpoint.
const TEXT_MAX: usize = 200;

/// One refusal, or several alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When it was last so, Unix milliseconds.
    pub at_ms: i64,
    /// Where it was sent to.
    pub endpoint: String,
    /// The address that it came from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<IpAddr>,
    /// Which line or item of the body, from 1; absent where it is the body as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Why.
    pub reason: String,
    /// How often while it was among those that are kept.
    pub times: u64,
}

/// The last refusals of each tenant, for who asks why something is missing.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Leaf lock.
    tenants: Mutex<HashMap<Box<str>, VecDeque<Refusal>>>,
}

/// Who was refused something, and when.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// Whose it would have been.
    pub tenant: &'a str,
    /// Where it was sent to, without the query.
    pub endpoint: &'a str,
    /// The address that it came from, where that is known.
    pub sender: Option<IpAddr>,
    /// Unix milliseconds.
    pub at_ms: i64,
}

impl Refusals {
    /// Takes in what was refused of one body, line by line (`None`: all of it).
    pub fn note(&self, of: &Sent<'_>, why: impl IntoIterator<Item = (Option<u32>, String)>) {
        let mut why = why.into_iter().take(OF_BODY_MAX).peekable();
        if why.peek().is_none() {
            return;
        }
        let mut tenants = self.tenants.lock();
        if !tenants.contains_key(of.tenant) && tenants.len() >= TENANTS_MAX {
            let newest = |kept: &VecDeque<Refusal>| kept.back().map_or(0, |last| last.at_ms);
            let quiet = tenants.iter().min_by_key(|(_, kept)| newest(kept));
            if let Some(quiet) = quiet.map(|(tenant, _)| tenant.clone()) {
                tenants.remove(&quiet);
            }
        }
        let kept = tenants.entry(of.tenant.into()).or_default();
        for (line, reason) in why {
            let (endpoint, reason) = (short(of.endpoint), short(&reason));
            // Targets that are scraped take turns, and each says the same again: one that is told
            // once more goes to the end, and nobody is pushed out by it.
            let alike = kept.iter().position(|other| {
                other.line == line
                    && other.sender == of.sender
                    && other.endpoint == endpoint
                    && other.reason == reason
            });
            if let Some(mut alike) = alike.and_then(|at| kept.remove(at)) {
                alike.times += 1;
                alike.at_ms = of.at_ms;
                kept.push_back(alike);
                continue;
            }
            if kept.len() == KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(Refusal {
                at_ms: of.at_ms,
                endpoint,
                sender: of.sender,
                line,
                reason,
                times: 1,
            });
        }
    }

    /// The tenant's, newest first.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Vec<Refusal> {
        let tenants = self.tenants.lock();
        let mut kept: Vec<_> = tenants.get(tenant).into_iter().flatten().cloned().collect();
        kept.sort_by_key(|refusal| std::cmp::Reverse(refusal.at_ms));
        kept
    }
}

fn short(text: &str) -> String {
    let end = text.char_indices().nth(TEXT_MAX).map(|(at, _)| at);
    match end {
        Some(end) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn of(tenant: &str, at_ms: i64) -> Sent<'_> {
        Sent {
            tenant,
            endpoint: "/push",
            sender: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            at_ms,
        }
    }

    #[test]
    fn the_newest_are_kept_and_those_alike_are_counted() {
        let refusals = Refusals::default();
        for second in 0..30 {
            refusals.note(&of("a", second), [(Some(1), format!("reason {second}"))]);
        }
        for second in 30..40 {
            refusals.note(&of("a", second), [(Some(7), "the same".to_owned())]);
        }
        refusals.note(&of("b", 1), [(None, "x".repeat(5_000))]);
        let kept = refusals.of("a");
        assert_eq!(kept.len(), KEPT_MAX);
        let first = &kept[0];
        assert_eq!(
            (first.at_ms, first.line, first.times),
            (39, Some(7), 10),
            "{first:?}"
        );
        assert_eq!(kept[1].reason, "reason 29");
        assert_eq!(refusals.of("b")[0].reason.chars().count(), TEXT_MAX + 1);
        assert_eq!(refusals.of("c"), []);
    }

    #[test]
    fn senders_that_take_turns_do_not_push_each_other_out() {
        let refusals = Refusals::default();
        for second in 0..10 {
            for line in 0..7 {
                refusals.note(&of("a", second), [(Some(line), "the same".to_owned())]);
            }
        }
        let kept = refusals.of("a");
        assert_eq!(kept.len(), 7);
        assert!(
            kept.iter().all(|one| (one.times, one.at_ms) == (10, 9)),
            "{kept:?}"
        );
    }

    #[test]
    fn one_body_and_any_number_of_tenants_are_bounded() {
        let refusals = Refusals::default();
        refusals.note(
            &of("a", 1),
            (0..500).map(|line| (Some(line), "bad".to_owned())),
        );
        assert_eq!(refusals.of("a").len(), OF_BODY_MAX);
        for tenant in 0..TENANTS_MAX + 50 {
            let name = format!("t{tenant}");
            refusals.note(&of(&name, 2), [(None, "bad".to_owned())]);
        }
        assert_eq!(refusals.tenants.lock().len(), TENANTS_MAX);
        assert_eq!(refusals.of("a"), [], "the quietest has gone");
    }
}
