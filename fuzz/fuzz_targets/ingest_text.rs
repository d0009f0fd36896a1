//! Prometheus text, OpenMetrics and simple lines: any bytes are taken or refused line by line, and
//! what was taken reads back from how its key is written.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch,
    text::{Times, parse},
};
use pulseboard_series::Row;

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    parse(body, Times::of(body, ""), &mut batch);
    whole::check(&batch);
    let mut again = Batch::new();
    for row in batch.rows() {
        let mut line = format!("{} {:?}", batch.key(row), row.value);
        if row.at_ms != Row::NOW {
            line += &format!(" {}", row.at_ms);
        }
        again.clear();
        parse(line.as_bytes(), Times::Milliseconds, &mut again);
        // A carriage return at the end of a value is no end of a line when it is quoted.
        assert_eq!(again.rows().len(), 1, "{line:?} {:?}", again.refused());
        assert_eq!(again.key(&again.rows()[0]), batch.key(row));
        assert_eq!(again.rows()[0].at_ms, row.at_ms);
    }
});
