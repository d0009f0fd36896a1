//! What servers tell each other once a second beside their feeds: who watches, who is in rooms, and
//! the operator's totals and threshold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use pulseboard_bus::{BusError, Figure, Put};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_shared::protocol::rooms::OPERATIONS_ROOM;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    base::telemetry::StreamKind,
    cluster::{Cluster, Standing},
    operator::SharedThreshold,
};

const EVERY: Duration = Duration::from_secs(1);

/// Tenants that are asked for in each second; of more, each in its turn.
const TENANTS_EACH: usize = 64;

/// The names that figures go by.
const STREAMS: &str = "streams";
const CONTROL: &str = "control";
const DASHBOARD: &str = "dash";
const CLIENTS: &str = "clients";
const OPERATED: &str = "operations";

/// What the operator's totals are counted under.
const REQUESTS: &str = "requests";
const ERRORS: &str = "errors";

/// The document with the threshold.
const OPERATOR: (&str, &str) = ("", "operator");
/// The document that names the newest reset of the operator's totals.
const RESET: (&str, &str) = ("", "operator-reset");

type Room = (Box<str>, Box<str>);

/// Keeps what servers tell each other until the server stops.
pub async fn keep_common(app: Arc<App>, cluster: Arc<Cluster>, stopping: CancellationToken) {
    let mut common = Common {
        app,
        cluster,
        told: BTreeMap::new(),
        told_dashboards: BTreeSet::new(),
        elsewhere: HashMap::new(),
        turn: 0,
    };
    let mut state = common.cluster.bus().state();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            // At once when the others are found or lost, or the operator has changed something.
            changed = state.changed() => if changed.is_err() { return },
            () = common.app.operator.changed() => {}
        }
        common.round().await;
    }
}

struct Common {
    app: Arc<App>,
    cluster: Arc<Cluster>,
    /// What was said of our rooms: by tenant, members by name.
    told: BTreeMap<Box<str>, BTreeMap<Box<str>, u64>>,
    told_dashboards: BTreeSet<Box<str>>,
    /// Members elsewhere.
    elsewhere: HashMap<Room, usize>,
    /// Whose turn it is where there are many tenants.
    turn: usize,
}

impl Common {
    async fn round(&mut self) {
        let app = Arc::clone(&self.app);
        let ready = app.is_ready();
        let viewers = app.registry.open() as u64;
        let archive = app.archive.as_ref();
        let archive_lag_ms = archive.map_or(0, |archive| archive.lag_ms());
        self.cluster.common().say(|member| {
            member.viewers = viewers;
            member.archive_lag_ms = archive_lag_ms;
            member.ready = ready;
        });
        match self.cluster.standing() {
            Standing::Joining => return,
            Standing::Alone => {
                // Nobody else can be known to be there.
                self.elsewhere.clear();
                app.rooms.set_elsewhere(HashMap::new());
                app.operator.set_control_elsewhere(0);
                for (_, tenant) in app.tracked.tenants() {
                    tenant.set_elsewhere(0);
                }
                return;
            }
            Standing::Joined => {}
        }
        if let Err(error) = self.tell().await {
            tracing::debug!(%error, "what the servers tell each other was not told");
        }
    }

    async fn tell(&mut self) -> Result<(), BusError> {
        self.totals().await?;
        self.threshold().await?;
        self.streams().await?;
        self.rooms().await?;
        self.dashboards().await
    }

    /// Adds what was answered here to what all have answered, and takes the sum.
    async fn totals(&self) -> Result<(), BusError> {
        let (common, operator) = (self.cluster.common(), &self.app.operator);
        if operator.take_reset() {
            self.reset().await.inspect_err(|_away| {
                operator.reset_again();
            })?;
        }
        // Before what is counted: whoever reads of a reset reads totals of after it.
        let reset = common.document(RESET.0, RESET.1).await?;
        let reset =
            reset.and_then(|document| std::str::from_utf8(&document.bytes).ok()?.parse().ok());
        let totals = common.totals("").await?;
        let (requests, errors) = operator.take_unsent();
        let now_ms = self.app.clock.now_ms();
        let tenant: Arc<str> = "".into();
        for (name, count) in [(REQUESTS, requests), (ERRORS, errors)] {
            if count > 0 {
                let counted = common.count(&tenant, name, count as f64, now_ms, &[]);
                if let Err(refused) = counted {
                    tracing::warn!(%refused, "requests are missing in the totals of all servers");
                }
            }
        }
        let of = |name: &str| totals.get(name).map_or(0.0, |total| total.sum).max(0.0);
        if operator.set_shared((of(REQUESTS), of(ERRORS)), (requests, errors), reset) {
            let app = Arc::clone(&self.app);
            let kept = tokio::task::spawn_blocking(move || app.operator.keep_reset()).await;
            if !matches!(kept, Ok(Ok(()))) {
                tracing::warn!("that the totals were reset could not be stored");
            }
        }
        Ok(())
    }

    /// Has the totals of all servers begin anew, and then says so.
    async fn reset(&self) -> Result<(), BusError> {
        let common = self.cluster.common();
        common.reset_counts("", &[]).await?;
        let id = self.app.operator.next_reset(self.app.clock.now_ms());
        let id = id.to_string();
        common
            .put_document(RESET, None, id.as_bytes(), None)
            .await
            .map(drop)
    }

    /// The threshold that was set last, here or elsewhere.
    async fn threshold(&self) -> Result<(), BusError> {
        let (common, operator) = (self.cluster.common(), &self.app.operator);
        let document = common.document(OPERATOR.0, OPERATOR.1).await?;
        let known = document
            .as_ref()
            .and_then(|document| serde_json::from_slice::<SharedThreshold>(&document.bytes).ok());
        let own = operator.shared_threshold();
        match known {
            Some(known) if known == own => {}
            // Of two that were set in one moment, the one that is stored.
            Some(known) if known.set_ms >= own.set_ms => {
                let app = Arc::clone(&self.app);
                // It is stored, which blocks.
                let stored = tokio::task::spawn_blocking(move || app.operator.adopt(known)).await;
                if !matches!(stored, Ok(Ok(()))) {
                    tracing::warn!("the threshold of the other servers could not be stored");
                }
            }
            _ if own.set_ms == 0 => {}
            _ => {
                let read = document.map_or(0, |document| document.revision);
                let text = crate::base::json::json_text(&own);
                let put = common.put_document(OPERATOR, Some(read), text.as_bytes(), None);
                if let Put::Other(_) = put.await? {
                    tracing::debug!("somebody else set the threshold in the same moment");
                }
            }
        }
        Ok(())
    }

    async fn streams(&self) -> Result<(), BusError> {
        let own = self.app.telemetry.open(StreamKind::WsControl);
        let own = [(CONTROL, own)];
        let common = self.cluster.common();
        let all = common.figures(Figure::Other, ("", STREAMS), &own).await?;
        let all = all.get(CONTROL).copied().unwrap_or_default();
        self.app
            .operator
            .set_control_elsewhere(all.saturating_sub(own[0].1));
        Ok(())
    }

    async fn rooms(&mut self) -> Result<(), BusError> {
        let mut here: BTreeMap<Box<str>, BTreeMap<Box<str>, u64>> = BTreeMap::new();
        for (tenant, room, members) in self.app.rooms.members_here() {
            here.entry(tenant).or_default().insert(room, members as u64);
        }
        self.operated(&here).await?;
        let mut tenants: Vec<Box<str>> = here.keys().chain(self.told.keys()).cloned().collect();
        // Whoever looks at the list of rooms finds those of others, too.
        tenants.push(DEFAULT_TENANT.into());
        tenants.sort_unstable();
        tenants.dedup();
        // Nobody here is of the others any more, and nobody asks for them.
        self.elsewhere.retain(|(of, room), _| {
            **room == *OPERATIONS_ROOM || tenants.binary_search(of).is_ok()
        });
        for tenant in self.in_turn(tenants) {
            let own = here.remove(&tenant).unwrap_or_default();
            self.rooms_of(&tenant, own).await?;
        }
        self.app.rooms.set_elsewhere(self.elsewhere.clone());
        Ok(())
    }

    /// Those that are asked for in this second.
    fn in_turn(&mut self, tenants: Vec<Box<str>>) -> Vec<Box<str>> {
        if tenants.len() <= TENANTS_EACH {
            return tenants;
        }
        self.turn = (self.turn + TENANTS_EACH) % tenants.len();
        let rounds = tenants.iter().cycle().skip(self.turn);
        rounds.take(TENANTS_EACH).cloned().collect()
    }

    async fn rooms_of(
        &mut self,
        tenant: &str,
        own: BTreeMap<Box<str>, u64>,
    ) -> Result<(), BusError> {
        let before = self.told.get(tenant).cloned().unwrap_or_default();
        // Those that nobody here is in any more are said once more, with nobody.
        let gone = before.keys().filter(|room| !own.contains_key(*room));
        let said: Vec<(&str, u64)> = own
            .iter()
            .map(|(room, members)| (&**room, *members))
            .chain(gone.map(|room| (&**room, 0)))
            .collect();
        let common = self.cluster.common();
        let all = common
            .figures(Figure::Presence, (tenant, ""), &said)
            .await?;
        self.elsewhere
            .retain(|(of, room), _| **of != *tenant || **room == *OPERATIONS_ROOM);
        for (room, members) in all {
            let others = members.saturating_sub(own.get(&*room).copied().unwrap_or_default());
            let place = (Box::from(tenant), room.into_boxed_str());
            if others > 0 {
                let others = usize::try_from(others).unwrap_or(usize::MAX);
                self.elsewhere.insert(place, others);
            } else {
                self.elsewhere.remove(&place);
            }
        }
        match own.is_empty() {
            true => drop(self.told.remove(tenant)),
            false => drop(self.told.insert(tenant.into(), own)),
        }
        Ok(())
    }

    /// Whose operators are where: they are told of alerts of the service, wherever these are made.
    async fn operated(
        &mut self,
        here: &BTreeMap<Box<str>, BTreeMap<Box<str>, u64>>,
    ) -> Result<(), BusError> {
        let own: Vec<(&str, u64)> = here
            .iter()
            .filter_map(|(tenant, rooms)| Some((&**tenant, *rooms.get(OPERATIONS_ROOM)?)))
            .collect();
        let gone = self.told.keys().filter(|tenant| {
            !here
                .get(*tenant)
                .is_some_and(|rooms| rooms.contains_key(OPERATIONS_ROOM))
        });
        let said: Vec<(&str, u64)> = own
            .iter()
            .copied()
            .chain(gone.map(|tenant| (&**tenant, 0)))
            .collect();
        let common = self.cluster.common();
        let all = common
            .figures(Figure::Presence, ("", OPERATED), &said)
            .await?;
        self.elsewhere
            .retain(|(_, room), _| **room != *OPERATIONS_ROOM);
        let own: HashMap<&str, u64> = own.into_iter().collect();
        for (tenant, members) in all {
            let others = members.saturating_sub(own.get(&*tenant).copied().unwrap_or_default());
            if others > 0 {
                let others = usize::try_from(others).unwrap_or(usize::MAX);
                let place = (tenant.into_boxed_str(), OPERATIONS_ROOM.into());
                self.elsewhere.insert(place, others);
            }
        }
        Ok(())
    }

    async fn dashboards(&mut self) -> Result<(), BusError> {
        let known = self.app.tracked.tenants().into_iter();
        let watched = known.filter(|(_, tenant)| tenant.clients() > 0);
        let mut tenants: Vec<Box<str>> = watched.map(|(name, _)| name).collect();
        tenants.extend(self.told_dashboards.iter().cloned());
        tenants.sort_unstable();
        tenants.dedup();
        for name in self.in_turn(tenants) {
            let tenant = self.app.tracked.tenant(&name);
            let own = tenant.clients() as u64;
            let common = self.cluster.common();
            let said = [(CLIENTS, own)];
            let all = common
                .figures(Figure::Other, (&name, DASHBOARD), &said)
                .await?;
            let all = all.get(CLIENTS).copied().unwrap_or_default();
            tenant.set_elsewhere(all.saturating_sub(own));
            match own {
                0 => self.told_dashboards.remove(&name),
                _ => self.told_dashboards.insert(name),
            };
        }
        Ok(())
    }
}
