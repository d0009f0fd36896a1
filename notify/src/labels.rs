//! Sets of labels: their fingerprint, their order, how they are printed.

use std::{cmp::Ordering, fmt, str::FromStr};

use pulseboard_shared::Labels;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Prometheus' fingerprint of a set of labels. 16 hexadecimal digits as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl Fingerprint {
    /// FNV-1a of 64 bits over names and values in the order of their names, each followed by the
    /// byte 255.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let mut hash = OFFSET;
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            for byte in text.as_bytes().iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        }
        Self(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 16 hexadecimal digits")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseFingerprintError);
        }
        u64::from_str_radix(text, 16).map_or(Err(ParseFingerprintError), |hash| Ok(Self(hash)))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The order in which Alertmanager tells alerts: by `job`, then `instance`, then all labels, the
/// smaller set first.
pub(crate) fn told_order(left: &Labels, right: &Labels) -> Ordering {
    for name in ["job", "instance"] {
        let order = match (left.get(name), right.get(name)) {
            (None, None) => continue,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
    }
    order(left, right)
}

/// Prometheus' order of sets: the smaller first, then name by name; of two sets that differ in a
/// name the one that lacks it is first.
pub(crate) fn order(left: &Labels, right: &Labels) -> Ordering {
    let by_count = left.len().cmp(&right.len());
    if by_count.is_ne() {
        return by_count;
    }
    for ((left_name, left_value), (right_name, right_value)) in left.iter().zip(right) {
        let by_label = right_name
            .cmp(left_name)
            .then_with(|| left_value.cmp(right_value));
        if by_label.is_ne() {
            return by_label;
        }
    }
    Ordering::Equal
}

/// `{a="b", c="d"}`, as Go's client prints it.
pub(crate) fn print(labels: &Labels) -> String {
    let mut text = String::from("{");
    for (name, value) in labels {
        if text.len() > 1 {
            text.push_str(", ");
        }
        if is_classic_name(name) {
            text.push_str(name);
        } else {
            text.push_str(&quote(name));
        }
        text.push('=');
        text.push_str(&quote(value));
    }
    text.push('}');
    text
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(crate) fn is_classic_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// In double quotes, as Go's `%q` has it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(char)));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
pub(crate) fn of(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_prometheus() {
        // the second by hand from the definition of FNV-1a
        for (labels, text) in [
            (of(&[]), "cbf29ce484222325"),
            (of(&[("alertname", "a")]), "d258efc389808447"),
        ] {
            assert_eq!(Fingerprint::of(&labels).to_string(), text);
            assert_eq!(text.parse(), Ok(Fingerprint::of(&labels)));
        }
        assert!("cbf29ce48422232".parse::<Fingerprint>().is_err());
        assert!("+bf29ce484222325".parse::<Fingerprint>().is_err());
    }

    #[test]
    fn alerts_are_told_by_job_then_instance_then_labels() {
        let mut sets = [
            of(&[("z", "1")]),
            of(&[("a", "1"), ("b", "1")]),
            of(&[("a", "2")]),
            of(&[("instance", "2"), ("job", "a")]),
            of(&[("instance", "1"), ("job", "a")]),
            of(&[("instance", "0")]),
            of(&[("job", "b")]),
        ];
        sets.sort_by(told_order);
        let printed: Vec<String> = sets.iter().map(print).collect();
        assert_eq!(
            printed,
            [
                r#"{instance="1", job="a"}"#,
                r#"{instance="2", job="a"}"#,
                r#"{job="b"}"#,
                r#"{instance="0"}"#,
                r#"{z="1"}"#,
                r#"{a="2"}"#,
                r#"{a="1", b="1"}"#,
            ]
        );
    }

    #[test]
    fn what_is_printed_is_quoted() {
        assert_eq!(
            print(&of(&[("a b", "x\"\\\n\u{1}é")])),
            r#"{"a b"="x\"\\\n\x01é"}"#
        );
    }
}
