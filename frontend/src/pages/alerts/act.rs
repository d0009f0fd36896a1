//! Has the server do something, once at a time, and tells what came of it.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::parts::part_hash;
use crate::{
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        fetch::{self, Method},
    },
    platform,
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

/// Has a form save what it is about, or delete it, and then goes to the list of such.
#[derive(Clone)]
pub(super) struct Saving {
    ask: Callback<Ask>,
    /// Where all of them are.
    all: &'static str,
    /// What is there already, as an address names it.
    known: Option<String>,
    list: &'static str,
}

impl Saving {
    /// `list` is a part of the view of alerts.
    pub(super) fn new(
        act: &Act,
        all: &'static str,
        known: Option<&str>,
        list: &'static str,
    ) -> Self {
        Self {
            ask: act.ask.clone(),
            all,
            known: known.map(encode_query),
            list,
        }
    }

    /// It is there already, and can be deleted.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    fn emit(&self, method: Method, body: String) {
        let list = self.list;
        let path = match &self.known {
            Some(known) => [self.all, "/", known].concat(),
            None => self.all.to_owned(),
        };
        self.ask.emit(Ask {
            method,
            path,
            body,
            on_done: Callback::from(move |_| platform::go(&part_hash(list))),
        });
    }

    /// Saves it as the body says.
    pub(super) fn save(&self, body: String) {
        let method = if self.is_known() {
            Method::Put
        } else {
            Method::Post
        };
        self.emit(method, body);
    }

    /// Deletes it.
    pub(super) fn on_delete(&self) -> Callback<MouseEvent> {
        let saving = self.clone();
        Callback::from(move |_| saving.emit(Method::Delete, String::new()))
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
