//! Who asks: one question, answered by samples.

use super::{
    answer::{bytes_field, varint_field},
    question::{MatchKind, Question},
};
use crate::{
    BodyError,
    wire::{Fields, WireError, signed},
};

/// Labels of one series; what has more is no series of ours.
const LABELS_MAX: usize = 256;

/// A `prometheus.ReadRequest` with this question, which is to be answered by samples.
#[must_use]
pub fn ask(question: &Question) -> Vec<u8> {
    let mut query = Vec::new();
    varint_field(1, question.start_ms, &mut query);
    varint_field(2, question.end_ms, &mut query);
    for matcher in &question.matchers {
        let kind = match matcher.kind {
            MatchKind::Equal => 0,
            MatchKind::NotEqual => 1,
            MatchKind::Regex => 2,
            MatchKind::NotRegex => 3,
        };
        let mut one = Vec::new();
        varint_field(1, kind, &mut one);
        bytes_field(2, matcher.name.as_bytes(), &mut one);
        bytes_field(3, matcher.value.as_bytes(), &mut one);
        bytes_field(3, &one, &mut query);
    }
    let mut request = Vec::new();
    bytes_field(1, &query, &mut request);
    // SAMPLES, packed.
    bytes_field(2, &[0], &mut request);
    request
}

/// Who is handed a series: its labels as they come, and its samples (Unix milliseconds and value).
/// `false` ends the reading.
pub type Each<'e, 'm> = dyn FnMut(&mut Vec<(&'m str, &'m str)>, &mut Vec<(i64, f64)>) -> bool + 'e;

/// Hands every series of an unpacked `prometheus.ReadResponse` to `each`.
///
/// # Errors
/// It is not such a message.
pub fn answer<'m>(message: &'m [u8], each: &mut Each<'_, 'm>) -> Result<(), BodyError> {
    read(message, each).map_err(|error| error.in_body("remote read response"))
}

fn read<'m>(message: &'m [u8], each: &mut Each<'_, 'm>) -> Result<(), WireError> {
    let (mut labels, mut samples) = (Vec::new(), Vec::new());
    let mut results = Fields(message);
    while let Some((number, field)) = results.next()? {
        if number != 1 {
            continue;
        }
        let mut result = Fields(field.bytes(1)?);
        while let Some((number, field)) = result.next()? {
            if number != 1 {
                continue;
            }
            labels.clear();
            samples.clear();
            series(field.bytes(1)?, &mut labels, &mut samples)?;
            if !each(&mut labels, &mut samples) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn series<'m>(
    message: &'m [u8],
    labels: &mut Vec<(&'m str, &'m str)>,
    samples: &mut Vec<(i64, f64)>,
) -> Result<(), WireError> {
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 if labels.len() == LABELS_MAX => return Err(WireError::Symbols(LABELS_MAX)),
            1 => labels.push(label(field.bytes(1)?)?),
            2 => samples.push(sample(field.bytes(2)?)?),
            _ => {}
        }
    }
    Ok(())
}

fn label(message: &[u8]) -> Result<(&str, &str), WireError> {
    let mut label = ("", "");
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => label.0 = field.text(1)?,
            2 => label.1 = field.text(2)?,
            _ => {}
        }
    }
    Ok(label)
}

fn sample(message: &[u8]) -> Result<(i64, f64), WireError> {
    let mut sample = (0, 0.0);
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => sample.1 = field.double(1)?,
            2 => sample.0 = signed(field.varint(2)?),
            _ => {}
        }
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_read::{Matcher, parse, result, series_samples};

    #[test]
    fn a_question_is_read_as_it_was_asked() {
        let kinds = [
            MatchKind::Equal,
            MatchKind::NotEqual,
            MatchKind::Regex,
            MatchKind::NotRegex,
        ];
        let matchers = kinds.map(|kind| Matcher {
            kind,
            name: "a".to_owned(),
            value: "b.*".to_owned(),
        });
        let question = Question {
            start_ms: -5,
            end_ms: 1 << 40,
            matchers: matchers.to_vec(),
        };
        let request = parse(&ask(&question)).expect("a request");
        assert_eq!(request.questions, [question]);
        assert!(!request.is_streamed);
    }

    #[test]
    fn an_answer_is_read_as_it_was_told_and_damage_is_no_panic() {
        let mut told = Vec::new();
        let samples = [(-1_000, 1.5), (2_000, f64::INFINITY)];
        let labels = [("__name__", "up"), ("job", "x")];
        series_samples(labels.into_iter(), &samples, &mut told);
        series_samples([("__name__", "down")].into_iter(), &[], &mut told);
        let mut message = Vec::new();
        result(&told, &mut message);
        let mut seen = Vec::new();
        answer(&message, &mut |labels, samples| {
            seen.push((labels.clone(), samples.clone()));
            true
        })
        .expect("an answer");
        assert_eq!(seen[0], (labels.to_vec(), samples.to_vec()));
        assert_eq!(seen[1], (vec![("__name__", "down")], vec![]));
        let mut count = 0;
        answer(&message, &mut |_, _| {
            count += 1;
            false
        })
        .expect("an answer");
        assert_eq!(count, 1, "it ends when nobody wants more");
        for cut in 0..message.len() {
            drop(answer(&message[..cut], &mut |_, _| true));
        }
    }
}
