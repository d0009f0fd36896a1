//! A browser's connection: a socket or an event stream, from the address that it is opened at to
//! the listeners that are taken off again. When one is opened and what is done about its end is
//! decided by the state machines that own it; see [`crate::net::link`] and [`crate::net::feed`].
//!
//! **Invariant**: nothing is told of a connection that was dropped, whether it was open or still
//! on its way. Owners that replace one need no other way to tell it from the next.

use std::{cell::RefCell, rc::Rc};

use gloo::{events::EventListener, timers::callback::Timeout};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{BinaryType, CloseEvent, EventSource, EventTarget, MessageEvent, WebSocket};

use super::slot::{self, Slot};
use crate::{
    chart::scale::within,
    net::{
        config::{Endpoint, encode_query},
        fetch,
        refusal::Refusal,
    },
    platform,
};

/// A close code for a connection that says nothing of why it ended, or could not even be made.
pub(super) const ABNORMAL: u16 = 1006;

/// An alarm that is further away rings early; whoever is woken looks at the clock.
const ALARM_MS_MAX: f64 = 300_000.0;

/// What is opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    /// A WebSocket.
    Socket,
    /// An event stream with events of these names.
    Events {
        names: &'static [&'static str],
        /// It is opened even where streams cannot be counted; see [`slot`].
        must: bool,
    },
}

/// What is told of a connection; never from within [`Connection::open`].
#[derive(Debug)]
pub(super) enum Told<'a> {
    Opened,
    /// A message arrived: the event's name, which is `message` on a socket.
    Came(&'static str, &'a MessageEvent),
    /// An event stream would be one too many for this browser.
    Crowded,
    /// It ended, or could not be opened.
    Closed {
        /// RFC 6455 §7.4; [`ABNORMAL`] for an event stream.
        code: u16,
        /// The server's words, often empty.
        reason: &'a str,
    },
}

/// A connection, on its way or open; closed and silent once dropped.
pub(super) struct Connection(Rc<Inner>);

struct Inner {
    open: RefCell<Option<Open>>,
    deadline: RefCell<Option<Timeout>>,
    tell: Box<dyn Fn(Told<'_>)>,
}

struct Open {
    end: End,
    _listeners: Vec<EventListener>,
    _slot: Option<Slot>,
}

enum End {
    Socket(WebSocket),
    Events(EventSource),
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(open) = self.0.open.take() else {
            return;
        };
        match &open.end {
            // Fails only for a forbidden close code, and none is given.
            End::Socket(socket) => drop(socket.close()),
            End::Events(source) => source.close(),
        }
        // Listeners from a task of their own: one of them may be running.
        spawn_local(async move { drop(open) });
    }
}

impl Connection {
    /// Opens `path` of `endpoint` with these parts of a query. A same-origin stream brings its
    /// cookie along, one of another origin needs a ticket, which is made for each anew.
    pub(super) fn open(
        endpoint: Endpoint,
        path: &str,
        query: Vec<String>,
        protocol: Protocol,
        tell: impl Fn(Told<'_>) + 'static,
    ) -> Self {
        let inner = Rc::new(Inner {
            open: RefCell::default(),
            deadline: RefCell::default(),
            tell: Box::new(tell),
        });
        let weak = Rc::downgrade(&inner);
        let path = path.to_owned();
        spawn_local(async move {
            let slot = match protocol {
                Protocol::Socket => None,
                Protocol::Events { must, .. } => {
                    let slot = slot::take(must).await;
                    if slot.is_none() {
                        if let Some(inner) = weak.upgrade() {
                            (inner.tell)(Told::Crowded);
                        }
                        return;
                    }
                    slot
                }
            };
            let address = address(&endpoint, path, query, protocol).await;
            let Some(inner) = weak.upgrade() else {
                return;
            };
            // A browser refuses to begin where it allows no such connection (mixed content).
            let (code, reason) = match address {
                Ok(address) if inner.connect(&address, protocol, slot).is_some() => return,
                Ok(_) => (ABNORMAL, String::new()),
                Err(refusal) => refusal.as_close(),
            };
            let reason = &reason;
            (inner.tell)(Told::Closed { code, reason });
        });
        Self(inner)
    }

    /// Told as closed after so long, unless [`Self::is_good`] comes before.
    pub(super) fn give(&self, wait_ms: u32) {
        let weak = Rc::downgrade(&self.0);
        let deadline = Timeout::new(wait_ms, move || {
            if let Some(inner) = weak.upgrade() {
                (inner.tell)(Told::Closed {
                    code: ABNORMAL,
                    reason: "",
                });
            }
        });
        self.0.deadline.replace(Some(deadline));
    }

    /// It does what it was opened for.
    pub(super) fn is_good(&self) {
        self.0.deadline.take();
    }

    /// Sends a text; on an event stream, or while it is not open, nothing happens.
    pub(super) fn send(&self, text: &str) {
        if let Some(Open {
            end: End::Socket(socket),
            ..
        }) = &*self.0.open.borrow()
        {
            // A socket that is closing refuses; its close event is on the way.
            drop(socket.send_with_str(text));
        }
    }
}

impl Inner {
    /// `None` where the browser refuses to begin.
    fn connect(
        self: &Rc<Self>,
        address: &str,
        protocol: Protocol,
        slot: Option<Slot>,
    ) -> Option<()> {
        let (end, names, ending): (_, &[_], _) = match protocol {
            Protocol::Socket => {
                let socket = WebSocket::new(address).ok()?;
                socket.set_binary_type(BinaryType::Arraybuffer);
                (End::Socket(socket), &["message"], "close")
            }
            // The browser would come back by itself, when it likes and without saying so.
            Protocol::Events { names, .. } => {
                (End::Events(EventSource::new(address).ok()?), names, "error")
            }
        };
        let target: &EventTarget = match &end {
            End::Socket(socket) => socket,
            End::Events(source) => source,
        };
        let on = |name: &'static str, then: fn(&Self, &'static str, &web_sys::Event)| {
            let weak = Rc::downgrade(self);
            EventListener::new(target, name, move |event| {
                if let Some(inner) = weak.upgrade() {
                    then(&inner, name, event);
                }
            })
        };
        let mut listeners = vec![
            on("open", |inner, _, _| (inner.tell)(Told::Opened)),
            on(ending, |inner, _, event| {
                let close = event.dyn_ref::<CloseEvent>();
                let reason = close.map(CloseEvent::reason).unwrap_or_default();
                (inner.tell)(Told::Closed {
                    code: close.map_or(ABNORMAL, CloseEvent::code),
                    reason: &reason,
                });
            }),
        ];
        listeners.extend(names.iter().map(|name| {
            on(name, |inner, name, event| {
                if let Some(message) = event.dyn_ref::<MessageEvent>() {
                    (inner.tell)(Told::Came(name, message));
                }
            })
        }));
        self.open.replace(Some(Open {
            end,
            _listeners: listeners,
            _slot: slot,
        }));
        Some(())
    }
}

/// The address of `path` with these parts of a query, and a ticket where one is needed.
async fn address(
    endpoint: &Endpoint,
    mut path: String,
    mut query: Vec<String>,
    protocol: Protocol,
) -> Result<String, Refusal> {
    if fetch::token(endpoint).is_some() {
        let ticket = fetch::ticket(endpoint).await?;
        query.push(format!("ticket={}", encode_query(&ticket)));
    }
    for part in query {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(&part);
    }
    Ok(match protocol {
        Protocol::Socket => endpoint.ws(&path),
        Protocol::Events { .. } => endpoint.http(&path),
    })
}

/// A timer that is set anew again and again.
#[derive(Default)]
pub(super) struct Alarm(RefCell<Option<Timeout>>);

impl Alarm {
    /// Rings once at this time of our clock in place of what was set before; `None` never rings.
    pub(super) fn set(&self, at: Option<f64>, ring: impl FnOnce() + 'static) {
        self.0.replace(at.map(|at| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to some minutes"
            )]
            let wait = within(at - platform::now_ms(), 0.0, ALARM_MS_MAX).ceil() as u32;
            Timeout::new(wait, ring)
        }));
    }

    /// Does not ring any more.
    pub(super) fn stop(&self) {
        self.0.take();
    }
}
