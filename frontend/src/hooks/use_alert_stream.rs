//! Keeps the alert stream of an endpoint open and the alert store fed from it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo::{events::EventListener, timers::callback::Timeout};
use pulseboard_shared::protocol::alerts::RESOLVED_EVENT;
use wasm_bindgen::JsCast;
use web_sys::{EventSource, MessageEvent};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{door, use_effect_with};
use crate::{
    chart::scale::within,
    net::{
        alert_link::{Action, AlertLink, Event},
        config::{Endpoint, encode_query},
        fetch,
    },
    platform,
    stores::alert::AlertStore,
};

/// Listens to the alerts of `endpoint` for as long as the component is mounted, and feeds
/// [`AlertStore`]. When `nudge` grows, an attempt that would wait is made at once.
#[hook]
pub fn use_alert_stream(endpoint: Endpoint, nudge: u64) {
    let alerts = use_dispatch::<AlertStore>();
    let running = use_mut_ref(|| None::<Rc<Driver>>);

    {
        let running = Rc::clone(&running);
        use_effect_with(endpoint, move |endpoint| {
            let driver = Driver::start(endpoint.clone(), alerts);
            running.replace(Some(Rc::clone(&driver)));
            move || {
                running.take();
                driver.stop();
            }
        });
    }

    use_effect_with(nudge, move |_| {
        let driver = running.borrow().clone();
        if let Some(driver) = driver {
            driver.happened(Event::Nudge);
        }
    });
}

/// An open stream with its listeners; closed and silent once dropped.
struct Source {
    source: EventSource,
    _listeners: [EventListener; 4],
}

impl Drop for Source {
    fn drop(&mut self) {
        self.source.close();
    }
}

/// Runs the [`AlertLink`] on a real stream, real timers and a real clock.
struct Driver {
    endpoint: Endpoint,
    link: RefCell<AlertLink>,
    source: RefCell<Option<Source>>,
    timer: RefCell<Option<Timeout>>,
    /// Counts attempts, so that an address that comes late is told from the one wanted now.
    opened: Cell<u64>,
    stopped: Cell<bool>,
    alerts: Dispatch<AlertStore>,
}

impl Driver {
    fn start(endpoint: Endpoint, alerts: Dispatch<AlertStore>) -> Rc<Self> {
        let driver = Rc::new(Self {
            endpoint,
            link: RefCell::new(AlertLink::new(platform::seed())),
            source: RefCell::default(),
            timer: RefCell::default(),
            opened: Cell::new(0),
            stopped: Cell::new(false),
            alerts,
        });
        driver.happened(Event::Start);
        driver
    }

    fn stop(&self) {
        self.stopped.set(true);
        self.source.take();
        self.timer.take();
    }

    fn happened(self: &Rc<Self>, event: Event<'_>) {
        if self.stopped.get() {
            return;
        }
        let actions = self.link.borrow_mut().on(platform::now_ms(), event);
        for action in actions {
            match action {
                Action::Open(last_id) => self.open(last_id.as_deref()),
                Action::Close => {
                    // Dropped from a task of its own: one of its listeners may be running.
                    let closed = self.source.take();
                    if let Some(source) = &closed {
                        source.source.close();
                    }
                    wasm_bindgen_futures::spawn_local(async move { drop(closed) });
                }
                Action::Apply(alert) => self.alerts.reduce_mut(|alerts| alerts.apply(&alert)),
                Action::CatchUp => self.catch_up(),
                Action::Listening(listening) => self
                    .alerts
                    .reduce_mut(|alerts| alerts.set_listening(listening)),
            }
        }
        self.plan();
    }

    fn catch_up(self: &Rc<Self>) {
        let asked = self.alerts.get().firing_incidents();
        let weak = Rc::downgrade(self);
        let endpoint = self.endpoint.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let active = fetch::active_alerts(&endpoint).await;
            if let (Some(driver), Some(active)) = (weak.upgrade(), active)
                && !driver.stopped.get()
            {
                driver
                    .alerts
                    .reduce_mut(|alerts| alerts.reconcile(&asked, &active));
            }
        });
    }

    fn plan(self: &Rc<Self>) {
        let timer = self.link.borrow().wake_at().map(|at| {
            let weak = Rc::downgrade(self);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to two minutes"
            )]
            let wait = within(at - platform::now_ms(), 0.0, 120_000.0).ceil() as u32;
            Timeout::new(wait, move || {
                if let Some(driver) = weak.upgrade() {
                    driver.happened(Event::Wake);
                }
            })
        });
        self.timer.replace(timer);
    }

    fn open(self: &Rc<Self>, last_id: Option<&str>) {
        let query = last_id.map(|id| format!("last-event-id={}", encode_query(id)));
        let weak = Rc::downgrade(self);
        let number = self.opened.get() + 1;
        self.opened.set(number);
        door::address(
            &self.endpoint,
            "/events/alerts",
            query.into_iter().collect(),
            false,
            move |address| {
                if let Some(driver) = weak.upgrade()
                    && !driver.stopped.get()
                    && driver.opened.get() == number
                {
                    driver.listen(
                        address
                            .ok()
                            .and_then(|address| EventSource::new(&address).ok()),
                    );
                }
            },
        );
    }

    fn listen(self: &Rc<Self>, source: Option<EventSource>) {
        let Some(source) = source else {
            let weak = Rc::downgrade(self);
            wasm_bindgen_futures::spawn_local(async move {
                if let Some(driver) = weak.upgrade() {
                    driver.happened(Event::Failed);
                }
            });
            return;
        };
        let listener = |name: &'static str, then: fn(&Rc<Self>, &str, &str)| {
            let weak = Rc::downgrade(self);
            EventListener::new(&source, name, move |event| {
                if let Some(driver) = weak.upgrade() {
                    let message = event.dyn_ref::<MessageEvent>();
                    let data = message.and_then(|message| message.data().as_string());
                    let id = message.map(MessageEvent::last_event_id);
                    then(&driver, &data.unwrap_or_default(), &id.unwrap_or_default());
                }
            })
        };
        let listeners = [
            listener("open", |driver, _, _| driver.happened(Event::Opened)),
            listener("error", |driver, _, _| driver.happened(Event::Failed)),
            listener("message", |driver, data, id| {
                driver.happened(Event::Unnamed { data, id });
            }),
            listener(RESOLVED_EVENT, |driver, data, id| {
                driver.happened(Event::Resolved { data, id });
            }),
        ];
        self.source.replace(Some(Source {
            source,
            _listeners: listeners,
        }));
    }
}
