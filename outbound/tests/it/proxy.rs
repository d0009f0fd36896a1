//! Through a proxy: plain requests by their whole address, TLS by a tunnel.

use pulseboard_outbound::{Client, ClientConfig, Secret};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::support::{LIMIT, headers, ok, request, serve, soon};

fn through(address: std::net::SocketAddr, no_proxy: &str) -> Client {
    Client::new(&ClientConfig {
        proxy_url: Some(Secret::new(format!("http://me:secret@{address}"))),
        no_proxy: Some(no_proxy.to_owned()),
        ..ClientConfig::default()
    })
    .expect("a client")
}

#[tokio::test]
async fn a_plain_request_names_its_whole_address() {
    let proxy = serve(ok).await;
    let got = through(proxy.address, "")
        .get("http://far.example/metrics", &headers(), soon(), LIMIT)
        .await
        .expect("an answer");
    let text = String::from_utf8_lossy(&got.body).into_owned();
    assert!(
        text.starts_with("GET http://far.example/metrics HTTP/1.1"),
        "{text}"
    );
    assert!(
        text.contains("proxy-authorization: Basic bWU6c2VjcmV0"),
        "{text}"
    );
}

#[tokio::test]
async fn some_hosts_are_asked_straight() {
    let proxy = serve(|_| ok("proxy")).await;
    let near = serve(|_| ok("near")).await;
    let got = through(proxy.address, ".example, 127.0.0.1")
        .get(&near.url("/"), &headers(), soon(), LIMIT)
        .await
        .expect("an answer");
    assert_eq!(got.body, "near");
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = through(listener.local_addr().expect("an address"), "");
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody");
        let asked = request(&mut stream).await.expect("a request");
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            .await
            .expect("written");
        asked
    });
    let error = client
        .get("https://far.example/", &headers(), soon(), LIMIT)
        .await
        .expect_err("forbidden");
    assert!(error.to_string().contains("far.example"), "{error}");
    let asked = proxy.await.expect("asked").to_ascii_lowercase();
    assert!(asked.starts_with("connect far.example:443 "), "{asked}");
    assert!(asked.contains("proxy-authorization: basic "), "{asked}");
}
