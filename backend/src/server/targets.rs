//! What people write into addresses without encoding it: `curl -g
//! 'http://HOST/…?query=up{job="a"}'`, as the manuals of Prometheus have it. The library refuses a
//! request whose target has `"`, `<`, `>` or `|` in it before anybody can say why; so these are
//! encoded (RFC 3986 §2.1) on the way from the socket. What they mean stays the same.
//!
//! Only request lines are touched. Where the first one is on a connection is known, and where the
//! next one is as long as requests have no body: whatever follows a head that speaks of a body, or
//! of another protocol, is left as it is, for good.

/// Names of headers after which what follows a head is no request, or may be none. In small
/// letters.
const ENDS: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"upgrade"];

/// More than the longest of them.
const NAME_BYTES: usize = 20;

/// Bytes that one byte becomes at most.
pub(super) const LONGEST: usize = 3;

/// Where in the bytes of a connection the next one stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Targets {
    /// In a request line, or before one; with how much of it has been seen.
    Line(usize),
    /// In a header: its name as far as it has been seen, in small letters, and how long that is.
    Name([u8; NAME_BYTES], usize),
    /// In what a header says.
    Said,
    /// Behind what is looked at.
    Through,
}

impl Targets {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self::Line(0)
    }

    /// Whether nothing is changed any more.
    pub(super) const fn is_through(self) -> bool {
        matches!(self, Self::Through)
    }

    /// Hands on what came, piece by piece: at most [`LONGEST`] times as much.
    pub(super) fn pass(&mut self, bytes: &[u8], mut put: impl FnMut(&[u8])) {
        let mut done = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if self.is_through() {
                break;
            }
            if let Some(encoded) = self.next(*byte) {
                put(bytes.get(done..at).unwrap_or_default());
                put(encoded);
                done = at + 1;
            }
        }
        put(bytes.get(done..).unwrap_or_default());
    }

    /// Goes on by a byte; what is to stand in its place.
    fn next(&mut self, byte: u8) -> Option<&'static [u8]> {
        match (*self, byte) {
            (_, b'\r') | (Self::Through, _) => {}
            // Blank lines before a request say nothing.
            (Self::Line(0), b'\n') => {}
            (Self::Line(_), b'\n') | (Self::Said, b'\n') => *self = Self::Name([0; NAME_BYTES], 0),
            // The blank line that ends a head.
            (Self::Name(_, 0), b'\n') => *self = Self::Line(0),
            (Self::Name(..), b'\n') => *self = Self::Name([0; NAME_BYTES], 0),
            (Self::Line(seen), byte) => {
                *self = Self::Line(seen.saturating_add(1));
                return match byte {
                    b'"' => Some(b"%22"),
                    b'<' => Some(b"%3C"),
                    b'>' => Some(b"%3E"),
                    b'|' => Some(b"%7C"),
                    _ => None,
                };
            }
            (Self::Name(name, length), b':') => {
                *self = match ENDS.contains(&name.get(..length).unwrap_or_default()) {
                    true => Self::Through,
                    false => Self::Said,
                };
            }
            (Self::Name(mut name, length), byte) => {
                *self = match name.get_mut(length) {
                    Some(place) => {
                        *place = byte.to_ascii_lowercase();
                        Self::Name(name, length + 1)
                    }
                    // Longer than any that is looked for.
                    None => Self::Said,
                };
            }
            (Self::Said, _) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of bytes, in pieces of one length.
    fn passed(bytes: &str, piece: usize) -> String {
        let mut targets = Targets::new();
        let mut all = Vec::new();
        for piece in bytes.as_bytes().chunks(piece) {
            let before = all.len();
            targets.pass(piece, |bytes| all.extend_from_slice(bytes));
            assert!(all.len() - before <= LONGEST * piece.len());
        }
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn request_lines_are_encoded_and_nothing_else_is() {
        let get = "GET /q?x{a=\"<|>\"} HTTP/1.1\r\nA: \"<|>\"\r\nAn-Even-Longer-Name-Than-All: \"\r\n\r\n";
        let got = get.replacen("\"<|>\"", "%22%3C%7C%3E%22", 1);
        let post = "POST /\"a HTTP/1.1\nConTent-Length: 3\n\n\"<>GET /\" HTTP/1.1\r\n\r\n";
        let posted = post.replacen("/\"a", "/%22a", 1);
        let upgrade = "GET /\" HTTP/1.1\r\nUpgrade: x\r\n\r\n\"|\r\n\r\n\"";
        let upgraded = upgrade.replacen('"', "%22", 1);
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\"\r\n0\r\n\r\n\"";
        for (bytes, expected) in [
            ([get, get].concat(), [&*got, &got].concat()),
            (
                ["\r\n\n", get, "\r\n", post].concat(),
                ["\r\n\n", &got, "\r\n", &posted].concat(),
            ),
            ([get, upgrade].concat(), [&*got, &upgraded].concat()),
            (chunked.to_owned(), chunked.to_owned()),
            (
                "GET / HTTP/1.1\r\n\"no header\r\n\r\n\"".to_owned(),
                "GET / HTTP/1.1\r\n\"no header\r\n\r\n%22".to_owned(),
            ),
        ] {
            for piece in [1, 2, 7, 10_000] {
                assert_eq!(passed(&bytes, piece), expected, "{piece}");
            }
        }
    }
}
