//! Stopping: viewers are told, nothing is left.

use crate::support::TestServer;

#[tokio::test]
async fn viewers_are_told_to_come_back_each_at_another_moment() {
    let server = TestServer::start().await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let mut socket = server.ws("/ws/metrics").await;
        socket.json_of("initial").await;
        sockets.push(socket);
    }
    let mut stream = server.sse("/events/alerts").await;
    server.begin_stop();
    let mut moments = std::collections::BTreeSet::new();
    for socket in &mut sockets {
        let (code, reason) = socket.closed().await;
        assert_eq!(code, 1012);
        moments.insert(reason);
    }
    assert_eq!(moments.len(), 5, "{moments:?}");
    assert!(
        stream.next().await.is_none(),
        "the event stream ends, and is not cut"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_stopped_server_takes_no_connection() {
    let server = TestServer::start().await;
    let address = server.address;
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
