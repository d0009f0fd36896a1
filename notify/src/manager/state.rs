//! The state as a document, and back.

use std::{collections::HashMap, sync::Arc};

use super::{Held, Manager, Options};
use crate::{
    config::Config,
    keep::{Keep, KeptGroup, KeptHeld},
};

impl Manager {
    /// Everything that outlives a restart.
    #[must_use]
    pub fn keep(&self) -> Keep {
        let alerts = self.sorted_alerts();
        let now_ms = self.last_now_ms.unwrap_or(i64::MIN);
        let groups = self.groups.values().map(|group| {
            let receiver = self.routes.get(group.route);
            let over = group.members.values();
            KeptGroup {
                key: group.key.clone(),
                receiver: receiver.map_or(String::new(), |route| route.options.receiver.clone()),
                next_flush_ms: group.next_flush_ms,
                has_flushed: group.has_flushed,
                over: over
                    .filter(|member| member.alert.is_over(now_ms))
                    .map(|member| member.alert.fingerprint)
                    .collect(),
            }
        });
        let held = self.held.iter().map(|(way, held)| KeptHeld {
            way: way.clone(),
            due_ms: held.due_ms,
            since_ms: held.since_ms,
            groups: held
                .groups
                .iter()
                .filter_map(|id| self.groups.get(id))
                .map(|group| group.key.clone())
                .collect(),
        });
        Keep {
            alerts: alerts.iter().map(|alert| alert.as_ref().clone()).collect(),
            silences: self.silences.keep(),
            windows: self.windows.iter().cloned().collect(),
            acks: self.acks.iter().cloned().collect(),
            flaps: self.flaps.keep(),
            budgets: self.budgets.keep(),
            log: self.log.keep(),
            groups: groups.collect(),
            held: held.collect(),
        }
    }

    /// Goes on with what was kept. Where the configuration is another now, groups that it does not
    /// have are made anew; what was told before is known all the same. Nothing is sent yet: what is
    /// due comes with the next [`handle`](Self::handle).
    #[must_use]
    pub fn restore(
        tenant: Arc<str>,
        config: Arc<Config>,
        options: Options,
        keep: Keep,
        now_ms: i64,
    ) -> Self {
        let mut manager = Self::new(tenant, config, options);
        manager.silences.restore(keep.silences);
        for window in keep.windows {
            // one that is no longer taken is not kept
            drop(manager.windows.set(window));
        }
        manager.flaps.restore(keep.flaps);
        manager.budgets.restore(keep.budgets, now_ms);
        manager.log.restore(keep.log);
        let mut over = HashMap::new();
        for group in &keep.groups {
            for fingerprint in &group.over {
                over.entry(*fingerprint)
                    .or_insert_with(Vec::new)
                    .push(group.key.as_str());
            }
        }
        let mut unused = Vec::new();
        for alert in keep.alerts {
            // more than the bounds allow are not kept
            let Ok(alert) = manager.alerts.put(alert, now_ms) else {
                continue;
            };
            manager.inhibition.put(&alert);
            let is_needed = over.contains_key(&alert.fingerprint);
            if !alert.is_over(now_ms) || is_needed {
                manager.regroup(now_ms, &alert, &mut unused);
            }
        }
        let kept: HashMap<(&str, &str), &KeptGroup> = keep
            .groups
            .iter()
            .map(|group| ((group.key.as_str(), group.receiver.as_str()), group))
            .collect();
        manager.due.clear();
        for (id, group) in &mut manager.groups {
            let receiver = manager.routes.get(group.route);
            let receiver = receiver.map_or("", |route| route.options.receiver.as_str());
            if let Some(kept) = kept.get(&(group.key.as_str(), receiver)) {
                group.next_flush_ms = kept.next_flush_ms;
                group.has_flushed = kept.has_flushed;
            }
            manager.due.insert((group.due_ms(), *id));
        }
        for kept in keep.held {
            let ids = kept.groups.iter().filter_map(|key| manager.by_key.get(key));
            let groups: std::collections::BTreeSet<_> = ids.flatten().copied().collect();
            let numbered: Vec<_> = groups
                .iter()
                .filter_map(|id| Some((*id, manager.way_number(*id, &kept.way)?)))
                .collect();
            for (id, number) in numbered {
                let group = manager.groups.get_mut(&id);
                if let Some(state) = group.and_then(|group| group.ways.get_mut(number)) {
                    state.is_held = true;
                }
            }
            if !groups.is_empty() {
                let held = Held {
                    due_ms: kept.due_ms,
                    since_ms: kept.since_ms,
                    groups,
                };
                manager.held.insert(kept.way, held);
            }
        }
        manager.acks.restore(keep.acks);
        manager.next_sweep_ms = Some(now_ms);
        manager.last_now_ms = Some(now_ms);
        manager
    }
}
