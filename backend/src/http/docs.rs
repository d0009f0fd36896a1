//! The API's description: `GET /api/openapi.json`, and `/docs` to browse it.

use salvo::{
    Depot, FlowCtrl, Request, Response, Router, handler,
    http::{HeaderValue, header},
    oapi::swagger_ui::SwaggerUi,
};

/// The description, kept by hand beside the routes; a test holds the two together.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Sends the description.
#[handler]
pub async fn get_openapi(response: &mut Response) {
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response.body(OPENAPI);
}

const INDEX: &str = include_str!("docs/index.html");
const START: &str = include_str!("docs/start.js");

/// Scripts from here only; Swagger UI sets styles by attribute and shows its icons as data URLs.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                   img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Swagger UI's files come from its crate; the page around them is ours, since theirs starts
/// itself by an inline script.
pub fn router() -> Router {
    Router::with_path("docs")
        .get(to_index)
        .push(Router::with_path("index.html").hoop(policy).get(get_index))
        .push(Router::with_path("start.js").hoop(policy).get(get_start))
        .push(
            Router::with_path("{*path}")
                .hoop(policy)
                .get(SwaggerUi::new("/api/openapi.json")),
        )
}

#[handler]
async fn to_index(response: &mut Response) {
    response.render(salvo::writing::Redirect::permanent("/docs/index.html"));
}

#[handler]
async fn get_index(response: &mut Response) {
    response.render(salvo::writing::Text::Html(INDEX));
}

#[handler]
async fn get_start(response: &mut Response) {
    response.render(salvo::writing::Text::Js(START));
}

#[handler]
async fn policy(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
    ctrl: &mut FlowCtrl,
) {
    ctrl.call_next(request, depot, response).await;
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CSP),
    );
}
