//! TLS: whom the client believes, and what it shows.

use std::{fs, path::Path, sync::Arc};

use pulseboard_outbound::{
    Client, ClientConfig, Error, Secret,
    config::{HeaderValues, TlsConfig},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{LIMIT, headers, ok, soon, talk};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// A certificate for `name` and its key.
fn certificate(issuer: &Issuer, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    (params.signed_by(&key, issuer).expect("signed"), key)
}

/// A server that is `name`; with `clients` it wants a certificate of this issuer.
async fn server(issuer: &Issuer, name: &str, clients: bool) -> String {
    let (certificate, key) = certificate(issuer, name);
    serve(certificate.der().clone(), &key, clients.then_some(issuer)).await
}

/// A server that shows this certificate.
async fn serve(shown: CertificateDer<'static>, key: &KeyPair, clients: Option<&Issuer>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = if let Some(issuer) = clients {
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
    let config = builder
        .with_single_cert(vec![shown], key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    talk(stream, |_| ok("over TLS")).await;
                }
            });
        }
    });
    url
}

async fn get(tls_config: TlsConfig, url: &str) -> Result<String, Error> {
    let client = Client::new(&ClientConfig {
        tls_config,
        ..ClientConfig::default()
    })?;
    let got = client.get(url, &headers(), soon(), LIMIT).await?;
    Ok(String::from_utf8_lossy(&got.body).into_owned())
}

fn write(folder: &Path, name: &str, text: &str) -> Option<std::path::PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    Some(path)
}

#[tokio::test]
async fn only_who_is_signed_by_the_root_is_believed() {
    let issuer = issuer();
    let url = server(&issuer, "127.0.0.1", false).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = write(folder.path(), "ca.pem", &issuer.pem());
    let trusting = TlsConfig {
        ca_file,
        ..TlsConfig::default()
    };
    assert_eq!(
        get(trusting.clone(), &url).await.expect("believed"),
        "over TLS"
    );
    let newest = TlsConfig {
        min_version: Some("TLS13".to_owned()),
        ..trusting
    };
    assert_eq!(get(newest, &url).await.expect("believed"), "over TLS");
    let error = get(TlsConfig::default(), &url)
        .await
        .expect_err("a stranger");
    assert!(error.to_string().contains("certificate"), "{error}");
    let careless = TlsConfig {
        insecure_skip_verify: true,
        ..TlsConfig::default()
    };
    assert_eq!(get(careless, &url).await.expect("anybody"), "over TLS");
}

/// What `openssl req -x509` makes is root and server in one; a server's certificate may be the one
/// that is named, too.
#[tokio::test]
async fn a_certificate_that_is_named_itself_is_believed() {
    let made = |is_ca: bool, name: &str, from: i32, to: i32, signer: Option<&Issuer>| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = match signer {
            Some(signer) => params.signed_by(&key, signer),
            None => params.self_signed(&key),
        };
        (certificate.expect("signed"), key)
    };
    let believing = |certificate: &rcgen::Certificate, more: &str| TlsConfig {
        ca: Some(format!("{more}{}", certificate.pem())),
        ..TlsConfig::default()
    };
    let issuer = issuer();
    let always = (1990, 2190);
    for (is_ca, signer) in [
        (true, None),
        (false, None),
        (false, Some(&issuer)),
        (true, Some(&issuer)),
    ] {
        let (certificate, key) = made(is_ca, "127.0.0.1", always.0, always.1, signer);
        let url = serve(certificate.der().clone(), &key, None).await;
        for version in ["TLS12", "TLS13"] {
            let tls = TlsConfig {
                max_version: Some(version.to_owned()),
                ..believing(&certificate, "")
            };
            assert_eq!(get(tls, &url).await.expect("named"), "over TLS");
        }
        // one of several
        let several = believing(&certificate, &self::issuer().pem());
        assert_eq!(get(several, &url).await.expect("named"), "over TLS");
        // another one that says the same of itself
        let (other, _) = made(is_ca, "127.0.0.1", always.0, always.1, signer);
        get(believing(&other, ""), &url)
            .await
            .expect_err("another one");
        // nobody named it
        get(TlsConfig::default(), &url)
            .await
            .expect_err("a stranger");
        let named = TlsConfig {
            server_name: Some("node.example".to_owned()),
            ..believing(&certificate, "")
        };
        let error = get(named, &url)
            .await
            .expect_err("another name")
            .to_string();
        assert!(error.contains("node.example"), "{error}");
        for (from, to, words) in [(1990, 1991, "expired"), (2180, 2190, "not valid yet")] {
            let (certificate, key) = made(is_ca, "127.0.0.1", from, to, signer);
            let url = serve(certificate.der().clone(), &key, None).await;
            let error = get(believing(&certificate, ""), &url).await;
            let error = error.expect_err(words).to_string();
            assert!(error.contains(words), "{is_ca}: {error}");
        }
    }
}

#[tokio::test]
async fn the_name_in_the_certificate_can_be_given() {
    let issuer = issuer();
    let url = server(&issuer, "node.example", false).await;
    let tls = TlsConfig {
        ca: Some(issuer.pem()),
        ..TlsConfig::default()
    };
    let error = get(tls.clone(), &url).await.expect_err("another name");
    assert!(error.to_string().contains("node.example"), "{error}");
    let named = TlsConfig {
        server_name: Some("node.example".to_owned()),
        ..tls
    };
    assert_eq!(get(named, &url).await.expect("that name"), "over TLS");
}

#[tokio::test]
async fn a_certificate_of_the_client_is_shown_and_read_again() {
    let issuer = issuer();
    let url = server(&issuer, "127.0.0.1", true).await;
    let folder = tempfile::tempdir().expect("a folder");
    let tls = TlsConfig {
        ca: Some(issuer.pem()),
        ..TlsConfig::default()
    };
    get(tls.clone(), &url).await.expect_err("nobody");
    let stranger = self::issuer();
    let (certificate, key) = certificate(&stranger, "me");
    let config = ClientConfig {
        tls_config: TlsConfig {
            cert_file: write(folder.path(), "cert.pem", &certificate.pem()),
            key_file: write(folder.path(), "key.pem", &key.serialize_pem()),
            ..tls
        },
        ..ClientConfig::default()
    };
    let client = Client::new(&config).expect("a client");
    let asked = client.get(&url, &headers(), soon(), LIMIT).await;
    asked.expect_err("signed by somebody else");
    let (certificate, key) = self::certificate(&issuer, "me, who was signed by the right one");
    write(folder.path(), "cert.pem", &certificate.pem());
    write(folder.path(), "key.pem", &key.serialize_pem());
    let got = client.get(&url, &headers(), soon(), LIMIT).await;
    assert_eq!(got.expect("known").body, "over TLS");
}

/// Files that come later, as those do that somebody else renews.
#[tokio::test]
async fn a_patient_client_asks_once_its_files_are_there() {
    let issuer = issuer();
    let url = server(&issuer, "127.0.0.1", false).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = ClientConfig {
        tls_config: TlsConfig {
            ca_file: Some(folder.path().join("ca.pem")),
            ..TlsConfig::default()
        },
        ..ClientConfig::default()
    };
    Client::new(&config).expect_err("nothing there");
    let client = Client::patient(&config).expect("a client");
    let problem = client.problem().expect("a problem").to_string();
    assert!(problem.contains("ca.pem"), "{problem}");
    let asked = client.get(&url, &headers(), soon(), LIMIT).await;
    assert_eq!(asked.expect_err("nothing there").to_string(), problem);
    write(folder.path(), "ca.pem", "no certificate");
    let asked = client.get(&url, &headers(), soon(), LIMIT).await;
    let error = asked.expect_err("none in it").to_string();
    assert!(error.contains("no certificate in it"), "{error}");
    write(folder.path(), "ca.pem", &issuer.pem());
    let got = client.get(&url, &headers(), soon(), LIMIT).await;
    assert_eq!(got.expect("believed").body, "over TLS");
    assert_eq!(client.problem(), None);
}

#[test]
fn what_no_file_can_mend_is_refused_without_reading_any() {
    let tls = |tls_config| ClientConfig {
        tls_config,
        ..ClientConfig::default()
    };
    let text = |text: &str| Some(text.to_owned());
    for (config, words) in [
        (
            tls(TlsConfig {
                min_version: text("TLS99"),
                ..TlsConfig::default()
            }),
            "\"TLS99\" is no version of TLS",
        ),
        (
            tls(TlsConfig {
                min_version: text("TLS13"),
                max_version: text("TLS12"),
                ..TlsConfig::default()
            }),
            "min_version is above max_version",
        ),
        (
            tls(TlsConfig {
                server_name: text("a b"),
                ..TlsConfig::default()
            }),
            "\"a b\" is no name of a server",
        ),
        (
            ClientConfig {
                http_headers: [("a b".to_owned(), HeaderValues::default())].into(),
                ..ClientConfig::default()
            },
            "http_headers: \"a b\" is no header",
        ),
        (
            ClientConfig {
                proxy_url: Some(Secret::new("::")),
                ..ClientConfig::default()
            },
            "proxy_url: ",
        ),
    ] {
        let error = config.check().expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        Client::patient(&config).expect_err(words);
    }
}
