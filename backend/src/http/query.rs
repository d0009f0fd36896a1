//! What the query of a request asks for: of the ticks, from where on and which metrics; of lists,
//! how much.

use pulseboard_engine::NamedSeries;
use pulseboard_feed::Position;
use pulseboard_shared::limits;
use salvo::Request;

use crate::base::error::AppError;

/// `?limit=`: a whole number from 1 to `max`; `default` where it is left out or empty.
///
/// # Errors
/// 400 for anything else.
pub fn limit(request: &Request, default: usize, max: usize) -> Result<usize, AppError> {
    let said = request.query::<&str>("limit");
    let Some(text) = said.filter(|text| !text.is_empty()) else {
        return Ok(default);
    };
    let read = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    read.ok_or_else(|| {
        AppError::bad_query("limit", format!("accepted: a whole number from 1 to {max}"))
    })
}

/// The position that `?epoch=E&offset=N` names.
///
/// # Errors
/// 400 for an offset that is no whole number.
pub fn resume_position(request: &Request) -> Result<Option<Position>, AppError> {
    match (
        request.query::<String>("epoch"),
        request.query::<String>("offset"),
    ) {
        (Some(epoch), Some(offset)) => {
            if offset.is_empty() || !offset.bytes().all(|byte| byte.is_ascii_digit()) {
                let shown: String = offset.chars().take(40).collect();
                return Err(AppError::bad_query(
                    "offset",
                    format!("{shown:?} is not a whole number ≥ 0"),
                ));
            }
            // However large: an offset that was never given is one that is not held.
            let offset = offset.parse().unwrap_or(u64::MAX);
            Ok(Some(Position { epoch, offset }))
        }
        _ => Ok(None),
    }
}

/// The names that `?metrics=a,b` subscribes to.
///
/// # Errors
/// 400 for one that is neither a metric's name nor a series' key.
pub fn asked_metrics(request: &Request) -> Result<Vec<String>, AppError> {
    let names = request.query::<String>("metrics").unwrap_or_default();
    // A comma between a series' labels is not one between names.
    let (mut is_inside, mut is_quoted, mut is_escaped) = (false, false, false);
    let between = |character: char| {
        let was_escaped = std::mem::replace(&mut is_escaped, is_quoted && character == '\\');
        match character {
            '"' if !(is_escaped || was_escaped) => is_quoted = !is_quoted,
            '{' if !is_quoted => is_inside = true,
            '}' if !is_quoted => is_inside = false,
            _ => {}
        }
        is_escaped &= !was_escaped;
        character == ',' && !is_inside
    };
    let names: Vec<String> = names
        .split(between)
        .filter(|name| !name.is_empty())
        .take(limits::SUBSCRIBED_METRICS_MAX)
        .map(str::to_owned)
        .collect();
    check_names(&names).map_err(|problem| AppError::bad_query("metrics", problem))?;
    Ok(names)
}

/// A name is a metric's, or a series' whole key: no selector, which may name anything.
///
/// # Errors
/// Which one is neither, in words for the client.
pub fn check_names(names: &[String]) -> Result<(), String> {
    names.iter().try_for_each(|name| {
        let named = NamedSeries::parse(name).map(drop);
        named.map_err(|error| {
            let shown: String = name.chars().take(80).collect();
            format!("{shown:?} names no series: {error}")
        })
    })
}
