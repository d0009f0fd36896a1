//! The command as a user types it: exit codes, one line for what can be mended, and how it stops.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

fn pulseboard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulseboard"));
    command.env_clear().env("RUST_LOG", "info");
    command
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
    let output = pulseboard()
        .arg("--config")
        .arg(&file)
        .arg("check-config")
        .output()
        .expect("runs");
    assert_refused(&output, &["rooms.x.events.e", "not a JSON Schema"]);
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

/// A server that has printed its address.
struct Running {
    child: Child,
    first_line: String,
    _stdout: BufReader<ChildStdout>,
}

fn start() -> Running {
    let mut child = pulseboard()
        .args(["--bind", "127.0.0.1:0", "--data-dir", "memory"])
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
        _stdout: stdout,
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
        let process = running.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &process])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        assert_eq!(
            running.child.wait().expect("ends").code(),
            Some(0),
            "{signal}"
        );
    }
}
