//! Keys that work wherever nothing is being typed: time, pause, views, help. The help lists them.

use gloo::{
    events::{EventListener, EventListenerOptions},
    utils::window,
};
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::use_effect_with;
use crate::{
    chart::stage::Stage,
    platform,
    stores::{
        change::Change,
        time::{RANGES, TimeRange},
        view::{Overlay, Page, Range, ViewStore, time_hash},
    },
};

/// Where the browser remembers that single keys do nothing.
pub(crate) const KEYS_KEY: &str = "pulseboard-keys";

/// The view that `g` and then this key leads to.
fn view_of(key: &str) -> Option<Page> {
    Page::ALL.into_iter().find(|page| page.key() == key)
}

/// The time that a key leads to from `time`.
fn time_after(key: &str, time: TimeRange, now_ms: f64) -> Option<TimeRange> {
    let length_ms = time.length_ms(now_ms);
    match key {
        "[" => time.moved(now_ms, -0.5),
        "]" => time.moved(now_ms, 0.5),
        "+" | "=" => time.zoomed(now_ms, 0.5),
        "-" => time.zoomed(now_ms, 2.0),
        "0" | "l" => Some(TimeRange::last(length_ms)),
        " " if time.is_live() => {
            let (from_ms, to_ms) = time.ends(now_ms);
            Some(TimeRange::between(from_ms, to_ms))
        }
        " " => Some(TimeRange::last(length_ms)),
        digit => {
            let place = digit.parse::<usize>().ok()?.checked_sub(1)?;
            RANGES.get(place).map(|range| TimeRange::last(range.2))
        }
    }
}

/// On the overview, whose charts show what the page has itself.
fn on_overview(key: &str, stage: &Stage, view: &Dispatch<ViewStore>) -> bool {
    match key {
        " " => stage.toggle_pause(),
        "1" | "2" | "3" => {
            let place = key.parse::<usize>().unwrap_or(1) - 1;
            view.change(|view| view.show(Range::ALL.get(place).copied().unwrap_or_default()));
        }
        "0" | "l" => view.change(|view| view.zoom = None),
        _ => return false,
    }
    true
}

/// Ctrl or Cmd with a key; whether it was one of ours.
fn with_control(event: &KeyboardEvent, is_typed: bool, view: &Dispatch<ViewStore>) -> bool {
    match event.key().to_ascii_lowercase().as_str() {
        "k" => view.change(|view| view.overlay = Overlay::Palette),
        "z" if !is_typed => {
            // Both do nothing where there is nothing to go to.
            if let Ok(history) = window().history() {
                drop(match event.shift_key() {
                    true => history.forward(),
                    false => history.back(),
                });
            }
        }
        _ => return false,
    }
    true
}

/// Listens to keys as long as the page is there.
#[hook]
pub fn use_keys(stage: &Stage) {
    let view = use_dispatch::<ViewStore>();
    let stage = stage.clone();
    use_effect_with((), move |()| {
        let is_going = std::cell::Cell::new(false);
        let options = EventListenerOptions::enable_prevent_default();
        let listener =
            EventListener::new_with_options(&window(), "keydown", options, move |event| {
                let Some(event) = event.dyn_ref::<KeyboardEvent>() else {
                    return;
                };
                let is_typed = platform::is_typing(event.target());
                let key = event.key();
                if event.ctrl_key() || event.meta_key() {
                    if with_control(event, is_typed, &view) {
                        event.prevent_default();
                    }
                    return;
                }
                let state = view.get();
                let is_off = is_typed
                    || event.alt_key()
                    || event.default_prevented()
                    || state.overlay != Overlay::None
                    || platform::remembered(KEYS_KEY).as_deref() == Some("off");
                if is_off || key == " " && platform::is_pressed(event.target()) {
                    return;
                }
                if is_going.replace(key == "g") {
                    if let Some(page) = view_of(&key) {
                        platform::go(page.hash());
                    }
                    return;
                }
                if key == "?" {
                    event.prevent_default();
                    return view.change(|view| view.overlay = Overlay::Help);
                }
                let is_done = match state.page {
                    Page::Overview => on_overview(&key, &stage, &view),
                    page if page.has_time(&state.asked) => {
                        let now_ms = stage.now_ms();
                        let zone = platform::zone_offset_min;
                        let time = TimeRange::read(&state.asked, now_ms, zone);
                        let next = time_after(&key, time.unwrap_or_default(), now_ms);
                        let next = next.and_then(|next| next.checked(now_ms));
                        next.map(|next| platform::go(&time_hash(&platform::hash(), next)))
                            .is_some()
                    }
                    _ => false,
                };
                if is_done {
                    event.prevent_default();
                }
            });
        move || drop(listener)
    });
}
