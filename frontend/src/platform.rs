//! The few things the page asks the browser for, in one place: time, zone, storage, network.

use std::cell::RefCell;

use gloo::utils::window;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, EventTarget};

use crate::words;

/// Our clock: Unix milliseconds that never go back, whatever happens to the computer's clock.
#[must_use]
pub fn now_ms() -> f64 {
    window()
        .performance()
        .map_or_else(js_sys::Date::now, |performance| {
            performance.time_origin() + performance.now()
        })
}

/// In which zone times are shown.
#[derive(Default)]
enum Zone {
    /// The computer's.
    #[default]
    Browser,
    Utc,
    /// By its name; what formats a moment there, and the newest offset that was found: from when
    /// on and how many minutes.
    Named(String, js_sys::Function, std::cell::Cell<(f64, i32)>),
}

/// Offsets change at quarters of an hour, if at all.
const QUARTER_MS: f64 = 900_000.0;

thread_local! {
    static ZONE: RefCell<Zone> = const { RefCell::new(Zone::Browser) };
}

/// Shows times in the zone called `name` from now on, in the computer's where it is empty; nothing
/// changes where the browser knows none of this name. Whether it does.
pub fn set_zone(name: &str) -> bool {
    let zone = match name {
        "" => Some(Zone::Browser),
        words::UTC => Some(Zone::Utc),
        name => {
            formatter(name).map(|format| Zone::Named(name.to_owned(), format, (f64::NAN, 0).into()))
        }
    };
    zone.map(|zone| ZONE.replace(zone)).is_some()
}

/// The zone that was chosen; empty for the computer's.
#[must_use]
pub fn zone_name() -> String {
    ZONE.with_borrow(|zone| match zone {
        Zone::Browser => String::new(),
        Zone::Utc => words::UTC.to_owned(),
        Zone::Named(name, ..) => name.clone(),
    })
}

/// The `format` of an `Intl.DateTimeFormat` that writes moments of `zone` as `2026-11-28 14:31:07`;
/// `None` where there is no such zone. With the zone empty, in that of the computer.
fn formatter(zone: &str) -> Option<js_sys::Function> {
    let constructor = date_format()?;
    let options = js_sys::Object::new();
    let mut entries = vec![("hourCycle", "h23"), ("year", "numeric")];
    for part in ["month", "day", "hour", "minute", "second"] {
        entries.push((part, "2-digit"));
    }
    entries.push(("timeZone", zone));
    for (name, value) in entries {
        js_sys::Reflect::set(&options, &name.into(), &value.into()).ok()?;
    }
    // Sweden writes dates as ISO 8601 does.
    let arguments = js_sys::Array::of2(&"sv-SE".into(), &options);
    let format = js_sys::Reflect::construct(&constructor, &arguments).ok()?;
    field(&format, "format")?.dyn_into().ok()
}

fn field(of: &JsValue, name: &str) -> Option<JsValue> {
    js_sys::Reflect::get(of, &name.into()).ok()
}

fn date_format() -> Option<js_sys::Function> {
    let intl = field(&js_sys::global(), "Intl")?;
    field(&intl, "DateTimeFormat")?.dyn_into().ok()
}

/// The name of the zone that times are shown in: the one that was chosen, or the computer's.
#[must_use]
pub fn zone_here() -> String {
    let chosen = zone_name();
    if !chosen.is_empty() {
        return chosen;
    }
    let computers = || {
        let format = date_format()?.call0(&JsValue::UNDEFINED).ok()?;
        let resolve: js_sys::Function = field(&format, "resolvedOptions")?.dyn_into().ok()?;
        field(&resolve.call0(&format).ok()?, "timeZone")?.as_string()
    };
    computers().unwrap_or_default()
}

/// What makes notifications; `None` where the browser has none, such as outside safe contexts.
#[must_use]
pub fn notifier() -> Option<js_sys::Function> {
    field(&window(), "Notification")?.dyn_into().ok()
}

/// How far a wall clock that shows `text` is ahead of UTC at `unix_ms`, minutes.
fn offset_of(text: &str, unix_ms: f64) -> Option<i32> {
    let mut numbers = text
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse::<i64>().ok());
    let mut next = || numbers.next();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    let days = crate::format::day_of(year, month) + day - 1;
    let wall_s = days * 86_400 + hours * 3_600 + minutes * 60 + seconds;
    #[expect(clippy::cast_possible_truncation, reason = "Unix seconds")]
    let ahead_s = wall_s - (unix_ms / 1_000.0).floor() as i64;
    i32::try_from(ahead_s.div_euclid(60)).ok()
}

/// Minutes that the time that is shown was ahead of UTC at that moment.
#[must_use]
pub fn zone_offset_min(unix_ms: f64) -> i32 {
    let chosen = ZONE.with_borrow(|zone| match zone {
        Zone::Browser => None,
        Zone::Utc => Some(0),
        Zone::Named(_, format, newest) => {
            let quarter = (unix_ms / QUARTER_MS).floor() * QUARTER_MS;
            if newest.get().0 != quarter && unix_ms.is_finite() {
                let text = format.call1(&JsValue::UNDEFINED, &quarter.into()).ok();
                let text = text.and_then(|text| text.as_string());
                let offset = text.and_then(|text| offset_of(&text, quarter));
                newest.set((quarter, offset.unwrap_or(0)));
            }
            Some(newest.get().1)
        }
    });
    if let Some(chosen) = chosen {
        return chosen;
    }
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
    // Where the browser forbids it, the link still works only once.
    note("");
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
    let href = window().location().href().unwrap_or_default();
    let before = href.split('#').next().unwrap_or_default();
    [before, hash].concat()
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

/// Where keys are typed, and what is pressed by them.
const TYPED: &str = "textarea, select, input:not([type=radio]):not([type=checkbox])";
const PRESSED: &str = "button, a, summary, input";

fn is_within(target: Option<EventTarget>, selector: &str) -> bool {
    let element = target.and_then(|target| target.dyn_into::<Element>().ok());
    element.is_some_and(|element| element.matches(selector).unwrap_or(false))
}

/// Whether something is typed into what an event came from.
#[must_use]
pub fn is_typing(target: Option<EventTarget>) -> bool {
    is_within(target, TYPED)
}

/// Whether what an event came from is pressed by Space.
#[must_use]
pub fn is_pressed(target: Option<EventTarget>) -> bool {
    is_within(target, PRESSED)
}

/// Goes to another view of this page: another part behind `#`.
pub fn go(hash: &str) {
    // Fails only where the page may not go anywhere.
    drop(window().location().set_hash(hash));
}

/// Writes another part behind `#` into the address, without going there: nobody hears of it, and
/// Back leads to where it led before.
pub fn note(hash: &str) {
    if let Ok(history) = window().history() {
        // Fails only where the browser forbids it, and then the address says less.
        drop(history.replace_state_with_url(&JsValue::NULL, "", Some(&with_hash(hash))));
    }
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

/// Whether the reader's browser is told to load little.
#[must_use]
pub fn saves_data() -> bool {
    let get = |of: &JsValue, name: &str| js_sys::Reflect::get(of, &name.into());
    get(&window().navigator(), "connection")
        .and_then(|connection| get(&connection, "saveData"))
        .is_ok_and(|saves| saves.is_truthy())
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
