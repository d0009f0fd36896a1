//! Operators between two sides, pair by pair.

use pulseboard_promql::{
    Labels,
    ast::{Binary, BinaryOp, Cardinality, Matching},
};

use super::{Naive, Refused, Value, Vector, renamed};

/// The number, and whether a comparison holds.
fn computed(op: BinaryOp, left: f64, right: f64) -> (f64, bool) {
    let number = match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => left,
    };
    let holds = match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => true,
    };
    (number, holds)
}

fn shared(matching: &Matching, labels: &Labels) -> Labels {
    match matching.is_on {
        true => labels.only(&matching.labels),
        false => labels.without(&matching.labels),
    }
}

impl Naive<'_> {
    pub(super) fn binary(&self, both: &Binary, at_ms: i64) -> Result<Value, Refused> {
        let keeps_name = both.op.is_comparison() && !both.is_bool;
        let named = |labels: &Labels| match keeps_name {
            true => labels.clone(),
            false => labels.nameless(),
        };
        let result = |left: f64, right: f64| {
            let (number, holds) = computed(both.op, left, right);
            match both.is_bool {
                true => Some(f64::from(u8::from(holds))),
                false => holds.then_some(number),
            }
        };
        let (left, right) = (self.eval(&both.lhs, at_ms)?, self.eval(&both.rhs, at_ms)?);
        let vector = match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                return Ok(Value::Scalar(result(left, right).ok_or(Refused)?));
            }
            (Value::Vector(left), Value::Scalar(right)) => {
                let kept = left
                    .into_iter()
                    .filter_map(|(labels, left)| Some((labels, result(left, right)?)));
                renamed(kept.collect(), |labels, number| (named(&labels), number))?
            }
            (Value::Scalar(left), Value::Vector(right)) => {
                let kept = right.into_iter().filter_map(|(labels, right)| {
                    let number = result(left, right)?;
                    Some((labels, if keeps_name { right } else { number }))
                });
                renamed(kept.collect(), |labels, number| (named(&labels), number))?
            }
            (Value::Vector(left), Value::Vector(right)) if both.op.is_set() => {
                set(both, left, right)?
            }
            (Value::Vector(left), Value::Vector(right)) => {
                self.matched(both, (left, right), named, result)?
            }
            _ => return Err(Refused),
        };
        Ok(Value::Vector(vector))
    }

    fn matched(
        &self,
        both: &Binary,
        (left, right): (Vector, Vector),
        named: impl Fn(&Labels) -> Labels,
        result: impl Fn(f64, f64) -> Option<f64>,
    ) -> Result<Vector, Refused> {
        let matching = &both.matching;
        let is_right = matching.cardinality == Cardinality::Right;
        let (many, one) = if is_right {
            (&right, &left)
        } else {
            (&left, &right)
        };
        if many.is_empty() || one.is_empty() {
            return Ok(Vec::new());
        }
        for (at, (labels, _)) in one.iter().enumerate() {
            let group = shared(matching, labels);
            if one[..at]
                .iter()
                .any(|(other, _)| shared(matching, other) == group)
            {
                return Err(Refused);
            }
        }
        let mut all: Vec<(Labels, Labels, f64)> = Vec::new();
        for (labels, number) in many {
            let group = shared(matching, labels);
            let Some((theirs, other)) = one
                .iter()
                .find(|(other, _)| shared(matching, other) == group)
            else {
                continue;
            };
            let number = match is_right {
                true => result(*other, *number),
                false => result(*number, *other),
            };
            let Some(number) = number else {
                continue;
            };
            let mut made = named(labels);
            if matching.cardinality == Cardinality::One {
                made = match matching.is_on {
                    true => made.only(&matching.labels),
                    false => {
                        made.filtered(|name| !matching.labels.iter().any(|one| **one == *name))
                    }
                };
            }
            for name in &matching.include {
                made = made.with(name, theirs.get(name));
            }
            if both.is_bool {
                made = made.nameless();
            }
            let is_twice = |known: &(Labels, Labels, f64)| {
                known.1 == made || matching.cardinality == Cardinality::One && known.0 == group
            };
            if all.iter().any(is_twice) {
                return Err(Refused);
            }
            all.push((group, made, number));
        }
        Ok(all
            .into_iter()
            .map(|(_, labels, number)| (labels, number))
            .collect())
    }
}

/// `and`, `or` and `unless`.
fn set(both: &Binary, left: Vector, right: Vector) -> Result<Vector, Refused> {
    let is_in = |vector: &Vector, labels: &Labels| {
        let group = shared(&both.matching, labels);
        vector
            .iter()
            .any(|(other, _)| shared(&both.matching, other) == group)
    };
    let mut all = Vec::new();
    for (labels, number) in &left {
        let keeps = match both.op {
            BinaryOp::And => is_in(&right, labels),
            BinaryOp::Unless => !is_in(&right, labels),
            _ => true,
        };
        if keeps {
            all.push((labels.clone(), *number));
        }
    }
    if both.op == BinaryOp::Or {
        all.extend(
            right
                .into_iter()
                .filter(|(labels, _)| !is_in(&left, labels)),
        );
    }
    renamed(all, |labels, number| (labels, number))
}
