//! The blocks' file on a disk that is full for a while.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
use std::{
    fs::OpenOptions,
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use redb::{StorageBackend, backends::FileBackend};

use super::*;

/// A file on a disk that can be told to be full: what is there can be overwritten, nothing
/// can be added.
#[derive(Debug)]
struct Faulty(FileBackend, Arc<AtomicBool>);

impl Faulty {
    fn check(&self, end: u64) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) && end > self.0.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(len)?;
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset + data.len() as u64)?;
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

#[test]
fn while_the_disk_is_full_readers_go_on_and_writing_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.redb");
    let full = Arc::new(AtomicBool::new(false));
    let (file, switch) = (path.clone(), Arc::clone(&full));
    let opener = move || {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)?;
        let backend = Faulty(FileBackend::new(file)?, Arc::clone(&switch));
        Builder::new().create_with_backend(backend)
    };
    let store = Store::open_by(&path, Box::new(opener)).unwrap();
    let put = |id: u32| {
        store.write("put", |txn| {
            txn.open_table(RAW)?
                .insert((id, 0, 0), vec![7; 3 << 20].as_slice())?;
            Ok(())
        })
    };
    let get = |id: u32| {
        store.read("get", |txn| {
            Ok(txn.open_table(RAW)?.get((id, 0, 0))?.is_some())
        })
    };
    let until = |condition: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it did not come back");
            std::thread::yield_now();
        }
    };
    put(1).unwrap();
    full.store(true, Ordering::SeqCst);
    assert!(
        put(2)
            .unwrap_err()
            .to_string()
            .contains("put in the blocks' file")
    );
    until(&|| get(1).is_ok_and(|found| found));
    assert!(put(2).is_err());
    full.store(false, Ordering::SeqCst);
    until(&|| put(3).is_ok());
    assert_eq!([1, 2, 3].map(|id| get(id).unwrap()), [true, false, true]);
    assert_eq!(store.broken.what(), None);
}

#[test]
fn runs_that_do_not_end_cleanly_are_counted_until_a_check_is_passed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.redb");
    let mark = dir.path().join("blocks.redb.open");
    for (before, during) in [("", "1"), ("1", "2"), ("2", "1"), ("damaged: a page", "1")] {
        if !before.is_empty() {
            std::fs::write(&mark, before).unwrap();
        }
        let store = Store::open(&path, 1 << 20).unwrap();
        assert_eq!(
            std::fs::read_to_string(&mark).unwrap(),
            during,
            "after {before:?}"
        );
        drop(store);
        assert!(!mark.exists(), "a clean end");
    }
}
