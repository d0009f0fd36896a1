//! Certificates and roots: what a TLS connection believes and shows.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use crate::{
    Error,
    config::TlsConfig,
    secret::{Stamp, read_small, stamp},
};

/// The files of a configuration and when they changed.
pub(crate) fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    [&config.ca_file, &config.cert_file, &config.key_file]
        .into_iter()
        .flatten()
        .map(|path| stamp(path))
        .collect()
}

/// What rustls is told.
///
/// # Errors
/// A file that is not there or is none, a version that is not known.
pub(crate) fn client_config(config: &TlsConfig) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(config)?)
        .map_err(|error| Error::Config(format!("tls_config: {error}")))?;
    let builder = if config.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(config)?)
    };
    let certificates = pem(config.cert.as_deref(), config.cert_file.as_ref())?;
    let key = pem(
        config.key.as_ref().map(crate::Secret::reveal),
        config.key_file.as_ref(),
    )?;
    match (certificates, key) {
        (Some(certificates), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&key.bytes)
                .map_err(|error| Error::Config(format!("{}: no key in it: {error}", key.from)))?;
            builder
                .with_client_auth_cert(read_certificates(&certificates)?, key)
                .map_err(|error| Error::Config(format!("{}: {error}", certificates.from)))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let wanted = config.minor_versions()?;
    Ok([(2, &TLS12), (3, &TLS13)]
        .into_iter()
        .filter(|(number, _)| wanted.contains(number))
        .map(|(_, version)| version)
        .collect())
}

/// A text in PEM and where it is from.
struct Pem {
    from: String,
    bytes: Vec<u8>,
}

fn pem(inline: Option<&str>, file: Option<&PathBuf>) -> Result<Option<Pem>, Error> {
    if let Some(text) = inline {
        return Ok(Some(Pem {
            from: "tls_config".to_owned(),
            bytes: text.as_bytes().to_vec(),
        }));
    }
    file.map(|path| {
        Ok(Pem {
            from: path.display().to_string(),
            bytes: read_small(path)?,
        })
    })
    .transpose()
}

fn read_certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem.bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Config(format!("{}: {error}", pem.from)))?;
    if certificates.is_empty() {
        return Err(Error::Config(format!("{}: no certificate in it", pem.from)));
    }
    Ok(certificates)
}

fn roots(config: &TlsConfig) -> Result<Arc<RootCertStore>, Error> {
    let Some(pem) = pem(config.ca.as_deref(), config.ca_file.as_ref())? else {
        return Ok(platform_roots());
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(&pem)? {
        roots
            .add(certificate)
            .map_err(|error| Error::Config(format!("{}: {error}", pem.from)))?;
    }
    Ok(Arc::new(roots))
}

/// Whom this machine believes, read once. A machine without roots believes nobody, and is told so
/// by each connection.
fn platform_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "the machine's root certificates are not all readable");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    }))
}

/// `insecure_skip_verify`: any certificate will do, and only the key exchange is checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
