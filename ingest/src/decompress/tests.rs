//! Tests of [`super`]: what unpacks, what is broken, and bombs.

#![expect(clippy::unwrap_used, reason = "packing into memory does not fail")]

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;

use super::*;

const CODINGS: [Coding; 5] = [
    Coding::Identity,
    Coding::Gzip,
    Coding::Deflate,
    Coding::Zstd,
    Coding::Snappy,
];

fn pack(coding: Coding, data: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Identity => data.to_vec(),
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Zstd => zstd::stream::encode_all(data, 1).unwrap(),
        Coding::Snappy => snap::raw::Encoder::new().compress_vec(data).unwrap(),
    }
}

fn unpack(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    let mut charged = 0;
    let unpacked = Unpacker::new().unpack(coding, body, limit, &mut out, |bytes| {
        charged += bytes;
        true
    });
    assert!(
        charged >= out.len() && charged <= limit.saturating_add(1),
        "{charged}"
    );
    assert!(out.capacity() <= 2 * limit.saturating_add(1).max(PIECE_BYTES));
    unpacked.map(|()| out)
}

#[test]
fn bombs_are_cut_off_at_the_limit() {
    let bomb = vec![0; 20_000_000];
    for coding in CODINGS {
        let packed = pack(coding, &bomb);
        let limit = 1_000_000;
        assert_eq!(
            unpack(coding, &packed, limit),
            Err(UnpackError::TooLarge { limit }),
            "{coding:?}"
        );
        assert_eq!(
            unpack(coding, &packed, 20_000_000).map(|out| out.len()),
            Ok(20_000_000)
        );
        let limit = 19_999_999;
        assert_eq!(
            unpack(coding, &packed, limit),
            Err(UnpackError::TooLarge { limit }),
            "{coding:?}"
        );
    }
}

#[test]
fn a_budget_ends_it() {
    let packed = pack(Coding::Zstd, &[7; 500_000]);
    let mut left = 200_000;
    let mut out = Vec::new();
    let unpacked = Unpacker::new().unpack(Coding::Zstd, &packed, 1 << 20, &mut out, |bytes| {
        let fits = bytes <= left;
        left -= bytes.min(left);
        fits
    });
    assert_eq!(unpacked, Err(UnpackError::Budget));
    assert!(out.len() <= 200_000);
}

#[test]
fn what_follows_the_end_or_is_missing_is_an_error() {
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Snappy] {
        let packed = pack(coding, b"queue_depth 42\nqueue_depth 42\n");
        let mut longer = packed.clone();
        longer.extend_from_slice(b"garbage");
        for wrong in [
            &longer[..],
            &packed[..packed.len() - 1],
            &packed[..3],
            b"",
            b"plain text",
        ] {
            assert!(
                matches!(unpack(coding, wrong, 1000), Err(UnpackError::Broken { .. })),
                "{coding:?} {wrong:?} {:?}",
                unpack(coding, wrong, 1000)
            );
        }
    }
}

#[test]
fn members_and_frames_may_follow_each_other() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let mut packed = pack(coding, b"a 1\n");
        packed.extend(pack(coding, b""));
        packed.extend(pack(coding, b"b 2\n"));
        assert_eq!(unpack(coding, &packed, 100).unwrap(), b"a 1\nb 2\n");
        assert_eq!(unpack(coding, &packed, 8).unwrap(), b"a 1\nb 2\n");
        assert_eq!(
            unpack(coding, &packed, 7),
            Err(UnpackError::TooLarge { limit: 7 })
        );
    }
}

#[test]
fn a_claimed_length_is_checked_before_allocating() {
    // 4 GB - 1 as a varint, and nothing that could become it.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    assert_eq!(
        unpack(Coding::Snappy, &claim, 1000),
        Err(UnpackError::TooLarge { limit: 1000 })
    );
    let claim = [0xff, 0xff, 0x3f, 0x00];
    assert!(matches!(
        unpack(Coding::Snappy, &claim, 1 << 20),
        Err(UnpackError::Broken { .. })
    ));
    // A zstd frame with a window of 3.75 TB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];
    assert!(matches!(
        unpack(Coding::Zstd, &frame, 1000),
        Err(UnpackError::Broken { .. })
    ));
}

#[test]
fn header_words_are_codings() {
    for (word, coding) in [
        (None, Coding::Identity),
        (Some(""), Coding::Identity),
        (Some("GZIP"), Coding::Gzip),
        (Some(" x-gzip "), Coding::Gzip),
        (Some("deflate"), Coding::Deflate),
        (Some("zstd"), Coding::Zstd),
        (Some("snappy"), Coding::Snappy),
    ] {
        assert_eq!(Coding::from_header(word), Ok(coding));
    }
    for word in ["br", "gzip, gzip", "gzip,identity"] {
        assert_eq!(
            Coding::from_header(Some(word)),
            Err(UnpackError::UnknownCoding(word.to_owned()))
        );
    }
}

proptest! {
    #[test]
    fn what_was_packed_unpacks(
        data in prop::collection::vec(any::<u8>(), 0..2000),
        copies in 1..200_usize,
        coding in prop::sample::select(CODINGS.to_vec()),
    ) {
        let data = data.repeat(copies);
        let packed = pack(coding, &data);
        prop_assert_eq!(unpack(coding, &packed, data.len()), Ok(data));
    }

    #[test]
    fn any_bytes_unpack_or_not(
        data in prop::collection::vec(any::<u8>(), 0..200),
        coding in prop::sample::select(CODINGS.to_vec()),
    ) {
        drop(unpack(coding, &data, 10_000));
    }
}
