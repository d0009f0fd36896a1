//! Batches have what was written into them, whatever was undone on the way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limits::{LABEL_VALUE_BYTES_MAX, LABELS_MAX};

fn write(batch: &mut Batch, name: &str, labels: &[(String, String)]) -> Result<(), Reason> {
    batch.begin(&[name])?;
    for (label, value) in labels {
        batch.label(label, value)?;
    }
    batch.finish(1, Some(5), 1.5)
}

proptest! {
    #[test]
    fn labels_in_place_are_labels(name in "[a-b]{1,9}", value in "[a-z]{0,3}", before in "[a-b]{1,9}") {
        let mut batches = [Batch::new(), Batch::new()];
        let written = [true, false].map(|is_in_place| {
            let batch = &mut batches[usize::from(is_in_place)];
            batch.begin(&["m"])?;
            batch.label(&before, "x")?;
            if is_in_place {
                batch.label_in_place(&format!("{name}=\"{value}"), name.len())?;
            } else {
                batch.label(&name, &value)?;
            }
            batch.finish(1, None, 1.0)
        });
        prop_assert_eq!(&written[0], &written[1]);
        let keys = batches.each_ref().map(|batch| batch.rows().first().map(|row| batch.key(row)));
        prop_assert_eq!(keys[0], keys[1]);
    }

    /// Whatever stood in a batch before, also what was refused or undone: a row is taken as in a
    /// new one, whichever way its labels are written.
    #[test]
    fn what_is_remembered_of_names_changes_nothing(
        rows in prop::collection::vec(
            (prop::collection::vec(("(aaaaaaaa)?[ab ]{1,2}", "(aaaaaaaa)?[a é]{0,2}"), 0..4), 0_u8..4),
            0..12,
        ),
    ) {
        let mut old = Batch::new();
        for (labels, way) in rows {
            let mut new = Batch::new();
            let expected = write(&mut new, "metric", &labels);
            let before = old.rows().len();
            let written = match way {
                0 | 1 => write(&mut old, "metric", &labels),
                2 => old.begin(&["metric"]).and_then(|()| {
                    for (name, value) in &labels {
                        old.label_in_place(&format!("{name}=\"{value}"), name.len())?;
                    }
                    old.finish(1, Some(5), 1.5)
                }),
                _ => {
                    let is_plain = old.begin_bytes(b"metric")
                        && labels.iter().all(|(name, value)| {
                            old.label_of_bytes(format!("{name}=\"{value}").as_bytes(), name.len())
                        });
                    if is_plain {
                        old.finish(1, Some(5), 1.5)
                    } else {
                        write(&mut old, "metric", &labels)
                    }
                }
            };
            prop_assert_eq!(&written, &expected);
            if written.is_ok() {
                prop_assert_eq!(old.key(&old.rows()[before]), new.key(&new.rows()[0]));
            }
            if way == 1 {
                old.undo_to(before);
            }
        }
    }

    /// Whatever the order of the labels, the key is that of the sorted ones, and it reads back.
    #[test]
    fn labels_come_back_sorted(labels in prop::collection::vec(("[a-c]{1,2}", "[a-z\"\\\\]{0,3}"), 0..6)) {
        let mut batch = Batch::new();
        let written = write(&mut batch, "metric", &labels);
        let full: Vec<_> = labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        let expected: BTreeMap<String, String> = full.iter().cloned().collect();
        if expected.len() < full.len() {
            prop_assert!(matches!(written, Err(Reason::LabelTwice(_))));
            prop_assert!(batch.rows().is_empty());
            return Ok(());
        }
        prop_assert_eq!(written, Ok(()));
        let key = batch.key(&batch.rows()[0]);
        prop_assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
        let read: Vec<_> = key.labels().map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(read, expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(key.name(), "metric");
    }
}

#[test]
fn equal_series_have_equal_hashes() {
    let mut batch = Batch::new();
    let pair = |label: &str| (label.to_owned(), "v".to_owned());
    assert_eq!(write(&mut batch, "m", &[pair("a"), pair("b")]), Ok(()));
    assert_eq!(write(&mut batch, "m", &[pair("b"), pair("a")]), Ok(()));
    assert_eq!(batch.rows()[0].hash, batch.rows()[1].hash);
    assert_eq!(batch.key(&batch.rows()[0]), batch.key(&batch.rows()[1]));
}

#[test]
fn a_refused_row_leaves_nothing_behind() {
    let mut batch = Batch::new();
    assert_eq!(write(&mut batch, "first", &[]), Ok(()));
    assert_eq!(batch.begin(&["second"]), Ok(()));
    assert!(batch.label("__name__", "v").is_err());
    batch.refuse(2, Reason::Labels);
    assert!(batch.begin(&[""]).is_err());
    assert!(batch.begin_plain("7").is_err());
    assert_eq!(write(&mut batch, "third", &[]), Ok(()));
    let names: Vec<_> = batch
        .rows()
        .iter()
        .map(|row| batch.key(row).name())
        .collect();
    assert_eq!(names, ["first", "third"]);
    assert_eq!(batch.refused_total(), 1);
}

#[test]
fn further_rows_have_the_same_labels() {
    let mut batch = Batch::new();
    assert_eq!(batch.begin(&["disk", "_", "used"]), Ok(()));
    assert_eq!(batch.label("path", "/"), Ok(()));
    batch.describe(Kind::Gauge, "B");
    assert_eq!(batch.finish(3, None, 1.0), Ok(()));
    assert_eq!(
        batch.push_sibling(&["disk", "_", "free"], 3, None, 2.0),
        Ok(())
    );
    let keys: Vec<_> = batch
        .rows()
        .iter()
        .map(|row| batch.key(row).to_string())
        .collect();
    assert_eq!(keys, [r#"disk_used{path="/"}"#, r#"disk_free{path="/"}"#]);
    assert!(
        batch
            .rows()
            .iter()
            .all(|row| batch.description(row) == (Kind::Gauge, "B"))
    );
}

#[test]
fn rows_repeat_change_and_are_undone() {
    let mut batch = Batch::new();
    assert_eq!(batch.push_sample(1, None, 1.0), Ok(()));
    assert!(batch.rows().is_empty());
    let pair = ("l".to_owned(), "v".to_owned());
    assert_eq!(write(&mut batch, "a", &[pair]), Ok(()));
    assert_eq!(batch.push_sample(2, Some(7), 2.5), Ok(()));
    batch.replace_newest_value(3.5);
    assert_eq!(write(&mut batch, "b", &[]), Ok(()));
    assert_eq!(batch.begin(&["c"]), Ok(()));
    batch.undo_to(2);
    assert_eq!(write(&mut batch, "d", &[]), Ok(()));
    let rows: Vec<_> = batch
        .rows()
        .iter()
        .map(|row| (batch.key(row).to_string(), row.line, row.value))
        .collect();
    let same = r#"a{l="v"}"#.to_owned();
    assert_eq!(
        rows,
        [
            (same.clone(), 1, 1.5),
            (same, 2, 3.5),
            ("d".to_owned(), 1, 1.5)
        ]
    );
    assert_eq!(batch.rows()[0].hash, batch.rows()[1].hash);
    batch.undo_to(0);
    assert!(batch.is_empty());
}

#[test]
fn a_batch_is_full_at_some_time() {
    let mut batch = Batch::new();
    let value = "v".repeat(LABEL_VALUE_BYTES_MAX);
    let labels: Vec<_> = (0..LABELS_MAX)
        .map(|at| (format!("label_{at:02}"), value.clone()))
        .collect();
    assert_eq!(write(&mut batch, "first", &labels), Ok(()));
    let refused = (0..100_000).find_map(|_| batch.push_sibling(&["further"], 1, None, 1.0).err());
    assert!(
        matches!(refused, Some(Reason::Unsupported(_))),
        "{refused:?}"
    );
    assert!(batch.keys.len() < BATCH_BYTES_MAX + 100_000);
    assert!(batch.push_sample(2, None, 1.0).is_err());
    batch.clear();
    batch.set_bytes_max(1 << 20);
    assert_eq!(write(&mut batch, "first", &labels), Ok(()));
    let rows = (0..100_000).take_while(|_| batch.push_sibling(&["further"], 1, None, 1.0).is_ok());
    assert!((20..30).contains(&rows.count()));
}

#[test]
fn a_trial_gives_up_where_more_comes_than_it_may_have() {
    let line = |batch: &mut Batch, number: usize| {
        let number = u32::try_from(number).expect("few");
        match batch.begin(&["a"]) {
            Ok(()) => batch.finish(number, None, 1.0).expect("a row"),
            Err(reason) => batch.refuse(number, reason),
        }
    };
    let mut batch = Batch::new();
    batch.begin_trial();
    let taken = (0..100_000).take_while(|number| {
        line(&mut batch, *number);
        !batch.is_given_up()
    });
    let taken = taken.count();
    assert!((1_000..10_000).contains(&taken), "{taken}");
    assert!(batch.is_hopeless(), "the rest is not looked at");
    // Read again it is as any other.
    batch.close();
    batch.clear();
    (0..100_000).for_each(|number| line(&mut batch, number));
    assert!(!batch.is_given_up() && batch.rows().len() == 100_000);
    // Mistakes make texts, and are bounded as rows are.
    batch.clear();
    batch.begin_trial();
    let refused = (0..100_000).take_while(|_| {
        batch.refuse(1, Reason::Labels);
        !batch.is_given_up()
    });
    assert_eq!(refused.count() as u64, TRIAL_REFUSED_MAX);
}
