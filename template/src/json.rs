//! Values as Go's `encoding/json` writes them.

use crate::{
    escape,
    number::float,
    print::{Sink, TooLong},
    value::Value,
};

/// A value in JSON.
///
/// # Errors
/// It has none, or it is too long.
pub(crate) fn json(value: &Value, most: usize) -> Result<String, String> {
    let mut out = Sink::new(most);
    write(value, 0, &mut out)?;
    Ok(out.done()?)
}

fn write(value: &Value, depth: usize, out: &mut Sink) -> Result<(), String> {
    if out.is_over() || depth > 200 {
        return Err(TooLong.into());
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Value::Int(it) | Value::Duration(it) => out.push_str(&it.to_string()),
        Value::Float(it) => out.push_str(&number(*it)?),
        Value::Text(it) | Value::Safe(it) | Value::SafeUrl(it) => out.push_str(&escape::json(it)),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Value::Map(items) => {
            out.push('{');
            for (index, (key, item)) in items.iter().enumerate() {
                entry(index, key, out);
                write(item, depth + 1, out)?;
            }
            out.push('}');
        }
        Value::Strings(items) => {
            out.push('{');
            for (index, (key, item)) in items.iter().enumerate() {
                entry(index, key, out);
                out.push_str(&escape::json(item));
            }
            out.push('}');
        }
        Value::Time(it) => {
            out.push_str(&escape::json(
                &it.format("2006-01-02T15:04:05.999999999Z07:00"),
            ));
        }
        Value::Object(it) => out.push_str(&it.json()),
    }
    Ok(())
}

fn entry(index: usize, key: &str, out: &mut Sink) {
    if index > 0 {
        out.push(',');
    }
    out.push_str(&escape::json(key));
    out.push(':');
}

/// As JavaScript writes numbers: an exponent below a millionth and from 10²¹.
fn number(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err(format!(
            "json: unsupported value: {}",
            float(number, 'g', None)
        ));
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = float(number, 'e', None);
        // e-09 is e-9 there.
        return Ok(text.replace("e-0", "e-"));
    }
    Ok(float(number, 'f', None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_as_in_go() {
        let value = Value::map([
            (
                "b",
                Value::list([1.into(), 0.5.into(), Value::Nil, true.into()]),
            ),
            ("a", Value::strings([("<x>", "é\n")])),
            ("t", Value::time(1_136_239_445_120)),
        ]);
        assert_eq!(
            json(&value, 1000).as_deref(),
            Ok(
                "{\"a\":{\"\\u003cx\\u003e\":\"é\\n\"},\"b\":[1,0.5,null,true],\"t\":\"2006-01-02T22:04:05.12Z\"}"
            )
        );
        for (number, text) in [
            (1e21, "1e+21"),
            (1e-7, "1e-7"),
            (1e20, "100000000000000000000"),
            (0.000_001, "0.000001"),
            (1e-10, "1e-10"),
        ] {
            assert_eq!(json(&number.into(), 100).as_deref(), Ok(text));
        }
        assert_eq!(
            json(&f64::NAN.into(), 100),
            Err("json: unsupported value: NaN".to_owned())
        );
        assert!(json(&"long".into(), 3).is_err());
    }
}
