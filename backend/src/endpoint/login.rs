//! `POST /api/login`, `POST /api/logout` and `GET /api/session`: sessions of browsers.

use pulseboard_shared::{FieldError, Role};
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
    writing::Json,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    access::session::LIFETIME_MS,
    base::error::AppError,
    http::{
        self,
        body::read_json,
        caller,
        session::{SessionInfo, session_of},
        shown,
        via::Via,
    },
};

/// What a login gives.
#[derive(Debug, Serialize)]
struct LoggedIn {
    role: Role,
    tenant: Option<String>,
}

/// Opens a session for a token or an admin link, and ends the one that the browser had.
#[handler]
pub async fn login(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<LoggedIn>, AppError> {
    let app = http::app::app(depot)?;
    let body: Value = read_json(&app, request).await?;
    let text = |name| {
        let text = body.get(name)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    };
    let address = caller::client_address(request);
    let opened = match (text("token"), text("admin_link")) {
        (Some(token), _) => app.access.login(token, address).await?,
        (None, Some(link)) => app.access.login_with_link(link, address).await?,
        (None, None) => {
            let error = FieldError {
                pointer: "/token".to_owned(),
                detail: "needed: a text, the token; or /admin_link, what follows #admin= in an admin link"
                    .to_owned(),
            };
            return Err(AppError::bad_request("the body must be {\"token\":\"…\"}")
                .with_errors(vec![error]));
        }
    };
    // Its sockets have the old role.
    let before = shown::session_digests(request);
    app.access.logout(before, address).await;
    set_cookie(response, request, &opened.secret, LIFETIME_MS / 1000);
    Ok(Json(LoggedIn {
        role: opened.grant.role,
        tenant: opened.grant.tenant,
    }))
}

/// Ends the session, if there is one, and closes its streams.
#[handler]
pub async fn logout(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let shown = shown::session_digests(request);
    let address = caller::client_address(request);
    app.access.logout(shown, address).await;
    set_cookie(response, request, "", 0);
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}

/// Says who the caller is; open to all, so that the page knows whether to show its login.
#[handler]
pub async fn get_session(depot: &mut Depot) -> Result<Json<SessionInfo>, AppError> {
    session_of(depot).map(Json)
}

/// `SameSite=Strict` costs nothing here: the page itself is open to all, and what it then asks for
/// comes from this site. Pages of other sites have tickets.
fn set_cookie(response: &mut Response, asked: &Request, value: &str, seconds: i64) {
    let https = asked.extensions().get::<Via>().is_some_and(|via| via.https);
    let name = shown::cookie_name(https);
    let secure = if https { "; Secure" } else { "" };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
