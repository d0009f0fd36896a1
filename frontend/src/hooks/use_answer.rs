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
    stores::shared::Shared,
};

/// What is known of an answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// To which question; another one than asked for while that is under way.
    pub path: AttrValue,
    /// The newest answer; stays while a further one fails.
    pub json: Option<Shared<Json>>,
    /// Of when it is, by the page's clock.
    pub at_ms: f64,
    /// Why the newest question was not answered.
    pub problem: Option<Refusal>,
}

/// Answers that are kept for a view that is opened again; the oldest goes first.
const KEPT_MAX: usize = 12;

type Kept = (String, Shared<Json>, f64);

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Forgets all answers: the next reader is another one.
pub fn forget_answers() {
    KEPT.with_borrow_mut(Vec::clear);
}

fn kept(path: &str) -> Option<Kept> {
    KEPT.with_borrow(|kept| kept.iter().find(|(of, ..)| of == path).cloned())
}

fn keep(path: &str, json: &Shared<Json>, at_ms: f64) {
    KEPT.with_borrow_mut(|kept| {
        kept.retain(|(of, ..)| of != path);
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((path.to_owned(), json.clone(), at_ms));
    });
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json && self.path == other.path && self.problem == other.problem
    }
}

/// Asks `endpoint` for `path` (nothing when it is empty) now, whenever `again` changes, and
/// `every_ms` after each answer unless that is 0. What is asked for no more is not heard.
#[hook]
pub fn use_answer(endpoint: &Endpoint, path: AttrValue, every_ms: u32, again: u64) -> Answer {
    let answer = use_state_eq(Answer::default);
    let show = answer.setter();
    let held = use_mut_ref(|| None::<(Shared<Json>, f64)>);
    let key = (endpoint.clone(), path, every_ms, again);
    use_effect_with(key, move |(endpoint, path, every_ms, _)| {
        // What was answered before is shown until it is answered anew, with its age.
        if let Some((_, json, at_ms)) = kept(path) {
            held.replace(Some((json.clone(), at_ms)));
            show.set(Answer {
                path: path.clone(),
                json: Some(json),
                at_ms,
                problem: None,
            });
        }
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

/// An answer that is kept, and when it came.
type Held = Option<(Shared<Json>, f64)>;

struct Asker {
    endpoint: Endpoint,
    path: AttrValue,
    every_ms: u32,
    show: UseStateSetter<Answer>,
    held: Rc<RefCell<Held>>,
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
                    let (json, at_ms) = (Shared::new(json), platform::now_ms());
                    // A range is large, and is asked for at another moment the next time.
                    if asker.every_ms > 0 && !asker.path.starts_with("/api/range") {
                        keep(&asker.path, &json, at_ms);
                    }
                    asker.held.replace(Some((json, at_ms)));
                    None
                }
                Err(refusal) => Some(refusal),
            };
            let held = asker.held.borrow().clone();
            let (json, at_ms) = held.map_or((None, 0.0), |(json, at_ms)| (Some(json), at_ms));
            asker.show.set(Answer {
                path: asker.path.clone(),
                json,
                at_ms,
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
