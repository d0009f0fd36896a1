//! From tokens to a checked tree: operator precedence (Pratt), bounded in length and depth.
//!
//! The grammar is that of Prometheus 3 without what is experimental there. Errors name line and
//! column, and say what Prometheus says where its words are known.

use std::sync::Arc;

use crate::{
    ast::{
        Aggregate, AggregateOp, At, Binary, BinaryOp, Cardinality, Expr, ExprKind, MatchOp,
        Matcher, Matching, Selector, ValueType, When,
    },
    error::{ParseError, Span},
    functions::{EXPERIMENTAL, function},
    lex::{Kind, Token, tokens},
    pattern::regex,
};

/// Bytes of an expression. Larger: it costs more to refuse one. The longest of 30 000 public ones
/// has 4 275.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;

/// Levels of a tree. The deepest of those has 20.
pub const DEPTH_MAX: usize = 100;

/// Matchers of one selector.
pub const MATCHERS_MAX: usize = 64;

/// Patterns of one expression. Larger: one that is made of patterns takes longer to check, up to some
/// milliseconds each.
pub const PATTERNS_MAX: usize = 128;

/// Reads an expression.
///
/// # Errors
/// It is too long, too deep, or no PromQL; with the place.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
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
    let expr = parse(text)?;
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
            let (is_bool, matching) = self.modifiers(op, op_span)?;
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

    fn modifiers(&mut self, op: BinaryOp, op_span: Span) -> Parsed<(bool, Option<Matching>)> {
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
                        self.behind(),
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

    fn binary(
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
            return Err(self.error(span, "comparisons between scalars must use BOOL modifier"));
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
            return Err(self.error(
                op_span,
                "vector matching only allowed between instant vectors",
            ));
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
            (false, kind) => Expr { kind, span },
        })
    }

    /// A primary with what may follow it: a range, `offset` and `@`.
    fn postfix(&mut self) -> Parsed<Expr> {
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

    fn when_of<'e>(&self, expr: &'e mut Expr, span: Span, what: &str) -> Parsed<&'e mut When> {
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

    fn signed_duration(&mut self) -> Parsed<i64> {
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
    fn duration(&mut self, context: &str) -> Parsed<i64> {
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

    fn at_time(&mut self) -> Parsed<At> {
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

    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
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
            // As in Prometheus, which looks for a fixed time only and lets `start()` and `end()` pass.
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

    fn word(&mut self, word: &str, span: Span) -> Parsed<Expr> {
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

    fn call(&mut self, name: &str, span: Span) -> Parsed<Expr> {
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

    fn expect_type(&self, expr: &Expr, expected: ValueType, context: &str) -> Parsed<()> {
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
    fn args(&mut self, context: &str) -> Parsed<Vec<Expr>> {
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
            if self.is_mark(b')') {
                return Err(self.error(
                    self.span(),
                    "trailing commas not allowed in function call args",
                ));
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp, span: Span) -> Parsed<Expr> {
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

    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<Arc<str>>)>> {
        let without = match (self.keyword("by"), self.keyword("without")) {
            (true, _) => false,
            (_, true) => true,
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some((without, self.labels("grouping opts")?)))
    }

    fn labels(&mut self, context: &str) -> Parsed<Vec<Arc<str>>> {
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

    fn selector(&mut self, word: Option<Arc<str>>, start: Span) -> Parsed<Expr> {
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
        if !matchers.iter().any(|one| !takes_empty(one)) {
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

    fn matcher(&mut self, label: Arc<str>) -> Parsed<Matcher> {
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

    fn check_pattern(&mut self, pattern: &str, span: Span) -> Parsed<()> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let what = format!("an expression has at most {PATTERNS_MAX} patterns");
            return Err(self.error(span, what));
        }
        regex(pattern).map(drop).map_err(|error| {
            let what = format!("error parsing regexp: {error}").replace('\n', " ");
            self.error(span, what)
        })
    }
}

/// Whether a label that is not there passes.
fn takes_empty(matcher: &Matcher) -> bool {
    let is_match = || regex(&matcher.value).is_ok_and(|regex| regex.is_match(""));
    match matcher.op {
        MatchOp::Equal => matcher.value.is_empty(),
        MatchOp::NotEqual => !matcher.value.is_empty(),
        MatchOp::Regex => is_match(),
        MatchOp::NotRegex => !is_match(),
    }
}
