//! Receivers that hang, refuse, break, lead astray; and secrets, which are in nothing that is said.

use std::{sync::Arc, time::Duration};

use pulseboard_receivers::{AlertStatus, Notification, Outcome, Sender};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::Instant};

use crate::{
    made::{alert, notification, receiver, send},
    server::{Server, says},
};

fn firing() -> Notification {
    notification(vec![alert("a:1", AlertStatus::Firing)])
}

fn hook(url: &str) -> String {
    format!("{{name: all, webhook_configs: [{{url: '{url}'}}]}}")
}

fn why(outcome: &Outcome) -> (&str, bool) {
    match outcome {
        Outcome::Retry { why, .. } => (why, true),
        Outcome::Failed { why } => (why, false),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_hangs_has_until_the_deadline_and_a_webhook_its_own() {
    let server = Server::start(|_| None).await;
    let yaml = hook(&format!("{}/SECRETSECRETSECRET", server.url));
    let yaml = yaml.replace("'}]", "', timeout: 50ms}]");
    let began = Instant::now();
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(why(&outcome), ("127.0.0.1 did not answer in time", true));
}

#[tokio::test]
async fn who_refuses_or_breaks_off_is_tried_again() {
    let sender = Sender::new(true);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/SECRETSECRETSECRET",
        listener.local_addr().expect("one")
    );
    let breaking = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 2").await.expect("written");
        }
    });
    let outcome = send(&sender, &hook(&url), firing()).await;
    let (told, is_retry) = why(&outcome);
    assert!(
        is_retry && told.starts_with("127.0.0.1 broke off"),
        "{told}"
    );
    breaking.abort();
    assert!(breaking.await.is_err());
    let outcome = send(&sender, &hook(&url), firing()).await;
    let (told, is_retry) = why(&outcome);
    assert!(
        is_retry && told.starts_with("no connection to 127.0.0.1"),
        "{told}"
    );
    assert!(!told.contains("SECRET"), "{told}");
}

#[tokio::test]
async fn who_is_not_believed_gets_nothing() {
    // Speaks TLS with a certificate that nobody signed, and by the wrong name.
    let names = vec!["elsewhere.example.org".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (url, taken) = crate::mail::tls_listener(&signed).await;
    let yaml = hook(&format!("https://{url}/SECRETSECRETSECRET"));
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    let (told, is_retry) = why(&outcome);
    assert!(
        is_retry && told.starts_with("no connection to localhost"),
        "{told}"
    );
    assert!(told.contains("certificate"), "{told}");
    assert_eq!(taken.lock().len(), 0);
}

#[tokio::test]
async fn an_answer_that_leads_on_leads_nowhere() {
    let server = Server::start(|asked| {
        if asked.path.ends_with("meta") {
            return says(200, "the crown jewels");
        }
        let to = "location: /meta\r\n".to_owned();
        Some((307, to, Vec::new()))
    })
    .await;
    for status in ["", "?x"] {
        let yaml = hook(&format!("{}/a{status}", server.url));
        let outcome = send(&Sender::new(true), &yaml, firing()).await;
        assert_eq!(why(&outcome), ("it answered 307", false));
    }
    let asked = server.asked();
    assert!(asked.iter().all(|one| one.path != "/meta"), "{asked:?}");
}

#[tokio::test]
async fn nobody_is_asked_that_the_guard_does_not_allow() {
    let server = Server::start(|_| says(200, "")).await;
    let port = server.url.rsplit(':').next().expect("a port");
    // Private ones, by address in every spelling and by name.
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "0",
        "[::]",
    ] {
        let yaml = hook(&format!("http://{host}:{port}/"));
        let outcome = send(&Sender::new(false), &yaml, firing()).await;
        let (told, is_retry) = why(&outcome);
        assert!(
            !is_retry && told.contains("is not asked: its address is"),
            "{host}: {told}"
        );
    }
    assert!(server.asked().is_empty());
    // Link-local and metadata ones, whatever is allowed.
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "2852039166",
        "[fe80::1]",
    ] {
        let yaml = hook(&format!("http://{host}/latest/meta-data/"));
        let outcome = send(&Sender::new(true), &yaml, firing()).await;
        let (told, is_retry) = why(&outcome);
        assert!(
            !is_retry && told.contains("its address is link-local"),
            "{host}: {told}"
        );
    }
    // A proxy is asked instead of the receiver, so it is looked at as well.
    for (url, proxy) in [
        ("http://1.1.1.1/", "http://169.254.169.254:80"),
        ("http://169.254.169.254/", &*server.url),
    ] {
        let yaml = format!(
            "{{name: all, webhook_configs: [{{url: '{url}', http_config: {{proxy_url: '{proxy}'}}}}]}}"
        );
        let outcome = send(&Sender::new(true), &yaml, firing()).await;
        assert!(why(&outcome).0.contains("link-local"), "{outcome:?}");
    }
    let mail = format!(
        "{{name: all, email_configs: [{{to: a@b.c, from: a@b.c, smarthost: 'localhost:{port}', html: '', text: x, headers: {{Subject: s}}}}]}}"
    );
    let outcome = send(&Sender::new(false), &mail, firing()).await;
    assert_eq!(
        why(&outcome),
        (
            "its address is a private one, which is not allowed here",
            false
        )
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_is_asked_as_the_configuration_says() {
    let server = Server::start(|_| says(200, "")).await;
    let yaml = format!(
        "{{name: all, webhook_configs: [{{url: 'http://receiver.example.org/hook', http_config: {{proxy_url: '{}', basic_auth: {{username: me, password: SECRETSECRET}}}}}}]}}",
        server.url
    );
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    assert_eq!(outcome, Outcome::Sent);
    let asked = server.only();
    assert_eq!(asked.path, "http://receiver.example.org/hook");
    assert_eq!(asked.headers["authorization"], "Basic bWU6U0VDUkVUU0VDUkVU");
}

#[tokio::test]
async fn an_answer_is_shown_so_far_and_without_secrets() {
    let server = Server::start(|asked| {
        // It says everything that it was told.
        let said = format!("{asked:?} {}", "x".repeat(10_000));
        says(400, &said)
    })
    .await;
    let yaml = format!(
        "{{name: all, webhook_configs: [{{url: '{}/SECRETSECRETSECRET?t=SECRETSECRETSECRET', http_config: {{authorization: {{credentials: OTHERSECRET}}, http_headers: {{x-key: {{secrets: [THIRDSECRET]}}}}}}}}]}}",
        server.url
    );
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    let (told, is_retry) = why(&outcome);
    assert!(!is_retry);
    assert!(told.chars().count() <= 240, "{told}");
    assert!(!told.contains("SECRET"), "{told}");
    assert!(!format!("{:?}", receiver(&yaml)).contains("SECRET"));

    let server = Server::start(|_| says(500, &"y".repeat(1 << 20))).await;
    let outcome = send(&Sender::new(true), &hook(&server.url), firing()).await;
    assert!(why(&outcome).1, "{outcome:?}");
}

#[tokio::test]
async fn a_test_says_what_became_of_each_way() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/good" => says(200, ""),
        _ => says(404, "no such hook"),
    })
    .await;
    let yaml = format!(
        "{{name: all, webhook_configs: [{{url: '{0}/good'}}, {{url: '{0}/bad'}}]}}",
        server.url
    );
    let templates = Arc::new(pulseboard_template::alertmanager::Templates::new());
    let tested = pulseboard_receivers::test(
        &Sender::new(true),
        &receiver(&yaml),
        &templates,
        "default",
        "test-1",
        "https://pulse.example.org",
    )
    .await;
    let told: Vec<_> = tested
        .iter()
        .map(|one| (one.way.0.as_str(), one.sent, one.said.as_str()))
        .collect();
    let wanted = [
        ("webhook[0]", true, "sent"),
        ("webhook[1]", false, "it answered 404: no such hook"),
    ];
    assert_eq!(told, wanted);
    let body = server.asked()[0].json();
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "PulseboardTest");
    assert_eq!(body["note"], "This is a test.");
}

#[tokio::test]
async fn a_heartbeat_is_a_call() {
    let server = Server::start(|_| says(200, "OK")).await;
    let url = pulseboard_outbound::Secret::new(format!("{}/ping/SECRETSECRETSECRET", server.url));
    let sender = Sender::new(true);
    assert_eq!(sender.call(&url, None).await, Outcome::Sent);
    let asked = server.only();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("GET", "/ping/SECRETSECRETSECRET")
    );
    let outcome = Sender::new(false).call(&url, None).await;
    assert!(why(&outcome).0.contains("private"), "{outcome:?}");
    assert!(!why(&outcome).0.contains("SECRET"));
}
