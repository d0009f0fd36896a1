//! Every series that a selector names, in the order of keys, each looked at a few times whatever
//! their number.
//!
//! A page ([`Engine::page`]) is the first series behind a key, so a walk by pages looks at all
//! series once a page. Here their places are collected in one walk, twelve bytes each, sorted in
//! runs that fit into memory, and the runs are merged: a key is read again when its turn comes.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use pulseboard_series::key::write_key;

use super::error::QueryError;
use crate::{
    cost::{Cost, Spent},
    engine::Engine,
    find::{Found, PAGE_BYTES_MAX, page_bytes},
    selector::Selector,
    slot::SlotRef,
    table::Entry,
    tenant::Tenant,
};

/// Series of one run.
const RUN_SERIES: usize = 8_192;

/// A run's next series, by its key as text.
#[derive(Debug)]
struct Head {
    text: String,
    run: usize,
    found: Found,
}

impl Head {
    fn order(&self) -> (&str, usize) {
        (&self.text, self.run)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// Hands every series in memory that the selector names to `each`, in the order of their keys as
/// texts. One that goes meanwhile is left out, one that comes meanwhile may be.
///
/// # Errors
/// The cost, and the errors of `each`.
pub(super) fn each_in_order<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    now_ms: i64,
    cost: &Cost,
    each: &mut impl FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    let spent = |spent: Spent| E::from(QueryError::from(spent));
    let mut places = engine.places(tenant, selector, cost).map_err(spent)?;
    let mut runs = sorted_runs(engine, &mut places, cost).map_err(spent)?;
    // A run that is alone is in order.
    let count = runs.len();
    let has_texts = count > 1;
    let mut next_of = |run: usize| {
        next_of(engine, &places, &mut runs, (run, has_texts, now_ms), cost).map_err(spent)
    };
    let mut heads = BinaryHeap::new();
    for run in 0..count {
        heads.extend(next_of(run)?.map(Reverse));
    }
    while let Some(Reverse(Head { text, run, found })) = heads.pop() {
        let bytes = page_bytes(&text, &found);
        each(found)?;
        cost.let_go(bytes);
        heads.extend(next_of(run)?.map(Reverse));
    }
    cost.let_go(size_of_val(&*places));
    Ok(())
}

/// As [`each_in_order`], in the order in which they lie in memory: nothing is sorted by its text.
///
/// # Errors
/// As [`each_in_order`].
pub(super) fn each_by_place<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    now_ms: i64,
    cost: &Cost,
    each: &mut impl FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    let spent = |spent: Spent| E::from(QueryError::from(spent));
    let mut places = engine.places(tenant, selector, cost).map_err(spent)?;
    places.sort_unstable();
    for place in &places {
        cost.step(1).map_err(spent)?;
        let found = |entry: &mut Entry| Found::of(entry, *place, now_ms);
        if let Some(found) = engine.table.with(*place, found) {
            each(found)?;
        }
    }
    cost.let_go(size_of_val(&*places));
    Ok(())
}

/// Sorts the places in runs, each by the keys' texts. Those of series that have gone are in none.
fn sorted_runs(
    engine: &Engine,
    places: &mut [SlotRef],
    cost: &Cost,
) -> Result<Vec<Range<usize>>, Spent> {
    let mut runs = Vec::new();
    // Where the text of each place is.
    let mut texts: Vec<(Range<usize>, SlotRef)> = Vec::new();
    let mut all = String::new();
    let (mut text_bytes, mut start) = (0, 0);
    for at in 0..=places.len() {
        let is_full = texts.len() >= RUN_SERIES || text_bytes > PAGE_BYTES_MAX;
        let place = places.get(at).copied();
        if place.is_none() || is_full {
            texts.sort_unstable_by(|(a, _), (b, _)| all[a.clone()].cmp(&all[b.clone()]));
            let end = start + texts.len();
            for (into, (_, place)) in places[start..end].iter_mut().zip(texts.drain(..)) {
                *into = place;
            }
            cost.let_go(text_bytes);
            runs.extend((start < end).then_some(start..end));
            (text_bytes, start) = (0, end);
            all.clear();
        }
        let Some(place) = place else { break };
        cost.step(1)?;
        let from = all.len();
        let written = engine
            .table
            .with(place, |entry| write_key(entry.key(), &mut all));
        if written.is_some() {
            let bytes = all.len() - from + size_of::<(Range<usize>, SlotRef)>();
            cost.hold(bytes)?;
            text_bytes += bytes;
            texts.push((from..all.len(), place));
        }
    }
    Ok(runs)
}

/// The next series of a run that is still there, with its text where that is asked for.
fn next_of(
    engine: &Engine,
    places: &[SlotRef],
    runs: &mut [Range<usize>],
    (run, has_text, now_ms): (usize, bool, i64),
    cost: &Cost,
) -> Result<Option<Head>, Spent> {
    let Some(left) = runs.get_mut(run) else {
        return Ok(None);
    };
    for place in left.by_ref().filter_map(|at| places.get(at).copied()) {
        cost.step(1)?;
        let mut text = String::new();
        let found = engine.table.with(place, |entry| {
            if has_text {
                write_key(entry.key(), &mut text);
            }
            Found::of(entry, place, now_ms)
        });
        if let Some(found) = found {
            cost.hold(page_bytes(&text, &found))?;
            return Ok(Some(Head { text, run, found }));
        }
    }
    Ok(None)
}
