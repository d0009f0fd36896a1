//! The settings file: TOML with one key per entry of the table, and `[rooms.NAME]`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use pulseboard_shared::Role;
use serde::Deserialize;
use toml::Value;

use super::{
    Spec, ValueKind,
    error::{Origin, SettingsError},
    parse::{quote, room_name_is_valid},
    table,
    value::RoomSettings,
};

const ROOMS: &str = "rooms";

/// What a file gives.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    /// Key to text, for every key that is written.
    values: BTreeMap<&'static str, String>,
    /// `[rooms.NAME]`.
    pub(super) rooms: BTreeMap<String, RoomSettings>,
}

impl File {
    /// The text of a setting, once.
    pub(super) fn take(&mut self, spec: &Spec) -> Option<String> {
        self.values.remove(spec.key)
    }

    /// Where this file gives a setting.
    pub(super) fn origin(&self, spec: &Spec) -> Origin {
        Origin::File {
            path: self.path.clone(),
            key: spec.key,
        }
    }
}

/// `[rooms.NAME]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoomTable {
    min_role: Option<Role>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    events: BTreeMap<String, Value>,
    #[serde(default)]
    default_subscriptions: Vec<String>,
}

/// Reads the file at `path`, whose name `origin` gave.
pub(super) fn read(path: PathBuf, origin: Origin) -> Result<File, SettingsError> {
    match fs::read_to_string(&path) {
        Ok(text) => parse(path, &text),
        Err(source) => Err(SettingsError::Unreadable {
            path,
            origin,
            source,
        }),
    }
}

/// Whether users of this machine beside the owner may read a file; `false` also where nobody knows.
pub(super) fn is_readable_by_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o044 != 0)
    }
    #[cfg(not(unix))]
    {
        let _unknown = path;
        false
    }
}

/// Reads the text of the file at `path`.
pub(super) fn parse(path: PathBuf, text: &str) -> Result<File, SettingsError> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return Err(syntax_error(path, text, &error)),
    };
    let mut file = File {
        path,
        ..File::default()
    };
    for (key, value) in table {
        if key == ROOMS {
            file.rooms = rooms(&file.path, value)?;
        } else if let Some(spec) = super::table().find(|spec| spec.key == key) {
            let text = text_of(&value, spec.form).ok_or_else(|| {
                let shown = match (spec.form, &value) {
                    (ValueKind::Secrets, _) => "its value".to_owned(),
                    (_, Value::Float(number)) => quote(&number.to_string()),
                    (_, Value::Boolean(flag)) => quote(&flag.to_string()),
                    (_, other) => format!("its {}", other.type_str()),
                };
                spec.refuse(shown, file.origin(spec))
            })?;
            file.values.insert(spec.key, text);
        } else {
            return Err(unknown_key(file.path, key));
        }
    }
    Ok(file)
}

fn syntax_error(path: PathBuf, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    if let Some((spec, shown)) = too_large(text, before) {
        let key = spec.key;
        return spec.refuse(shown, Origin::File { path, key });
    }
    let line = 1 + text.as_bytes()[..before]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    SettingsError::Syntax {
        path,
        line,
        message: on_one_line(error.message()),
    }
}

/// The setting whose number at this place is larger than TOML has them, and its value, quoted.
fn too_large(text: &str, at: usize) -> Option<(&'static Spec, String)> {
    let before = text.get(..at)?;
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let (key, value) = text.get(begin..)?.lines().next()?.split_once('=')?;
    let key = key.trim().trim_matches(['"', '\'']);
    let spec = super::table().find(|spec| spec.key == key)?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let digits = value.trim_start_matches(['+', '-']);
    let is_whole = !digits.is_empty()
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_');
    let is_too_large = is_whole && value.replace('_', "").parse::<i64>().is_err();
    let shown = match spec.form {
        ValueKind::Secrets => "its value".to_owned(),
        _ => quote(value),
    };
    is_too_large.then_some((spec, shown))
}

fn unknown_key(path: PathBuf, key: String) -> SettingsError {
    let keys = || table().map(|spec| spec.key).chain([ROOMS]);
    // Somebody who knows the variables may write their names.
    let hint = nearest(&key.to_lowercase(), keys())
        .or_else(|| {
            table()
                .find(|spec| spec.env.eq_ignore_ascii_case(&key) || spec.flag == Some(key.as_str()))
                .map(|spec| spec.key)
        })
        .map_or_else(String::new, |meant| format!(", did you mean {meant:?}?"));
    SettingsError::UnknownKey {
        path,
        key,
        hint,
        accepted: keys().collect::<Vec<_>>().join(", "),
    }
}

/// The nearest of `names` to `given`, when one is near enough to be what was meant.
fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Three slips, or a third of a short name.
    let limit = (given.chars().count() / 3).clamp(1, 3);
    names
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// The text that a flag would have given; `None` for what no setting of this form takes.
fn text_of(value: &Value, form: ValueKind) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Array(parts) if form != ValueKind::Single => {
            let texts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn rooms(path: &Path, value: Value) -> Result<BTreeMap<String, RoomSettings>, SettingsError> {
    let refuse = |key: String, message: String| SettingsError::Room {
        path: path.to_owned(),
        key,
        message,
    };
    let Value::Table(table) = value else {
        return Err(refuse(
            ROOMS.to_owned(),
            "rooms are tables, such as [rooms.deploys]".to_owned(),
        ));
    };
    table
        .into_iter()
        .map(|(name, value)| {
            let key = format!("{ROOMS}.{}", name.escape_debug());
            if !room_name_is_valid(&name) {
                return Err(refuse(
                    key,
                    "a room's name is 1 to 128 characters A-Z a-z 0-9 _ . : / -".to_owned(),
                ));
            }
            match room(value) {
                Ok(room) => Ok((name, room)),
                Err(message) => Err(refuse(key, message)),
            }
        })
        .collect()
}

/// One room, or what is wrong with it.
fn room(value: Value) -> Result<RoomSettings, String> {
    let table: RoomTable = value
        .try_into()
        .map_err(|error: toml::de::Error| on_one_line(error.message()))?;
    let events = table
        .events
        .into_iter()
        .map(|(event, schema)| match json_schema(schema) {
            Some(schema) => Ok((event, schema)),
            None => Err(format!(
                "event {event:?} takes a JSON Schema as a table or as JSON text, or {{}} for any data"
            )),
        })
        .collect::<Result<_, _>>()?;
    Ok(RoomSettings {
        min_role: table.min_role,
        description: table.description,
        events,
        default_subscriptions: table.default_subscriptions,
    })
}

/// A schema is an object or a boolean; long ones are easier to write as JSON text.
fn json_schema(value: Value) -> Option<serde_json::Value> {
    let schema = match value {
        Value::String(text) => serde_json::from_str(&text).ok()?,
        other => json(other)?,
    };
    (schema.is_object() || schema.is_boolean()).then_some(schema)
}

/// TOML as JSON; times become texts. `None` for NaN and infinities, which JSON lacks.
fn json(value: Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => serde_json::Number::from_f64(number)?.into(),
        Value::Boolean(flag) => flag.into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(values) => values
            .into_iter()
            .map(json)
            .collect::<Option<Vec<_>>>()?
            .into(),
        Value::Table(table) => table
            .into_iter()
            .map(|(key, value)| Some((key, json(value)?)))
            .collect::<Option<serde_json::Map<_, _>>>()?
            .into(),
    })
}

fn on_one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
