//! Links that make a browser admin: one is printed at the start, `pulseboard admin-link` prints
//! another. Each works once and for ten minutes. The secret is behind the `#`, which no browser
//! sends along, so that it is in no log on the way.
//!
//! The command leaves the digest of its link in the data folder, where only the server's own user
//! can write, and the server looks there when somebody shows such a secret. Where several servers
//! are one, it looks there before, and tells the others (`shared`).

use std::{
    fs::{self, File},
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::secret::{Digest, new_secret};
use crate::base::{
    data_dir::{self, Served},
    json::json_text,
};

/// How long a link works.
pub const LIFETIME_MS: i64 = 10 * 60 * 1000;
/// Where the command leaves a link.
const FILE: &str = "admin-link.json";
/// Of that file; a longer one is none of ours.
const FILE_BYTES_MAX: u64 = 4_096;

/// A link that was not used yet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Link {
    digest: Digest,
    expires_ms: i64,
}

impl Link {
    fn is(&self, shown: &Digest, now_ms: i64) -> bool {
        // One that ends later than any can was made by a clock that is wrong.
        self.digest.matches(shown) && (now_ms..=now_ms + LIFETIME_MS).contains(&self.expires_ms)
    }
}

/// The links that work.
#[derive(Debug)]
pub struct Links {
    /// The start's. A leaf lock.
    printed: Mutex<Option<Link>>,
    /// Held while the file is looked at, so that two who show the same link are one after another.
    file: Mutex<Option<PathBuf>>,
}

impl Links {
    /// The link that the start printed, where it did, and those that are left in `folder`.
    #[must_use]
    pub fn new(printed: Option<&str>, folder: Option<&Path>, now_ms: i64) -> Self {
        Self {
            printed: Mutex::new(printed.map(|secret| Link {
                digest: Digest::of(secret),
                expires_ms: now_ms + LIFETIME_MS,
            })),
            file: Mutex::new(folder.map(|folder| folder.join(FILE))),
        }
    }

    /// Uses a link up; whether it is one. May wait for the disk.
    pub fn redeem(&self, shown: &Digest, now_ms: i64) -> bool {
        let mut printed = self.printed.lock();
        if printed.is_some_and(|link| link.is(shown, now_ms)) {
            *printed = None;
            return true;
        }
        drop(printed);
        let file = self.file.lock();
        let left = left_in(file.as_deref()).filter(|link| link.is(shown, now_ms));
        left.is_some() && use_up(file.as_deref())
    }

    /// Whether it is one that works; it is not used up. May wait for the disk.
    #[must_use]
    pub fn has(&self, shown: &Digest, now_ms: i64) -> bool {
        let known = self.known(now_ms);
        known.iter().any(|(digest, _)| digest.matches(shown))
    }

    /// All that work, and until when. May wait for the disk.
    #[must_use]
    pub fn known(&self, now_ms: i64) -> Vec<(Digest, i64)> {
        let printed = *self.printed.lock();
        let left = left_in(self.file.lock().as_deref());
        let both = printed.into_iter().chain(left);
        both.filter(|link| link.is(&link.digest, now_ms))
            .map(|link| (link.digest, link.expires_ms))
            .collect()
    }

    /// It was used at another server, or here for all. May wait for the disk.
    pub fn forget(&self, used: &Digest) {
        self.printed
            .lock()
            .take_if(|link| link.digest.matches(used));
        let file = self.file.lock();
        if left_in(file.as_deref()).is_some_and(|link| link.digest.matches(used)) {
            use_up(file.as_deref());
        }
    }
}

/// What the command has left.
fn left_in(file: Option<&Path>) -> Option<Link> {
    let path = file?;
    read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "{} is not looked at", path.display());
        None
    })
}

/// Whether what it has left is gone.
fn use_up(file: Option<&Path>) -> bool {
    let removed = file.map_or(Ok(()), fs::remove_file);
    removed
        .inspect_err(|error| {
            tracing::error!(%error, "an admin link cannot be used up and is not taken");
        })
        .is_ok()
}

/// Leaves a link in a server's data folder and returns its secret.
///
/// # Errors
/// The disk or the system refuses.
pub fn leave(folder: &Path, now_ms: i64) -> io::Result<String> {
    let secret = new_secret().map_err(io::Error::other)?;
    let link = Link {
        digest: Digest::of(&secret),
        expires_ms: now_ms + LIFETIME_MS,
    };
    let path = folder.join(FILE);
    data_dir::replace_file(&path, json_text(&link).as_bytes())?;
    give_to_owner_of(folder, &path)?;
    Ok(secret)
}

/// The page's address with the secret in it. An address that stands for all of this machine's is
/// none that a browser can go to.
#[must_use]
pub fn url(served: &Served, secret: &str) -> String {
    let address = served.address;
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    format!(
        "{}://{}/#admin={secret}",
        served.scheme(),
        SocketAddr::new(ip, address.port())
    )
}

fn read(path: &Path) -> io::Result<Option<Link>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    check_owner(&file)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(io::Error::from)
}

/// A link is only believed from who could read everything else here.
#[cfg(unix)]
fn check_owner(file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    let owner = metadata.uid();
    if (owner != 0 && owner != rustix::process::geteuid().as_raw()) || metadata.mode() & 0o022 != 0
    {
        return Err(io::Error::other(
            "others than the server's user can write to it",
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_: &File) -> io::Result<()> {
    Ok(())
}

/// Root may make a link for a server that runs as somebody else.
#[cfg(unix)]
fn give_to_owner_of(folder: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let (folder, file) = (fs::metadata(folder)?, fs::metadata(path)?);
    if folder.uid() == file.uid() {
        return Ok(());
    }
    chown(path, Some(folder.uid()), Some(folder.gid()))
}

#[cfg(not(unix))]
fn give_to_owner_of(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(secret: &str) -> Digest {
        Digest::of(secret)
    }

    #[test]
    fn what_works_is_known_until_it_is_used_at_another_server() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let links = Links::new(Some("printed"), Some(folder.path()), 0);
        let left = leave(folder.path(), 5).expect("left");
        let both = [(of("printed"), LIFETIME_MS), (of(&left), LIFETIME_MS + 5)];
        assert_eq!(links.known(5), both);
        assert!(links.has(&of("printed"), 5) && links.has(&of(&left), 5));
        assert_eq!(links.known(LIFETIME_MS + 1), both[1..]);
        links.forget(&of("another"));
        assert_eq!(links.known(5), both);
        links.forget(&of("printed"));
        assert_eq!(links.known(5), both[1..]);
        links.forget(&of(&left));
        assert_eq!(links.known(5), []);
        assert!(!links.redeem(&of("printed"), 5) && !links.redeem(&of(&left), 5));
    }

    #[test]
    fn the_printed_link_works_once_and_for_ten_minutes() {
        let links = Links::new(Some("secret"), None, 0);
        assert!(!links.redeem(&of("other"), 0));
        assert!(links.redeem(&of("secret"), LIFETIME_MS));
        assert!(!links.redeem(&of("secret"), 1));
        let late = Links::new(Some("secret"), None, 0);
        assert!(!late.redeem(&of("secret"), LIFETIME_MS + 1));
        assert!(!Links::new(None, None, 0).redeem(&of(""), 0));
    }

    #[test]
    fn a_link_of_the_folder_works_once_and_for_ten_minutes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let links = Links::new(None, Some(folder.path()), 0);
        let secret = leave(folder.path(), 0).expect("left");
        let text = fs::read_to_string(folder.path().join(FILE)).expect("the file");
        assert!(!text.contains(&secret));
        assert!(!links.redeem(&of("other"), 0) && !links.redeem(&of(&secret), LIFETIME_MS + 1));
        assert!(links.redeem(&of(&secret), 5));
        assert!(!links.redeem(&of(&secret), 5));
        assert!(!folder.path().join(FILE).exists());
        // A newer one takes the place of an older one.
        let older = leave(folder.path(), 0).expect("left");
        let newer = leave(folder.path(), 0).expect("left");
        assert!(!links.redeem(&of(&older), 0) && links.redeem(&of(&newer), 0));
        // From a clock far ahead.
        let ahead = leave(folder.path(), LIFETIME_MS).expect("left");
        assert!(!links.redeem(&of(&ahead), 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_others_can_write_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let links = Links::new(None, Some(folder.path()), 0);
        let secret = leave(folder.path(), 0).expect("left");
        let path = folder.path().join(FILE);
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        mode(0o622).expect("changed");
        assert!(!links.redeem(&of(&secret), 0));
        mode(0o600).expect("changed");
        assert!(links.redeem(&of(&secret), 0));
    }

    #[test]
    fn links_lead_to_where_a_browser_can_go() {
        for (address, expected) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000/#admin=s"),
            ("0.0.0.0:80", "http://127.0.0.1:80/#admin=s"),
            ("[::]:80", "http://127.0.0.1:80/#admin=s"),
            ("[::1]:3000", "http://[::1]:3000/#admin=s"),
        ] {
            let address = address.parse().expect("an address");
            let served = |tls| Served { address, tls };
            assert_eq!(url(&served(false), "s"), expected);
            let expected = expected.replace("http:", "https:");
            assert_eq!(url(&served(true), "s"), expected);
        }
    }
}
