//! The certificate that the server shows and its key (`TLS_CERT`, `TLS_KEY`): read at the start,
//! and again when the files change, so that whoever renews them need not tell the server.
//!
//! ```text
//!   two files ──read, checked──▶ a pair ──swapped──▶ every handshake from then on
//!                   └── wrong ──▶ logged; the pair that is shown stays
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `pair` | from two files to a pair that belongs together |
//! | `validity` | until when a certificate holds |

mod pair;
mod validity;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::pair::Pair;
use crate::{
    base::{clock::Clock, data_dir},
    settings::{DataDir, Settings, TlsFiles},
};

/// How often the files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// A certificate that ends sooner is warned about, once a day.
const WARNED_BEFORE_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// HTTP/1.1 in the handshake (RFC 7301).
pub const HTTP_1: &[u8] = b"http/1.1";
/// HTTP/2 in the handshake.
pub const HTTP_2: &[u8] = b"h2";

/// What the server shows, and how its files are.
pub struct Certificate {
    files: TlsFiles,
    shown: Arc<Shown>,
    template: ServerConfig,
    clock: Clock,
    /// Where commands beside the server look for what is shown.
    folder: Option<PathBuf>,
    /// Held while the files are read: one reader at a time.
    reading: Mutex<Read>,
    /// Why the files are not what is shown. A leaf lock.
    wrong: RwLock<Option<String>>,
}

/// The files as they were when they were read last.
#[derive(Debug)]
struct Read {
    stamps: [Stamp; 2],
}

/// Finds the certificate for a handshake.
#[derive(Debug)]
struct Shown(RwLock<Arc<Pair>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().key))
    }
}

/// Looks whether the server could start with the files that these settings name.
///
/// # Errors
/// What is wrong, and with which of them.
pub fn check(settings: &Settings) -> Result<(), String> {
    match &settings.tls_files()? {
        None => Ok(()),
        Some(files) => Pair::read(files).map(drop),
    }
}

impl Certificate {
    /// Reads the files that the settings name; `None` where they name none.
    ///
    /// # Errors
    /// They are not a certificate and its key.
    pub fn open(settings: &Settings, clock: Clock) -> Result<Option<Arc<Self>>, String> {
        let Some(files) = settings.tls_files()? else {
            return Ok(None);
        };
        let stamps = stamps(&files);
        let shown = Arc::new(Shown(RwLock::new(Arc::new(Pair::read(&files)?))));
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be spoken: {error}"))?;
        let mut template = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<_>);
        // Who comes back is known by what it was given, and costs no signature; its keys change
        // every few hours.
        template.ticketer = ring::Ticketer::new()
            .map_err(|error| format!("the system gives no random numbers: {error}"))?;
        let certificate = Self {
            files,
            shown,
            template,
            clock,
            folder: match &settings.data_dir {
                DataDir::Path(folder) => Some(folder.clone()),
                DataDir::Memory => None,
            },
            reading: Mutex::new(Read { stamps }),
            wrong: RwLock::new(None),
        };
        certificate.tell_commands();
        certificate.warn_of_end();
        Ok(Some(Arc::new(certificate)))
    }

    /// What does handshakes for a port that speaks these protocols; it shows the newest pair.
    #[must_use]
    pub fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let mut config = self.template.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reads the files again; of two that are no pair nothing is taken. Blocks for the disk.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn reload(&self) -> Result<(), String> {
        let mut reading = self.reading.lock();
        // Before they are read: what changes meanwhile is read once more.
        reading.stamps = stamps(&self.files);
        let read = Pair::read(&self.files).and_then(|pair| self.is_better(pair));
        let told = match &read {
            Ok(_) => None,
            Err(why) => {
                tracing::error!("{why}; the certificate that was read before is shown");
                Some(why.clone())
            }
        };
        *self.wrong.write() = told;
        let pair = read?;
        let is_new = self.shown.0.read().leaf() != pair.leaf();
        *self.shown.0.write() = Arc::new(pair);
        if is_new {
            self.tell_commands();
            tracing::info!(
                tls.expires_in_days = self.expires_in_days(),
                "{}: another certificate is shown from now on",
                self.files.certificate.display()
            );
        }
        self.warn_of_end();
        Ok(())
    }

    /// Refuses one that nobody would take any more, in place of one that is taken.
    fn is_better(&self, pair: Pair) -> Result<Pair, String> {
        let now_ms = self.clock.now_ms();
        if pair.expires_ms <= now_ms && self.expires_ms() > now_ms {
            return Err(format!(
                "TLS_CERT={}: the certificate in it has expired",
                self.files.certificate.display()
            ));
        }
        Ok(pair)
    }

    /// Reads the files when they have changed, until the server stops. What they stand for may
    /// change by a file that is written, renamed or linked to anew: they are looked at by name each
    /// time, and read once nothing has changed between two looks.
    pub async fn watch(self: Arc<Self>, stopping: CancellationToken) {
        let mut changed = None;
        let mut warned_ms = self.clock.now_ms();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
            }
            let looking = Arc::clone(&self);
            let before = changed.take();
            let looked = spawn_blocking(move || {
                let now = stamps(&looking.files);
                if looking.reading.lock().stamps == now {
                    return None;
                }
                if before != Some(now) {
                    return Some(now);
                }
                // What is wrong is logged there.
                looking.reload().ok();
                None
            });
            match looked.await {
                Ok(seen) => changed = seen,
                Err(error) => tracing::error!(%error, "reading the certificate again panicked"),
            }
            if self.clock.now_ms() - warned_ms >= DAY_MS {
                warned_ms = self.clock.now_ms();
                self.warn_of_end();
            }
        }
    }

    fn tell_commands(&self) {
        let Some(folder) = &self.folder else {
            return;
        };
        if let Err(error) = data_dir::say_certificate(folder, self.shown.0.read().leaf()) {
            tracing::warn!(%error, "commands beside the server do not know its certificate");
        }
    }

    fn warn_of_end(&self) {
        let left_ms = self.expires_ms() - self.clock.now_ms();
        let file = self.files.certificate.display();
        if left_ms <= 0 {
            tracing::warn!("TLS_CERT={file}: the certificate has expired; clients refuse it");
        } else if left_ms <= WARNED_BEFORE_MS {
            tracing::warn!(
                tls.expires_in_days = left_ms / DAY_MS,
                "TLS_CERT={file}: the certificate expires in {} days",
                left_ms / DAY_MS
            );
        }
    }

    /// When the certificate that is shown ends, Unix milliseconds.
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        self.shown.0.read().expires_ms
    }

    /// Seconds until then; below zero once it is over.
    #[must_use]
    pub fn expires_in_seconds(&self) -> i64 {
        (self.expires_ms() - self.clock.now_ms()).div_euclid(1_000)
    }

    /// The same in whole days.
    #[must_use]
    pub fn expires_in_days(&self) -> i64 {
        (self.expires_ms() - self.clock.now_ms()).div_euclid(DAY_MS)
    }

    /// Why the files are not what is shown, where they are not.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        self.wrong.read().clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("files", &self.files)
            .field("wrong", &self.wrong)
            .finish_non_exhaustive()
    }
}

/// By what a file is known to be another than before; `None` of one that is not there.
type Stamp = Option<Known>;

#[cfg(unix)]
type Known = (u64, u64, i64, i64, i64, i64, u64);
#[cfg(not(unix))]
type Known = (Option<std::time::SystemTime>, u64);

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    [&files.certificate, &files.key].map(|path| stamp(path).ok())
}

/// Of the file that a name leads to in the end, whatever links there are on the way.
#[cfg(unix)]
fn stamp(path: &Path) -> io::Result<Known> {
    use std::os::unix::fs::MetadataExt as _;
    let data = fs::metadata(path)?;
    let (written, changed) = (
        (data.mtime(), data.mtime_nsec()),
        (data.ctime(), data.ctime_nsec()),
    );
    Ok((
        data.dev(),
        data.ino(),
        written.0,
        written.1,
        changed.0,
        changed.1,
        data.len(),
    ))
}

#[cfg(not(unix))]
fn stamp(path: &Path) -> io::Result<Known> {
    let data = fs::metadata(path)?;
    Ok((data.modified().ok(), data.len()))
}

#[cfg(test)]
mod tests;
