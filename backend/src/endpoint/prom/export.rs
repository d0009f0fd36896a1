//! `/api/v1/export`: series with all their samples, taken along as lines of JSON or as CSV.

use pulseboard_engine::{
    Selector,
    query::{self, Counting},
};
use pulseboard_promql::ast;
use pulseboard_series::{KeyRef, is_stale_marker};
use pulseboard_shared::Timestamp;
use salvo::{Depot, Request, Response, handler};

use super::{
    answer::{ApiError, number, push_label, send},
    asking::Asking,
};
use crate::{
    base::json::json_text,
    expressions::selector,
    http::pieces::{Ended, Pieces},
};

/// Samples of one line; a series of more has several.
const LINE_SAMPLES: usize = 10_000;

#[derive(Clone, Copy)]
enum Format {
    Json,
    Csv,
}

/// Every sample of the series that `match[]` names, from `start` to `end`.
#[handler]
pub async fn export(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    if let Err(error) = try_export(request, depot, response).await {
        send(response, Err(error));
    }
}

async fn try_export(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), ApiError> {
    let asking = Asking::begin(request, depot).await?;
    needs_match(&asking)?;
    let format = match asking.params.get("format") {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some(_) => {
            return Err(ApiError::BadData(
                "invalid parameter \"format\": json or csv is expected".to_owned(),
            ));
        }
    };
    let (start_ms, end_ms) = asking.params.span()?;
    let stretch = (
        start_ms.unwrap_or(i64::MIN),
        end_ms.unwrap_or(i64::MAX).saturating_add(1),
    );
    let content_type = match format {
        Format::Json => "application/stream+json",
        Format::Csv => "text/csv; charset=utf-8; header=present",
    };
    let write = move |asking: &Asking, answer: &mut Pieces| {
        if matches!(format, Format::Csv) {
            answer.write(b"series,time,time_ms,value\r\n")?;
        }
        let named = asking.params.selectors()?;
        each_of(
            (asking, &named),
            answer,
            stretch,
            true,
            &mut |key, samples, answer| match format {
                Format::Json => lines(key, samples, answer),
                Format::Csv => cells(key, samples, answer),
            },
        )
    };
    asking.write(request, response, content_type, write).await
}

/// Who names no series at all made a mistake: an empty answer would hide it.
///
/// # Errors
/// There is no `match[]`.
fn needs_match(asking: &Asking) -> Result<(), ApiError> {
    asking
        .params
        .get("match[]")
        .map(drop)
        .ok_or_else(|| ApiError::BadData("no match[] parameter provided".to_owned()))
}

/// Writes a series with its samples, or a piece of it.
pub(super) type EachSeries<'a> =
    dyn FnMut(KeyRef<'_>, &[(i64, f64)], &mut Pieces) -> Result<(), Ended> + 'a;

/// Calls `each` with every series that any selector names, once.
pub(super) fn each_series(
    asked: (&Asking, &[ast::Selector]),
    answer: &mut Pieces,
    stretch: (i64, i64),
    each: &mut EachSeries<'_>,
) -> Result<(), Ended> {
    each_of(asked, answer, stretch, false, each)
}

/// As [`each_series`]; where it may come in pieces, with one of many samples piece by piece, oldest
/// first.
fn each_of(
    (asking, named): (&Asking, &[ast::Selector]),
    answer: &mut Pieces,
    stretch: (i64, i64),
    in_pieces: bool,
    each: &mut EachSeries<'_>,
) -> Result<(), Ended> {
    let selectors: Vec<Selector> = named
        .iter()
        .map(|one| match one.matchers.is_empty() {
            true => Ok(Selector::all()),
            false => selector(&one.matchers).map_err(ApiError::BadData),
        })
        .collect::<Result<_, ApiError>>()?;
    let cost = std::sync::Arc::clone(&answer.cost);
    for (index, selector) in selectors.iter().enumerate() {
        let before = selectors.get(..index).unwrap_or_default();
        let engine = &asking.app.storage.engine;
        let is_new = |key: KeyRef<'_>| !before.iter().any(|selector| selector.takes(key));
        let tenant = &asking.tenant;
        let mut take = |key: KeyRef<'_>, samples: &[(i64, f64)]| {
            if is_new(key) {
                each(key, samples, answer)?;
            }
            // They are written, however many follow.
            cost.forget_samples();
            Ok::<_, Ended>(())
        };
        match in_pieces {
            true => query::raw_in_pieces(engine, tenant, selector, stretch, &cost, &mut take),
            false => query::raw(
                engine,
                tenant,
                selector,
                stretch,
                (&cost, Counting::Read),
                &mut take,
            ),
        }?;
    }
    Ok(())
}

/// A series as lines of JSON: its labels, values and times.
fn lines(key: KeyRef<'_>, samples: &[(i64, f64)], answer: &mut Pieces) -> Result<(), Ended> {
    let mut metric = String::from("{\"metric\":{");
    push_label("__name__", key.name(), &mut metric);
    for (name, value) in key.labels() {
        metric.push(',');
        push_label(name, value, &mut metric);
    }
    metric.push_str("},\"values\":[");
    for part in samples.chunks(LINE_SAMPLES) {
        answer.write(metric.as_bytes())?;
        for (index, (_, value)) in part.iter().enumerate() {
            if index > 0 {
                answer.write(b",")?;
            }
            match value {
                value if is_stale_marker(*value) => answer.write(b"null")?,
                value if value.is_finite() => answer.write(number(*value).as_bytes())?,
                value => answer.write(json_text(&number(*value)).as_bytes())?,
            }
        }
        answer.write(b"],\"timestamps\":[")?;
        for (index, (at_ms, _)) in part.iter().enumerate() {
            if index > 0 {
                answer.write(b",")?;
            }
            answer.write(at_ms.to_string().as_bytes())?;
        }
        answer.write(b"]}\n")?;
    }
    Ok(())
}

/// A series as rows of CSV (RFC 4180), one a sample; staleness markers are left out.
fn cells(key: KeyRef<'_>, samples: &[(i64, f64)], answer: &mut Pieces) -> Result<(), Ended> {
    let series = cell(&key.to_string());
    for (at_ms, value) in samples.iter().filter(|(_, value)| !is_stale_marker(*value)) {
        let time = Timestamp::from_millis(*at_ms);
        let row = format!("{series},{time},{at_ms},{}\r\n", number(*value));
        answer.write(row.as_bytes())?;
    }
    Ok(())
}

/// A text as a cell that no spreadsheet takes for a formula, quoted where RFC 4180 wants it.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("a", "a"),
            ("=1+1", "'=1+1"),
            ("@a", "'@a"),
            ("a{b=\"c\"}", "\"a{b=\"\"c\"\"}\""),
            ("-a,b", "\"'-a,b\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
