//! `GET /api/metrics/recent` (samples of the window), `GET /api/metrics/since` (the ticks, for who
//! polls) and `GET /api/metrics` (the operator's six figures).

use std::sync::Arc;

use pulseboard_feed::wire::Framing;
use pulseboard_shared::{Metric, protocol::operator::Figures};
use salvo::{Depot, Request, Response, handler, writing::Json};

use crate::{
    base::error::AppError,
    http::{
        self, caller,
        counted::send_text,
        query::{asked_metrics, resume_position},
        tenant::borrowed,
    },
};

/// Samples without a `count`.
const RECENT_DEFAULT: usize = 60;

/// The newest `count` samples of the window, oldest first; all of them where it holds fewer.
#[handler]
pub async fn list_recent_metrics(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Vec<Metric>>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let count = parse_count(request.query::<String>("count"))?;
    Ok(Json(app.live.with_window(|window| window.recent(count))))
}

/// Any whole number ≥ 0, however large: the window holds what it holds.
fn parse_count(count: Option<String>) -> Result<usize, AppError> {
    let Some(count) = count else {
        return Ok(RECENT_DEFAULT);
    };
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown: String = count.chars().take(40).collect();
        return Err(AppError::bad_query(
            "count",
            format!("{shown:?} is not a whole number ≥ 0"),
        ));
    }
    Ok(count.parse().unwrap_or(usize::MAX))
}

/// The message that `/ws/metrics` would open with, for clients that can only ask now and then:
/// `resumed` with what came since `?epoch=E&offset=N`, or `initial` with the whole window.
#[handler]
pub async fn poll_metrics(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let from = resume_position(request)?;
    let tenant: Arc<str> = borrowed(request, depot)?.into();
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    // How it would be framed does not matter here.
    let view = app
        .live
        .view(&keys, &tenant, asked_metrics(request)?, Framing::SsePlain);
    let now_ms = app.clock.now_ms();
    if !app.live.is_long(view.selection.as_deref()) {
        let message = app
            .live
            .poll(view.selection.as_deref(), from.as_ref(), now_ms);
        response.render(Json(message));
        return Ok(());
    }
    let worker = Arc::clone(&app);
    let written = app.questions.ask(keys, move |working| {
        let selection = view.selection.as_deref();
        let message = worker.live.poll(selection, from.as_ref(), now_ms);
        let mut text = working.text();
        let written = text.push_json(&message);
        written.map_err(|error| worker.questions.refuse(&error))?;
        Ok(working.finish(text.into_pieces()))
    });
    send_text(response, written.await??);
    Ok(())
}

/// The operator's six figures.
#[handler]
pub async fn get_figures(depot: &mut Depot) -> Result<Json<Figures>, AppError> {
    caller::require_read(depot)?;
    Ok(Json(http::app::app(depot)?.operator.figures()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_numbers() {
        for (text, count) in [
            (None, 60),
            (Some("0"), 0),
            (Some("7"), 7),
            (Some("99999999999999999999999"), usize::MAX),
        ] {
            assert_eq!(parse_count(text.map(str::to_owned)).ok(), Some(count));
        }
        for wrong in ["", "-1", "+1", "1.5", "1e3", "abc", " 1", "0x10", "१"] {
            assert!(
                parse_count(Some(wrong.to_owned())).is_err(),
                "{wrong:?} was taken"
            );
        }
    }
}
