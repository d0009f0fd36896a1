//! RFC 6455 as far as it matters here, byte by byte: a raw socket against `/ws/metrics`.

use std::time::Duration;

use crate::support::{
    TestServer,
    raw::{self, BINARY, CLOSE, FIN, PING, TEXT, masked},
};

const PONG: u8 = 0xA;

/// An open WebSocket whose every byte the test chooses.
struct Raw(raw::Raw);

impl Raw {
    async fn open(server: &TestServer) -> Self {
        // Browsers may name more than one thing in `Connection`.
        let headers = raw::UPGRADE.replace("Connection: ", "Connection: keep-alive, ");
        let mut raw = server.raw("/ws/metrics", &headers).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // RFC 6455 §1.3 has this key and this answer.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert_eq!(
            raw.frame().await.map(|(head, _)| head),
            Some(FIN | TEXT),
            "the initial message"
        );
        Self(raw)
    }

    /// Sends a frame with this first byte, masked as clients must.
    async fn send(&mut self, head: u8, payload: &[u8]) {
        self.send_raw(&masked(head, payload)).await;
    }

    async fn send_raw(&mut self, bytes: &[u8]) {
        self.0.send(bytes).await;
    }

    /// The next frame's first byte and payload; `None` at the end.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        self.0.frame().await
    }

    /// The next frame must be a text message that contains this.
    async fn expect_text(&mut self, part: &str) {
        let (head, payload) = self.frame().await.expect("a frame");
        let text = String::from_utf8(payload).expect("UTF-8");
        assert!(
            head == FIN | TEXT && text.contains(part),
            "{head:#x} {text}"
        );
    }

    /// The server must close with this code, and then end the connection.
    async fn expect_close(&mut self, code: u16, why: &str) {
        let (head, payload) = self
            .frame()
            .await
            .unwrap_or_else(|| panic!("{why}: no close frame"));
        assert_eq!(head, FIN | CLOSE, "{why}");
        assert_eq!(
            payload.get(..2),
            Some(&code.to_be_bytes()[..]),
            "{why}: {payload:?}"
        );
        assert_eq!(
            self.frame().await,
            None,
            "{why}: nothing after the close frame"
        );
    }
}

const ASK: &[u8] = br#"{"type":"ping"}"#;

#[tokio::test]
async fn fragments_are_put_together_also_around_control_frames() {
    let server = TestServer::start().await;
    let mut raw = Raw::open(&server).await;
    raw.send(TEXT, &ASK[..3]).await;
    raw.send(0, &ASK[3..9]).await;
    raw.send(FIN | PING, b"between").await;
    raw.send(0, b"").await;
    raw.send(FIN, &ASK[9..]).await;
    assert_eq!(raw.frame().await, Some((FIN | PONG, b"between".to_vec())));
    raw.expect_text("pong").await;
    // One byte at a time over the wire.
    for byte in masked(FIN | TEXT, ASK) {
        raw.send_raw(&[byte]).await;
    }
    raw.expect_text("pong").await;
    // Several messages in one packet.
    raw.send_raw(&[masked(FIN | TEXT, ASK), masked(FIN | TEXT, ASK)].concat())
        .await;
    raw.expect_text("pong").await;
    raw.expect_text("pong").await;
    server.stop().await;
}

#[tokio::test]
async fn pings_come_back_with_their_payload() {
    let server = TestServer::start().await;
    let mut raw = Raw::open(&server).await;
    for length in [0, 1, 125] {
        let payload = vec![0xFE; length];
        raw.send(FIN | PING, &payload).await;
        assert_eq!(raw.frame().await, Some((FIN | PONG, payload)));
    }
    raw.send(FIN | PONG, b"unasked for").await;
    raw.send(FIN | TEXT, ASK).await;
    raw.expect_text("pong").await;
    server.stop().await;
}

#[tokio::test]
async fn the_client_may_close_with_any_code_that_is_one() {
    let server = TestServer::start().await;
    for code in [1000_u16, 1001, 1003, 1007, 3000, 4999] {
        let mut raw = Raw::open(&server).await;
        raw.send(FIN | CLOSE, &[&code.to_be_bytes()[..], b"bye"].concat())
            .await;
        raw.expect_close(code, "the code comes back").await;
    }
    // Who gives no reason, or no code, is given both.
    for (payload, code) in [(&[][..], 1000_u16), (&[3, 0xE8], 1000), (&[3, 0xE9], 1001)] {
        let mut raw = Raw::open(&server).await;
        raw.send(FIN | CLOSE, payload).await;
        let answer = [&code.to_be_bytes()[..], b"closed on request"].concat();
        assert_eq!(raw.frame().await, Some((FIN | CLOSE, answer)));
        assert_eq!(raw.frame().await, None, "and no second one");
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_closed_with_1002() {
    let server = TestServer::start().await;
    let mut unmasked = masked(FIN | TEXT, b"");
    unmasked[1] = 0;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a reserved bit", masked(FIN | 0x40 | TEXT, ASK)),
        ("a reserved opcode", masked(FIN | 0x3, ASK)),
        ("a reserved control opcode", masked(FIN | 0xB, b"")),
        ("a continuation of nothing", masked(FIN, b"x")),
        (
            "a new message inside another",
            [masked(TEXT, b"{"), masked(FIN | TEXT, b"}")].concat(),
        ),
        ("a control frame in fragments", masked(PING, b"x")),
        (
            "a control frame over 125 bytes",
            masked(FIN | PING, &[0; 126]),
        ),
        ("a frame without a mask", unmasked[..2].to_vec()),
        ("a close frame of one byte", masked(FIN | CLOSE, &[3])),
    ];
    for (why, bytes) in cases {
        let mut raw = Raw::open(&server).await;
        raw.send_raw(&bytes).await;
        raw.expect_close(1002, why).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn text_is_utf_8_up_to_its_borders() {
    let server = TestServer::start().await;
    // A character split over fragments is whole in the message.
    let word = "\"κόσμε \u{10FFFF}\"".as_bytes();
    let mut raw = Raw::open(&server).await;
    raw.send(TEXT, &word[..2]).await;
    raw.send(0, &word[2..word.len() - 3]).await;
    raw.send(FIN, &word[word.len() - 3..]).await;
    raw.expect_text("not an object").await;
    for wrong in [
        &[0xCE, 0xBA, 0xE1][..],   // cut short
        &[0xED, 0xA0, 0x80],       // a surrogate
        &[0xF4, 0x90, 0x80, 0x80], // past U+10FFFF
        &[0xC0, 0xAF],             // longer than needed
        &[0xFF],
    ] {
        let mut raw = Raw::open(&server).await;
        raw.send(FIN | TEXT, wrong).await;
        raw.expect_close(1007, &format!("{wrong:x?}")).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_stored() {
    let server = TestServer::start_with(|settings| settings.max_message_bytes = 1_000).await;
    let mut raw = Raw::open(&server).await;
    // Only the head of a frame that claims 2^40 bytes.
    raw.send_raw(&[FIN | TEXT, 0x80 | 127, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4])
        .await;
    raw.expect_close(1009, "a huge frame").await;
    let mut raw = Raw::open(&server).await;
    raw.send(TEXT, &[b'x'; 600]).await;
    raw.send(0, &[b'x'; 600]).await;
    raw.expect_close(1009, "many fragments").await;
    let mut raw = Raw::open(&server).await;
    raw.send(FIN | BINARY, &[1, 2, 3]).await;
    raw.expect_close(1003, "binary").await;
    server.stop().await;
}

#[tokio::test]
async fn clients_that_misbehave_leave_nothing_behind() {
    let mut server = TestServer::start().await;
    let mut good = server.ws("/ws/metrics").await;
    good.json_of("initial").await;
    let mut left_open = Vec::new();
    for number in 0..200_u8 {
        let mut raw = Raw::open(&server).await;
        match number % 5 {
            0 => raw.send_raw(b"GET / HTTP/1.1\r\n\r\n").await,
            1 => raw.send_raw(&[number; 300]).await,
            2 => raw.send(TEXT, b"never finished").await,
            3 => raw.send_raw(&masked(FIN | TEXT, ASK)[..4]).await,
            _ => raw.send(FIN | TEXT, b"garbage").await,
        }
        if number % 2 == 0 {
            left_open.push(raw);
        }
    }
    server.tick(5.0).await;
    assert_eq!(
        good.json_of("metrics").await["offset"],
        1,
        "who behaves notices nothing"
    );
    drop(left_open);
    let open = "pulseboard_streams_open{kind=\"ws_metrics\"}";
    server.clock.advance(Duration::from_secs(3)); // those who were closed do not linger for ever
    server
        .eventually("only the good one is left", async || {
            server.own_metric(open).await == 1
        })
        .await;
    assert_eq!(server.own_metric("pulseboard_panics_total").await, 0);
    server.stop().await;
}
