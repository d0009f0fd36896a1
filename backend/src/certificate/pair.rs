//! A certificate and its key, as two files in PEM have them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use rustls::{
    Error, InconsistentKeys,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::validity::ends_ms;
use crate::settings::TlsFiles;

/// Of a file; a chain of ten certificates has some 20 KB.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A certificate with those that signed it, and its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// When the certificate ends, Unix milliseconds.
    pub(super) expires_ms: i64,
}

impl Pair {
    /// Reads two files. Blocks for the disk.
    ///
    /// # Errors
    /// What is wrong, and with which of them.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, String> {
        let of_certificate = |why: &dyn std::fmt::Display| {
            format!("TLS_CERT={}: {why}", files.certificate.display())
        };
        let of_key =
            |why: &dyn std::fmt::Display| format!("TLS_KEY={}: {why}", files.key.display());
        let text = read(&files.certificate).map_err(|error| of_certificate(&error))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| of_certificate(&error))?;
        let Some(leaf) = chain.first() else {
            return Err(of_certificate(&"there is no certificate in it (PEM)"));
        };
        let expires_ms = ends_ms(leaf)
            .ok_or_else(|| of_certificate(&"the first certificate in it cannot be read"))?;
        let text = read(&files.key).map_err(|error| of_key(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_none| of_key(&"there is no private key in it (PEM, without a password)"))?;
        let provider = ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                "TLS_KEY={}: this is not the key of the certificate in TLS_CERT={}",
                files.key.display(),
                files.certificate.display()
            ),
            error => of_key(&error),
        })?;
        Ok(Self {
            key: Arc::new(key),
            expires_ms,
        })
    }

    /// The certificate without those that signed it.
    pub(super) fn leaf(&self) -> &CertificateDer<'static> {
        // A pair is made of at least one.
        const NONE: &CertificateDer<'static> = &CertificateDer::from_slice(&[]);
        self.key.cert.first().unwrap_or(NONE)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("the file has more than 256 KiB"));
    }
    Ok(text)
}
