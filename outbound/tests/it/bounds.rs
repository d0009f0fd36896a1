//! Deadlines, sizes, unpacking.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use pulseboard_outbound::{Bodies, Error};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::Instant};

use crate::support::{LIMIT, answer, client, headers, request, serve, soon};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

#[tokio::test]
async fn who_hangs_is_given_up_at_the_deadline() {
    // one says nothing, one stops in the middle of its body
    for said in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (done, end) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody");
            request(&mut stream).await;
            stream.write_all(said).await.expect("written");
            end.await.ok();
        });
        let deadline = Instant::now() + Duration::from_millis(100);
        let error = client()
            .get(&url, &headers(), deadline, LIMIT)
            .await
            .expect_err("it hangs");
        assert_eq!(error, Error::TimedOut { to: url });
        assert!(deadline.elapsed() < Duration::from_secs(5));
        drop(done);
    }
}

#[tokio::test]
async fn a_body_may_be_as_large_as_allowed_and_no_larger() {
    let server = serve(|_| answer("200 OK", "", &[b'x'; 1000])).await;
    let url = server.url("/");
    let client = client();
    let got = client.get(&url, &headers(), soon(), 1000).await;
    assert_eq!(got.expect("an answer").body.len(), 1000);
    let error = client.get(&url, &headers(), soon(), 999).await;
    let error = error.expect_err("too large");
    assert_eq!(
        error,
        Error::TooLarge {
            to: url,
            limit: 999
        }
    );
}

#[tokio::test]
async fn gzip_is_unpacked_within_the_bound() {
    let text = vec![b'a'; 50_000];
    let body = packed(&text);
    let wire = body.len();
    let server = serve(move |request| {
        assert!(request.contains("accept-encoding: gzip"), "{request}");
        answer("200 OK", "content-encoding: gzip\r\n", &body)
    })
    .await;
    let client = client();
    let got = client
        .get(&server.url("/"), &headers(), soon(), 50_000)
        .await
        .expect("an answer");
    assert_eq!((got.body.len(), got.wire_bytes), (50_000, wire));
    let error = client
        .get(&server.url("/"), &headers(), soon(), 49_999)
        .await
        .expect_err("too large");
    assert!(matches!(error, Error::TooLarge { limit: 49_999, .. }));
}

#[tokio::test]
async fn bodies_that_share_memory_wait_for_it_and_fail_with_words() {
    let text = vec![b'a'; 50_000];
    let body = packed(&text);
    let server = serve(move |request| match request.starts_with("GET /packed") {
        true => answer("200 OK", "content-encoding: gzip\r\n", &body),
        false => answer("200 OK", "", &[b'x'; 1_000]),
    })
    .await;
    let (client, headers) = (client(), headers());
    let bodies = Bodies::of(&[(100, 1), (60_000, 1)]);
    for path in ["/", "/packed"] {
        let url = server.url(path);
        let first = client.get_within(&url, &headers, soon(), LIMIT, &bodies);
        let first = first.await.expect("an answer");
        let deadline = Instant::now() + Duration::from_millis(100);
        let second = client.get_within(&url, &headers, deadline, LIMIT, &bodies);
        let error = second.await.expect_err("the first is still there");
        assert_eq!(error, Error::NoMemory { to: url.clone() });
        let third = client.get_within(&url, &headers, soon(), LIMIT, &bodies);
        let wait = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (third, ()) = tokio::join!(third, wait);
        assert!(third.is_ok(), "it had waited for the memory");
    }
}

#[tokio::test]
async fn what_only_says_that_it_is_gzip_is_told() {
    let server = serve(|_| answer("200 OK", "content-encoding: gzip\r\n", b"plain")).await;
    let error = client()
        .get(&server.url("/"), &headers(), soon(), LIMIT)
        .await
        .expect_err("not packed");
    assert!(matches!(error, Error::Packed { .. }), "{error}");
}

#[tokio::test]
async fn an_open_answer_is_read_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/watch",
        listener.local_addr().expect("an address")
    );
    let (next, mut wanted) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody");
        request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.expect("written");
        for piece in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
            wanted.recv().await;
            stream.write_all(piece.as_bytes()).await.expect("written");
        }
    });
    let mut reader = client()
        .open(&url, &headers(), soon())
        .await
        .expect("a head");
    for piece in [Some("one"), Some("two"), None] {
        next.send(()).await.expect("asked");
        let got = reader.chunk(soon()).await.expect("a piece");
        assert_eq!(got.as_deref(), piece.map(str::as_bytes));
    }
}
