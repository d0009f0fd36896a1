//! Who waits for whom, and for how much.

use pulseboard_engine::EngineOptions;
use pulseboard_ingest::{detect, otlp};

use super::*;

fn keys(address: u8) -> CallerKeys {
    CallerKeys {
        client: None,
        address: Some(std::net::IpAddr::from([192, 0, 2, address])),
        token: None,
        tenant: Some("t".into()),
    }
}

async fn push(ingest: &Arc<Ingest>, address: u8, body: String) -> Result<(u64, u64), IngestError> {
    let tenant = ingest.engine.tenant("t").expect("a tenant");
    let share = ingest.begin_body(&keys(address))?;
    let packed = Packed {
        bytes: body.into_bytes(),
        coding: Coding::Identity,
        share,
    };
    let keys = keys(address);
    let taken = ingest.append(&tenant, &keys, packed, detect::push);
    let taken = taken.await?;
    Ok((taken.accepted, taken.refused_total))
}

/// Lines need no memory beside themselves. Documents that become much wait for one another, and
/// nobody else waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_document_at_a_time_becomes_much() {
    let telemetry = Arc::new(Telemetry::default());
    let engine = Arc::new(Engine::new(EngineOptions::default(), None));
    let ingest = Ingest::new(32 << 20, &engine, Clock::manual(1_000_000), &telemetry);
    let document = |count: usize| format!("[{}{{\"a\":1}}]", "{\"a\":1},".repeat(count - 1));
    let held = ingest.huge.enter(Queue::of(&keys(9))).await;
    let huge = {
        let (ingest, body) = (Arc::clone(&ingest), document(400_000));
        tokio::spawn(async move { push(&ingest, 1, body).await.ok() })
    };
    while !ingest.huge.is_crowded() {
        tokio::task::yield_now().await;
    }
    let small = push(&ingest, 3, document(20_000)).await;
    assert_eq!(small.ok(), Some((20_000, 0)));
    let lines = push(&ingest, 1, "a 1\n".repeat(500_000)).await;
    assert_eq!(lines.ok(), Some((500_000, 0)));
    assert!(!huge.is_finished(), "there is one already");
    drop(held);
    assert_eq!(huge.await.ok(), Some(Some((400_000, 0))), "in its turn");
    assert_eq!(ingest.bytes.taken(), 0);
}

/// OTLP is parsed under its tenant's lock of differences, which small bodies take on a thread
/// that serves: nobody waits while holding it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_turn_under_a_lock() {
    let telemetry = Arc::new(Telemetry::default());
    let engine = Arc::new(Engine::new(EngineOptions::default(), None));
    let ingest = Ingest::new(32 << 20, &engine, Clock::manual(1_000_000), &telemetry);
    let tenant = engine.tenant("t").expect("a tenant");
    let metric = "{\"name\":\"a\",\"gauge\":{\"dataPoints\":[{\"asDouble\":1}]}},";
    let body = |count: usize| {
        let mut metrics = metric.repeat(count);
        metrics.pop();
        format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{metrics}]}}]}}]}}")
    };
    let send = async |count: usize| {
        let packed = Packed {
            bytes: body(count).into_bytes(),
            coding: Coding::Identity,
            share: ingest.begin_body(&keys(1)).expect("room"),
        };
        let (worker, owner) = (Arc::clone(&ingest), Arc::clone(&tenant));
        let caller = keys(1);
        let taken = ingest.append(&tenant, &caller, packed, move |body, batch| {
            worker.tenants.with_deltas(&owner, |totals| {
                otlp::parse(otlp::Encoding::Json, body, totals, &|_| None, batch)
            })
        });
        taken.await.map(|taken| taken.accepted)
    };
    let held = ingest.huge.enter(Queue::of(&keys(9))).await;
    let mut refused = std::pin::pin!(send(90_000));
    let refused = loop {
        tokio::select! {
            refused = &mut refused => break refused,
            () = tokio::task::yield_now() => {
                assert!(!ingest.huge.is_crowded(), "it waits, and holds the lock");
            }
        }
    };
    assert!(matches!(refused, Err(IngestError::Busy)), "{refused:?}");
    assert_eq!(send(10).await.ok(), Some(10), "others go on");
    drop(held);
    assert_eq!(send(90_000).await.ok(), Some(90_000), "sent again");
}

#[test]
fn no_line_is_refused_for_being_short() {
    let line = "a 1\n";
    let row = 48 + 4;
    for lines in [1, 1 << 10, 1 << 20, 8 << 20] {
        assert!(taker::batch_bytes_max(lines * line.len(), true) > lines * row);
    }
}

/// While a large one of a tenant is worked on, its small ones wait where they hold up nobody: not
/// on a thread that serves, and not with a turn that others need.
#[tokio::test]
async fn who_waits_for_its_tenant_holds_up_nobody_else() {
    let telemetry = Arc::new(Telemetry::default());
    let engine = Arc::new(Engine::new(EngineOptions::default(), None));
    let ingest = Ingest::new(32 << 20, &engine, Clock::manual(1_000_000), &telemetry);
    let (end, ended) = std::sync::mpsc::channel();
    let (begun, beginning) = tokio::sync::oneshot::channel();
    let send = |body: &str, work: Box<dyn FnOnce() + Send>| {
        let (ingest, tenant) = (Arc::clone(&ingest), engine.tenant("t").expect("a tenant"));
        let packed = Packed {
            bytes: body.to_owned().into_bytes(),
            coding: Coding::Identity,
            share: ingest.begin_body(&keys(1)).expect("room"),
        };
        tokio::spawn(async move {
            let (worker, owner) = (Arc::clone(&ingest), Arc::clone(&tenant));
            let work = Mutex::new(Some(work));
            let parse = move |_: &[u8], _: &mut Batch| {
                let work = work.lock().take();
                let work = || work.into_iter().for_each(|work| work());
                worker.tenants.with_deltas(&owner, |_| work());
                Ok(otlp::Points::default())
            };
            let taken = ingest.append(&tenant, &keys(1), packed, parse).await;
            taken.is_ok()
        })
    };
    let large = send(
        &" ".repeat(2 * INLINE_BYTES_MAX),
        Box::new(move || {
            begun.send(()).ok();
            // Not for ever, so that a failure is one and no standstill.
            ended.recv_timeout(std::time::Duration::from_secs(5)).ok();
        }),
    );
    beginning.await.expect("it has begun");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let small: Vec<_> = (0..2 * cores).map(|_| send("", Box::new(|| {}))).collect();
    tokio::task::yield_now().await;
    // Of another tenant, too long to be worked on where it was read.
    let other = engine.tenant("u").expect("a tenant");
    let packed = Packed {
        bytes: "a 1\n".repeat(INLINE_BYTES_MAX).into_bytes(),
        coding: Coding::Identity,
        share: ingest.begin_body(&keys(2)).expect("room"),
    };
    let taken = ingest.append(&other, &keys(2), packed, detect::push).await;
    let accepted = taken.ok().map(|taken| taken.accepted);
    assert_eq!(accepted, Some(INLINE_BYTES_MAX as u64));
    assert!(!large.is_finished(), "it went on while the large one did");
    assert!(!small.iter().any(tokio::task::JoinHandle::is_finished));
    end.send(()).expect("it waits");
    for sent in small.into_iter().chain([large]) {
        assert!(sent.await.expect("no panic"));
    }
}

/// What is tried where it was read and turns out to be much is taken all the same, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_much_to_be_tried_is_taken_once() {
    let telemetry = Arc::new(Telemetry::default());
    let engine = Arc::new(Engine::new(EngineOptions::default(), None));
    let ingest = Ingest::new(32 << 20, &engine, Clock::manual(1_000_000), &telemetry);
    let tenant = engine.tenant("t").expect("a tenant");
    let (mut accepted, mut refused) = (0, 0);
    for count in [100, 30_000] {
        for (line, is_right) in [("a 1\n", true), ("a b\n", false)] {
            let taken = push(&ingest, 1, line.repeat(count)).await.ok();
            let count = count as u64;
            let expected = if is_right { (count, 0) } else { (0, count) };
            assert_eq!(taken, Some(expected), "{count} of {line:?}");
            accepted += expected.0;
            refused += expected.1;
        }
    }
    let counts = tenant.counts();
    assert_eq!(counts.accepted, accepted);
    assert_eq!(counts.refused.iter().sum::<u64>(), refused);
    // Packed ones are tried, too.
    let lines = b"a 1\n".repeat(20);
    for body in [lines.clone(), lines.repeat(1_000)] {
        let expected = body.len() as u64 / 4;
        let packed = Packed {
            bytes: snap::raw::Encoder::new()
                .compress_vec(&body)
                .expect("packed"),
            coding: Coding::Snappy,
            share: ingest.begin_body(&keys(1)).expect("room"),
        };
        let taken = ingest.append(&tenant, &keys(1), packed, detect::push).await;
        assert_eq!(taken.ok().map(|taken| taken.accepted), Some(expected));
    }
    assert_eq!(ingest.bytes.taken(), 0);
}
