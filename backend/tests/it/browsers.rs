//! Browsers that have subscribed to notifications: the whole road from an alert to what the browser
//! decrypts, and who may subscribe what.

use std::{fs, path::Path, time::Duration};

use aes_gcm::{Aes128Gcm, KeyInit as _, aead::Aead as _};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use hkdf::Hkdf;
use p256::{PublicKey, SecretKey};
use pulseboard::settings::{DataDir, Settings};
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem, token, webhook::Webhook},
};

const ALL: &str = "/api/browsers";
const TOKEN: &str = "the-token-of-an-operator";
const OPERATOR: &str = "Bearer the-token-of-an-operator";

/// The browser of RFC 8291, appendix A.
const PUBLIC: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// What it says of its subscription.
fn browser(endpoint: &str) -> Value {
    json!({
        "name": "Chrome on Linux",
        "endpoint": endpoint,
        "expirationTime": null,
        "keys": {"p256dh": PUBLIC, "auth": AUTH},
    })
}

/// As it reads what it is pushed, with other crates than the server's.
fn decrypt(body: &[u8]) -> Value {
    let bytes = |text: &str| BASE64URL.decode(text).expect("base64url");
    let (salt, rest) = body.split_at(16);
    let (ours, sealed) = rest[5..].split_at(usize::from(rest[4]));
    let secret = SecretKey::from_slice(&bytes(PRIVATE)).expect("a key");
    let public = PublicKey::from_sec1_bytes(ours).expect("a key");
    let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine());
    let info = [b"WebPush: info\0", bytes(PUBLIC).as_slice(), ours].concat();
    let mut input = [0; 32];
    Hkdf::<Sha256>::new(Some(&bytes(AUTH)), shared.raw_secret_bytes().as_slice())
        .expand(&info, &mut input)
        .expect("32 bytes");
    let keys = Hkdf::<Sha256>::new(Some(salt), &input);
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    keys.expand(b"Content-Encoding: aes128gcm\0", &mut key)
        .expect("16 bytes");
    keys.expand(b"Content-Encoding: nonce\0", &mut nonce)
        .expect("12 bytes");
    let cipher = Aes128Gcm::new_from_slice(&key).expect("a key");
    let mut plain = cipher.decrypt(&nonce.into(), sealed).expect("ours");
    assert_eq!(plain.pop(), Some(2), "the delimiter of the last record");
    serde_json::from_slice(&plain).expect("JSON")
}

fn set(settings: &mut Settings, folder: &Path) {
    settings.notify_private = true;
    settings.tokens = vec![token(TOKEN, Role::Operator, None)];
    settings.data_dir = DataDir::Path(folder.join("data"));
    settings.alertmanager_config = Some(folder.join("alertmanager.yml"));
}

async fn ask(
    server: &TestServer,
    (method, path): (Method, &str),
    body: Option<Value>,
) -> (u16, Value) {
    let answer = server.send_as(OPERATOR, method, path, body).await;
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

#[tokio::test]
async fn an_alert_is_pushed_to_a_browser_and_leads_to_its_incident() {
    let service = Webhook::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    // The file's route says nothing of browsers; they are told all the same.
    fs::write(
        folder.path().join("alertmanager.yml"),
        "route: {receiver: nobody, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\nreceivers: [{name: nobody}]\n",
    )
    .expect("written");
    let server = TestServer::start_with(|settings| set(settings, folder.path())).await;
    let endpoint = format!("{}send/SECRET", service.url);
    let (status, made) = ask(&server, (Method::POST, ALL), Some(browser(&endpoint))).await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().expect("an id").to_owned();
    let (status, again) = ask(&server, (Method::POST, ALL), Some(browser(&endpoint))).await;
    assert_eq!((status, &again), (200, &made), "it is the same one");
    let (_, listed) = ask(&server, (Method::GET, ALL), None).await;
    assert_eq!(listed["browsers"], json!([made]));
    assert!(!listed.to_string().contains("SECRET"), "{listed}");
    let key = listed["key"].as_str().expect("a key").to_owned();

    let alert = json!([{"labels": {"alertname": "Db", "severity": "warning"}, "annotations": {"summary": "slow"}}]);
    let posted = server.send_as(OPERATOR, Method::POST, "/api/v2/alerts", Some(alert));
    assert_eq!(posted.await.status(), 200);
    server
        .eventually("it is pushed", async || service.bodies().len() == 1)
        .await;
    let told = decrypt(&service.bodies()[0]);
    let listed = server
        .send_as(OPERATOR, Method::GET, "/api/incidents", None)
        .await;
    let listed: Value = listed.json().await.expect("JSON");
    let incident = listed["incidents"][0]["incident"].as_str().expect("one");
    assert_eq!(told["page"], format!("#/alerts/{incident}"));
    assert_eq!(told["url"], "");
    assert_eq!(told["status"], "firing");
    assert!(
        told["title"].as_str().expect("a text").contains("Db"),
        "{told}"
    );
    let head = service.heads()[0].clone();
    for line in [
        "post /send/secret http/1.1",
        "content-encoding: aes128gcm",
        "ttl: 86400",
        "urgency: normal",
        &format!("topic: {}", told["tag"].as_str().expect("a tag")),
    ] {
        assert!(head.lines().any(|one| one == line), "{line}: {head}");
    }
    assert!(
        head.contains(&format!("k={}", key.to_lowercase())),
        "{head}"
    );

    // It is known after a restart, and so is the key.
    let now_ms = (server.clock.now_ms() / 1000 + 1) * 1000;
    server.stop().await;
    let server = TestServer::start_at(now_ms, |settings| set(settings, folder.path())).await;
    let (_, listed) = ask(&server, (Method::GET, ALL), None).await;
    assert_eq!(listed, json!({"key": key, "browsers": [made]}));
    let (status, tested) = ask(
        &server,
        (Method::POST, &format!("{ALL}/{id}/test")),
        Some(json!({})),
    )
    .await;
    assert_eq!(
        (status, &tested["outcome"]),
        (200, &json!("sent")),
        "{tested}"
    );
    let told = decrypt(service.bodies().last().expect("a test"));
    assert!(
        told["body"].as_str().expect("a text").contains("test"),
        "{told}"
    );
    let path = format!("{ALL}/{id}/test");
    let again = server.send_as(OPERATOR, Method::POST, &path, Some(json!({})));
    problem(again.await, 429).await;

    // One that has unsubscribed is forgotten, and that is no failure.
    service.answer(410);
    let resolved = json!([{"labels": {"alertname": "Db", "severity": "warning"}, "endsAt": "2026-11-20T20:00:00Z"}]);
    let posted = server.send_as(OPERATOR, Method::POST, "/api/v2/alerts", Some(resolved));
    assert_eq!(posted.await.status(), 200);
    server
        .eventually("it is forgotten", async || {
            server.clock.advance(Duration::from_secs(1));
            let (_, listed) = ask(&server, (Method::GET, ALL), None).await;
            listed["browsers"] == json!([])
        })
        .await;
    let listed = server
        .send_as(
            OPERATOR,
            Method::GET,
            "/api/incidents?rule=notification_failed",
            None,
        )
        .await;
    let listed: Value = listed.json().await.expect("JSON");
    assert_eq!(listed["incidents"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_browser_that_is_forgotten_is_told_nothing_more() {
    let service = Webhook::start().await;
    let server = TestServer::start_with(|settings| {
        settings.notify_private = true;
        settings.tokens = vec![token(TOKEN, Role::Operator, None)];
    })
    .await;
    let (_, made) = ask(&server, (Method::POST, ALL), Some(browser(&service.url))).await;
    let one = format!("{ALL}/{}", made["id"].as_str().expect("an id"));
    let path = format!("{one}?tenant=other");
    let elsewhere = server.send_as(OPERATOR, Method::DELETE, &path, None);
    problem(elsewhere.await, 404).await;
    // A test tells of one that has unsubscribed, too.
    service.answer(404);
    let (status, tested) = ask(
        &server,
        (Method::POST, &format!("{one}/test")),
        Some(json!({})),
    )
    .await;
    assert_eq!(
        (status, &tested["outcome"]),
        (200, &json!("failed")),
        "{tested}"
    );
    problem(
        server.send_as(OPERATOR, Method::DELETE, &one, None).await,
        404,
    )
    .await;
    let (_, made) = ask(&server, (Method::POST, ALL), Some(browser(&service.url))).await;
    let one = format!("{ALL}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(ask(&server, (Method::DELETE, &one), None).await.0, 204);
    let (_, listed) = ask(&server, (Method::GET, ALL), None).await;
    assert_eq!(listed["browsers"], json!([]));
    problem(
        server
            .send_as(OPERATOR, Method::POST, &format!("{one}/test"), None)
            .await,
        404,
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn who_subscribes_what_is_bounded() {
    let server = TestServer::start_with(with_tokens).await;
    let (operator, viewer) = (bearer(Role::Operator), bearer(Role::Viewer));
    let public = "https://push.example.org/send/1";
    let answer = server.send_as(&viewer, Method::POST, ALL, Some(browser(public)));
    problem(answer.await, 403).await;
    let with = |field: &str, value: Value| {
        let mut browser = browser(public);
        browser[field] = value;
        browser
    };
    let keys = |p256dh: &str, auth: &str| json!({"p256dh": p256dh, "auth": auth});
    for (body, pointer) in [
        (
            with("endpoint", json!("http://push.example.org/")),
            "/endpoint",
        ),
        (with("endpoint", json!("https://127.0.0.1/")), "/endpoint"),
        (with("endpoint", json!("https://[::1]:8443/")), "/endpoint"),
        (with("endpoint", json!("https://10.0.0.1/")), "/endpoint"),
        (
            with("endpoint", json!("https://169.254.169.254/")),
            "/endpoint",
        ),
        (
            with("endpoint", json!("https://me:secret@push.example.org/")),
            "/endpoint",
        ),
        (
            with(
                "endpoint",
                json!(format!("https://p/{}", "x".repeat(1_100))),
            ),
            "/endpoint",
        ),
        (with("endpoint", json!("push")), "/endpoint"),
        (with("name", json!(" ")), "/name"),
        (with("name", json!("a\nb")), "/name"),
        (with("keys", keys("AAAA", AUTH)), "/keys/p256dh"),
        (with("keys", keys(PUBLIC, "AAAA")), "/keys/auth"),
        (with("keys", keys(PUBLIC, "!")), "/keys/auth"),
        (with("keys", json!({})), "/keys/p256dh"),
        (with("odd", json!(1)), "/odd"),
    ] {
        let answer = server.send_as(&operator, Method::POST, ALL, Some(body.clone()));
        let told = problem(answer.await, 400).await;
        assert_eq!(told["errors"][0]["pointer"], pointer, "{body}: {told}");
    }
    for number in 0..20 {
        let body = browser(&format!("https://push.example.org/send/{number}"));
        let answer = server
            .send_as(&operator, Method::POST, ALL, Some(body))
            .await;
        assert_eq!(answer.status().as_u16(), 201, "{number}");
    }
    let one_more = browser("https://push.example.org/send/20");
    let answer = server.send_as(&operator, Method::POST, ALL, Some(one_more.clone()));
    let told = problem(answer.await, 429).await;
    assert!(
        told["detail"].as_str().expect("a text").contains("20"),
        "{told}"
    );
    // Another caller has room still.
    let admin = bearer(Role::Admin);
    let answer = server
        .send_as(&admin, Method::POST, ALL, Some(one_more))
        .await;
    assert_eq!(answer.status().as_u16(), 201);
    server.stop().await;
}
