//! `GET /api/rooms` (presence) and `POST /api/rooms/{room}/events` (typed events).

use pulseboard_bus::Refused;
use pulseboard_shared::{FieldError, protocol::rooms::check_channel};
use salvo::{Depot, Request, handler, http::StatusCode, writing::Json};
use serde::Serialize;
use serde_json::Value;

use crate::{
    base::error::AppError,
    http::{self, body::read_json, caller, path, tenant::tenant},
    rooms::{EventError, RoomInfo},
};

/// Seconds after which the other servers may have taken what waits for them.
const RETRY_AFTER_S: u32 = 5;

/// The rooms that the caller may join, by name, with their members.
#[handler]
pub async fn list_rooms(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Vec<RoomInfo>>, AppError> {
    caller::require_read(depot)?;
    let role = caller::caller(depot)?.role;
    let tenant = tenant(request, depot)?;
    Ok(Json(http::app::app(depot)?.rooms.list(&tenant, role)))
}

/// What a triggered event did.
#[derive(Debug, Serialize)]
struct Triggered {
    room: String,
    event: String,
    /// Members that it was sent to: all but those that asked for other events alone.
    members: usize,
}

/// Sends a typed event to a room's members, if its data fits the event's schema.
#[handler]
pub async fn trigger_event(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Triggered>, AppError> {
    caller::require_operate(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    let room = path::named(request, "room")?;
    check_channel(&room).map_err(AppError::bad_request)?;
    let role = caller::caller(depot)?.role;
    app.rooms
        .check_role(&room, role)
        .map_err(|error| AppError::forbidden(error.to_string()))?;
    let body: Value = read_json(&app, request).await?;
    let Some(event) = body
        .get("event")
        .and_then(Value::as_str)
        .filter(|event| !event.is_empty())
    else {
        return Err(missing("/event", "a text that names the event"));
    };
    let data = body
        .get("data")
        .ok_or_else(|| missing("/data", "any JSON value that fits the event"))?;
    let members = app
        .rooms
        .trigger(&tenant, &room, event, data)
        .map_err(unfit)?
        .map_err(|refused| match refused {
            Refused::TooLarge { .. } => AppError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("{refused}; nothing was sent"),
            ),
            Refused::Full(_) => {
                AppError::unavailable(format!("{refused}; nothing was sent"), RETRY_AFTER_S)
            }
        })?;
    Ok(Json(Triggered {
        event: event.to_owned(),
        room,
        members,
    }))
}

fn missing(pointer: &str, expected: &str) -> AppError {
    let detail = format!("needed: {expected}");
    AppError::bad_request(format!(
        "the body's {pointer:?} is missing or not as it should be"
    ))
    .with_errors(vec![FieldError {
        pointer: pointer.to_owned(),
        detail,
    }])
}

fn unfit(error: EventError) -> AppError {
    let problem = AppError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("{error}; nothing was sent"),
    );
    match error {
        EventError::Data { violations, .. } => problem.with_errors(
            violations
                .into_iter()
                .map(|(pointer, detail)| FieldError {
                    pointer: format!("/data{pointer}"),
                    detail,
                })
                .collect(),
        ),
        EventError::Unknown { .. } | EventError::Message { .. } | EventError::Schema { .. } => {
            problem
        }
    }
}
