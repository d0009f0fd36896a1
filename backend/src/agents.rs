//! Which agent speaks for which host. Two that have one name write into the same series, where
//! nobody can tell their figures apart afterwards, so it is said while it is so: in the log, and on
//! the page.
//!
//! Each run of an agent names itself by a number of its own. A run that begins after another has
//! ended is no more than a restart: only runs that take turns, again and again, are two.

use std::{collections::HashMap, net::IpAddr};

use parking_lot::Mutex;

/// Hosts that are remembered. Past it those that have been silent are forgotten, and where none is,
/// a further one is not looked at.
const HOSTS_MAX: usize = 10_000;

/// Of one tenant, so that one leaves the others something.
const HOSTS_OF_TENANT_MAX: usize = 2_000;

/// Bytes of a name that is remembered; longer ones are not looked at.
const NAME_BYTES_MAX: usize = 256;

/// Runs that are remembered of one host beside the newest.
const RUNS_MAX: usize = 4;

/// What is so long ago tells nothing.
const WINDOW_MS: u64 = 600_000;

/// So many turns that are not further apart tell of two. A request of a run that has ended may
/// arrive after the first ones of the next, which makes two of them.
const TURNS: u32 = 4;
const APART_MS: u64 = 120_000;

/// What the log is told in this time, at most; the page is told all.
const LOG_PERIOD_MS: u64 = 60_000;

/// Names of a tenant that are told at once.
const TOLD_MAX: usize = 10;

/// A run of an agent, and where it sends from.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: u64,
    sender: IpAddr,
    heard_ms: i64,
}

#[derive(Debug)]
struct Host {
    newest: Run,
    others: Vec<Run>,
    /// How often one of the others came back, without a long while between.
    turns: u32,
    /// When that was so last.
    turned_ms: i64,
    /// When the log was told.
    told_ms: Option<i64>,
}

impl Host {
    fn is_shared(&self, now_ms: i64) -> bool {
        self.turns >= TURNS && self.turned_ms.abs_diff(now_ms) < WINDOW_MS
    }

    fn heard(&mut self, run: Run) {
        if self.newest.id == run.id {
            self.newest = run;
            return;
        }
        let now_ms = run.heard_ms;
        self.others
            .retain(|other| other.heard_ms.abs_diff(now_ms) < WINDOW_MS);
        let before = std::mem::replace(&mut self.newest, run);
        if let Some(at) = self.others.iter().position(|other| other.id == run.id) {
            self.others.remove(at);
            if self.turned_ms.abs_diff(now_ms) >= APART_MS {
                self.turns = 0;
            }
            self.turns = self.turns.saturating_add(1);
            self.turned_ms = now_ms;
        }
        if self.others.len() == RUNS_MAX {
            self.others.remove(0);
        }
        self.others.push(before);
    }

    /// What is told of it, such as `two agents send as host "a" (from 10.0.0.1 and 10.0.0.2)…`.
    fn words(&self, name: &str) -> String {
        let other = self.others.last().map(|run| run.sender);
        let from = match other {
            Some(other) if other != self.newest.sender => {
                format!("{other} and {}", self.newest.sender)
            }
            _ => format!("{}, both", self.newest.sender),
        };
        format!(
            "two agents send as host {name:?} (from {from}), so that their figures are mixed; give one of them another --instance"
        )
    }
}

/// What a tenant's hosts are called.
type Hosts = HashMap<Box<str>, Host>;

#[derive(Debug, Default)]
struct All {
    tenants: HashMap<Box<str>, Hosts>,
    hosts: usize,
    logged_ms: Option<i64>,
}

/// Which agents spoke lately.
#[derive(Debug, Default)]
pub struct Agents {
    /// Leaf lock.
    all: Mutex<All>,
}

impl Agents {
    /// A run of an agent has sent figures of a host.
    pub fn heard(&self, tenant: &str, host: &str, id: u64, sender: IpAddr, now_ms: i64) {
        if host.len() > NAME_BYTES_MAX {
            return;
        }
        let run = Run {
            id,
            sender,
            heard_ms: now_ms,
        };
        let mut all = self.all.lock();
        let All {
            tenants,
            hosts,
            logged_ms,
        } = &mut *all;
        if let Some(known) = tenants.get_mut(tenant).and_then(|of| of.get_mut(host)) {
            known.heard(run);
            let may_tell = |told: Option<i64>, period: u64| {
                told.is_none_or(|told_ms| told_ms.abs_diff(now_ms) >= period)
            };
            if known.is_shared(now_ms)
                && may_tell(known.told_ms, WINDOW_MS)
                && may_tell(*logged_ms, LOG_PERIOD_MS)
            {
                known.told_ms = Some(now_ms);
                *logged_ms = Some(now_ms);
                tracing::warn!(tenant, "{}", known.words(host));
            }
            return;
        }
        if *hosts >= HOSTS_MAX {
            tenants.retain(|_, of| {
                of.retain(|_, host| host.newest.heard_ms.abs_diff(now_ms) < WINDOW_MS);
                !of.is_empty()
            });
            *hosts = tenants.values().map(HashMap::len).sum();
        }
        let of_tenant = tenants.get(tenant).map_or(0, HashMap::len);
        if *hosts >= HOSTS_MAX || of_tenant >= HOSTS_OF_TENANT_MAX {
            return;
        }
        *hosts += 1;
        let host_now = Host {
            newest: run,
            others: Vec::new(),
            turns: 0,
            turned_ms: now_ms,
            told_ms: None,
        };
        let of = tenants.entry(tenant.into()).or_default();
        of.insert(host.into(), host_now);
    }

    /// What a tenant's readers should know, a sentence for each host that two agents speak for.
    #[must_use]
    pub fn warnings(&self, tenant: &str, now_ms: i64) -> Vec<String> {
        let all = self.all.lock();
        let of = all.tenants.get(tenant).into_iter().flatten();
        let mut told: Vec<String> = of
            .filter(|(_, host)| host.is_shared(now_ms))
            .map(|(name, host)| host.words(name))
            .collect();
        told.sort_unstable();
        told.truncate(TOLD_MAX);
        told
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn two_agents_of_one_name_are_told_of_until_one_is_silent() {
        let agents = Agents::default();
        for second in 0..6_i64 {
            let run = second % 2;
            let sender = from(u8::try_from(run).expect("small"));
            agents.heard("red", "a", run.unsigned_abs(), sender, second * 1_000);
            agents.heard("blue", "a", 7, from(9), second * 1_000);
        }
        let told = agents.warnings("red", 6_000);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("two agents send as host \"a\" (from 10.0.0.0 and 10.0.0.1)"),
            "{told:?}"
        );
        assert!(agents.warnings("blue", 6_000).is_empty());
        for second in 6..1_000 {
            agents.heard("red", "a", 1, from(1), second * 1_000);
        }
        assert!(agents.warnings("red", 1_000_000).is_empty());
    }

    #[test]
    fn restarts_and_requests_that_come_late_are_no_second_agent() {
        let agents = Agents::default();
        // Each run ends, and one request of each comes after the next has begun.
        for run in 0..50_i64 {
            let at_ms = run * 150_000;
            agents.heard("red", "a", run.unsigned_abs() + 1, from(1), at_ms);
            agents.heard("red", "a", run.unsigned_abs(), from(1), at_ms + 1);
            agents.heard("red", "a", run.unsigned_abs() + 1, from(1), at_ms + 2);
            assert!(agents.warnings("red", at_ms + 2).is_empty(), "{run}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_tenant_leaves_others_something() {
        let agents = Agents::default();
        for host in 0..HOSTS_MAX + 50 {
            agents.heard("red", &format!("h{host}"), 1, from(1), 0);
        }
        agents.heard("red", &"x".repeat(NAME_BYTES_MAX + 1), 1, from(1), 0);
        assert_eq!(agents.all.lock().hosts, HOSTS_OF_TENANT_MAX);
        for tenant in 0..10 {
            for host in 0..HOSTS_OF_TENANT_MAX {
                agents.heard(&format!("t{tenant}"), &format!("h{host}"), 1, from(1), 0);
            }
        }
        assert_eq!(agents.all.lock().hosts, HOSTS_MAX);
        agents.heard("late", "a", 1, from(1), 700_000);
        assert_eq!(agents.all.lock().hosts, 1, "the silent have gone");
    }
}
