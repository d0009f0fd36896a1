//! Times on the wire: any text is one or refused, and one reads back from how it is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_shared::Timestamp;

fuzz_target!(|text: &str| {
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
});
