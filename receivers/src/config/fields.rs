//! What the sections of all receivers have in common: how they are read, and small checks.

use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use pulseboard_outbound::{Secret, check_address};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// What can be wrong with one section by itself.
pub(super) trait Check {
    /// Also brings what is left out to its default where that depends on other fields.
    fn check(&mut self) -> Result<(), String>;
}

/// A list of sections, each checked where it stands, so that what is wrong is told with its line.
/// Nothing is an empty list.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Check,
{
    let list: Option<Vec<Checked<T>>> = Deserialize::deserialize(deserializer)?;
    Ok(list
        .unwrap_or_default()
        .into_iter()
        .map(|one| one.0)
        .collect())
}

struct Checked<T>(T);

impl<'de, T: Deserialize<'de> + Check> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Check> Visitor<'de> for Read<T> {
            type Value = Checked<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the fields of a receiver")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checked<T>, A::Error> {
                let mut section = T::deserialize(MapAccessDeserializer::new(map))?;
                section.check().map_err(A::Error::custom)?;
                Ok(Checked(section))
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}

/// A section that is known and not served: whether something stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unserved(pub bool);

impl<'de> Deserialize<'de> for Unserved {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Unserved;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_unit<E: Error>(self) -> Result<Unserved, E> {
                Ok(Unserved(false))
            }

            fn visit_none<E: Error>(self) -> Result<Unserved, E> {
                Ok(Unserved(false))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Unserved, E> {
                Ok(Unserved(true))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Unserved, E> {
                Ok(Unserved(true))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Unserved, E> {
                Ok(Unserved(true))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Unserved, E> {
                Ok(Unserved(true))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Unserved, E> {
                Ok(Unserved(true))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Unserved, A::Error> {
                let mut is_there = false;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    is_there = true;
                }
                Ok(Unserved(is_there))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unserved, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Unserved(true))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl Serialize for Unserved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

/// What need not be written out.
pub(super) trait Absent {
    fn absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Absent for BTreeMap<K, V> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for String {}
impl Absent for bool {}
impl Absent for u64 {}
impl Absent for i64 {}

/// Declares the section of one way out: its fields with their defaults, `send_resolved` and
/// `http_config`.
macro_rules! section {
    ($(#[$meta:meta])* pub struct $name:ident (resolved: $resolved:literal) {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// Whether it is told, too, that alerts are over.
            pub send_resolved: bool,
            /// Who asks; of the global one where there is none.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub http_config: Option<super::http::HttpConfig>,
            $($(#[$field_meta])*
            #[serde(skip_serializing_if = "super::fields::Absent::absent")]
            pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    send_resolved: $resolved,
                    http_config: None,
                    $($field: $default,)*
                }
            }
        }
    };
}
pub(super) use section;

/// A template that calls another by its name.
pub(super) fn named(template: &str) -> String {
    format!("{{{{ template \"{template}\" . }}}}")
}

/// At most one of a secret and its file.
pub(super) fn one_at_most(
    name: &str,
    secret: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<(), String> {
    match (secret, file) {
        (Some(_), Some(_)) => Err(format!(
            "at most one of {name} and {name}_file may be given"
        )),
        _ => Ok(()),
    }
}

/// Exactly one of them.
pub(super) fn one_of(
    name: &str,
    secret: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<(), String> {
    one_at_most(name, secret, file)?;
    let is_given = file.is_some() || secret.is_some_and(|secret| !secret.reveal().is_empty());
    match is_given {
        true => Ok(()),
        false => Err(format!("one of {name} and {name}_file must be given")),
    }
}

/// Whether this is an address of http or https. It is not shown: such addresses are secrets.
pub(super) fn address(name: &str, url: Option<&str>) -> Result<(), String> {
    match url {
        Some(url) if !url.contains("{{") && check_address(url).is_err() => {
            Err(format!("{name} is no address of http or https with a host"))
        }
        _ => Ok(()),
    }
}

/// As [`address`].
pub(super) fn secret_address(name: &str, url: Option<&Secret>) -> Result<(), String> {
    address(name, url.map(Secret::reveal))
}

/// Makes a relative path one below `folder`.
pub(super) fn below(folder: &Path, path: &mut Option<PathBuf>) {
    if let Some(path) = path {
        *path = folder.join(&*path);
    }
}

/// A secret as it is now: the text, or what the file holds, read at each call.
///
/// # Errors
/// The file cannot be read; told with its name.
pub fn reveal(secret: Option<&Secret>, file: Option<&PathBuf>) -> Result<Secret, String> {
    match file {
        Some(path) => {
            pulseboard_outbound::secret::read_file(path).map_err(|error| error.to_string())
        }
        None => Ok(secret.cloned().unwrap_or_default()),
    }
}
