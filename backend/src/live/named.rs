//! The names that viewers of the tick subscribe to: those that are no series of ours are looked up
//! among what was pushed at each tick (CONTRACT section 3), as long as somebody asks for them, and
//! a window longer, so that whoever comes back finds the ticks that it missed complete.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Names of all tenants that are looked up; further ones are passed over, and counted.
const NAMES_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Each with the offset of the last tick that it is looked up for.
    tenants: BTreeMap<Arc<str>, HashMap<Arc<str>, u64>>,
    /// Of all tenants.
    count: usize,
}

impl Named {
    /// The names as they are shared with whoever else asks for them, and how many of them could
    /// not be taken in.
    pub(super) fn take_in(
        &mut self,
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
            if self.count < NAMES_MAX {
                known.insert(Arc::clone(&name), until);
                self.count += 1;
            } else {
                left_out += 1;
            }
            name
        });
        (shared.collect(), left_out)
    }

    /// The names of each tenant that somebody asks for, or did until lately; those that are asked
    /// for at tick `offset` are looked up to `until`.
    pub(super) fn at_tick(&mut self, offset: u64, until: u64) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let mut asked = Vec::new();
        let mut count = 0;
        self.tenants.retain(|tenant, names| {
            names.retain(|name, last| {
                // Selections hold it too.
                if Arc::strong_count(name) > 1 {
                    *last = until;
                }
                *last >= offset
            });
            count += names.len();
            if !names.is_empty() {
                let mut sorted: Vec<Arc<str>> = names.keys().cloned().collect();
                sorted.sort_unstable();
                asked.push((Arc::clone(tenant), sorted));
            }
            !names.is_empty()
        });
        self.count = count;
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut named = Named::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (held, _) = named.take_in(&a, vec!["y".to_owned(), "x".to_owned()], 4);
        let (again, _) = named.take_in(&a, vec!["x".to_owned()], 4);
        assert!(Arc::ptr_eq(&held[1], &again[0]), "shared");
        let (other, _) = named.take_in(&b, vec!["x".to_owned()], 4);
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
        assert!(named.tenants.is_empty() && named.count == 0);
    }

    #[test]
    fn there_is_a_bound_and_what_is_past_it_is_counted() {
        let mut named = Named::default();
        let tenant: Arc<str> = "a".into();
        let names = (0..NAMES_MAX + 2).map(|number| number.to_string());
        let (all, left_out) = named.take_in(&tenant, names.collect(), 1);
        assert_eq!((all.len(), left_out), (NAMES_MAX + 2, 2));
        assert_eq!(asked(&mut named, 1).len(), NAMES_MAX);
    }
}
