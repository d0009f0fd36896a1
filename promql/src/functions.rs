//! The functions of PromQL: what each takes and answers. What they compute is in [`crate::eval`].

use crate::types::ValueType::{self, Matrix, Scalar, Text, Vector};

/// What a function takes and answers.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many of the last ones may be left out; -1: the last one may also come any number of
    /// times.
    pub variadic: i8,
    /// The type of its answer.
    pub returns: ValueType,
    /// Whether it is the same at each step where its arguments are.
    pub is_timeless: bool,
}

const fn of(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i8,
    returns: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        returns,
        is_timeless: true,
    }
}

/// A function of a time that is that of the step where it is not given.
const fn timely(name: &'static str, args: &'static [ValueType], variadic: i8) -> Function {
    Function {
        name,
        args,
        variadic,
        returns: if args.is_empty() { Scalar } else { Vector },
        is_timeless: false,
    }
}

/// All that are stable in Prometheus 3, by name.
pub static FUNCTIONS: &[Function] = &[
    of("abs", &[Vector], 0, Vector),
    of("absent", &[Vector], 0, Vector),
    of("absent_over_time", &[Matrix], 0, Vector),
    of("acos", &[Vector], 0, Vector),
    of("acosh", &[Vector], 0, Vector),
    of("asin", &[Vector], 0, Vector),
    of("asinh", &[Vector], 0, Vector),
    of("atan", &[Vector], 0, Vector),
    of("atanh", &[Vector], 0, Vector),
    of("avg_over_time", &[Matrix], 0, Vector),
    of("ceil", &[Vector], 0, Vector),
    of("changes", &[Matrix], 0, Vector),
    of("clamp", &[Vector, Scalar, Scalar], 0, Vector),
    of("clamp_max", &[Vector, Scalar], 0, Vector),
    of("clamp_min", &[Vector, Scalar], 0, Vector),
    of("cos", &[Vector], 0, Vector),
    of("cosh", &[Vector], 0, Vector),
    of("count_over_time", &[Matrix], 0, Vector),
    timely("day_of_month", &[Vector], 1),
    timely("day_of_week", &[Vector], 1),
    timely("day_of_year", &[Vector], 1),
    timely("days_in_month", &[Vector], 1),
    of("deg", &[Vector], 0, Vector),
    of("delta", &[Matrix], 0, Vector),
    of("deriv", &[Matrix], 0, Vector),
    of("exp", &[Vector], 0, Vector),
    of("floor", &[Vector], 0, Vector),
    of("histogram_avg", &[Vector], 0, Vector),
    of("histogram_count", &[Vector], 0, Vector),
    of("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector),
    of("histogram_quantile", &[Scalar, Vector], 0, Vector),
    of("histogram_stddev", &[Vector], 0, Vector),
    of("histogram_stdvar", &[Vector], 0, Vector),
    of("histogram_sum", &[Vector], 0, Vector),
    timely("hour", &[Vector], 1),
    of("idelta", &[Matrix], 0, Vector),
    of("increase", &[Matrix], 0, Vector),
    of("irate", &[Matrix], 0, Vector),
    of("label_join", &[Vector, Text, Text, Text], -1, Vector),
    of(
        "label_replace",
        &[Vector, Text, Text, Text, Text],
        0,
        Vector,
    ),
    of("last_over_time", &[Matrix], 0, Vector),
    of("ln", &[Vector], 0, Vector),
    of("log10", &[Vector], 0, Vector),
    of("log2", &[Vector], 0, Vector),
    of("max_over_time", &[Matrix], 0, Vector),
    of("min_over_time", &[Matrix], 0, Vector),
    timely("minute", &[Vector], 1),
    timely("month", &[Vector], 1),
    of("pi", &[], 0, Scalar),
    // Looks from the time of the step, also where its range is fixed by `@`.
    Function {
        name: "predict_linear",
        args: &[Matrix, Scalar],
        variadic: 0,
        returns: Vector,
        is_timeless: false,
    },
    of("present_over_time", &[Matrix], 0, Vector),
    of("quantile_over_time", &[Scalar, Matrix], 0, Vector),
    of("rad", &[Vector], 0, Vector),
    of("rate", &[Matrix], 0, Vector),
    of("resets", &[Matrix], 0, Vector),
    of("round", &[Vector, Scalar], 1, Vector),
    of("scalar", &[Vector], 0, Scalar),
    of("sgn", &[Vector], 0, Vector),
    of("sin", &[Vector], 0, Vector),
    of("sinh", &[Vector], 0, Vector),
    of("sort", &[Vector], 0, Vector),
    of("sort_desc", &[Vector], 0, Vector),
    of("sqrt", &[Vector], 0, Vector),
    of("stddev_over_time", &[Matrix], 0, Vector),
    of("stdvar_over_time", &[Matrix], 0, Vector),
    of("sum_over_time", &[Matrix], 0, Vector),
    of("tan", &[Vector], 0, Vector),
    of("tanh", &[Vector], 0, Vector),
    timely("time", &[], 0),
    // Of whatever is computed the time is that of the step.
    timely("timestamp", &[Vector], 0),
    of("vector", &[Scalar], 0, Vector),
    timely("year", &[Vector], 1),
];

/// Those that are experimental in Prometheus and missing here.
pub const EXPERIMENTAL: [&str; 14] = [
    "double_exponential_smoothing",
    "first_over_time",
    "histogram_quantiles",
    "info",
    "limitk",
    "limit_ratio",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "holt_winters",
];

/// A function by its name.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS
        .binary_search_by(|known| known.name.cmp(name))
        .ok()
        .and_then(|at| FUNCTIONS.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_in_the_order_of_their_names() {
        assert!(FUNCTIONS.is_sorted_by(|one, next| one.name < next.name));
        assert_eq!(function("rate").map(|known| known.name), Some("rate"));
        assert!(function("Rate").is_none());
    }
}
