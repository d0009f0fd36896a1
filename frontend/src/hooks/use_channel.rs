//! Keeps a simple connection open: the rooms' socket, the control channel, the chat; and event
//! streams where no socket opens.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{
    connection::{ABNORMAL, Alarm, Connection, Protocol, Told},
    use_effect_with,
};
use crate::{
    net::{
        config::{Endpoint, encode_query},
        link::{Do, Event, Link, LinkState},
    },
    platform,
    stores::{change::Change, session::SessionStore},
};

/// What is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket that carries texts both ways.
    Socket,
    /// A WebSocket that answers this text: when it is silent it is asked, and given up for dead
    /// when it does not answer.
    Answering(&'static str),
    /// An event stream with events of these names. It is not opened where this browser has as
    /// many as are good for it: it stands as lost then, and is tried again.
    Events {
        /// What events are listened for.
        names: &'static [&'static str],
        /// What it brings comes in no other way ([`super::slot`]).
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

    const fn protocol(self) -> Protocol {
        match self {
            Self::Socket | Self::Answering(_) => Protocol::Socket,
            Self::Events { names, must } => Protocol::Events { names, must },
        }
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEvent {
    /// The event's name; `message` on a socket; `open` when the connection was opened.
    pub event: &'static str,
    /// Its data.
    pub data: String,
}

/// A connection, as a component sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// How it stands.
    pub state: LinkState,
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
    on_heard: Callback<ChannelEvent>,
) -> Channel {
    let session = use_dispatch::<SessionStore>();
    let state = use_state_eq(LinkState::default);
    let newest = use_mut_ref(|| on_heard.clone());
    *newest.borrow_mut() = on_heard; // fresh at each render, and no reason to reconnect
    let running = use_mut_ref(|| None::<Rc<Driver>>);

    {
        let (running, show) = (Rc::clone(&running), state.setter());
        use_effect_with((endpoint, path, kind), move |(endpoint, path, kind)| {
            let driver = Rc::new(Driver {
                endpoint: endpoint.clone(),
                path: path.clone(),
                kind: *kind,
                link: RefCell::new(Link::new(platform::seed(), kind.patience_ms())),
                connection: RefCell::default(),
                last_id: RefCell::default(),
                alarm: Alarm::default(),
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
        state: (*state).clone(),
        send,
        nudge,
    }
}

/// Runs the [`Link`] on a real connection, a real timer and a real clock.
struct Driver {
    endpoint: Endpoint,
    path: AttrValue,
    kind: Kind,
    link: RefCell<Link>,
    connection: RefCell<Option<Connection>>,
    /// Of an event stream, so that nothing is missed across a reconnect.
    last_id: RefCell<String>,
    alarm: Alarm,
    stopped: Cell<bool>,
    show: UseStateSetter<LinkState>,
    newest: Rc<RefCell<Callback<ChannelEvent>>>,
    session: Dispatch<SessionStore>,
}

impl Driver {
    fn stop(&self) {
        self.stopped.set(true);
        self.connection.take();
        self.alarm.stop();
    }

    fn happened(self: &Rc<Self>, event: Event<'_>) {
        if self.stopped.get() {
            return;
        }
        let then = self.link.borrow_mut().on(platform::now_ms(), event);
        let state = self.link.borrow().state();
        if matches!(state, LinkState::Refused(_)) {
            // Whoever the server takes us for now, it is not who we were.
            self.session.change(SessionStore::doubt);
        }
        self.show.set(state);
        let at = self.link.borrow().wake_at();
        let weak = Rc::downgrade(self);
        self.alarm.set(at, move || {
            if let Some(driver) = weak.upgrade() {
                driver.happened(Event::Wake);
            }
        });
        match then {
            Do::Nothing => {}
            Do::Open => self.open(),
            Do::Ask => {
                if let Kind::Answering(question) = self.kind {
                    self.send(question);
                }
            }
            Do::Close => {
                self.connection.take();
            }
        }
    }

    fn send(&self, text: &str) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.send(text);
        }
    }

    fn hear(&self, event: &'static str, data: String) {
        if !self.stopped.get() {
            let callback = self.newest.borrow().clone(); // released before user code runs
            callback.emit(ChannelEvent { event, data });
        }
    }

    fn open(self: &Rc<Self>) {
        let last_id = self.last_id.borrow();
        let query = (!last_id.is_empty())
            .then(|| format!("last-event-id={}", encode_query(&last_id)))
            .into_iter()
            .collect();
        let weak = Rc::downgrade(self);
        let (endpoint, protocol) = (self.endpoint.clone(), self.kind.protocol());
        let connection = Connection::open(endpoint, &self.path, query, protocol, move |told| {
            if let Some(driver) = weak.upgrade() {
                driver.told(told);
            }
        });
        self.connection.replace(Some(connection));
    }

    fn told(self: &Rc<Self>, told: Told<'_>) {
        match told {
            Told::Opened => {
                self.happened(Event::Opened);
                self.hear("open", String::new());
            }
            Told::Came(event, message) => {
                if let Some(data) = message.data().as_string() {
                    self.last_id.replace(message.last_event_id());
                    self.happened(Event::Heard);
                    self.hear(event, data);
                }
            }
            Told::Crowded => self.closed(ABNORMAL, ""),
            Told::Closed { code, reason } => self.closed(code, reason),
        }
    }

    fn closed(self: &Rc<Self>, code: u16, reason: &str) {
        self.connection.take();
        self.happened(Event::Closed { code, reason });
    }
}
