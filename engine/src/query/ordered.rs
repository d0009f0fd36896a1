//! Every series that a selector names, in the order of keys, each looked at a few times whatever
//! their number.
//!
//! A page ([`Engine::page`]) is the first series behind a key, so a walk by pages looks at all
//! series once a page. Here their places are collected in one walk, twelve bytes each, and sorted
//! by the keys' texts. Where those do not fit into memory at once the places are sorted in runs,
//! and the runs are merged: a key is read again when its turn comes.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use pulseboard_series::key::{is_plain_name, write_key, write_labels};

use super::error::QueryError;
use crate::{
    cost::{Cost, Spent},
    engine::Engine,
    find::PAGE_BYTES_MAX,
    selector::Selector,
    slot::SlotRef,
    table::Entry,
    tenant::Tenant,
};

/// A run's next series, by its key as text.
#[derive(Debug)]
struct Head {
    text: String,
    run: usize,
    place: SlotRef,
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

/// Hands the place of every series in memory that the selector names to `each`, in the order of
/// their keys as texts. One that goes meanwhile may be among them, one that comes meanwhile, too.
///
/// # Errors
/// The cost, and the errors of `each`.
pub(super) fn each_in_order<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    cost: &Cost,
    each: &mut impl FnMut(SlotRef) -> Result<(), E>,
) -> Result<(), E> {
    each_in_runs(engine, tenant, selector, PAGE_BYTES_MAX, cost, each)
}

/// As [`each_in_order`], with so many bytes of texts in one run.
fn each_in_runs<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    run_bytes: usize,
    cost: &Cost,
    each: &mut impl FnMut(SlotRef) -> Result<(), E>,
) -> Result<(), E> {
    let spent = |spent: Spent| E::from(QueryError::from(spent));
    let mut places = engine.places(tenant, selector, cost).map_err(spent)?;
    let writing = Writing::of(selector);
    let how = (writing, run_bytes);
    let mut runs = sorted_runs(engine, &mut places, how, cost).map_err(spent)?;
    if let [only] = &*runs {
        // It is in order.
        for place in places.get(only.clone()).unwrap_or_default() {
            cost.step(1).map_err(spent)?;
            each(*place)?;
        }
    } else {
        let count = runs.len();
        let mut next_of =
            |run: usize| next_of(engine, &places, &mut runs, (run, writing), cost).map_err(spent);
        let mut heads = BinaryHeap::new();
        for run in 0..count {
            heads.extend(next_of(run)?.map(Reverse));
        }
        while let Some(Reverse(Head { text, run, place })) = heads.pop() {
            each(place)?;
            cost.let_go(head_bytes(&text));
            heads.extend(next_of(run)?.map(Reverse));
        }
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
    cost: &Cost,
    each: &mut impl FnMut(SlotRef) -> Result<(), E>,
) -> Result<(), E> {
    let spent = |spent: Spent| E::from(QueryError::from(spent));
    let mut places = engine.places(tenant, selector, cost).map_err(spent)?;
    places.sort_unstable();
    for place in &places {
        cost.step(1).map_err(spent)?;
        each(*place)?;
    }
    cost.let_go(size_of_val(&*places));
    Ok(())
}

/// What of keys is written to compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Whole,
    /// All have the same name, and their texts begin with it.
    Labels,
}

impl Writing {
    fn of(selector: &Selector) -> Self {
        match selector.name().is_some_and(is_plain_name) {
            true => Self::Labels,
            false => Self::Whole,
        }
    }

    fn write(self, entry: &Entry, into: &mut String) {
        match self {
            Self::Whole => write_key(entry.key(), into),
            Self::Labels => write_labels(entry.key().labels(), into),
        }
    }
}

fn head_bytes(text: &str) -> usize {
    text.len() + size_of::<Head>()
}

/// The text of a key among all texts, and whose it is.
struct Text {
    from: u32,
    to: u32,
    place: SlotRef,
}

impl Text {
    fn of<'a>(&self, all: &'a str) -> &'a [u8] {
        let bytes = all.as_bytes();
        bytes
            .get(self.from as usize..self.to as usize)
            .unwrap_or_default()
    }
}

/// Sorts the places in runs, each by the keys' texts. Those of series that have gone are in none.
fn sorted_runs(
    engine: &Engine,
    places: &mut [SlotRef],
    (writing, run_bytes): (Writing, usize),
    cost: &Cost,
) -> Result<Vec<Range<usize>>, Spent> {
    let mut runs = Vec::new();
    let mut texts: Vec<Text> = Vec::new();
    let mut all = String::new();
    let (mut text_bytes, mut start) = (0, 0);
    for at in 0..=places.len() {
        let place = places.get(at).copied();
        if place.is_none() || text_bytes > run_bytes {
            texts.sort_unstable_by(|one, other| one.of(&all).cmp(other.of(&all)));
            let end = start + texts.len();
            for (into, text) in places[start..end].iter_mut().zip(texts.drain(..)) {
                *into = text.place;
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
            .with(place, |entry| writing.write(entry, &mut all));
        if written.is_some() {
            let bytes = all.len() - from + size_of::<Text>();
            cost.hold(bytes)?;
            text_bytes += bytes;
            // Far below what 32 bits can say: a run ends at `run_bytes`.
            let end = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            texts.push(Text {
                from: end(from),
                to: end(all.len()),
                place,
            });
        }
    }
    Ok(runs)
}

/// The next series of a run that is still there.
fn next_of(
    engine: &Engine,
    places: &[SlotRef],
    runs: &mut [Range<usize>],
    (run, writing): (usize, Writing),
    cost: &Cost,
) -> Result<Option<Head>, Spent> {
    let Some(left) = runs.get_mut(run) else {
        return Ok(None);
    };
    for place in left.by_ref().filter_map(|at| places.get(at).copied()) {
        cost.step(1)?;
        let mut text = String::new();
        let written = engine
            .table
            .with(place, |entry| writing.write(entry, &mut text));
        if written.is_some() {
            cost.hold(head_bytes(&text))?;
            return Ok(Some(Head { text, run, place }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use pulseboard_series::Batch;

    use super::*;
    use crate::EngineOptions;

    fn in_runs(engine: &Engine, selector: &str, run_bytes: usize) -> Vec<String> {
        let tenant = engine.tenant("default").expect("a tenant");
        let selector = Selector::parse(selector).expect("a selector");
        let cost = Cost::unbounded();
        let mut all = Vec::new();
        let mut each = |place: SlotRef| {
            let key = engine.table.with(place, |entry| entry.key().to_string());
            all.extend(key);
            Ok::<(), QueryError>(())
        };
        each_in_runs(engine, &tenant, &selector, run_bytes, &cost, &mut each).expect("no bound");
        assert_eq!(cost.held_bytes(), 0, "all is let go");
        all
    }

    /// However many runs there are, and whichever texts stand before others: those of names that
    /// begin alike, values that are longer, quoted, or not there.
    #[test]
    fn series_come_in_the_order_of_their_texts() {
        let engine = Engine::new(EngineOptions::default(), None);
        let tenant = engine.tenant("default").expect("a tenant");
        let mut batch = Batch::new();
        for name in ["a", "a.b", "a b", "aa", "ab", "\u{e9}"] {
            for value in ["", "x", "x!", "x\"", "x\\", "xx", "\u{e9}", "1", "10", "2"] {
                for other in ["", "y", "z"] {
                    let write = batch
                        .begin(&[name])
                        .and_then(|()| batch.label("l", value))
                        .and_then(|()| batch.label("m", other))
                        .and_then(|()| batch.finish(1, None, 1.0));
                    write.expect("a row");
                }
            }
        }
        engine.append(&tenant, &batch, 1_000);
        for selector in ["{}", "a", "{\"a b\"}", "{\"\u{e9}\"}", "{l=~\"x.*\"}"] {
            let whole = in_runs(&engine, selector, PAGE_BYTES_MAX);
            let mut sorted = whole.clone();
            sorted.sort();
            assert!(!whole.is_empty());
            assert_eq!(whole, sorted, "{selector}");
            for run_bytes in [0, 100, 1_000] {
                assert_eq!(in_runs(&engine, selector, run_bytes), sorted, "{selector}");
            }
        }
    }
}
