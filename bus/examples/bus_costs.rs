//! What the bus costs, over the Redis that is named: `cargo run --release -p
//! pulseboard-bus --example bus_costs -- redis://127.0.0.1:6379`. It writes under the prefix
//! `measure` and leaves what ends by itself.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_bus::{Bus, FeedKey, FeedSink, Kind, Redis, Settings, State, Subscription};
use pulseboard_feed::Epoch;

const FRAME: usize = 400;

/// Counts frames, and how long those took that say when they were sent.
#[derive(Default)]
struct Counting {
    resets: AtomicU64,
    frames: AtomicU64,
    took: Mutex<Vec<u64>>,
}

static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

impl FeedSink for Counting {
    fn append(&self, _epoch: Epoch, _offset: u64, frame: Bytes) {
        let sent = frame
            .first_chunk::<8>()
            .map(|bytes| u64::from_le_bytes(*bytes));
        let now = u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.took
            .lock()
            .push(now.saturating_sub(sent.unwrap_or(now)));
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    fn reset(&self, _epoch: Epoch, _first: u64, _frames: Vec<Bytes>) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

fn frame() -> Bytes {
    let now = u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut frame = vec![0x2a; FRAME];
    if let Some(head) = frame.first_chunk_mut::<8>() {
        *head = now.to_le_bytes();
    }
    frame.into()
}

async fn connected(url: &str, name: &str) -> Result<Arc<Redis>, Box<dyn std::error::Error>> {
    let settings = Settings {
        prefix: "measure".to_owned(),
        ..Settings::new(url.parse()?, name)
    };
    let bus = Arc::new(Redis::new(settings)?);
    bus.check().await?;
    let runs = Arc::clone(&bus);
    tokio::spawn(async move { runs.run().await });
    let mut state = bus.state();
    state.wait_for(|state| *state == State::Connected).await?;
    Ok(bus)
}

fn told(line: std::fmt::Arguments<'_>) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("the address of a Redis")?;
    let (a, b) = (connected(&url, "a").await?, connected(&url, "b").await?);
    opens(&*b).await?;
    for (rate, rooms) in [(1_000, 1), (1_000, 1_000), (10_000, 100)] {
        latency(&*a, &*b, rate, rooms).await?;
    }
    throughput(&*a).await?;
    Ok(())
}

/// Feeds that are subscribed, read and ready a second.
async fn opens(bus: &dyn Bus) -> Result<(), Box<dyn std::error::Error>> {
    let sink = Arc::new(Counting::default());
    let count = 5_000;
    let began = Instant::now();
    let kept: Vec<Subscription> = (0..count)
        .map(|number| {
            let key = FeedKey::new(Kind::Room, format!("open{number}"), "lobby");
            bus.subscribe(key, Arc::clone(&sink) as Arc<dyn FeedSink>)
        })
        .collect();
    while sink.resets.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    told(format_args!(
        "{count} feeds opened (subscribed and read) in {took:?}: {:.0}/s",
        count as f64 / took.as_secs_f64()
    ))?;
    drop(kept);
    Ok(())
}

async fn latency(
    a: &dyn Bus,
    b: &dyn Bus,
    rate: u64,
    rooms: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let keys: Vec<FeedKey> = (0..rooms)
        .map(|number| FeedKey::new(Kind::Room, format!("rate{rate}-{number}"), "lobby"))
        .collect();
    let sink = Arc::new(Counting::default());
    let subscribe =
        |key: &FeedKey| b.subscribe(key.clone(), Arc::clone(&sink) as Arc<dyn FeedSink>);
    let kept: Vec<Subscription> = keys.iter().map(subscribe).collect();
    while sink.resets.load(Ordering::Relaxed) < rooms as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let wanted = rate * 5;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let began = Instant::now();
    let mut sent = 0;
    while sent < wanted {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due.min(wanted) {
            let key = keys.get(usize::try_from(sent)? % rooms).ok_or("a room")?;
            a.publish(key, None, frame())?;
            sent += 1;
        }
    }
    while sink.frames.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut took = std::mem::take(&mut *sink.took.lock());
    took.sort_unstable();
    let at = |part: f64| {
        took.get((took.len() as f64 * part) as usize)
            .copied()
            .unwrap_or_default()
    };
    told(format_args!(
        "{rate}/s over {rooms} rooms, published at one server and heard at another: p50 {} µs, p99 {} µs, all {wanted} heard",
        at(0.5),
        at(0.99)
    ))?;
    drop(kept);
    Ok(())
}

/// Frames of one server that Redis takes a second.
async fn throughput(bus: &dyn Bus) -> Result<(), Box<dyn std::error::Error>> {
    let count = 100_000_u64;
    let keys: Vec<FeedKey> = (0..64)
        .map(|number| FeedKey::new(Kind::Room, format!("many{number}"), "lobby"))
        .collect();
    let began = Instant::now();
    let mut last = None;
    for (number, key) in (0..count).zip(keys.iter().cycle()) {
        loop {
            match bus.publish_told(key, None, frame()) {
                Ok(told) => {
                    if number + 64 >= count {
                        last = Some(told);
                    }
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
    if let Some(last) = last {
        last.await;
    }
    let took = began.elapsed();
    told(format_args!(
        "{count} frames of {FRAME} bytes taken in {took:?}: {:.0}/s",
        count as f64 / took.as_secs_f64()
    ))?;
    Ok(())
}
