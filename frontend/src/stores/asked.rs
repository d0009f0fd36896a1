//! Expressions that were asked before, newest first: as the browser remembers them, bounded.

use crate::net::json::{Json, quote};

/// Where the browser remembers them.
pub const ASKED_KEY: &str = "pulseboard-asked";

/// Expressions that are remembered.
pub const ASKED_MAX: usize = 40;

/// A longer one is not remembered.
const LENGTH_MAX: usize = 2_000;

/// Reads what is remembered; what is nothing of ours is nothing.
#[must_use]
pub fn read(text: &str) -> Vec<String> {
    let list = Json::parse(text).unwrap_or_default();
    let texts = list.list().iter().filter_map(Json::text);
    texts.take(ASKED_MAX).map(str::to_owned).collect()
}

/// `asked` with `expression` at its top, as it is to be remembered.
#[must_use]
pub fn with(asked: &[String], expression: &str) -> String {
    let is_kept = (1..=LENGTH_MAX).contains(&expression.len());
    let first = is_kept.then_some(expression);
    let others = asked.iter().map(String::as_str);
    let others = others.filter(|other| *other != expression);
    let quoted: Vec<String> = first
        .into_iter()
        .chain(others)
        .take(ASKED_MAX)
        .map(quote)
        .collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_first_and_none_is_twice() {
        let mut asked = read("<nothing of ours>");
        for expression in ["up", "rate(a[5m])", "up{a=\"b\"}", "up"] {
            asked = read(&with(&asked, expression));
        }
        assert_eq!(asked, ["up", "up{a=\"b\"}", "rate(a[5m])"]);
        for number in 0..100 {
            asked = read(&with(&asked, &format!("x{number}")));
        }
        assert_eq!((asked.len(), asked[0].as_str()), (ASKED_MAX, "x99"));
        assert_eq!(read(&with(&asked, &"x".repeat(3_000))), asked);
    }
}
