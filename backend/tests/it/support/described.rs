//! Holds every answer against the description of the API (`openapi.json`): a test that asks for
//! anything fails where the description does not say what came.

use std::sync::LazyLock;

use jsonschema::Validator;
use pulseboard::http::routes::{Owner, ROUTES, owner};
use serde_json::{Value, json};

/// The description that the server hands out.
static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(pulseboard::http::docs::OPENAPI).expect("JSON"));

/// What is said of an answer of `method` at `path`; `None` where the path is not described (it is
/// the page's, or wrong on purpose).
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    // One path is taken with a stroke at its end, too.
    let path = match path {
        "/datadog/intake/" => "/datadog/intake",
        path => path,
    };
    let described = paths.get(path).or_else(|| {
        let fitting = paths.iter().find(|(template, _)| fits(template, path));
        fitting.map(|(_, item)| item)
    })?;
    let method = method.to_lowercase();
    described.get(if method == "head" { "get" } else { &*method })
}

/// Whether a path is one of `/api/rooms/{room}/events`. The description has no sign for a name that
/// stands for all segments that follow; the table of routes has.
fn fits(template: &str, path: &str) -> bool {
    let is_rest = ROUTES.iter().any(|route| {
        route.path.contains("{**") && format!("/{}", route.path.replace("{**", "{")) == template
    });
    let (known, given) = (template.split('/').count(), path.split('/').count());
    template.contains('{')
        && (known == given || is_rest && given > known)
        && template
            .split('/')
            .zip(path.split('/'))
            .all(|(known, given)| known == given || known.starts_with('{') && !given.is_empty())
}

/// Follows a reference within the description.
fn resolved(mut value: &'static Value) -> &'static Value {
    while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
        let pointer = reference.trim_start_matches('#');
        value = DESCRIPTION
            .pointer(pointer)
            .expect("a reference that leads somewhere");
    }
    value
}

const PROBLEM: &str = "application/problem+json";

/// Asserts that an answer is one that the description has. `texts`: its JSON, one for each line
/// where it has lines; none where it was not read.
pub(crate) fn check(method: &str, path: &str, status: u16, media_type: &str, texts: &[Value]) {
    let asked = format!("{method} {path}: {status} {media_type}");
    if media_type == PROBLEM {
        let problem = json!({ "$ref": "#/components/schemas/Problem" });
        for text in texts {
            assert_fits(&problem, text, &asked);
        }
    }
    let Some(operation) = operation(method, path) else {
        let is_ours = owner(path) == Owner::Api && method != "OPTIONS";
        assert!(
            !is_ours || status >= 300,
            "{asked}, and it is not described"
        );
        return;
    };
    let Some(answer) = operation["responses"].get(status.to_string()) else {
        // What any request may meet, whatever it asks for, is said once for all of them.
        assert!(
            matches!(
                status,
                304 | 400 | 401 | 403 | 405 | 408 | 413 | 421 | 429 | 431 | 500 | 503
            ),
            "{asked} is not described"
        );
        assert!(
            status == 304 || media_type == PROBLEM,
            "{asked} is not described, and no problem"
        );
        return;
    };
    let content = resolved(answer).get("content").and_then(Value::as_object);
    if media_type.is_empty() {
        assert!(content.is_none(), "{asked}: what it is, is not said");
        return;
    }
    let schema = content
        .and_then(|content| content.get(media_type))
        .unwrap_or_else(|| panic!("{asked}: this media type is not described"));
    if let Some(schema) = schema.get("schema") {
        for text in texts {
            assert_fits(schema, text, &asked);
        }
    }
}

fn assert_fits(schema: &Value, body: &Value, asked: &str) {
    let whole = json!({ "allOf": [schema], "components": DESCRIPTION["components"] });
    let validator: Validator = jsonschema::validator_for(&whole).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(body)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{asked} is not as described: {errors:#?}\n{body:#}"
    );
}

/// A request whose answer is held against the description.
pub(crate) struct Asking {
    builder: reqwest::RequestBuilder,
    method: String,
    path: String,
}

macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(pub(crate) fn $name(self, $($argument: $kind),*) -> Self {
            self.with(|builder| builder.$name($($argument),*))
        })*
    };
}

impl Asking {
    pub(crate) fn new(
        builder: reqwest::RequestBuilder,
        method: &reqwest::Method,
        path: &str,
    ) -> Self {
        Self {
            builder,
            method: method.to_string(),
            path: path.split('?').next().unwrap_or(path).to_owned(),
        }
    }

    pub(crate) fn with(
        self,
        change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Self {
        Self {
            builder: change(self.builder),
            ..self
        }
    }

    passed_on! {
        bearer_auth(token: impl std::fmt::Display);
        body(body: impl Into<reqwest::Body>);
        json(body: &(impl serde::Serialize + ?Sized));
        query(query: &(impl serde::Serialize + ?Sized));
        timeout(timeout: std::time::Duration);
    }

    pub(crate) fn header<K, V>(self, name: K, value: V) -> Self
    where
        reqwest::header::HeaderName: TryFrom<K>,
        <reqwest::header::HeaderName as TryFrom<K>>::Error: Into<http::Error>,
        reqwest::header::HeaderValue: TryFrom<V>,
        <reqwest::header::HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.with(|builder| builder.header(name, value))
    }

    /// Sends it. An answer of JSON is read whole; streams are handed on as they come.
    pub(crate) async fn send(self) -> reqwest::Result<reqwest::Response> {
        let answer = self.builder.send().await?;
        let media_type = answer
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .to_owned();
        let status = answer.status().as_u16();
        let is_packed = answer.headers().contains_key("content-encoding");
        if is_packed || !media_type.ends_with("json") || self.method == "HEAD" {
            check(&self.method, &self.path, status, &media_type, &[]);
            return Ok(answer);
        }
        let (status_code, version, headers) =
            (answer.status(), answer.version(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        let texts: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&bytes)
            .into_iter()
            .collect();
        let texts = texts.unwrap_or_else(|error| panic!("{} is no JSON: {error}", self.path));
        check(&self.method, &self.path, status, &media_type, &texts);
        let mut again = http::Response::new(bytes);
        *again.status_mut() = status_code;
        *again.version_mut() = version;
        *again.headers_mut() = headers;
        Ok(again.into())
    }
}

#[test]
fn an_answer_that_is_not_described_is_found() {
    let wrong = |status, body: Value| {
        std::panic::catch_unwind(|| {
            check("GET", "/api/stats", status, "application/json", &[body]);
        })
        .is_err()
    };
    let stats = json!({"avg": 1.0, "max": 1.0, "min": 1.0, "count": 1});
    let right = json!({"cpu": stats, "memory": stats, "requests": stats, "latency": stats});
    assert!(!wrong(200, right.clone()));
    assert!(wrong(200, json!({"cpu": stats})), "parts are missing");
    assert!(wrong(200, json!([])), "another kind of thing");
    assert!(wrong(418, right), "a status that nobody said");
    let other = |path: &str, media_type: &str| {
        std::panic::catch_unwind(|| check("PUT", path, 200, media_type, &[])).is_err()
    };
    assert!(!other("/metrics/job/a", ""));
    assert!(
        !other("/metrics/job/a/instance/b", ""),
        "a name for all that follows"
    );
    assert!(
        other("/metrics/job/a/instance/b", "text/plain"),
        "a kind that nobody said"
    );
    assert!(other("/api/stats", ""), "a method that nobody said");
}
