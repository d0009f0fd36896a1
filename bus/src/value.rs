//! Reading what Redis answers, none of which is taken for granted.

use bytes::Bytes;
use redis::Value;

use crate::error::BusError;

/// The items of an answer that is a list.
pub(crate) fn list(value: Value, of: &'static str) -> Result<Vec<Value>, BusError> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        // RESP3 has hashes as they are; the rest of us knows fields and values in turn.
        Value::Map(pairs) => Ok(pairs
            .into_iter()
            .flat_map(|(key, value)| [key, value])
            .collect()),
        Value::Nil => Ok(Vec::new()),
        _ => Err(BusError::Odd(of)),
    }
}

pub(crate) fn bytes(value: Value, of: &'static str) -> Result<Bytes, BusError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into()),
        Value::Int(number) => Ok(number.to_string().into()),
        Value::Okay => Ok(Bytes::from_static(b"OK")),
        _ => Err(BusError::Odd(of)),
    }
}

pub(crate) fn maybe_bytes(value: Value, of: &'static str) -> Result<Option<Bytes>, BusError> {
    match value {
        Value::Nil => Ok(None),
        value => bytes(value, of).map(Some),
    }
}

pub(crate) fn text(value: Value, of: &'static str) -> Result<String, BusError> {
    let bytes = bytes(value, of)?;
    String::from_utf8(bytes.into()).map_err(|_error| BusError::Odd(of))
}

pub(crate) fn number<T: std::str::FromStr>(value: Value, of: &'static str) -> Result<T, BusError> {
    text(value, of)?.parse().map_err(|_error| BusError::Odd(of))
}

/// The next item of a list.
pub(crate) fn next(
    items: &mut impl Iterator<Item = Value>,
    of: &'static str,
) -> Result<Value, BusError> {
    items.next().ok_or(BusError::Odd(of))
}

/// Fields and values in turn.
pub(crate) fn pairs(
    mut items: impl Iterator<Item = Value>,
    of: &'static str,
) -> Result<Vec<(String, Bytes)>, BusError> {
    let mut pairs = Vec::new();
    while let Some(key) = items.next() {
        pairs.push((text(key, of)?, bytes(next(&mut items, of)?, of)?));
    }
    Ok(pairs)
}

/// What stands behind `NAME:` in an answer to `INFO`.
pub(crate) fn info<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}
