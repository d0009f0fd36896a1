//! Has the server do something, once at a time, and tells what came of it.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::{
    markup::html,
    net::{
        config::Endpoint,
        fetch::{self, Method},
    },
};

/// What the server is to do.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    /// JSON; empty for none.
    pub(super) body: String,
    /// Hears the answer's text where it was done.
    pub(super) on_done: Callback<String>,
}

/// How it goes.
pub(super) struct Act {
    /// It is under way.
    pub(super) is_busy: bool,
    /// Why it was not done the last time, in words.
    pub(super) problem: Option<AttrValue>,
    /// Asks, unless something is under way.
    pub(super) ask: Callback<Ask>,
}

impl Act {
    /// Why it was not done; a place that is always there, so that it is announced.
    pub(super) fn problem_line(&self) -> Html {
        html! { <p class="form__problem" role="alert">{ self.problem.clone() }</p> }
    }
}

/// Lets the component act on the server.
#[hook]
pub(super) fn use_act(endpoint: &Endpoint) -> Act {
    let busy = use_state_eq(|| false);
    let problem = use_state_eq(|| None::<AttrValue>);
    // As it is now, and not as it was when the component was drawn last.
    let under_way = use_mut_ref(|| false);
    let ask = {
        let (endpoint, busy, problem) = (endpoint.clone(), busy.setter(), problem.setter());
        Callback::from(move |ask: Ask| {
            if under_way.replace(true) {
                return;
            }
            busy.set(true);
            problem.set(None);
            let (endpoint, busy, problem) = (endpoint.clone(), busy.clone(), problem.clone());
            let under_way = under_way.clone();
            spawn_local(async move {
                let body = Some(ask.body.as_str()).filter(|body| !body.is_empty());
                let answer = fetch::change(&endpoint, ask.method, &ask.path, body).await;
                under_way.replace(false);
                busy.set(false);
                match answer {
                    Ok(text) => ask.on_done.emit(text),
                    Err(refusal) => problem.set(Some(refusal.in_words().into())),
                }
            });
        })
    };
    Act {
        is_busy: *busy,
        problem: (*problem).clone(),
        ask,
    }
}
