//! What callers show to be known (tokens, sessions, tickets): how such a secret is made, and the
//! digest that is all the server keeps of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of randomness in a secret made here; nobody guesses one.
const SECRET_BYTES: usize = 32;

/// A new secret in hex, from the system's random numbers.
///
/// # Errors
/// The system has none to give.
pub fn new_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Whether this may be one that [`new_secret`] has made. Says nothing of who knows it.
#[must_use]
pub fn is_secret(shown: &str) -> bool {
    from_hex::<SECRET_BYTES>(shown).is_ok()
}

/// The SHA-256 of a secret; written in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of this secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Compares all bytes whatever they are, so that the time taken tells nothing.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The first bytes, which name the secret without telling it.
    #[must_use]
    pub(super) fn prefix<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|index| self.0.get(index).copied().unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    /// Shortened: a digest of a weak secret can be searched for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}…)", hex(&self.prefix::<6>()))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        hex(&digest.0)
    }
}

impl FromStr for Digest {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        from_hex(text).map(Self)
    }
}

impl TryFrom<String> for Digest {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

/// A text is not the hex that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected hexadecimal digits of a fixed number")]
pub struct NotHex;

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes from hex.
pub(super) fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NotHex);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = std::str::from_utf8(pair)
            .ok()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or(NotHex)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_equal_only_for_the_whole_secret() {
        let digest = Digest::of("secret");
        assert!(digest.matches(&Digest::of("secret")));
        for other in ["", "s", "secre", "secrets", "Secret"] {
            assert!(!digest.matches(&Digest::of(other)), "{other:?}");
        }
    }

    #[test]
    fn hex_comes_back_and_nothing_else_is_taken() {
        let text = String::from(Digest::of("secret"));
        assert_eq!(text.parse(), Ok(Digest::of("secret")));
        assert!(text.starts_with("2bb80d537b1da3e3"), "SHA-256: {text}");
        for wrong in ["", "2b", &text[1..], &text.replace('2', "g")] {
            assert_eq!(wrong.parse::<Digest>(), Err(NotHex), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (new_secret(), new_secret());
        assert!(one.as_ref().is_ok_and(|one| one.len() == 64));
        assert!(one.as_ref().is_ok_and(|one| is_secret(one)));
        assert!(one.as_ref().is_ok_and(|one| !is_secret(&one[1..])));
        assert_ne!(one, other);
    }
}
