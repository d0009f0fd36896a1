//! Keeps the ticks of an endpoint coming, by socket, event stream or polling as
//! [`crate::net::ladder`] decides, and the stores fed from them.

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
use web_sys::{BinaryType, CloseEvent, EventSource, MessageEvent, WebSocket};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{door, slot, use_effect_with};
use crate::{
    chart::scale::within,
    net::{
        boot,
        config::{Endpoint, encode_query},
        feed::{Action, Cursor, Event, Feed, Timing, Update, View},
        fetch,
        ladder::Way,
        wire,
    },
    platform,
    stores::{
        change::Change, connection::ConnectionStore, latency::LatencyStore, stats::StatsStore,
    },
};

/// In a hidden tab there are no animation frames; what arrived is taken in this often instead.
const HIDDEN_FLUSH_MS: u32 = 250;

/// A close code for a socket that could not even be made.
const ABNORMAL: u16 = 1006;

/// A better way that has not brought a frame by then is not better.
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

/// An open connection.
enum Line {
    Socket(WebSocket),
    Events(EventSource),
    /// The next question, once it is planned.
    Polling(RefCell<Option<Timeout>>),
}

impl Line {
    /// Nothing arrives any more, though its listeners are still there.
    fn hang_up(&self) {
        match self {
            // Fails only for a forbidden close code, and none is given.
            Self::Socket(socket) => drop(socket.close()),
            Self::Events(source) => source.close(),
            Self::Polling(next) => drop(next.take()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// A [`Line`] with its listeners, and which one it is, so that what belongs to an earlier one is
/// told from it. Closed and silent once dropped.
struct Numbered {
    number: u64,
    way: Way,
    line: Line,
    _listeners: Vec<EventListener>,
    /// Of an event stream: its place among those of this browser.
    _slot: Option<slot::Slot>,
}

/// Runs the [`Feed`] on a real connection, real timers and a real clock.
struct Driver {
    endpoint: Endpoint,
    feed: RefCell<Feed>,
    /// Counts connections.
    lines: Cell<u64>,
    /// The connection in use: its number, also while it is still on its way.
    current: Cell<u64>,
    line: RefCell<Option<Numbered>>,
    /// A better way that is being looked at, beside the one in use.
    looking: Cell<Option<u64>>,
    look: RefCell<Option<Numbered>>,
    look_timer: RefCell<Option<Timeout>>,
    timer: RefCell<Option<Timeout>>,
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
            lines: Cell::new(0),
            current: Cell::new(0),
            line: RefCell::default(),
            looking: Cell::new(None),
            look: RefCell::default(),
            look_timer: RefCell::default(),
            timer: RefCell::default(),
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
        self.line.take();
        self.look.take();
        self.look_timer.take();
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
                Action::Connect(way, cursor) => {
                    self.give_up_look();
                    let number = self.next_number();
                    self.current.set(number);
                    self.open(number, way, cursor.as_ref());
                }
                Action::Look(way, cursor) => {
                    let number = self.next_number();
                    self.looking.set(Some(number));
                    let weak = Rc::downgrade(self);
                    self.look_timer.replace(Some(Timeout::new(LOOK_MS, move || {
                        if let Some(driver) = weak.upgrade() {
                            driver.closed(number, ABNORMAL, "");
                        }
                    })));
                    self.open(number, way, cursor.as_ref());
                }
                Action::Send(message) => {
                    if let Some(Numbered {
                        line: Line::Socket(socket),
                        ..
                    }) = &*self.line.borrow()
                    {
                        let text = wire::client_message(&message);
                        // A socket that is closing refuses; its close event is on the way.
                        drop(socket.send_with_str(&text));
                    }
                }
                Action::Close => {
                    self.current.set(0);
                    drop_later(self.line.take());
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
        let now = platform::now_ms();
        let timer = self.feed.borrow().wake_at(now).map(|at| {
            let weak = Rc::downgrade(self);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to a minute"
            )]
            let wait = within(at - now, 0.0, 60_000.0).ceil() as u32;
            Timeout::new(wait, move || {
                if let Some(driver) = weak.upgrade() {
                    driver.happened(Event::Wake);
                }
            })
        });
        self.timer.replace(timer);
    }

    fn next_number(&self) -> u64 {
        self.lines.set(self.lines.get() + 1);
        self.lines.get()
    }

    fn give_up_look(&self) {
        self.looking.set(None);
        self.look_timer.take();
        drop_later(self.look.take());
    }

    /// Something arrived on connection `number`; what comes of connections past is left out.
    fn heard(self: &Rc<Self>, number: u64, event: Event<'_>) {
        if self.looking.get() == Some(number) {
            // The better way works: from here on it is the way.
            self.looking.set(None);
            self.look_timer.take();
            let Some(better) = self.look.take() else {
                return;
            };
            let way = better.way;
            self.current.set(number);
            drop_later(self.line.replace(Some(better)));
            self.happened(Event::Improved(way));
        }
        if self.current.get() == number {
            self.happened(event);
        }
    }

    /// Connection `number` has ended.
    fn closed(self: &Rc<Self>, number: u64, code: u16, reason: &str) {
        if self.looking.get() == Some(number) {
            self.give_up_look();
            self.happened(Event::LookedInVain);
        } else if self.current.get() == number {
            self.current.set(0);
            drop_later(self.line.take());
            self.happened(Event::Closed { code, reason });
        }
    }

    fn open(self: &Rc<Self>, number: u64, way: Way, cursor: Option<&Cursor>) {
        let mut query = cursor.map(cursor_query).into_iter().collect::<Vec<_>>();
        let path = match way {
            Way::Binary => {
                query.push("encoding=bin".to_owned());
                "/ws/metrics"
            }
            Way::Json => "/ws/metrics",
            Way::Events => "/events/metrics",
            Way::Polling => {
                self.keep(Numbered {
                    number,
                    way,
                    line: Line::Polling(RefCell::default()),
                    _listeners: Vec::new(),
                    _slot: None,
                });
                return self.poll(number);
            }
        };
        if way.is_socket() {
            return self.open_at(number, way, path, query, None);
        }
        let weak = Rc::downgrade(self);
        wasm_bindgen_futures::spawn_local(async move {
            let slot = slot::take(false).await;
            let Some(driver) = weak.upgrade() else {
                return;
            };
            match slot {
                Some(slot) => driver.open_at(number, way, path, query, Some(slot)),
                None => driver.heard(number, Event::Crowded),
            }
        });
    }

    fn open_at(
        self: &Rc<Self>,
        number: u64,
        way: Way,
        path: &str,
        query: Vec<String>,
        slot: Option<slot::Slot>,
    ) {
        let weak = Rc::downgrade(self);
        door::address(
            &self.endpoint,
            path,
            query,
            way.is_socket(),
            move |address| {
                let Some(driver) = weak.upgrade() else {
                    return;
                };
                let wanted = driver.current.get() == number || driver.looking.get() == Some(number);
                if driver.stopped.get() || !wanted {
                    return;
                }
                let line = match &address {
                    Ok(address) if way.is_socket() => driver.socket(number, address),
                    Ok(address) => driver.events(number, address),
                    Err(_) => None,
                };
                if let Some(line) = line {
                    let (line, _listeners) = line;
                    return driver.keep(Numbered {
                        number,
                        way,
                        line,
                        _listeners,
                        _slot: slot,
                    });
                }
                // Refused before it began (mixed content, no ticket): reported like any other
                // failure, but from a task of its own, since the feed is in the middle of an event.
                wasm_bindgen_futures::spawn_local(async move {
                    let (code, reason) = match address {
                        Err(refusal) => refusal.as_close(),
                        Ok(_) => (ABNORMAL, String::new()),
                    };
                    driver.closed(number, code, &reason);
                });
            },
        );
    }

    fn keep(&self, line: Numbered) {
        let slot = if self.looking.get() == Some(line.number) {
            &self.look
        } else {
            &self.line
        };
        drop_later(slot.replace(Some(line)));
    }

    fn socket(self: &Rc<Self>, number: u64, address: &str) -> Option<(Line, Vec<EventListener>)> {
        let socket = WebSocket::new(address).ok()?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let weak = Rc::downgrade(self);
        let on_open = EventListener::new(&socket, "open", move |_| {
            if let Some(driver) = weak.upgrade()
                && driver.current.get() == number
            {
                driver.happened(Event::Opened);
            }
        });
        let weak = Rc::downgrade(self);
        let on_message = EventListener::new(&socket, "message", move |event| {
            let (Some(driver), Some(message)) = (weak.upgrade(), event.dyn_ref::<MessageEvent>())
            else {
                return;
            };
            let data = message.data();
            if let Some(text) = data.as_string() {
                driver.heard(number, Event::Text(&text));
            } else if let Ok(buffer) = data.dyn_into::<ArrayBuffer>() {
                driver.heard(number, Event::Bytes(&Uint8Array::new(&buffer).to_vec()));
            }
        });
        let weak = Rc::downgrade(self);
        let on_close = EventListener::new(&socket, "close", move |event| {
            if let Some(driver) = weak.upgrade() {
                let (code, reason) = event
                    .dyn_ref::<CloseEvent>()
                    .map_or((ABNORMAL, String::new()), |close| {
                        (close.code(), close.reason())
                    });
                driver.closed(number, code, &reason);
            }
        });
        Some((Line::Socket(socket), vec![on_open, on_message, on_close]))
    }

    fn events(self: &Rc<Self>, number: u64, address: &str) -> Option<(Line, Vec<EventListener>)> {
        let source = EventSource::new(address).ok()?;
        let weak = Rc::downgrade(self);
        let on_open = EventListener::new(&source, "open", move |_| {
            if let Some(driver) = weak.upgrade()
                && driver.current.get() == number
            {
                driver.happened(Event::Opened);
            }
        });
        let weak = Rc::downgrade(self);
        let on_message = EventListener::new(&source, "message", move |event| {
            let text = event
                .dyn_ref::<MessageEvent>()
                .and_then(|message| message.data().as_string());
            if let (Some(driver), Some(text)) = (weak.upgrade(), text) {
                driver.heard(number, Event::Text(&text));
            }
        });
        let weak = Rc::downgrade(self);
        let on_error = EventListener::new(&source, "error", move |_| {
            // The browser would come back by itself, when it likes and without saying so.
            if let Some(driver) = weak.upgrade() {
                driver.closed(number, ABNORMAL, "");
            }
        });
        Some((Line::Events(source), vec![on_open, on_message, on_error]))
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
            if let Some(Numbered {
                number: open,
                line: Line::Polling(next),
                ..
            }) = &*driver.line.borrow()
                && *open == number
            {
                let weak = Rc::downgrade(&driver);
                next.replace(Some(Timeout::new(wait, move || {
                    if let Some(driver) = weak.upgrade() {
                        driver.poll(number);
                    }
                })));
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

/// Dropped from a task of its own: one of its listeners may be running.
fn drop_later(line: Option<Numbered>) {
    if let Some(line) = line {
        line.line.hang_up();
        wasm_bindgen_futures::spawn_local(async move { drop(line) });
    }
}

fn cursor_query(cursor: &Cursor) -> String {
    format!(
        "epoch={}&offset={}",
        encode_query(&cursor.epoch),
        cursor.offset
    )
}
