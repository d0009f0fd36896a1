//! Mail against a server that writes down what it is told.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use pulseboard_receivers::{AlertStatus, Notification, Outcome, Sender};
use rcgen::{CertifiedKey, KeyPair};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::made::{alert, notification, send};

/// How the server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    starttls: bool,
    implicit: bool,
    auth: &'static str,
    /// What it says to RCPT.
    rcpt: &'static str,
    /// It speaks on before the keys are made.
    injects: bool,
}

pub(crate) const PLAIN: Manner = Manner {
    starttls: false,
    implicit: false,
    auth: "",
    rcpt: "250 2.1.5 fine",
    injects: false,
};

/// All lines that came, `TLS` where the keys were made.
type Told = Arc<Mutex<Vec<String>>>;

fn acceptor(signed: &CertifiedKey<KeyPair>) -> TlsAcceptor {
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
        .expect("a certificate");
    TlsAcceptor::from(Arc::new(config))
}

/// Something that speaks TLS at `localhost:port`, and what it was told then.
pub(crate) async fn tls_listener(signed: &CertifiedKey<KeyPair>) -> (String, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let told = Told::default();
    let (acceptor, kept) = (acceptor(signed), Arc::clone(&told));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let mut lines = BufReader::new(stream).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    kept.lock().push(line);
                }
            }
        }
    });
    (format!("localhost:{port}"), told)
}

pub(crate) struct Server {
    pub(crate) port: u16,
    told: Told,
    pem: String,
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let signed = signed.expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let told = Told::default();
        let (acceptor, kept) = (acceptor(&signed), Arc::clone(&told));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    if manner.implicit {
                        let stream = acceptor.accept(stream).await.ok()?;
                        told.lock().push("TLS".to_owned());
                        talk(stream, manner, &told, true).await?;
                        return Some(());
                    }
                    let stream = talk(stream, manner, &told, false).await?;
                    let stream = acceptor.accept(stream).await.ok()?;
                    told.lock().push("TLS".to_owned());
                    talk(stream, manner, &told, true).await?;
                    Some(())
                });
            }
        });
        Self {
            port,
            told,
            pem: signed.cert.pem(),
        }
    }

    /// Lines but for those of the mail.
    fn commands(&self) -> Vec<String> {
        let told = self.told.lock();
        let end = told.iter().position(|line| line == "DATA");
        told[..end.map_or(told.len(), |end| end + 1)].to_vec()
    }

    /// The mail, unfolded.
    pub(crate) fn mail(&self) -> String {
        let told = self.told.lock();
        let begin = told.iter().position(|line| line == "DATA").expect("a mail");
        let lines = told[begin + 1..].iter().take_while(|line| *line != ".");
        let mail: Vec<&str> = lines.map(String::as_str).collect();
        mail.join("\n").replace("\n ", " ").replace("=\n", "")
    }

    fn yaml(&self, more: &str) -> String {
        let pem = self.pem.trim_end().replace('\n', "\n      ");
        format!(
            "name: all\nemail_configs:\n- to: 'Ops <ops@example.org>, b@example.org'\n  from: Pulse <pulse@example.org>\n  smarthost: localhost:{}\n  hello: pulse.example.org\n  tls_config:\n    ca: |\n      {pem}\n  headers: {{subject: 'Down: ä', x-team: web}}\n  text: \".a is down\\n.\\nreally\"\n  html: <p>a is <b>down</b></p>\n{more}",
            self.port
        )
    }
}

/// Speaks until STARTTLS, whose stream is returned, or until the end.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    manner: Manner,
    told: &Told,
    is_secure: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if !is_secure || manner.implicit {
        stream.write_all(b"220-hello\r\n220 there\r\n").await.ok()?;
    }
    let (mut in_data, mut login) = (false, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        told.lock().push(line.clone());
        let word = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_uppercase();
        let answer = match (in_data, word.as_str()) {
            (true, ".") => {
                in_data = false;
                "250 2.0.0 queued".to_owned()
            }
            (true, _) => continue,
            (_, "EHLO") => {
                let tls = if manner.starttls && !is_secure {
                    "250-STARTTLS\r\n"
                } else {
                    ""
                };
                let auth = match manner.auth {
                    "" => String::new(),
                    auth => format!("250-AUTH {auth}\r\n"),
                };
                format!("250-localhost\r\n{tls}{auth}250 SIZE 1000000")
            }
            (_, "STARTTLS") => {
                let more = if manner.injects { "250 evil\r\n" } else { "" };
                let answer = format!("220 go\r\n{more}");
                stream.write_all(answer.as_bytes()).await.ok()?;
                return Some(stream.into_inner());
            }
            (_, "AUTH") if line.ends_with("LOGIN") => {
                login = 2;
                "334 VXNlcm5hbWU6".to_owned()
            }
            (_, "AUTH") if line.ends_with("CRAM-MD5") => {
                login = 1;
                // RFC 2195's challenge
                "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+".to_owned()
            }
            (_, "AUTH") => "235 2.7.0 yes".to_owned(),
            (_, "RCPT") => manner.rcpt.to_owned(),
            (_, "DATA") => {
                in_data = true;
                "354 go".to_owned()
            }
            (_, "QUIT") => return None,
            _ if login > 0 => {
                login -= 1;
                match login {
                    0 => "235 2.7.0 yes".to_owned(),
                    _ => "334 UGFzc3dvcmQ6".to_owned(),
                }
            }
            _ => "250 fine".to_owned(),
        };
        stream
            .write_all(format!("{answer}\r\n").as_bytes())
            .await
            .ok()?;
    }
}

fn firing() -> Notification {
    notification(vec![alert("a:1", AlertStatus::Firing)])
}

fn why(outcome: &Outcome) -> (&str, bool) {
    match outcome {
        Outcome::Retry { why, .. } => (why, true),
        Outcome::Failed { why } => (why, false),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mail_goes_encrypted_with_text_and_html_and_the_key_as_its_id() {
    let server = Server::start(Manner {
        starttls: true,
        auth: "LOGIN PLAIN",
        ..PLAIN
    })
    .await;
    let yaml = server.yaml("  auth_username: pulse\n  auth_password: SECRETSECRET\n  threading: {enabled: true, thread_by_date: none}\n");
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    assert_eq!(outcome, Outcome::Sent);
    let wanted = [
        "EHLO pulse.example.org",
        "STARTTLS",
        "TLS",
        "EHLO pulse.example.org",
        "AUTH PLAIN AHB1bHNlAFNFQ1JFVFNFQ1JFVA==",
        "MAIL FROM:<pulse@example.org>",
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<b@example.org>",
        "DATA",
    ];
    assert_eq!(server.commands(), wanted);
    let mail = server.mail();
    let (head, body) = mail.split_once("\n\n").expect("head and body");
    let head: BTreeSet<&str> = head.lines().collect();
    for line in [
        "From: Pulse <pulse@example.org>",
        "To: Ops <ops@example.org>, b@example.org",
        "Message-ID: <5c9f2d0e-key@example.org>",
        "Date: Tue, 01 Dec 2026 00:00:00 +0000",
        "X-Team: web",
        "MIME-Version: 1.0",
    ] {
        assert!(head.contains(line), "{line} in {head:#?}");
    }
    assert!(
        head.iter()
            .any(|line| line.starts_with("Subject: Down: =?utf-8?b?")),
        "{head:#?}"
    );
    let thread = head
        .iter()
        .find_map(|line| line.strip_prefix("References: "));
    let thread = thread.expect("a thread");
    assert!(
        thread.starts_with("<group-") && thread.ends_with("@example.org>"),
        "{thread}"
    );
    assert!(head.contains(format!("In-Reply-To: {thread}").as_str()));
    assert!(
        head.iter()
            .any(|line| line.starts_with("Content-Type: multipart/alternative"))
    );
    assert!(body.contains("Content-Type: text/plain; charset=utf-8"));
    assert!(body.contains("Content-Type: text/html; charset=utf-8"));
    assert!(body.contains("\n..a is down\n..\nreally"), "{body}");
    assert!(body.contains("<p>a is <b>down</b></p>"), "{body}");
}

#[tokio::test]
async fn tls_may_begin_with_the_connection() {
    let server = Server::start(Manner {
        implicit: true,
        auth: "LOGIN",
        ..PLAIN
    })
    .await;
    let yaml = server.yaml(
        "  force_implicit_tls: true\n  auth_username: pulse\n  auth_password: SECRETSECRET\n",
    );
    assert_eq!(
        send(&Sender::new(true), &yaml, firing()).await,
        Outcome::Sent
    );
    let wanted = [
        "TLS",
        "EHLO pulse.example.org",
        "AUTH LOGIN",
        "cHVsc2U=",
        "U0VDUkVUU0VDUkVU",
        "MAIL FROM:<pulse@example.org>",
    ];
    assert_eq!(server.commands()[..6], wanted);
}

#[tokio::test]
async fn without_tls_nothing_is_sent_unless_that_is_asked_for() {
    let server = Server::start(Manner {
        auth: "CRAM-MD5 PLAIN",
        ..PLAIN
    })
    .await;
    let outcome = send(&Sender::new(true), &server.yaml(""), firing()).await;
    assert_eq!(
        why(&outcome),
        (
            "the server offers no STARTTLS, and require_tls is true",
            false
        )
    );
    assert_eq!(server.commands(), ["EHLO pulse.example.org"]);
    server.told.lock().clear();
    let yaml = server
        .yaml("  require_tls: false\n  auth_username: tim\n  auth_secret: tanstaaftanstaaf\n");
    assert_eq!(
        send(&Sender::new(true), &yaml, firing()).await,
        Outcome::Sent
    );
    // RFC 2195's answer
    let answer = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
    assert_eq!(server.commands()[1..3], ["AUTH CRAM-MD5", answer]);
}

#[tokio::test]
async fn what_a_server_says_is_told_and_tried_again_where_it_may_go() {
    for (rcpt, told, is_retry) in [
        (
            "550 5.1.1 no such user",
            "RCPT TO: the server answered 550 5.1.1 no such user",
            false,
        ),
        (
            "450 4.2.0 greylisted",
            "RCPT TO: the server answered 450 4.2.0 greylisted",
            true,
        ),
    ] {
        let server = Server::start(Manner { rcpt, ..PLAIN }).await;
        let yaml = server.yaml("  require_tls: false\n");
        let outcome = send(&Sender::new(true), &yaml, firing()).await;
        assert_eq!(why(&outcome), (told, is_retry));
    }
}

#[tokio::test]
async fn who_is_not_believed_or_speaks_out_of_turn_gets_no_password() {
    let server = Server::start(Manner {
        starttls: true,
        auth: "PLAIN",
        ..PLAIN
    })
    .await;
    let login = "  auth_username: pulse\n  auth_password: SECRETSECRET\n";
    let begin = server.yaml(login);
    let stranger = Server::start(PLAIN).await;
    let yaml = begin.replace(
        &server.pem.trim_end().replace('\n', "\n      "),
        &stranger.pem.trim_end().replace('\n', "\n      "),
    );
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    let (told, is_retry) = why(&outcome);
    assert!(is_retry && told.contains("certificate"), "{told}");
    assert_eq!(server.commands(), ["EHLO pulse.example.org", "STARTTLS"]);

    let server = Server::start(Manner {
        starttls: true,
        injects: true,
        ..PLAIN
    })
    .await;
    let outcome = send(&Sender::new(true), &server.yaml(login), firing()).await;
    let (told, _) = why(&outcome);
    assert!(told.contains("spoke out of turn"), "{told}");
    assert!(!format!("{outcome:?}").contains("SECRET"));
}

#[tokio::test]
async fn who_is_no_mail_server_is_told_so() {
    let server = crate::server::Server::start(|_| crate::server::says(200, "")).await;
    let host = server.url.trim_start_matches("http://");
    let yaml = format!(
        "{{name: all, email_configs: [{{to: a@b.c, from: a@b.c, smarthost: '{host}', html: '', text: x, headers: {{Subject: s}}}}]}}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(b"SSH-2.0-OpenSSH_9\r\n").await);
        }
    });
    let yaml = yaml.replace(host, &at.to_string());
    let outcome = send(&Sender::new(true), &yaml, firing()).await;
    assert_eq!(why(&outcome), ("127.0.0.1: it does not speak SMTP", true));
}
