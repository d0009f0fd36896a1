//! Any order of appending, sealing, releasing, maintaining and restarting, driven as the crate's
//! documentation asks: the log and the blocks together always hold everything.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pulseboard_history::{History, SampleRecord, SealBatch, SeriesId};

use crate::support::{HOUR, Model, START, Sink, definition, maintain, open, raw};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u32, i64, f64)>),
    /// Rotate, seal the window, release.
    Seal,
    /// Seal without a release: the log keeps what the blocks have.
    SealOnly,
    Maintain(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..4_u32, 0..8 * HOUR / 10_000, any::<u32>())
        .prop_map(|(id, tick, value)| (id, START + tick * 10_000, f64::from(value)));
    let step = prop_oneof![
        5 => prop::collection::vec(row, 1..40).prop_map(Step::Append),
        2 => Just(Step::Seal),
        1 => Just(Step::SealOnly),
        2 => (0..10 * HOUR).prop_map(|offset| Step::Maintain(START + offset)),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..25)
}

type Window = BTreeMap<u32, Vec<(i64, f64)>>;

fn seal(history: &History, window: &mut Window, safe_segment: Option<u32>) {
    let series = window
        .iter()
        .map(|(&id, samples)| (SeriesId(id), samples.as_slice()))
        .collect();
    history
        .seal(&SealBatch {
            series,
            safe_segment,
        })
        .unwrap();
    window.clear();
}

fn refill(sink: &Sink) -> Window {
    let mut window = Window::new();
    for &(id, at_ms, value) in &sink.samples {
        window
            .entry(id.0)
            .or_default()
            .push((at_ms, f64::from_bits(value)));
    }
    window
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn log_and_blocks_hold_everything(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut history, ..) = open(dir.path());
        for id in 0..4 {
            drop(history.append_definition(&definition(id)).unwrap());
        }
        let mut models = BTreeMap::<u32, Model>::new();
        let mut window = Window::new();
        for step in steps.into_iter().chain([Step::Restart]) {
            match step {
                Step::Append(rows) => {
                    let mut record = SampleRecord::new();
                    for (id, at_ms, value) in rows {
                        record.push(SeriesId(id), at_ms, value);
                        models.entry(id).or_default().insert(at_ms, value);
                        window.entry(id).or_default().push((at_ms, value));
                    }
                    history.append_samples(&record).unwrap().wait_blocking().unwrap();
                }
                Step::Seal => {
                    let next = history.rotate_wal().unwrap();
                    seal(&history, &mut window, Some(next - 1));
                }
                Step::SealOnly => seal(&history, &mut window, None),
                Step::Maintain(now_ms) => drop(maintain(&history, now_ms)),
                Step::Restart => {
                    drop(history);
                    let (opened, sink, report) = open(dir.path());
                    prop_assert_eq!(report.complaints(), [""; 0]);
                    let mut known: Vec<_> = sink.definitions.iter().map(|known| known.id.0).collect();
                    known.sort_unstable();
                    known.dedup();
                    prop_assert_eq!(known, [0, 1, 2, 3]);
                    // Sealed again: the same samples, and the newest value still wins.
                    window = refill(&sink);
                    history = opened;
                }
            }
            for (id, model) in &models {
                let mut found: Model = raw(&history, *id, 0, i64::MAX).into_iter().collect();
                found.extend(window.get(id).into_iter().flatten().copied());
                prop_assert_eq!(&found, model);
            }
        }
    }
}
