//! What clients of InfluxDB ask before they write, answered as InfluxDB 1.8 and 2 answer it: is
//! somebody there, is there my database, may I make it. Databases, buckets and organisations mean
//! nothing here; whichever a client names is there.
//!
//! Questions about data are not answered: InfluxQL and Flux are not spoken.

use pulseboard_shared::Timestamp;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderName, HeaderValue, Method, StatusCode},
    writing::Json,
};
use serde_json::{Value, json};

use crate::{
    base::error::AppError,
    http::{
        self,
        body::{read_bytes, read_json},
        caller,
    },
};

/// What clients compare with: the line protocol, `/query` and `/api/v2/write` are those of 1.8.
const VERSION: &str = concat!("1.8.10-pulseboard-", env!("CARGO_PKG_VERSION"));

/// A name for who names none.
const NAME: &str = "pulseboard";

/// Of the one organisation.
const ORG_ID: &str = "70756c7365000001";

/// Statements of one question.
const STATEMENTS_MAX: usize = 100;

/// When whatever a client names was made.
const MADE: &str = "1970-01-01T00:00:00Z";

/// Where clients look whether somebody is there; `?verbose=true` asks for an answer in JSON.
#[handler]
pub async fn ping(request: &mut Request, response: &mut Response) {
    write_version(response);
    let is_verbose = request.query::<&str>("verbose");
    if is_verbose.is_some_and(|word| !matches!(word, "" | "0" | "false")) {
        response.render(Json(json!({ "version": VERSION })));
    } else {
        response.status_code(StatusCode::NO_CONTENT);
    }
}

/// Where clients ask how the server is.
#[handler]
pub async fn get_health(response: &mut Response) {
    response.render(Json(json!({
        "name": "influxdb",
        "message": "ready for queries and writes",
        "status": "pass",
        "checks": [],
        "version": VERSION,
        "commit": "",
    })));
}

/// Where clients of version 2 ask since when it is ready.
#[handler]
pub async fn get_ready(depot: &mut Depot, response: &mut Response) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let up_s = app.uptime_seconds();
    let started_ms = app.clock.now_ms() - up_s * 1000;
    response.render(Json(json!({
        "status": "ready",
        "started": Timestamp::from_millis(started_ms),
        "up": format!("{}h{}m{}s", up_s / 3600, up_s / 60 % 60, up_s % 60),
    })));
    Ok(())
}

/// Whether somebody has to set the server up first.
#[handler]
pub async fn get_setup(response: &mut Response) {
    response.render(Json(json!({ "allowed": false })));
}

/// The questions of version 1.
#[handler]
pub async fn query(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_write(depot)?;
    let app = http::app::app(depot)?;
    // In the URL as most clients have it, or in a form.
    let mut text = request.query::<String>("q").unwrap_or_default();
    let mut database = request.query::<String>("db").unwrap_or_default();
    if text.is_empty() && request.method() == Method::POST {
        let form = read_bytes(&app, request).await?;
        for (name, value) in form_urlencoded::parse(&form) {
            match &*name {
                "q" => text = value.into_owned(),
                "db" => database = value.into_owned(),
                _ => {}
            }
        }
    }
    write_version(response);
    match answer_all(&text, &database) {
        Ok(results) => response.render(Json(json!({ "results": results }))),
        Err(error) => {
            response.status_code(StatusCode::BAD_REQUEST);
            response.render(Json(json!({ "error": error })));
        }
    }
    Ok(())
}

/// The buckets that there are: the one that was asked for.
#[handler]
pub async fn list_buckets(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_write(depot)?;
    let name = request.query::<String>("name");
    let org_id = request.query::<String>("orgID");
    let bucket = bucket(name.as_deref(), org_id.as_deref());
    response.render(Json(json!({
        "links": { "self": "/api/v2/buckets" },
        "buckets": [bucket],
    })));
    Ok(())
}

/// Makes a bucket; there is nothing to make.
#[handler]
pub async fn make_bucket(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_write(depot)?;
    let app = http::app::app(depot)?;
    let body: Value = read_json(&app, request).await?;
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let Some(name) = text("name").filter(|name| !name.is_empty()) else {
        response.status_code(StatusCode::BAD_REQUEST);
        let wrong = json!({ "code": "invalid", "message": "`name` is needed" });
        response.render(Json(wrong));
        return Ok(());
    };
    response.status_code(StatusCode::CREATED);
    response.render(Json(bucket(Some(name), text("orgID"))));
    Ok(())
}

/// The organisations that there are: the one that was asked for.
#[handler]
pub async fn list_orgs(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_write(depot)?;
    let name = request.query::<String>("org");
    let name = name.unwrap_or_else(|| NAME.to_owned());
    let id = request.query::<String>("orgID");
    let id = id.unwrap_or_else(|| ORG_ID.to_owned());
    response.render(Json(json!({
        "links": { "self": "/api/v2/orgs" },
        "orgs": [{
            "links": { "self": format!("/api/v2/orgs/{id}") },
            "id": id,
            "name": name,
            "description": "",
            "createdAt": MADE,
            "updatedAt": MADE,
        }],
    })));
    Ok(())
}

fn bucket(name: Option<&str>, org_id: Option<&str>) -> Value {
    let name = name.unwrap_or(NAME);
    let id = bucket_id(name);
    json!({
        "links": { "self": format!("/api/v2/buckets/{id}") },
        "id": id,
        "orgID": org_id.unwrap_or(ORG_ID),
        "type": "user",
        "name": name,
        "retentionRules": [{ "type": "expire", "everySeconds": 0 }],
        "createdAt": MADE,
        "updatedAt": MADE,
        "labels": [],
    })
}

/// The same number for the same name (FNV-1a), in the form that clients expect.
fn bucket_id(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn write_version(response: &mut Response) {
    for (name, value) in [("x-influxdb-version", VERSION), ("x-influxdb-build", "OSS")] {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
}

/// One result for each statement.
fn answer_all(text: &str, database: &str) -> Result<Vec<Value>, String> {
    let statements = statements(text);
    if statements.is_empty() {
        return Err("missing required parameter \"q\"".to_owned());
    }
    if statements.len() > STATEMENTS_MAX {
        return Err(format!("more than {STATEMENTS_MAX} statements"));
    }
    let answers = statements.iter().enumerate();
    answers
        .map(|(number, words)| {
            let mut result = json!({ "statement_id": number });
            if let Some(series) = answer(words, database)? {
                result["series"] = json!([series]);
            }
            Ok(result)
        })
        .collect()
}

/// The series that a statement is answered with; `None` for none.
fn answer(words: &[String], database: &str) -> Result<Option<Value>, String> {
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match lower.as_slice() {
        ["show", "databases"] => {
            let mut names = vec![json!([NAME])];
            if !database.is_empty() && database != NAME {
                names.push(json!([database]));
            }
            Ok(Some(json!({
                "name": "databases",
                "columns": ["name"],
                "values": names,
            })))
        }
        ["show", "retention", "policies", ..] => Ok(Some(json!({
            "columns": ["name", "duration", "shardGroupDuration", "replicaN", "default"],
            "values": [["autogen", "0s", "168h0m0s", 1, true]],
        }))),
        ["show", "users"] => Ok(Some(json!({ "columns": ["user", "admin"] }))),
        // Nothing is told of what is there: the role that writes reads nothing.
        ["show", "measurements" | "series" | "tag" | "field", ..]
        | ["create", "database", _, ..]
        | ["create" | "alter", "retention", "policy", _, ..]
        | ["select", "1", ..] => Ok(None),
        _ => Err(format!(
            "InfluxQL is not spoken here ({}); accepted is what clients ask before they write: \
             SHOW DATABASES, SHOW RETENTION POLICIES, CREATE DATABASE and the like; questions go \
             to /api/range",
            words.iter().take(3).cloned().collect::<Vec<_>>().join(" ")
        )),
    }
}

/// The words of each statement; quotes first, `;` second.
fn statements(text: &str) -> Vec<Vec<String>> {
    let mut statements = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for character in text.chars() {
        match (quote, character) {
            (Some(open), other) if other == open => quote = None,
            (Some(_), other) => word.push(other),
            (None, open @ ('"' | '\'')) => quote = Some(open),
            (None, end) if end == ';' || end.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if end == ';' && !words.is_empty() {
                    statements.push(std::mem::take(&mut words));
                }
            }
            (None, other) => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if !words.is_empty() {
        statements.push(words);
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_split_outside_of_quotes() {
        assert_eq!(
            statements("SHOW  DATABASES; create database \"a; b\";"),
            [
                vec!["SHOW", "DATABASES"],
                vec!["create", "database", "a; b"]
            ]
        );
        assert_eq!(statements("x \"y; z"), [["x", "y; z"]]);
        assert!(statements(" ; ;").is_empty());
    }

    #[test]
    fn what_is_not_asked_before_writing_is_refused() {
        for text in [
            "",
            "DROP DATABASE a",
            "SELECT * FROM cpu",
            "CREATE DATABASE",
            "SHOW DATABASES; DROP DATABASE a",
        ] {
            assert!(answer_all(text, "").is_err(), "{text}");
        }
    }
}
