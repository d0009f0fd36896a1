//! Fields and methods: of maps, of objects, and those that Go's times and lengths of time have.

use crate::{
    builtin::{failed, wrong_type},
    time::{Moment, duration, month, weekday},
    value::{Object, Value},
};

/// `.Name` without arguments. `is_root`: the value is what the template was given.
pub(crate) fn field(value: &Value, name: &str, is_root: bool) -> Result<Value, String> {
    let missing = || format!("can't evaluate field {name} in type {}", value.type_name());
    match value {
        Value::Nil if is_root => Ok(Value::Nil),
        Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        Value::Map(items) => Ok(items.get(name).cloned().unwrap_or(Value::Nil)),
        Value::Strings(items) => Ok(items
            .get(name)
            .map_or_else(|| Value::from(""), |text| Value::Text(text.clone()))),
        Value::Object(object) => object.field(name).ok_or_else(missing),
        Value::Time(_) | Value::Duration(_) => call(value, name, &[]),
        _ => Err(missing()),
    }
}

/// `.Name arguments`.
pub(crate) fn call(value: &Value, name: &str, arguments: &[Value]) -> Result<Value, String> {
    let found = match value {
        Value::Nil => return Err(format!("nil pointer evaluating interface {{}}.{name}")),
        Value::Map(_) | Value::Strings(_) => {
            return Err(format!("{name} is not a method but has arguments"));
        }
        Value::Time(moment) => time(moment, name, arguments),
        Value::Duration(length) => length_of_time(*length, name, arguments),
        Value::Object(object) => match object.call(name, arguments) {
            None if object.field(name).is_some() => {
                return Err(format!(
                    "{name} has arguments but cannot be invoked as function"
                ));
            }
            found => found,
        },
        _ => None,
    };
    match found {
        Some(Err(message)) => Err(failed(name, &message)),
        Some(Ok(value)) => Ok(value),
        None => Err(format!(
            "can't evaluate field {name} in type {}",
            value.type_name()
        )),
    }
}

fn given<const N: usize>(name: &str, arguments: &[Value]) -> Result<[Value; N], String> {
    <[Value; N]>::try_from(arguments.to_vec()).map_err(|arguments| {
        format!(
            "wrong number of args for {name}: want {N} got {}",
            arguments.len()
        )
    })
}

fn int(value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(number) | Value::Duration(number) => Ok(*number),
        other => Err(wrong_type("int", other)),
    }
}

fn length(value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(number) | Value::Duration(number) => Ok(*number),
        other => Err(wrong_type("time.Duration", other)),
    }
}

fn moment(value: &Value) -> Result<&Moment, String> {
    match value {
        Value::Time(moment) => Ok(moment),
        other => Err(wrong_type("time.Time", other)),
    }
}

/// A month or a day of the week: a number that prints as its name.
#[derive(Debug)]
struct Named {
    number: i64,
    name: &'static str,
    type_name: &'static str,
}

impl Object for Named {
    fn field(&self, name: &str) -> Option<Value> {
        (name == "String").then(|| self.name.into())
    }

    fn truth(&self) -> bool {
        self.number != 0
    }

    fn text(&self) -> String {
        self.name.to_owned()
    }

    fn json(&self) -> String {
        self.number.to_string()
    }

    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn number(&self) -> Option<i64> {
        Some(self.number)
    }
}

fn named(number: usize, name: &'static str, type_name: &'static str) -> Value {
    Value::object(Named {
        number: i64::try_from(number).unwrap_or(0),
        name,
        type_name,
    })
}

fn time(at: &Moment, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let nanoseconds = at.nanoseconds();
    let unix = |unit: i128| {
        let count = nanoseconds.div_euclid(unit);
        Value::Int(i64::try_from(count).unwrap_or(if count < 0 { i64::MIN } else { i64::MAX }))
    };
    let civil = || at.civil();
    let none = |value: Value| given::<0>(name, arguments).map(|_| value);
    let one = |make: &dyn Fn(&Value) -> Result<Value, String>| {
        given::<1>(name, arguments).and_then(|[one]| make(&one))
    };
    Some(match name {
        "Format" => one(&|layout| {
            let layout = layout
                .as_text()
                .ok_or_else(|| wrong_type("string", layout))?;
            Ok(at.format(layout).into())
        }),
        "String" => none(at.shown().into()),
        "Unix" => none(unix(1_000_000_000)),
        "UnixMilli" => none(unix(1_000_000)),
        "UnixMicro" => none(unix(1_000)),
        "UnixNano" => none(unix(1)),
        "Year" => none(civil().year.into()),
        "Month" => none(named(civil().month, month(civil().month), "time.Month")),
        "Day" => none(i64::from(civil().day).into()),
        "Hour" => none(i64::from(civil().hour).into()),
        "Minute" => none(i64::from(civil().minute).into()),
        "Second" => none(i64::from(civil().second).into()),
        "Nanosecond" => none(i64::from(civil().nanosecond).into()),
        "YearDay" => none(i64::from(civil().year_day).into()),
        "Weekday" => none(named(
            civil().weekday,
            weekday(civil().weekday),
            "time.Weekday",
        )),
        "IsZero" => none(at.is_zero().into()),
        // No machine's own zone is looked at.
        "UTC" | "Local" => none(Value::Time(at.utc())),
        "Add" => one(&|by| Ok(Value::Time(at.plus(length(by)?)))),
        "AddDate" => given::<3>(name, arguments).and_then(|[years, months, days]| {
            at.plus_date(int(&years)?, int(&months)?, int(&days)?)
                .map(Value::Time)
                .ok_or_else(|| "there is no such date".to_owned())
        }),
        "Sub" => one(&|other| Ok(Value::Duration(at.since(moment(other)?)))),
        "After" => one(&|other| Ok(Value::Bool(nanoseconds > moment(other)?.nanoseconds()))),
        "Before" => one(&|other| Ok(Value::Bool(nanoseconds < moment(other)?.nanoseconds()))),
        "Equal" => one(&|other| Ok(Value::Bool(nanoseconds == moment(other)?.nanoseconds()))),
        "Compare" => one(&|other| {
            let order = nanoseconds.cmp(&moment(other)?.nanoseconds());
            Ok(Value::Int(order as i64))
        }),
        "Truncate" => one(&|by| Ok(Value::Time(at.truncated(length(by)?)))),
        "Round" => one(&|by| Ok(Value::Time(at.rounded(length(by)?)))),
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "Go gives floats")]
fn length_of_time(
    nanoseconds: i64,
    name: &str,
    arguments: &[Value],
) -> Option<Result<Value, String>> {
    let none = |value: Value| given::<0>(name, arguments).map(|_| value);
    let whole = |unit: i64| none(Value::Int(nanoseconds / unit));
    // As Go does it: whole units, and a fraction of one.
    let parts = |unit: i64| {
        let (whole, rest) = (nanoseconds / unit, nanoseconds % unit);
        none(Value::Float(whole as f64 + rest as f64 / unit as f64))
    };
    let to_multiple = |round: bool| {
        given::<1>(name, arguments).and_then(|[unit]| {
            let unit = length(&unit)?;
            if unit <= 0 {
                return Ok(Value::Duration(nanoseconds));
            }
            let rest = nanoseconds % unit;
            let down = nanoseconds - rest;
            let is_far = rest.unsigned_abs() >= unit.unsigned_abs() - rest.unsigned_abs();
            Ok(Value::Duration(if round && is_far {
                down.saturating_add(unit * rest.signum())
            } else {
                down
            }))
        })
    };
    Some(match name {
        "String" => none(duration(nanoseconds).into()),
        "Nanoseconds" => whole(1),
        "Microseconds" => whole(1_000),
        "Milliseconds" => whole(1_000_000),
        "Seconds" => parts(1_000_000_000),
        "Minutes" => parts(60_000_000_000),
        "Hours" => parts(3_600_000_000_000),
        "Abs" => none(Value::Duration(nanoseconds.saturating_abs())),
        "Truncate" => to_multiple(false),
        "Round" => to_multiple(true),
        _ => return None,
    })
}
