//! Selectors of strangers: refused, or compiled within the bound, and compared in bounded time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_engine::{NamedSeries, Selector, selector::{PATTERN_BYTES_MAX, SELECTOR_BYTES_MAX}};

fuzz_target!(|text: &str| {
    // Of names nothing is ever compiled, so they end in any case.
    let named = NamedSeries::parse(text);
    let Ok(selector) = Selector::parse(text) else {
        return;
    };
    assert!(selector.compiled_bytes() <= PATTERN_BYTES_MAX);
    let written = selector.to_string();
    if written.len() > SELECTOR_BYTES_MAX {
        // What is escaped anew takes more room.
        return;
    }
    let again = Selector::parse(&written).expect("what is written is read");
    assert_eq!(again.to_string(), written);
    if selector.has_patterns() && text.contains('{') {
        assert!(named.is_err(), "a name has no patterns");
    }
});
