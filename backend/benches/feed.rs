//! Publishing to a feed with 1, 100 and 10 000 cursors, until every cursor has its bytes: work
//! cannot hide in another task.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pulseboard_feed::{
    At, Bounds, Epoch, Fanout, FanoutPass, Feed, Frame, Member, Payload, Subscription,
};

/// A frame of 400 bytes, encoded once.
struct Blob;

impl Payload for Blob {
    type View = ();

    fn encode(&self, _at: At, (): &()) -> Bytes {
        Bytes::from(vec![b'x'; 400])
    }

    fn merge(_held: &[std::sync::Arc<Frame<Self>>], _first: u64, _last: u64, (): &()) -> Bytes {
        Bytes::new()
    }
}

fn publish(criterion: &mut Criterion) {
    let Ok(fanout) = Fanout::start(1, &std::sync::Arc::default()) else {
        return;
    };
    let mut group = criterion.benchmark_group("feed_publish");
    for cursors in [1_u64, 100, 10_000] {
        let feed = Feed::new(
            Epoch(1),
            Bounds {
                frames: 64,
                bytes: usize::MAX,
                lag: 64,
            },
            &fanout,
        );
        let mut members: Vec<_> = (0..cursors)
            .map(|_| Subscription::new(std::sync::Arc::clone(&feed), feed.end(), (), 0))
            .collect();
        group.throughput(Throughput::Elements(cursors));
        group.bench_function(
            BenchmarkId::new("append_and_read_by_all", cursors),
            |bencher| {
                bencher.iter(|| {
                    feed.append(Blob);
                    let mut pass = FanoutPass::shared();
                    for member in &mut members {
                        while let Some(step) = member.next(&mut pass) {
                            black_box(step);
                        }
                    }
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
