//! What servers say, as the page reads it: the quick way and the derived way agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_shared::protocol::metrics::ServerMessage;

fuzz_target!(|text: &str| {
    let (quick, derived) = (
        ServerMessage::parse(text),
        serde_json::from_str::<ServerMessage>(text),
    );
    if let (Ok(quick), Ok(derived)) = (&quick, &derived) {
        assert_eq!(quick, derived);
    }
    if let Ok(message) = quick {
        let json = serde_json::to_string(&message).expect("serialises");
        assert_eq!(ServerMessage::parse(&json).expect("reads back"), message);
    }
});
