//! The names that viewers of the tick subscribe to: those that are no series of ours are looked up
//! among what was pushed at each tick, as long as somebody asks for them, and
//! a window longer, so that whoever comes back finds the ticks that it missed complete. They count
//! for whoever asked first, who has a share of all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    base::telemetry::{Limit, Telemetry},
    shares::{CallerKeys, Share, ShareLimits, Shares},
};

/// Names of all tenants that are looked up; further ones are passed over, and counted.
const NAMES_MAX: usize = 10_000;

/// Of these, asked for by one connection: it may ask for a thousand, and for others soon after.
const PER_CLIENT_MAX: usize = 2_500;

/// Which names of which tenant are looked up for the next tick, and until when.
#[derive(Debug)]
pub(super) struct Named {
    tenants: BTreeMap<Arc<str>, HashMap<Arc<str>, Asked>>,
    shares: Arc<Shares>,
}

#[derive(Debug)]
struct Asked {
    /// The offset of the last tick that it is looked up for.
    until: u64,
    _share: Share,
}

impl Named {
    /// None yet.
    pub(super) fn new(telemetry: &Arc<Telemetry>) -> Self {
        let limits = ShareLimits::of(NAMES_MAX).each_client(PER_CLIENT_MAX);
        let telemetry = Arc::clone(telemetry);
        Self {
            tenants: BTreeMap::new(),
            shares: Shares::new("names", |_| Limit::Subscriptions, limits, telemetry),
        }
    }

    /// The names as they are shared with whoever else asks for them, and how many of them could
    /// not be taken in.
    pub(super) fn take_in(
        &mut self,
        keys: &CallerKeys,
        tenant: &Arc<str>,
        names: Vec<String>,
        until: u64,
    ) -> (Vec<Arc<str>>, usize) {
        let known = self.tenants.entry(Arc::clone(tenant)).or_default();
        let mut left_out = 0;
        let shared = names.into_iter().map(|name| {
            if let Some((name, _)) = known.get_key_value(&*name) {
                return Arc::clone(name);
            }
            let name: Arc<str> = name.into();
            // Once one was refused, so are the rest: that is counted once for all of them.
            let share = (left_out == 0).then(|| self.shares.acquire(keys, 1).ok());
            match share.flatten() {
                Some(_share) => {
                    known.insert(Arc::clone(&name), Asked { until, _share });
                }
                None => left_out += 1,
            }
            name
        });
        (shared.collect(), left_out)
    }

    /// The names of each tenant that somebody asks for, or did until lately; those that are asked
    /// for at tick `offset` are looked up to `until`.
    pub(super) fn at_tick(&mut self, offset: u64, until: u64) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let mut asked = Vec::new();
        self.tenants.retain(|tenant, names| {
            names.retain(|name, asked| {
                // Selections hold it too.
                if Arc::strong_count(name) > 1 {
                    asked.until = until;
                }
                asked.until >= offset
            });
            if !names.is_empty() {
                let mut sorted: Vec<Arc<str>> = names.keys().cloned().collect();
                sorted.sort_unstable();
                asked.push((Arc::clone(tenant), sorted));
            }
            !names.is_empty()
        });
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Named {
        Named::new(&Arc::default())
    }

    fn keys(client: u64, address: u8) -> CallerKeys {
        CallerKeys {
            client: Some(client),
            address: Some([192, 0, 2, address].into()),
            token: None,
            tenant: None,
        }
    }

    fn asked(named: &mut Named, offset: u64) -> Vec<String> {
        let all = named.at_tick(offset, offset + 3).into_iter();
        all.flat_map(|(tenant, names)| {
            names
                .into_iter()
                .map(move |name| format!("{tenant}/{name}"))
        })
        .collect()
    }

    #[test]
    fn a_name_is_looked_up_while_it_is_held_and_a_window_longer() {
        let mut named = named();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (held, _) = named.take_in(&keys(1, 1), &a, vec!["y".to_owned(), "x".to_owned()], 4);
        let (again, _) = named.take_in(&keys(1, 1), &a, vec!["x".to_owned()], 4);
        assert!(Arc::ptr_eq(&held[1], &again[0]), "shared");
        let (other, _) = named.take_in(&keys(1, 1), &b, vec!["x".to_owned()], 4);
        assert_eq!(asked(&mut named, 1), ["a/x", "a/y", "b/x"]);
        drop((held, other));
        assert_eq!(
            asked(&mut named, 4),
            ["a/x", "a/y", "b/x"],
            "a window longer"
        );
        assert_eq!(asked(&mut named, 5), ["a/x"], "still held");
        drop(again);
        assert_eq!(asked(&mut named, 9).len(), 0);
        assert!(named.tenants.is_empty() && named.shares.taken() == 0);
    }

    #[test]
    fn each_has_a_share_and_what_is_past_it_is_counted() {
        let mut named = named();
        let tenant: Arc<str> = "a".into();
        let names = |from: usize, count: usize| -> Vec<String> {
            (from..from + count).map(|name| name.to_string()).collect()
        };
        let mut ask = |client, address, from, count| {
            let (all, left_out) =
                named.take_in(&keys(client, address), &tenant, names(from, count), 1);
            assert_eq!(all.len(), count, "each has its name, looked up or not");
            left_out
        };
        assert_eq!(ask(1, 1, 0, PER_CLIENT_MAX + 2), 2);
        assert_eq!(
            ask(2, 1, 0, PER_CLIENT_MAX),
            0,
            "what is there costs nothing"
        );
        assert_eq!(ask(2, 1, 10_000, PER_CLIENT_MAX), 0);
        assert_eq!(ask(3, 1, 20_000, 1), 1, "an address has a half of all");
        assert_eq!(ask(4, 2, 30_000, 1_000), 0, "and others have some");
        assert_eq!(asked(&mut named, 1).len(), 2 * PER_CLIENT_MAX + 1_000);
    }
}
