//! Who the client says it is, and to whom.

use std::fs;

use pulseboard_outbound::{Client, ClientConfig};

use crate::support::{LIMIT, Server, answer, headers, ok, serve, soon};

fn read(json: &str) -> ClientConfig {
    serde_json::from_str(json).expect("a configuration")
}

async fn authority() -> Server {
    serve(|request| {
        let line = request
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "));
        ok(line.unwrap_or("nobody"))
    })
    .await
}

async fn shown(config: &ClientConfig, url: &str) -> String {
    let got = Client::new(config)
        .expect("a client")
        .get(url, &headers(), soon(), LIMIT)
        .await
        .expect("an answer");
    String::from_utf8_lossy(&got.body).into_owned()
}

#[tokio::test]
async fn each_way_to_say_who_asks() {
    let server = authority().await;
    for (config, expected) in [
        ("{}", "nobody"),
        // RFC 7617's own example
        (
            r#"{"basic_auth":{"username":"Aladdin","password":"open sesame"}}"#,
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (r#"{"bearer_token":"abc"}"#, "Bearer abc"),
        (r#"{"authorization":{"credentials":"abc"}}"#, "Bearer abc"),
        (
            r#"{"authorization":{"type":"Token","credentials":"abc"}}"#,
            "Token abc",
        ),
    ] {
        assert_eq!(shown(&read(config), &server.url("/")).await, expected);
    }
    let url = format!("http://Aladdin:open%20sesame@{}/", server.address);
    assert_eq!(
        shown(&ClientConfig::default(), &url).await,
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
}

#[tokio::test]
async fn a_token_is_read_again_when_its_file_changes() {
    let server = authority().await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), "first\n").expect("written");
    let mut config = read(r#"{"bearer_token_file":"token"}"#);
    config.resolve(folder.path());
    let client = Client::new(&config).expect("a client");
    for token in ["first", "and second"] {
        fs::write(folder.path().join("token"), format!("{token}\n")).expect("written");
        let got = client
            .get(&server.url("/"), &headers(), soon(), LIMIT)
            .await;
        assert_eq!(got.expect("an answer").body, format!("Bearer {token}"));
    }
    fs::remove_file(folder.path().join("token")).expect("removed");
    let error = client
        .get(&server.url("/"), &headers(), soon(), LIMIT)
        .await
        .expect_err("no file");
    assert!(error.to_string().contains("token: No such file"), "{error}");
}

#[tokio::test]
async fn another_host_is_not_told_who_asks() {
    let other = authority().await;
    let location = format!("location: {}\r\n", other.url("/"));
    let first = serve(move |_| answer("302 Found", &location, b"")).await;
    let config = read(r#"{"bearer_token":"abc"}"#);
    assert_eq!(shown(&config, &other.url("/")).await, "Bearer abc");
    assert_eq!(shown(&config, &first.url("/")).await, "nobody");
}

#[tokio::test]
async fn further_headers_are_sent() {
    let server = serve(ok).await;
    let config = read(r#"{"http_headers":{"X-Scope":{"values":["a"],"secrets":["b"]}}}"#);
    let text = shown(&config, &server.url("/")).await;
    assert!(text.contains("x-scope: a\r\nx-scope: b\r\n"), "{text}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (config, words) in [
        (
            r#"{"bearer_token":"a","basic_auth":{"username":"b"}}"#,
            "at most one of basic_auth",
        ),
        (
            r#"{"basic_auth":{"password":"a","password_file":"b"}}"#,
            "at most one of password",
        ),
        (
            r#"{"authorization":{"type":"Basic","credentials":"a"}}"#,
            "use basic_auth",
        ),
        (r#"{"tls_config":{"cert_file":"a"}}"#, "needs its key"),
        (r#"{"tls_config":{"ca_file":"/nowhere/ca"}}"#, "/nowhere/ca"),
        (r#"{"tls_config":{"min_version":"SSL3"}}"#, "SSL3"),
        (r#"{"proxy_url":"socks5://host"}"#, "proxy_url"),
    ] {
        let error = Client::new(&read(config)).expect_err(config);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let config = read(
        r#"{"basic_auth":{"username":"me","password":"hunter2"},"proxy_url":"http://a:hunter2@b"}"#,
    );
    let json = serde_json::to_string(&config).expect("printed");
    for text in [format!("{config:?}"), json] {
        assert!(text.contains("<secret>") && text.contains("me"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
