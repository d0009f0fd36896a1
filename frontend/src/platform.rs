//! The few things the page asks the browser for, in one place: time, zone, storage, network.

use gloo::utils::window;
use wasm_bindgen::JsCast;

/// Our clock: Unix milliseconds that never go back, whatever happens to the computer's clock.
#[must_use]
pub fn now_ms() -> f64 {
    window()
        .performance()
        .map_or_else(js_sys::Date::now, |performance| {
            performance.time_origin() + performance.now()
        })
}

/// Minutes that local time was ahead of UTC at that moment.
#[must_use]
pub fn zone_offset_min(unix_ms: f64) -> i32 {
    let date = js_sys::Date::new(&wasm_bindgen::JsValue::from_f64(unix_ms));
    let behind = date.get_timezone_offset();
    #[expect(clippy::cast_possible_truncation, reason = "within a day of minutes")]
    if behind.is_finite() {
        -(behind as i32)
    } else {
        0
    }
}

/// The origin that this page came from, such as `https://metrics.example.org`.
#[must_use]
pub fn page_origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// The part of the page's address behind and with its `#`; empty when there is none.
#[must_use]
pub fn hash() -> String {
    window().location().hash().unwrap_or_default()
}

/// What the address of an admin link has behind its `#`, before the secret.
const ADMIN_LINK: &str = "#admin=";

/// Whether the part behind `#` is an admin link's.
#[must_use]
pub fn is_admin_link(hash: &str) -> bool {
    hash.starts_with(ADMIN_LINK)
}

/// The secret of the admin link that this page was opened with. It is taken out of the address,
/// so that neither the history nor whoever looks at the screen has it.
#[must_use]
pub fn take_admin_link() -> Option<String> {
    let hash = hash();
    let secret = hash.strip_prefix(ADMIN_LINK)?;
    if let Ok(history) = window().history() {
        // Fails only where the browser forbids it: the link works once in any case.
        drop(history.replace_state_with_url(
            &wasm_bindgen::JsValue::NULL,
            "",
            Some(&with_hash("")),
        ));
    }
    (!secret.is_empty()).then(|| secret.to_owned())
}

/// The part of the page's address from its `?` to its `#`, without either.
#[must_use]
pub fn search() -> String {
    let search = window().location().search().unwrap_or_default();
    search.trim_start_matches('?').to_owned()
}

/// This page's address with another part behind `#`. Whole, since one of only that part would
/// be taken from `<base href>`, which need not be where the page is.
#[must_use]
pub fn with_hash(hash: &str) -> String {
    let location = window().location();
    let part = |part: Result<String, _>| part.unwrap_or_default();
    format!(
        "{}{}{hash}",
        part(location.pathname()),
        part(location.search())
    )
}

/// What a chart leaves free of the window's width.
const BESIDE_CHART_PX: f64 = 110.0;

/// Steps that a chart across the page has room for: about one for each pixel, within bounds that
/// keep answers small.
#[must_use]
pub fn points_across() -> f64 {
    let width = window().inner_width().ok().and_then(|width| width.as_f64());
    width.map_or(1_200.0, |width| {
        let free = width - BESIDE_CHART_PX;
        if free > 200.0 {
            free.min(1_200.0)
        } else {
            200.0
        }
    })
}

/// Goes to another view of this page: another part behind `#`.
pub fn go(hash: &str) {
    // Fails only where the page may not go anywhere.
    drop(window().location().set_hash(hash));
}

/// Puts `text` on the clipboard, where the page may; a browser lets it only in safe contexts.
pub fn copy(text: &str) -> bool {
    let navigator = window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &"clipboard".into()).unwrap_or_default();
    let write = js_sys::Reflect::get(&clipboard, &"writeText".into()).unwrap_or_default();
    write
        .dyn_ref::<js_sys::Function>()
        .is_some_and(|write| write.call1(&clipboard, &text.into()).is_ok())
}

/// A number with all of its digits.
#[must_use]
pub fn digits(number: f64) -> String {
    let text = js_sys::Number::from(number).to_string_with_radix(10);
    text.map(String::from).unwrap_or_default()
}

/// Saves what is at `address`, such as a `data:` one, under `name` where the browser keeps files.
pub fn save(address: &str, name: &str) {
    let link = gloo::utils::document().create_element("a").ok();
    if let Some(link) = link.and_then(|link| link.dyn_into::<web_sys::HtmlElement>().ok()) {
        // Both fail only for names that are none.
        drop(link.set_attribute("href", address));
        drop(link.set_attribute("download", name));
        link.click();
    }
}

/// A remembered value; `None` also where the browser forbids storage.
#[must_use]
pub fn remembered(key: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(key).ok()?
}

/// Remembers a value, as far as the browser allows.
pub fn remember(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        // A full or forbidden storage costs the memory of a preference and nothing else.
        drop(storage.set_item(key, value));
    }
}

/// A value remembered until this tab is closed, and by no other tab.
#[must_use]
pub fn remembered_in_tab(key: &str) -> Option<String> {
    window().session_storage().ok()??.get_item(key).ok()?
}

/// Remembers a value until this tab is closed; `None` forgets it.
pub fn remember_in_tab(key: &str, value: Option<&str>) {
    if let Ok(Some(storage)) = window().session_storage() {
        // Where the browser forbids storage the reader logs in again after a reload.
        drop(match value {
            Some(value) => storage.set_item(key, value),
            None => storage.remove_item(key),
        });
    }
}

/// Whether the reader's system matches a media query.
#[must_use]
pub fn media_matches(query: &str) -> bool {
    window()
        .match_media(query)
        .ok()
        .flatten()
        .is_some_and(|list| list.matches())
}

/// Whether the browser says there is a network.
#[must_use]
pub fn online() -> bool {
    window().navigator().on_line()
}

/// Whether the page is in a background tab or a minimised window.
#[must_use]
pub fn hidden() -> bool {
    gloo::utils::document().hidden()
}

/// A number that no two pages share, to spread their attempts to reconnect.
#[must_use]
pub fn seed() -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "any bits will do"
    )]
    let seed = (js_sys::Math::random() * 9e15) as u64;
    seed
}
