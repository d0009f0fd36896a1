//! The page's files over a set made up in memory, and over requests to the handler.

use salvo::http::ResBody;

use super::*;

const PAGE: &str =
    "<html><script type=\"module\">run()</script><script src=\"/a.js\"></script></html>";
const SCRIPT: &str = "app-0123456789abcdef.js";

fn assets() -> Assets {
    Assets::of(
        [
            File::new("index.html", PAGE),
            File::new("index.html.br", "page in brotli"),
            File::new("index.html.gz", "page in gzip"),
            File::new(SCRIPT, "let a = 1;"),
            File::new("app-0123456789abcdef.js.gz", "script in gzip"),
            File::new("config.json", "{}"),
            File::new("archive.gz", "a file of its own"),
            File::new(".stage/left-over.js", "no"),
        ]
        .into_iter(),
    )
}

#[test]
fn encodings_are_chosen_by_quality() {
    use Encoding::{Brotli, Gzip, Identity};
    for (accept, expect) in [
        ("", Identity),
        ("br", Brotli),
        ("gzip, deflate, br, zstd", Brotli),
        ("gzip, deflate", Gzip),
        ("x-gzip", Gzip),
        ("deflate", Identity),
        ("br;q=0.5, gzip;q=0.8", Gzip),
        ("br; q=0.5 , GZIP;Q=0.5", Brotli),
        ("br;q=0, gzip;q=0", Identity),
        ("br;q=0.3, identity;q=0.5", Identity),
        ("br;q=0.5, identity;q=0.5", Brotli),
        ("*", Brotli),
        ("*;q=0.1, br;q=0", Gzip),
        ("*;q=0", Identity),
        ("gzip, *;q=0", Gzip),
        ("br;q=nonsense, gzip;q=2", Identity),
        ("identity", Identity),
    ] {
        assert_eq!(choose_encoding(accept, true, true), expect, "{accept:?}");
    }
    assert_eq!(choose_encoding("br, gzip;q=0.1", false, true), Gzip);
    assert_eq!(choose_encoding("br, gzip", false, false), Identity);
}

#[test]
fn only_names_with_a_hash_are_kept_for_ever() {
    for (path, expect) in [
        ("app-0123456789abcdef.js", true),
        ("app-0123456789abcdef_bg.wasm", true),
        ("style.0123456789abcdef.css", true),
        ("fonts/a-0123456789abcdef", true),
        // A hash that begins with zeros is shorter.
        ("app-123456789abcdef.js", true),
        ("app-979aa33339a3d57_bg.wasm", true),
        ("app-123456789abc.js", false),
        ("app-0123456789abcdef0.js", false),
        ("app-0123456789ABCDEF.js", false),
        ("0123456789abcdef.js", false),
        ("snippets/app-0123456789abcdef/inline.js", false),
        ("index.html", false),
        ("config.json", false),
        ("apple-touch-icon.png", false),
    ] {
        assert_eq!(is_hashed(path), expect, "{path}");
    }
}

#[test]
fn paths_of_the_page_are_told_from_files_and_doors() {
    for (path, expect) in [
        ("/", true),
        ("/overview", true),
        ("/explore/cpu/", true),
        ("/metrics-explained", true),
        ("/dashboards-explained", true),
        ("/dashboard", false),
        ("/missing.js", false),
        ("/a/b.wasm", false),
        ("/..", false),
        ("/../../etc/passwd", false),
        ("/%2E%2e/etc/passwd", false),
        ("/api", false),
        ("/api/unknown", false),
        ("/metrics", false),
        ("/dashboard/stream", false),
        ("/ws/x", false),
    ] {
        assert_eq!(is_page_path(path), expect, "{path}");
    }
}

#[test]
fn inline_scripts_are_named_by_their_hash() {
    let html = "<script type=\"module\">\nrun();\n</script><script data-src=\"x\" src=\"/a.js\">\
        </script><script>alert(1)</script>";
    assert_eq!(
        inline(html, "script").collect::<Vec<_>>(),
        ["\nrun();\n", "alert(1)"]
    );
    // The hash that browsers print for this very script.
    assert_eq!(
        page_policy("<script>alert(1)</script>"),
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' \
         'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='; style-src 'self'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
         base-uri 'self'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    );
}

#[test]
fn a_validator_is_found_in_a_list() {
    for (tags, expect) in [
        ("\"a\"", true),
        ("W/\"a\"", true),
        ("\"b\", \"a\"", true),
        ("*", true),
        ("\"b\"", false),
        ("a", false),
        ("", false),
    ] {
        assert_eq!(matches_etag(tags, "\"a\""), expect, "{tags}");
    }
}

#[test]
fn variants_have_validators_of_their_own() {
    let assets = assets();
    let tags: Vec<HeaderValue> = ["br", "gzip", ""]
        .iter()
        .filter_map(|accept| assets.answer("/", accept, None))
        .map(|answer| answer.variant.etag.clone())
        .collect();
    assert_eq!(tags.len(), 3);
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
}

#[test]
fn compressed_neighbours_are_no_files_of_their_own() {
    let assets = assets();
    for path in [
        "/index.html.br",
        "/index.html.gz",
        "/.stage/left-over.js",
        "/../Cargo.toml",
    ] {
        assert!(assets.answer(path, "", None).is_none(), "{path}");
    }
    assert!(assets.answer("/archive.gz", "", None).is_some());
}

/// What the handler answers.
async fn ask(method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Response {
    let mut request = Request::new();
    *request.method_mut() = method;
    request.set_uri(path.parse().expect("a path of these tests"));
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header of these tests");
        request.headers_mut().insert(name, value);
    }
    let mut response = Response::new();
    let mut ctrl = FlowCtrl::new(Vec::new());
    AssetsHandler(assets())
        .handle(&mut request, &mut Depot::new(), &mut response, &mut ctrl)
        .await;
    response
}

async fn get(path: &str) -> Response {
    ask(Method::GET, path, &[]).await
}

/// The body as text; empty when there is none.
fn body(response: &mut Response) -> String {
    match response.take_body() {
        ResBody::Once(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        ResBody::None => String::new(),
        _ => panic!("files are sent from memory"),
    }
}

fn text<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("ours are ASCII"))
}

#[tokio::test]
async fn the_page_is_sent_for_its_paths() {
    for path in ["/", "/overview", "/index.html"] {
        let headers = [(header::ACCEPT_ENCODING, "gzip, br")];
        let mut response = ask(Method::GET, path, &headers).await;
        assert_eq!(response.status_code, Some(StatusCode::OK), "{path}");
        assert_eq!(text(&response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(text(&response, "content-encoding"), "br");
        assert_eq!(text(&response, "cache-control"), "no-cache");
        assert_eq!(text(&response, "vary"), "Accept-Encoding");
        assert!(text(&response, "content-security-policy").contains("'sha256-"));
        assert_eq!(text(&response, "x-content-type-options"), "nosniff");
        assert_eq!(text(&response, "referrer-policy"), "no-referrer");
        assert_eq!(text(&response, "cross-origin-opener-policy"), "same-origin");
        assert!(text(&response, "permissions-policy").contains("camera=()"));
        assert_eq!(body(&mut response), "page in brotli");
    }
}

#[tokio::test]
async fn a_file_is_sent_as_what_it_is() {
    let mut response = get("/app-0123456789abcdef.js").await;
    assert_eq!(
        text(&response, "content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(text(&response, "content-encoding"), "");
    assert_eq!(text(&response, "cache-control"), KEPT);
    assert_eq!(text(&response, "content-security-policy"), "");
    assert_eq!(body(&mut response), "let a = 1;");
    let config = get("/config.json").await;
    assert_eq!(text(&config, "cache-control"), "no-cache");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let mut response = ask(Method::HEAD, "/config.json", &[]).await;
    assert_eq!(response.status_code, Some(StatusCode::OK));
    assert_eq!(text(&response, "content-length"), "2");
    assert_eq!(body(&mut response), "");
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let first = get("/").await;
    let etag = text(&first, "etag");
    let mut again = ask(Method::GET, "/", &[(header::IF_NONE_MATCH, etag)]).await;
    assert_eq!(again.status_code, Some(StatusCode::NOT_MODIFIED));
    assert_eq!(text(&again, "etag"), etag);
    assert_eq!(text(&again, "cache-control"), "no-cache");
    assert_eq!(body(&mut again), "");
    let other = ask(Method::GET, "/", &[(header::IF_NONE_MATCH, "\"other\"")]).await;
    assert_eq!(other.status_code, Some(StatusCode::OK));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    for path in ["/missing.wasm", "/api/unknown", "/%2e%2e/Cargo.toml"] {
        let response = get(path).await;
        assert_eq!(response.status_code, Some(StatusCode::NOT_FOUND), "{path}");
        assert_eq!(text(&response, "content-type"), "application/problem+json");
    }
    let response = ask(Method::POST, "/", &[]).await;
    assert_eq!(response.status_code, Some(StatusCode::METHOD_NOT_ALLOWED));
    assert_eq!(text(&response, "allow"), "GET, HEAD");
}

#[test]
fn a_binary_without_the_page_says_so() {
    let assets = Assets::of(std::iter::empty());
    let answer = assets
        .answer("/overview", "br", None)
        .expect("a page stands in");
    assert_eq!(answer.encoding, Encoding::Identity);
    let html = String::from_utf8_lossy(&answer.variant.bytes);
    for part in ["cargo xtask build", "href=\"/docs\"", "href=\"/healthz\""] {
        assert!(html.contains(part), "{part}");
    }
    let policy = assets.policy.to_str().expect("ours are ASCII");
    assert!(policy.contains("style-src 'sha256-") && !policy.contains("script-src"));
}

#[test]
fn the_embedded_page_can_always_be_asked_for() {
    assert!(Assets::embedded().answer("/", "br", None).is_some());
}
