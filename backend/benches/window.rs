//! What one tick costs: rolling statistics, the window, encoding a frame and a whole snapshot.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pulseboard::base::clock::Clock;
use pulseboard::ticks::{
    live::Live,
    payload::{TickPayload, TickView},
    window::{Tick, Window, built_in_series},
};
use pulseboard_feed::wire::Framing;
use pulseboard_feed::{Bounds, Epoch, Fanout, Log, Read};
use pulseboard_shared::{RollingStats, Stats, codec::Encoding};

const ONE: Bounds = Bounds {
    frames: 1,
    bytes: usize::MAX,
    lag: 1,
};

fn tick(number: u32) -> Tick {
    let value = f64::from(number % 100);
    Tick {
        sampled_ms: i64::from(number) * 1000,
        sent_ms: i64::from(number) * 1000,
        series: built_in_series().collect(),
        values: [value, value / 2.0, value * 10.0, value / 4.0].into(),
        pushed: std::sync::Arc::default(),
    }
}

fn rolling_statistics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rolling_statistics");
    for capacity in [60_usize, 3_600, 86_400] {
        group.bench_function(BenchmarkId::new("push_and_read", capacity), |bencher| {
            let mut rolling = RollingStats::new(capacity);
            let mut value = 0.0;
            bencher.iter(|| {
                value = (value * 1.3 + 7.1) % 100.0;
                rolling.push(value);
                black_box(rolling.stats())
            });
        });
        group.bench_function(BenchmarkId::new("scan_of_all", capacity), |bencher| {
            let values: Vec<f64> = (0..capacity).map(|index| (index % 97) as f64).collect();
            bencher.iter(|| black_box(Stats::of(values.iter().copied())));
        });
    }
    group.finish();
}

fn window_push(criterion: &mut Criterion) {
    criterion.bench_function("window_push", |bencher| {
        let mut window = Window::new(60);
        let tick = std::sync::Arc::new(tick(1));
        bencher.iter(|| window.push(std::sync::Arc::clone(&tick)));
    });
}

fn frame_encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame_encoding");
    let view = TickView {
        selection: None,
        wire: Framing::WebSocket(Encoding::Json),
    };
    group.bench_function("tick_first_viewer", |bencher| {
        bencher.iter_batched(
            || {
                let mut log = Log::new(Epoch(1), ONE);
                log.append(TickPayload(tick(1).into()));
                log
            },
            |log| match log.read(log.begin()) {
                Read::Frame(frame) => frame.encoded(&view),
                _ => bytes::Bytes::new(),
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("tick_next_viewer", |bencher| {
        let mut log = Log::new(Epoch(1), ONE);
        log.append(TickPayload(tick(1).into()));
        bencher.iter(|| match log.read(log.begin()) {
            Read::Frame(frame) => frame.encoded(&view),
            _ => bytes::Bytes::new(),
        });
    });
    if let Ok(fanout) = Fanout::start(1, &std::sync::Arc::default()) {
        let live = Live::new(
            Epoch(1),
            60,
            128,
            1000,
            Clock::system(),
            &std::sync::Arc::default(),
            &fanout,
        );
        for number in 0..60 {
            live.publish(tick(number));
        }
        group.bench_function("snapshot_next_viewer", |bencher| {
            bencher.iter(|| live.open(&view, None, 0))
        });
        group.bench_function("snapshot_first_viewer", |bencher| {
            bencher.iter(|| {
                live.publish(tick(7));
                live.open(&view, None, 0)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rolling_statistics, window_push, frame_encoding);
criterion_main!(benches);
