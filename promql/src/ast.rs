//! An expression as a tree, each node with its place in the text.

use std::sync::Arc;

use crate::{error::Span, functions::Function};

pub use crate::types::ValueType;

/// A node and its place.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// An instant vector selector.
    Vector(Selector),
    /// A range vector selector.
    Matrix {
        /// Of which series.
        selector: Selector,
        /// How far back, in milliseconds.
        range_ms: i64,
    },
    /// An expression evaluated at many times.
    Subquery {
        /// What is evaluated.
        expr: Box<Expr>,
        /// How far back, in milliseconds.
        range_ms: i64,
        /// How often; where it is not said, the evaluation's default.
        step_ms: Option<i64>,
        /// When.
        when: When,
    },
    /// A call of a function.
    Call {
        /// Which one.
        function: &'static Function,
        /// With what.
        args: Vec<Expr>,
    },
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// Two sides and an operator.
    Binary(Box<Binary>),
    /// `-expr`.
    Negative(Box<Expr>),
    /// `+expr`, which is what `expr` is; before a number a plus is left out.
    Positive(Box<Expr>),
    /// `(expr)`.
    Paren(Box<Expr>),
}

/// An aggregation over a vector.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which one.
    pub op: AggregateOp,
    /// What `topk`, `bottomk`, `quantile` and `count_values` are told besides.
    pub param: Option<Expr>,
    /// Over what.
    pub expr: Expr,
    /// Labels of `by` or `without`.
    pub grouping: Vec<Arc<str>>,
    /// Whether those labels go rather than stay.
    pub without: bool,
}

/// Aggregations of Prometheus 3, but the experimental ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is called as in PromQL")]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Count,
    CountValues,
    Bottomk,
    Topk,
    Quantile,
}

impl AggregateOp {
    /// All with their names.
    pub const ALL: [(&'static str, Self); 12] = [
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("group", Self::Group),
        ("stddev", Self::Stddev),
        ("stdvar", Self::Stdvar),
        ("count", Self::Count),
        ("count_values", Self::CountValues),
        ("bottomk", Self::Bottomk),
        ("topk", Self::Topk),
        ("quantile", Self::Quantile),
    ];

    /// By its name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, op)| op)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(_, op)| *op == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether it is told something besides its vector.
    #[must_use]
    pub const fn has_param(self) -> bool {
        matches!(
            self,
            Self::CountValues | Self::Bottomk | Self::Topk | Self::Quantile
        )
    }
}

/// Two sides and an operator.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Which one.
    pub op: BinaryOp,
    /// Its left side.
    pub lhs: Expr,
    /// Its right side.
    pub rhs: Expr,
    /// Whether a comparison answers 0 or 1 rather than filtering.
    pub is_bool: bool,
    /// How series of both sides find each other; of two vectors alone.
    pub matching: Matching,
}

/// Binary operators, by how tightly they bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is called as in PromQL")]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Atan2,
    Pow,
}

impl BinaryOp {
    /// All with how they are written.
    pub const ALL: [(&'static str, Self); 16] = [
        ("or", Self::Or),
        ("and", Self::And),
        ("unless", Self::Unless),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::LessEqual),
        (">", Self::Greater),
        (">=", Self::GreaterEqual),
        ("+", Self::Add),
        ("-", Self::Sub),
        ("*", Self::Mul),
        ("/", Self::Div),
        ("%", Self::Mod),
        ("atan2", Self::Atan2),
        ("^", Self::Pow),
    ];

    /// By how it is written, words in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(text))
            .map(|(_, op)| op)
    }

    /// How it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(_, op)| *op == self)
            .map_or("", |(text, _)| text)
    }

    /// The larger, the tighter.
    #[must_use]
    pub const fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }

    /// Whether it is `and`, `or` or `unless`.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    /// Whether it compares.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self.precedence(), 3)
    }
}

/// How many of one side may belong to one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One to one.
    #[default]
    One,
    /// `group_left`: many on the left.
    Left,
    /// `group_right`: many on the right.
    Right,
}

/// How series of two sides find each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// Whether the labels are those of `on` rather than of `ignoring`.
    pub is_on: bool,
    /// The labels.
    pub labels: Vec<Arc<str>>,
    /// Whether one side has many.
    pub cardinality: Cardinality,
    /// Labels that come from the one side.
    pub include: Vec<Arc<str>>,
}

/// Which series, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The metric's name, where it stands before the braces or alone inside them.
    pub name: Option<Arc<str>>,
    /// All matchers, that of the name among them.
    pub matchers: Vec<Matcher>,
    /// When.
    pub when: When,
}

/// `offset` and `@`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct When {
    /// How much earlier, in milliseconds; negative is later.
    pub offset_ms: i64,
    /// Always at this time rather than at that of the step.
    pub at: Option<At>,
}

/// What `@` names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Unix milliseconds.
    Time(i64),
    /// `start()`: the first step of the question.
    Start,
    /// `end()`: its last.
    End,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// How it is written.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A label and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub name: Arc<str>,
    /// How.
    pub op: MatchOp,
    /// With what.
    pub value: Arc<str>,
}

impl Expr {
    /// What it becomes.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::Text(_) => ValueType::Text,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix { .. } | ExprKind::Subquery { .. } => ValueType::Matrix,
            ExprKind::Call { function, .. } => function.returns,
            ExprKind::Binary(binary) => match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            ExprKind::Negative(expr) | ExprKind::Positive(expr) | ExprKind::Paren(expr) => {
                expr.value_type()
            }
        }
    }

    /// Whether it is the same at each step: it names no time but fixed ones.
    #[must_use]
    pub fn is_step_invariant(&self) -> bool {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Text(_) => true,
            ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => {
                selector.when.at.is_some()
            }
            // Without `@` its grid moves with the step, whatever is evaluated there.
            ExprKind::Subquery { when, .. } => when.at.is_some(),
            ExprKind::Call { function, args } => {
                function.is_timeless && args.iter().all(Self::is_step_invariant)
            }
            ExprKind::Aggregate(aggregate) => {
                aggregate.expr.is_step_invariant()
                    && aggregate.param.as_ref().is_none_or(Self::is_step_invariant)
            }
            ExprKind::Binary(binary) => {
                binary.lhs.is_step_invariant() && binary.rhs.is_step_invariant()
            }
            ExprKind::Negative(expr) | ExprKind::Positive(expr) | ExprKind::Paren(expr) => {
                expr.is_step_invariant()
            }
        }
    }
}
