//! Keeps the ticks of an endpoint coming, by socket, event stream or polling as
//! [`crate::net::transport`] decides, and the stores fed from them.

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
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsCast;
use web_sys::MessageEvent;
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{
    connection::{Alarm, Connection, Protocol, Told},
    use_effect_with,
};
use crate::{
    chart::scale::within,
    net::{
        boot,
        config::{Endpoint, encode_query},
        feed::{Action, Cursor, Event, Feed, Timing, Update, View},
        fetch,
        transport::Transport,
        wire,
    },
    platform,
    stores::{
        change::Change, connection::ConnectionStore, latency::LatencyStore, stats::StatsStore,
    },
};

/// In a hidden tab there are no animation frames; what arrived is taken in this often instead.
const HIDDEN_FLUSH_MS: u32 = 250;

/// A better transport that has not brought a frame by then is not better.
const LOOK_MS: u32 = 8_000;

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
    let stores = Stores {
        stats: use_dispatch::<StatsStore>(),
        connection: use_dispatch::<ConnectionStore>(),
        latency: use_dispatch::<LatencyStore>(),
    };
    let running = use_mut_ref(|| None::<Rc<Driver>>);

    {
        let running = Rc::clone(&running);
        use_effect_with(endpoint, move |endpoint| {
            let driver = Driver::start(endpoint.clone(), stores);
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

/// One attempt to have the ticks come, on its way or successful. What is left to be heard of it
/// ends when it is dropped.
struct Attempt {
    /// Tells it from others.
    number: u64,
    transport: Transport,
    by: By,
}

enum By {
    Connection(Connection),
    /// The next question, once it is planned.
    Polling(Option<Timeout>),
}

/// Runs the [`Feed`] on a real connection, real timers and a real clock.
struct Driver {
    endpoint: Endpoint,
    feed: RefCell<Feed>,
    /// How many attempts there were.
    attempts: Cell<u64>,
    /// The one in use.
    current: RefCell<Option<Attempt>>,
    /// One over a better transport that is probed beside it.
    better: RefCell<Option<Attempt>>,
    alarm: Alarm,
    listeners: RefCell<Vec<EventListener>>,
    /// What arrived since the last flush; emptied by each.
    updates: RefCell<Vec<Update>>,
    timings: RefCell<Vec<Timing>>,
    view: RefCell<Option<View>>,
    frame: RefCell<Option<AnimationFrame>>,
    hidden_flush: RefCell<Option<Timeout>>,
    /// Since when the page is where it is, in front or not, by our clock.
    seen_since: Cell<f64>,
    stopped: Cell<bool>,
    stores: Stores,
}

/// What a driver feeds.
#[derive(Clone)]
struct Stores {
    stats: Dispatch<StatsStore>,
    connection: Dispatch<ConnectionStore>,
    latency: Dispatch<LatencyStore>,
}

impl Driver {
    fn start(endpoint: Endpoint, stores: Stores) -> Rc<Self> {
        let driver = Rc::new(Self {
            endpoint,
            feed: RefCell::new(Feed::new(platform::seed())),
            attempts: Cell::new(0),
            current: RefCell::default(),
            better: RefCell::default(),
            alarm: Alarm::default(),
            listeners: RefCell::default(),
            updates: RefCell::default(),
            timings: RefCell::default(),
            view: RefCell::default(),
            frame: RefCell::default(),
            hidden_flush: RefCell::default(),
            seen_since: Cell::new(0.0),
            stopped: Cell::new(false),
            stores,
        });
        // Of this very server, and not older than the page.
        if let Some(ticks) = boot::take_ticks().filter(|_| !driver.endpoint.configured()) {
            driver.feed.borrow_mut().begin_behind(&ticks);
        }
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
        self.current.take();
        self.better.take();
        self.alarm.stop();
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
                driver.seen_since.set(platform::now_ms());
                // Frames do not come while hidden, timers hardly; take in what is there.
                driver.flush();
                if !platform::hidden() {
                    driver.happened(Event::Nudge);
                }
            }),
            // A frozen page, which browsers make of old tabs, and which may be in front again.
            on(&document(), "resume", |driver| {
                driver.seen_since.set(platform::now_ms());
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
                Action::Connect(transport, cursor) => {
                    self.better.take();
                    self.connect(transport, cursor.as_ref());
                }
                Action::ProbeBetter(transport, cursor) => {
                    let better = self.open(transport, cursor.as_ref());
                    if let By::Connection(connection) = &better.by {
                        connection.give(LOOK_MS);
                    }
                    self.better.replace(Some(better));
                }
                Action::Send(message) => {
                    if let Some(Attempt {
                        by: By::Connection(connection),
                        ..
                    }) = &*self.current.borrow()
                    {
                        connection.send(&wire::client_message(&message));
                    }
                }
                Action::Close => {
                    self.current.take();
                }
                Action::Probe => self.probe(),
                Action::Apply(update) => {
                    self.updates.borrow_mut().push(update);
                    self.request_flush();
                }
                Action::Timed(timing) => {
                    // In a hidden tab nothing is painted, so nothing can be late.
                    if !platform::hidden() {
                        self.timings.borrow_mut().push(timing);
                    }
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
        let at = self.feed.borrow().wake_at(platform::now_ms());
        let weak = Rc::downgrade(self);
        self.alarm.set(at, move || {
            if let Some(driver) = weak.upgrade() {
                driver.happened(Event::Wake);
            }
        });
    }

    fn is_current(&self, number: u64) -> bool {
        let current = self.current.borrow();
        current.as_ref().is_some_and(|one| one.number == number)
    }

    fn is_better(&self, number: u64) -> bool {
        let better = self.better.borrow();
        better.as_ref().is_some_and(|one| one.number == number)
    }

    fn told(self: &Rc<Self>, number: u64, told: Told<'_>) {
        match told {
            Told::Opened => {
                if self.is_current(number) {
                    self.happened(Event::Opened);
                }
            }
            Told::Came(_, message) => self.came(number, message),
            Told::Crowded => {
                if self.is_current(number) {
                    self.happened(Event::Crowded);
                } else {
                    self.closed(number, 0, "");
                }
            }
            Told::Closed { code, reason } => self.closed(number, code, reason),
        }
    }

    fn came(self: &Rc<Self>, number: u64, message: &MessageEvent) {
        let data = message.data();
        if let Some(text) = data.as_string() {
            self.heard(number, Event::Text(&text));
        } else if let Ok(buffer) = data.dyn_into::<ArrayBuffer>() {
            self.heard(number, Event::Bytes(&Uint8Array::new(&buffer).to_vec()));
        }
    }

    /// Something arrived by attempt `number`.
    fn heard(self: &Rc<Self>, number: u64, event: Event<'_>) {
        if self.is_better(number)
            && let Some(better) = self.better.take()
        {
            // The better transport works: from here on it is the one.
            if let By::Connection(connection) = &better.by {
                connection.is_good();
            }
            let transport = better.transport;
            self.current.replace(Some(better));
            self.happened(Event::Improved(transport));
        }
        if self.is_current(number) {
            self.happened(event);
        }
    }

    /// Attempt `number` has ended.
    fn closed(self: &Rc<Self>, number: u64, code: u16, reason: &str) {
        if self.is_better(number) {
            self.better.take();
            self.happened(Event::ProbeFailed);
        } else if self.is_current(number) {
            self.current.take();
            self.happened(Event::Closed { code, reason });
        }
    }

    fn connect(self: &Rc<Self>, transport: Transport, cursor: Option<&Cursor>) {
        let attempt = self.open(transport, cursor);
        let number = attempt.number;
        self.current.replace(Some(attempt));
        if transport == Transport::Polling {
            self.poll(number);
        }
    }

    fn open(self: &Rc<Self>, transport: Transport, cursor: Option<&Cursor>) -> Attempt {
        let number = self.attempts.get() + 1;
        self.attempts.set(number);
        let mut query = cursor.map(cursor_query).into_iter().collect::<Vec<_>>();
        let (path, protocol) = match transport {
            Transport::Binary => {
                query.push("encoding=bin".to_owned());
                ("/ws/metrics", Protocol::Socket)
            }
            Transport::Json => ("/ws/metrics", Protocol::Socket),
            Transport::Events => (
                "/events/metrics",
                Protocol::Events {
                    names: &["message"],
                    must: false,
                },
            ),
            Transport::Polling => {
                return Attempt {
                    number,
                    transport,
                    by: By::Polling(None),
                };
            }
        };
        let weak = Rc::downgrade(self);
        let endpoint = self.endpoint.clone();
        let connection = Connection::open(endpoint, path, query, protocol, move |told| {
            if let Some(driver) = weak.upgrade() {
                driver.told(number, told);
            }
        });
        Attempt {
            number,
            transport,
            by: By::Connection(connection),
        }
    }

    /// Asks for what is new, and once that is here, plans to ask again.
    fn poll(self: &Rc<Self>, number: u64) {
        let weak = Rc::downgrade(self);
        let query = self.feed.borrow().cursor().map(cursor_query);
        let path = match query {
            Some(query) => format!("/api/metrics/since?{query}"),
            None => "/api/metrics/since".to_owned(),
        };
        let endpoint = self.endpoint.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let answer = fetch::call(&endpoint, &path, None).await;
            let Some(driver) = weak.upgrade() else {
                return;
            };
            match answer {
                Ok(text) => driver.heard(number, Event::Text(&text)),
                Err(refusal) => {
                    let (code, reason) = refusal.as_close();
                    return driver.closed(number, code, &reason);
                }
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped"
            )]
            let wait = within(driver.feed.borrow().interval_ms(), 250.0, 60_000.0) as u32;
            if let Some(Attempt {
                number: open,
                by: By::Polling(next),
                ..
            }) = &mut *driver.current.borrow_mut()
                && *open == number
            {
                let weak = Rc::downgrade(&driver);
                *next = Some(Timeout::new(wait, move || {
                    if let Some(driver) = weak.upgrade() {
                        driver.poll(number);
                    }
                }));
            }
        });
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

    fn flush(self: &Rc<Self>) {
        self.frame.take();
        self.hidden_flush.take();
        let updates = self.updates.take();
        if !updates.is_empty() {
            let offset_ms = self.feed.borrow().clock_offset_ms();
            self.stores
                .stats
                .change(|stats| stats.apply(updates, offset_ms));
        }
        if let Some(view) = self.view.take() {
            self.stores
                .connection
                .change(|connection| connection.show(view));
        }
        let timings = self.timings.take();
        if !timings.is_empty() {
            // Charts and cards are drawn in this very frame; this runs behind it, once all is
            // painted. Not to be replaced by the next: what was painted late counts most.
            let weak = Rc::downgrade(self);
            Timeout::new(0, move || {
                if let Some(driver) = weak.upgrade().filter(|driver| !driver.stopped.get()) {
                    let now_ms = platform::now_ms();
                    let offset_ms = driver.feed.borrow().clock_offset_ms();
                    let (painted, seen) = (now_ms + offset_ms, driver.seen_since.get() + offset_ms);
                    driver
                        .stores
                        .latency
                        .change(|latency| latency.add(now_ms, &timings, painted, seen));
                }
            })
            .forget();
        }
    }
}

fn cursor_query(cursor: &Cursor) -> String {
    format!(
        "epoch={}&offset={}",
        encode_query(&cursor.epoch),
        cursor.offset
    )
}
