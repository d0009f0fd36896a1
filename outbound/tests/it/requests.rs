//! Asking, posting, redirects, connections that are used again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pulseboard_outbound::{Client, ClientConfig, Error, HeaderValue, header};

use crate::support::{LIMIT, answer, client, headers, ok, request, serve, soon};

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = serve(|request| ok(request.lines().next().unwrap_or_default())).await;
    let client = client();
    for path in ["/a", "/b?c=d", "/e"] {
        let got = client
            .get(&server.url(path), &headers(), soon(), LIMIT)
            .await
            .expect("an answer");
        assert_eq!(got.status, 200);
        assert_eq!(got.body, format!("GET {path} HTTP/1.1"));
    }
    assert_eq!(server.connected(), 1);
}

#[tokio::test]
async fn a_post_carries_its_body_and_headers() {
    let server = serve(ok).await;
    let mut headers = headers();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let got = client()
        .post(&server.url("/in"), &headers, "{}".into(), soon(), LIMIT)
        .await
        .expect("an answer");
    let text = String::from_utf8_lossy(&got.body).into_owned();
    assert!(text.starts_with("POST /in HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("content-type: application/json"), "{text}");
    assert!(text.contains("user-agent: pulseboard/"), "{text}");
    assert!(text.ends_with("\r\n\r\n{}"), "{text}");
}

#[tokio::test]
async fn an_answer_that_is_an_error_is_an_answer() {
    let server = serve(|_| answer("503 Service Unavailable", "", b"not now")).await;
    let got = client()
        .get(&server.url("/"), &headers(), soon(), LIMIT)
        .await
        .expect("an answer");
    assert!(!got.is_success());
    assert_eq!((got.status, &got.body[..]), (503, &b"not now"[..]));
}

#[tokio::test]
async fn redirects_are_followed_and_can_be_forbidden() {
    let server = serve(|request| {
        if request.starts_with("GET /old ") {
            answer("302 Found", "location: new?x=1\r\n", b"")
        } else {
            ok(request.lines().next().unwrap_or_default())
        }
    })
    .await;
    let got = client()
        .get(&server.url("/old"), &headers(), soon(), LIMIT)
        .await
        .expect("an answer");
    assert_eq!(got.body, "GET /new?x=1 HTTP/1.1");
    let stays = Client::new(&ClientConfig {
        follow_redirects: false,
        ..ClientConfig::default()
    })
    .expect("a client");
    let got = stays
        .get(&server.url("/old"), &headers(), soon(), LIMIT)
        .await
        .expect("an answer");
    assert_eq!(got.status, 302);
}

#[tokio::test]
async fn redirects_end() {
    let server = serve(|_| answer("302 Found", "location: /again\r\n", b"")).await;
    let error = client()
        .get(&server.url("/"), &headers(), soon(), LIMIT)
        .await
        .expect_err("no end");
    assert!(matches!(error, Error::Redirects { .. }), "{error}");
}

#[tokio::test]
async fn a_post_is_not_made_a_get() {
    let server = serve(|request| {
        if request.starts_with("POST /moved ") {
            answer("308 Permanent Redirect", "location: /kept\r\n", b"")
        } else if request.starts_with("POST /other ") {
            answer("302 Found", "location: /kept\r\n", b"")
        } else {
            ok(request.lines().next().unwrap_or_default())
        }
    })
    .await;
    let post = |path: &str| {
        let url = server.url(path);
        async move {
            client()
                .post(&url, &headers(), "x".into(), soon(), LIMIT)
                .await
        }
    };
    assert_eq!(
        post("/moved").await.expect("kept").body,
        "POST /kept HTTP/1.1"
    );
    assert_eq!(post("/other").await.expect("told").status, 302);
}

/// A server that closes what waits must not cost a scrape.
#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_made_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // says that it stays open, and does not
            if request(&mut stream).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::io::AsyncWriteExt::write_all(&mut stream, &ok("one"))
                    .await
                    .expect("written");
            }
        }
    });
    let client = client();
    for _ in 0..20 {
        let got = client.get(&url, &headers(), soon(), LIMIT).await;
        assert_eq!(got.expect("an answer").body, "one");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_in_words() {
    for (url, words) in [
        ("ftp://host/x", "it is ftp, and not http or https"),
        ("host:9100", "it is host"),
        ("", "relative URL"),
    ] {
        let error = client()
            .get(url, &headers(), soon(), LIMIT)
            .await
            .expect_err("no address");
        assert!(error.to_string().contains(words), "{error}");
    }
    // a port where nobody is: bound and let go
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let error = client()
        .get(
            &format!("http://me:secret@{address}/metrics?token=secret"),
            &headers(),
            soon(),
            LIMIT,
        )
        .await
        .expect_err("nobody there");
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_asked_like_a_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("somebody");
        crate::support::talk(stream, |_| ok("from the socket")).await;
    });
    let client = Client::new(&ClientConfig {
        unix_socket: Some(path),
        ..ClientConfig::default()
    })
    .expect("a client");
    let got = client
        .get(
            "http://localhost/containers/json",
            &headers(),
            soon(),
            LIMIT,
        )
        .await
        .expect("an answer");
    assert_eq!(got.body, "from the socket");
}
