//! `POST /api/tickets`: opens a stream from where no header and no cookie can come along.

use salvo::{Depot, Request, handler, writing::Json};
use serde::Serialize;

use crate::{
    access::ticket::LIFETIME_MS,
    base::error::AppError,
    http::{self, caller},
};

/// A ticket that was just made.
#[derive(Debug, Serialize)]
struct TicketMade {
    /// For `?ticket=`; works once.
    ticket: String,
    /// Seconds.
    expires_in: i64,
}

/// Makes a ticket that stands for the caller.
#[handler]
pub async fn make_ticket(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<TicketMade>, AppError> {
    caller::require_read(depot)?;
    let caller = caller::caller(depot)?;
    let address = caller::client_address(request);
    let app = http::app::app(depot)?;
    let ticket = app.access.issue_ticket(caller, address).await?;
    Ok(Json(TicketMade {
        ticket,
        expires_in: LIFETIME_MS / 1000,
    }))
}
