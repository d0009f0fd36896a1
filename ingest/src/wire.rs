//! Protobuf's wire format read in place: fields and their numbers, nothing copied, nothing
//! allocated (<https://protobuf.dev/programming-guides/encoding/>). Groups, which none of our
//! messages has, are an error.

use crate::BodyError;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: text, bytes, a message, packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("it ends in the middle of a field")]
    End,
    #[error("a number has more than ten bytes")]
    Varint,
    #[error("a field has number 0 or an unknown type")]
    Tag,
    #[error("field {0} has the wrong type")]
    Type(u32),
    #[error("a text is not UTF-8")]
    Text,
    #[error("there are more than {0} symbols")]
    Symbols(usize),
}

impl WireError {
    pub(crate) fn in_body(self, what: &'static str) -> BodyError {
        BodyError::Protobuf {
            what,
            why: self.to_string(),
        }
    }
}

/// The fields of one message, in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// Number and value of the next field.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = varint(&mut self.0)?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => number,
            _ => return Err(WireError::Tag),
        };
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(u64::from_le_bytes(take_array(&mut self.0)?)),
            2 => {
                let length = varint(&mut self.0)?;
                let split = usize::try_from(length)
                    .ok()
                    .and_then(|length| self.0.split_at_checked(length));
                let (bytes, rest) = split.ok_or(WireError::End)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(take_array(&mut self.0)?)),
            _ => return Err(WireError::Tag),
        };
        Ok(Some((number, value)))
    }
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (array, rest) = bytes.split_first_chunk().ok_or(WireError::End)?;
    *bytes = rest;
    Ok(*array)
}

/// A number of variable length; bits past the 64th are cut, as all implementations do.
#[inline]
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    if let Some((&first, rest)) = bytes.split_first()
        && first < 0x80
    {
        *bytes = rest;
        return Ok(u64::from(first));
    }
    let mut sum = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        sum |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            *bytes = &bytes[at + 1..];
            return Ok(sum);
        }
    }
    Err(if bytes.len() < 10 {
        WireError::End
    } else {
        WireError::Varint
    })
}

/// The two's complement behind an `int32` or `int64`.
pub(crate) fn signed(varint: u64) -> i64 {
    varint.cast_signed()
}

/// The number behind a `sint32` or `sint64`.
pub(crate) fn zigzag(varint: u64) -> i64 {
    (varint >> 1).cast_signed() ^ -((varint & 1).cast_signed())
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self, number: u32) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Type(number)),
        }
    }

    pub(crate) fn text(self, number: u32) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes(number)?)
            .ok()
            .ok_or(WireError::Text)
    }

    pub(crate) fn varint(self, number: u32) -> Result<u64, WireError> {
        match self {
            Self::Varint(varint) => Ok(varint),
            _ => Err(WireError::Type(number)),
        }
    }

    pub(crate) fn double(self, number: u32) -> Result<f64, WireError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(WireError::Type(number)),
        }
    }

    /// Each number of a repeated field of varints, packed or not.
    pub(crate) fn each_varint(
        self,
        number: u32,
        mut each: impl FnMut(u64) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        match self {
            Self::Varint(varint) => each(varint),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(varint(&mut packed)?)?;
                }
                Ok(())
            }
            _ => Err(WireError::Type(number)),
        }
    }

    /// Each number of a repeated field of doubles, packed or not.
    pub(crate) fn each_double(
        self,
        number: u32,
        mut each: impl FnMut(f64),
    ) -> Result<(), WireError> {
        match self {
            Self::Fixed64(bits) => each(f64::from_bits(bits)),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(f64::from_le_bytes(take_array(&mut packed)?));
                }
            }
            _ => return Err(WireError::Type(number)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for (bytes, number, rest) in [
            (&[0x00][..], Ok(0), 0),
            (&[0x7f, 1], Ok(127), 1),
            (&[0x96, 0x01], Ok(150), 0),
            (&[0xff; 9], Err(WireError::End), 9),
            (&[0xff; 11], Err(WireError::Varint), 11),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Ok(u64::MAX),
                0,
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                Err(WireError::Varint),
                10,
            ),
            (&[], Err(WireError::End), 0),
        ] {
            let mut left = bytes;
            assert_eq!(varint(&mut left), number, "{bytes:?}");
            assert_eq!(left.len(), rest, "{bytes:?}");
        }
        for (code, number) in [
            (0, 0),
            (1, -1),
            (2, 1),
            (u64::MAX, i64::MIN),
            (u64::MAX - 1, i64::MAX),
        ] {
            assert_eq!(zigzag(code), number);
        }
    }

    #[test]
    fn broken_fields_are_errors() {
        for (bytes, error) in [
            (&[0x00, 0x00][..], WireError::Tag),
            (&[0x0b], WireError::Tag),
            (&[0x0f], WireError::Tag),
            (&[0x0a, 0x02, 0x00], WireError::End),
            (&[0x09, 0x00], WireError::End),
            (
                &[
                    0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                ],
                WireError::End,
            ),
        ] {
            assert_eq!(Fields(bytes).next(), Err(error), "{bytes:?}");
        }
    }
}
