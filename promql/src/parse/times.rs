//! What follows a selector: a range, `offset` and `@`; and subqueries.

use super::{Parsed, Parser};
use crate::{
    ast::{At, Expr, ExprKind, ValueType, When},
    error::Span,
    lex::Kind,
};

impl Parser<'_> {
    /// A primary with what may follow it: a range, `offset` and `@`.
    pub(super) fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            if self.is_mark(b'[') {
                self.deeper()?;
                expr = self.range(expr)?;
                self.depth -= 1;
            } else if self.keyword("offset") {
                let start = self.span();
                self.at += 1;
                let offset_ms = self.signed_duration()?;
                let span = start.to(self.behind());
                let when = self.when_of(&mut expr, span, "offset")?;
                if when.offset_ms != 0 {
                    return Err(self.error(span, "offset may not be set multiple times"));
                }
                when.offset_ms = offset_ms;
                expr.span = expr.span.to(span);
            } else if self.is_mark(b'@') {
                let start = self.span();
                self.at += 1;
                let at = self.at_time()?;
                let span = start.to(self.behind());
                let when = self.when_of(&mut expr, span, "@")?;
                if when.at.is_some() {
                    return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
                }
                when.at = Some(at);
                expr.span = expr.span.to(span);
            } else {
                return Ok(expr);
            }
        }
    }

    pub(super) fn when_of<'e>(
        &self,
        expr: &'e mut Expr,
        span: Span,
        what: &str,
    ) -> Parsed<&'e mut When> {
        match &mut expr.kind {
            ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => {
                Ok(&mut selector.when)
            }
            ExprKind::Subquery { when, .. } => Ok(when),
            _ => Err(self.error(
                span,
                format!(
                    "{what} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
                ),
            )),
        }
    }

    pub(super) fn signed_duration(&mut self) -> Parsed<i64> {
        let negative = match self.peek() {
            Kind::Operator("-") => true,
            Kind::Operator("+") => false,
            _ => return self.duration("offset"),
        };
        self.at += 1;
        let ms = self.duration("offset")?;
        Ok(if negative { -ms } else { ms })
    }

    /// A duration, or a number of seconds as Prometheus 3 takes it.
    pub(super) fn duration(&mut self, context: &str) -> Parsed<i64> {
        let ms = match *self.peek() {
            Kind::Duration(ms) => ms,
            Kind::Number(seconds) if seconds.abs() < 9.2e9 => (seconds * 1000.0).round() as i64,
            Kind::Number(_) => return Err(self.error(self.span(), "duration out of range")),
            _ => {
                return Err(self.error(
                    self.span(),
                    format!(
                        "unexpected {} in {context}, expected duration",
                        self.peek().name()
                    ),
                ));
            }
        };
        self.at += 1;
        Ok(ms)
    }

    pub(super) fn at_time(&mut self) -> Parsed<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.keyword(word) && self.peek_next() == &Kind::Mark(b'(') {
                self.at += 2;
                self.expect_mark(b')', "@")?;
                return Ok(at);
            }
        }
        let sign = match self.peek() {
            Kind::Operator("-") => {
                self.at += 1;
                -1.0
            }
            Kind::Operator("+") => {
                self.at += 1;
                1.0
            }
            _ => 1.0,
        };
        let seconds = match *self.peek() {
            Kind::Number(seconds) => seconds,
            Kind::Duration(ms) => ms as f64 / 1000.0,
            _ => return Err(self.unexpected("@, expected timestamp")),
        };
        let ms = sign * seconds * 1000.0;
        if !ms.is_finite() || ms.abs() >= 9.2e18 {
            return Err(self.error(
                self.span(),
                format!("timestamp out of bounds for @ modifier: {seconds}"),
            ));
        }
        self.at += 1;
        Ok(At::Time(ms.round() as i64))
    }

    pub(super) fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.span();
        self.at += 1;
        let range_ms = self.duration("subquery or range selector")?;
        if range_ms <= 0 {
            return Err(self.error(open.to(self.behind()), "duration must be greater than 0"));
        }
        let is_subquery = self.take_mark(b':');
        let step_ms = match is_subquery && !self.is_mark(b']') {
            true => {
                let step = self.duration("subquery")?;
                if step <= 0 {
                    return Err(
                        self.error(open.to(self.behind()), "duration must be greater than 0")
                    );
                }
                Some(step)
            }
            false => None,
        };
        self.expect_mark(b']', "subquery or range selector")?;
        let span = expr.span.to(self.behind());
        if is_subquery {
            if expr.value_type() != ValueType::Vector {
                return Err(self.error(
                    expr.span,
                    format!(
                        "subquery is only allowed on instant vector, got {} instead",
                        expr.value_type().words()
                    ),
                ));
            }
            return Ok(Expr {
                kind: ExprKind::Subquery {
                    expr: Box::new(expr),
                    range_ms,
                    step_ms,
                    when: When::default(),
                },
                span,
            });
        }
        match expr.kind {
            // As in Prometheus, which looks for a fixed time only and lets `start()` and `end()`
            // pass.
            ExprKind::Vector(selector)
                if selector.when.offset_ms == 0
                    && !matches!(selector.when.at, Some(At::Time(_))) =>
            {
                Ok(Expr {
                    kind: ExprKind::Matrix { selector, range_ms },
                    span,
                })
            }
            ExprKind::Vector(selector) => Err(self.error(
                span,
                match selector.when.offset_ms {
                    0 => "no @ modifiers allowed before range",
                    _ => "no offset modifiers allowed before range",
                },
            )),
            _ => Err(self.error(span, "ranges only allowed for vector selectors")),
        }
    }
}
