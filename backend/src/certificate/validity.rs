//! Until when a certificate holds. rustls looks at the dates of other people's certificates and
//! tells nobody those of its own; they stand at a fixed place (RFC 5280 §4.1), which is walked to
//! here.

use pulseboard_shared::timestamp::days_from_civil;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which the first one leaves out.
const VERSION: u8 = 0xa0;

/// When a certificate ends, Unix milliseconds; `None` for bytes that are none.
pub(super) fn ends_ms(certificate: &[u8]) -> Option<i64> {
    let (SEQUENCE, certificate, _) = element(certificate)? else {
        return None;
    };
    let (SEQUENCE, signed, _) = element(certificate)? else {
        return None;
    };
    let mut rest = signed;
    if let (VERSION, _, behind) = element(rest)? {
        rest = behind;
    }
    // Serial number, algorithm and issuer come before it.
    for expected in [INTEGER, SEQUENCE, SEQUENCE] {
        let (tag, _, behind) = element(rest)?;
        if tag != expected {
            return None;
        }
        rest = behind;
    }
    let (SEQUENCE, validity, _) = element(rest)? else {
        return None;
    };
    let (_, _, behind) = element(validity)?;
    let (tag, end, _) = element(behind)?;
    time_ms(tag, std::str::from_utf8(end).ok()?)
}

/// The first element: its tag, what is in it, and what is behind it (X.690 §8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, of 1950 to 2049, or with four digits of the year (RFC 5280 §4.1.2.5).
fn time_ms(tag: u8, text: &str) -> Option<i64> {
    let (century, digits) = match tag {
        UTC_TIME => (None, text),
        GENERALIZED_TIME => (Some(text.get(..2)?), text.get(2..)?),
        _ => return None,
    };
    let digits = digits.strip_suffix('Z')?;
    if digits.len() != 12 {
        return None;
    }
    let number = |text: &str| -> Option<i64> {
        let is_plain = text.bytes().all(|digit| digit.is_ascii_digit());
        is_plain.then(|| text.parse().ok()).flatten()
    };
    let part = |at: usize| number(digits.get(2 * at..2 * at + 2)?);
    let year = match (century, part(0)?) {
        (Some(century), year) => number(century)? * 100 + year,
        (None, year @ 50..) => 1900 + year,
        (None, year) => 2000 + year,
    };
    let (month, day) = (part(1)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = part(3)? * 3_600 + part(4)? * 60 + part(5)?;
    Some((days_from_civil(year, month, day) * 86_400 + seconds) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999_000)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000_000)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000_000)),
            (
                GENERALIZED_TIME,
                "99991231235959Z",
                Some(253_402_300_799_000),
            ),
            (GENERALIZED_TIME, "490101000000Z", None),
            (UTC_TIME, "700101000000", None),
            (UTC_TIME, "70+101000000Z", None),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "é00101000000Z", None),
            (INTEGER, "700101000000Z", None),
        ] {
            assert_eq!(time_ms(tag, text), expected, "{tag} {text}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_end() {
        let parameters = rcgen::CertificateParams::new(["a.test".to_owned()]).expect("parameters");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("signed");
        let whole = certificate.der();
        assert!(ends_ms(whole).is_some());
        for length in 0..whole.len() {
            // Cut anywhere it is none; the outermost length says so.
            assert_eq!(ends_ms(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len().min(300) {
            for other in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = other;
                // Whatever comes of it, it does not panic.
                ends_ms(&bytes);
            }
        }
    }
}
