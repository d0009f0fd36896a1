//! Files that a crash or a disk has damaged: the rest is there, and it is said what is not.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    kill::{assert_apart, assert_kept, ingest_and_kill},
    server::{Server, rounds},
};

/// The newest segment of the history's log.
fn newest_segment(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("history/wal")).expect("the log's folder");
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_behind_the_log_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    let mut all = Vec::new();
    for round in 0..rounds().div_ceil(4) {
        let after = Duration::from_millis(fastrand::u64(50..300));
        let (sent, _) = ingest_and_kill(&mut server, round, after).await;
        let segment = newest_segment(folder.path());
        let garbage: Vec<u8> = (0..fastrand::usize(1..5_000))
            .map(|_| fastrand::u8(..))
            .collect();
        let mut file = OpenOptions::new()
            .append(true)
            .open(segment)
            .expect("opens");
        file.write_all(&garbage).expect("written");
        server = Server::start(folder.path());
        all.extend(sent);
        for sent in &all {
            assert_kept(&server, sent).await;
        }
    }
    assert_apart(&server).await;
}

/// A tail that is torn off takes with it what stood there, and no more: what is left is the
/// beginning of what was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_costs_only_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    for round in 0..rounds().div_ceil(4) {
        let after = Duration::from_millis(fastrand::u64(100..300));
        let (sent, _) = ingest_and_kill(&mut server, round, after).await;
        let segment = newest_segment(folder.path());
        let length = fs::metadata(&segment).expect("there").len();
        let torn = fastrand::u64(1..200).min(length / 2);
        let file = OpenOptions::new().write(true).open(segment).expect("opens");
        file.set_len(length - torn).expect("cut");
        server = Server::start(folder.path());
        let mut lost = 0;
        for mut sent in sent {
            let there = server
                .samples(sent.tenant, &sent.name, sent.start_ms)
                .await
                .len();
            let there = i64::try_from(there).expect("few");
            lost += (sent.acknowledged - there).max(0);
            sent.acknowledged = there.min(sent.acknowledged);
            assert_kept(&server, &sent).await;
        }
        assert!(lost <= 200, "{lost} samples went with {torn} bytes");
        let (status, answer) = server.push("red", "red_goes_on 1".to_owned()).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_costs_its_record_and_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path());
    let (sent, _) = ingest_and_kill(&mut server, 0, Duration::from_millis(700)).await;
    let segment = newest_segment(folder.path());
    let length = fs::metadata(&segment).expect("there").len();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment)
        .expect("opens");
    // Behind the definitions, which stand at the beginning.
    let at = length / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).expect("there");
    file.read_exact(&mut byte).expect("read");
    byte[0] ^= 0x55;
    file.seek(SeekFrom::Start(at)).expect("there");
    file.write_all(&byte).expect("written");
    drop(file);
    server = Server::start(folder.path());
    let (mut acknowledged, mut lost) = (0, 0);
    for sent in sent {
        let there = server.samples(sent.tenant, &sent.name, sent.start_ms).await;
        acknowledged += sent.acknowledged;
        lost += (sent.acknowledged - i64::try_from(there.len()).expect("few")).max(0);
        for (at_ms, found) in there {
            let number = at_ms - sent.start_ms;
            assert_eq!(
                found,
                crate::senders::value(sent.tenant, number),
                "{sent:?}"
            );
        }
    }
    // A length that is no length hides what comes up to the next sync record.
    assert!(lost < acknowledged, "{lost} of {acknowledged} are lost");
    assert_apart(&server).await;
    let said = server.json("/api/ingest").await;
    let complaints = said["complaints"].to_string();
    assert!(complaints.contains("damaged"), "{said}");
    let (status, ready) = server.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    assert_eq!(ready["history"]["writable"], true, "{ready}");
    assert!(ready["history"]["complaints"].as_u64() > Some(0), "{ready}");
}
