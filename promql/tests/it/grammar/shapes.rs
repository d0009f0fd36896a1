//! What is made of selectors: functions, aggregations and operators.

use super::{Grammar, Made};

/// Functions of each number that jump.
const JUMPING: [&str; 4] = ["ceil", "floor", "sgn", "round"];
/// Functions that libraries compute to about the last bit.
const SMOOTH: [&str; 16] = [
    "exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh",
];
const CALENDAR: [&str; 8] = [
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
];
const LABELS: [&str; 4] = ["job", "instance", "version", "none"];

/// Whether Prometheus 2.42 loses one of these labels from the second step of a range on, where
/// `count_values` adds its own to them: it is sorted into the room that the list has left, and the
/// list grows by doubling. Prometheus 3 adds it once.
fn is_overwritten(by: &str) -> bool {
    let names = by.split(',').count();
    by.contains("by (") && !names.is_power_of_two()
}

/// Whether `timestamp()` of it may be a selector whose offset Prometheus (3 as well) forgets
/// because of its `@`: it looks at another time than the one for which it has read samples, and so
/// at whatever else the question has read.
fn is_forgotten(text: &str) -> bool {
    text.contains(" @ ") && text.contains(" offset ")
}

impl Grammar<'_> {
    pub(super) fn over_range(&mut self, depth: u8) -> Made {
        let matrix = self.matrix(depth);
        let made = |name: &str| matrix.with(format!("{name}({})", matrix.text));
        if !matrix.is_exact {
            let name = self.one(&["min_over_time", "max_over_time", "last_over_time"]);
            return made(name);
        }
        // Where a function has another argument that changes from step to step, Prometheus 2.42
        // does not hold a window still that `@` fixes.
        match self.random.u8(..19) {
            0..3 if matrix.is_counter => made("rate").uneven(),
            3..5 if matrix.is_counter => made("increase").uneven(),
            0..6 => made("delta").uneven(),
            6 => made("irate").uneven(),
            7 => made("idelta"),
            8 => made("avg_over_time").inexact(),
            9 if matrix.is_finite => made("sum_over_time"),
            10 => {
                let name = self.one(&["stddev_over_time", "stdvar_over_time"]);
                made(name).inexact()
            }
            11 => {
                let q = self.scalar(1);
                match q.is_exact && !(self.is_careful && matrix.text.contains('@')) {
                    true => matrix
                        .with(format!("quantile_over_time({}, {})", q.text, matrix.text))
                        .uneven()
                        .infinite(),
                    false => made("last_over_time"),
                }
            }
            12 => made("deriv").inexact().infinite(),
            13 if !(self.is_careful && matrix.text.contains('@')) => {
                let ahead = self.one(&["60", "-30", "3600"]);
                matrix
                    .with(format!("predict_linear({}, {ahead})", matrix.text))
                    .inexact()
                    .infinite()
            }
            14 => {
                let name = self.one(&["absent_over_time", "present_over_time"]);
                Made::of(made(name).text)
            }
            15 => {
                let name = self.one(&["changes", "resets", "count_over_time"]);
                Made::of(made(name).text)
            }
            _ => {
                let name = self.one(&["min_over_time", "max_over_time", "last_over_time"]);
                made(name)
            }
        }
    }

    /// Some labels in parentheses.
    pub(super) fn labels(&mut self) -> String {
        let all: Vec<&str> = LABELS
            .into_iter()
            .filter(|_| self.random.u8(..3) == 0)
            .collect();
        format!("({})", all.join(", "))
    }

    pub(super) fn aggregation(&mut self, depth: u8) -> Made {
        let inner = self.vector(depth - 1);
        let by = match self.random.u8(..6) {
            0 | 1 => String::new(),
            2 => format!(" without {} ", self.labels()),
            _ => format!(" by {} ", self.labels()),
        };
        let made = |op: &str| inner.with(format!("{op}{by}({})", inner.text));
        match self.random.u8(..13) {
            0..3 if inner.is_round => made("sum"),
            3 | 4 if inner.is_finite && inner.is_exact => made("avg").inexact(),
            5 => Made::of(made(self.one(&["count", "group"])).text),
            6 if inner.is_finite && inner.is_round => {
                made(self.one(&["stddev", "stdvar"])).inexact()
            }
            // Which of equal ones stay is not the same in Prometheus 2.42 and 3.
            7 | 8 => {
                let when = self.when();
                let inner = Made::of(match self.one(&["", "min", "max", "last"]) {
                    "" => format!("weight{when}"),
                    name => format!("{name}_over_time(weight[20s]{when})"),
                });
                let op = self.one(&["topk", "bottomk"]);
                let k = self.one(&["1", "2", "3", "0", "-1", "20", "scalar(vector(2))"]);
                inner.with(format!("{op}{by}({k}, {})", inner.text))
            }
            9 if inner.is_exact => {
                let q = self.one(&["0.5", "0.9", "0", "1", "-1", "2", "NaN", "0.25"]);
                inner
                    .with(format!("quantile{by}({q}, {})", inner.text))
                    .uneven()
                    .infinite()
            }
            10 if inner.is_exact && !(self.is_careful && is_overwritten(&by)) => {
                let label = match by.contains("by") {
                    true => "value",
                    false => self.one(&["value", "job", "instance"]),
                };
                Made::of(format!("count_values{by}(\"{label}\", {})", inner.text))
            }
            _ => made(self.one(&["min", "max"])),
        }
    }

    pub(super) fn with_scalar(&mut self, depth: u8) -> Made {
        let (vector, scalar) = (self.vector(depth - 1), self.scalar(depth - 1));
        let (left, right) = match self.random.bool() {
            true => (&vector, &scalar),
            false => (&scalar, &vector),
        };
        if !left.is_exact || !right.is_exact || self.random.bool() {
            return self.arithmetic(left, right, "");
        }
        let op = self.one(&["==", "!=", "<", "<=", ">", ">="]);
        match self.chance(3) {
            true => Made::of(format!("({} {op} bool {})", left.text, right.text)),
            false => vector.with(format!("({} {op} {})", left.text, right.text)),
        }
    }

    pub(super) fn with_vector(&mut self, depth: u8) -> Made {
        let left = self.vector(depth - 1);
        // Two of one shape find each other more often than two of any.
        let right = match self.random.u8(..3) {
            0 => left.clone(),
            1 => self.selector(),
            _ => self.vector(depth - 1),
        };
        let mut matching = match self.random.u8(..5) {
            0 | 1 => String::new(),
            2 => format!("ignoring {} ", self.labels()),
            _ => format!("on {} ", self.labels()),
        };
        let either = left.clone().and(&right);
        if self.chance(4) {
            let op = self.one(&["and", "or", "unless"]);
            let text = format!("({} {op} {matching}{})", left.text, right.text);
            return match op {
                "or" => either.with(text),
                _ => left.with(text),
            };
        }
        if !matching.is_empty() && self.chance(2) {
            let side = self.one(&["group_left", "group_right"]);
            let include = match self.chance(3) {
                true => " (version)",
                // Without parentheses those of what follows would be taken for them.
                false => " ()",
            };
            matching = format!("{matching}{side}{include} ");
        }
        if !either.is_exact || self.random.bool() {
            return self.arithmetic(&left, &right, &matching);
        }
        let op = self.one(&["==", "!=", "<", "<=", ">", ">="]);
        match self.chance(3) {
            true => Made::of(format!(
                "({} {op} bool {matching}{})",
                left.text, right.text
            )),
            false => either.with(format!("({} {op} {matching}{})", left.text, right.text)),
        }
    }

    pub(super) fn of_each(&mut self, depth: u8) -> Made {
        let inner = self.vector(depth - 1);
        let made = |name: &str| inner.with(format!("{name}({})", inner.text));
        match self.random.u8(..6) {
            0 => inner.with(format!("-({})", inner.text)),
            1 if inner.is_exact => made(self.one(&JUMPING)),
            2 if inner.is_exact && inner.is_finite => made(self.one(&CALENDAR)),
            3 if inner.is_exact => made(self.one(&SMOOTH)).inexact().infinite(),
            4 if inner.is_exact => made("sqrt").uneven().infinite(),
            _ => made(self.one(&["abs", "deg", "rad"])).uneven(),
        }
    }

    pub(super) fn special(&mut self, depth: u8) -> Made {
        let inner = self.vector(depth - 1);
        let made = |before: &str, after: &str| inner.with(format!("{before}{}{after}", inner.text));
        match self.random.u8(..14) {
            0 => Made::of(made("absent(", ")").text),
            1 if !(self.is_careful && is_forgotten(&inner.text)) => {
                Made::of(made("timestamp(", ")").text).uneven()
            }
            2 => {
                let scalar = self.scalar(depth - 1);
                scalar.with(format!("vector({})", scalar.text))
            }
            3 => made(self.one(&["sort(", "sort_desc("]), ")"),
            4 if inner.is_exact => {
                let to = self.one(&[", 0.5)", ", 5)", ", 0.1)", ", 0)"]);
                made("round(", to).uneven().infinite()
            }
            5 if inner.is_exact => made("clamp(", ", -1, 5)"),
            6 if inner.is_exact => made(self.one(&["clamp_min(", "clamp_max("]), ", 2.5)"),
            7 => made(
                "label_replace(",
                self.one(&[
                    ", \"job\", \"$1-x\", \"instance\", \"(.):.*\")",
                    ", \"new\", \"${1}$2\", \"job\", \"(a)(.*)\")",
                    ", \"instance\", \"\", \"instance\", \".*\")",
                    ", \"__name__\", \"other_total\", \"job\", \"api\")",
                ]),
            ),
            8 => made(
                "label_join(",
                self.one(&[
                    ", \"both\", \"-\", \"job\", \"instance\")",
                    ", \"job\", \"\", \"none\")",
                    ", \"instance\", \",\", \"job\", \"none\", \"job\")",
                ]),
            ),
            9 | 10 => {
                let q = self.one(&["0.5", "0.9", "0.99", "0", "1", "-1", "1.5", "NaN"]);
                let buckets = match self.random.u8(..4) {
                    0 => "latency_bucket".to_owned(),
                    1 => "rate(latency_bucket[1m])".to_owned(),
                    2 => "sum by (le) (latency_bucket)".to_owned(),
                    _ => inner.text.clone(),
                };
                match buckets == inner.text && !inner.is_exact {
                    true => made("(", ")"),
                    false => Made::of(format!("histogram_quantile({q}, {buckets})"))
                        .uneven()
                        .infinite(),
                }
            }
            11 => Made::of(format!("{}()", self.one(&CALENDAR))),
            12 => made("(", " > 0)").only_exact(&inner),
            _ => made("(", ")"),
        }
    }
}
