//! Where programs lie. A variable beats the search path.
//!
//! | variable | program |
//! |---|---|
//! | `PULSEBOARD_BIN` | the server that is tested |
//! | `REDIS_SERVER`, `VALKEY_SERVER` | redis-server and valkey-server |
//! | `HAPROXY`, `PULSEBOARD_NGINX` | balancers |

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where programs lie that only root is expected to start.
const MORE: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// What servers share: two that speak the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Of Redis' own makers.
    Redis,
    /// The fork that distributions have now.
    Valkey,
}

impl Engine {
    /// Its program; says so where there is none.
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Redis => wanted("REDIS_SERVER", "redis-server"),
            Self::Valkey => wanted("VALKEY_SERVER", "valkey-server"),
        }
    }
}

/// The server that is tested.
///
/// # Errors
/// It is not said where it lies; a test must then fail and not pass for want of something to test.
pub fn server() -> Result<PathBuf> {
    env::var_os("PULSEBOARD_BIN").map(PathBuf::from).context(
        "PULSEBOARD_BIN is not set; `cargo xtask test-cluster` sees to all that these tests need",
    )
}

/// The program of a balancer, or another one; says so where there is none.
#[must_use]
pub fn wanted(variable: &str, name: &str) -> Option<PathBuf> {
    let found = search(env::var_os(variable).as_deref(), name);
    if found.is_none() {
        eprintln!("left out: there is no {name} here, and {variable} names none");
    }
    found
}

fn search(named: Option<&OsStr>, name: &str) -> Option<PathBuf> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let more = MORE.iter().map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A file of `deploy/`.
///
/// # Errors
/// It cannot be read.
pub fn deployed(name: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    std::fs::read_to_string(folder.join(name)).with_context(|| format!("deploy/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_names_nothing_is_not_passed_over() {
        let missing = OsStr::new("/nowhere/redis-server");
        assert_eq!(search(Some(missing), "sh"), None);
        assert!(search(Some(OsStr::new("")), "sh").is_some());
        assert!(search(None, "sh").is_some());
        assert_eq!(search(None, "no-such-program-here"), None);
    }
}
