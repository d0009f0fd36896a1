//! Keeps a simple connection open: the rooms' socket, the control channel, the chat; and event
//! streams where no socket opens.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo::{events::EventListener, timers::callback::Timeout};
use wasm_bindgen::JsCast;
use web_sys::{CloseEvent, EventSource, MessageEvent, WebSocket};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{door, slot, use_effect_with};
use crate::{
    chart::scale::within,
    net::{
        config::{Endpoint, encode_query},
        link::{Do, Event, Link, Standing},
    },
    platform,
    stores::{change::Change, session::SessionStore},
};

/// A close code for a connection that says nothing of why it ended.
const ABNORMAL: u16 = 1006;

/// What is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket that carries texts both ways.
    Socket,
    /// The same, which answers this text: when it is silent it is asked, and given up for dead
    /// when it does not answer.
    Answering(&'static str),
    /// An event stream with events of these names. It is not opened where this browser has as
    /// many as are good for it: it stands as lost then, and is tried again.
    Events {
        /// What events are listened for.
        names: &'static [&'static str],
        /// What it brings comes in no other way ([`slot`]).
        must: bool,
    },
}

/// A socket that is silent for longer, though it was asked something, is dead.
const SOCKET_PATIENCE_MS: f64 = 20_000.0;

/// The server sends a heartbeat to event streams of alerts every 30 s, and figures more often;
/// when two of them are missing the stream is dead.
const STREAM_PATIENCE_MS: f64 = 75_000.0;

impl Kind {
    const fn patience_ms(self) -> f64 {
        match self {
            Self::Socket => f64::INFINITY,
            Self::Answering(_) => SOCKET_PATIENCE_MS,
            Self::Events { .. } => STREAM_PATIENCE_MS,
        }
    }
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
    /// Now is a good moment to try.
    pub nudge: Callback<()>,
}

/// Keeps `path` of `endpoint`, which may have a query, open for as long as the component is
/// mounted, unless it is empty; what comes goes to the newest `on_heard`.
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
                link: RefCell::new(Link::new(platform::seed(), kind.patience_ms())),
                line: RefCell::default(),
                opened: Cell::new(0),
                last_id: RefCell::default(),
                timer: RefCell::default(),
                stopped: Cell::new(false),
                show,
                newest,
                session,
            });
            if !path.is_empty() {
                driver.happened(Event::Start);
            }
            running.replace(Some(Rc::clone(&driver)));
            move || {
                running.take();
                driver.stop();
            }
        });
    }

    let nudge = {
        let running = Rc::clone(&running);
        use_callback((), move |(), ()| {
            let driver = running.borrow().clone();
            if let Some(driver) = driver {
                driver.happened(Event::Nudge);
            }
        })
    };
    let send = use_callback((), move |text: String, ()| {
        let driver = running.borrow().clone();
        if let Some(driver) = driver {
            driver.send(&text);
        }
    });
    Channel {
        standing: (*standing).clone(),
        send,
        nudge,
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
    /// Of an event stream.
    _slot: Option<slot::Slot>,
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
        let then = self.link.borrow_mut().on(platform::now_ms(), event);
        let standing = self.link.borrow().standing();
        if matches!(standing, Standing::Refused(_)) {
            // Whoever the server takes us for now, it is not who we were.
            self.session.change(SessionStore::doubt);
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
        match then {
            Do::Nothing => {}
            Do::Open => self.open(),
            Do::Ask => {
                if let Kind::Answering(question) = self.kind {
                    self.send(question);
                }
            }
            Do::Close => self.drop_line(),
        }
    }

    fn send(&self, text: &str) {
        if let Some(Line {
            end: End::Socket(socket),
            ..
        }) = &*self.line.borrow()
        {
            // A socket that is closing refuses; its close event is on the way.
            drop(socket.send_with_str(text));
        }
    }

    /// What still comes of it is not heard.
    fn drop_line(&self) {
        self.opened.set(self.opened.get() + 1);
        // Dropped from a task of its own: one of its listeners may be running.
        let line = self.line.take();
        wasm_bindgen_futures::spawn_local(async move { drop(line) });
    }

    fn hear(&self, event: &'static str, data: String) {
        if !self.stopped.get() {
            let callback = self.newest.borrow().clone(); // released before user code runs
            callback.emit(Heard { event, data });
        }
    }

    fn closed(self: &Rc<Self>, number: u64, code: u16, reason: &str) {
        if self.opened.get() == number {
            self.drop_line();
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
        let (endpoint, path) = (self.endpoint.clone(), self.path.clone());
        let kind = self.kind;
        let socket = !matches!(kind, Kind::Events { .. });
        let then = move |slot: Option<slot::Slot>| {
            door::address(&endpoint, &path, query, socket, move |address| {
                let Some(driver) = weak.upgrade() else {
                    return;
                };
                if driver.stopped.get() || driver.opened.get() != number {
                    return;
                }
                let line = match &address {
                    Ok(address) => driver.connect(number, address, slot),
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
        };
        let Kind::Events { must, .. } = kind else {
            return then(None);
        };
        let weak = Rc::downgrade(self);
        wasm_bindgen_futures::spawn_local(async move {
            match slot::take(must).await {
                Some(slot) => then(Some(slot)),
                None => {
                    if let Some(driver) = weak.upgrade() {
                        driver.closed(number, ABNORMAL, "");
                    }
                }
            }
        });
    }

    fn connect(
        self: &Rc<Self>,
        number: u64,
        address: &str,
        slot: Option<slot::Slot>,
    ) -> Option<Line> {
        let (end, names): (End, &[&'static str]) = match self.kind {
            Kind::Socket | Kind::Answering(_) => {
                (End::Socket(WebSocket::new(address).ok()?), &["message"])
            }
            Kind::Events { names, .. } => (End::Events(EventSource::new(address).ok()?), names),
        };
        let target: &web_sys::EventTarget = match &end {
            End::Socket(socket) => socket,
            End::Events(source) => source,
        };
        let weak = Rc::downgrade(self);
        let mut listeners = vec![EventListener::new(target, "open", move |_| {
            if let Some(driver) = weak.upgrade()
                && driver.opened.get() == number
            {
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
                    if driver.opened.get() != number {
                        return;
                    }
                    driver.last_id.replace(message.last_event_id());
                    driver.happened(Event::Heard);
                    driver.hear(name, data);
                }
            }));
        }
        let ending = match self.kind {
            Kind::Socket | Kind::Answering(_) => "close",
            // The browser would come back by itself, when it likes and without saying so.
            Kind::Events { .. } => "error",
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
            _slot: slot,
        })
    }
}
