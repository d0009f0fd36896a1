//! Where an error becomes an answer (RFC 9457).

use pulseboard_shared::problem::PROBLEM_JSON;
use salvo::{
    Depot, Request, Response, Writer, async_trait,
    http::{HeaderValue, StatusCode, header},
};

use crate::base::{error::AppError, json::json_text};

/// What can be written into a response.
pub trait Render {
    /// Writes the problem into a response.
    fn render(self, response: &mut Response);
}

impl Render for AppError {
    fn render(self, response: &mut Response) {
        let error = self;
        let status = error.status();
        response.status_code(status);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = error.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"pulseboard\""),
                );
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                // RFC 6455 §4.4: what a client of another version may come back with.
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            _ => {}
        }
        response.body(json_text(&error.into_problem()));
    }
}

#[async_trait]
impl Writer for AppError {
    async fn write(self, _request: &mut Request, _depot: &mut Depot, response: &mut Response) {
        self.render(response);
    }
}
