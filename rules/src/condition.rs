//! What holds an alert beside its expression: what ends it, and what a missing series means.

use pulseboard_promql::{
    Expr, Labels,
    ast::{Binary, BinaryOp, Cardinality, ExprKind, MatchOp, Matching, ValueType},
    labels::NAME,
    parse,
};

use crate::spec::{Clear, Missing, RuleSpec};

/// What is looked at where `expr` does not hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    /// What ends a firing.
    pub(crate) clear: Option<Expr>,
    /// What `expr` compares, where that is to be known.
    pub(crate) subject: Option<Expr>,
    pub(crate) missing: Missing,
    /// Whether the labels of what is compared may be more or fewer than those of `expr`.
    pub(crate) is_loose: bool,
}

/// What is seen of the series of an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sight {
    /// Nobody can say.
    Unknown,
    /// It is not there, or no number.
    Missing,
    /// It is this.
    Value(f64),
}

/// An alert that goes on, although `expr` does not hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) value: f64,
    /// It stays in its state.
    pub(crate) is_frozen: bool,
}

impl Condition {
    /// What a rule says of it.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub(crate) fn of(spec: &RuleSpec, expr: &Expr) -> Result<Self, (&'static str, String)> {
        if !is_usable(expr) {
            // Prometheus takes it, and each evaluation fails.
            return match spec.clear.is_some() || spec.missing != Missing::Resolve {
                true => Err(("expr", "is no vector and no scalar".to_owned())),
                false => Ok(Self::default()),
            };
        }
        let clear = match &spec.clear {
            None => None,
            Some(Clear::Number(number)) => {
                Some(turned(expr, *number).map_err(|what| ("clear", what))?)
            }
            Some(Clear::Expr(text)) => {
                let expr = parse(text)
                    .map_err(|error| ("clear", format!("could not parse expression: {error}")))?;
                if expr.value_type() != ValueType::Vector {
                    return Err((
                        "clear",
                        "must be an instant vector: an alert ends where it has a series".to_owned(),
                    ));
                }
                Some(expr)
            }
        };
        let mut is_loose = false;
        let subject = match clear.is_some() || spec.missing != Missing::Resolve {
            true => subject(expr, &mut is_loose),
            false => None,
        };
        if subject.is_none() && spec.missing != Missing::Resolve {
            return Err((
                "missing",
                "the expression compares nothing, so that nobody can say when a series is missing"
                    .to_owned(),
            ));
        }
        Ok(Self {
            clear,
            subject,
            missing: spec.missing,
            is_loose,
        })
    }

    /// Whether `expr` alone decides.
    pub(crate) fn is_plain(&self) -> bool {
        self.clear.is_none() && self.subject.is_none()
    }

    /// Whether, and how, an alert goes on where `expr` does not hold.
    pub(crate) fn held(
        &self,
        (is_firing, last): (bool, f64),
        sight: Sight,
        is_cleared: bool,
    ) -> Option<Held> {
        if sight == Sight::Missing {
            return match self.missing {
                Missing::Resolve => None,
                Missing::Keep => Some(Held {
                    value: last,
                    is_frozen: true,
                }),
                Missing::Alert => Some(Held {
                    value: f64::NAN,
                    is_frozen: false,
                }),
            };
        }
        let goes_on = is_firing && self.clear.is_some() && !is_cleared;
        goes_on.then_some(Held {
            value: match sight {
                Sight::Value(value) => value,
                Sight::Missing | Sight::Unknown => last,
            },
            is_frozen: false,
        })
    }

    /// What an alert is called that is about series which have never been there: the labels that
    /// are asked for.
    pub(crate) fn asked_for(&self) -> Labels {
        fn first(expr: &Expr) -> Option<&pulseboard_promql::ast::Selector> {
            match &expr.kind {
                ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => Some(selector),
                ExprKind::Subquery { expr, .. }
                | ExprKind::Negative(expr)
                | ExprKind::Positive(expr)
                | ExprKind::Paren(expr) => first(expr),
                ExprKind::Call { args, .. } => args.iter().find_map(first),
                ExprKind::Binary(binary) => first(&binary.lhs).or_else(|| first(&binary.rhs)),
                // What they leave of the labels is not known before there are some.
                ExprKind::Aggregate(_) | ExprKind::Number(_) | ExprKind::Text(_) => None,
            }
        }
        let selector = self.subject.as_ref().and_then(first);
        selector
            .into_iter()
            .flat_map(|selector| &selector.matchers)
            .filter(|one| one.op == MatchOp::Equal && &*one.name != NAME)
            .map(|one| (one.name.clone(), one.value.clone()))
            .collect()
    }
}

/// Whether a rule's expression has a value that a rule can use.
pub(crate) fn is_usable(expr: &Expr) -> bool {
    matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector)
}

fn inside(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => inside(inner),
        _ => expr,
    }
}

/// What an expression compares. None: it compares nothing.
fn subject(expr: &Expr, is_loose: &mut bool) -> Option<Expr> {
    let ExprKind::Binary(binary) = &inside(expr).kind else {
        return None;
    };
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    match binary.op {
        BinaryOp::And | BinaryOp::Unless => subject(&binary.lhs, is_loose),
        BinaryOp::Or => {
            let lhs = subject(&binary.lhs, is_loose)?;
            let rhs = subject(&binary.rhs, is_loose)?;
            Some(Expr {
                span: expr.span,
                kind: ExprKind::Binary(Box::new(Binary {
                    op: BinaryOp::Or,
                    lhs,
                    rhs,
                    is_bool: false,
                    matching: Matching::default(),
                })),
            })
        }
        op if op.is_comparison() && !binary.is_bool => {
            let both = is_vector(&binary.lhs) && is_vector(&binary.rhs);
            *is_loose |= both;
            let side = match both {
                true if binary.matching.cardinality == Cardinality::Right => &binary.rhs,
                true => &binary.lhs,
                false if is_vector(&binary.lhs) => &binary.lhs,
                false if is_vector(&binary.rhs) => &binary.rhs,
                false => return None,
            };
            subject(side, is_loose).or_else(|| Some(side.clone()))
        }
        _ => None,
    }
}

/// `X <= number` of `X > t`.
fn turned(expr: &Expr, number: f64) -> Result<Expr, String> {
    const FORM: &str = "a number ends an expression of the form X > t, with >, >=, < or <=; others take an expression";
    if number.is_nan() {
        return Err("is not a number".to_owned());
    }
    let ExprKind::Binary(binary) = &inside(expr).kind else {
        return Err(FORM.to_owned());
    };
    let (op, rises) = match binary.op {
        BinaryOp::Greater => (BinaryOp::LessEqual, true),
        BinaryOp::GreaterEqual => (BinaryOp::Less, true),
        BinaryOp::Less => (BinaryOp::GreaterEqual, false),
        BinaryOp::LessEqual => (BinaryOp::Greater, false),
        _ => return Err(FORM.to_owned()),
    };
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    let is_left = match (is_vector(&binary.lhs), is_vector(&binary.rhs)) {
        (true, false) => true,
        (false, true) => false,
        _ => return Err(FORM.to_owned()),
    };
    if binary.is_bool {
        return Err(FORM.to_owned());
    }
    let threshold = match is_left {
        true => &binary.rhs,
        false => &binary.lhs,
    };
    let limit = Expr {
        kind: ExprKind::Number(number),
        span: threshold.span,
    };
    if let ExprKind::Number(threshold) = inside(threshold).kind {
        let from_above = rises == is_left;
        let is_behind = match from_above {
            true => number <= threshold,
            false => number >= threshold,
        };
        if !is_behind {
            let side = if from_above { "above" } else { "below" };
            return Err(format!(
                "{number} is {side} the threshold {threshold}: a firing would have ended before it began"
            ));
        }
    }
    let (lhs, rhs) = match is_left {
        true => (binary.lhs.clone(), limit),
        false => (limit, binary.rhs.clone()),
    };
    Ok(Expr {
        span: expr.span,
        kind: ExprKind::Binary(Box::new(Binary {
            op,
            lhs,
            rhs,
            is_bool: false,
            matching: Matching::default(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expr: &str, clear: Option<Clear>, missing: Missing) -> Result<Condition, String> {
        let spec = RuleSpec {
            alert: "A".to_owned(),
            expr: expr.to_owned(),
            clear,
            missing,
            ..RuleSpec::default()
        };
        Condition::of(&spec, &parse(expr).expect(expr))
            .map_err(|(field, what)| format!("{field}: {what}"))
    }

    #[test]
    fn a_number_turns_a_comparison_round() {
        for (expr, number, turned) in [
            ("a > 90", 80.0, "a <= 80"),
            ("(rate(a[5m]) >= 90)", 80.0, "rate(a[5m]) < 80"),
            ("90 < a", 80.0, "80 >= a"),
            ("sum by (x) (a) < 5", 7.0, "sum by (x) (a) >= 7"),
            ("a <= 5", 5.0, "a > 5"),
            ("a > scalar(b)", 500.0, "a <= 500"),
        ] {
            let made = of(expr, Some(Clear::Number(number)), Missing::Resolve).expect(expr);
            assert_eq!(made.clear.expect("one").to_string(), turned);
        }
        for (expr, number, words) in [
            ("a > 90", 95.0, "95 is above the threshold 90"),
            ("a < 5", 4.0, "4 is below the threshold 5"),
            ("a == 5", 4.0, "a number ends"),
            ("a > bool 5", 4.0, "a number ends"),
            ("a > b", 4.0, "a number ends"),
            ("a", 4.0, "a number ends"),
        ] {
            let what = of(expr, Some(Clear::Number(number)), Missing::Resolve).expect_err(expr);
            assert!(what.contains(words), "{expr}: {what}");
        }
    }

    #[test]
    fn what_is_compared_is_found() {
        for (expr, subject) in [
            ("a > 90", Some("a")),
            ("3 > (a)", Some("(a)")),
            ("(rate(a[1m]) > 1) < 5", Some("rate(a[1m])")),
            ("a > 1 and b < 2", Some("a")),
            ("a > 1 unless on (x) b", Some("a")),
            ("a > 1 or b > 2", Some("a or b")),
            ("a > on (x) group_right () b", Some("b")),
            ("a", None),
            ("absent(a)", None),
            ("a > 1 or vector(1)", None),
        ] {
            let found = of(expr, None, Missing::Keep);
            match subject {
                Some(text) => {
                    let found = found.expect(expr).subject.expect("one").to_string();
                    assert_eq!(found, text, "{expr}");
                }
                None => {
                    let what = found.expect_err(expr);
                    assert!(
                        what.starts_with("missing: the expression compares"),
                        "{what}"
                    );
                }
            }
        }
        assert!(
            of("a > 1", None, Missing::Resolve)
                .expect("plain")
                .is_plain()
        );
        let asked = of("a{x=\"1\",y!=\"2\"} > 1", None, Missing::Alert).expect("one");
        assert_eq!(asked.asked_for().to_string(), "{x=\"1\"}");
    }
}
