//! Why a sample is refused. The text goes to whoever sent it, [`Reason::code`] into `/metrics`.

use crate::limits::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX};

/// Why one sample was not taken; says what was wrong and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The line or item has not the form of its format; the text says where and what.
    #[error("{0}")]
    Malformed(String),
    /// The value is no number, or one that the format cannot carry.
    #[error("{0:?} is not a number that can be kept")]
    NotANumber(String),
    /// The metric has no name.
    #[error("there is no metric name")]
    NoName,
    /// The metric's name stands without quotation marks and has characters that then may not be.
    #[error(
        "{0:?} is not a metric name without quotation marks: a letter, `_` or `:` first, then also digits and `.`, `/`, `-`; any other is written {{\"in quotes\"}}"
    )]
    Name(String),
    /// The metric's name is too long.
    #[error("the metric's name has {0} bytes; at most {NAME_BYTES_MAX} are accepted")]
    NameLength(usize),
    /// A label has no name.
    #[error("a label has no name")]
    NoLabelName,
    /// The label's name is that of something else.
    #[error("{0:?} cannot be a label: it stands for the metric's name")]
    LabelName(String),
    /// The label's name is too long.
    #[error("a label's name has {0} bytes; at most {LABEL_NAME_BYTES_MAX} are accepted")]
    LabelNameLength(usize),
    /// The label's value is too long.
    #[error(
        "the value of label {name:?} has {bytes} bytes; at most {LABEL_VALUE_BYTES_MAX} are accepted"
    )]
    LabelValueLength {
        /// Which label.
        name: String,
        /// How long its value is.
        bytes: usize,
    },
    /// One label was named twice.
    #[error("label {0:?} is there twice")]
    LabelTwice(String),
    /// Too many labels.
    #[error("there are more than {LABELS_MAX} labels")]
    Labels,
    /// Older than what is accepted.
    #[error("timestamp {at_ms} ms is older than {oldest_ms} ms, the oldest that is accepted now")]
    TooOld {
        /// The sample's time, Unix milliseconds.
        at_ms: i64,
        /// The bound, Unix milliseconds.
        oldest_ms: i64,
    },
    /// Further ahead of this server's clock than what is accepted.
    #[error("timestamp {at_ms} ms is later than {newest_ms} ms, the latest that is accepted now")]
    InFuture {
        /// The sample's time, Unix milliseconds.
        at_ms: i64,
        /// The bound, Unix milliseconds.
        newest_ms: i64,
    },
    /// It would be a new series past the tenant's bound.
    #[error("this series would be new, and the tenant has {0} series already (MAX_SERIES)")]
    SeriesLimit(u64),
    /// It would be the first series of a tenant past all tenants' bound.
    #[error("this tenant would be new, and there are {0} tenants already")]
    TenantLimit(usize),
    /// There is no memory left for its window.
    #[error("the window's memory is full; try again")]
    WindowFull,
    /// The series is one that this server measures itself, or counts tracked items in.
    #[error(
        "this server measures or counts {0:?} itself; push it under another name, or add a label"
    )]
    Reserved(String),
    /// A whole body, which is larger than what is accepted.
    #[error("the body is too large")]
    BodyTooLarge,
    /// A whole body, for which there is no memory or no disk now.
    #[error("there is no memory for the body at the moment; try again")]
    Busy,
    /// The format allows it, Pulseboard does not keep it; the text says what.
    #[error("{0}")]
    Unsupported(String),
}

impl Reason {
    /// A word for counters; the same for all of one kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NotANumber(_) => "not_a_number",
            Self::NoName | Self::Name(_) | Self::NameLength(_) => "name",
            Self::NoLabelName
            | Self::LabelName(_)
            | Self::LabelNameLength(_)
            | Self::LabelValueLength { .. }
            | Self::LabelTwice(_)
            | Self::Labels => "label",
            Self::TooOld { .. } => "too_old",
            Self::InFuture { .. } => "in_future",
            Self::SeriesLimit(_) => "series_limit",
            Self::TenantLimit(_) => "tenant_limit",
            Self::WindowFull => "window_full",
            Self::Reserved(_) => "reserved",
            Self::BodyTooLarge => "body_too_large",
            Self::Busy => "busy",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// All codes, in the order of [`Reason::index`].
    pub const CODES: [&'static str; 13] = [
        "malformed",
        "not_a_number",
        "name",
        "label",
        "too_old",
        "in_future",
        "series_limit",
        "window_full",
        "reserved",
        "body_too_large",
        "busy",
        "tenant_limit",
        "unsupported",
    ];

    /// The place of [`Reason::code`] in [`Reason::CODES`].
    #[must_use]
    pub fn index(&self) -> usize {
        let code = self.code();
        Self::CODES
            .iter()
            .position(|known| *known == code)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_place() {
        for reason in [
            Reason::Malformed(String::new()),
            Reason::NotANumber(String::new()),
            Reason::NameLength(1),
            Reason::Labels,
            Reason::TooOld {
                at_ms: 0,
                oldest_ms: 0,
            },
            Reason::InFuture {
                at_ms: 0,
                newest_ms: 0,
            },
            Reason::SeriesLimit(1),
            Reason::TenantLimit(1),
            Reason::WindowFull,
            Reason::Reserved(String::new()),
            Reason::BodyTooLarge,
            Reason::Busy,
            Reason::Unsupported(String::new()),
        ] {
            assert_eq!(Reason::CODES[reason.index()], reason.code());
        }
    }
}
