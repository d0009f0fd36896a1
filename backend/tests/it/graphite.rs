//! Graphite's plaintext over TCP and UDP.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use pulseboard::settings::DataDir;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use crate::{
    agents::last,
    support::{PATIENCE, START_MS, TestServer},
};

const SECOND: i64 = START_MS / 1000;

fn free_address() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("an address")
}

async fn is_eventually(server: &TestServer, selector: &str, value: Value) {
    server
        .eventually(selector, async || {
            last(server, "default", selector).await == value
        })
        .await;
}

#[tokio::test]
async fn lines_come_in_over_both() {
    let address = free_address();
    let server = TestServer::start_with(|settings| settings.graphite_addr = Some(address)).await;
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    let lines = format!("servers.web1.load 0.25 {SECOND}\ndisk;rack=a1 17 -1\nbroken\ncut.in");
    tcp.write_all(lines.as_bytes()).await.expect("sent");
    is_eventually(&server, "servers.web1.load", json!(0.25)).await;
    is_eventually(&server, "disk{rack=\"a1\"}", json!(17.0)).await;
    // A line goes on where it was cut, and the last one needs no end.
    tcp.write_all(format!(".two 3 {SECOND}\nlast 4 -1").as_bytes())
        .await
        .expect("sent");
    tcp.shutdown().await.expect("ended");
    is_eventually(&server, "cut.in.two", json!(3.0)).await;
    is_eventually(&server, "last", json!(4.0)).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for datagram in ["udp.one 1 -1\nudp.two 2 -1", "udp.three 3 -1\n"] {
        udp.send_to(datagram.as_bytes(), address)
            .await
            .expect("sent");
    }
    for (name, value) in [("udp.one", 1.0), ("udp.two", 2.0), ("udp.three", 3.0)] {
        is_eventually(&server, name, json!(value)).await;
    }
    assert_eq!(last(&server, "red", "udp.one").await, Value::Null);
    assert_eq!(
        server.own_metric("pulseboard_graphite_lines_total").await,
        7
    );
    let counts = server.json("/api/ingest").await;
    assert_eq!(counts["refused"], json!({"malformed": 1}));
    assert_eq!(counts["refusals"][0]["endpoint"], "Graphite");
    server.stop().await;
}

#[tokio::test]
async fn a_line_without_an_end_is_cut_off() {
    let address = free_address();
    let server = TestServer::start_with(|settings| settings.graphite_addr = Some(address)).await;
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    // The server may close before all of it was sent.
    tcp.write_all(&[b'a'; 80_000]).await.ok();
    let mut rest = [0; 1];
    let read = tcp.read(&mut rest).await;
    assert!(!matches!(read, Ok(1)), "it is closed");
    let counts = server.json("/api/ingest").await;
    let reason = counts["refusals"][0]["reason"].as_str().expect("text");
    assert!(reason.contains("more than 65536 bytes"), "{reason}");
    server.stop().await;
}

/// How long a server waits for what has to come.
const DEADLINE: Duration = Duration::from_secs(30);

/// Sends this and waits until the server ends the connection; how long that took.
pub(crate) async fn ended_after(address: SocketAddr, first: &[u8]) -> Duration {
    let began = Instant::now();
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    tcp.write_all(first).await.expect("sent");
    let mut told = Vec::new();
    let reading = tcp.read_to_end(&mut told);
    let ended = tokio::time::timeout(DEADLINE + PATIENCE, reading).await;
    assert!(ended.is_ok(), "never given up: {first:?}");
    began.elapsed()
}

#[tokio::test]
async fn who_says_nothing_is_cut_off_and_who_has_said_something_may_rest() {
    let address = free_address();
    let server = TestServer::start_with(|settings| settings.graphite_addr = Some(address)).await;
    let mut resting = TcpStream::connect(address).await.expect("connects");
    resting.write_all(b"first 1 -1\n").await.expect("sent");
    is_eventually(&server, "first", json!(1.0)).await;
    let openings = ["", "half", "whole 1 -1\nhalf"];
    let ended = openings.map(|opening| ended_after(address, opening.as_bytes()));
    for took in join_all(ended).await {
        assert!(took < DEADLINE + Duration::from_secs(5), "{took:?}");
    }
    // Longer silent than those who were cut off.
    resting.write_all(b"second 2 -1\n").await.expect("sent");
    is_eventually(&server, "second", json!(2.0)).await;
    is_eventually(&server, "whole", json!(1.0)).await;
    server.stop().await;
}

#[tokio::test]
async fn one_address_takes_its_share_of_connections() {
    let address = free_address();
    let server = TestServer::start_with(|settings| settings.graphite_addr = Some(address)).await;
    let mut open = Vec::new();
    for number in 0..32 {
        let mut tcp = TcpStream::connect(address).await.expect("connects");
        tcp.write_all(format!("n{number} 1 -1\n").as_bytes())
            .await
            .expect("sent");
        is_eventually(&server, &format!("n{number}"), json!(1.0)).await;
        open.push(tcp);
    }
    let mut more = TcpStream::connect(address).await.expect("connects");
    let read = more.read(&mut [0; 1]).await;
    assert!(!matches!(read, Ok(1)), "it is closed");
    open.clear();
    server
        .eventually("there is a place again", async || {
            let mut tcp = TcpStream::connect(address).await.expect("connects");
            tcp.write_all(b"again 1 -1\n").await.ok();
            last(&server, "default", "again").await == json!(1.0)
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_read_is_there_after_a_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = DataDir::Path(folder.path().to_owned());
    let address = free_address();
    let server = TestServer::start_with(|settings| {
        settings.data_dir = data.clone();
        settings.graphite_addr = Some(address);
    })
    .await;
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    tcp.write_all(b"kept 1 -1\n").await.expect("sent");
    is_eventually(&server, "kept", json!(1.0)).await;
    server.stop().await;
    let server = TestServer::start_with(|settings| settings.data_dir = data).await;
    assert_eq!(last(&server, "default", "kept").await, 1.0);
    server.stop().await;
}
