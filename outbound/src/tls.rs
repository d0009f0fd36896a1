//! Certificates and roots: what a TLS connection believes and shows.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
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
    let builder = if let Some(only) = &config.only {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Only(only.clone(), Anybody(provider))))
    } else if config.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else if let Some(pem) = pem(config.ca.as_deref(), config.ca_file.as_ref())? {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Given::new(&pem, provider)?))
    } else {
        builder.with_root_certificates(platform_roots())
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

/// Those who are signed by a certificate of `ca_file`, or are one of them.
///
/// The usual verifier wants a root and a server to be two: it refuses a certificate that signed
/// itself and may sign others, as `openssl req -x509` makes it, and looks for the issuer of one
/// that may not. Whoever names a certificate as the one to be believed means it, though.
#[derive(Debug)]
struct Given {
    usual: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Given {
    fn new(pem: &Pem, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::Config(format!("{}: {error}", pem.from));
        let given = read_certificates(pem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &given {
            roots
                .add(certificate.clone())
                .map_err(|error| wrong(&error))?;
        }
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| wrong(&error))?;
        Ok(Self { usual, given })
    }
}

/// Whether all that is wrong with a certificate is that it is no server's, or that nobody who is
/// known signed it, whatever they are called. The verifier looks at its dates before it comes to
/// any of these; a test holds it to that.
fn is_only_about_the_issuer(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => true,
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            other.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
        }
        _ => false,
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = (self.usual).verify_server_cert(certificate, others, name, ocsp, now);
        match verified {
            Err(error) if is_only_about_the_issuer(&error) && self.given.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// One certificate and no other: who shows it and has its key is whom was meant.
#[derive(Debug)]
struct Only(Vec<u8>, Anybody);

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match **certificate == *self.0 {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.1.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.1.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.supported_verify_schemes()
    }
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
