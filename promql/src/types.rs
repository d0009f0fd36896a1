//! What expressions and functions answer with.

/// What an expression becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number a step.
    Scalar,
    /// A set of series with one number a step.
    Vector,
    /// A set of series with several samples.
    Matrix,
    /// A text.
    Text,
}

impl ValueType {
    /// As Prometheus' API calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::Text => "string",
        }
    }

    /// As its errors do.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        }
    }
}
