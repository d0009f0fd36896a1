//! Keeps the answer to a question of the server: asked when it changes, and again from time to
//! time. In a hidden tab nothing is asked before it comes to the front.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo::{events::EventListener, timers::callback::Timeout, utils::document};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::use_effect_with;
use crate::{
    net::{config::Endpoint, fetch, json::Json, refusal::Refusal},
    platform,
};

/// What is known of an answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// To which question; another one than asked for while that is under way.
    pub path: AttrValue,
    /// The newest answer; stays while a further one fails.
    pub json: Option<Rc<Json>>,
    /// Why the newest question was not answered.
    pub problem: Option<Refusal>,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.json, &other.json) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same && self.path == other.path && self.problem == other.problem
    }
}

/// Asks `endpoint` for `path` (nothing when it is empty) now, whenever `again` changes, and
/// `every_ms` after each answer unless that is 0. What is asked for no more is not heard.
#[hook]
pub fn use_answer(endpoint: &Endpoint, path: AttrValue, every_ms: u32, again: u64) -> Answer {
    let answer = use_state_eq(Answer::default);
    let show = answer.setter();
    let held = use_mut_ref(|| None::<Rc<Json>>);
    let key = (endpoint.clone(), path, every_ms, again);
    use_effect_with(key, move |(endpoint, path, every_ms, _)| {
        let asker = Rc::new(Asker {
            endpoint: endpoint.clone(),
            path: path.clone(),
            every_ms: *every_ms,
            show,
            held,
            timer: RefCell::default(),
            waiting: RefCell::default(),
            stopped: Cell::new(false),
        });
        if !path.is_empty() {
            asker.ask();
        }
        move || {
            asker.stopped.set(true);
            asker.timer.take();
            asker.waiting.take();
        }
    });
    (*answer).clone()
}

struct Asker {
    endpoint: Endpoint,
    path: AttrValue,
    every_ms: u32,
    show: UseStateSetter<Answer>,
    held: Rc<RefCell<Option<Rc<Json>>>>,
    timer: RefCell<Option<Timeout>>,
    /// For the tab to come to the front.
    waiting: RefCell<Option<EventListener>>,
    stopped: Cell<bool>,
}

impl Asker {
    fn ask(self: &Rc<Self>) {
        if platform::hidden() {
            // Nobody sees what a hidden tab would ask for.
            let weak = Rc::downgrade(self);
            let shown = EventListener::once(&document(), "visibilitychange", move |_| {
                if let Some(asker) = weak.upgrade().filter(|asker| !asker.stopped.get()) {
                    asker.ask();
                }
            });
            self.waiting.replace(Some(shown));
            return;
        }
        let asker = Rc::clone(self);
        spawn_local(async move {
            let answer = fetch::call(&asker.endpoint, &asker.path, None).await;
            if asker.stopped.get() {
                return;
            }
            let answer = answer.and_then(|text| Json::parse(&text).ok_or(Refusal::silence()));
            let problem = match answer {
                Ok(json) => {
                    asker.held.replace(Some(Rc::new(json)));
                    None
                }
                Err(refusal) => Some(refusal),
            };
            asker.show.set(Answer {
                path: asker.path.clone(),
                json: asker.held.borrow().clone(),
                problem,
            });
            if asker.every_ms > 0 {
                let weak = Rc::downgrade(&asker);
                asker
                    .timer
                    .replace(Some(Timeout::new(asker.every_ms, move || {
                        if let Some(asker) = weak.upgrade() {
                            asker.ask();
                        }
                    })));
            }
        });
    }
}
