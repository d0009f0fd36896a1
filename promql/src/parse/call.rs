//! What begins with a word: calls, aggregations, and names of metrics.

use std::sync::Arc;

use super::{Parsed, Parser};
use crate::{
    ast::{Aggregate, AggregateOp, BinaryOp, Expr, ExprKind, ValueType},
    error::Span,
    functions::{EXPERIMENTAL, function},
    lex::Kind,
};

impl Parser<'_> {
    pub(super) fn word(&mut self, word: &str, span: Span) -> Parsed<Expr> {
        let next = self.peek_next().clone();
        if let Some(op) = AggregateOp::from_name(word) {
            let grouped = matches!(&next, Kind::Word(next)
                if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
            if next == Kind::Mark(b'(') || grouped {
                self.at += 1;
                return self.aggregate(op, span);
            }
        }
        if next == Kind::Mark(b'(') {
            return self.call(word, span);
        }
        if [
            "atan2",
            "bool",
            "group_left",
            "group_right",
            "ignoring",
            "on",
        ]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
        {
            return Err(self.unexpected(""));
        }
        if BinaryOp::from_text(word).is_some() && next != Kind::Mark(b'{') {
            // `and` and its like are names of metrics where a metric may stand.
            let is_operand = !matches!(next, Kind::Word(_) | Kind::Number(_) | Kind::Mark(b'('));
            if !is_operand {
                return Err(self.unexpected(""));
            }
        }
        self.at += 1;
        self.selector(Some(Arc::from(word)), span)
    }

    pub(super) fn call(&mut self, name: &str, span: Span) -> Parsed<Expr> {
        let Some(function) = function(name) else {
            let what = match EXPERIMENTAL.contains(&name) {
                true => format!("function {name:?} is experimental in Prometheus and missing here"),
                false => format!("unknown function with name {name:?}"),
            };
            return Err(self.error(span, what));
        };
        self.at += 2;
        let args = self.args("function call")?;
        let span = span.to(self.behind());
        let (count, most) = (args.len(), function.args.len());
        let least = match function.variadic {
            0 => most,
            // The last one may be left out.
            more => most - usize::from(more.unsigned_abs()),
        };
        if count < least {
            let few = match function.variadic {
                0 => "expected",
                _ => "expected at least",
            };
            return Err(self.error(
                span,
                format!("{few} {least} argument(s) in call to {name:?}, got {count}"),
            ));
        }
        if count > most && function.variadic >= 0 {
            let many = match function.variadic {
                0 => "expected",
                _ => "expected at most",
            };
            return Err(self.error(
                span,
                format!("{many} {most} argument(s) in call to {name:?}, got {count}"),
            ));
        }
        for (index, arg) in args.iter().enumerate() {
            if let Some(expected) = function.args.get(index).or(function.args.last()) {
                self.expect_type(arg, *expected, &format!("call to function {name:?}"))?;
            }
        }
        Ok(Expr {
            kind: ExprKind::Call { function, args },
            span,
        })
    }

    pub(super) fn expect_type(
        &self,
        expr: &Expr,
        expected: ValueType,
        context: &str,
    ) -> Parsed<()> {
        let found = expr.value_type();
        match found == expected {
            true => Ok(()),
            false => Err(self.error(
                expr.span,
                format!(
                    "expected type {} in {context}, got {}",
                    expected.words(),
                    found.words()
                ),
            )),
        }
    }

    /// Behind the `(`, up to and with the `)`.
    pub(super) fn args(&mut self, context: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take_mark(b')') {
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            if self.take_mark(b')') {
                return Ok(args);
            }
            self.expect_mark(b',', context)?;
            if self.is_mark(b')') || self.is_mark(b',') {
                return Err(self.error(
                    self.behind(),
                    "trailing commas not allowed in function call args",
                ));
            }
        }
    }

    pub(super) fn aggregate(&mut self, op: AggregateOp, span: Span) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        self.expect_mark(b'(', "aggregation")?;
        let mut args = self.args("aggregation")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = span.to(self.behind());
        let wanted = 1 + usize::from(op.has_param());
        if args.is_empty() {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        if args.len() != wanted {
            return Err(self.error(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                    args.len()
                ),
            ));
        }
        let Some(expr) = args.pop() else {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        };
        self.expect_type(&expr, ValueType::Vector, "aggregation expression")?;
        let param = args.pop();
        if let Some(param) = &param {
            let expected = match op {
                AggregateOp::CountValues => ValueType::Text,
                _ => ValueType::Scalar,
            };
            self.expect_type(param, expected, "aggregation parameter")?;
        }
        let (without, grouping) = grouping.unwrap_or_default();
        Ok(Expr {
            kind: ExprKind::Aggregate(Box::new(Aggregate {
                op,
                param,
                expr,
                grouping,
                without,
            })),
            span,
        })
    }

    pub(super) fn grouping(&mut self) -> Parsed<Option<(bool, Vec<Arc<str>>)>> {
        let without = match (self.keyword("by"), self.keyword("without")) {
            (true, _) => false,
            (_, true) => true,
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some((without, self.labels("grouping opts")?)))
    }

    pub(super) fn labels(&mut self, context: &str) -> Parsed<Vec<Arc<str>>> {
        self.expect_mark(b'(', context)?;
        let mut labels = Vec::new();
        while !self.take_mark(b')') {
            match self.peek().clone() {
                Kind::Word(word) if !word.contains(':') => labels.push(Arc::from(word)),
                Kind::Text(text) if !text.is_empty() => labels.push(Arc::from(text)),
                _ => {
                    return Err(self.error(
                        self.span(),
                        format!(
                            "unexpected {} in {context}, expected label",
                            self.peek().name()
                        ),
                    ));
                }
            }
            self.at += 1;
            if !self.is_mark(b')') {
                self.expect_mark(b',', context)?;
            }
        }
        Ok(labels)
    }
}
