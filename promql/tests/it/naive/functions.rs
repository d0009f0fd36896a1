//! All functions, from samples and numbers that lie before them.

use pulseboard_promql::{
    Expr, Labels,
    ast::{ExprKind, ValueType},
    pattern::regex,
};

use super::{
    Naive, Refused, Value, Vector, absent_labels,
    numbers::{calendar, of_number},
    renamed,
};

/// With what each addition loses added up apart.
fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = sum + value;
        let (large, small) = match sum.abs() >= value.abs() {
            true => (sum, *value),
            false => (*value, sum),
        };
        lost += (large - next) + small;
        sum = next;
    }
    sum + lost
}

pub(super) fn least(values: &[f64]) -> f64 {
    let numbers = values.iter().copied().filter(|value| !value.is_nan());
    numbers.reduce(f64::min).unwrap_or(f64::NAN)
}

pub(super) fn most(values: &[f64]) -> f64 {
    let numbers = values.iter().copied().filter(|value| !value.is_nan());
    numbers.reduce(f64::max).unwrap_or(f64::NAN)
}

pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean) * (value - mean));
    squares.sum::<f64>() / values.len() as f64
}

pub(super) fn quantile(q: f64, values: &[f64]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_nan())
        .collect();
    let mut numbers: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    numbers.sort_by(f64::total_cmp);
    sorted.extend(numbers);
    let rank = q * (sorted.len() as f64 - 1.0);
    let (below, above) = (rank.floor() as usize, rank.floor() as usize + 1);
    let weight = rank - rank.floor();
    sorted[below] * (1.0 - weight) + sorted[above.min(sorted.len() - 1)] * weight
}

/// `rate` and `increase` of a counter, `delta` of a gauge: over a window that begins after
/// `after_ms`, and of so many seconds.
fn difference(
    samples: &[(i64, f64)],
    (after_ms, until_ms): (i64, i64),
    is_counter: bool,
    length: f64,
) -> f64 {
    let ((first_ms, first), (last_ms, last)) = (samples[0], samples[samples.len() - 1]);
    let mut difference = last - first;
    for pair in samples.windows(2) {
        if is_counter && pair[1].1 < pair[0].1 {
            difference += pair[0].1;
        }
    }
    let sampled = (last_ms - first_ms) as f64 / 1000.0;
    let interval = sampled / (samples.len() - 1) as f64;
    let before = (first_ms - after_ms) as f64 / 1000.0;
    let behind = (until_ms - last_ms) as f64 / 1000.0;
    let mut before = if before < interval * 1.1 {
        before
    } else {
        interval / 2.0
    };
    let behind = if behind < interval * 1.1 {
        behind
    } else {
        interval / 2.0
    };
    if is_counter && difference > 0.0 && first >= 0.0 {
        before = before.min(sampled * (first / difference));
    }
    // The factor first, as in Prometheus, so that the last bit is the same.
    difference * ((sampled + before + behind) / sampled / length)
}

/// Slope a second, and the value at a time, by least squares about the mean.
fn line(samples: &[(i64, f64)], at_ms: i64) -> (f64, f64) {
    let count = samples.len() as f64;
    let times = samples
        .iter()
        .map(|(time, _)| (time - at_ms) as f64 / 1000.0);
    let time_mean = times.clone().sum::<f64>() / count;
    let value_mean = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
    let both = times.clone().zip(samples);
    let shared: f64 = both
        .map(|(time, (_, value))| (time - time_mean) * (value - value_mean))
        .sum();
    let squares: f64 = times
        .map(|time| (time - time_mean) * (time - time_mean))
        .sum();
    let slope = shared / squares;
    (slope, value_mean - slope * time_mean)
}

impl Naive<'_> {
    pub(super) fn call(&self, name: &str, args: &[Expr], at_ms: i64) -> Result<Value, Refused> {
        if let Some(range) = args
            .iter()
            .find(|arg| arg.value_type() == ValueType::Matrix)
        {
            let param = match args
                .iter()
                .find(|arg| arg.value_type() == ValueType::Scalar)
            {
                Some(param) => self.scalar(param, at_ms)?,
                None => 0.0,
            };
            return self
                .over_range(name, range, param, at_ms)
                .map(Value::Vector);
        }
        let number = |at: usize| self.scalar(&args[at], at_ms);
        let text = |at: usize| self.text(&args[at], at_ms);
        let vector = || self.vector(&args[0], at_ms);
        let each = |compute: &dyn Fn(f64) -> f64| {
            renamed(vector()?, |labels, value| {
                (labels.nameless(), compute(value))
            })
        };
        let seconds = at_ms as f64 / 1000.0;
        Ok(Value::Vector(match name {
            "time" => return Ok(Value::Scalar(seconds)),
            "pi" => return Ok(Value::Scalar(std::f64::consts::PI)),
            "scalar" => {
                return Ok(Value::Scalar(match vector()?.as_slice() {
                    [(_, value)] => *value,
                    _ => f64::NAN,
                }));
            }
            "vector" => vec![(Labels::default(), number(0)?)],
            "absent" => match vector()?.is_empty() {
                true => vec![(absent_labels(&args[0]), 1.0)],
                false => Vec::new(),
            },
            "timestamp" => match &inner(&args[0]).kind {
                ExprKind::Vector(selector) => {
                    let newest = self.newest(selector, at_ms).into_iter();
                    let times = newest.map(|(labels, (time, _))| (labels, time as f64 / 1000.0));
                    renamed(times.collect(), |labels, time| (labels.nameless(), time))?
                }
                _ => each(&|_| seconds)?,
            },
            "sort" | "sort_desc" => vector()?,
            "round" => {
                let inverse = 1.0 / if args.len() > 1 { number(1)? } else { 1.0 };
                each(&|value| (value * inverse + 0.5).floor() / inverse)?
            }
            "clamp" | "clamp_min" | "clamp_max" => {
                let (least, most) = match name {
                    "clamp" => (number(1)?, number(2)?),
                    "clamp_min" => (number(1)?, f64::INFINITY),
                    _ => (f64::NEG_INFINITY, number(1)?),
                };
                each(&|value| match value.is_nan() {
                    true => value,
                    false => value.min(most).max(least),
                })?
            }
            "label_replace" => {
                let (to, with, from) = (text(1)?, text(2)?, text(3)?);
                let pattern = regex(&text(4)?).map_err(|_why| Refused)?;
                renamed(vector()?, |labels, value| {
                    let mut text = String::new();
                    match pattern.captures(labels.get(&from)) {
                        None => return (labels, value),
                        Some(found) => found.expand(&with, &mut text),
                    }
                    (labels.with(&to, &text), value)
                })?
            }
            "label_join" => {
                let from: Result<Vec<String>, Refused> = (3..args.len()).map(text).collect();
                let (to, between, from) = (text(1)?, text(2)?, from?);
                renamed(vector()?, |labels, value| {
                    let parts: Vec<&str> = from.iter().map(|name| labels.get(name)).collect();
                    (labels.with(&to, &parts.join(&between)), value)
                })?
            }
            "histogram_quantile" => buckets(number(0)?, self.vector(&args[1], at_ms)?),
            name if calendar(name, 0.0).is_some() => match args.is_empty() {
                true => vec![(Labels::default(), calendar(name, seconds).ok_or(Refused)?)],
                false => each(&|value| calendar(name, value).unwrap_or(f64::NAN))?,
            },
            name => each(&|value| of_number(name, value))?,
        }))
    }

    fn over_range(
        &self,
        name: &str,
        range: &Expr,
        param: f64,
        at_ms: i64,
    ) -> Result<Vector, Refused> {
        let stretch = self.stretch(range, at_ms)?;
        let windows = self.windows(range, at_ms)?;
        if name == "absent_over_time" {
            return Ok(match windows.is_empty() {
                true => vec![(absent_labels(range), 1.0)],
                false => Vec::new(),
            });
        }
        let length = (stretch.1 - stretch.0) as f64 / 1000.0;
        let mut all = Vec::new();
        for (labels, samples) in windows {
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            let count = values.len() as f64;
            let pairs = || values.windows(2);
            if count < 2.0
                && matches!(
                    name,
                    "rate" | "increase" | "delta" | "irate" | "idelta" | "deriv" | "predict_linear"
                )
            {
                continue;
            }
            let newest_two = || {
                let (one, other) = (samples[samples.len() - 2], samples[samples.len() - 1]);
                ((other.0 - one.0) as f64 / 1000.0, one.1, other.1)
            };
            let is_changed =
                |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
            let result = match name {
                "rate" => difference(&samples, stretch, true, length),
                "increase" => difference(&samples, stretch, true, 1.0),
                "delta" => difference(&samples, stretch, false, 1.0),
                "irate" => {
                    let (between, one, other) = newest_two();
                    (if other < one { other } else { other - one }) / between
                }
                "idelta" => newest_two().2 - newest_two().1,
                "avg_over_time" => values.iter().sum::<f64>() / count,
                "sum_over_time" => sum(&values),
                "count_over_time" => count,
                "last_over_time" => values[values.len() - 1],
                "present_over_time" => 1.0,
                "min_over_time" => least(&values),
                "max_over_time" => most(&values),
                "stdvar_over_time" => variance(&values),
                "stddev_over_time" => variance(&values).sqrt(),
                "quantile_over_time" => quantile(param, &values),
                "changes" => pairs().filter(is_changed).count() as f64,
                "resets" => pairs().filter(|pair| pair[1] < pair[0]).count() as f64,
                "deriv" => line(&samples, samples[0].0).0,
                "predict_linear" => {
                    let (slope, now) = line(&samples, at_ms);
                    now + slope * param
                }
                _ => return Err(Refused),
            };
            all.push((labels, result));
        }
        match name {
            "last_over_time" => Ok(all),
            _ => renamed(all, |labels, number| (labels.nameless(), number)),
        }
    }
}

/// `histogram_quantile` of all histograms of a vector.
fn buckets(q: f64, vector: Vector) -> Vector {
    let mut histograms: Vec<(Labels, Vec<(f64, f64)>)> = Vec::new();
    for (labels, count) in vector {
        let bound = match labels.get("le") {
            "+Inf" => f64::INFINITY,
            bound => match bound.parse() {
                Ok(bound) => bound,
                Err(_) => continue,
            },
        };
        let labels = labels.filtered(|name| name != "le").nameless();
        match histograms.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, buckets)) => buckets.push((bound, count)),
            None => histograms.push((labels, vec![(bound, count)])),
        }
    }
    let all = histograms.into_iter();
    all.map(|(labels, buckets)| (labels, of_buckets(q, buckets)))
        .collect()
}

fn of_buckets(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            _ => merged.push((bound, count)),
        }
    }
    let mut before = merged.first().map_or(0.0, |first| first.1);
    for (_, count) in &mut merged {
        before = if *count < before { before } else { *count };
        *count = before;
    }
    let Some(&(f64::INFINITY, all)) = merged.last() else {
        return f64::NAN;
    };
    if merged.len() < 2 || all == 0.0 || all.is_nan() {
        return f64::NAN;
    }
    let rank = q * all;
    let last = merged.len() - 1;
    match merged[..last].iter().position(|(_, count)| *count >= rank) {
        None => merged[last - 1].0,
        Some(0) if merged[0].0 <= 0.0 => merged[0].0,
        Some(0) => merged[0].0 * (rank / merged[0].1),
        Some(at) => {
            let ((from, below), (to, count)) = (merged[at - 1], merged[at]);
            from + (to - from) * ((rank - below) / (count - below))
        }
    }
}

/// Without its parentheses, which mean nothing here.
fn inner(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inside) => inner(inside),
        _ => expr,
    }
}
