//! The rounds of whoever dispatches: what came, what is due, into the outbox, and what became of
//! it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use futures_util::StreamExt as _;
use pulseboard_alerting::AlertEvent;
use pulseboard_notify::Delivery;
use pulseboard_receivers::{
    Notification,
    outbox::{Accepted, DeliveryState, Event, PutError},
};
use tokio_util::sync::CancellationToken;

use super::{
    Notifying, RETRY_MS, Tenant,
    carrier::{packed, way_of},
    generator, is_ours, settle_line,
    state::{Effects, Outcome},
};
use crate::incidents::{
    book::keeper_of,
    entry::{Entry, Kind},
};

/// Notifications that go into the outbox at once: each waits for the disk, and they do so together.
const PUTS_AT_ONCE: usize = 64;

/// Where the page shows alerts, behind and with the `#` of its address.
const PAGE: &str = "#/alerts";

/// With several servers it is looked so often for whom this one acts.
const LOOK_MS: i64 = 250;

/// Rounds in a row after which something is due at once.
const IDLE_ROUNDS_MAX: u32 = 100;

/// Why nobody is told of an alert that `alert_relabel_configs` drops.
const DROPPED: &str = "dropped";

/// When a round is to be made again: by the wall's clock, and by the steady one.
struct Next {
    due_ms: Option<i64>,
    keep_ms: Option<i64>,
}

/// What became of putting a notification into the outbox.
struct Put {
    tenant: Arc<Tenant>,
    key: String,
    put: Result<Accepted, PutError>,
}

impl Notifying {
    /// Dispatches until the server stops.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut idle_rounds = 0;
        loop {
            let steps = self.clock.steps();
            let next = self.round().await;
            // What is due and does not go away by that waits for the clock, and not for a core.
            idle_rounds = match next.due_ms {
                Some(due_ms) if due_ms <= self.clock.now_ms() => idle_rounds + 1,
                _ => 0,
            };
            let due_ms = match idle_rounds < IDLE_ROUNDS_MAX {
                true => next.due_ms,
                false => Some(self.clock.now_ms() + RETRY_MS),
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.wake.notified() => {}
                () = until(due_ms, |ms| self.clock.sleep_until_or_step(ms, steps)) => {}
                () = until(next.keep_ms, |ms| self.clock.sleep_until_steady(ms)) => {}
            }
        }
    }

    /// Everything that came and is due, into the outbox and to disk; when to look again.
    async fn round(self: &Arc<Self>) -> Next {
        self.round_ms
            .store(self.clock.steady_ms().max(1), Ordering::Relaxed);
        let mut to_send = self.blocking(Self::work).await.unwrap_or_default();
        if !to_send.is_empty() {
            // Who was told is known before they are: after a kill it is asked for at the outbox,
            // and not told again under another key.
            if self.folder.is_some() || self.alike.is_some() {
                self.blocking(|notifying| notifying.keep()).await;
            }
            to_send.retain(|(tenant, _)| self.acts(tenant));
            let puts = self.put(to_send).await;
            self.blocking(move |notifying| notifying.settle_puts(puts))
                .await;
        }
        let next = self.blocking(Self::finish_round).await;
        self.round_ms.store(0, Ordering::Relaxed);
        next.unwrap_or_else(|| Next {
            due_ms: Some(self.clock.now_ms() + RETRY_MS),
            keep_ms: None,
        })
    }

    /// Has work done on a thread that may block; nothing where it panicked.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        let worker = Arc::clone(self);
        let worked = tokio::task::spawn_blocking(move || work(&worker)).await;
        worked
            .inspect_err(|error| {
                self.telemetry.panics.inc();
                tracing::error!(%error, "a round of notifications panicked; the next one comes");
            })
            .ok()
    }

    /// Writes what is to be written by now, and looks when there is something to be done again.
    fn finish_round(self: &Arc<Self>) -> Next {
        let is_due =
            |keep_ms: Option<i64>| keep_ms.is_some_and(|keep_ms| keep_ms <= self.clock.steady_ms());
        if is_due(self.keep_due_ms()) {
            self.keep();
        }
        let mut due_ms: Option<i64> = None;
        let mut is_failing = false;
        for tenant in self.all() {
            if !self.acts(&tenant) {
                continue;
            }
            let state = tenant.state.lock();
            due_ms = due_ms.into_iter().chain(state.next_due_ms()).min();
            is_failing |= state.is_failing();
        }
        self.is_failing.store(is_failing, Ordering::Relaxed);
        if self.alike.is_some() {
            // Another server may be gone.
            let look_ms = self.clock.now_ms() + LOOK_MS;
            due_ms = Some(due_ms.map_or(look_ms, |due_ms| due_ms.min(look_ms)));
        }
        Next {
            due_ms,
            keep_ms: self.keep_due_ms(),
        }
    }

    /// What came, and what is due; what goes into the outbox. Blocks.
    pub(super) fn work(self: &Arc<Self>) -> Vec<(Arc<Tenant>, Delivery)> {
        let now_ms = self.clock.now_ms();
        self.take_roles(now_ms);
        self.take_told(now_ms);
        self.take_events(now_ms);
        let mut to_send = Vec::new();
        for tenant in self.all() {
            if !self.acts(&tenant) {
                continue;
            }
            self.tidy(&tenant);
            let mut state = tenant.state.lock();
            if state.next_due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                state.tick(now_ms);
            }
            let effects = state.take_effects();
            let deliveries = state.take_to_send();
            drop(state);
            self.carry_out(&tenant.name, effects);
            to_send.extend(deliveries.into_iter().map(|mut delivery| {
                let notification = &mut delivery.notification;
                notification.page = Some(self.page_of(&tenant.name, notification));
                (Arc::clone(&tenant), delivery)
            }));
        }
        to_send
    }

    /// Where the page shows what a notification is about: the incident where it is one, else all
    /// that goes on.
    fn page_of(&self, tenant: &str, notification: &Notification) -> String {
        let incident = match notification.alerts.as_slice() {
            [one] => {
                let fingerprint = one.fingerprint.parse().ok();
                fingerprint.and_then(|one| self.incidents.newest_of(tenant, one))
            }
            _ => None,
        };
        incident.map_or_else(|| PAGE.to_owned(), |incident| format!("{PAGE}/{incident}"))
    }

    /// What the outbox told.
    fn take_told(&self, now_ms: i64) {
        let told = std::mem::take(&mut *self.told.lock());
        for event in told {
            let line = match &event {
                Event::Delivered(line) => {
                    self.counters.delivered.inc();
                    line
                }
                Event::Retrying(line) => {
                    self.counters.retried.inc();
                    line
                }
                Event::Failed(line) => {
                    self.counters.failed.inc();
                    let way = way_of(&line.receiver);
                    tracing::error!(
                        receiver = way.receiver,
                        integration = way.name.0,
                        tenant = &*line.tenant,
                        "a notification is given up: {}",
                        line.error.as_deref().unwrap_or_default()
                    );
                    if line.state == DeliveryState::Gone {
                        self.forget_gone(&line.tenant, &way);
                    }
                    line
                }
                // Whoever put it there is told so.
                Event::Refused { .. } => continue,
            };
            if let Some(tenant) = self.known(&line.tenant).filter(|one| self.acts(one)) {
                let mut state = tenant.state.lock();
                settle_line(&mut state, now_ms, line);
                state.log(line);
            }
        }
    }

    /// Alerts of rules of our own.
    fn take_events(&self, now_ms: i64) {
        let (events, is_short) = {
            let mut queue = self.queue.lock();
            let is_short = std::mem::take(&mut queue.is_short);
            queue.bytes = 0;
            (std::mem::take(&mut queue.events), is_short)
        };
        let mut by_tenant: BTreeMap<Arc<str>, Vec<(AlertEvent, String)>> = BTreeMap::new();
        let mut add = |event: AlertEvent| {
            if !self.listens(keeper_of(&event)) || !self.looks_after(&event) {
                return;
            }
            let Some(event) = self.as_told(event, now_ms) else {
                return;
            };
            let link = self.link_of(&event);
            let tenant = keeper_of(&event).into();
            by_tenant.entry(tenant).or_default().push((event, link));
        };
        if !is_short {
            events.into_iter().for_each(&mut add);
            for (name, events) in by_tenant {
                let Ok(tenant) = self.tenant_of_rules(&name) else {
                    continue;
                };
                if self.acts(&tenant) {
                    tenant.state.lock().take_own(now_ms, &events);
                } else if self.take_role(&tenant, now_ms) {
                    // What goes on is looked up in the next round, these among it.
                    self.wake.notify_one();
                }
            }
            return;
        }
        // Some were missed, or nobody listened before: what goes on is what counts.
        let Some(started) = self.started.get() else {
            return;
        };
        let (active, ()) = started.alerts.manager().with_active(|| ());
        active.into_iter().filter(is_ours).for_each(&mut add);
        let mut names: BTreeSet<Arc<str>> = by_tenant.keys().cloned().collect();
        names.extend(self.all().iter().map(|tenant| Arc::clone(&tenant.name)));
        for name in names {
            let events = by_tenant.remove(&name).unwrap_or_default();
            if !self.listens(&name) {
                continue;
            }
            if let Ok(tenant) = self.tenant_of_rules(&name)
                && self.take_role(&tenant, now_ms)
            {
                tenant.state.lock().settle_own(now_ms, &events);
            }
        }
    }

    /// An alert with the labels under which it is told; `None` where the configuration drops it,
    /// which is said once.
    fn as_told(&self, event: AlertEvent, now_ms: i64) -> Option<AlertEvent> {
        if let Some(told) = self.incidents.labelling().told(&event) {
            return Some(told.into_owned());
        }
        let (tenant, id) = (keeper_of(&event), event.alert.incident);
        let incident = self.incidents.get(tenant, id)?;
        let mut entries = incident.entries.iter();
        if !entries.any(|entry| entry.reason.as_deref() == Some(DROPPED)) {
            let entry = Entry {
                reason: Some(DROPPED.to_owned()),
                ..Entry::new(now_ms, Kind::NotNotified)
            };
            self.incidents.add(tenant, id, entry);
        }
        None
    }

    /// Leads to what a rule asks, as Prometheus has it.
    fn link_of(&self, event: &AlertEvent) -> String {
        let expr = event.detail.as_ref().map_or("", |detail| &*detail.expr);
        generator(&self.external_url, expr)
    }

    /// Tells others what follows. No lock of ours is held.
    pub(super) fn carry_out(&self, tenant: &str, effects: Effects) {
        if effects.is_empty() {
            return;
        }
        if effects.untold > 0 {
            self.counters.untold.inc_by(effects.untold);
        }
        if effects.untaken > 0 {
            self.counters.untaken.inc_by(effects.untaken);
            tracing::error!(
                tenant,
                alerts = effects.untaken,
                "nobody is told of alerts of rules, since there are too many"
            );
        }
        if let Some(started) = self.started.get() {
            for event in effects.alerts {
                started.alerts.manager().tell(event);
            }
        }
        for ack in &effects.acks {
            self.forget_ack(tenant, ack);
        }
        for (fingerprint, entry) in effects.entries {
            self.incidents.add_to_newest(tenant, fingerprint, entry);
        }
    }

    /// Puts notifications into the outbox; what became of each.
    async fn put(&self, to_send: Vec<(Arc<Tenant>, Delivery)>) -> Vec<Put> {
        let Some(started) = self.started.get() else {
            return Vec::new();
        };
        let puts = to_send.into_iter().map(|(tenant, delivery)| async move {
            let key = delivery.notification.key.clone();
            let put = started.outbox.put(packed(delivery)).await;
            Put { tenant, key, put }
        });
        let puts = futures_util::stream::iter(puts);
        puts.buffer_unordered(PUTS_AT_ONCE).collect().await
    }

    /// Says what became of those that the outbox does not carry. Blocks.
    fn settle_puts(&self, puts: Vec<Put>) {
        let Some(started) = self.started.get() else {
            return;
        };
        let now_ms = self.clock.now_ms();
        let mut tenants: BTreeMap<Arc<str>, Arc<Tenant>> = BTreeMap::new();
        for Put { tenant, key, put } in puts {
            let mut state = tenant.state.lock();
            match put {
                // It waits to be carried at the next start.
                Ok(Accepted::Durable) | Err(PutError::Closed) => continue,
                Ok(Accepted::Memory) => {
                    tracing::error!(
                        key,
                        "a notification waits in memory alone, since the disk fails"
                    );
                    continue;
                }
                Ok(Accepted::Nobody) => state.settle(now_ms, &key, Outcome::Nobody),
                Ok(Accepted::Known) => {
                    let lines = started.outbox.deliveries(&tenant.name);
                    match lines.iter().find(|line| line.key == key) {
                        Some(line) => settle_line(&mut state, now_ms, line),
                        None => state.settle(now_ms, &key, Outcome::Sent),
                    }
                }
                Err(error) => {
                    self.counters.failed.inc();
                    tracing::error!(%error, key, "a notification is not taken");
                    state.settle(now_ms, &key, Outcome::Failed(&error.to_string()));
                }
            }
            drop(state);
            tenants.insert(Arc::clone(&tenant.name), tenant);
        }
        for (name, tenant) in tenants {
            let effects = tenant.state.lock().take_effects();
            self.carry_out(&name, effects);
        }
    }
}

/// A future that waits for a moment, or for ever where there is none.
async fn until<F: Future<Output = ()>>(at_ms: Option<i64>, sleep: impl FnOnce(i64) -> F) {
    match at_ms {
        Some(at_ms) => sleep(at_ms).await,
        None => std::future::pending().await,
    }
}
