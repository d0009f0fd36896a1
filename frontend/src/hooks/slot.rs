//! Places for event streams, shared by all tabs of a browser.
//!
//! A browser opens six connections to a server of HTTP/1.1, for all tabs together, and an event
//! stream keeps one for as long as it is open: a seventh tab would not even load. Streams are the
//! fall-back, for where no WebSocket opens; so that they leave room for everything else, each
//! needs a place, and there are [`PLACES`]. The browser's locks keep them, and give one back when
//! its tab is closed or crashes. Where there are no locks (a page that is neither from https nor
//! from this machine) only what cannot be asked for again and again instead gets a stream.

use gloo::utils::window;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;

/// Event streams of all tabs together.
const PLACES: u8 = 3;

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(Option<Function>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(release) = &self.0 {
            // Settling a promise cannot fail.
            drop(release.call0(&JsValue::NULL));
        }
    }
}

/// A place, where one is free; one that is not counted, where places cannot be counted and a
/// stream `must` be.
pub(super) async fn take(must: bool) -> Option<Slot> {
    let navigator = window().navigator();
    let locks = Reflect::get(&navigator, &"locks".into()).unwrap_or_default();
    let Ok(request) = Reflect::get(&locks, &"request".into())
        .unwrap_or_default()
        .dyn_into::<Function>()
    else {
        return must.then_some(Slot(None));
    };
    for place in 0..PLACES {
        if let Some(slot) = ask(&locks, &request, place).await {
            return Some(slot);
        }
    }
    None
}

async fn ask(locks: &JsValue, request: &Function, place: u8) -> Option<Slot> {
    let mut release = None;
    // The lock is held until this is settled.
    let held = Promise::new(&mut |resolve, _| release = Some(resolve));
    let slot = Slot(Some(release?));
    let options = Object::new();
    Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE).ok()?;
    let name = format!("pulseboard-stream-{place}");
    let granted = Promise::new(&mut |resolve, refuse| {
        let held = held.clone();
        let on_answer = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            let is_ours = !lock.is_null();
            drop(resolve.call1(&JsValue::NULL, &is_ours.into()));
            if is_ours {
                held.into()
            } else {
                JsValue::UNDEFINED
            }
        });
        if let Err(error) = request.call3(locks, &name.as_str().into(), &options, &on_answer) {
            drop(refuse.call1(&JsValue::NULL, &error));
        }
    });
    let is_ours = JsFuture::from(granted).await.ok()?.is_truthy();
    is_ours.then_some(slot)
}
