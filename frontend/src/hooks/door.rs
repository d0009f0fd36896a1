//! Addresses of streams, with what opens them: a same-origin stream brings its cookie along, one
//! of another origin needs a ticket, which is made for each opening anew.

use crate::net::{
    config::{Endpoint, encode_query},
    fetch,
    refusal::Refusal,
};

/// Calls `open` with the address of `path` and these parts of a query; at once unless a ticket
/// has to be fetched first.
pub(super) fn address(
    endpoint: &Endpoint,
    path: &str,
    mut query: Vec<String>,
    socket: bool,
    open: impl FnOnce(Result<String, Refusal>) + 'static,
) {
    let whole = move |endpoint: &Endpoint, path: &str, query: &[String]| {
        let mark = match (query.is_empty(), path.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        let path = format!("{path}{mark}{}", query.join("&"));
        if socket {
            endpoint.ws(&path)
        } else {
            endpoint.http(&path)
        }
    };
    if fetch::token(endpoint).is_none() {
        return open(Ok(whole(endpoint, path, &query)));
    }
    let (endpoint, path) = (endpoint.clone(), path.to_owned());
    wasm_bindgen_futures::spawn_local(async move {
        open(fetch::ticket(&endpoint).await.map(|ticket| {
            query.push(format!("ticket={}", encode_query(&ticket)));
            whole(&endpoint, &path, &query)
        }));
    });
}
