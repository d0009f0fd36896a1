//! From tokens to a checked tree: operator precedence (Pratt), bounded in length and depth.
//!
//! The grammar is that of Prometheus 3 without what is experimental there. Errors name line and
//! column, and say what Prometheus says where its words are known.

mod call;
mod operator;
mod selector;
mod times;

use crate::{
    ast::{BinaryOp, Expr, ExprKind, Selector, ValueType, When},
    error::{ParseError, Span},
    lex::{Kind, Token, tokens},
};

/// Bytes of an expression. Larger: it costs more to refuse one. The longest of 30 000 public ones
/// has 4 275.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;

/// Levels of a tree. The deepest of those has 20.
pub const DEPTH_MAX: usize = 100;

/// Matchers of one selector.
pub const MATCHERS_MAX: usize = 64;

/// Patterns of one expression. Larger: one that is made of patterns takes longer to check, up to
/// some milliseconds each.
pub const PATTERNS_MAX: usize = 128;

/// Reads an expression.
///
/// # Errors
/// It is too long, too deep, or no PromQL; with the place.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    parse_with(text, false)
}

fn parse_with(text: &str, takes_all: bool) -> Result<Expr, ParseError> {
    let whole = Span {
        start: 0,
        end: text.len(),
    };
    if text.len() > QUERY_BYTES_MAX {
        return Err(ParseError::new(
            text,
            Span::default(),
            format!(
                "the expression has {} bytes; at most {QUERY_BYTES_MAX} are taken",
                text.len()
            ),
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        depth: 0,
        patterns: 0,
        takes_all,
    };
    if parser.peek() == &Kind::End {
        return Err(ParseError::new(text, whole, "no expression found in input"));
    }
    let expr = parser.expr(0)?;
    if parser.peek() != &Kind::End {
        return Err(parser.unexpected(""));
    }
    Ok(expr)
}

/// Reads a selector of series alone, as `match[]` has them.
///
/// # Errors
/// It is no selector.
pub fn parse_selector(text: &str) -> Result<Selector, ParseError> {
    selector_alone(text, parse(text)?)
}

/// As [`parse_selector`], for one that may take all series, such as `{job=~".*"}`.
///
/// # Errors
/// It is no selector.
pub fn parse_any_selector(text: &str) -> Result<Selector, ParseError> {
    selector_alone(text, parse_with(text, true)?)
}

fn selector_alone(text: &str, expr: Expr) -> Result<Selector, ParseError> {
    match expr.kind {
        ExprKind::Vector(selector) if selector.when == When::default() => Ok(selector),
        _ => Err(ParseError::new(
            text,
            expr.span,
            "expected a selector of series, such as up{job=\"api\"}",
        )),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    patterns: usize,
    /// Whether a selector may take all series.
    takes_all: bool,
}

type Parsed<T> = Result<T, ParseError>;

static END: Kind = Kind::End;

impl Parser<'_> {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&END, |token| &token.kind)
    }

    fn peek_next(&self) -> &Kind {
        self.tokens
            .get(self.at + 1)
            .map_or(&END, |token| &token.kind)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(
            Span {
                start: self.text.len(),
                end: self.text.len(),
            },
            |token| token.span,
        )
    }

    /// The place of what was read last.
    fn behind(&self) -> Span {
        self.at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map_or(Span::default(), |token| token.span)
    }

    fn error(&self, span: Span, what: impl Into<String>) -> ParseError {
        ParseError::new(self.text, span, what)
    }

    fn unexpected(&self, context: &str) -> ParseError {
        let place = match context {
            "" => String::new(),
            context => format!(" in {context}"),
        };
        self.error(
            self.span(),
            format!("unexpected {}{place}", self.peek().name()),
        )
    }

    fn is_mark(&self, mark: u8) -> bool {
        self.peek() == &Kind::Mark(mark)
    }

    fn take_mark(&mut self, mark: u8) -> bool {
        let is = self.is_mark(mark);
        if is {
            self.at += 1;
        }
        is
    }

    fn expect_mark(&mut self, mark: u8, context: &str) -> Parsed<()> {
        match self.take_mark(mark) {
            true => Ok(()),
            false => Err(self.error(
                self.span(),
                format!(
                    "unexpected {} in {context}, expected {:?}",
                    self.peek().name(),
                    char::from(mark).to_string()
                ),
            )),
        }
    }

    fn keyword(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_keyword(&mut self, word: &str) -> bool {
        let is = self.keyword(word);
        if is {
            self.at += 1;
        }
        is
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(self.error(
                self.span(),
                format!("the expression is more than {DEPTH_MAX} levels deep"),
            )),
            false => Ok(()),
        }
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        match self.peek() {
            Kind::Operator(text) => BinaryOp::from_text(text),
            Kind::Word(word) => BinaryOp::from_text(word),
            _ => None,
        }
    }

    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        self.deeper()?;
        let mut lhs = self.unary()?;
        // How deep the chain has become on its left, where each operator is a level.
        let mut links = 0;
        while let Some(op) = self.binary_op() {
            if op.precedence() < least {
                break;
            }
            links += 1;
            if links + self.depth > DEPTH_MAX {
                return Err(self.error(
                    self.span(),
                    format!("the expression is more than {DEPTH_MAX} levels deep"),
                ));
            }
            let op_span = self.span();
            self.at += 1;
            let (is_bool, matching) = self.modifiers(op, op_span, lhs.span)?;
            // `^` alone binds to the right.
            let next = match op {
                BinaryOp::Pow => op.precedence(),
                _ => op.precedence() + 1,
            };
            let rhs = self.expr(next)?;
            lhs = self.binary(op, op_span, (lhs, rhs), is_bool, matching)?;
        }
        self.depth -= 1;
        Ok(lhs)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let is_negative = match self.peek() {
            Kind::Operator("-") => true,
            Kind::Operator("+") => false,
            _ => return self.postfix(),
        };
        let sign = self.span();
        self.at += 1;
        // As tightly as `*`: -1^2 is -(1^2).
        let expr = self.expr(BinaryOp::Mul.precedence() + 1)?;
        let kind = expr.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            return Err(self.error(
                expr.span,
                format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                    kind.words()
                ),
            ));
        }
        let span = sign.to(expr.span);
        Ok(match (is_negative, expr.kind) {
            (true, ExprKind::Number(number)) => Expr {
                kind: ExprKind::Number(-number),
                span,
            },
            (true, kind) => Expr {
                kind: ExprKind::Negative(Box::new(Expr {
                    kind,
                    span: expr.span,
                })),
                span,
            },
            (false, kind @ ExprKind::Number(_)) => Expr { kind, span },
            (false, kind) => Expr {
                kind: ExprKind::Positive(Box::new(Expr {
                    kind,
                    span: expr.span,
                })),
                span,
            },
        })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let span = self.span();
        match self.peek().clone() {
            Kind::Number(number) => {
                self.at += 1;
                Ok(Expr {
                    kind: ExprKind::Number(number),
                    span,
                })
            }
            Kind::Duration(ms) => {
                self.at += 1;
                Ok(Expr {
                    kind: ExprKind::Number(ms as f64 / 1000.0),
                    span,
                })
            }
            Kind::Text(text) => {
                self.at += 1;
                Ok(Expr {
                    kind: ExprKind::Text(text),
                    span,
                })
            }
            Kind::Mark(b'(') => {
                self.at += 1;
                let inner = self.expr(0)?;
                self.expect_mark(b')', "parenthesis")?;
                Ok(Expr {
                    kind: ExprKind::Paren(Box::new(inner)),
                    span: span.to(self.behind()),
                })
            }
            Kind::Mark(b'{') => self.selector(None, span),
            Kind::Word(word) => self.word(&word, span),
            Kind::End => Err(self.error(span, "unexpected end of input")),
            _ => Err(self.unexpected("")),
        }
    }
}
