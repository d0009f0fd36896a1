//! The binary form says what JSON says, and refuses what is no message.

use proptest::prelude::*;

use super::*;
use crate::protocol::metrics::{Merged, MergedSeries};

fn sample() -> impl Strategy<Value = Metric> {
    let series = prop_oneof![
        4 => (0_usize..4).prop_map(|index| (BUILT_IN[index].name().to_owned(), BUILT_IN[index].unit().to_owned(), Labels::new())),
        1 => ("[a-z_]{0,12}", ".{0,3}", proptest::collection::btree_map("[a-z]{1,4}", ".{0,5}", 0..3)),
    ];
    (
        series,
        any::<i32>().prop_map(|value| f64::from(value) / 10.0),
        -62_000_000_000_000_i64..200_000_000_000_000,
    )
        .prop_map(|((name, unit, labels), value, ms)| Metric {
            name,
            value,
            unit,
            timestamp: Timestamp::from_millis(ms),
            labels,
        })
}

fn message() -> impl Strategy<Value = ServerMessage> {
    let samples = || proptest::collection::vec(sample(), 0..20);
    let snapshot = || {
        (
            ".{0,10}",
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<i64>(),
            samples(),
        )
            .prop_map(
                |(epoch, offset, window, interval_ms, sent_ms, data)| Snapshot {
                    epoch,
                    offset,
                    window,
                    interval_ms,
                    sent_ms,
                    data,
                },
            )
    };
    prop_oneof![
        snapshot().prop_map(ServerMessage::Initial),
        snapshot().prop_map(ServerMessage::Resumed),
        (
            ".{0,10}",
            any::<u64>(),
            any::<i64>(),
            any::<i64>(),
            samples()
        )
            .prop_map(
                |(epoch, offset, sampled_ms, sent_ms, data)| ServerMessage::Metrics(Tick {
                    epoch,
                    offset,
                    sampled_ms,
                    sent_ms,
                    data
                })
            ),
        proptest::collection::vec(".{0,8}", 0..3)
            .prop_map(|metrics| ServerMessage::Subscribed { metrics }),
        ".{0,20}".prop_map(|text| ServerMessage::Error { text }),
    ]
}

proptest! {
    #[test]
    fn the_binary_round_trip_is_the_json_round_trip(message in message()) {
        let json = serde_json::to_string(&message).expect("serialises");
        prop_assert_eq!(decode(&encode(&message)), Ok(message.clone()));
        prop_assert_eq!(serde_json::from_str::<ServerMessage>(&json).expect("reads back"), message);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
    }

    #[test]
    fn a_message_cut_short_or_with_more_behind_it_is_refused(message in message(), at in any::<prop::sample::Index>()) {
        let mut bytes = encode(&message);
        let cut = at.index(bytes.len());
        prop_assert!(decode(&bytes[..cut]).is_err());
        bytes.push(b' ');
        prop_assert!(bytes[0] == KIND_JSON || decode(&bytes) == Err(DecodeError::Long));
    }
}

#[test]
fn a_gap_survives() {
    let tick = Tick {
        epoch: "e".to_owned(),
        offset: 1,
        sampled_ms: 0,
        sent_ms: 0,
        data: vec![Metric {
            name: "cpu_usage".to_owned(),
            value: f64::NAN,
            unit: "%".to_owned(),
            timestamp: Timestamp::from_millis(0),
            labels: Labels::new(),
        }],
    };
    let Ok(ServerMessage::Metrics(read)) = decode(&encode(&ServerMessage::Metrics(tick))) else {
        panic!("a tick is read back")
    };
    assert!(read.data[0].value.is_nan());
}

#[test]
fn a_count_that_the_bytes_cannot_hold_allocates_nothing() {
    // A snapshot that promises 2^60 series.
    let bytes = [
        1, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F,
    ];
    assert_eq!(decode(&bytes), Err(DecodeError::Short));
}

#[test]
fn a_merged_frame_travels_as_json_inside() {
    let merged = ServerMessage::Merged(Merged {
        epoch: "e".to_owned(),
        offset: 9,
        first_offset: 3,
        last_offset: 9,
        data: vec![MergedSeries {
            name: "cpu_usage".to_owned(),
            unit: "%".to_owned(),
            labels: Labels::new(),
            min: 1.0,
            max: 2.0,
            last: 1.5,
            count: 7,
            timestamp: Timestamp::from_millis(5),
        }],
    });
    assert_eq!(decode(&encode(&merged)), Ok(merged));
}
