//! What an answer gets once it is made, whoever made it: its date, and where somebody asks what a
//! path of Prometheus' API takes, the word that nothing is wrong with asking.

use std::cell::RefCell;

use pulseboard_shared::timestamp::civil_from_days;
use salvo::http::{HeaderMap, HeaderValue, Method, ResBody, StatusCode, header};

thread_local! {
    /// The date of the second that was asked for last.
    static NEWEST: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Says when an answer was made, by the server's clock, which may be set back: hyper's own date
/// waits until it is past again.
pub(super) fn set_date(headers: &mut HeaderMap, now_ms: i64) {
    let second = now_ms.div_euclid(1_000);
    let date = NEWEST.with_borrow_mut(|newest| match newest {
        Some((known, date)) if *known == second => Some(date.clone()),
        _ => {
            let date = HeaderValue::try_from(date(second)).ok()?;
            *newest = Some((second, date.clone()));
            Some(date)
        }
    });
    if let Some(date) = date {
        headers.insert(header::DATE, date);
    }
}

/// A Unix time as HTTP writes it (RFC 9110 §5.6.7).
fn date(second: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = second.div_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    let name = |names: &[&'static str], at: i64| {
        let name = usize::try_from(at).ok().and_then(|at| names.get(at));
        name.copied().unwrap_or_default()
    };
    let of_day = second.rem_euclid(86_400);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Whether somebody asks what a path of Prometheus' API takes.
pub(super) fn asks_for_methods<B>(request: &hyper::Request<B>) -> bool {
    *request.method() == Method::OPTIONS && request.uri().path().starts_with("/api/v1/")
}

/// The answer to that, made of the refusal that names the methods: 204, as Prometheus gives.
pub(super) fn tell_methods(response: &mut hyper::Response<ResBody>) {
    let allow = response.headers().get(header::ALLOW);
    let Some(allow) = allow.and_then(|allow| allow.to_str().ok()) else {
        return;
    };
    let Ok(allow) = HeaderValue::try_from(format!("{allow}, OPTIONS")) else {
        return;
    };
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return;
    }
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.body_mut() = ResBody::None;
    let headers = response.headers_mut();
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
    ] {
        headers.remove(name);
    }
    headers.insert(header::ALLOW, allow);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_http_writes_it() {
        for (second, written) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_795_981_648, "Sun, 29 Nov 2026 19:47:28 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] {
            assert_eq!(date(second), written);
        }
    }

    #[test]
    fn a_date_is_kept_for_its_second_and_follows_the_clock_back() {
        let mut headers = HeaderMap::new();
        for (now_ms, written) in [
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            set_date(&mut headers, now_ms);
            assert_eq!(headers[header::DATE], written);
        }
    }
}
