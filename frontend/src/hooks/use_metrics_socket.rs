//! Keeps the metrics socket of an endpoint open and the stores fed from it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo::{
    events::EventListener,
    render::{AnimationFrame, request_animation_frame},
    timers::callback::Timeout,
    utils::{document, window},
};
use wasm_bindgen::JsCast;
use web_sys::{CloseEvent, MessageEvent, WebSocket};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use crate::{
    net::{
        config::{Endpoint, encode_query},
        feed::{Action, Cursor, Event, Feed, Update, View},
        fetch,
    },
    platform,
    stores::{connection::ConnectionStore, stats::StatsStore},
};

/// In a hidden tab there are no animation frames; what arrived is taken in this often instead.
const HIDDEN_FLUSH_MS: u32 = 250;

/// A close code for a socket that could not even be made.
const ABNORMAL: u16 = 1006;

/// Tries at once what would otherwise wait; calling it is always harmless.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nudge(Callback<()>);

impl Nudge {
    /// Try now.
    pub fn now(&self) {
        self.0.emit(());
    }
}

/// Connects to the metrics of `endpoint` for as long as the component is mounted, and feeds
/// [`StatsStore`] and [`ConnectionStore`]. Another endpoint closes the socket and opens one
/// there; unmounting closes it.
#[hook]
pub fn use_metrics_socket(endpoint: Endpoint) -> Nudge {
    let stats = use_dispatch::<StatsStore>();
    let connection = use_dispatch::<ConnectionStore>();
    let running = use_mut_ref(|| None::<Rc<Driver>>);

    {
        let running = Rc::clone(&running);
        use_effect_with(endpoint, move |endpoint| {
            let driver = Driver::start(endpoint.clone(), stats, connection);
            running.replace(Some(Rc::clone(&driver)));
            move || {
                running.take();
                driver.stop();
            }
        });
    }

    let nudge = use_callback((), move |(), ()| {
        // Cloned out of the cell first: what the nudge leads to may look into it again.
        let driver = running.borrow().clone();
        if let Some(driver) = driver {
            driver.happened(Event::Nudge);
        }
    });
    Nudge(nudge)
}

/// An open socket with its listeners; closed and silent once dropped.
struct Socket {
    socket: WebSocket,
    _listeners: [EventListener; 3],
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Fails only for a forbidden close code, and none is given.
        drop(self.socket.close());
    }
}

/// Runs the [`Feed`] on a real socket, real timers and a real clock.
struct Driver {
    endpoint: Endpoint,
    feed: RefCell<Feed>,
    socket: RefCell<Option<Socket>>,
    timer: RefCell<Option<Timeout>>,
    listeners: RefCell<Vec<EventListener>>,
    /// What arrived since the last flush; emptied by each.
    updates: RefCell<Vec<Update>>,
    view: RefCell<Option<View>>,
    frame: RefCell<Option<AnimationFrame>>,
    hidden_flush: RefCell<Option<Timeout>>,
    stopped: Cell<bool>,
    stats: Dispatch<StatsStore>,
    connection: Dispatch<ConnectionStore>,
}

impl Driver {
    fn start(
        endpoint: Endpoint,
        stats: Dispatch<StatsStore>,
        connection: Dispatch<ConnectionStore>,
    ) -> Rc<Self> {
        let driver = Rc::new(Self {
            endpoint,
            feed: RefCell::new(Feed::new(platform::seed())),
            socket: RefCell::default(),
            timer: RefCell::default(),
            listeners: RefCell::default(),
            updates: RefCell::default(),
            view: RefCell::default(),
            frame: RefCell::default(),
            hidden_flush: RefCell::default(),
            stopped: Cell::new(false),
            stats,
            connection,
        });
        driver.listen();
        driver.happened(Event::Network {
            online: platform::online(),
        });
        driver.happened(Event::Start);
        driver
    }

    fn stop(&self) {
        self.stopped.set(true);
        self.listeners.take();
        self.socket.take();
        self.timer.take();
        self.frame.take();
        self.hidden_flush.take();
    }

    /// Moments at which trying again is likely to help.
    fn listen(self: &Rc<Self>) {
        let on = |target: &web_sys::EventTarget, name: &'static str, then: fn(&Rc<Self>)| {
            let weak = Rc::downgrade(self);
            EventListener::new(target, name, move |_| {
                if let Some(driver) = weak.upgrade() {
                    then(&driver);
                }
            })
        };
        let nudge: fn(&Rc<Self>) = |driver| driver.happened(Event::Nudge);
        let network: fn(&Rc<Self>) = |driver| {
            driver.happened(Event::Network {
                online: platform::online(),
            });
        };
        self.listeners.replace(vec![
            on(&window(), "online", network),
            on(&window(), "offline", network),
            on(&window(), "focus", nudge),
            on(&window(), "pageshow", nudge),
            on(&document(), "visibilitychange", |driver| {
                // Frames do not come while hidden, timers hardly; take in what is there.
                driver.flush();
                if !platform::hidden() {
                    driver.happened(Event::Nudge);
                }
            }),
        ]);
    }

    /// Tells the feed, does what it asks for, and plans its next wake.
    fn happened(self: &Rc<Self>, event: Event<'_>) {
        if self.stopped.get() {
            return;
        }
        let actions = self.feed.borrow_mut().on(platform::now_ms(), event);
        for action in actions {
            match action {
                Action::Connect(cursor) => self.connect(cursor.as_ref()),
                Action::Send(message) => {
                    if let Some(open) = &*self.socket.borrow()
                        && let Ok(text) = serde_json::to_string(&message)
                    {
                        // A socket that is closing refuses; its close event is on the way.
                        drop(open.socket.send_with_str(&text));
                    }
                }
                Action::Close => drop(self.socket.take()),
                Action::Probe => self.probe(),
                Action::Apply(update) => {
                    self.updates.borrow_mut().push(update);
                    self.request_flush();
                }
                Action::Show(view) => {
                    self.view.replace(Some(view));
                    self.request_flush();
                }
            }
        }
        self.plan();
    }

    fn plan(self: &Rc<Self>) {
        let now = platform::now_ms();
        let timer = self.feed.borrow().wake_at(now).map(|at| {
            let weak = Rc::downgrade(self);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to a minute"
            )]
            let wait = (at - now).clamp(0.0, 60_000.0).ceil() as u32;
            Timeout::new(wait, move || {
                if let Some(driver) = weak.upgrade() {
                    driver.happened(Event::Wake);
                }
            })
        });
        self.timer.replace(timer);
    }

    fn connect(self: &Rc<Self>, cursor: Option<&Cursor>) {
        let query = cursor.map_or_else(String::new, |cursor| {
            format!(
                "?epoch={}&offset={}",
                encode_query(&cursor.epoch),
                cursor.offset
            )
        });
        let opened = WebSocket::new(&self.endpoint.ws(&format!("/ws/metrics{query}")));
        let Ok(socket) = opened else {
            // Refused before it began (mixed content): reported like any other failure, but
            // from a task of its own, since the feed is in the middle of an event.
            let weak = Rc::downgrade(self);
            wasm_bindgen_futures::spawn_local(async move {
                if let Some(driver) = weak.upgrade() {
                    driver.happened(Event::Closed {
                        code: ABNORMAL,
                        reason: "",
                    });
                }
            });
            return;
        };
        let weak = Rc::downgrade(self);
        let on_open = EventListener::new(&socket, "open", move |_| {
            if let Some(driver) = weak.upgrade() {
                driver.happened(Event::Opened);
            }
        });
        let weak = Rc::downgrade(self);
        let on_message = EventListener::new(&socket, "message", move |event| {
            let text = event
                .dyn_ref::<MessageEvent>()
                .and_then(|message| message.data().as_string());
            if let (Some(driver), Some(text)) = (weak.upgrade(), text) {
                driver.happened(Event::Text(&text));
            }
        });
        let weak = Rc::downgrade(self);
        let on_close = EventListener::new(&socket, "close", move |event| {
            if let Some(driver) = weak.upgrade() {
                // Not dropped here: this very listener is running.
                let closed = driver.socket.take();
                let (code, reason) = event
                    .dyn_ref::<CloseEvent>()
                    .map_or((ABNORMAL, String::new()), |close| {
                        (close.code(), close.reason())
                    });
                driver.happened(Event::Closed {
                    code,
                    reason: &reason,
                });
                wasm_bindgen_futures::spawn_local(async move { drop(closed) });
            }
        });
        self.socket.replace(Some(Socket {
            socket,
            _listeners: [on_open, on_message, on_close],
        }));
    }

    fn probe(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let endpoint = self.endpoint.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let diagnosis = fetch::diagnose(&endpoint).await;
            if let Some(driver) = weak.upgrade() {
                driver.happened(Event::Probed(Some(diagnosis)));
            }
        });
    }

    /// Takes in what arrived in the next animation frame, or soon when there are none.
    fn request_flush(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let flush = move || {
            if let Some(driver) = weak.upgrade() {
                driver.flush();
            }
        };
        if platform::hidden() {
            if self.hidden_flush.borrow().is_none() {
                self.hidden_flush
                    .replace(Some(Timeout::new(HIDDEN_FLUSH_MS, flush)));
            }
        } else if self.frame.borrow().is_none() {
            self.frame
                .replace(Some(request_animation_frame(move |_| flush())));
        }
    }

    fn flush(&self) {
        self.frame.take();
        self.hidden_flush.take();
        let updates = self.updates.take();
        if !updates.is_empty() {
            let offset_ms = self.feed.borrow().clock_offset_ms();
            self.stats
                .reduce_mut(|stats| stats.apply(updates, offset_ms));
        }
        if let Some(view) = self.view.take() {
            self.connection
                .reduce_mut(|connection| connection.show(view));
        }
    }
}
