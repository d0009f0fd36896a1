//! `GET /healthz` and `GET /readyz`.

use crate::support::TestServer;

#[tokio::test]
async fn ready_once_there_are_figures() {
    let mut server = TestServer::start().await;
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert_eq!(server.get("/readyz").await.status(), 503);
    server.tick(1.0).await;
    let readiness = server.json("/readyz").await;
    assert_eq!(readiness["ready"], true);
    server.stop().await;
}
