//! StatsD: any datagrams are added up or refused, and what is flushed is whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch,
    statsd::{Aggregator, datagram},
};
use pulseboard_series::KeyRef;

fuzz_target!(|bytes: &[u8]| {
    let mut aggregator = Aggregator::new(8);
    let mut batch = Batch::new();
    for _ in 0..2 {
        datagram(bytes, &mut aggregator, &mut batch);
        assert!(batch.rows().is_empty());
        batch.clear();
        aggregator.flush(0, &mut batch);
        for row in batch.rows() {
            let key = batch.key(row);
            assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
        }
        batch.clear();
    }
    assert!(aggregator.len() <= 8);
});
