//! Who may do what.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a caller is allowed. Not a ladder: a writer pushes and reads nothing, so rights are
/// asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    None,
    /// Reads and streams.
    Viewer,
    /// Pushes metrics and reads nothing.
    Writer,
    /// All that viewer and writer may, and control, publish, acknowledge, silence.
    Operator,
    /// All of that, and rules, tokens and the `operations` room.
    Admin,
}

impl Role {
    /// The names in settings, in the order of this type.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Viewer,
        Self::Writer,
        Self::Operator,
        Self::Admin,
    ];

    /// The name in settings and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Viewer => "viewer",
            Self::Writer => "writer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// May read figures and open streams.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Viewer | Self::Operator | Self::Admin)
    }

    /// May push metrics.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Writer | Self::Operator | Self::Admin)
    }

    /// May control, publish, acknowledge and silence.
    #[must_use]
    pub const fn operates(self) -> bool {
        matches!(self, Self::Operator | Self::Admin)
    }

    /// May change rules and tokens and join `operations`.
    #[must_use]
    pub const fn administers(self) -> bool {
        matches!(self, Self::Admin)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(())
    }
}
