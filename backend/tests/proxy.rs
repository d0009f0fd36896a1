//! The server behind a real nginx, and beside a process of another user. What is not to be had here
//! (nginx, curl, root's rights) is said and passed over.

#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(15);
/// Who nobody is on Debian and most others.
const NOBODY: u32 = 65_534;

/// A child process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct Server {
    address: String,
    _process: Process,
}

fn start(arguments: &[&str]) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
        .env_clear()
        .args([
            "--bind",
            "127.0.0.1:0",
            "--data-dir",
            "memory",
            "--source",
            "none",
        ])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a greeting");
    let address = line
        .trim()
        .strip_prefix("Pulseboard is at http://")
        .and_then(|rest| rest.strip_suffix('/'))
        .expect("an address")
        .to_owned();
    Server {
        address,
        _process: Process(child),
    }
}

fn program(name: &str) -> Option<PathBuf> {
    [
        "/usr/sbin",
        "/usr/bin",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/bin",
    ]
    .iter()
    .map(|folder| Path::new(folder).join(name))
    .chain(
        std::env::var_os("PULSEBOARD_NGINX")
            .map(PathBuf::from)
            .filter(|_| name == "nginx"),
    )
    .find(|path| path.is_file())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

struct Nginx {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        drop(self.child.wait());
    }
}

/// An nginx whose one location has these lines; `None` where there is no nginx.
fn nginx(lines: &str) -> Option<Nginx> {
    let Some(program) = program("nginx") else {
        eprintln!("skipped: there is no nginx here");
        return None;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open to it");
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let user = if is_root() {
        "user nobody nogroup;"
    } else {
        ""
    };
    let base = folder.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {base}/{kind};\n"))
        .collect();
    let config = format!(
        "{user} daemon off; pid {base}/pid; error_log {base}/error.log;\n\
         events {{}}\n\
         http {{ access_log off; {temporary}\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ {lines} }} }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config).expect("written");
    let child = Command::new(program)
        .arg("-p")
        .arg(folder.path())
        .arg("-e")
        .arg(folder.path().join("error.log"))
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts");
    let nginx = Nginx {
        port,
        child,
        _folder: folder,
    };
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "nginx does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(nginx)
}

async fn role(http: &Client, url: &str, headers: &[(&str, &str)]) -> String {
    let mut request = http.get(format!("{url}/api/session")).timeout(PATIENCE);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let session: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    session["role"].as_str().expect("a role").to_owned()
}

async fn makes_admin(http: &Client, url: &str, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = http
        .post(format!("{url}/api/tokens"))
        .json(&json!({"role": "admin"}));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer").status()
}

#[tokio::test]
async fn a_plain_proxy_makes_viewers_of_all() {
    let server = start(&[]);
    let http = Client::new();
    let direct = format!("http://{}", server.address);
    assert_eq!(role(&http, &direct, &[]).await, "operator");
    let pass = format!("proxy_pass http://{};", server.address);
    let mut ways = vec![
        pass.clone(),
        format!("{pass} proxy_set_header X-Real-IP $remote_addr;"),
        format!("{pass} proxy_http_version 1.1; proxy_set_header Host $host;"),
        format!("{pass} proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr;"),
    ];
    if is_root() {
        // Nothing at all tells that there is a proxy, but whose process it is.
        ways.push(format!(
            "{pass} proxy_http_version 1.1; proxy_set_header Connection '';"
        ));
        ways.push(format!(
            "{pass} proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
        ));
    } else {
        eprintln!("skipped: only root has an nginx that runs as somebody else");
    }
    for lines in ways {
        let Some(nginx) = nginx(&lines) else { return };
        let url = format!("http://127.0.0.1:{}", nginx.port);
        for host in [
            None,
            Some("metrics.example.org"),
            Some(server.address.as_str()),
        ] {
            let headers: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            assert_eq!(
                role(&http, &url, &headers).await,
                "viewer",
                "{lines} by {host:?}"
            );
            assert_eq!(makes_admin(&http, &url, &headers).await, 401, "{lines}");
        }
        let control = http
            .get(format!("{url}/ws/control"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .send()
            .await
            .expect("an answer");
        assert_ne!(control.status(), 101, "{lines}");
    }
}

/// As the README has it.
fn documented(address: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))
        .expect("the README");
    let (_, rest) = readme
        .split_once("    location / {\n")
        .expect("nginx's part");
    let (lines, _) = rest.split_once("    }\n").expect("its end");
    lines.replace("127.0.0.1:3000", address)
}

#[tokio::test]
async fn a_proxy_as_the_readme_has_it_is_believed_where_it_is_trusted() {
    let trusting = start(&[
        "--trusted-proxies",
        "127.0.0.1",
        "--anonymous-role",
        "viewer",
    ]);
    let stranger = start(&["--anonymous-role", "viewer"]);
    let http = Client::new();
    let post = async |url: &str, origin: &str| {
        let answer = http
            .post(format!("{url}/api/tickets"))
            .header("origin", origin)
            .send()
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let Some(front) = nginx(&documented(&trusting.address)) else {
        return;
    };
    let url = format!("http://127.0.0.1:{}", front.port);
    assert_eq!(role(&http, &url, &[]).await, "viewer");
    // The page's own requests, on a port of the proxy's own.
    assert_eq!(post(&url, &url).await.0, 200);
    assert_eq!(post(&url, "http://127.0.0.1").await.0, 403);
    assert_eq!(post(&url, "null").await.0, 403);

    // A proxy that loses the port of Host, and tells it.
    let told = format!(
        "proxy_pass http://{}; proxy_set_header Host $host; proxy_set_header X-Forwarded-Port $server_port;",
        trusting.address
    );
    let Some(front) = nginx(&told) else { return };
    let url = format!("http://127.0.0.1:{}", front.port);
    assert_eq!(post(&url, &url).await.0, 200);

    // One that is not trusted is told what is missing.
    let told = told.replace(&trusting.address, &stranger.address);
    let Some(front) = nginx(&told) else { return };
    let url = format!("http://127.0.0.1:{}", front.port);
    let (status, said) = post(&url, &url).await;
    assert_eq!(status, 403);
    for part in ["X-Forwarded-Port", "TRUSTED_PROXIES", "127.0.0.1"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn guessers_behind_a_trusted_proxy_are_told_apart() {
    let server = start(&["--trusted-proxies", "127.0.0.1"]);
    // Two clients are two addresses of loopback.
    let Some(front) = nginx(&documented(&server.address)) else {
        return;
    };
    let url = format!("http://127.0.0.1:{}", front.port);
    let client = |address: [u8; 4]| {
        Client::builder()
            .local_address(std::net::IpAddr::from(address))
            .build()
            .expect("a client")
    };
    // Loopback is trusted as a whole only by its first address: these are clients.
    let (guesser, honest) = (client([127, 0, 0, 2]), client([127, 0, 0, 3]));
    let admin_link = async |http: &Client| {
        http.request(Method::POST, format!("{url}/api/login"))
            .json(&json!({"token": "guess"}))
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    for _ in 0..10 {
        assert_eq!(admin_link(&guesser).await, 401);
    }
    assert_eq!(admin_link(&guesser).await, 429);
    assert_eq!(admin_link(&honest).await, 401);
}

#[tokio::test]
async fn another_users_process_is_a_viewer() {
    let server = start(&[]);
    let Some(curl) = program("curl").filter(|_| is_root()) else {
        eprintln!("skipped: this needs root and curl");
        return;
    };
    let ask = |user: Option<u32>| {
        let mut command = Command::new(&curl);
        command
            .env_clear()
            .args(["--silent", "--max-time", "10"])
            .arg(format!("http://{}/api/session", server.address));
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let output = command.output().expect("curl runs");
        let session: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        session["role"].as_str().expect("a role").to_owned()
    };
    assert_eq!(ask(None), "operator");
    assert_eq!(ask(Some(NOBODY)), "viewer");
}

#[tokio::test]
async fn any_origin_and_a_rebound_name_are_viewers() {
    let server = start(&["--allowed-origins", "*"]);
    let http = Client::new();
    let url = format!("http://{}", server.address);
    let port = server.address.rsplit(':').next().expect("a port");
    let rebound = format!("rebound.test:{port}");
    for headers in [
        [("origin", "https://evil.example")].as_slice(),
        &[("origin", "null")],
        &[("host", rebound.as_str())],
        &[
            ("host", rebound.as_str()),
            ("origin", "http://rebound.test"),
        ],
    ] {
        assert_eq!(role(&http, &url, headers).await, "viewer", "{headers:?}");
        assert_eq!(makes_admin(&http, &url, headers).await, 401, "{headers:?}");
    }
    assert_eq!(role(&http, &url, &[]).await, "operator");
    let named = start(&["--allowed-hosts", "board.example.org,b:8443"]);
    let url = format!("http://{}", named.address);
    for (host, status) in [
        ("board.example.org", 200),
        ("BOARD.example.org.:99", 200),
        ("b:8443", 200),
        ("b:8444", 421),
        ("b", 421),
        ("rebound.test", 421),
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]", 200),
    ] {
        let answer = http
            .get(format!("{url}/api/stats"))
            .header("host", host)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status, "{host}");
    }
}
