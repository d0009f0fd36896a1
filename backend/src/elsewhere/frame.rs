//! Samples on their way from the server that they came to, to those that want them.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use pulseboard_bus::key::FRAME_MAX;
use pulseboard_engine::SeriesName;
use pulseboard_feed::portable;
use pulseboard_series::{Batch, Kind};
use serde::{Deserialize, Serialize};

/// The first byte: what is of another version is passed over.
const VERSION: u8 = 1;

/// A frame is ended when what is in it takes about so much; one more sample fits always, but where
/// its series is longer than any of ours.
const FULL_BYTES: usize = FRAME_MAX / 2;

/// What one sample takes, and the names of a series' fields.
const POINT_BYTES: usize = 20;
const RUN_BYTES: usize = 64;

/// What travels.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    /// This run of the server that the samples came to.
    from: Arc<str>,
    series: Vec<Run>,
}

/// New samples of one series.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    name: String,
    labels: Vec<(String, String)>,
    unit: String,
    kind: u8,
    points: Vec<(i64, f64)>,
}

/// Samples in the order they came, as frames; each series once in each.
pub(super) fn frames(from: &Arc<str>, samples: &[(Arc<SeriesName>, (i64, f64))]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut told = Told::default();
    let mut places: HashMap<*const SeriesName, usize> = HashMap::new();
    let mut bytes = 0;
    for (name, point) in samples {
        let place = *places.entry(Arc::as_ptr(name)).or_insert_with(|| {
            let key = name.key();
            bytes += RUN_BYTES + name.key.len() + name.unit.len();
            let labels = key.labels();
            told.series.push(Run {
                name: key.name().to_owned(),
                labels: labels.map(|(a, b)| (a.to_owned(), b.to_owned())).collect(),
                unit: name.unit.to_string(),
                kind: name.kind as u8,
                points: Vec::new(),
            });
            told.series.len() - 1
        });
        if let Some(run) = told.series.get_mut(place) {
            run.points.push(*point);
            bytes += POINT_BYTES;
        }
        if bytes >= FULL_BYTES {
            frames.push(written(&mut told, from));
            places.clear();
            bytes = 0;
        }
    }
    if bytes > 0 {
        frames.push(written(&mut told, from));
    }
    frames
}

fn written(told: &mut Told, from: &Arc<str>) -> Bytes {
    let told = Told {
        from: Arc::clone(from),
        series: std::mem::take(&mut told.series),
    };
    portable::versioned(VERSION, &portable::write(&told))
}

/// The samples of a frame of another server; `None` where it cannot be read, or is of `me`.
pub(super) fn read(frame: &[u8], me: &str) -> Option<Batch> {
    let form = portable::of_version(VERSION, frame)?;
    let told: Told = portable::read(form).ok()?;
    if &*told.from == me {
        return None;
    }
    let mut batch = Batch::new();
    for run in &told.series {
        for (at_ms, value) in &run.points {
            let row = batch.begin(&[run.name.as_str()]).and_then(|()| {
                let mut labels = run.labels.iter();
                labels.try_for_each(|(name, value)| batch.label(name, value))?;
                batch.describe(Kind::from_u8(run.kind), &run.unit);
                batch.finish(1, Some(*at_ms), *value)
            });
            if let Err(reason) = row {
                batch.refuse(1, reason);
            }
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use pulseboard_series::STALE_MARKER_BITS;

    use super::*;

    fn named(number: usize) -> Arc<SeriesName> {
        let mut batch = Batch::new();
        let row = batch
            .begin(&["load"])
            .and_then(|()| batch.label("host", &format!("h{number}")))
            .and_then(|()| batch.finish(1, None, 0.0));
        assert_eq!(row, Ok(()));
        Arc::new(SeriesName {
            key: batch.key(&batch.rows()[0]).as_bytes().into(),
            unit: "s".into(),
            kind: Kind::Counter,
        })
    }

    #[test]
    fn what_is_read_is_what_came_and_not_what_one_said_oneself() {
        let (a, b) = (named(1), named(2));
        let stale = f64::from_bits(STALE_MARKER_BITS);
        let samples = [(a.clone(), (1, 1.5)), (b, (1, stale)), (a, (2, f64::NAN))];
        let me: Arc<str> = "a.1".into();
        let frames = frames(&me, &samples);
        assert_eq!(frames.len(), 1);
        assert!(read(&frames[0], "a.1").is_none());
        let batch = read(&frames[0], "b.1").expect("another's");
        let rows = batch.rows().iter();
        let rows: Vec<(String, i64, u64)> = rows
            .map(|row| (batch.key(row).to_string(), row.at_ms, row.value.to_bits()))
            .collect();
        assert_eq!(
            rows[0],
            ("load{host=\"h1\"}".to_owned(), 1, 1.5_f64.to_bits())
        );
        assert_eq!(
            rows[1],
            ("load{host=\"h1\"}".to_owned(), 2, f64::NAN.to_bits())
        );
        assert_eq!(
            rows[2],
            ("load{host=\"h2\"}".to_owned(), 1, STALE_MARKER_BITS)
        );
        assert!(read(&[9, 9], "b.1").is_none() && read(&[], "b.1").is_none());
    }

    #[test]
    fn many_samples_are_many_frames_none_of_which_is_too_large() {
        let names: Vec<_> = (0..500).map(named).collect();
        let samples: Vec<_> = (0..20_000)
            .map(|number| (names[number % 500].clone(), (number as i64, 1.0)))
            .collect();
        let me: Arc<str> = "a.1".into();
        let frames = frames(&me, &samples);
        assert!(frames.len() > 5 && frames.iter().all(|frame| frame.len() < FRAME_MAX));
        let read = frames.iter().map(|frame| read(frame, "b").expect("read"));
        assert_eq!(read.map(|batch| batch.rows().len()).sum::<usize>(), 20_000);
    }
}
