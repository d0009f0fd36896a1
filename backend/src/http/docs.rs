//! The API's description: `GET /api/openapi.json`, and `/docs` to read it.
//!
//! The page is written from the description once, and needs no script: every operation is a part
//! that unfolds, so it can be searched, linked to and read by a screen reader.

use std::{fmt::Write as _, sync::LazyLock};

use salvo::{
    Response, Router, handler,
    http::{HeaderValue, header},
};
use serde_json::Value;

/// The description, kept by hand beside the routes; a test holds the two together.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What this is, how it is run and how it is fed, as it was when this server was built.
const README: &str = include_str!("../../../README.md");

const STYLE: &str = include_str!("docs/style.css");

/// Nothing but our own style.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                   form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    serde_json::from_str::<Value>(OPENAPI).map_or_else(|_| String::new(), |api| page(&api))
});

/// Sends the description.
#[handler]
pub async fn get_openapi(response: &mut Response) {
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response.body(OPENAPI);
}

/// `/docs`, its style, and the README.
pub fn router() -> Router {
    Router::with_path("docs")
        .get(get_page)
        .push(Router::with_path("index.html").get(get_page))
        .push(Router::with_path("style.css").get(get_style))
        .push(Router::with_path("README.md").get(get_readme))
}

#[handler]
async fn get_page(response: &mut Response) {
    let policy = HeaderValue::from_static(CSP);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response.render(salvo::writing::Text::Html(PAGE.as_str()));
}

#[handler]
async fn get_style(response: &mut Response) {
    response.render(salvo::writing::Text::Css(STYLE));
}

#[handler]
async fn get_readme(response: &mut Response) {
    // As text: browsers show it, and would save what is called Markdown.
    response.render(salvo::writing::Text::Plain(README));
}

/// Text in HTML; what stands between backticks is code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escaped(part);
        html.push_str(&match index % 2 {
            0 => part,
            _ => format!("<code>{part}</code>"),
        });
    }
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// A schema in a word or two, with links to those that have a name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for (key, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")] {
        if let Some(parts) = schema[key].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(between);
        }
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            names.join(" or ")
        }
        _ => "any".to_owned(),
    };
    if name == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    let mut html = escaped(&name);
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(code).collect();
        let _written = write!(html, ": {}", values.join(", "));
    }
    for (key, word) in [
        ("default", "default"),
        ("minimum", "least"),
        ("maximum", "greatest"),
    ] {
        if !schema[key].is_null() {
            let _written = write!(html, ", {word} {}", code(&schema[key]));
        }
    }
    html
}

fn code(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    format!("<code>{}</code>", escaped(&text))
}

/// Rows of a table with these column heads; nothing where there are none.
fn table(html: &mut String, caption: &str, heads: [&str; 3], rows: &[[String; 3]]) {
    if rows.is_empty() {
        return;
    }
    let heads = heads
        .map(|head| format!("<th scope=\"col\">{head}</th>"))
        .concat();
    html.push_str(&format!(
        "<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>"
    ));
    for [first, second, third] in rows {
        html.push_str(&format!(
            "<tr><th scope=\"row\">{first}</th><td>{second}</td><td>{third}</td></tr>"
        ));
    }
    html.push_str("</tbody></table>");
}

/// What a body or an answer holds, by content type.
fn content(of: &Value) -> String {
    let types = of["content"].as_object().into_iter().flatten();
    let types: Vec<_> = types
        .map(|(name, media)| format!("<code>{}</code> {}", escaped(name), kind(&media["schema"])))
        .collect();
    types.join("<br>")
}

fn operation(html: &mut String, path: &str, method: &str, of: &Value) {
    html.push_str(&format!(
        "<details id=\"{}\"><summary><span class=\"method\">{}</span> <code>{}</code> <span>{}</span></summary><p>{}</p>",
        escaped(text(of, "operationId")),
        method.to_uppercase(),
        escaped(path),
        prose(text(of, "summary")),
        prose(text(of, "description")),
    ));
    let parameters: Vec<_> = of["parameters"].as_array().into_iter().flatten().collect();
    let rows: Vec<_> = parameters
        .iter()
        .map(|of| {
            let needed = if of["required"] == true {
                ", needed"
            } else {
                ""
            };
            [
                format!("<code>{}</code>", escaped(text(of, "name"))),
                format!(
                    "{}, {}{needed}",
                    escaped(text(of, "in")),
                    kind(&of["schema"])
                ),
                prose(text(of, "description")),
            ]
        })
        .collect();
    table(
        html,
        "Parameters",
        ["Name", "Where and what", "Meaning"],
        &rows,
    );
    let body = content(&of["requestBody"]);
    if !body.is_empty() {
        html.push_str(&format!("<p><strong>Body:</strong> {body}</p>"));
    }
    let answers = of["responses"].as_object().into_iter().flatten();
    let rows: Vec<_> = answers
        .map(|(status, of)| {
            let status = format!("<code>{}</code>", escaped(status));
            [status, prose(text(of, "description")), content(of)]
        })
        .collect();
    table(html, "Answers", ["Status", "Meaning", "Content"], &rows);
    html.push_str("</details>");
}

fn schema(html: &mut String, name: &str, of: &Value) {
    let name = escaped(name);
    html.push_str(&format!(
        "<section class=\"schema\" id=\"schema-{name}\"><h3>{name}</h3><p>{}</p>",
        prose(text(of, "description"))
    ));
    let fields = of["properties"].as_object().into_iter().flatten();
    let needed: Vec<_> = of["required"].as_array().into_iter().flatten().collect();
    let rows: Vec<_> = fields
        .map(|(field, of)| {
            let always = needed.iter().any(|needed| *needed == field);
            [
                format!("<code>{}</code>", escaped(field)),
                format!(
                    "{}{}",
                    kind(of),
                    if always { "" } else { ", not always there" }
                ),
                prose(text(of, "description")),
            ]
        })
        .collect();
    if rows.is_empty() {
        html.push_str(&format!("<p>{}</p>", kind(of)));
    }
    table(
        html,
        &format!("Fields of {name}"),
        ["Field", "What", "Meaning"],
        &rows,
    );
    html.push_str("</section>");
}

fn page(api: &Value) -> String {
    let tags: Vec<_> = api["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tag| text(tag, "name"))
        .collect();
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Pulseboard API</title><link rel=\"icon\" href=\"data:,\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body>",
    );
    html.push_str(&format!(
        "<header><h1>Pulseboard API <small>{}</small></h1><p>{}</p>\
         <p><a href=\"/api/openapi.json\">The same as OpenAPI {}</a> · <a href=\"/\">Dashboard</a></p></header><nav aria-label=\"Parts\"><ul>",
        escaped(text(&api["info"], "version")),
        prose(text(&api["info"], "description")),
        escaped(text(api, "openapi")),
    ));
    for tag in tags.iter().chain(&["schemas"]) {
        html.push_str(&format!("<li><a href=\"#{tag}\">{tag}</a></li>"));
    }
    html.push_str("</ul></nav><main>");
    for tag in &tags {
        html.push_str(&format!("<section id=\"{tag}\"><h2>{tag}</h2>"));
        for (path, item) in api["paths"].as_object().into_iter().flatten() {
            for method in ["get", "head", "post", "put", "patch", "delete"] {
                let of = &item[method];
                if of["tags"][0] == *tag {
                    operation(&mut html, path, method, of);
                }
            }
        }
        html.push_str("</section>");
    }
    html.push_str("<section id=\"schemas\"><h2>schemas</h2>");
    for (name, of) in api["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        schema(&mut html, name, of);
    }
    html.push_str("</section></main></body></html>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_on_the_page() {
        let api: Value = serde_json::from_str(OPENAPI).expect("JSON");
        let html = page(&api);
        for item in api["paths"].as_object().expect("paths").values() {
            for of in item.as_object().expect("operations").values() {
                if let Some(id) = of["operationId"].as_str() {
                    assert!(html.contains(&format!("<details id=\"{id}\">")), "{id}");
                }
            }
        }
        // Each link within the page leads somewhere.
        for link in html.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap_or_default();
            assert!(html.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }

    #[test]
    fn descriptions_are_text() {
        assert_eq!(
            prose("a <b> & `c<d>`."),
            "a &lt;b&gt; &amp; <code>c&lt;d&gt;</code>."
        );
    }
}
