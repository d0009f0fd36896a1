//! Certificates that are shown, renewed and broken.

use pulseboard_shared::timestamp::days_from_civil;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

const NOW_MS: i64 = 1_795_204_800_000;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn settings(&self) -> Settings {
        Settings {
            tls_cert: Some(self.0.path().join("c")),
            tls_key: Some(self.0.path().join("k")),
            data_dir: DataDir::Path(self.0.path().to_path_buf()),
            ..Settings::default()
        }
    }

    /// Writes a pair that ends at the beginning of this year.
    fn write(&self, year: i32) {
        let mut parameters = CertificateParams::new(["a.test".to_owned()]).expect("parameters");
        parameters.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("signed");
        self.put("c", &certificate.pem());
        self.put("k", &key.serialize_pem());
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("written");
    }

    fn open(&self) -> Arc<Certificate> {
        let opened = Certificate::open(&self.settings(), Clock::manual(NOW_MS));
        opened.expect("a pair").expect("TLS is spoken")
    }
}

fn year_ms(year: i64) -> i64 {
    days_from_civil(year, 1, 1) * DAY_MS
}

#[test]
fn the_end_is_told_and_commands_know_what_is_shown() {
    let folder = Folder::new();
    folder.write(2060);
    let certificate = folder.open();
    assert_eq!(certificate.expires_ms(), year_ms(2060));
    let left = (year_ms(2060) - NOW_MS) / 1_000;
    assert_eq!(certificate.expires_in_seconds(), left);
    assert_eq!(certificate.expires_in_days(), left / 86_400);
    let said = || data_dir::said_certificate(folder.0.path()).expect("said");
    let before = said();
    folder.write(2061);
    certificate.reload().expect("a pair");
    assert_eq!(certificate.expires_ms(), year_ms(2061));
    assert_ne!(said(), before);
}

#[test]
fn what_is_wrong_is_told_with_its_file_and_changes_nothing() {
    let folder = Folder::new();
    folder.write(2060);
    let certificate = folder.open();
    let (good, other) = (Folder::new(), Folder::new());
    good.write(2061);
    other.write(2062);
    let read =
        |folder: &Folder, name| fs::read_to_string(folder.0.path().join(name)).expect("a file");
    let (chain, key) = (read(&good, "c"), read(&good, "k"));
    let long = "x".repeat(256 * 1024 + 1);
    for (certificate_text, key_text, expected) in [
        ("", &*key, "/c: there is no certificate in it"),
        (&*key, &*key, "/c: there is no certificate in it"),
        (&*chain, "", "/k: there is no private key in it"),
        (&*chain, &*chain, "/k: there is no private key in it"),
        (
            &*chain,
            &*read(&other, "k"),
            "is not the key of the certificate",
        ),
        (&*long, &*key, "/c: the file has more than 256 KiB"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &*key,
            "/c: the first certificate in it cannot be read",
        ),
    ] {
        folder.put("c", certificate_text);
        folder.put("k", key_text);
        let why = certificate.reload().expect_err("no pair");
        assert!(why.contains(expected), "{why}");
        assert_eq!(certificate.wrong().as_deref(), Some(&*why));
        assert_eq!(certificate.expires_ms(), year_ms(2060));
        let refused = check(&folder.settings()).expect_err("no pair");
        assert_eq!(refused, why);
    }
    // One that has expired takes the place of none that has not.
    folder.write(2020);
    assert!(
        certificate
            .reload()
            .expect_err("over")
            .contains("has expired")
    );
    assert_eq!(certificate.expires_ms(), year_ms(2060));
    folder.write(2063);
    certificate.reload().expect("a pair");
    assert_eq!(certificate.wrong(), None);
    assert_eq!(certificate.expires_ms(), year_ms(2063));
}

#[test]
fn one_file_needs_the_other() {
    let only = |certificate: bool| Settings {
        tls_cert: certificate.then(|| "/c".into()),
        tls_key: (!certificate).then(|| "/k".into()),
        ..Settings::default()
    };
    assert!(check(&only(true)).expect_err("half").contains("TLS_KEY"));
    assert!(check(&only(false)).expect_err("half").contains("TLS_CERT"));
    assert_eq!(check(&Settings::default()), Ok(()));
}
