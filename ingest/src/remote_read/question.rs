//! The questions of a request.

use crate::{
    BodyError,
    wire::{Fields, WireError, signed},
};

/// Questions of one request; Prometheus sends one.
const QUESTIONS_MAX: usize = 64;

/// Matchers of one question.
const MATCHERS_MAX: usize = 128;

/// What a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its questions, in order.
    pub questions: Vec<Question>,
    /// Whether it takes XOR chunks in frames, and would rather have them than samples.
    pub is_streamed: bool,
}

/// Series, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// First moment, Unix milliseconds.
    pub start_ms: i64,
    /// Last moment, included.
    pub end_ms: i64,
    /// What labels are to be.
    pub matchers: Vec<Matcher>,
}

/// What one label is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// How it is compared.
    pub kind: MatchKind,
    /// The label.
    pub name: String,
    /// With what.
    pub value: String,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKind {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// Reads an unpacked `prometheus.ReadRequest`.
///
/// # Errors
/// It is not such a message, or has more than 64 questions or 128 matchers in one.
pub fn parse(message: &[u8]) -> Result<Request, BodyError> {
    read(message).map_err(|error| match error {
        Failed::Wire(error) => error.in_body("remote read request"),
        Failed::Is(why) => BodyError::Protobuf {
            what: "remote read request",
            why,
        },
    })
}

enum Failed {
    Wire(WireError),
    Is(String),
}

impl From<WireError> for Failed {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

fn read(message: &[u8]) -> Result<Request, Failed> {
    let mut request = Request::default();
    // The first type that is known is taken; without any, samples.
    let mut accepted: Option<u64> = None;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 if request.questions.len() >= QUESTIONS_MAX => {
                return Err(Failed::Is(format!(
                    "it has more than {QUESTIONS_MAX} queries"
                )));
            }
            1 => request.questions.push(question(field.bytes(1)?)?),
            // A list of enums comes packed, or one by one.
            2 => match field {
                crate::wire::Value::Bytes(packed) => {
                    if let Some(first) = packed.first() {
                        accepted.get_or_insert(u64::from(*first));
                    }
                }
                other => {
                    accepted.get_or_insert(other.varint(2)?);
                }
            },
            _ => {}
        }
    }
    request.is_streamed = accepted == Some(1);
    Ok(request)
}

fn question(message: &[u8]) -> Result<Question, Failed> {
    let mut question = Question::default();
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => question.start_ms = signed(field.varint(1)?),
            2 => question.end_ms = signed(field.varint(2)?),
            3 if question.matchers.len() >= MATCHERS_MAX => {
                return Err(Failed::Is(format!(
                    "a query has more than {MATCHERS_MAX} matchers"
                )));
            }
            3 => question.matchers.push(matcher(field.bytes(3)?)?),
            _ => {}
        }
    }
    Ok(question)
}

fn matcher(message: &[u8]) -> Result<Matcher, Failed> {
    let mut matcher = Matcher {
        kind: MatchKind::Equal,
        name: String::new(),
        value: String::new(),
    };
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                matcher.kind = match field.varint(1)? {
                    0 => MatchKind::Equal,
                    1 => MatchKind::NotEqual,
                    2 => MatchKind::Regex,
                    3 => MatchKind::NotRegex,
                    other => return Err(Failed::Is(format!("there is no matcher type {other}"))),
                }
            }
            2 => matcher.name = field.text(2)?.to_owned(),
            3 => matcher.value = field.text(3)?.to_owned(),
            _ => {}
        }
    }
    Ok(matcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read() {
        // Of Prometheus 2.42, for `up{job!="a"}` in streamed form.
        let message = [
            0x0a, 0x24, 0x08, 0xe8, 0x07, 0x10, 0xd0, 0x0f, // start 1000, end 2000
            0x1a, 0x0e, 0x12, 0x08, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x1a, 0x02,
            b'u', b'p', 0x1a, 0x0a, 0x08, 0x01, 0x12, 0x03, b'j', b'o', b'b', 0x1a, 0x01, b'a',
            0x22, 0x00, // hints
            0x12, 0x02, 0x01, 0x00,
        ];
        let request = parse(&message).expect("a request");
        assert!(request.is_streamed);
        let question = &request.questions[0];
        assert_eq!((question.start_ms, question.end_ms), (1000, 2000));
        let matcher = |kind, name: &str, value: &str| Matcher {
            kind,
            name: name.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(
            question.matchers,
            [
                matcher(MatchKind::Equal, "__name__", "up"),
                matcher(MatchKind::NotEqual, "job", "a"),
            ]
        );
        assert!(parse(&[0x0a, 0x05, 0x08]).is_err());
    }
}
