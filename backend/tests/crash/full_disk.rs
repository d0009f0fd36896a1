//! A disk that is full: what comes is kept in memory, its senders are told, and it mends itself.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    recorder::Recorder,
    server::{Server, now_ms},
    storm::{ADMIN, make, one_by_one, rule},
};

/// A file system of two megabytes, as long as this lives.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path, size: &str) -> Result<Self, String> {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(at))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        // Lazily: a process that still ends may hold it.
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

/// A disk of 12 MB at `folder`; `None`, which is said, where nothing can be mounted.
fn small_disk(folder: &Path) -> Option<Tmpfs<'_>> {
    match Tmpfs::mount(folder, "12m") {
        Ok(mounted) => Some(mounted),
        Err(reason) => {
            eprintln!("skipped: no small file system can be mounted here: {reason}");
            None
        }
    }
}

/// Takes whatever room there is.
fn fill(ballast: &Path) {
    let full = fs::write(ballast, vec![1; 12 << 20]).expect_err("there is no room for it");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
}

/// What the disk does not take stays in memory, up to its bound: then nothing more is taken, which
/// is said, until the disk takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_its_bound_while_the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mounted) = small_disk(folder.path()) else {
        return;
    };
    let data = folder.path().join("data");
    let server = Server::start_with(&data, &[("SERIES_MEMORY_BYTES", "1048576")]);
    let (status, answer) = server.push("red", "red_before 1".to_owned()).await;
    assert_eq!(status, 200, "{answer}");
    let ballast = folder.path().join("ballast");
    fill(&ballast);

    let mut number = 0;
    let mut full = String::new();
    // Maintenance is kept every five seconds, and the window is halved before anything is sealed
    // early.
    let patience = Duration::from_secs(60);
    server
        .within(patience, "memory is full", async || {
            let start_ms = now_ms() - 600_000 + number;
            let body = (0..20_000).map(|at| {
                let value = 1.0 / f64::from(at + 3);
                format!("red_full {value} {}\n", start_ms + i64::from(at) * 20)
            });
            number += 1;
            let (status, answer) = server.push("red", body.collect()).await;
            assert!([200, 507].contains(&status), "{status}: {answer}");
            full = answer["detail"].as_str().unwrap_or_default().to_owned();
            full.starts_with("0 samples are shown")
        })
        .await;
    assert!(full.contains("memory is full"), "{full}");
    let ingest = server.json("/api/ingest?tenant=red").await;
    assert!(
        ingest["refused"]["window_full"].as_u64() > Some(0),
        "{ingest}"
    );
    assert!(ingest["warning"].is_string(), "{ingest}");

    fs::remove_file(&ballast).expect("removed");
    server
        .eventually("it takes samples again", async || {
            server.push("red", "red_after 2".to_owned()).await.0 == 200
        })
        .await;
    drop(server);
    drop(mounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_mends_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mounted) = small_disk(folder.path()) else {
        return;
    };
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let (status, answer) = server.push("red", "red_before 1".to_owned()).await;
    assert_eq!(status, 200, "{answer}");

    // Whatever room there is, is taken; and then what the log had room for.
    let ballast = folder.path().join("ballast");
    fill(&ballast);
    let mut unsafe_bodies = 0;
    for number in 0..200 {
        let body = (0..100).map(|at| format!("red_full{{n=\"{number}_{at}\"}} {at}\n"));
        let (status, answer) = server.push("red", body.collect()).await;
        match status {
            200 => {}
            507 => {
                let detail = answer["detail"].as_str().unwrap_or_default();
                assert!(detail.contains("not safe"), "{answer}");
                unsafe_bodies += 1;
            }
            _ => panic!("{status}: {answer}"),
        }
        if unsafe_bodies == 5 {
            break;
        }
    }
    assert_eq!(unsafe_bodies, 5, "the disk never was full");

    // It is in memory and shown, and everybody is told, in words.
    let list = server.json("/api/series?tenant=red&match=red_full").await;
    assert!(list["matched"].as_u64() > Some(100), "{list}");
    let ingest = server.json("/api/ingest?tenant=red").await;
    let warning = ingest["warning"].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains("cannot be written"), "{ingest}");
    let (status, ready) = server.get("/readyz").await;
    assert_eq!(status, 200, "reading and live figures go on: {ready}");
    assert_eq!(ready["ready"], true, "{ready}");
    assert_eq!(ready["history"]["writable"], false, "{ready}");
    // Probes have no token: the words, which name files, are not for everybody.
    let blue = server.json("/api/series?tenant=blue").await;
    assert_eq!(blue["total"], 0, "{blue}");

    // There is room again.
    fs::remove_file(&ballast).expect("removed");
    server
        .eventually("it takes samples again", async || {
            let (status, _) = server
                .push("red", "red_after 2\nred_full 3".to_owned())
                .await;
            status == 200
        })
        .await;
    server
        .eventually("it says so", async || {
            let ingest = server.json("/api/ingest?tenant=red").await;
            let ready = server.json("/readyz").await;
            ingest["warning"].is_null() && ready["history"]["writable"] == true
        })
        .await;

    // And what was acknowledged is there after a kill.
    server.kill();
    let server = Server::start(&data);
    for (name, last) in [("red_before", 1.0), ("red_after", 2.0)] {
        let list = server
            .json(&format!("/api/series?tenant=red&match={name}"))
            .await;
        assert_eq!(list["series"][0]["last"], last, "{name}: {list}");
    }
    drop(server);
    drop(mounted);
}

/// Somebody is told of what fires while the disk is full, which may be just that; once, whatever
/// comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_be_told_is_told_though_the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mounted) = small_disk(folder.path()) else {
        return;
    };
    let recorder = Recorder::start();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = one_by_one(elsewhere.path(), &recorder.url);
    let tokens = format!("{ADMIN}=admin");
    let settings = [
        ("NOTIFY_PRIVATE", "on"),
        ("ALERTMANAGER_CONFIG", file.as_str()),
        ("AUTH_TOKENS", tokens.as_str()),
        ("METRIC_INTERVAL_MS", "200"),
    ];
    let data = folder.path().join("data");
    let mut server = Server::start_with(&data, &settings);
    for tenant in ["default", "shop"] {
        make(&server, tenant, "/api/rules", &rule()).await;
    }
    let ballast = folder.path().join("ballast");
    fill(&ballast);
    // Of both tenants; what the disk does not take is in memory.
    let load = async |server: &Server, number: u32, value: u32| {
        let mut statuses = Vec::new();
        for tenant in ["default", "shop"] {
            let line = format!("load{{i=\"{number}\"}} {value}");
            statuses.push(server.push(tenant, line).await.0);
        }
        statuses
    };
    // The log has room for a while.
    server
        .eventually("the disk is full", async || {
            load(&server, 1, 0).await.contains(&507)
        })
        .await;
    // Who is killed while a receiver answers says it again, with the key by which the receiver
    // knows that.
    let told = |status: &str| -> Vec<String> {
        let mut keys = Vec::new();
        let mut heard = recorder.heard();
        heard.retain(|one| {
            let is_new = !keys.contains(&one.key);
            keys.push(one.key.clone());
            is_new
        });
        let alerts = heard.iter().flat_map(|one| one.told("i"));
        alerts
            .filter(|(_, said)| *said == status)
            .map(|(number, _)| number.to_owned())
            .collect()
    };
    load(&server, 1, 5).await;
    server
        .eventually("the firing is told", async || told("firing") == ["1"])
        .await;
    let active = server.json("/api/alerts?tenant=shop").await;
    assert_eq!(active[0]["rule"], "Load", "{active}");
    load(&server, 1, 0).await;
    server
        .eventually("its end is told", async || told("resolved") == ["1"])
        .await;

    fs::remove_file(&ballast).expect("removed");
    server
        .eventually("it takes samples again", async || {
            load(&server, 2, 0).await == [200, 200]
        })
        .await;
    load(&server, 2, 5).await;
    server
        .eventually("the next is told", async || told("firing") == ["1", "2"])
        .await;
    server.kill();
    server = Server::start_with(&data, &settings);
    load(&server, 2, 0).await;
    server
        .eventually("its end is told", async || told("resolved") == ["1", "2"])
        .await;
    assert_eq!(told("firing"), ["1", "2"], "each once");
    // What happened while nothing could be written is known by those who ask now.
    let listed = server.json("/api/incidents?rule=Load&limit=100").await;
    let kept = listed["incidents"].as_array().expect("a list");
    let numbers: Vec<&str> = kept
        .iter()
        .filter_map(|incident| incident["labels"]["i"].as_str())
        .collect();
    assert!(numbers.contains(&"2"), "{listed}");
    drop(server);
    drop(mounted);
}
