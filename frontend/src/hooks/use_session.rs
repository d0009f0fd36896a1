//! Asks the server who it takes this page for, unless the page says so itself, and again whenever
//! that is in doubt.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{use_effect_with, use_selector};
use crate::{
    net::{config::Endpoint, fetch, json::quote, session::Session},
    platform,
    stores::{change::Change, session::SessionStore},
};

/// Keeps [`SessionStore`] as the server says.
#[hook]
pub fn use_session(endpoint: &Endpoint) {
    let dispatch = use_dispatch::<SessionStore>();
    let doubts = *use_selector(SessionStore::doubts);
    use_effect_with((endpoint.clone(), doubts), move |(endpoint, doubts)| {
        // A tab that came with an admin link: the cookie for it is there before anything is asked.
        let link = platform::take_admin_link();
        // The page brought it along.
        if link.is_none() && *doubts == 0 && dispatch.get().is_settled() {
            return;
        }
        let endpoint = endpoint.clone();
        spawn_local(async move {
            if let Some(link) = link {
                let body = format!("{{\"admin_link\":{}}}", quote(&link));
                if fetch::call(&endpoint, "/api/login", Some(&body))
                    .await
                    .is_err()
                {
                    dispatch.change(SessionStore::refuse_link);
                }
            }
            let answer = fetch::call(&endpoint, "/api/session", None).await;
            let session = answer.ok().and_then(|text| Session::read(&text));
            let Some(session) = session else {
                return dispatch.change(SessionStore::learn_nothing);
            };
            if session.anonymous {
                // A token that is not known any more would only be refused again and again.
                fetch::keep_token(&endpoint, None);
            }
            dispatch.change(|store| store.learn(session));
        });
    });
}
