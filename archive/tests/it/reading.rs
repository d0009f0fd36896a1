//! What is read back is what was written, by each tenant alone.

use std::{collections::BTreeMap, sync::atomic::AtomicUsize, time::Duration};

use pulseboard_archive::{Matcher, Op, Reader, Stretch, Unreadable, Way};
use pulseboard_series::{Batch, STALE_MARKER_BITS};

use crate::store::{Kind, Store, Writer, now_ms};

type All = BTreeMap<String, Vec<(i64, u64)>>;

async fn read(reader: &Reader, tenant: &str, matchers: &[Matcher], stretch: Stretch) -> All {
    let seen = AtomicUsize::new(0);
    let body = reader.samples(tenant, matchers, stretch, &seen).await;
    let mut all = All::new();
    let looked = body
        .expect("an answer")
        .each(tenant, |labels, samples| -> Result<(), Unreadable> {
            let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
            let samples = samples
                .iter()
                .map(|(at_ms, value)| (*at_ms, value.to_bits()));
            all.insert(labels.collect::<Vec<_>>().join(","), samples.collect());
            Ok(())
        })
        .expect("readable");
    assert_eq!(looked.foreign, 0);
    all
}

fn named(op: Op, value: &str) -> Matcher {
    Matcher {
        name: "__name__".to_owned(),
        op,
        value: value.to_owned(),
    }
}

/// By remote read (Prometheus) and by a query of the selector (VictoriaMetrics): the same.
#[tokio::test]
async fn what_was_written_is_read_by_its_tenant_alone_to_the_bit_and_the_millisecond() {
    for kind in [Kind::Prometheus, Kind::Victoria] {
        let Some(store) = Store::start(kind).await else {
            continue;
        };
        let writer = Writer::to(&store, Way::Label, Duration::from_secs(60));
        let begin_ms = now_ms() - 600_000;
        let mut expected = All::new();
        for (tenant, factor) in [("a", 0.5), ("b", 7.0)] {
            let mut batch = Batch::new();
            for step in 0..100_i64 {
                let at_ms = begin_ms + step * 1_003;
                // VictoriaMetrics keeps some fifteen digits.
                let value = step as f64 * factor;
                let row = batch
                    .begin(&["m"])
                    .and_then(|()| batch.label("tenant", "mine"))
                    .and_then(|()| batch.label("path", "a\"b\\c\n"))
                    .and_then(|()| batch.finish(1, Some(at_ms), value));
                row.expect("a row");
                if tenant == "a" {
                    let key = "__name__=m,path=a\"b\\c\n,tenant=mine".to_owned();
                    expected
                        .entry(key)
                        .or_default()
                        .push((at_ms, value.to_bits()));
                }
            }
            writer.take(tenant, &batch).await;
        }
        writer.until("all", |view| view.sent == 200).await;
        store.until("sum(count_over_time(m[1h]))", 200.0).await;
        let reader = Reader::new(&store.url(), Way::Label).expect("a reader");
        let whole = Stretch {
            from_ms: begin_ms,
            until_ms: begin_ms + 99 * 1_003,
        };
        let own = Matcher {
            name: "tenant".to_owned(),
            op: Op::Equal,
            value: "mine".to_owned(),
        };
        let matchers = [named(Op::Equal, "m"), own];
        let told = read(&reader, "a", &matchers, whole).await;
        assert_eq!(told, expected, "{kind:?}");
        // Both ends are in it, and nothing beside them.
        let part = Stretch {
            from_ms: begin_ms + 10 * 1_003,
            until_ms: begin_ms + 20 * 1_003,
        };
        let told = read(&reader, "a", &[named(Op::Regex, "m|n")], part).await;
        let samples: Vec<_> = told.values().flatten().collect();
        let all: Vec<_> = expected.values().flatten().collect();
        assert_eq!(samples, all[10..=20], "{kind:?}");
        assert!(read(&reader, "c", &matchers, whole).await.is_empty());
        let seen = AtomicUsize::new(0);
        let series = reader.series("a", &[], whole, &seen).await.expect("told");
        let mut names = Vec::new();
        let looked = series
            .each("a", |labels, _| -> Result<(), Unreadable> {
                names.push(format!("{labels:?}"));
                Ok(())
            })
            .expect("readable");
        assert_eq!(
            (looked.series, looked.foreign),
            (1, 0),
            "{kind:?}: {names:?}"
        );
    }
}

/// A series that ended has ended in the archive, too, where that can say so.
#[tokio::test]
async fn stale_markers_come_back_from_remote_read() {
    let Some(store) = Store::start(Kind::Prometheus).await else {
        return;
    };
    let writer = Writer::to(&store, Way::Label, Duration::from_secs(60));
    let at_ms = now_ms() - 60_000;
    for (at_ms, value) in [(at_ms, 1.0), (at_ms + 1, f64::from_bits(STALE_MARKER_BITS))] {
        writer
            .take("a", &crate::store::batch([1], at_ms, value))
            .await;
    }
    writer.until("both", |view| view.sent == 2).await;
    let reader = Reader::new(&store.url(), Way::Label).expect("a reader");
    let stretch = Stretch {
        from_ms: at_ms,
        until_ms: at_ms + 1,
    };
    let told = read(&reader, "a", &[named(Op::Equal, "m")], stretch).await;
    let samples: Vec<_> = told.into_values().flatten().collect();
    assert_eq!(
        samples,
        [(at_ms, 1.0_f64.to_bits()), (at_ms + 1, STALE_MARKER_BITS)]
    );
}
