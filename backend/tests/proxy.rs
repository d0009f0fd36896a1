//! The server behind a real nginx and a real haproxy, as `deploy/` has them, and beside a process
//! of another user. What is not to be had here (nginx, haproxy, curl, root's rights) is said and
//! passed over.

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

use futures_util::StreamExt as _;
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
        [("nginx", "PULSEBOARD_NGINX"), ("haproxy", "HAPROXY")]
            .iter()
            .filter(|(of, _)| *of == name)
            .filter_map(|(_, variable)| std::env::var_os(variable))
            .map(PathBuf::from),
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn wait_for(port: u16, what: &str) {
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "{what} does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An nginx whose one location has these lines; `None` where there is no nginx.
fn nginx(lines: &str) -> Option<Nginx> {
    nginx_with(|port| {
        format!(
            "map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ {lines} }} }}"
        )
    })
}

/// An nginx that serves what stands in `http`, which is told a port to listen at.
fn nginx_with(http: impl FnOnce(u16) -> String) -> Option<Nginx> {
    let Some(program) = program("nginx") else {
        eprintln!("skipped: there is no nginx here");
        return None;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open to it");
    let port = free_port();
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
         http {{ access_log off; {temporary}\n{} }}\n",
        http(port)
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
    wait_for(port, "nginx");
    Some(nginx)
}

/// A file of `deploy/`.
fn deployed(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    fs::read_to_string(folder.join(name)).expect("a file of deploy/")
}

/// `deploy/nginx.conf` before this backend, as it stands but for where it listens and asks.
fn documented(address: &str) -> Option<Nginx> {
    let text = deployed("nginx.conf");
    assert!(text.contains("server 127.0.0.1:3000 ") && text.contains("listen 8080;"));
    let text = text.replace("server 127.0.0.1:3000 ", &format!("server {address} "));
    nginx_with(|port| text.replace("listen 8080;", &format!("listen 127.0.0.1:{port};")))
}

/// `deploy/haproxy.cfg` before these backends, likewise.
fn haproxy(addresses: [&str; 3]) -> Option<(u16, Process, tempfile::TempDir)> {
    let Some(program) = program("haproxy") else {
        eprintln!("skipped: there is no haproxy here");
        return None;
    };
    let port = free_port();
    let mut text = deployed("haproxy.cfg");
    assert!(text.contains("bind :8080\n"));
    text = text.replace("bind :8080\n", &format!("bind 127.0.0.1:{port}\n"));
    for (number, address) in (1..).zip(addresses) {
        let named = format!(" pulseboard-{number}:3000\n");
        assert!(text.contains(&named));
        text = text.replace(&named, &format!(" {address}\n"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, text).expect("written");
    let child = Command::new(program)
        .arg("-db")
        .arg("-f")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("haproxy starts");
    let process = Process(child);
    wait_for(port, "haproxy");
    Some((port, process, folder))
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

#[tokio::test]
async fn nginx_as_deploy_has_it_is_believed_where_it_is_trusted() {
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
    let Some(front) = documented(&trusting.address) else {
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
    let Some(front) = documented(&server.address) else {
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

/// A stream through a proxy: its first bytes, and that it stays.
async fn streams(url: &str) {
    let mut events = Client::new()
        .get(format!("{url}/events/alerts"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(events.status(), 200);
    let first = tokio::time::timeout(PATIENCE, events.chunk()).await;
    let first = first.expect("at once").expect("whole").expect("something");
    assert!(first.starts_with(b"retry:"), "{first:?}");
    let socket = format!("{}/ws/metrics", url.replace("http:", "ws:"));
    let (mut socket, _) = tokio_tungstenite::connect_async(socket)
        .await
        .expect("the socket opens");
    let first = tokio::time::timeout(PATIENCE, socket.next()).await;
    let first = first.expect("at once").expect("open").expect("a message");
    assert!(first.to_text().expect("text").contains("\"initial\""));
}

#[tokio::test]
async fn nginx_as_deploy_has_it_passes_streams_on() {
    let server = start(&["--trusted-proxies", "127.0.0.1"]);
    let Some(front) = documented(&server.address) else {
        return;
    };
    streams(&format!("http://127.0.0.1:{}", front.port)).await;
}

#[tokio::test]
async fn haproxy_as_deploy_has_it_goes_on_with_those_that_are_there() {
    let backends = [(); 3].map(|()| start(&["--trusted-proxies", "127.0.0.1"]));
    let addresses = [0, 1, 2].map(|at: usize| backends[at].address.as_str());
    let Some((port, _process, _folder)) = haproxy(addresses) else {
        return;
    };
    let url = format!("http://127.0.0.1:{port}");
    let http = Client::builder()
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client");
    assert_eq!(role(&http, &url, &[]).await, "viewer");
    // What a client says of itself is not believed, and the page's own requests are its own.
    let said = [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
    ];
    assert_eq!(role(&http, &url, &said).await, "viewer");
    let own = http
        .post(format!("{url}/api/tickets"))
        .header("origin", &url)
        .send()
        .await
        .expect("an answer");
    assert_eq!(own.status(), 200);
    streams(&url).await;
    // Each of them has a name of its own for nobody but here: which tenant only it knows.
    for (at, backend) in backends.iter().enumerate() {
        let pushed = http
            .post(format!("http://{}/push", backend.address))
            .body(format!("backend_{at} 1"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(pushed.status(), 200);
    }
    let asked = async || {
        let list = http
            .get(format!(
                "{url}/api/series?match=%7B__name__%3D~%22backend_.%22%7D"
            ))
            .send()
            .await
            .expect("an answer");
        assert_eq!(list.status(), 200);
        let text = list.text().await.expect("text");
        (0..3)
            .find(|at| text.contains(&format!("backend_{at}")))
            .expect("one of them")
    };
    let mut seen = [false; 3];
    let began = Instant::now();
    while seen != [true; 3] {
        assert!(began.elapsed() < PATIENCE, "{seen:?}");
        seen[asked().await] = true;
    }
    // One ends as it is told to: nobody is refused meanwhile.
    let [first, rest @ ..] = backends;
    let pid = first._process.0.id().cast_signed();
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        asked().await;
    }
    drop((first, rest));
}
