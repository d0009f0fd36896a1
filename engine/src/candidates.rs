//! The series among which all are that a question names, by [`crate::labels`], which it makes where
//! that is worth it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    cost::{Cost, Spent},
    engine::Engine,
    labels::{
        BYTES_MAX, Counted, Index, LABELS_MAX, OfLabel, Posting, TENANT_BYTES_MAX, WALKED_MAX,
        hash_of,
    },
    selector::Selector,
    slot::SlotRef,
    tenant::Tenant,
};

impl Engine {
    /// The series among which all are that a selector names, each once and in no order, where that
    /// is known and fewer than `walked`, which there are to look at else; some of them may have
    /// gone.
    ///
    /// # Errors
    /// The cost of making it.
    pub(crate) fn candidates(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        walked: u64,
        cost: &Cost,
    ) -> Result<Option<Vec<SlotRef>>, Spent> {
        if walked <= WALKED_MAX || selector.listed_labels().next().is_none() {
            return Ok(None);
        }
        let series = tenant.series.load(Ordering::Relaxed);
        let found = {
            let mut index = tenant.labels.index.lock();
            // What was there is mostly gone.
            let is_stale = |of: &OfLabel| of.sorted.len() as u64 > 2 * series + WALKED_MAX;
            index.of.retain(|of| !is_stale(of));
            let found = self.smallest(tenant, &mut index, selector, walked);
            let is_few = |found: &Vec<SlotRef>| found.len() as u64 <= walked / 8;
            if found.as_ref().is_some_and(is_few) || index.has_all(selector) {
                return Ok(found);
            }
            index.walked = index.walked.saturating_add(walked);
            // Where most are looked at for this question anyway, making it costs little more.
            if index.is_made || index.walked < series / 2 {
                return Ok(found);
            }
            index.is_made = true;
            index.walked = 0;
            found
        };
        let made = self.make_labels(tenant, selector, cost);
        let mut index = tenant.labels.index.lock();
        index.is_made = false;
        let made = made?;
        for of in made {
            index.of.retain(|known| known.label != of.label);
            index.of.push(of);
        }
        while index.of.len() > LABELS_MAX {
            index.drop_oldest();
        }
        let better = self.smallest(tenant, &mut index, selector, walked);
        Ok(better.or(found))
    }

    /// Looks at all of a tenant's series for the labels of a selector that are not there yet; for
    /// none where there is no room.
    fn make_labels(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        cost: &Cost,
    ) -> Result<Vec<OfLabel>, Spent> {
        let series = usize::try_from(tenant.series.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let bytes = series.saturating_mul(size_of::<Posting>());
        let mut made: Vec<OfLabel> = Vec::new();
        {
            let mut index = tenant.labels.index.lock();
            for (label, _) in selector.listed_labels() {
                let is_there = |of: &OfLabel| &*of.label == label;
                if index.of.iter().any(is_there) || made.iter().any(is_there) {
                    continue;
                }
                let of_tenant = |index: &Index, made: &[OfLabel]| -> usize {
                    let all = index.of.iter().chain(made);
                    all.map(|of| of.counted.bytes).sum()
                };
                while !index.of.is_empty() && of_tenant(&index, &made) + bytes > TENANT_BYTES_MAX {
                    index.drop_oldest();
                }
                if of_tenant(&index, &made) + bytes > TENANT_BYTES_MAX {
                    break;
                }
                let all = Arc::clone(&self.label_bytes);
                if all.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX {
                    all.fetch_sub(bytes, Ordering::Relaxed);
                    break;
                }
                made.push(OfLabel {
                    label: label.into(),
                    sorted: Vec::new(),
                    recent: Vec::new(),
                    asked: Instant::now(),
                    counted: Counted { all, bytes },
                });
            }
        }
        if made.is_empty() {
            return Ok(made);
        }
        {
            // From now on all that are made are told; those before are among the names.
            let _names = tenant.names.lock();
            let mut newcomers = tenant.labels.newcomers.lock();
            newcomers.is_wanted = true;
        }
        let mut groups = Self::groups(tenant, &Selector::all(), None);
        while let Some((last_name, _)) = groups.last() {
            let last_name = last_name.clone();
            for (_, places) in std::mem::take(&mut groups) {
                for place in places {
                    cost.step(1)?;
                    self.post(place, &mut made, |of, posting| of.sorted.push(posting));
                }
            }
            groups = Self::groups(tenant, &Selector::all(), Some(&last_name));
        }
        for of in &mut made {
            of.sorted.sort_unstable();
            of.sorted.shrink_to_fit();
        }
        Ok(made)
    }

    fn post(&self, place: SlotRef, into: &mut [OfLabel], push: impl Fn(&mut OfLabel, Posting)) {
        self.table.with(place, |entry| {
            for of in &mut *into {
                if let Some(value) = entry.key().label(&of.label) {
                    let hash = hash_of(value);
                    push(of, Posting { hash, place });
                }
            }
        });
    }

    /// The series of that label of a selector that has fewest, if they are fewer than `walked`;
    /// while some of it is made, with all that came since.
    fn smallest(
        &self,
        tenant: &Tenant,
        index: &mut Index,
        selector: &Selector,
        walked: u64,
    ) -> Option<Vec<SlotRef>> {
        let newcomers = {
            let mut newcomers = tenant.labels.newcomers.lock();
            if newcomers.is_behind {
                index.of.clear();
                // Who makes some of it is to learn of this, too.
                newcomers.is_behind = index.is_made;
                return None;
            }
            match index.is_made {
                // Whoever makes some of it may not have seen them.
                true => newcomers.places.clone(),
                false => {
                    let places = std::mem::take(&mut newcomers.places);
                    drop(newcomers);
                    for place in places {
                        self.post(place, &mut index.of, OfLabel::push);
                    }
                    Vec::new()
                }
            }
        };
        let now = Instant::now();
        let mut best: Option<(usize, Vec<u32>, usize)> = None;
        for (label, values) in selector.listed_labels() {
            let at = index.of.iter().position(|of| &*of.label == label);
            let Some((at, of)) = at.and_then(|at| Some((at, index.of.get_mut(at)?))) else {
                continue;
            };
            of.asked = now;
            let hashes: Vec<u32> = values.into_iter().map(hash_of).collect();
            let count = hashes.iter().map(|hash| of.having(*hash).count()).sum();
            if best.as_ref().is_none_or(|best| count < best.2) {
                best = Some((at, hashes, count));
            }
        }
        let (at, hashes, count) = best?;
        if (count + newcomers.len()) as u64 >= walked {
            return None;
        }
        let of = index.of.get(at)?;
        let having = hashes.iter().flat_map(|hash| of.having(*hash));
        let having = having.map(|posting| posting.place);
        let mut places: Vec<SlotRef> = having.chain(newcomers).collect();
        places.sort_unstable();
        places.dedup();
        Some(places)
    }
}

#[cfg(test)]
mod tests;
