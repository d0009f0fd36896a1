//! What a store has of what was acknowledged, whatever happens to it.

use std::time::Duration;

use pulseboard_archive::Way;
use pulseboard_series::Batch;

use crate::store::{Kind, Store, Writer, batch, now_ms};

/// Longer than a test.
const HOLD: Duration = Duration::from_secs(120);

/// VictoriaMetrics loses what it answered with 204 in the seconds before it is killed.
#[tokio::test]
async fn a_store_that_is_killed_twice_has_every_sample_that_was_acknowledged() {
    const SERIES: usize = 100;
    const ROUNDS: usize = 80;
    let Some(mut store) = Store::start(Kind::Victoria).await else {
        return;
    };
    let writer = Writer::to(&store, Way::Label, HOLD);
    let mut every = tokio::time::interval(Duration::from_millis(100));
    for round in 0..ROUNDS {
        every.tick().await;
        writer
            .take("a", &batch(0..SERIES, now_ms(), round as f64))
            .await;
        if round == 30 || round == 60 {
            store.kill();
        }
        if round == 33 || round == 63 {
            store.again().await;
        }
    }
    writer.until("all is sent", |view| view.waiting == 0).await;
    let all = SERIES * ROUNDS;
    store
        .until("sum(count_over_time(m{tenant=\"a\"}[10m]))", all as f64)
        .await;
    let view = writer.sending.view();
    assert!(view.resent > 0, "{view:?}");
    assert_eq!((view.given_up, view.refused, view.held), (0, 0, all as u64));
}

/// What Prometheus refuses is one sample, where its answer is about all of them.
#[tokio::test]
async fn one_bad_series_in_two_thousand_is_left_out_alone_and_counted_by_its_reason() {
    const SERIES: usize = 2_000;
    let Some(store) = Store::start(Kind::Prometheus).await else {
        return;
    };
    let writer = Writer::to(&store, Way::Label, HOLD);
    let at_ms = now_ms() - 60_000;
    writer.take("a", &batch([777], at_ms + 10_000, 1.0)).await;
    writer.until("the newer one", |view| view.sent == 1).await;
    writer.take("a", &batch(0..SERIES, at_ms, 2.0)).await;
    writer.until("the rest", |view| view.waiting == 0).await;
    let view = writer.sending.view();
    assert_eq!((view.sent, view.refused), (SERIES as u64, 1), "{view:?}");
    let refused: Vec<_> = view
        .refused_for
        .iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(refused, [&("out_of_order", 1)]);
    assert!(
        view.refusal
            .as_deref()
            .is_some_and(|words| words.contains("out of order"))
    );
    store.until("count(m == 2)", (SERIES - 1) as f64).await;
    // One that is too old for it, likewise.
    let mut bad = batch(0..SERIES, at_ms + 20_000, 3.0);
    let row = bad
        .begin(&["old"])
        .and_then(|()| bad.finish(1, Some(at_ms - 6 * 3_600_000), 1.0));
    row.expect("a row");
    writer.take("a", &bad).await;
    writer.until("the rest", |view| view.waiting == 0).await;
    store.until("count(m == 3)", SERIES as f64).await;
    let view = writer.sending.view();
    assert_eq!(view.refused, 2);
    assert!(view.refused_for.contains(&("too_old", 1)), "{view:?}");
}

/// A store that takes samples in order alone has what it has: sending it again costs little, and
/// nothing of it is counted as refused.
#[tokio::test]
async fn what_a_store_still_has_is_no_refusal_when_it_is_sent_again() {
    const SERIES: usize = 500;
    let Some(mut store) = Store::start(Kind::Prometheus).await else {
        return;
    };
    let writer = Writer::to(&store, Way::Label, HOLD);
    let at_ms = now_ms() - 60_000;
    for round in 0..10 {
        writer
            .take("a", &batch(0..SERIES, at_ms + round * 1_000, 1.0))
            .await;
    }
    writer.until("all", |view| view.sent == 5_000).await;
    store.kill();
    store.again().await;
    writer
        .take("a", &batch(0..SERIES, at_ms + 10_000, 1.0))
        .await;
    writer
        .until("all again", |view| view.resent > 0 && view.waiting == 0)
        .await;
    let view = writer.sending.view();
    assert_eq!((view.refused, view.given_up), (0, 0), "{view:?}");
    assert!(view.requests[1] < 400, "{view:?}");
    store.until("sum(count_over_time(m[10m]))", 5_500.0).await;
}

/// What was held is released when the store has run on for long enough, and its files go.
#[tokio::test]
async fn what_a_store_has_had_for_long_enough_is_held_no_more() {
    let Some(store) = Store::start(Kind::Prometheus).await else {
        return;
    };
    let writer = Writer::to(&store, Way::Label, Duration::from_secs(1));
    writer.take("a", &batch(0..100, now_ms(), 1.0)).await;
    writer.until("sent", |view| view.sent == 100).await;
    assert_eq!(writer.sending.view().held, 100);
    writer.until("released", |view| view.held == 0).await;
}

/// Everybody's samples go to one store, each with its tenant, whatever labels they have themselves.
#[tokio::test]
async fn tenants_are_told_apart_by_a_label_that_nobody_can_give_themselves() {
    let Some(store) = Store::start(Kind::Prometheus).await else {
        return;
    };
    let writer = Writer::to(&store, Way::Label, HOLD);
    let mut liar = Batch::new();
    let row = liar
        .begin(&["m"])
        .and_then(|()| liar.label("tenant", "a"))
        .and_then(|()| liar.finish(1, Some(now_ms()), 5.0));
    row.expect("a row");
    writer.take("a", &batch([1], now_ms(), 1.0)).await;
    writer.take("b", &liar).await;
    writer.until("both", |view| view.sent == 2).await;
    store.until("count(m{tenant=\"a\"})", 1.0).await;
    let expression = "count(m{tenant=\"b\",exported_tenant=\"a\"} == 5)";
    store.until(expression, 1.0).await;
}
