//! `pulseboard backup` while samples come in, `restore` into another folder, `export` and `import`:
//! every sample is compared.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use crate::server::Server;

const TENANTS: [&str; 2] = ["default", "red"];

/// Every sample by series and time.
type Samples = BTreeMap<(String, i64), String>;

fn pulseboard(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulseboard"));
    command
        .env_clear()
        .args(arguments)
        .arg("--data-dir")
        .arg(folder);
    command.output().expect("runs")
}

fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What lines of an export say.
fn read(lines: &str) -> Samples {
    let mut samples = Samples::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let times = line["timestamps"].as_array().expect("times").iter();
        let values = line["values"].as_array().expect("values").iter();
        for (time, value) in times.zip(values) {
            let key = (line["metric"].to_string(), time.as_i64().expect("a time"));
            let before = samples.insert(key, value.to_string());
            assert_eq!(before, None, "a sample is there twice");
        }
    }
    samples
}

fn exported(server: &Server, tenant: &str, folder: &Path) -> Samples {
    let output = pulseboard(
        folder,
        &["export", "--url", &server.url, "--tenant", tenant],
    );
    let mut samples = read(&done(&output));
    // What the server counts of itself every 30 s is nobody's here.
    samples.retain(|(series, _), _| !series.contains("performance"));
    samples
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// Lines for a tenant; each time there is once.
fn lines(tenant: &str, from_ms: i64, times: i64) -> String {
    let line = |at_ms: i64| {
        (0..20).map(move |series| {
            format!(
                "load{{tenant=\"{tenant}\",series=\"{series}\"}} {}.5 {at_ms}\n",
                at_ms % 1_000
            )
        })
    };
    (0..times).flat_map(|at| line(from_ms + at * 100)).collect()
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("later").as_millis()).expect("a time")
}

#[tokio::test]
async fn a_backup_of_a_running_server_has_every_sample_and_is_restored_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let file = folder.path().join("all.backup");
    let server = Server::start(&data);
    let begin_ms = now_ms() - 3_600_000;
    for tenant in TENANTS {
        // Late as well as new: the first are in the history, the others in the log.
        for from_ms in [begin_ms, now_ms() - 60_000] {
            let (status, answer) = server.push(tenant, lines(tenant, from_ms, 200)).await;
            assert_eq!(status, 200, "{answer}");
        }
    }
    let before: Vec<Samples> = TENANTS
        .iter()
        .map(|tenant| exported(&server, tenant, &data))
        .collect();
    assert!(
        before.iter().all(|samples| samples.len() == 8_000),
        "{:?}",
        before[0].len()
    );
    // While more comes in.
    let more = async {
        for at in 0..50 {
            let body = lines("default", begin_ms + 1_000_000 + at * 1_000, 5);
            assert_eq!(server.push("default", body).await.0, 200);
        }
    };
    let making = tokio::task::spawn_blocking({
        let (data, file) = (data.clone(), file.clone());
        move || done(&pulseboard(&data, &["backup", "--to", path(&file)]))
    });
    let ((), said) = tokio::join!(more, making);
    assert!(said.expect("made").contains("bytes"));
    let after: Vec<Samples> = TENANTS
        .iter()
        .map(|tenant| exported(&server, tenant, &data))
        .collect();
    let left = fs::read_dir(data.join("snapshots"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0, "the server's own copy is gone");

    // Nobody restores under a server that runs, and what was there is kept.
    let refused = pulseboard(&data, &["restore", path(&file)]);
    assert_eq!(refused.status.code(), Some(2));
    let elsewhere = Server::start(&other);
    assert_eq!(
        elsewhere.push("red", "only_here 1\n".to_owned()).await.0,
        200
    );
    drop(elsewhere);
    let said = done(&pulseboard(&other, &["restore", path(&file)]));
    assert!(said.contains("what was there is in"), "{said}");
    let restored = Server::start(&other);
    for ((tenant, before), after) in TENANTS.iter().zip(&before).zip(&after) {
        let samples = exported(&restored, tenant, &other);
        for (key, value) in before {
            assert_eq!(samples.get(key), Some(value), "{tenant} {key:?}");
        }
        for (key, value) in &samples {
            assert_eq!(after.get(key), Some(value), "{tenant} {key:?}");
        }
    }
    drop(restored);

    // A file that is damaged changes nothing.
    let mut bytes = fs::read(&file).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = folder.path().join("damaged");
    fs::write(&damaged, &bytes).expect("written");
    let refused = pulseboard(&other, &["restore", path(&damaged)]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("damaged") && said.contains("is as it was"),
        "{said}"
    );
    let restored = Server::start(&other);
    assert!(exported(&restored, "red", &other).len() >= before[1].len());
    drop(restored);

    // Without a server the folder itself is copied.
    drop(server);
    let third = folder.path().join("third");
    done(&pulseboard(&data, &["backup", "--to", path(&file)]));
    done(&pulseboard(&third, &["restore", path(&file)]));
    let restored = Server::start(&third);
    for (tenant, after) in TENANTS.iter().zip(&after) {
        assert_eq!(&exported(&restored, tenant, &third), after, "{tenant}");
    }
}

#[tokio::test]
async fn what_is_exported_is_imported_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = Server::start(&data);
    let from_ms = now_ms() - 600_000;
    for tenant in TENANTS {
        assert_eq!(
            server.push(tenant, lines(tenant, from_ms, 3_000)).await.0,
            200
        );
    }
    let receiver = Server::start(&other);
    for tenant in TENANTS {
        let file = folder.path().join(tenant);
        let output = [
            "export",
            "--tenant",
            tenant,
            "--output",
            path(&file),
            "--match",
            "load",
        ];
        done(&pulseboard(&data, &output));
        let import = ["import", "--tenant", tenant, path(&file)];
        // Twice: nothing is there twice.
        for _ in 0..2 {
            let said = done(&pulseboard(&other, &import));
            assert!(said.contains(": 60000 accepted, 0 refused"), "{said}");
        }
        let samples = exported(&server, tenant, &data);
        assert_eq!(samples.len(), 60_000);
        assert!(exported(&receiver, tenant, &other) == samples, "{tenant}");
    }
    let csv = done(&pulseboard(
        &data,
        &["export", "--format", "csv", "--match", "load{series=\"1\"}"],
    ));
    assert_eq!(csv.lines().count(), 3_001);
    assert!(csv.starts_with("series,time,time_ms,value\r\n"));
    // What cannot be is said, with its place.
    let wrong = folder.path().join("wrong");
    fs::write(
        &wrong,
        "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1,2]}\n",
    )
    .expect("written");
    let refused = pulseboard(&other, &["import", path(&wrong)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("line 1"), "{said}");
    let refused = pulseboard(&data, &["export", "--match", "{"]);
    assert_eq!(refused.status.code(), Some(2));
    let nobody = pulseboard(&data, &["export", "--url", "http://127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(
        nobody.status.code() == Some(2) && said.contains("127.0.0.1:1"),
        "{said}"
    );
}

/// A server that takes little at once gets everything in parts; what it refuses of a piece is said.
#[tokio::test]
async fn what_is_too_large_at_once_is_imported_in_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = Server::start(&data);
    let from_ms = now_ms() - 600_000;
    let pushed = server.push("red", lines("red", from_ms, 1_000)).await;
    assert_eq!(pushed.0, 200);
    let exported_lines = done(&pulseboard(&data, &["export", "--tenant", "red"]));
    let most = exported_lines.lines().map(str::len).max().expect("lines") + 1;
    let count = exported_lines.lines().count();
    assert!(count > 10 && exported_lines.len() > 5 * most);
    let file = folder.path().join("lines");
    let wrong = "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1,2]}\n";
    fs::write(&file, format!("{exported_lines}{wrong}")).expect("written");
    let receiver = Server::start_with(&other, &[("MAX_BODY_BYTES", &(most + 100).to_string())]);
    let imported = pulseboard(&other, &["import", "--tenant", "red", path(&file)]);
    assert_eq!(imported.status.code(), Some(1));
    let said = String::from_utf8_lossy(&imported.stdout).into_owned();
    let lines = count + 1;
    assert!(
        said.contains(&format!("{lines} lines: 20000 accepted, 1 refused")),
        "{said}"
    );
    let complaint = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(
        complaint.contains(&format!(": 1 refused; line {lines}: "))
            && complaint.contains("1 values and 2 timestamps"),
        "{complaint}"
    );
    let samples = exported(&server, "red", &data);
    assert!(exported(&receiver, "red", &other) == samples);
    // A line that is too large alone is not passed over.
    drop(receiver);
    let most = (most / 2).to_string();
    let _receiver = Server::start_with(&other, &[("MAX_BODY_BYTES", &most)]);
    let refused = pulseboard(&other, &["import", "--tenant", "red", path(&file)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && said.contains("413"),
        "{said}"
    );
}

/// A page that somebody else shows in the server's place is neither an export nor an import that
/// was taken.
#[test]
fn a_page_in_the_servers_place_is_no_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok((mut stream, _)) = listener.accept() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let mut head = [0; 4096];
                let read = std::io::Read::read(&mut stream, &mut head);
                let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
                let written = std::io::Write::write_all(&mut stream, page.as_bytes());
                assert!(read.is_ok() && written.is_ok());
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let (lines, output) = (folder.path().join("lines"), folder.path().join("output"));
        fs::write(&lines, "{}\n").expect("written");
        let answers = [
            &["import", "--url", &url, path(&lines)][..],
            &["export", "--url", &url, "--output", path(&output)],
            &["export", "--url", &url, "--format", "csv"],
        ]
        .map(|arguments| pulseboard(folder.path(), arguments));
        is_over.store(true, Ordering::Relaxed);
        std::net::TcpStream::connect(listener.local_addr().expect("an address"))
            .expect("it listens");
        for refused in answers {
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains("text/html"), "{said}");
            assert!(refused.stdout.is_empty() && !output.exists());
        }
    });
}
