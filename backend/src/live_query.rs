//! Live queries: a feed for each selector that somebody watches, and one for each tenant's series
//! that come and go (see `pulseboard_shared::protocol::watch`).
//!
//! ```text
//! engine ──gathers──▶ SeriesTap ──wakes──▶ flusher ──▶ feed ──▶ cursors of all who watch the same
//! ```
//!
//! What is appended in one stretch of 50 ms is one frame, the first of them at once: a lone
//! sample is on every page within milliseconds, and a thousand bodies a second are twenty frames.
//!
//! Who watches what, and the bytes of compiled patterns that this takes, is shared out
//! ([`crate::shares`]). A feed is entered under the map's lock, and its series are found outside of
//! it. One that was never written to goes with its last viewer; one that was stays for a minute, at
//! the expense of whoever left last.

pub mod catalog;
pub mod flush;
pub mod selector_feed;

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_engine::{
    Catalog, Cost, Engine, Selector, SeriesTap, Spent, Tenant,
    tap::{TAPPED_SERIES_MAX, TapRefused, Wake},
    tenant::TENANTS_MAX,
};
use pulseboard_feed::{Bounds, Epoch, Fanout, Feed};
use tokio::sync::mpsc;

use self::{
    catalog::CatalogFeed,
    flush::{Due, Flushable, LastFlush},
    selector_feed::{Guests, LiveQuery, LiveQueryKey},
};
use crate::{
    base::{
        clock::Clock,
        telemetry::{Limit, Telemetry},
    },
    elsewhere::{Elsewhere, RELAYS_MAX},
    shares::{CallerKeys, Refused, Share, ShareLimits, Shares},
    ticks::builtin_series::BuiltInSeries,
    watchable::{AllWatched, Place, Viewers},
};

/// Selectors watched at once, each by each of its viewers and once more while it is kept for who
/// comes back; a further one is refused.
pub const WATCHED_MAX: usize = 4_096;

/// Of these, by one connection.
pub const WATCHED_PER_CLIENT_MAX: usize = 32;

/// Bytes of the compiled patterns of all of them, counted for each viewer.
const PATTERN_BYTES_MAX: usize = 16 << 20;

/// Of these, of one connection: what four selectors may have.
const PATTERN_BYTES_PER_CLIENT_MAX: usize = 256 * 1024;

/// Catalogs that somebody follows, or did until lately: one for each tenant. A further one is
/// refused.
const CATALOGS_MAX: usize = 4_096;

/// Of these, made by one connection, which speaks for one tenant.
const CATALOGS_PER_CLIENT_MAX: usize = 2;

/// What can be due at once: all selectors, each for what comes here and what comes elsewhere, all
/// tenants' catalogs, what goes to other servers, and as many again that have ended meanwhile.
const DUES_MAX: usize = 2 * (2 * WATCHED_MAX + TENANTS_MAX + RELAYS_MAX);

/// What a viewer that reads slowly, or comes back, can still get.
const WATCH_LOG: Bounds = Bounds {
    frames: 4_096,
    bytes: 2 * 1024 * 1024,
    lag: 1_024,
};

/// All feeds of selectors and catalogs.
pub struct LiveQueries {
    engine: Arc<Engine>,
    own: Arc<BuiltInSeries>,
    clock: Clock,
    fanout: Fanout,
    watched: Arc<AllWatched<LiveQuery>>,
    /// Who watches how many selectors, and with how many bytes of compiled patterns.
    selectors: Arc<Shares>,
    pattern_bytes: Arc<Shares>,
    catalogs: Arc<AllWatched<CatalogFeed>>,
    /// Who has had how many of them made.
    catalog_shares: Arc<Shares>,
    next_id: AtomicU64,
    /// To the flusher: at most one entry for each feed is on its way.
    due: mpsc::Sender<Due>,
    /// Where other servers have samples that this one has not.
    elsewhere: Option<Arc<Elsewhere>>,
}

/// Why a selector cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It names too many series.
    #[error("The selector names {0} series; at most {TAPPED_SERIES_MAX} can be watched together")]
    Series(u64),
    /// Its watcher, or somebody whom it is part of, watches too many.
    #[error(transparent)]
    Share(#[from] Refused),
    /// Finding its series took too long or too much memory, or nobody waits for it.
    #[error("The selector's series could not be found: {0}")]
    Spent(#[from] Spent),
}

impl LiveQueries {
    /// Nothing watched yet; the receiver is for [`flush`].
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        own: Arc<BuiltInSeries>,
        clock: Clock,
        fanout: &Fanout,
        telemetry: &Arc<Telemetry>,
    ) -> (Self, mpsc::Receiver<Due>) {
        let (due, dues) = mpsc::channel(DUES_MAX);
        let shares =
            |what, limits| Shares::new(what, |_| Limit::Watches, limits, Arc::clone(telemetry));
        let selectors = ShareLimits::of(WATCHED_MAX).each_client(WATCHED_PER_CLIENT_MAX);
        let bytes = ShareLimits::of(PATTERN_BYTES_MAX).each_client(PATTERN_BYTES_PER_CLIENT_MAX);
        let live_queries = Self {
            engine,
            own,
            watched: AllWatched::new(clock.clone()),
            catalogs: AllWatched::new(clock.clone()),
            clock,
            fanout: fanout.clone(),
            selectors: shares("watched selectors", selectors),
            pattern_bytes: shares("bytes of watched patterns", bytes),
            catalog_shares: Shares::new(
                "lists of series",
                |_| Limit::Catalogs,
                ShareLimits::of(CATALOGS_MAX).each_client(CATALOGS_PER_CLIENT_MAX),
                Arc::clone(telemetry),
            ),
            // Rooms count from one; these share a viewer with them.
            next_id: AtomicU64::new(1 << 32),
            due,
            elsewhere: None,
        };
        (live_queries, dues)
    }

    /// Where what is due goes, for others whose frames are made in the same way.
    #[must_use]
    pub fn dues(&self) -> mpsc::Sender<Due> {
        self.due.clone()
    }

    /// What is watched has samples of other servers, too.
    #[must_use]
    pub fn with(mut self, elsewhere: Option<Arc<Elsewhere>>) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    /// A share of what may be watched, for one selector.
    ///
    /// # Errors
    /// There is none left for its watcher.
    pub fn share(&self, keys: &CallerKeys) -> Result<Share, Refused> {
        self.selectors.acquire(keys, 1)
    }

    /// A place at the feed of a selector, which is made where nobody watches it yet. Blocks while
    /// its series are found.
    ///
    /// # Errors
    /// It names too many series, its patterns are past somebody's share, or finding them takes too
    /// much.
    pub fn enter(
        &self,
        tenant: &Arc<Tenant>,
        selector: &Selector,
        keys: &CallerKeys,
        share: Share,
        cost: &Cost,
    ) -> Result<Place<LiveQuery>, WatchError> {
        let patterns = self
            .pattern_bytes
            .acquire(keys, selector.compiled_bytes())?;
        let key = (tenant.name.clone(), selector.to_string());
        let make = |key| Ok::<_, Infallible>(self.make(tenant, selector, key));
        let Ok(place) = self.watched.enter(key, vec![share, patterns], make);
        // From here on whatever goes wrong is undone by leaving.
        place.watched.seat(cost).map_err(|refused| match refused {
            TapRefused::Series(series) => WatchError::Series(series),
            TapRefused::Spent(spent) => WatchError::Spent(spent),
        })?;
        Ok(place)
    }

    fn make(&self, tenant: &Arc<Tenant>, selector: &Selector, key: LiveQueryKey) -> Arc<LiveQuery> {
        let epoch = Epoch::at(self.clock.now_ms());
        Arc::new_cyclic(|weak| LiveQuery {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            key,
            engine: Arc::clone(&self.engine),
            tenant: Arc::clone(tenant),
            tap: Arc::new(SeriesTap::new(selector.clone(), self.waker(weak))),
            guests: self.guests(tenant, selector, weak),
            is_seated: AtomicBool::new(false),
            feed: Feed::of_tenant(&tenant.name, epoch, WATCH_LOG, &self.fanout),
            viewers: Viewers::new(self.clock.steady_ms()),
            flushed: LastFlush::default(),
            kept_by: Mutex::default(),
            flushing: Mutex::default(),
        })
    }

    /// What comes of it elsewhere; `None` where all comes here, or there is no room for that.
    fn guests(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        feed: &Weak<LiveQuery>,
    ) -> Option<Guests> {
        let elsewhere = self.elsewhere.as_ref()?;
        let engine = Arc::clone(elsewhere.guests());
        Some(Guests {
            tenant: engine.tenant(&tenant.name).ok()?,
            engine,
            tap: Arc::new(SeriesTap::new(selector.clone(), self.waker(feed))),
            _want: elsewhere.want(&tenant.name, selector)?,
        })
    }

    /// Tells the flusher that a feed has something.
    fn waker<F: Flushable + 'static>(&self, feed: &Weak<F>) -> Wake {
        let due = Due(Weak::clone(feed) as Weak<dyn Flushable>);
        let dues = self.due.clone();
        // There is room for all feeds; without a flusher the server is stopping.
        Box::new(move || drop(dues.try_send(due.clone())))
    }

    /// A place at the feed of a tenant's series that come and go; the feed counts for whoever asked
    /// first.
    ///
    /// # Errors
    /// It would be made, and there is none left for whoever asks.
    pub fn enter_catalog(
        &self,
        tenant: &Arc<Tenant>,
        keys: &CallerKeys,
    ) -> Result<Place<CatalogFeed>, Refused> {
        let make = |_| {
            // It is its tenant's alone, so that no tenant can have too many.
            let maker = CallerKeys {
                tenant: None,
                ..keys.clone()
            };
            let share = self.catalog_shares.acquire(&maker, 1)?;
            Ok(self.make_catalog(tenant, share))
        };
        self.catalogs.enter(tenant.name.clone(), Vec::new(), make)
    }

    fn make_catalog(&self, tenant: &Arc<Tenant>, share: Share) -> Arc<CatalogFeed> {
        let epoch = Epoch::at(self.clock.now_ms());
        let made = Arc::new_cyclic(|weak| CatalogFeed {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            engine: Arc::clone(&self.engine),
            tenant: Arc::clone(tenant),
            own: Arc::clone(&self.own),
            catalog: Arc::new(Catalog::new(self.waker(weak))),
            feed: Feed::of_tenant(&tenant.name, epoch, WATCH_LOG, &self.fanout),
            viewers: Viewers::new(self.clock.steady_ms()),
            flushed: LastFlush::default(),
            _share: share,
        });
        self.engine.tell_catalog(tenant, Arc::clone(&made.catalog));
        made
    }

    /// Ends what nobody has watched for a while; called about once a second.
    pub fn sweep(&self, steady_ms: i64) {
        self.watched.sweep(steady_ms);
        self.catalogs.sweep(steady_ms);
    }

    /// Bytes that the logs of all feeds that callers have made hold.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.fanout.ledgers().bytes()
    }

    /// Bytes of the patterns of what is watched now, counted for each viewer.
    #[must_use]
    pub fn pattern_bytes(&self) -> usize {
        self.pattern_bytes.taken()
    }

    /// Selectors watched now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }
}

impl fmt::Debug for LiveQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveQueries")
            .field("selectors", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use pulseboard_engine::EngineOptions;

    use super::*;
    use crate::{base::documents::Documents, watchable::UNWATCHED_KEPT_MS};

    #[tokio::test]
    async fn catalogs_count_for_who_had_them_made_and_others_can_have_theirs() {
        let telemetry = Arc::new(Telemetry::default());
        let fanout = Fanout::start(1, &telemetry.feed).expect("a thread");
        let engine = Arc::new(Engine::new(EngineOptions::default(), None));
        let (live_queries, _dues) = LiveQueries::new(
            Arc::clone(&engine),
            Arc::new(BuiltInSeries::new(&Documents::in_memory(), "none", 0)),
            Clock::manual(1_000),
            &fanout,
            &telemetry,
        );
        let keys = |client: u64, address: u8| CallerKeys {
            client: Some(client),
            address: Some(IpAddr::from([192, 0, 2, address])),
            token: None,
            tenant: Some("t".into()),
        };
        let ask = |client: u64, address: u8, tenant: usize| {
            let tenant = engine.tenant(&format!("t{tenant}")).expect("a tenant");
            live_queries
                .enter_catalog(&tenant, &keys(client, address))
                .map(drop)
        };
        let made = (0..CATALOGS_MAX)
            .take_while(|&number| ask(number as u64, 1, number).is_ok())
            .count();
        assert_eq!(made, CATALOGS_MAX / 2, "of one address without a token");
        assert!(telemetry.text().contains("{limit=\"catalogs\"} 1\n"));
        assert_eq!(ask(9_999, 1, 0), Ok(()), "one that is there costs nothing");
        assert_eq!(ask(9_999, 2, CATALOGS_MAX), Ok(()), "others have theirs");
        for number in 1..CATALOGS_PER_CLIENT_MAX {
            assert_eq!(ask(9_999, 2, CATALOGS_MAX + number), Ok(()));
        }
        assert!(ask(9_999, 2, 2 * CATALOGS_MAX).is_err(), "past its own");
        // Those that nobody follows go, and their shares with them; not the one of who has just
        // come, and is not told of anything yet.
        let tenant = engine.tenant("t0").expect("a tenant");
        let place = live_queries.enter_catalog(&tenant, &keys(9_999, 2));
        live_queries.sweep(1_000 + UNWATCHED_KEPT_MS);
        assert_eq!(live_queries.catalog_shares.taken(), 1);
        drop(place);
        live_queries.sweep(1_000 + UNWATCHED_KEPT_MS);
        assert_eq!(live_queries.catalog_shares.taken(), 0);
        assert_eq!(ask(1, 1, CATALOGS_MAX - 1), Ok(()));
    }
}
