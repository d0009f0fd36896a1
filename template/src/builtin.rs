//! Go's own functions, but for `and` and `or`, which do not look at all of their arguments.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    escape,
    print::{print, printf, println},
    value::Value,
};

const NAMES: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// Whether Go's templates have a function of this name by themselves.
pub(crate) fn has(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok()
}

fn arguments(name: &str, given: &[Value], wanted: usize) -> Result<(), String> {
    if given.len() == wanted {
        Ok(())
    } else {
        Err(format!(
            "wrong number of args for {name}: want {wanted} got {}",
            given.len()
        ))
    }
}

fn at_least(name: &str, given: &[Value], wanted: usize) -> Result<(), String> {
    if given.len() >= wanted {
        Ok(())
    } else {
        Err(format!(
            "wrong number of args for {name}: want at least {wanted} got {}",
            given.len()
        ))
    }
}

/// Calls one; texts that it makes have at most `most` bytes.
pub(crate) fn call(name: &str, given: &[Value], most: usize) -> Result<Value, String> {
    let escaped = |escape: fn(&str) -> String| -> Result<Value, String> {
        let text = match given {
            [Value::Text(text) | Value::Safe(text) | Value::SafeUrl(text)] => text.to_string(),
            given => print(given, most)?,
        };
        Ok(Value::from(escape(&text)))
    };
    match name {
        "not" => {
            arguments(name, given, 1)?;
            Ok(Value::Bool(!given[0].truth()))
        }
        "len" => {
            arguments(name, given, 1)?;
            len(&given[0])
        }
        "index" => {
            at_least(name, given, 1)?;
            index(&given[0], &given[1..])
        }
        "slice" => {
            at_least(name, given, 1)?;
            slice(&given[0], &given[1..])
        }
        "print" => Ok(Value::from(print(given, most)?)),
        "println" => Ok(Value::from(println(given, most)?)),
        "printf" => {
            at_least(name, given, 1)?;
            let Some(format) = given[0].as_text() else {
                return Err(wrong_type("string", &given[0]));
            };
            Ok(Value::from(printf(format, &given[1..], most)?))
        }
        "html" => escaped(escape::html),
        "js" => escaped(escape::js),
        "urlquery" => escaped(escape::query),
        "eq" => {
            at_least(name, given, 1)?;
            if given.len() == 1 {
                return Err("missing argument for comparison".to_owned());
            }
            for other in &given[1..] {
                if equal(&given[0], other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        "ne" => {
            arguments(name, given, 2)?;
            Ok(Value::Bool(!equal(&given[0], &given[1])?))
        }
        "lt" | "le" | "gt" | "ge" => {
            arguments(name, given, 2)?;
            let order = order(&given[0], &given[1])?;
            // What is no number is neither less nor equal; Go makes `gt` of `le`.
            let is_less = order == Some(Ordering::Less);
            let is_equal = order == Some(Ordering::Equal);
            Ok(Value::Bool(match name {
                "lt" => is_less,
                "le" => is_less || is_equal,
                "gt" => !(is_less || is_equal),
                _ => !is_less,
            }))
        }
        "call" => Err("functions are no values here, so there is nothing to call".to_owned()),
        name => Err(format!("function {name:?} not defined")),
    }
}

/// In Go's words.
/// What is said of a call that failed: how many arguments there are is looked at before it.
pub(crate) fn failed(name: &str, message: &str) -> String {
    match message.starts_with("wrong number of args for ") {
        true => message.to_owned(),
        false => format!("error calling {name}: {message}"),
    }
}

pub(crate) fn wrong_type(wanted: &str, value: &Value) -> String {
    match value {
        Value::Nil => format!("invalid value; expected {wanted}"),
        value => format!(
            "wrong type for value; expected {wanted}; got {}",
            value.type_name()
        ),
    }
}

fn len(value: &Value) -> Result<Value, String> {
    let count = match value {
        Value::Text(it) | Value::Safe(it) | Value::SafeUrl(it) => it.len(),
        Value::List(it) => it.len(),
        Value::Map(it) => it.len(),
        Value::Strings(it) => it.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        Value::Object(it) => it
            .len()
            .ok_or_else(|| format!("len of type {}", it.type_name()))?,
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// A place in something that is so long.
fn place(index: &Value, most: usize) -> Result<usize, String> {
    match index {
        Value::Int(number) => usize::try_from(*number)
            .ok()
            .filter(|place| *place <= most)
            .ok_or_else(|| format!("index out of range: {number}")),
        Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        )),
    }
}

fn key(index: &Value) -> Result<&Arc<str>, String> {
    match index {
        Value::Nil => Err("value is nil; should be of type string".to_owned()),
        index => index
            .as_text()
            .ok_or_else(|| format!("value has type {}; should be string", index.type_name())),
    }
}

fn index(item: &Value, indices: &[Value]) -> Result<Value, String> {
    let mut item = item.clone();
    if matches!(item, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for at in indices {
        let within = |length: usize| {
            if length == 0 {
                place(at, 0).and_then(|place| Err(format!("index out of range: {place}")))
            } else {
                place(at, length - 1)
            }
        };
        item = match &item {
            Value::List(items) => items[within(items.len())?].clone(),
            Value::Text(text) | Value::Safe(text) | Value::SafeUrl(text) => {
                Value::Int(i64::from(text.as_bytes()[within(text.len())?]))
            }
            Value::Map(items) => items.get(key(at)?.as_ref()).cloned().unwrap_or(Value::Nil),
            Value::Strings(items) => Value::Text(
                items
                    .get(key(at)?.as_ref())
                    .cloned()
                    .unwrap_or_else(|| Arc::from("")),
            ),
            Value::Object(object) => match object.items() {
                None => return Err(format!("can't index item of type {}", object.type_name())),
                Some(items) if matches!(items.first(), Some((Value::Text(_), _))) => {
                    let key = key(at)?;
                    let found = items
                        .into_iter()
                        .find(|(name, _)| name.as_text().is_some_and(|name| name == key));
                    // Only maps of texts have texts for keys.
                    found.map_or_else(|| Value::from(""), |(_, value)| value)
                }
                // An empty map and an empty list look the same; a text asks a map.
                Some(items) if items.is_empty() && at.as_text().is_some() => Value::from(""),
                Some(items) => {
                    let place = within(items.len())?;
                    items[place].1.clone()
                }
            },
            Value::Nil => return Err("index of nil pointer".to_owned()),
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

fn slice(item: &Value, indices: &[Value]) -> Result<Value, String> {
    if matches!(item, Value::Nil) {
        return Err("slice of untyped nil".to_owned());
    }
    if indices.len() > 3 {
        return Err(format!("too many slice indexes: {}", indices.len()));
    }
    let listed;
    let (length, items) = match item {
        Value::Text(text) | Value::Safe(text) | Value::SafeUrl(text) => {
            if indices.len() == 3 {
                return Err("cannot 3-index slice a string".to_owned());
            }
            (text.len(), None)
        }
        Value::List(items) => (items.len(), Some(items.as_ref())),
        Value::Object(object) => match object.items() {
            Some(items) => {
                listed = items
                    .into_iter()
                    .map(|(_, value)| value)
                    .collect::<Vec<_>>();
                (listed.len(), Some(listed.as_slice()))
            }
            None => return Err(format!("can't slice item of type {}", object.type_name())),
        },
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indices) {
        *bound = place(index, length)?;
    }
    let [from, to, most] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if indices.len() == 3 && to > most {
        return Err(format!("invalid slice index: {to} > {most}"));
    }
    match (item, items) {
        (_, Some(items)) => Ok(Value::List(items[from..to].into())),
        (item, None) => {
            let text = item.as_text().map_or("", AsRef::as_ref);
            // A cut within a character leaves what is no text.
            Ok(Value::from(
                String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned(),
            ))
        }
    }
}

/// What can be compared with what.
enum Basic<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

fn basic(value: &Value) -> Option<Basic<'_>> {
    Some(match value {
        Value::Bool(it) => Basic::Bool(*it),
        Value::Int(it) | Value::Duration(it) => Basic::Int(*it),
        Value::Float(it) => Basic::Float(*it),
        Value::Text(it) | Value::Safe(it) | Value::SafeUrl(it) => Basic::Text(it),
        Value::Object(it) => Basic::Int(it.number()?),
        _ => return None,
    })
}

#[expect(clippy::float_cmp, reason = "Go compares so")]
fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    Ok(match (basic(left), basic(right)) {
        (Some(Basic::Bool(left)), Some(Basic::Bool(right))) => left == right,
        (Some(Basic::Int(left)), Some(Basic::Int(right))) => left == right,
        (Some(Basic::Float(left)), Some(Basic::Float(right))) => left == right,
        (Some(Basic::Text(left)), Some(Basic::Text(right))) => left == right,
        (None, None) => match (left, right) {
            (Value::Time(left), Value::Time(right)) => left == right,
            (Value::Nil, Value::Nil) => true,
            (Value::Nil, _) | (_, Value::Nil) => false,
            (left, right) => {
                return Err(format!(
                    "non-comparable types {}, {}",
                    left.type_name(),
                    right.type_name()
                ));
            }
        },
        // Nothing is equal to nil.
        _ if matches!(left, Value::Nil) || matches!(right, Value::Nil) => false,
        _ => return Err("incompatible types for comparison".to_owned()),
    })
}

fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, String> {
    match (basic(left), basic(right)) {
        (None, _) | (_, None) | (Some(Basic::Bool(_)), Some(Basic::Bool(_))) => {
            Err("invalid type for comparison".to_owned())
        }
        (Some(Basic::Int(left)), Some(Basic::Int(right))) => Ok(Some(left.cmp(&right))),
        (Some(Basic::Float(left)), Some(Basic::Float(right))) => Ok(left.partial_cmp(&right)),
        (Some(Basic::Text(left)), Some(Basic::Text(right))) => Ok(Some(left.cmp(right))),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        assert!(NAMES.is_sorted());
        for name in NAMES {
            assert!(has(name));
        }
        assert!(!has("title"));
    }

    #[test]
    fn comparisons_follow_gos_types() {
        let nan = || Value::Float(f64::NAN);
        for (name, given, expected) in [
            ("eq", vec![1.into(), 2.into(), 1.into()], Ok(true)),
            ("eq", vec!["a".into(), "b".into()], Ok(false)),
            (
                "eq",
                vec![1.into(), 1.0.into()],
                Err("incompatible types for comparison"),
            ),
            ("eq", vec![1.into(), Value::Duration(1)], Ok(true)),
            ("eq", vec![1.into()], Err("missing argument for comparison")),
            ("eq", vec![Value::Nil, 1.into()], Ok(false)),
            ("eq", vec![Value::Nil, Value::Nil], Ok(true)),
            ("eq", vec![nan(), nan()], Ok(false)),
            (
                "eq",
                vec![Value::list([]), Value::list([])],
                Err("non-comparable types []interface {}, []interface {}"),
            ),
            ("ne", vec![1.into(), 2.into()], Ok(true)),
            (
                "ne",
                vec![1.into(), 2.into(), 3.into()],
                Err("wrong number of args for ne: want 2 got 3"),
            ),
            ("lt", vec![1.into(), 2.into()], Ok(true)),
            ("lt", vec!["a".into(), "b".into()], Ok(true)),
            (
                "lt",
                vec![1.5.into(), 2.into()],
                Err("incompatible types for comparison"),
            ),
            (
                "lt",
                vec![true.into(), false.into()],
                Err("invalid type for comparison"),
            ),
            ("le", vec![2.into(), 2.into()], Ok(true)),
            ("gt", vec![2.5.into(), 2.0.into()], Ok(true)),
            ("ge", vec![1.into(), 2.into()], Ok(false)),
            // Go says `gt` where it means "not `le`".
            ("gt", vec![nan(), 1.0.into()], Ok(true)),
        ] {
            let found = call(name, &given, 100).map(|value| value.truth());
            assert_eq!(
                found.as_ref().copied().map_err(String::as_str),
                expected,
                "{name} {given:?}"
            );
        }
    }

    #[test]
    fn parts_are_taken_as_in_go() {
        let list = Value::list(["a".into(), "b".into(), "c".into()]);
        let map = Value::strings([("k", "v")]);
        let any = Value::map([("k", list.clone())]);
        for (name, given, expected) in [
            ("index", vec![list.clone(), 1.into()], "b"),
            (
                "index",
                vec![list.clone(), 3.into()],
                "error: index out of range: 3",
            ),
            (
                "index",
                vec![list.clone(), Value::Int(-1)],
                "error: index out of range: -1",
            ),
            (
                "index",
                vec![Value::list([]), 0.into()],
                "error: index out of range: 0",
            ),
            (
                "index",
                vec![list.clone(), "k".into()],
                "error: cannot index slice/array with type string",
            ),
            ("index", vec![map.clone(), "k".into()], "v"),
            ("index", vec![map.clone(), "none".into()], ""),
            (
                "index",
                vec![map.clone(), 1.into()],
                "error: value has type int; should be string",
            ),
            ("index", vec![any.clone(), "k".into(), 2.into()], "c"),
            ("index", vec!["abc".into(), 1.into()], "98"),
            (
                "index",
                vec![Value::Nil, 1.into()],
                "error: index of untyped nil",
            ),
            (
                "index",
                vec![1.into(), 1.into()],
                "error: can't index item of type int",
            ),
            ("slice", vec!["abcd".into(), 1.into(), 3.into()], "bc"),
            ("slice", vec!["abcd".into(), 2.into()], "cd"),
            ("slice", vec![list.clone(), 1.into()], "[b c]"),
            (
                "slice",
                vec![list.clone(), 2.into(), 1.into()],
                "error: invalid slice index: 2 > 1",
            ),
            (
                "slice",
                vec!["a".into(), 2.into()],
                "error: index out of range: 2",
            ),
            (
                "slice",
                vec![map.clone(), 1.into()],
                "error: can't slice item of type map[string]string",
            ),
            ("len", vec!["né".into()], "3"),
            ("len", vec![list], "3"),
            ("len", vec![map], "1"),
            ("len", vec![3.into()], "error: len of type int"),
            ("print", vec![1.into(), 2.into()], "1 2"),
            ("html", vec!["<".into()], "&lt;"),
            ("js", vec!["'".into()], "\\'"),
            ("urlquery", vec!["a b".into(), 1.into()], "a+b1"),
            (
                "printf",
                vec![1.into()],
                "error: wrong type for value; expected string; got int",
            ),
        ] {
            let found = match call(name, &given, 100) {
                Ok(value) => print(&[value], 100).unwrap_or_default(),
                Err(message) => format!("error: {message}"),
            };
            assert_eq!(found, expected, "{name} {given:?}");
        }
    }
}
