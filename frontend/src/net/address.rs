//! What stands behind the `#` of the page's address, such as `match=up&range=1h`: read without the
//! browser.

/// The value called `name`; `None` where there is none, or nothing in it.
#[must_use]
pub fn param(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        (key == name && !value.is_empty()).then_some(value)
    })?;
    decoded(value)
}

/// All values called `name`, in their order; empty ones are none.
#[must_use]
pub fn params(query: &str, name: &str) -> Vec<String> {
    let parts = query.split('&');
    parts.filter_map(|part| param(part, name)).collect()
}

/// Percent-encoding undone, and `+` for a space; `None` of what is no encoding of a text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::config::encode_query;

    #[test]
    fn values_are_found_by_name() {
        let query = "expr=a%2Bb&x=&expr=sum+by+(c)&bad=%ff&half=%2";
        assert_eq!(param(query, "expr").as_deref(), Some("a+b"));
        assert_eq!(params(query, "expr"), ["a+b", "sum by (c)"]);
        for name in ["x", "bad", "half", "none"] {
            assert_eq!(param(query, name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in "\\PC{1,40}") {
            let query = format!("a=1&b={}", encode_query(&text));
            prop_assert_eq!(param(&query, "b"), Some(text));
        }
    }
}
