//! The command as a user types it: exit codes, one line for what can be mended, and how it stops.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

fn pulseboard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulseboard"));
    command.env_clear().env("RUST_LOG", "info");
    command
}

/// What `check-config` says of a file, and how it ends.
fn check_config(flag: &str, file: &Path) -> Output {
    let mut command = pulseboard();
    command.arg(flag).arg(file).arg("check-config");
    command.output().expect("runs")
}

/// Asserts that the command refuses with exit code 2 and one line that has all these parts.
fn assert_refused(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("pulseboard: "))
        .collect();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(lines.len(), 1, "{said}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn a_bad_setting_is_one_line_and_exit_code_2() {
    let output = pulseboard()
        .args(["--window-size", "many"])
        .output()
        .expect("runs");
    assert_refused(
        &output,
        &["WINDOW_SIZE", "many", "--window-size", "whole number"],
    );
    let output = pulseboard()
        .arg("check-config")
        .env("METRIC_SOURCE", "moon")
        .output()
        .expect("runs");
    assert_refused(
        &output,
        &["METRIC_SOURCE", "moon", "host, simulator or none"],
    );
}

#[test]
fn a_room_whose_schema_is_none_is_found_by_check_config() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, "[rooms.x.events.e]\ntype = \"no such type\"\n").expect("written");
    let output = check_config("--config", &file);
    assert_refused(&output, &["rooms.x.events.e", "not a JSON Schema"]);
}

#[test]
fn a_mistake_in_prometheus_yml_is_found_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, "global:\n  scrape_intervall: 5s\n").expect("written");
    let output = check_config("--prometheus-config", &file);
    let place = format!("PROMETHEUS_CONFIG={}:2:3: ", file.display());
    assert_refused(&output, &[&place, "unknown field `scrape_intervall`"]);
    fs::write(&file, "global:\n  scrape_interval: 5s\n").expect("written");
    let output = check_config("--prometheus-config", &file);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_address_that_nobody_can_be_at_stops_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (address, why) in [
        ("ftp://x", "it is ftp, and not http or https"),
        ("notaurl", "relative URL without a base"),
        ("http://", "empty host"),
        ("http:///x", "it names no host"),
        ("http://hub?tenant=a", "neither ? nor #"),
    ] {
        let data_dir = folder.path().join("agent");
        let mut agent = pulseboard();
        agent.args(["agent", "--to", address, "--data-dir"]);
        let output = agent.arg(&data_dir).output().expect("runs");
        assert_refused(&output, &["--to", &format!("{address:?}"), why]);
        assert!(!data_dir.exists(), "nothing is made");
    }
    let mut export = pulseboard();
    export.args(["export", "--url", "http://", "--data-dir", "memory"]);
    let output = export.output().expect("runs");
    assert_refused(&output, &["--url", "\"http://\"", "empty host"]);
}

#[test]
fn a_taken_port_is_one_line_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = pulseboard()
        .args(["--bind", &address, "--data-dir", "memory"])
        .output()
        .expect("runs");
    assert_refused(&output, &["BIND_ADDR", &address, "cannot listen"]);
}

#[test]
fn a_folder_that_cannot_be_had_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let output = pulseboard()
        .args(["--bind", "127.0.0.1:0", "--data-dir"])
        .arg(&file)
        .output()
        .expect("runs");
    assert_refused(&output, &["DATA_DIR", "folder"]);
}

#[test]
fn a_file_that_cannot_be_restored_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("damaged.backup");
    fs::write(&file, "PBBACKUP and no more").expect("written");
    let new = folder.path().join("a");
    let restore = || {
        let mut restore = pulseboard();
        restore.args(["restore", "--data-dir"]).arg(new.join("b"));
        restore.arg(&file).output().expect("runs")
    };
    assert_refused(&restore(), &["damaged.backup", "is as it was"]);
    assert!(!new.exists(), "no folder is made");
    fs::create_dir_all(new.join("b")).expect("made");
    assert_refused(&restore(), &["damaged.backup", "is as it was"]);
    let left = fs::read_dir(new.join("b")).expect("it was there").count();
    assert_eq!(left, 0);
}

/// A server that has printed its address.
struct Running {
    child: Child,
    first_line: String,
    stdout: BufReader<ChildStdout>,
}

fn start() -> Running {
    start_on("memory")
}

fn start_on(data_dir: &str) -> Running {
    let mut child = pulseboard()
        .args(["--bind", "127.0.0.1:0", "--data-dir", data_dir])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut first_line = String::new();
    stdout.read_line(&mut first_line).expect("a line");
    Running {
        child,
        first_line,
        stdout,
    }
}

#[test]
fn it_prints_its_address_and_stops_in_order_when_asked() {
    for signal in ["INT", "TERM"] {
        let mut running = start();
        assert!(
            running.first_line.contains("http://127.0.0.1:"),
            "{}",
            running.first_line
        );
        send(&running, signal);
        assert_eq!(
            running.child.wait().expect("ends").code(),
            Some(0),
            "{signal}"
        );
    }
}

/// A signal to a running server.
fn send(running: &Running, signal: &str) {
    let process = running.child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &process]).status();
    assert!(sent.expect("kill runs").success());
}

/// What a path answers on a connection of its own, as it comes; nothing where nobody answers.
fn asked(running: &Running, path: &str) -> String {
    let address = running.first_line.split("http://").nth(1);
    let address = address.and_then(|rest| rest.split(['/', ' ', '\n']).next());
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address.expect("an address")) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok();
        stream.read_to_string(&mut answer).ok();
    }
    answer
}

#[test]
fn a_hangup_ends_no_server_that_has_nothing_to_read_again() {
    let mut running = start();
    send(&running, "HUP");
    // The signal is dealt with by the time that this is answered, or ends the process before.
    for _ in 0..10 {
        assert!(asked(&running, "/healthz").starts_with("HTTP/1.1 200"));
    }
    send(&running, "TERM");
    assert_eq!(running.child.wait().expect("ends").code(), Some(0));
}

#[test]
fn probes_are_told_that_it_stops_while_it_finishes() {
    let mut running = start();
    let address = running
        .first_line
        .split("http://")
        .nth(1)
        .expect("an address");
    let address = address.split(['/', ' ', '\n']).next().expect("an address");
    // Half a request is under way, which the server waits for. It comes by the server's own name
    // and port: anybody else would be refused, and nothing be under way.
    let mut held = TcpStream::connect(address).expect("it listens");
    let half = format!("POST /push HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\nhalf");
    held.write_all(half.as_bytes()).expect("it reads");
    assert!(asked(&running, "/readyz").contains("\"stopping\":false"));
    send(&running, "TERM");
    let answer = loop {
        let answer = asked(&running, "/readyz");
        if !answer.contains("\"stopping\":false") && !answer.is_empty() {
            break answer;
        }
        assert!(
            running.child.try_wait().expect("asked").is_none(),
            "it was never said"
        );
    };
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"stopping\":true"), "{answer}");
    assert_eq!(
        asked(&running, "/api/stats"),
        "",
        "an event source would never come back"
    );
    drop(held);
    assert_eq!(running.child.wait().expect("ends").code(), Some(0));
}

/// What `admin-link` prints for this folder, and how it ends.
fn admin_link(data_dir: &str) -> Output {
    pulseboard()
        .args(["admin-link", "--data-dir", data_dir])
        .output()
        .expect("runs")
}

/// The status that a server answers when it is shown the secret of this link.
fn log_in_with(url: &str) -> String {
    let (address, secret) = url
        .strip_prefix("http://")
        .and_then(|url| url.trim().split_once("/#admin="))
        .expect("a link");
    let body = format!("{{\"admin_link\":\"{secret}\"}}");
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    let request = format!(
        "POST /api/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn links_of_the_start_and_of_the_command_make_an_admin() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let data_dir = data_dir.to_str().expect("text");
    let mut running = start_on(data_dir);
    let mut second_line = String::new();
    running
        .stdout
        .read_line(&mut second_line)
        .expect("a second line");
    let link = second_line
        .split_once("http://")
        .map(|(_, rest)| format!("http://{rest}"))
        .expect("a link");
    assert!(log_in_with(&link).contains(" 200 "));
    assert!(log_in_with(&link).contains(" 401 "));

    let made = admin_link(data_dir);
    assert!(made.status.success(), "{made:?}");
    // The port is the one that the server found, and nothing warns.
    assert!(made.stderr.is_empty(), "{made:?}");
    let link = String::from_utf8(made.stdout).expect("text");
    assert!(log_in_with(&link).contains(" 200 "), "{link}");
    assert!(log_in_with(&link).contains(" 401 "));
    running.child.kill().expect("killed");
    running.child.wait().expect("ends");

    let nobody = admin_link(data_dir);
    assert!(nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no server runs"));
}

#[test]
fn admin_link_says_why_there_can_be_none() {
    assert_refused(&admin_link("memory"), &["DATA_DIR=memory", "start"]);
    assert_refused(
        &admin_link("/nonexistent/folder"),
        &["DATA_DIR=/nonexistent"],
    );
}

#[test]
fn nobody_in_particular_can_be_made_admin() {
    for arguments in [["--anonymous-role", "admin"], ["--anonymous-role", "boss"]] {
        let output = pulseboard().args(arguments).output().expect("runs");
        assert_refused(
            &output,
            &[
                "ANONYMOUS_ROLE",
                arguments[1],
                "auto, none, viewer, writer or operator",
                "admin-link",
            ],
        );
    }
}

/// Whatever the user's umask, nobody else reads what is kept: every file and folder that a server
/// with samples, tokens and a journal leaves behind.
#[cfg(unix)]
#[test]
fn what_is_kept_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let shell = format!(
        "umask 000; exec \"$0\" --bind 127.0.0.1:0 --data-dir '{}'",
        data_dir.display()
    );
    let mut child = Command::new("/bin/sh")
        .env_clear()
        .args(["-c", &shell, env!("CARGO_BIN_EXE_pulseboard")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    let address = line
        .trim()
        .strip_prefix("Pulseboard is at http://")
        .and_then(|rest| rest.strip_suffix('/'))
        .expect("an address");
    let mut socket = std::net::TcpStream::connect(address).expect("connects");
    let body = "queue_depth 1\n";
    let push = format!(
        "POST /push HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(push.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let left = admin_link(data_dir.to_str().expect("text"));
    assert!(left.status.success(), "{left:?}");

    let mut folders = vec![data_dir];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let mode = |path: &Path| {
            let metadata = fs::symlink_metadata(path).expect("its attributes");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(
        files >= 4,
        "history, log, journal and lock at least: {files}"
    );
    child.kill().expect("ends");
    child.wait().expect("ended");
}

/// A certificate for `localhost` and its key, as files.
fn certificate(folder: &Path) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    };
    [
        write("cert.pem", made.cert.pem()),
        write("key.pem", made.signing_key.serialize_pem()),
    ]
}

/// Tries again and again until it succeeds.
fn eventually(what: &str, mut tried: impl FnMut() -> Output) -> String {
    let began = std::time::Instant::now();
    loop {
        let output = tried();
        if output.status.success() {
            return String::from_utf8(output.stdout).expect("text");
        }
        let waited = began.elapsed() < std::time::Duration::from_secs(30);
        assert!(waited, "{what}: {output:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn half_of_a_pair_and_a_wrong_one_stop_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [certificate, key] = certificate(folder.path());
    let output = check_config("--tls-cert", Path::new(&certificate));
    assert_refused(&output, &["TLS_CERT=", "needs TLS_KEY"]);
    let both = |certificate: &str, key: &str| {
        let mut command = pulseboard();
        command.args(["--tls-cert", certificate, "--tls-key", key, "check-config"]);
        command.output().expect("runs")
    };
    assert!(both(&certificate, &key).status.success());
    assert_refused(&both(&key, &key), &["TLS_CERT=", "no certificate"]);
    assert_refused(
        &both(&certificate, "/nonexistent"),
        &["TLS_KEY=/nonexistent"],
    );
}

#[test]
fn commands_and_an_agent_find_a_server_that_speaks_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [certificate, key] = certificate(folder.path());
    let data_dir = folder.path().join("hub");
    let data_dir = data_dir.to_str().expect("text");
    let mut hub = pulseboard()
        .args([
            "--bind",
            "127.0.0.1:0",
            "--source",
            "none",
            "--data-dir",
            data_dir,
        ])
        .args(["--tls-cert", &certificate, "--tls-key", &key])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut said = BufReader::new(hub.stdout.take().expect("piped")).lines();
    let mut line = || said.next().expect("a line").expect("text");
    let address = line();
    let address = address
        .strip_prefix("Pulseboard is at https://")
        .expect("an address");
    let (_, port) = address
        .trim_end_matches('/')
        .rsplit_once(':')
        .expect("a port");
    assert!(line().contains(&format!("https://127.0.0.1:{port}/#admin=")));

    // By the folder, whatever the certificate's names are.
    let beside = |arguments: &[&str]| {
        let mut command = pulseboard();
        command.args(arguments).args(["--data-dir", data_dir]);
        command.output().expect("runs")
    };
    assert_eq!(eventually("it is ready", || beside(&["ready"])), "ready\n");
    let link = beside(&["admin-link"]);
    assert!(String::from_utf8_lossy(&link.stdout).starts_with("https://127.0.0.1:"));
    let backup = folder.path().join("backup");
    let backed = beside(&["backup", "--to", backup.to_str().expect("text")]);
    assert!(backed.status.success(), "{backed:?}");

    // By its address: nobody on this machine has signed it.
    let url = format!("https://localhost:{port}");
    let export = |more: &[&str]| {
        let mut command = pulseboard();
        command.args(["export", "--url", &url, "--match", "{instance=\"away\"}"]);
        command.args(more).output().expect("runs")
    };
    assert!(!export(&[]).status.success());
    assert!(export(&["--ca-file", &certificate]).status.success());
    let agent_dir = folder.path().join("agent");
    let mut agent = pulseboard()
        .args([
            "agent",
            "--to",
            &url,
            "--instance",
            "away",
            "--ca-file",
            &certificate,
        ])
        .arg("--data-dir")
        .arg(&agent_dir)
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let began = std::time::Instant::now();
    while export(&["--ca-file", &certificate]).stdout.is_empty() {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(30),
            "nothing arrives"
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    for child in [&mut agent, &mut hub] {
        child.kill().expect("killed");
        child.wait().expect("ends");
    }
}
