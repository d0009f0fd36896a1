//! Documents are there whole or not at all, whatever ends the process.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn open(folder: &tempfile::TempDir) -> Documents {
    Documents::open(folder.path()).expect("a folder that can be read")
}

fn value(documents: &Documents, name: &str) -> Option<Value> {
    documents.get(name).map(|(_, value)| value)
}

#[test]
fn what_somebody_else_changed_is_not_written_over() {
    let documents = Documents::in_memory();
    let first = documents
        .put("a", Expected::New, &1)
        .expect("nothing is there");
    let second = documents
        .put("a", Expected::Revision(first), &2)
        .expect("nobody was faster");
    assert!(second > first);
    for expected in [Expected::New, Expected::Revision(first)] {
        let refused = documents.put("a", expected, &3);
        assert!(
            matches!(refused, Err(DocumentError::Conflict { current }) if current == Some(second)),
            "{refused:?}"
        );
        assert!(documents.delete("a", expected).is_err());
    }
    assert_eq!(value(&documents, "a"), Some(json!(2)));
    assert!(
        documents
            .delete("a", Expected::Revision(second))
            .expect("it is that")
    );
    let refused = documents.put("a", Expected::Revision(second), &3);
    assert!(matches!(
        refused,
        Err(DocumentError::Conflict { current: None })
    ));
}

#[test]
fn of_many_who_change_the_same_state_one_does() {
    let documents = Documents::in_memory();
    let first = documents.put("a", Expected::New, &0).expect("new");
    let won = std::thread::scope(|scope| {
        let tries: Vec<_> = (1..9)
            .map(|number| {
                let documents = &documents;
                scope.spawn(move || {
                    documents
                        .put("a", Expected::Revision(first), &number)
                        .is_ok()
                })
            })
            .collect();
        let won = tries
            .into_iter()
            .map(|thread| thread.join().expect("ended"));
        won.filter(|won| *won).count()
    });
    assert_eq!(won, 1);
}

/// A process that is killed between the write and the rename leaves both files.
#[test]
fn a_kill_before_the_rename_leaves_the_old_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names = ["tokens", "dashboards/one"];
    let documents = open(&folder);
    for name in names {
        documents.put(name, Expected::New, &"old").expect("written");
        let text = serde_json::to_string(&Stored {
            revision: 9,
            document: "new",
        });
        let file = file_of(folder.path(), name);
        let text = text.expect("it is JSON");
        data_dir::write_beside(&file, text.as_bytes()).expect("written");
    }
    drop(documents);
    let documents = open(&folder);
    for name in names {
        assert_eq!(value(&documents, name), Some(json!("old")), "{name}");
        documents
            .put(name, Expected::Any, &"newer")
            .expect("what is left over is in nobody's way");
    }
    let documents = open(&folder);
    for name in names {
        assert_eq!(value(&documents, name), Some(json!("newer")), "{name}");
    }
}

#[test]
fn what_is_damaged_is_set_aside_until_it_is_written_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let documents = open(&folder);
    for name in ["a/torn", "a/other", "a/whole"] {
        documents.put(name, Expected::New, &name).expect("written");
    }
    let torn = folder.path().join("documents/a+torn.json");
    fs::write(&torn, "{\"revision\":1,\"docu").expect("written");
    for _start in 0..2 {
        let documents = open(&folder);
        assert_eq!(value(&documents, "a/torn"), None);
        let aside = documents.set_aside("a/torn").expect("it is said");
        assert!(fs::read_to_string(aside).expect("kept").ends_with("docu"));
        assert_eq!(value(&documents, "a/whole"), Some(json!("a/whole")));
        assert_eq!(documents.set_aside("a/whole"), None);
    }
    let documents = open(&folder);
    // Not what is expected of it.
    assert_eq!(documents.get::<u64>("a/other"), None);
    assert!(documents.set_aside("a/other").is_some());
    assert_eq!(documents.list("a/").len(), 1);
    for name in ["a/torn", "a/other"] {
        documents.put(name, Expected::New, &1).expect("mended");
        assert_eq!(documents.set_aside(name), None);
    }
    let documents = open(&folder);
    assert_eq!(documents.get("a/other").map(|(_, one)| one), Some(1));
    assert_eq!(documents.set_aside("a/torn"), None);
}

#[test]
fn a_file_of_a_version_without_revisions_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = r#"{"alert_threshold":61.25}"#;
    fs::write(folder.path().join("operator.json"), text).expect("written");
    let documents = open(&folder);
    let (revision, found) = documents.get::<Value>("operator").expect("it is read");
    assert_eq!(found, json!({"alert_threshold": 61.25}));
    let next = documents
        .put("operator", Expected::Revision(revision), &found)
        .expect("written");
    assert!(next > revision);
    assert_eq!(value(&open(&folder), "operator"), Some(found));
}

#[test]
fn bounds_hold() {
    let documents = Documents::in_memory();
    let large = "x".repeat(BYTES_MAX);
    let refused = documents.put("a", Expected::Any, &large);
    assert!(matches!(refused, Err(DocumentError::TooLarge { .. })));
    let large = "x".repeat(BYTES_MAX - 100);
    let taken = (0..ALL_BYTES_MAX / BYTES_MAX + 2)
        .map(|number| documents.put(&format!("a/{number}"), Expected::New, &large))
        .take_while(Result::is_ok)
        .count();
    assert_eq!(taken, ALL_BYTES_MAX / BYTES_MAX);
    documents
        .put("a/0", Expected::Any, &1)
        .expect("what is smaller than before fits");
    for number in 0..COUNT_MAX - taken {
        documents
            .put(&format!("b/{number}"), Expected::New, &0)
            .expect("there is room");
    }
    let refused = documents.put("c", Expected::New, &0);
    assert!(matches!(refused, Err(DocumentError::Full)));
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let documents = open(&folder);
    let long = "x".repeat(NAME_MAX + 1);
    for name in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a\\b",
        "a+b",
        "A",
        "a b",
        "a\0",
        ".a",
        "ä",
        "a/b/c/d/e",
        &long,
    ] {
        let refused = documents.put(name, Expected::Any, &1);
        assert!(matches!(refused, Err(DocumentError::Name(_))), "{name:?}");
        assert_eq!(value(&documents, name), None);
    }
    let longest = "x".repeat(NAME_MAX);
    documents.put(&longest, Expected::New, &1).expect("it fits");
}

#[cfg(unix)]
#[test]
fn documents_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    open(&folder)
        .put("a/b", Expected::New, &1)
        .expect("written");
    let mode = |path: &str| {
        let metadata = fs::metadata(folder.path().join(path)).expect("there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("documents"), 0o700);
    assert_eq!(mode("documents/a+b.json"), 0o600);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Guess, u32),
    Delete(u8, Guess),
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    New,
    /// What is there.
    Right,
    /// The first that was ever given.
    Old,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let guess = || {
        prop_oneof![
            Just(Guess::Any),
            Just(Guess::New),
            Just(Guess::Right),
            Just(Guess::Old)
        ]
    };
    let step = prop_oneof![
        6 => (0..4_u8, guess(), any::<u32>()).prop_map(|(name, guess, value)| Step::Put(name, guess, value)),
        3 => (0..4_u8, guess()).prop_map(|(name, guess)| Step::Delete(name, guess)),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..24)
}

/// What another server removed does not come back with an older word of it.
#[test]
fn what_was_removed_for_all_stays_removed() {
    let documents = Documents::in_memory();
    let name = "rules/shop/one";
    assert!(documents.take(name, Revision(5), Some("1")));
    assert!(documents.take(name, Revision(7), None));
    assert_eq!(documents.removed(), [(name.to_owned(), Revision(7))]);
    assert!(!documents.take(name, Revision(6), Some("1")));
    assert!(!documents.take(name, Revision(7), Some("1")));
    assert_eq!(documents.get::<u32>(name), None);
    // Made anew, it is another one.
    assert!(documents.take(name, Revision(8), Some("2")));
    assert_eq!(documents.get::<u32>(name), Some((Revision(8), 2)));
    assert!(documents.removed().is_empty());
    // Also what was never had here; the newest are remembered.
    for revision in 10..20 + REMOVED_MAX as u64 {
        let name = format!("rules/shop/{revision}");
        assert!(!documents.take(&name, Revision(revision), None));
    }
    let removed = documents.removed();
    assert_eq!(removed.len(), REMOVED_MAX);
    assert_eq!(removed[0].1, Revision(20));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a map: what is there, what is refused, and no revision is given twice, restarts
    /// included.
    #[test]
    fn like_a_map_that_outlives_restarts(steps in steps()) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut documents = open(&folder);
        let mut model = BTreeMap::<String, (Revision, u32)>::new();
        let mut given = BTreeSet::new();
        let name = |number| ["tokens", "a", "a/b", "b/c"][usize::from(number)].to_owned();
        for step in steps {
            let expected = |name: &str, guess| match (guess, model.get(name)) {
                (Guess::Any, _) => (Expected::Any, true),
                (Guess::New, known) => (Expected::New, known.is_none()),
                (Guess::Right, Some((revision, _))) => (Expected::Revision(*revision), true),
                (Guess::Right, None) => (Expected::New, true),
                (Guess::Old, known) => {
                    let old = given.first().copied().unwrap_or(Revision(77));
                    let is_right = known.is_some_and(|(revision, _)| *revision == old);
                    (Expected::Revision(old), is_right)
                }
            };
            match step {
                Step::Put(number, guess, value) => {
                    let name = name(number);
                    let (expected, allowed) = expected(&name, guess);
                    let put = documents.put(&name, expected, &value);
                    prop_assert_eq!(put.is_ok(), allowed);
                    if let Ok(revision) = put {
                        prop_assert!(given.last().is_none_or(|last| revision > *last));
                        given.insert(revision);
                        model.insert(name, (revision, value));
                    }
                }
                Step::Delete(number, guess) => {
                    let name = name(number);
                    let (expected, allowed) = expected(&name, guess);
                    let deleted = documents.delete(&name, expected).ok();
                    let known = model.contains_key(&name);
                    prop_assert_eq!(deleted, allowed.then_some(known));
                    if allowed {
                        model.remove(&name);
                    }
                }
                Step::Restart => documents = open(&folder),
            }
            let listed = documents.list("");
            let known: Vec<_> =
                model.iter().map(|(name, (revision, _))| (name.clone(), *revision)).collect();
            prop_assert_eq!(listed, known);
            prop_assert_eq!(
                documents.list("a/").len(),
                model.keys().filter(|name| name.starts_with("a/")).count()
            );
            for (name, held) in &model {
                prop_assert_eq!(documents.get::<u32>(name), Some(*held));
            }
        }
    }
}
