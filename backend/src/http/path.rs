//! Each endpoint has one path: what a proxy's rule forbids must not be reached by another spelling.

use percent_encoding::percent_decode_str;
use salvo::Request;

use super::routes::{self, Owner};
use crate::base::error::AppError;

/// What a request's path says at a place that its route names.
///
/// # Errors
/// 400: unescaped it is not UTF-8.
pub fn named(request: &Request, place: &str) -> Result<String, AppError> {
    match is_text(request.uri().path()) {
        true => Ok(request.param(place).unwrap_or_default()),
        false => Err(AppError::bad_request(format!(
            "the path is not UTF-8 where it says the {place}"
        ))),
    }
}

/// Whether a path is UTF-8 once it is unescaped.
fn is_text(path: &str) -> bool {
    percent_decode_str(path).decode_utf8().is_ok()
}

/// Whether a path is written in the one way that it has: without empty segments but at its
/// beginning, without `.` and `..`, without a slash at the end of an endpoint's, and without
/// escapes of characters that need none (RFC 3986 §6.2.2).
#[must_use]
pub fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return path == "*";
    };
    // As Datadog's agent writes it, and as links to Prometheus' page are written.
    if ["datadog/intake/", "graph/", "alerts/"].contains(&rest) {
        return true;
    }
    let rest = match rest.strip_suffix('/') {
        // The page's own views and the documents' folder are files, and may be named as folders.
        Some(folder) if !folder.is_empty() && routes::owner(folder) != Owner::Api => folder,
        _ => rest,
    };
    // Doors of names that may have slashes in them; elsewhere an escaped one would be another way
    // to write a slash.
    let doors = ["api/rooms/", "api/receivers/", "metrics/job"];
    let named = doors.iter().any(|door| rest.starts_with(door));
    let hides_slash = !named && rest.to_ascii_lowercase().contains("%2f");
    rest.is_empty() || !hides_slash && rest.split('/').all(is_plain_segment)
}

fn is_plain_segment(segment: &str) -> bool {
    if matches!(segment, "" | "." | "..") {
        return false;
    }
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let escaped = rest
            .get(at + 1..at + 3)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(byte) if !byte.is_ascii_alphanumeric() && !b"-._".contains(&byte) && byte != 0 => {
                rest = rest.get(at + 3..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text_or_not() {
        assert!(is_text("/api/v1/label/%C3%A4%E2%82%AC/values") && is_text("/%"));
        for path in ["/%ff", "/a%C3/b", "/%80", "/%ED%A0%80", "/%C0%AF"] {
            assert!(!is_text(path), "{path}");
        }
    }

    #[test]
    fn each_door_has_one_spelling() {
        for path in [
            "/",
            "*",
            "/api/tokens",
            "/api/rooms/a%2Fb%3Ac/events",
            "/api/receivers/team%2Fops/test",
            "/metrics/job/a%20b/label/%C3%A4~",
            "/assets/page.js",
            "/operator/",
            "/datadog/intake/",
            "/graph/",
            "/alerts/",
            "/docs/",
            "/.well-known/x",
        ] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "",
            "api",
            "//",
            "//api/tokens",
            "/api//tokens",
            "/api/tokens/",
            "/api/tokens//",
            "/api/./tokens",
            "/api/x/../tokens",
            "/api/%74okens",
            "/api%2Ftokens",
            "/api/tokens%2f0",
            "/api/tokens%",
            "/api/tokens%2",
            "/api/tokens%zz",
            "/api/tokens%00",
            "/%61pi/tokens",
            "/api/%2e%2E/tokens",
            "/metrics/",
            "/version/",
            "/graph//",
            "/ws/",
            "/docs//",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
