//! `Last-Event-ID` and `?epoch=&offset=`: any text is a place or none, and a place reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_feed::{Epoch, EventId, Position};

fuzz_target!(|input: (&str, u64, u64)| {
    let (text, epoch, offset) = input;
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        let _: Option<u64> = id.offset_in(Epoch(epoch));
    }
    let id = EventId::new(Epoch(epoch), offset);
    if epoch.checked_add(offset).is_some() {
        assert_eq!(id.offset_in(Epoch(epoch)), Some(offset));
    }
    let position = Position {
        epoch: text.to_owned(),
        offset,
    };
    if position.is_of(Epoch(epoch)) {
        assert_eq!(text.trim_start_matches('+').parse(), Ok(epoch));
    }
});
