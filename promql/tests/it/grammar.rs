//! Expressions that are made by chance, over the series of [`crate::generated`]: every stable
//! function, aggregation, operator and modifier, nested.
//!
//! An expression knows how exactly two evaluators must agree. What differs in the last bit (a sum
//! in another order, a logarithm of another library) is never given to what jumps: a comparison, a
//! rounding, a ranking, a difference of nearly equal numbers.

mod shapes;

use fastrand::Rng;

use crate::generated::{INSTANCES, JOBS, LENGTH_S, START_S};

/// An instant vector or a scalar, and what holds for its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) text: String,
    /// They are the same to the last bit, whoever computes them.
    pub(crate) is_exact: bool,
    /// They are whole eighths of moderate size, so that their sums are exact.
    is_round: bool,
    /// None is infinite or NaN.
    is_finite: bool,
    /// They are those of a counter that begins at zero.
    is_counter: bool,
}

impl Made {
    fn of(text: String) -> Self {
        Self {
            text,
            is_exact: true,
            is_round: true,
            is_finite: true,
            is_counter: false,
        }
    }

    /// Another expression of it, as exact.
    fn with(&self, text: String) -> Self {
        Self {
            text,
            ..self.clone()
        }
    }

    fn uneven(mut self) -> Self {
        self.is_round = false;
        self
    }

    fn inexact(mut self) -> Self {
        self.is_exact = false;
        self.uneven()
    }

    fn infinite(mut self) -> Self {
        self.is_finite = false;
        self
    }

    fn and(mut self, other: &Self) -> Self {
        self.is_exact &= other.is_exact;
        self.is_round &= other.is_round;
        self.is_finite &= other.is_finite;
        self
    }
}

/// What makes them.
pub(crate) struct Grammar<'r> {
    random: &'r mut Rng,
    /// Whether `rate` and `increase` are of counters alone that begin at zero.
    is_careful: bool,
}

impl<'r> Grammar<'r> {
    /// Keeps away from what Prometheus 2.42 computes otherwise than 3.
    pub(crate) const fn careful(random: &'r mut Rng) -> Self {
        let is_careful = true;
        Self { random, is_careful }
    }

    /// Keeps away from nothing.
    pub(crate) const fn free(random: &'r mut Rng) -> Self {
        let is_careful = false;
        Self { random, is_careful }
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.random.usize(..of.len())]
    }

    fn chance(&mut self, one_in: u8) -> bool {
        self.random.u8(..one_in) == 0
    }

    /// An expression that may be asked: a vector, at times a scalar.
    pub(crate) fn question(&mut self) -> Made {
        let depth = self.random.u8(1..5);
        match self.chance(12) {
            true => self.scalar(depth),
            false => self.vector(depth),
        }
    }

    fn metric(&mut self) -> Made {
        let name = self.one(&[
            "up",
            "requests_total",
            "jobs_total",
            "temperature",
            "build_info",
            "limit",
            "gone",
            "latency_bucket",
            "odd",
            "single",
            "missing",
            "requests_total",
            "temperature",
            "temperature",
            "limit",
            "jobs_total",
            "weight",
        ]);
        let matcher = match self.random.u8(..10) {
            0 => format!("job=\"{}\"", self.one(&JOBS)),
            1 => format!("job!=\"{}\"", self.one(&JOBS)),
            2 => "job=~\"a.*|web\"".to_owned(),
            3 => "instance!~\"[ab].*\",job!=\"web\"".to_owned(),
            4 => format!("instance=\"{}\"", self.one(&INSTANCES)),
            5 if name == "odd" => "kind=~\"some|zero\"".to_owned(),
            _ => String::new(),
        };
        let text = match (self.random.u8(..40), matcher.as_str()) {
            (0, _) => "{__name__=~\"up|limit\"}".to_owned(),
            (1, _) => "{__name__=~\"requests_.+|temperature\",job=\"api\"}".to_owned(),
            (_, "") => name.to_owned(),
            (_, matcher) => format!("{name}{{{matcher}}}"),
        };
        let mut made = Made::of(text);
        made.is_counter = !self.is_careful
            || made.text.starts_with(name)
                && matches!(
                    name,
                    "requests_total" | "jobs_total" | "latency_bucket" | "up"
                );
        match name {
            "odd" => made.infinite().uneven(),
            _ => made,
        }
    }

    /// `offset` and `@`, each rarely; either may come first.
    fn when(&mut self) -> String {
        let offset = match self.chance(4) {
            true => format!(
                " offset {}",
                self.one(&["5s", "30s", "1m", "-20s", "-3m", "2m10s"])
            ),
            false => String::new(),
        };
        let at = match self.random.u8(..12) {
            0 => " @ start()".to_owned(),
            1 => " @ end()".to_owned(),
            2 => format!(" @ {}.3", START_S + self.random.i64(-30..LENGTH_S + 60)),
            _ => String::new(),
        };
        match self.random.bool() {
            true => format!("{offset}{at}"),
            false => format!("{at}{offset}"),
        }
    }

    fn selector(&mut self) -> Made {
        let metric = self.metric();
        let when = self.when();
        metric.with(format!("{}{when}", metric.text))
    }

    /// A range vector: of a metric, or a subquery. Windows of subqueries end in half seconds, so
    /// that none of their own times is at a left edge.
    fn matrix(&mut self, depth: u8) -> Made {
        if depth > 1 && self.chance(4) {
            let inner = self.vector(depth - 1);
            let range = self.one(&["30500ms", "1m500ms", "2m30s500ms", "4500ms"]);
            let step = self.one(&["", "5s", "7s", "30s", "1s"]);
            let when = self.when();
            let mut made = inner.with(format!("({})[{range}:{step}]{when}", inner.text));
            made.is_counter = !self.is_careful;
            return made;
        }
        let metric = self.metric();
        let range = self.one(&["10s", "20s", "30s", "1m", "90s", "5m", "3s"]);
        let when = self.when();
        metric.with(format!("{}[{range}]{when}", metric.text))
    }

    fn scalar(&mut self, depth: u8) -> Made {
        match self.random.u8(..8) {
            0 => Made::of("time()".to_owned()).uneven(),
            1 => Made::of("pi()".to_owned()).uneven(),
            2 if depth > 0 => {
                let inner = self.vector(depth - 1);
                inner.with(format!("scalar({})", inner.text)).infinite()
            }
            3 if depth > 0 => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                self.arithmetic(&left, &right, "")
            }
            4 if depth > 0 => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                match left.is_exact && right.is_exact {
                    true => {
                        let op = self.one(&["==", "!=", "<", "<=", ">", ">="]);
                        Made::of(format!("({} {op} bool {})", left.text, right.text))
                    }
                    false => left,
                }
            }
            _ => Made::of(
                self.one(&["0", "1", "2", "0.5", "-3", "10", "1e2", "0.125"])
                    .to_owned(),
            ),
        }
    }

    /// Arithmetic that is fit for what its sides are.
    fn arithmetic(&mut self, left: &Made, right: &Made, matching: &str) -> Made {
        let exact = left.is_exact && right.is_exact;
        let op = match exact {
            true => self.one(&["+", "-", "*", "/", "%", "^", "atan2", "+", "-", "*", "/"]),
            false => self.one(&["*", "/"]),
        };
        let text = format!("({} {op} {matching}{})", left.text, right.text);
        let made = left.with(text).and(right);
        match op {
            "+" | "-" => made,
            "*" => made.uneven(),
            "/" | "%" => made.uneven().infinite(),
            // Negated, since Prometheus 2.42 keeps the metric's name here.
            "atan2" => {
                let text = format!("-{}", made.text);
                made.with(text).inexact()
            }
            _ => made.inexact().infinite(),
        }
    }

    pub(crate) fn vector(&mut self, depth: u8) -> Made {
        if depth == 0 {
            return self.selector();
        }
        match self.random.u8(..20) {
            0..2 => self.selector(),
            2..7 => self.over_range(depth),
            7..11 => self.aggregation(depth),
            11..13 => self.with_scalar(depth),
            13..16 => self.with_vector(depth),
            16..18 => self.of_each(depth),
            _ => self.special(depth),
        }
    }
}

impl Made {
    /// This where its origin is exact, else that.
    fn only_exact(self, origin: &Self) -> Self {
        match origin.is_exact {
            true => self,
            false => origin.clone(),
        }
    }
}
