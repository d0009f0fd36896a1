//! `ETag` and `If-Match` of what has a revision (RFC 9110 §13.1.1): who changes it says which state
//! was read, and nothing that somebody else changed meanwhile is lost.

use salvo::{
    Request,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};

use crate::base::{
    documents::{Expected, Revision},
    error::AppError,
};

/// Tags of one request.
const TAGS_MAX: usize = 64;

/// The tag of a state.
#[must_use]
pub fn tag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\""))
        .unwrap_or_else(|_never| HeaderValue::from_static("\"\""))
}

/// What a request expects of a thing that is there and has this revision, 0 where it was never
/// changed; `None` where it says nothing of it.
///
/// # Errors
/// 412 for another state, 400 for what is no list of tags.
pub fn expected(request: &Request, revision: u64) -> Result<Option<Expected>, AppError> {
    let mut tags = Vec::new();
    for line in request.headers().get_all(header::IF_MATCH) {
        let read = line.to_str().ok().and_then(read);
        tags.extend(read.ok_or_else(malformed)?);
    }
    if tags.len() > TAGS_MAX {
        return Err(malformed());
    }
    match tags.as_slice() {
        [] => Ok(None),
        ["*"] => Ok(Some(Expected::Any)),
        tags if tags.contains(&revision.to_string().as_str()) => Ok(Some(match revision {
            0 => Expected::New,
            revision => Expected::Revision(Revision(revision)),
        })),
        _ => Err(changed()),
    }
}

/// What header and body expect: where both name a state, it is one.
///
/// # Errors
/// 412 for two.
pub fn both(by_header: Option<Expected>, by_body: Expected) -> Result<Expected, AppError> {
    match (by_header, by_body) {
        (None | Some(Expected::Any), by_body) => Ok(by_body),
        (Some(by_header), Expected::Any) => Ok(by_header),
        (Some(by_header), by_body) if by_header == by_body => Ok(by_header),
        _ => Err(changed()),
    }
}

/// 412: somebody was faster.
#[must_use]
pub fn changed() -> AppError {
    AppError::new(
        StatusCode::PRECONDITION_FAILED,
        "somebody has changed it meanwhile: read it again",
    )
}

fn malformed() -> AppError {
    AppError::bad_request("If-Match is * or the ETag that was read, in quotes")
}

/// What is in the quotes. A proxy that packs answers makes tags weak: they are the same state.
fn read(line: &str) -> Option<Vec<&str>> {
    if line.trim() == "*" {
        return Some(vec!["*"]);
    }
    let tags = line.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
        .map(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
            (!tag.contains(['"', '*'])).then_some(tag)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        for (line, tags) in [
            ("*", Some(vec!["*"])),
            ("\"5\"", Some(vec!["5"])),
            (" W/\"5\" , \"a\",", Some(vec!["5", "a"])),
            ("5", None),
            ("\"5", None),
            ("\"", None),
            ("\"*\"", None),
        ] {
            assert_eq!(read(line), tags, "{line}");
        }
        assert_eq!(tag(7), "\"7\"");
    }
}
