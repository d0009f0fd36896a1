//! What servers that count together know of each other: each says how much it has counted itself
//! under each name, and everything is the sum of what all say.
//!
//! Saying it twice, or late, changes nothing, and whatever becomes of Redis, each can say it again:
//! so no item is counted twice or lost that is in some server's own log. Pure.

use std::collections::BTreeSet;

use super::items::{Item, Items, NAMES_MAX};
use crate::base::json::json_text;

/// What stands between a name and who has counted.
const OF: char = '\0';

/// What one server knows beside what it has counted itself.
#[derive(Debug, Default)]
pub struct Together {
    /// Names of which the others are to hear.
    changed: BTreeSet<String>,
    /// What others counted.
    others: Items,
    /// What this server has counted in runs of which its own log knows nothing.
    before: Items,
    /// The names that had been counted when this run began.
    began_with: BTreeSet<String>,
    /// It is known what the others know of this server.
    has_joined: bool,
}

impl Together {
    /// Of a server that goes on with what a run before this one counted.
    #[must_use]
    pub fn going_on(items: &Items) -> Self {
        let names: BTreeSet<String> = items.0.keys().cloned().collect();
        Self {
            changed: names.clone(),
            began_with: names,
            ..Self::default()
        }
    }

    /// Something was counted under this name.
    pub fn has_changed(&mut self, name: &str) {
        if !self.changed.contains(name) {
            self.changed.insert(name.to_owned());
        }
    }

    /// The others may have forgotten what they were told.
    pub fn tell_again<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        self.changed.extend(names.cloned());
        self.changed.extend(self.before.0.keys().cloned());
    }

    /// Whether something is to be told, or it is not known what the others know.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.changed.is_empty() || !self.has_joined
    }

    /// Whether it is known what the others know of this server; before that nothing is told.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Up to so many names of which the others are to hear.
    pub fn take_changed(&mut self, count: usize) -> Vec<String> {
        let names: Vec<String> = self.changed.iter().take(count).cloned().collect();
        for name in &names {
            self.changed.remove(name);
        }
        names
    }

    /// They did not hear of these.
    pub fn not_told(&mut self, names: Vec<String>) {
        self.changed.extend(names);
    }

    /// What others are told of what was counted here.
    pub(super) fn as_told(&self, names: &[String], mut own: Items) -> Vec<(String, Vec<u8>)> {
        for name in names {
            if let Some(before) = self.before.0.get(name) {
                own.0.entry(name.clone()).or_default().add_all(before);
            }
        }
        let told = own.0.into_iter();
        told.map(|(name, item)| (name, json_text(&item).into_bytes()))
            .collect()
    }

    /// Under which name something is told.
    #[must_use]
    pub fn field(name: &str, server: &str) -> String {
        format!("{name}{OF}{server}")
    }

    /// Takes in what all servers say, `server` being this one.
    pub fn hear<'a>(&mut self, all: impl Iterator<Item = (&'a str, &'a [u8])>, server: &str) {
        let (mut others, mut before) = (Items::default(), Items::default());
        for (field, text) in all {
            // What cannot be read is of a later version.
            let Some((name, who)) = field.rsplit_once(OF) else {
                continue;
            };
            let Ok(item) = serde_json::from_slice::<Item>(text) else {
                continue;
            };
            let of = if who == server {
                &mut before
            } else {
                &mut others
            };
            if of.0.contains_key(name) || of.0.len() < NAMES_MAX {
                let known = of.0.entry(name.to_owned()).or_default();
                known.add_all(&item);
            }
        }
        self.others = others;
        if !self.has_joined {
            self.join(before);
        }
    }

    /// What is told of this server by runs that its log knows nothing of stays counted. A name that
    /// its log knows is in it with all that was ever told.
    fn join(&mut self, told: Items) {
        self.has_joined = true;
        for (name, item) in told.0 {
            if !self.began_with.contains(&name) {
                self.changed.insert(name.clone());
                self.before.0.insert(name, item);
            }
        }
    }

    /// What this server does not find in what it counts itself.
    #[must_use]
    pub(super) fn all_others(&self) -> Items {
        let mut all = self.others.clone();
        all.add_all(&self.before);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// One server: its log, what it knows, and whether its log outlives it.
    struct Server {
        name: String,
        own: Items,
        together: Together,
        keeps: bool,
    }

    impl Server {
        fn new(name: usize, keeps: bool) -> Self {
            Self {
                name: format!("s{name}"),
                own: Items::default(),
                together: Together::default(),
                keeps,
            }
        }

        fn restart(&mut self) {
            if !self.keeps {
                self.own = Items::default();
            }
            self.together = Together::going_on(&self.own);
        }

        fn tell(&mut self, redis: &mut BTreeMap<String, Vec<u8>>) {
            if !self.together.has_joined() {
                self.hear(redis);
            }
            let names = self.together.take_changed(usize::MAX);
            let own = names
                .iter()
                .filter_map(|name| Some((name.clone(), self.own.0.get(name)?.clone())));
            let own = Items(own.collect());
            for (name, text) in self.together.as_told(&names, own) {
                redis.insert(Together::field(&name, &self.name), text);
            }
        }

        fn hear(&mut self, redis: &BTreeMap<String, Vec<u8>>) {
            let all = redis.iter().map(|(field, text)| (&**field, &**text));
            self.together.hear(all, &self.name);
        }

        fn count(&self) -> u64 {
            let mut all = self.own.clone();
            all.add_all(&self.together.all_others());
            all.0.get("a").map_or(0, |item| item.totals.count)
        }
    }

    proptest! {
        /// Whatever is told, told twice, heard or not, and whoever begins anew: once all have told
        /// and heard, each counts every item once.
        #[test]
        fn everything_is_counted_once(
            keeps in prop::collection::vec(any::<bool>(), 1..4),
            steps in prop::collection::vec((0..6_usize, any::<prop::sample::Index>()), 0..60),
        ) {
            let mut servers: Vec<Server> =
                keeps.iter().enumerate().map(|(at, keeps)| Server::new(at, *keeps)).collect();
            let mut redis = BTreeMap::new();
            let mut counted = 0;
            for (step, at) in steps {
                let at = at.index(servers.len());
                match step {
                    0 | 1 => {
                        servers[at].own.add("a", 1.0, 5).expect("one name");
                        servers[at].together.has_changed("a");
                        counted += 1;
                    }
                    2 => servers[at].tell(&mut redis),
                    3 => servers[at].hear(&redis),
                    4 => {
                        // Whoever keeps nothing has told it before, or it is lost.
                        servers[at].tell(&mut redis);
                        servers[at].restart();
                    }
                    _ => {
                        // Redis forgets everything, and all that run tell it again.
                        for server in &mut servers {
                            if !server.together.has_joined() {
                                server.hear(&redis);
                            }
                        }
                        redis.clear();
                        for server in &mut servers {
                            let names = ["a".to_owned()];
                            server.together.tell_again(names.iter());
                        }
                    }
                }
            }
            for server in &mut servers {
                server.tell(&mut redis);
            }
            for server in &mut servers {
                server.hear(&redis);
                prop_assert_eq!(server.count(), counted);
            }
        }
    }
}
