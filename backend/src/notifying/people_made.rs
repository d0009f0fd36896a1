//! What people make that holds somebody back from being told, and what its documents are called.

use super::name::document_of;

/// What they make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Silences, by identity.
    Silences,
    /// Maintenance windows, by identity.
    Windows,
    /// Acknowledgements, by the alert's fingerprint.
    Acks,
}

/// What the names of their documents begin with.
pub(super) const FOLDERS: [&str; 3] = ["silences/", "windows/", "acks/"];

impl Made {
    const fn folder(self) -> &'static str {
        match self {
            Self::Silences => "silences",
            Self::Windows => "windows",
            Self::Acks => "acks",
        }
    }

    pub(super) fn document(self, tenant: &str, id: &str) -> String {
        format!("{}/{}/{id}", self.folder(), document_of(tenant))
    }
}

/// Nothing is changed that the other servers cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untold(pub(super) String);
