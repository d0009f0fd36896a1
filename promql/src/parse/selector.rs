//! Selectors of series: a name, matchers and their patterns.

use std::sync::Arc;

use super::{MATCHERS_MAX, PATTERNS_MAX, Parsed, Parser};
use crate::{
    ast::{Expr, ExprKind, MatchOp, Matcher, Selector, When},
    error::Span,
    lex::Kind,
    pattern::Fits,
};

impl Parser<'_> {
    pub(super) fn selector(&mut self, word: Option<Arc<str>>, start: Span) -> Parsed<Expr> {
        let mut name = word;
        let mut matchers = Vec::new();
        if self.take_mark(b'{') {
            while !self.take_mark(b'}') {
                let span = self.span();
                let (label, is_text): (Arc<str>, bool) =
                    match self.peek().clone() {
                        Kind::Word(word) => (Arc::from(word), false),
                        Kind::Text(text) => (Arc::from(text), true),
                        _ => return Err(self.error(
                            span,
                            format!(
                                "unexpected {} in label matching, expected identifier or \"}}\"",
                                self.peek().name()
                            ),
                        )),
                    };
                self.at += 1;
                if is_text && !matches!(self.peek(), Kind::Match(_)) {
                    // A name in quotation marks.
                    if let Some(before) = &name {
                        return Err(self.error(
                            span,
                            format!("metric name must not be set twice: {before:?} or {label:?}"),
                        ));
                    }
                    if label.is_empty() {
                        return Err(self.error(span, "metric name must not be empty"));
                    }
                    name = Some(label);
                } else {
                    matchers.push(self.matcher(label)?);
                }
                if matchers.len() > MATCHERS_MAX {
                    return Err(self.error(
                        span,
                        format!("a selector has at most {MATCHERS_MAX} matchers"),
                    ));
                }
                if !self.is_mark(b'}') {
                    self.expect_mark(b',', "label matching")?;
                }
            }
        }
        let span = start.to(self.behind());
        if let Some(name) = &name {
            let twice = matchers.iter().find(|one| &*one.name == "__name__");
            if let Some(twice) = twice {
                return Err(self.error(
                    span,
                    format!(
                        "metric name must not be set twice: {name:?} or {:?}",
                        twice.value
                    ),
                ));
            }
            matchers.push(Matcher {
                name: Arc::from("__name__"),
                op: MatchOp::Equal,
                value: Arc::clone(name),
            });
        }
        // A selector must name something: not all series by an empty matcher.
        if !self.takes_all && matchers.iter().all(takes_empty) {
            return Err(self.error(
                span,
                "vector selector must contain at least one non-empty matcher",
            ));
        }
        Ok(Expr {
            kind: ExprKind::Vector(Selector {
                name,
                matchers,
                when: When::default(),
            }),
            span,
        })
    }

    pub(super) fn matcher(&mut self, label: Arc<str>) -> Parsed<Matcher> {
        let op = match self.peek() {
            Kind::Match("=") => MatchOp::Equal,
            Kind::Match("!=") => MatchOp::NotEqual,
            Kind::Match("=~") => MatchOp::Regex,
            Kind::Match("!~") => MatchOp::NotRegex,
            _ => {
                return Err(self.error(
                    self.span(),
                    format!(
                        "unexpected {} in label matching, expected label matching operator",
                        self.peek().name()
                    ),
                ));
            }
        };
        self.at += 1;
        let Kind::Text(value) = self.peek().clone() else {
            return Err(self.error(
                self.span(),
                format!(
                    "unexpected {} in label matching, expected string",
                    self.peek().name()
                ),
            ));
        };
        let span = self.span();
        self.at += 1;
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            self.check_pattern(&value, span)?;
        }
        Ok(Matcher {
            name: label,
            op,
            value: Arc::from(value),
        })
    }

    pub(super) fn check_pattern(&mut self, pattern: &str, span: Span) -> Parsed<()> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let what = format!("an expression has at most {PATTERNS_MAX} patterns");
            return Err(self.error(span, what));
        }
        Fits::new(pattern).map(drop).map_err(|error| {
            let what = format!("error parsing regexp: {error}").replace('\n', " ");
            self.error(span, what)
        })
    }
}

/// Whether a label that is not there passes.
fn takes_empty(matcher: &Matcher) -> bool {
    let is_match = || Fits::new(&matcher.value).is_ok_and(|fits| fits.is_match(""));
    match matcher.op {
        MatchOp::Equal => matcher.value.is_empty(),
        MatchOp::NotEqual => !matcher.value.is_empty(),
        MatchOp::Regex => is_match(),
        MatchOp::NotRegex => !is_match(),
    }
}
