//! `POST /v1/metrics`: OpenTelemetry metrics over HTTP, in protobuf or JSON.

use std::sync::Arc;

use pulseboard_ingest::otlp::{self, Encoding};
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
};

use crate::{
    base::error::AppError,
    http::{self, error::Render as _, ingest},
};

/// `google.rpc.Code` for what is answered: INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE.
const WRONG: i32 = 3;
const TOO_MUCH: i32 = 8;
const LATER: i32 = 14;

/// Takes a request's data points; those that are refused are counted in `partialSuccess`.
#[handler]
pub async fn write_otlp(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let tenant = ingest::writing_tenant(&app, request, depot)?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let encoding = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(Encoding::from_content_type)
        .ok_or_else(|| {
            AppError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "accepted are application/x-protobuf and application/json",
            )
        })?;
    let worker = Arc::clone(&app);
    let taken = ingest::take(
        &app,
        &tenant,
        request,
        depot,
        None,
        move |tenant, body, batch| {
            let known = |key: &[u8]| worker.storage.engine.last_of(tenant, key);
            worker.ingest.tenants.with_deltas(tenant, |totals| {
                otlp::parse(encoding, body, totals, &known, batch)
            })
        },
    )
    .await
    .and_then(|taken| match &taken.not_durable {
        // Whatever the reason: 507 is none of the statuses after which senders try again.
        Some(error) => {
            let refusal = ingest::not_durable(taken.accepted, error);
            Err(AppError::unavailable(
                refusal.detail(),
                crate::ingest::RETRY_AFTER_S,
            ))
        }
        None => Ok(taken),
    });
    let body = match taken {
        Ok(taken) => {
            let message = taken.said.message(&taken.refused);
            otlp::response(encoding, taken.said.rejected, &message)
        }
        // Who may not write is told so by the frame that all endpoints share.
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => return Err(error),
        Err(error) => {
            let status = error.status();
            let code = match status {
                StatusCode::SERVICE_UNAVAILABLE => LATER,
                StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => TOO_MUCH,
                _ => WRONG,
            };
            let text = error.detail().to_owned();
            error.render(response);
            response.status_code(status);
            otlp::status(encoding, code, &text)
        }
    };
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(encoding.content_type()),
    );
    response.replace_body(salvo::http::ResBody::Once(body.into()));
    Ok(())
}
