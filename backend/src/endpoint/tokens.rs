//! `GET` and `POST /api/tokens`, `DELETE /api/tokens/{id}`: who else may come in. For admins; one
//! who is confined to a tenant sees, makes and withdraws tokens of that tenant only.

use pulseboard_shared::{FieldError, Role};
use salvo::{Depot, Request, Response, handler, http::StatusCode, writing::Json};
use serde::Serialize;
use serde_json::Value;

use crate::{
    access::{
        self,
        token::{Grant, TokenId},
    },
    base::{error::AppError, typed},
    http::{self, body::read_json, caller, path},
    settings::tenant_is_valid,
};

/// A token that was just made.
#[derive(Debug, Serialize)]
struct TokenMade {
    id: String,
    /// The secret; told here and never again.
    token: String,
    role: Role,
    tenant: Option<String>,
}

/// The tokens that are valid; never their secrets.
#[handler]
pub async fn list_tokens(depot: &mut Depot) -> Result<Json<Vec<access::TokenInfo>>, AppError> {
    caller::require_administer(depot)?;
    let tenant = caller::caller(depot)?.tenant.as_deref();
    Ok(Json(http::app::app(depot)?.access.list_tokens(tenant)))
}

/// Makes a token.
#[handler]
pub async fn make_token(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<TokenMade>, AppError> {
    caller::require_administer(depot)?;
    let app = http::app::app(depot)?;
    let body: Value = read_json(&app, request).await?;
    let mut grant = parse_grant(&body)?;
    if let Some(own) = &caller::caller(depot)?.tenant {
        if grant.tenant.as_ref().is_some_and(|asked| asked != own) {
            return Err(AppError::forbidden(format!(
                "this token is confined to the tenant {own:?} and makes no tokens for others"
            )));
        }
        grant.tenant = Some(own.clone());
    }
    let Grant { role, tenant } = grant.clone();
    let (id, token) = app.access.make_token(grant).await?;
    response.status_code(StatusCode::CREATED);
    Ok(Json(TokenMade {
        id: id.to_string(),
        token,
        role,
        tenant,
    }))
}

/// Withdraws a token: its sessions and streams end at once. The last admin's goes with `?force`.
#[handler]
pub async fn withdraw_token(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_administer(depot)?;
    let named = path::named(request, "id")?;
    let Ok(id) = named.parse::<TokenId>() else {
        return Err(AppError::not_found(format!(
            "there is no token {named:?}; an id has 12 hexadecimal digits"
        )));
    };
    let app = http::app::app(depot)?;
    let tenant = caller::caller(depot)?.tenant.clone();
    let force = request
        .query::<&str>("force")
        .is_some_and(|force| matches!(force, "" | "1" | "true"));
    app.access.withdraw_token(id, tenant, force).await?;
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}

/// Fields of a token that is asked for.
const FIELDS: [&str; 2] = ["role", "tenant"];

/// Names every field that is wrong at once; one that nobody knows, too, since a `tenant` that is
/// spelled wrong would make a token for all of them.
fn parse_grant(body: &Value) -> Result<Grant, AppError> {
    let given = body.as_object().into_iter().flatten();
    let unknown = given.filter(|(name, _)| !FIELDS.contains(&name.as_str()));
    let unknown: Vec<FieldError> = unknown
        .map(|(name, _)| FieldError {
            pointer: typed::step(name),
            detail: format!("is not known; known are {}", FIELDS.join(" and ")),
        })
        .collect();
    let role = body
        .get("role")
        .and_then(Value::as_str)
        .and_then(|role| role.parse::<Role>().ok());
    let tenant = match body.get("tenant") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(tenant)) if tenant_is_valid(tenant) => Ok(Some(tenant.clone())),
        Some(_) => Err(FieldError {
            pointer: "/tenant".to_owned(),
            detail: "accepted: nothing, or 1 to 64 characters A-Z a-z 0-9 _ . -".to_owned(),
        }),
    };
    match (role, tenant) {
        (Some(role), Ok(tenant)) if unknown.is_empty() => Ok(Grant { role, tenant }),
        (role, tenant) => {
            let role_error = role.is_none().then(|| FieldError {
                pointer: "/role".to_owned(),
                detail: "needed: none, viewer, writer, operator or admin".to_owned(),
            });
            let errors: Vec<FieldError> = role_error
                .into_iter()
                .chain(tenant.err())
                .chain(unknown)
                .collect();
            let names: Vec<&str> = errors.iter().map(|error| &*error.pointer).collect();
            Err(
                AppError::bad_request(format!("no token was made: {} is wrong", names.join(", ")))
                    .with_errors(errors),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_wrong_field_is_named() {
        let check = |body: Value| parse_grant(&body).map_err(|error| error.to_string());
        assert_eq!(
            check(json!({"role": "writer", "tenant": "shop"})),
            Ok(Grant {
                role: Role::Writer,
                tenant: Some("shop".to_owned())
            })
        );
        assert!(check(json!({"role": "viewer", "tenant": null})).is_ok());
        for (body, named) in [
            (json!({}), "/role is wrong"),
            (json!([]), "/role is wrong"),
            (
                json!({"role": "boss", "tenant": 1}),
                "/role, /tenant is wrong",
            ),
            (
                json!({"role": "viewer", "tenannt": "shop"}),
                "/tenannt is wrong",
            ),
            (
                json!({"role": "viewer", "tenant": "a b"}),
                "/tenant is wrong",
            ),
        ] {
            let error = check(body).expect_err("it is wrong");
            assert!(error.contains(named), "{error}");
        }
    }
}
