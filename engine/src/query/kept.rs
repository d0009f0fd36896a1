//! Selectors of those who ask again and again, as rules do: where their series are is kept, and
//! looked for anew when others may have come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use super::{
    error::QueryError,
    ordered::{each_by_place, each_in_order},
    reading::Order,
};
use crate::{cost::Cost, engine::Engine, selector::Selector, slot::SlotRef, tenant::Tenant};

/// Of more series it is not kept where they are: looking for them is little beside reading them.
const PLACES_MAX: usize = 1_024;

/// Bytes that kept selectors may take together, with where their series are.
#[derive(Debug)]
pub struct KeptRoom {
    max: usize,
    taken: AtomicUsize,
}

/// Some of them; given back when dropped.
#[derive(Debug)]
struct Taken {
    room: Arc<KeptRoom>,
    bytes: usize,
}

impl KeptRoom {
    /// So many.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: AtomicUsize::new(0),
        })
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Self>, bytes: usize) -> Option<Taken> {
        let taken = Taken {
            room: Arc::clone(self),
            bytes,
        };
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= self.max).then_some(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A selector of one tenant's series, and where they were when they were looked for last. One that
/// has gone is not there any more, so only those matter that come.
#[derive(Debug)]
pub struct KeptSelector {
    /// What is asked for.
    pub selector: Selector,
    found: Mutex<Option<Found>>,
    /// There were too many of them.
    is_large: AtomicBool,
    /// What it takes itself.
    taken: Taken,
}

#[derive(Debug)]
struct Found {
    /// Of which tenant, by its number: one that was forgotten and comes again is another.
    tenant: u64,
    /// How many series had come to it by then.
    tenant_came: u64,
    /// The same, up to the last one of the selector's name.
    name_came: u64,
    order: Order,
    places: Arc<[SlotRef]>,
    _taken: Taken,
}

impl KeptSelector {
    /// Of which nothing is known yet, and which takes so many bytes with what its keeper has beside
    /// it; `None` where there is no room.
    #[must_use]
    pub fn new(selector: Selector, bytes: usize, room: &Arc<KeptRoom>) -> Option<Self> {
        Some(Self {
            selector,
            found: Mutex::new(None),
            is_large: AtomicBool::new(false),
            taken: room.take(bytes.saturating_add(size_of::<Self>()))?,
        })
    }

    /// Where its series are, some of which may have gone; `None` where they are too many for that
    /// to be worth it.
    pub(super) fn places(
        &self,
        engine: &Engine,
        tenant: &Tenant,
        order: Order,
        cost: &Cost,
    ) -> Result<Option<Arc<[SlotRef]>>, QueryError> {
        if self.is_large.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // Before they are looked for: one that comes meanwhile is found next time.
        let tenant_came = tenant.came();
        if let Some(places) = self.known(tenant, order, tenant_came) {
            return Ok(Some(places));
        }
        let name_came = tenant.came_to(self.selector.name());
        let mut places = Vec::new();
        let mut each = |place: SlotRef| {
            places.push(place);
            Ok::<(), QueryError>(())
        };
        match order {
            Order::Key => each_in_order(engine, tenant, &self.selector, cost, &mut each)?,
            Order::Any => each_by_place(engine, tenant, &self.selector, cost, &mut each)?,
        }
        let places: Arc<[SlotRef]> = places.into();
        let mut found = self.found.lock();
        *found = None;
        if places.len() > PLACES_MAX {
            self.is_large.store(true, Ordering::Relaxed);
        } else if let Some(taken) = self.taken.room.take(size_of_val(&*places)) {
            *found = Some(Found {
                tenant: tenant.number,
                tenant_came,
                name_came,
                order,
                places: Arc::clone(&places),
                _taken: taken,
            });
        }
        Ok(Some(places))
    }

    /// What was found, where nothing came since that could belong to it.
    fn known(&self, tenant: &Tenant, order: Order, tenant_came: u64) -> Option<Arc<[SlotRef]>> {
        let mut found = self.found.lock();
        let known = found.as_mut()?;
        // Where their order is not seen, that of their keys is as good.
        let is_in_order = known.order == order || known.order == Order::Key;
        if known.tenant != tenant.number || !is_in_order {
            return None;
        }
        if known.tenant_came != tenant_came {
            // Others came; but of this name?
            if self.selector.name().is_none()
                || tenant.came_to(self.selector.name()) != known.name_came
            {
                return None;
            }
            known.tenant_came = tenant_came;
        }
        Some(Arc::clone(&known.places))
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_series::Batch;

    use super::*;
    use crate::EngineOptions;

    fn append(engine: &Engine, tenant: &Arc<Tenant>, name: &str, numbers: std::ops::Range<usize>) {
        let mut batch = Batch::new();
        for number in numbers {
            let write = batch
                .begin(&[name])
                .and_then(|()| batch.label("number", &number.to_string()))
                .and_then(|()| batch.finish(1, None, 1.0));
            write.expect("a row");
        }
        engine.append(tenant, &batch, 1_000);
    }

    /// It is looked for anew when a series of its name came, and not when others did; and not kept
    /// where there are many, or no room.
    #[test]
    fn places_are_kept_until_one_of_the_name_comes() {
        let engine = Engine::new(EngineOptions::default(), None);
        let tenant = engine.tenant("default").expect("a tenant");
        let room = KeptRoom::new(10_000);
        let kept = |selector: &str| {
            let selector = Selector::parse(selector).expect("a selector");
            KeptSelector::new(selector, 100, &room)
        };
        let (named, all) = (kept("a").expect("room"), kept("{}").expect("room"));
        let cost = Cost::unbounded();
        let places = |kept: &KeptSelector| {
            let places = kept.places(&engine, &tenant, Order::Key, &cost);
            places.expect("no bound").expect("few")
        };
        assert!(places(&named).is_empty());
        append(&engine, &tenant, "a", 0..2);
        let two = places(&named);
        assert_eq!((two.len(), places(&all).len()), (2, 2));
        append(&engine, &tenant, "b", 0..3);
        assert!(Arc::ptr_eq(&two, &places(&named)), "none of its name came");
        assert_eq!(places(&all).len(), 5);
        append(&engine, &tenant, "a", 1..3);
        assert_eq!(places(&named).len(), 3);
        // The same name of another tenant is another series.
        let other = engine.tenant("other").expect("a tenant");
        append(&engine, &other, "a", 0..7);
        let of_other = named.places(&engine, &other, Order::Key, &cost);
        assert_eq!(of_other.expect("no bound").expect("few").len(), 7);
        assert_eq!(places(&named).len(), 3);

        // One that is asked in either order in turn is not looked for each time.
        let turns = kept("a").expect("room");
        let [_, first, any, again] =
            [Order::Any, Order::Key, Order::Any, Order::Key].map(|order| {
                let places = turns.places(&engine, &tenant, order, &cost);
                places.expect("no bound").expect("few")
            });
        assert!(Arc::ptr_eq(&first, &any) && Arc::ptr_eq(&first, &again));
        drop(turns);

        append(&engine, &tenant, "many", 0..PLACES_MAX + 1);
        let many = kept("many").expect("room");
        for _ in 0..2 {
            let places = many.places(&engine, &tenant, Order::Any, &cost);
            let found = places.expect("no bound");
            assert!(found.is_none_or(|places| places.len() == PLACES_MAX + 1));
        }
        assert!(many.is_large.load(Ordering::Relaxed));
        let before = room.taken();
        assert!(before < 10_000);
        assert!(KeptSelector::new(Selector::all(), 10_000, &room).is_none());
        assert_eq!(room.taken(), before, "what was refused takes nothing");
        // Where there is no room it is found all the same.
        append(&engine, &tenant, "c", 0..PLACES_MAX);
        let large = kept("c").expect("room");
        let (one, again) = (places(&large), places(&large));
        assert!(one == again && !Arc::ptr_eq(&one, &again), "it is not kept");
        drop((named, all, many, large));
        assert_eq!(room.taken(), 0);
    }
}
