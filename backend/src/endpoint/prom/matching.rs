//! Selectors over labels that are no stored series': of targets, of rules.

use std::sync::Arc;

use pulseboard_promql::ast::{MatchOp, Matcher, Selector};
use pulseboard_scrape::relabel::Pattern;

use super::answer::ApiError;

/// One matcher of a selector.
pub(super) struct Test {
    name: Arc<str>,
    is_negated: bool,
    value: Wanted,
}

enum Wanted {
    Text(Arc<str>),
    Pattern(Pattern),
}

impl Test {
    fn of(matcher: &Matcher) -> Result<Self, ApiError> {
        let pattern = || Pattern::new(&matcher.value).map_err(ApiError::BadData);
        let (is_negated, value) = match matcher.op {
            MatchOp::Equal => (false, Wanted::Text(Arc::clone(&matcher.value))),
            MatchOp::NotEqual => (true, Wanted::Text(Arc::clone(&matcher.value))),
            MatchOp::Regex => (false, Wanted::Pattern(pattern()?)),
            MatchOp::NotRegex => (true, Wanted::Pattern(pattern()?)),
        };
        Ok(Self {
            name: Arc::clone(&matcher.name),
            is_negated,
            value,
        })
    }

    /// Whether the label has such a value; one that is not there is empty.
    pub(super) fn holds<'a>(&self, value_of: impl Fn(&str) -> &'a str) -> bool {
        let value = value_of(&self.name);
        let is_equal = match &self.value {
            Wanted::Text(text) => value == &**text,
            Wanted::Pattern(pattern) => pattern.is_match(value),
        };
        is_equal != self.is_negated
    }
}

/// A selector's matchers.
pub(super) fn tests(selector: &Selector) -> Result<Vec<Test>, ApiError> {
    selector.matchers.iter().map(Test::of).collect()
}
