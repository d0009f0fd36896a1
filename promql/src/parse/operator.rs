//! What stands between two sides: an operator, `bool`, and how series find each other.

use super::{Parsed, Parser};
use crate::{
    ast::{Binary, BinaryOp, Cardinality, Expr, ExprKind, Matching, ValueType},
    error::Span,
};

impl Parser<'_> {
    pub(super) fn modifiers(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        lhs_span: Span,
    ) -> Parsed<(bool, Option<Matching>)> {
        let is_bool = self.take_keyword("bool");
        if is_bool && !op.is_comparison() {
            return Err(self.error(
                op_span.to(self.behind()),
                "bool modifier can only be used on comparison operators",
            ));
        }
        let is_on = self.keyword("on");
        if !is_on && !self.keyword("ignoring") {
            return Ok((is_bool, None));
        }
        self.at += 1;
        let labels = self.labels("grouping")?;
        let mut matching = Matching {
            is_on,
            labels,
            ..Matching::default()
        };
        for (word, cardinality) in [
            ("group_left", Cardinality::Left),
            ("group_right", Cardinality::Right),
        ] {
            if self.take_keyword(word) {
                if op.is_set() {
                    return Err(self.error(
                        lhs_span.to(self.behind()),
                        format!("no grouping allowed for {:?} operation", op.text()),
                    ));
                }
                matching.cardinality = cardinality;
                if self.is_mark(b'(') {
                    matching.include = self.labels("grouping")?;
                }
                break;
            }
        }
        if is_on
            && let Some(label) = matching
                .include
                .iter()
                .find(|label| matching.labels.contains(label))
        {
            return Err(self.error(
                op_span.to(self.behind()),
                format!("label {label:?} must not occur in ON and GROUP clause at once"),
            ));
        }
        Ok((is_bool, Some(matching)))
    }

    pub(super) fn binary(
        &self,
        op: BinaryOp,
        op_span: Span,
        (lhs, rhs): (Expr, Expr),
        is_bool: bool,
        matching: Option<Matching>,
    ) -> Parsed<Expr> {
        let span = lhs.span.to(rhs.span);
        let (left, right) = (lhs.value_type(), rhs.value_type());
        for (side, kind) in [(&lhs, left), (&rhs, right)] {
            if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
                return Err(self.error(
                    side.span,
                    "binary expression must contain only scalar and instant vector types",
                ));
            }
        }
        let scalars = [left, right]
            .into_iter()
            .filter(|kind| *kind == ValueType::Scalar)
            .count();
        if op.is_comparison() && scalars == 2 && !is_bool {
            return Err(self.error(
                op_span,
                "comparisons between scalars must use BOOL modifier",
            ));
        }
        if op.is_set() && scalars > 0 {
            return Err(self.error(
                span,
                format!(
                    "set operator {:?} not allowed in binary scalar expression",
                    op.text()
                ),
            ));
        }
        if scalars > 0
            && matching
                .as_ref()
                .is_some_and(|matching| !matching.labels.is_empty())
        {
            return Err(self.error(span, "vector matching only allowed between instant vectors"));
        }
        Ok(Expr {
            kind: ExprKind::Binary(Box::new(Binary {
                op,
                lhs,
                rhs,
                is_bool,
                matching: matching.unwrap_or_default(),
            })),
            span,
        })
    }
}
