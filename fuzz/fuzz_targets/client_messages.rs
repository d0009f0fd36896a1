//! What clients say on the four sockets: any text is read or refused in words, and what was read
//! of the metrics socket reads back from its own JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_shared::protocol::{chat, metrics, operator, rooms};

fuzz_target!(|text: &str| {
    match metrics::ClientMessage::parse(text) {
        Ok(Some(message)) => {
            let json = serde_json::to_string(&message).expect("serialises");
            assert_eq!(metrics::ClientMessage::parse(&json), Ok(Some(message)));
        }
        Ok(None) => {}
        Err(error) => assert!(!error.is_empty()),
    }
    for refused in [
        rooms::ClientAction::parse(text).err(),
        chat::ClientMessage::parse(text).err(),
        operator::ControlCommand::parse(text).err(),
    ] {
        assert!(refused.is_none_or(|error| !error.is_empty()));
    }
    if let Ok(operator::ControlCommand::SetThreshold(percent)) =
        operator::ControlCommand::parse(text)
    {
        assert!((0.0..=100.0).contains(&percent) && percent.is_sign_positive());
    }
});
