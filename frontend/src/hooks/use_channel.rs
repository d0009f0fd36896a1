//! Keeps a simple connection open: the operator's stream, the control channel, the chat.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo::{events::EventListener, timers::callback::Timeout};
use wasm_bindgen::JsCast;
use web_sys::{CloseEvent, EventSource, MessageEvent, WebSocket};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{door, use_effect_with};
use crate::{
    chart::scale::within,
    net::{
        config::{Endpoint, encode_query},
        link::{Event, Link, Standing},
    },
    platform,
    stores::session::SessionStore,
};

/// A close code for a connection that says nothing of why it ended.
const ABNORMAL: u16 = 1006;

/// What is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket that carries texts both ways.
    Socket,
    /// An event stream with events of these names.
    Events(&'static [&'static str]),
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The event's name; `message` on a socket; `open` when the connection was opened.
    pub event: &'static str,
    /// Its data.
    pub data: String,
}

/// A connection, as a component sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// How it stands.
    pub standing: Standing,
    /// Sends a text; on an event stream, or while it is not open, nothing happens.
    pub send: Callback<String>,
}

/// Keeps `path` of `endpoint`, which may have a query, open for as long as the component is mounted; what comes goes to
/// the newest `on_heard`.
#[hook]
pub fn use_channel(
    endpoint: Endpoint,
    path: AttrValue,
    kind: Kind,
    on_heard: Callback<Heard>,
) -> Channel {
    let session = use_dispatch::<SessionStore>();
    let standing = use_state_eq(Standing::default);
    let newest = use_mut_ref(|| on_heard.clone());
    *newest.borrow_mut() = on_heard; // fresh at each render, and no reason to reconnect
    let running = use_mut_ref(|| None::<Rc<Driver>>);

    {
        let (running, show) = (Rc::clone(&running), standing.setter());
        use_effect_with((endpoint, path, kind), move |(endpoint, path, kind)| {
            let driver = Rc::new(Driver {
                endpoint: endpoint.clone(),
                path: path.clone(),
                kind: *kind,
                link: RefCell::new(Link::new(platform::seed())),
                line: RefCell::default(),
                opened: Cell::new(0),
                last_id: RefCell::default(),
                timer: RefCell::default(),
                stopped: Cell::new(false),
                show,
                newest,
                session,
            });
            driver.happened(Event::Start);
            running.replace(Some(Rc::clone(&driver)));
            move || {
                running.take();
                driver.stop();
            }
        });
    }

    let send = use_callback((), move |text: String, ()| {
        let driver = running.borrow().clone();
        if let Some(driver) = driver
            && let Some(Line {
                end: End::Socket(socket),
                ..
            }) = &*driver.line.borrow()
        {
            // A socket that is closing refuses; its close event is on the way.
            drop(socket.send_with_str(&text));
        }
    });
    Channel {
        standing: (*standing).clone(),
        send,
    }
}

enum End {
    Socket(WebSocket),
    Events(EventSource),
}

/// An open connection with its listeners; closed and silent once dropped.
struct Line {
    end: End,
    _listeners: Vec<EventListener>,
}

impl Drop for Line {
    fn drop(&mut self) {
        match &self.end {
            // Fails only for a forbidden close code, and none is given.
            End::Socket(socket) => drop(socket.close()),
            End::Events(source) => source.close(),
        }
    }
}

/// Runs the [`Link`] on a real connection, a real timer and a real clock.
struct Driver {
    endpoint: Endpoint,
    path: AttrValue,
    kind: Kind,
    link: RefCell<Link>,
    line: RefCell<Option<Line>>,
    /// Counts attempts, so that what belongs to an earlier one is told from this one's.
    opened: Cell<u64>,
    /// Of an event stream, so that nothing is missed across a reconnect.
    last_id: RefCell<String>,
    timer: RefCell<Option<Timeout>>,
    stopped: Cell<bool>,
    show: UseStateSetter<Standing>,
    newest: Rc<RefCell<Callback<Heard>>>,
    session: Dispatch<SessionStore>,
}

impl Driver {
    fn stop(&self) {
        self.stopped.set(true);
        self.line.take();
        self.timer.take();
    }

    fn happened(self: &Rc<Self>, event: Event<'_>) {
        if self.stopped.get() {
            return;
        }
        let open = self.link.borrow_mut().on(platform::now_ms(), event);
        let standing = self.link.borrow().standing();
        if matches!(standing, Standing::Refused(_)) {
            // Whoever the server takes us for now, it is not who we were.
            self.session.reduce_mut(SessionStore::doubt);
        }
        self.show.set(standing);
        let timer = self.link.borrow().wake_at().map(|at| {
            let weak = Rc::downgrade(self);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to the longest delay"
            )]
            let wait = within(at - platform::now_ms(), 0.0, 300_000.0).ceil() as u32;
            Timeout::new(wait, move || {
                if let Some(driver) = weak.upgrade() {
                    driver.happened(Event::Wake);
                }
            })
        });
        self.timer.replace(timer);
        if open {
            self.open();
        }
    }

    fn hear(&self, event: &'static str, data: String) {
        if !self.stopped.get() {
            let callback = self.newest.borrow().clone(); // released before user code runs
            callback.emit(Heard { event, data });
        }
    }

    fn closed(self: &Rc<Self>, number: u64, code: u16, reason: &str) {
        if self.opened.get() == number {
            // Dropped from a task of its own: one of its listeners may be running.
            let line = self.line.take();
            wasm_bindgen_futures::spawn_local(async move { drop(line) });
            self.happened(Event::Closed { code, reason });
        }
    }

    fn open(self: &Rc<Self>) {
        let number = self.opened.get() + 1;
        self.opened.set(number);
        let last_id = self.last_id.borrow();
        let query = (!last_id.is_empty())
            .then(|| format!("last-event-id={}", encode_query(&last_id)))
            .into_iter()
            .collect();
        let weak = Rc::downgrade(self);
        let socket = self.kind == Kind::Socket;
        door::address(&self.endpoint, &self.path, query, socket, move |address| {
            let Some(driver) = weak.upgrade() else {
                return;
            };
            if driver.stopped.get() || driver.opened.get() != number {
                return;
            }
            let line = match &address {
                Ok(address) => driver.connect(number, address),
                Err(_) => None,
            };
            if let Some(line) = line {
                driver.line.replace(Some(line));
                return;
            }
            // From a task of its own: the link may be in the middle of an event.
            wasm_bindgen_futures::spawn_local(async move {
                let (code, reason) = match address {
                    Err(refusal) => refusal.as_close(),
                    Ok(_) => (ABNORMAL, String::new()),
                };
                driver.closed(number, code, &reason);
            });
        });
    }

    fn connect(self: &Rc<Self>, number: u64, address: &str) -> Option<Line> {
        let (end, names): (End, &[&'static str]) = match self.kind {
            Kind::Socket => (End::Socket(WebSocket::new(address).ok()?), &["message"]),
            Kind::Events(names) => (End::Events(EventSource::new(address).ok()?), names),
        };
        let target: &web_sys::EventTarget = match &end {
            End::Socket(socket) => socket,
            End::Events(source) => source,
        };
        let weak = Rc::downgrade(self);
        let mut listeners = vec![EventListener::new(target, "open", move |_| {
            if let Some(driver) = weak.upgrade() {
                driver.happened(Event::Opened);
                driver.hear("open", String::new());
            }
        })];
        for name in names {
            let weak = Rc::downgrade(self);
            listeners.push(EventListener::new(target, *name, move |event| {
                let message = event.dyn_ref::<MessageEvent>();
                let data = message.and_then(|message| message.data().as_string());
                if let (Some(driver), Some(message), Some(data)) = (weak.upgrade(), message, data) {
                    driver.last_id.replace(message.last_event_id());
                    driver.hear(name, data);
                }
            }));
        }
        let ending = match self.kind {
            Kind::Socket => "close",
            // The browser would come back by itself, when it likes and without saying so.
            Kind::Events(_) => "error",
        };
        let weak = Rc::downgrade(self);
        listeners.push(EventListener::new(target, ending, move |event| {
            if let Some(driver) = weak.upgrade() {
                let (code, reason) = event
                    .dyn_ref::<CloseEvent>()
                    .map_or((ABNORMAL, String::new()), |close| {
                        (close.code(), close.reason())
                    });
                driver.closed(number, code, &reason);
            }
        }));
        Some(Line {
            end,
            _listeners: listeners,
        })
    }
}
