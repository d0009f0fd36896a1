//! Sums that lose little: Kahan's, as Neumaier improved them (ZAMM 54, 1974), in the order and with
//! the edges that Prometheus has.

/// Adds to a sum and its compensation.
pub(super) fn add(value: f64, (sum, compensation): (f64, f64)) -> (f64, f64) {
    let next = sum + value;
    let compensation = if next.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        compensation + ((sum - next) + value)
    } else {
        compensation + ((value - next) + sum)
    };
    (next, compensation)
}

/// The sum of all.
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, compensation) = values
        .into_iter()
        .fold((0.0, 0.0), |sum, value| add(value, sum));
    match sum.is_infinite() {
        true => sum,
        false => sum + compensation,
    }
}

/// A mean that goes on: a sum while that is finite, then corrected value by value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    count: f64,
    sum: (f64, f64),
    is_incremental: bool,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum = (value, 0.0);
            return;
        }
        if !self.is_incremental {
            let next = add(value, self.sum);
            if !next.0.is_infinite() {
                self.sum = next;
                return;
            }
            self.is_incremental = true;
            self.sum.0 /= self.count - 1.0;
            self.sum.1 /= self.count - 1.0;
        }
        let kept = (self.count - 1.0) / self.count;
        self.sum = add(value / self.count, (kept * self.sum.0, kept * self.sum.1));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    pub(super) fn value(&self) -> f64 {
        match self.is_incremental {
            true => self.sum.0 + self.sum.1,
            false => self.sum.0 / self.count + self.sum.1 / self.count,
        }
    }
}

/// The variance of all values of a window (Welford, Technometrics 4, 1962), with sums that lose
/// little.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, (0.0, 0.0), (0.0, 0.0));
    for value in values {
        count += 1.0;
        let delta = value - (mean.0 + mean.1);
        mean = add(delta / count, mean);
        squares = add(delta * (value - (mean.0 + mean.1)), squares);
    }
    (squares.0 + squares.1) / count
}

/// A quantile by linear interpolation between neighbours; NaN counts as the smallest.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let order = |one: &f64, other: &f64| match (one.is_nan(), other.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => one.total_cmp(other),
    };
    let count = values.len() as f64;
    let rank = q * (count - 1.0);
    let lower = rank.floor().max(0.0);
    let weight = rank - rank.floor();
    // Two neighbours are wanted, and not all in order.
    let (_, lower, above) = values.select_nth_unstable_by(lower as usize, order);
    let upper = above.iter().copied().min_by(order).unwrap_or(*lower);
    *lower * (1.0 - weight) + upper * weight
}

/// Go's `math.Max`: NaN where either is.
pub(super) fn max(one: f64, other: f64) -> f64 {
    match one.is_nan() || other.is_nan() {
        true if one == f64::INFINITY || other == f64::INFINITY => f64::INFINITY,
        true => f64::NAN,
        false => one.max(other),
    }
}

/// Go's `math.Min`.
pub(super) fn min(one: f64, other: f64) -> f64 {
    match one.is_nan() || other.is_nan() {
        true if one == f64::NEG_INFINITY || other == f64::NEG_INFINITY => f64::NEG_INFINITY,
        true => f64::NAN,
        false => one.min(other),
    }
}
