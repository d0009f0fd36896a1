//! Frames of gRPC: a message behind one byte that says whether it is packed, and four of its
//! length.

/// Where the collector's protocol has its one method.
pub const PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Bytes before a message.
pub const PREFIX_BYTES: usize = 5;

/// Takes the prefix off the one message of a call; whether it is packed.
///
/// # Errors
/// It is not one message; the text says why.
pub fn unframe(body: &mut Vec<u8>) -> Result<bool, String> {
    let Some((&[flag, a, b, c, d], message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err("the call has no message".to_owned());
    };
    let (said, there) = (u32::from_be_bytes([a, b, c, d]) as usize, message.len());
    if said != there {
        return Err(format!(
            "the message says that it has {said} bytes, and {there} came; a call has one message"
        ));
    }
    if flag > 1 {
        return Err(format!(
            "the message has the flag {flag}; there are 0 and 1"
        ));
    }
    body.drain(..PREFIX_BYTES);
    Ok(flag == 1)
}

/// A message with its prefix, not packed.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_message() {
        for (body, read) in [
            (&[0, 0, 0, 0, 0][..], Some((false, &[][..]))),
            (&[1, 0, 0, 0, 2, 7, 8], Some((true, &[7, 8]))),
            (&[], None),
            (&[0, 0, 0, 0], None),
            (&[0, 0, 0, 0, 1], None),
            (&[0, 0, 0, 0, 1, 7, 8], None),
            (&[0, 0xff, 0xff, 0xff, 0xff, 7], None),
            (&[2, 0, 0, 0, 1, 7], None),
        ] {
            let mut body = body.to_vec();
            let is_packed = unframe(&mut body).ok();
            assert_eq!(is_packed.map(|packed| (packed, &*body)), read);
        }
        let mut framed = frame(&[7, 8]);
        assert_eq!(unframe(&mut framed), Ok(false));
        assert_eq!(framed, [7, 8]);
    }
}
