//! Functions of one number.

/// A part of a Unix time, by counting years and months.
pub(super) fn calendar(name: &str, seconds: f64) -> Option<f64> {
    let seconds = seconds as i64;
    let mut days = seconds.div_euclid(86_400);
    let of_week = (days + 4).rem_euclid(7);
    // Four hundred years are always as long.
    let mut year = 1970 + 400 * days.div_euclid(146_097);
    days = days.rem_euclid(146_097);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let of_year = days + 1;
    let february = 28 + i64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let part = match name {
        "minute" => seconds.rem_euclid(3600) / 60,
        "hour" => seconds.rem_euclid(86_400) / 3600,
        "day_of_week" => of_week,
        "day_of_month" => days + 1,
        "day_of_year" => of_year,
        "days_in_month" => lengths[month],
        "month" => month as i64 + 1,
        "year" => year,
        _ => return None,
    };
    Some(part as f64)
}

pub(super) fn of_number(name: &str, value: f64) -> f64 {
    match name {
        "abs" => value.abs(),
        "ceil" => value.ceil(),
        "floor" => value.floor(),
        "sqrt" => value.sqrt(),
        "sgn" if value > 0.0 => 1.0,
        "sgn" if value < 0.0 => -1.0,
        "sgn" => value,
        "exp" => value.exp(),
        "ln" => value.ln(),
        "log2" => value.log2(),
        "log10" => value.log10(),
        "deg" => value * 180.0 / std::f64::consts::PI,
        "rad" => value * std::f64::consts::PI / 180.0,
        "sin" => value.sin(),
        "cos" => value.cos(),
        "tan" => value.tan(),
        "asin" => value.asin(),
        "acos" => value.acos(),
        "atan" => value.atan(),
        "sinh" => value.sinh(),
        "cosh" => value.cosh(),
        "tanh" => value.tanh(),
        "asinh" => value.asinh(),
        "acosh" => value.acosh(),
        "atanh" => value.atanh(),
        name => panic!("{name} is no function of a number"),
    }
}
