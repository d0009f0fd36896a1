//! TLS, and rights that are no larger than needed.

use pulseboard_bus::{Bus as _, ConnectError, Redis, Settings, State};
use rcgen::{CertificateParams, KeyPair};

use crate::support::{Recorder, RedisServer, Running, eventually, free_port, has, room};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_believes_the_certificate_that_is_given_and_no_other() {
    if !has("redis-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let certificate = params
        .expect("names")
        .self_signed(&key)
        .expect("a certificate");
    let (cert_file, key_file) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert_file, certificate.pem()).expect("a file");
    std::fs::write(&key_file, key.serialize_pem()).expect("a file");
    let port = free_port();
    let (cert, key) = (
        cert_file.display().to_string(),
        key_file.display().to_string(),
    );
    let more = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &cert,
        "--tls-auth-clients",
        "no",
    ];
    let Some(redis) = RedisServer::try_at(port, &more) else {
        eprintln!("left out: this redis-server speaks no TLS");
        return;
    };
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let a = Running::with(&url, "a", |settings| {
        settings.ca_file = Some(cert_file.clone())
    });
    a.until(|state| *state == State::Connected).await;
    let sink = Recorder::new();
    let _keep = a.bus.subscribe(room("lobby"), sink.clone());
    a.publish(&room("lobby"), "secret");
    eventually("it is there", || sink.has("secret")).await;
    let settings = Settings::new(url.parse().expect("an address"), "b");
    let stranger = Redis::new(settings).expect("a bus").check().await;
    assert!(
        matches!(stranger, Err(ConnectError::Away(_))),
        "{stranger:?}"
    );
}

/// The rights that the README names are enough for everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_rights_that_are_named_may_do_everything_that_is_done() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let rights = "+@read +@write +@stream +@pubsub +@scripting +@connection -@dangerous +info +role \
                  +time +cluster|slots +cluster|shards +wait";
    let mut command = vec![
        "ACL",
        "SETUSER",
        "pulseboard",
        "on",
        ">open-sesame",
        "~pb:*",
        "&pb:*",
    ];
    command.extend(rights.split_whitespace());
    assert_eq!(redis.cli(&command), "OK");
    let url = format!("redis://pulseboard:open-sesame@127.0.0.1:{}", redis.port);
    let a = Running::connected(&url, "a").await;
    let sink = Recorder::new();
    let _keep = a.bus.subscribe(room("lobby"), sink.clone());
    a.publish(&room("lobby"), "hello");
    eventually("it is there", || sink.has("hello")).await;
    let cluster = a.bus.cluster().expect("it is shared");
    eventually("it is a member", || cluster.readiness().is_ok()).await;
    cluster.report(1, b"x").await.expect("a report");
    cluster.totals("tenant").await.expect("totals");
    let kept = std::time::Duration::from_secs(1);
    let space = pulseboard_bus::Space::Ticket;
    assert_eq!(cluster.keep_new(space, "d", b"x", kept).await, Ok(true));
    assert_eq!(cluster.take(space, "d").await, Ok(Some("x".into())));
    assert!(
        cluster
            .put_entry(("", "tok"), "t", Some(b"x"), None, 9)
            .await
            .is_ok()
    );
    assert!(
        cluster
            .put_document(("", "d"), None, b"x", None)
            .await
            .is_ok()
    );
    let limit = pulseboard_bus::Figure::Limit;
    assert!(
        cluster
            .figures(limit, ("", "t"), &[("streams", 1)])
            .await
            .is_ok()
    );
    let outside = Settings {
        prefix: "other".to_owned(),
        ..Settings::new(url.parse().expect("an address"), "b")
    };
    let outside = Redis::new(outside).expect("a bus").check().await;
    assert!(outside.is_err(), "keys of others are not ours");
}
