//! Remote read, both sides: any bytes are a request, an answer or an error, and no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::remote_read::{answer, ask, parse};

fuzz_target!(|message: &[u8]| {
    if let Ok(request) = parse(message) {
        for question in request.questions {
            let read = parse(&ask(&question)).expect("what is asked is a request");
            assert_eq!(read.questions, [question]);
        }
    }
    drop(answer(message, &mut |labels, samples| {
        labels.len() + samples.len() <= message.len()
    }));
});
