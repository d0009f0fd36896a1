//! The feed of one tenant's series that come and go.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pulseboard_engine::{Catalog, Changes, Engine, SeriesName, Tenant};
use pulseboard_feed::{At, Feed, Frame, Payload, Subscription, wire::ws};
use pulseboard_shared::{
    codec::Encoding,
    protocol::{
        series::{SeriesInfo, SeriesState},
        watch::WatchMessage,
    },
};

use super::flush::{Flushable, LastFlush};
use crate::{
    shares::Share,
    ticks::builtin_series::BuiltInSeries,
    watchable::{Viewers, Watchable},
};

/// Series named in one message of a catalog.
const NAMED_MAX: usize = 100;

/// A tenant's catalog.
pub struct CatalogFeed {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    pub(super) engine: Arc<Engine>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) own: Arc<BuiltInSeries>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) feed: Arc<Feed<CatalogPayload>>,
    pub(super) viewers: Viewers,
    pub(super) flushed: LastFlush,
    /// Of whoever had it made, for as long as it is there.
    pub(super) _share: Share,
}

impl CatalogFeed {
    /// A cursor for a viewer, for what comes and goes from now on.
    #[must_use]
    pub fn cursor_of(&self, form: Encoding, viewer: u64) -> Subscription<CatalogPayload> {
        let tenant = Arc::clone(&self.tenant);
        let view = CatalogView { form, tenant };
        self.cursor(self.feed.end(), view, viewer)
    }
}

impl Watchable for CatalogFeed {
    /// A tenant's name.
    type Key = Box<str>;
    type Payload = CatalogPayload;

    fn key(&self) -> &Box<str> {
        &self.tenant.name
    }

    fn viewers(&self) -> &Viewers {
        &self.viewers
    }

    fn feed(&self) -> &Arc<Feed<CatalogPayload>> {
        &self.feed
    }

    fn stays(&self, _shares: &mut Vec<Share>) -> bool {
        true
    }

    fn close(&self) {
        self.engine.end_catalog(&self.tenant, &self.catalog);
    }
}

impl Flushable for CatalogFeed {
    fn flushed(&self) -> &LastFlush {
        &self.flushed
    }

    fn has_newcomers(&self) -> bool {
        false
    }

    fn attach_newcomers(&self) {}

    fn flush(&self) {
        let changes = self.catalog.take();
        let total = self.tenant.counts().series;
        let is_own = |key: &str| self.own.has(&self.tenant.name, key);
        for payload in CatalogPayload::of(changes, total, is_own) {
            self.feed.append(payload);
        }
    }
}

/// How a viewer gets what comes and goes.
#[derive(Clone, Debug)]
pub struct CatalogView {
    form: Encoding,
    /// Whose series they are.
    tenant: Arc<Tenant>,
}

impl PartialEq for CatalogView {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form && Arc::ptr_eq(&self.tenant, &other.tenant)
    }
}

/// Series that came or went.
#[derive(Debug)]
pub struct CatalogPayload(WatchMessage);

impl CatalogPayload {
    fn of(changes: Changes, total: u64, is_own: impl Fn(&str) -> bool) -> Vec<Self> {
        let mut payloads = Vec::new();
        for names in changes.appeared.chunks(NAMED_MAX) {
            payloads.push(Self(WatchMessage::Appeared {
                total,
                series: names.iter().map(|name| info(name, &is_own)).collect(),
            }));
        }
        for names in changes.vanished.chunks(NAMED_MAX) {
            payloads.push(Self(WatchMessage::Vanished {
                total,
                keys: names.iter().map(|name| name.key().to_string()).collect(),
            }));
        }
        if changes.unnamed > 0 {
            payloads.push(Self(WatchMessage::Catalog { total }));
        }
        payloads
    }
}

fn info(name: &SeriesName, is_own: impl Fn(&str) -> bool) -> SeriesInfo {
    let key = name.key();
    let text = key.to_string();
    SeriesInfo {
        own: is_own(&text),
        key: text,
        name: key.name().to_owned(),
        labels: key
            .labels()
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .collect(),
        unit: name.unit.to_string(),
        kind: name.kind.name().to_owned(),
        state: SeriesState::Live,
        ..SeriesInfo::default()
    }
}

impl Payload for CatalogPayload {
    type View = CatalogView;

    fn encode(&self, _at: At, view: &CatalogView) -> Bytes {
        ws::message(view.form, &self.0)
    }

    fn held_bytes(&self) -> usize {
        match &self.0 {
            WatchMessage::Appeared { series, .. } => {
                let bytes = |info: &SeriesInfo| 2 * info.key.len() + size_of::<SeriesInfo>();
                series.iter().map(bytes).sum()
            }
            WatchMessage::Vanished { keys, .. } => {
                keys.iter().map(|key| key.len() + size_of::<String>()).sum()
            }
            _ => 0,
        }
    }

    /// How many there are; the list has their names.
    fn merge(_held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &CatalogView) -> Bytes {
        let total = view.tenant.counts().series;
        ws::message(view.form, &WatchMessage::Catalog { total })
    }
}

impl fmt::Debug for CatalogFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogFeed({})", self.tenant.name)
    }
}
