//! Questions that name a few series of many, beside each being looked at.

use std::{collections::BTreeSet, time::Duration};

use pulseboard_series::Batch;

use super::*;
use crate::EngineOptions;

const NOW_MS: i64 = 1_000_000;

fn append(engine: &Engine, tenant: &Arc<Tenant>, numbers: impl Iterator<Item = u32>) {
    let mut batch = Batch::new();
    for number in numbers {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        let write = batch
            .begin(&[name])
            .and_then(|()| batch.label("group", &(number % 50).to_string()))
            .and_then(|()| batch.label("number", &number.to_string()))
            .and_then(|()| batch.finish(1, None, 1.0));
        write.expect("a row");
    }
    engine.append(tenant, &batch, NOW_MS);
}

/// What is found, and how many series were looked at for that.
fn ask(engine: &Engine, tenant: &Tenant, selector: &str) -> (BTreeSet<String>, usize) {
    let selector = Selector::parse(selector).expect("a selector");
    let cost = Cost::unbounded();
    let (found, matched) = engine
        .find(
            tenant,
            &selector,
            |_| true,
            (None, usize::MAX),
            NOW_MS,
            &cost,
        )
        .expect("no bound");
    let keys: BTreeSet<_> = found.iter().map(|one| one.key().to_string()).collect();
    assert_eq!(matched, keys.len() as u64);
    let places = engine.places(tenant, &selector, &cost).expect("no bound");
    assert_eq!(places.len(), keys.len());
    let walked = tenant.series.load(Ordering::Relaxed);
    let among = engine.candidates(tenant, &selector, walked, &cost);
    let among = among.expect("no bound");
    (keys, among.map_or(usize::MAX, |among| among.len()))
}

#[test]
fn what_a_label_names_is_found_among_few() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("t").expect("a tenant");
    let other = engine.tenant("u").expect("a tenant");
    append(&engine, &other, 0..10_000);
    append(&engine, &tenant, 0..10_000);
    let (found, among) = ask(&engine, &tenant, "{number=\"4711\"}");
    assert_eq!(found.len(), 1);
    assert!(among <= 2, "{among}");
    let (found, among) = ask(&engine, &tenant, "even{group=\"10\"}");
    assert_eq!(found.len(), 200);
    assert!(among <= 250, "{among}");
    assert_eq!(ask(&engine, &tenant, "odd{group=\"10\"}").0.len(), 0);
    assert_eq!(ask(&engine, &tenant, "{group=\"none\"}").0.len(), 0);
    // The smaller of two, and patterns and what is not there beside it.
    let (found, among) = ask(&engine, &tenant, "{group=\"10\",number=\"60\",other=\"\"}");
    assert_eq!((found.len(), among <= 2), (1, true));
    let (found, _) = ask(&engine, &tenant, "{group=\"10\",number=~\"1.*\"}");
    let expected = (0..10_000).filter(|n| n % 50 == 10 && n.to_string().starts_with('1'));
    assert_eq!(found.len(), expected.count());
    // A dashboard's chosen values, few and many.
    for count in [1, 2, 20] {
        let values: Vec<_> = (0..count).map(|at| (at * 7).to_string()).collect();
        let selector = format!("{{number=~\"{}|none\"}}", values.join("|"));
        let (found, among) = ask(&engine, &tenant, &selector);
        assert_eq!((found.len(), among), (count, count));
    }
    assert_eq!(ask(&engine, &tenant, "{number=~\"7|\"}").0.len(), 1);
    assert_eq!(ask(&engine, &tenant, "even{other=~\"7|\"}").0.len(), 5_000);
    // What comes afterwards is found at once, few or many.
    for (from, to) in [(10_000, 10_100), (10_100, 20_000), (20_000, 200_000)] {
        append(&engine, &tenant, from..to);
        let (found, _) = ask(&engine, &tenant, &format!("{{number=\"{}\"}}", to - 1));
        assert_eq!(found.len(), 1, "{to}");
        let (found, _) = ask(&engine, &tenant, "{group=\"7\"}");
        assert_eq!(found.len(), to as usize / 50);
    }
    let held = engine.label_bytes.load(Ordering::Relaxed);
    assert!((1..=BYTES_MAX).contains(&held), "{held}");
    drop(tenant.labels.index.lock().of.drain(..));
    assert_eq!(engine.label_bytes.load(Ordering::Relaxed), 0);
}

/// What is asked for again and again is looked for among few, however many others came lately.
#[test]
fn what_came_lately_and_is_something_else_is_not_looked_at() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("t").expect("a tenant");
    append(&engine, &tenant, 0..5_000);
    assert_eq!(ask(&engine, &tenant, "{number=\"4711\"}").0.len(), 1);
    for (from, to) in [(5_000, 5_900), (5_900, 6_700), (6_700, 6_701)] {
        append(&engine, &tenant, from..to);
        for number in [4_711, from, to - 1] {
            let (found, among) = ask(&engine, &tenant, &format!("{{number=\"{number}\"}}"));
            assert_eq!((found.len(), among), (1, 1), "{number} of {to}");
        }
    }
}

/// While some make series and others ask, nobody misses one that is there.
#[test]
fn none_is_missed_that_was_made_before() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("t").expect("a tenant");
    append(&engine, &tenant, 0..5_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for from in (5_000..60_000).step_by(500) {
                append(&engine, &tenant, from..from + 500);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut before = 0;
                while before < 60_000 / 50 {
                    let made = tenant.series.load(Ordering::Relaxed) as usize;
                    let found = ask_once(&engine, &tenant);
                    // Those of a batch that is being taken may be missing.
                    assert!(found >= made.saturating_sub(501) / 50, "{found} of {made}");
                    assert!(found >= before, "{found} after {before}");
                    before = found;
                }
            });
        }
    });
}

fn ask_once(engine: &Engine, tenant: &Tenant) -> usize {
    let selector = Selector::parse("{group=\"3\"}").expect("a selector");
    let places = engine.places(tenant, &selector, &Cost::unbounded());
    places.expect("no bound").len()
}

#[test]
fn what_nobody_asks_for_goes() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("t").expect("a tenant");
    append(&engine, &tenant, 0..5_000);
    ask(&engine, &tenant, "{group=\"3\"}");
    assert!(engine.label_bytes.load(Ordering::Relaxed) > 0);
    tenant.labels.tidy();
    assert!(
        engine.label_bytes.load(Ordering::Relaxed) > 0,
        "it was asked for lately"
    );
    tenant.labels.tidy_after(Duration::ZERO);
    assert_eq!(engine.label_bytes.load(Ordering::Relaxed), 0);
    append(&engine, &tenant, 5_000..6_000);
    assert!(
        tenant.labels.newcomers.lock().places.is_empty(),
        "nobody wants them"
    );
    assert_eq!(ask(&engine, &tenant, "{group=\"3\"}").0.len(), 120);
}
