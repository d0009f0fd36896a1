//! For those who look elsewhere: notifications of the browser and a sound when an alert fires, both
//! only where the reader chose them; and at the next visit, what fired while nobody looked.

use std::rc::Rc;

use gloo::utils::window;
use uuid::Uuid;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use pulseboard_shared::Severity;

use crate::{
    hooks::{use_answer, use_effect_with, use_seconds, use_selector},
    markup::html,
    net::config::Endpoint,
    platform,
    stores::{
        alert::{AlertStore, Entry},
        incidents::{Incident, unseen},
        stats::StatsStore,
        view::Page,
    },
    words,
};

/// Where the browser remembers when somebody looked last, and since when it is to be told what
/// nobody saw.
const LOOKED_KEY: &str = "pulseboard-looked";
const SINCE_KEY: &str = "pulseboard-unseen-since";

/// Where it remembers that notifications and the sound are wanted.
const NOTIFY_KEY: &str = "pulseboard-notify";
const SOUND_KEY: &str = "pulseboard-sound";

/// Remembered this often, and after so long nobody has looked.
const LOOK_EVERY_MS: f64 = 10_000.0;
const AWAY_MS: f64 = 120_000.0;

/// More at once are told as one.
const APART_MAX: usize = 3;

/// Props of [`AlertWatch`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

fn is_on(key: &str) -> bool {
    platform::remembered(key).as_deref() == Some("on")
}

fn remembered_ms(key: &str) -> Option<f64> {
    platform::remembered(key)?.parse().ok()
}

/// What somebody who comes back is to be told of: since when nobody has looked. `None` where
/// somebody has, or never did.
fn away_since(looked_ms: Option<f64>, now_ms: f64) -> Option<f64> {
    looked_ms.filter(|looked_ms| now_ms - looked_ms > AWAY_MS)
}

fn property(of: &JsValue, name: &str) -> JsValue {
    js_sys::Reflect::get(of, &name.into()).unwrap_or_default()
}

/// Whether the reader allows them: `granted`, `denied` or `default`.
fn permission() -> String {
    let notifier = platform::notifier();
    let text = notifier.and_then(|notifier| property(&notifier, "permission").as_string());
    text.unwrap_or_else(|| "denied".to_owned())
}

/// Tells with a notification; a click leads to `hash`.
fn notify(title: &str, tag: &str, hash: &str) {
    let Some(notifier) = platform::notifier().filter(|_| permission() == "granted") else {
        return;
    };
    let options = js_sys::Object::new();
    // Fails only for what is no object.
    drop(js_sys::Reflect::set(&options, &"tag".into(), &tag.into()));
    let arguments = js_sys::Array::of2(&title.into(), &options);
    let Ok(notification) = js_sys::Reflect::construct(&notifier, &arguments) else {
        return;
    };
    let hash = hash.to_owned();
    let on_click = Closure::once_into_js(move || {
        // Fails where the browser does not let a page come to the front.
        drop(window().focus());
        platform::go(&hash);
    });
    drop(js_sys::Reflect::set(
        &notification,
        &"onclick".into(),
        &on_click,
    ));
}

/// Two short tones. Nothing where the browser makes no sound, as before anybody has clicked.
fn beep() -> Option<()> {
    let constructor: js_sys::Function = property(&window(), "AudioContext").dyn_into().ok()?;
    let context = js_sys::Reflect::construct(&constructor, &js_sys::Array::new()).ok()?;
    let call = |of: &JsValue, name: &str, arguments: &[f64]| {
        let method: js_sys::Function = property(of, name).dyn_into().ok()?;
        let arguments: js_sys::Array = arguments.iter().map(|one| JsValue::from(*one)).collect();
        method.apply(of, &arguments).ok()
    };
    let connect = |from: &JsValue, to: &JsValue| {
        let method: js_sys::Function = property(from, "connect").dyn_into().ok()?;
        method.call1(from, to).ok()
    };
    let now_s = property(&context, "currentTime").as_f64()?;
    let (tone, gain) = (
        call(&context, "createOscillator", &[])?,
        call(&context, "createGain", &[])?,
    );
    connect(&tone, &gain)?;
    connect(&gain, &property(&context, "destination"))?;
    let (pitch, volume) = (property(&tone, "frequency"), property(&gain, "gain"));
    call(&pitch, "setValueAtTime", &[880.0, now_s])?;
    call(&pitch, "setValueAtTime", &[660.0, now_s + 0.18])?;
    call(&volume, "setValueAtTime", &[0.15, now_s])?;
    call(&volume, "linearRampToValueAtTime", &[0.0, now_s + 0.4])?;
    call(&tone, "start", &[now_s])?;
    call(&tone, "stop", &[now_s + 0.4])?;
    // Gives the device back once the tone is over.
    let closed = context.clone();
    gloo::timers::callback::Timeout::new(1_000, move || {
        call(&closed, "close", &[]);
    })
    .forget();
    Some(())
}

/// Incidents among `entries` that fire and were not known.
fn fresh<'a>(entries: &'a [Rc<Entry>], known: &[Uuid]) -> Vec<&'a Rc<Entry>> {
    let is_fresh = |entry: &&Rc<Entry>| entry.is_firing() && !known.contains(&entry.incident);
    entries.iter().filter(is_fresh).collect()
}

/// What a notification says of several alerts at once.
fn several(fresh: &[&Rc<Entry>]) -> String {
    let bad = fresh
        .iter()
        .filter(|entry| entry.severity == Severity::Critical);
    match bad.count() {
        0 => words::alerts_fire(fresh.len()),
        bad => format!(
            "{}, {bad} of them critical",
            words::alerts_fire(fresh.len())
        ),
    }
}

fn tell(fresh: &[&Rc<Entry>]) {
    if is_on(SOUND_KEY) && fresh.iter().any(|entry| entry.severity >= Severity::High) {
        beep();
    }
    if !is_on(NOTIFY_KEY) {
        return;
    }
    if fresh.len() > APART_MAX {
        return notify(&several(fresh), "pulseboard", Page::Alerts.hash());
    }
    for entry in fresh {
        let severity = entry.severity.as_str().to_ascii_uppercase();
        let title = [&severity, ": ", &entry.message].concat();
        notify(&title, &entry.incident.to_string(), &entry.hash());
    }
}

/// Tells of what begins to fire from now on.
#[hook]
fn use_told() {
    let entries = use_selector(AlertStore::select_entries);
    let listening = *use_selector(AlertStore::select_listening);
    // `None` until the page knows what goes on: that is no news.
    let known = use_mut_ref(|| None::<Vec<Uuid>>);
    use_effect_with(
        ((*entries).clone(), listening),
        move |(entries, listening)| {
            if *listening != Some(true) {
                return;
            }
            let mut known = known.borrow_mut();
            if let Some(known) = &*known {
                let fresh = fresh(entries, known);
                if !fresh.is_empty() {
                    tell(&fresh);
                }
            }
            *known = Some(entries.iter().map(|entry| entry.incident).collect());
        },
    );
}

/// Notifications, the sound, and the banner.
#[component]
pub fn AlertWatch(Props { endpoint }: &Props) -> Html {
    use_told();
    use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let since = use_state_eq(|| remembered_ms(SINCE_KEY));
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    if !platform::hidden() {
        let looked_ms = remembered_ms(LOOKED_KEY);
        if let Some(away_ms) = away_since(looked_ms, now_ms).filter(|_| since.is_none()) {
            platform::remember(SINCE_KEY, &platform::digits(away_ms));
            since.set(Some(away_ms));
        }
        if looked_ms.is_none_or(|looked_ms| (now_ms - looked_ms).abs() > LOOK_EVERY_MS) {
            platform::remember(LOOKED_KEY, &platform::digits(now_ms));
        }
    }
    let path = match *since {
        Some(_) => "/api/incidents?limit=100&severity=critical",
        None => "",
    };
    let answer = use_answer(endpoint, path.into(), 0, 0);
    let json = answer.json.filter(|_| !path.is_empty());
    let on_close = {
        let since = since.setter();
        Callback::from(move |_: MouseEvent| {
            platform::remember(SINCE_KEY, "");
            since.set(None);
        })
    };
    let (Some(json), Some(since_ms)) = (json, *since) else {
        return Html::default();
    };
    let is_cut = json.get("next").text().is_some();
    let words = unseen(&Incident::read_all(&json), since_ms, is_cut);
    {
        // Nothing happened: there is nothing to be told of, now or later.
        let (since, nothing) = (since.setter(), words.is_none());
        if nothing {
            platform::remember(SINCE_KEY, "");
            since.set(None);
        }
    }
    let Some(words) = words else {
        return Html::default();
    };
    let history = [Page::Alerts.hash(), "/history?severity=critical"].concat();
    html! {
        <aside class="banner" aria-label={words::CRITICAL_FIRED} role="status">
            <div class="banner__text">
                <p class="banner__what">{ words }</p>
            </div>
            <a class="button button--primary" href={platform::with_hash(&history)} onclick={on_close.clone()}>{ "See them" }</a>
            <button class="button banner__close" type="button" aria-label={words::CLOSE_NOTICE} onclick={on_close}>{ "×" }</button>
        </aside>
    }
}

/// The choices of notifications and sound.
pub(crate) fn watch_switches() -> Html {
    yew::html! { <Switches /> }
}

/// Whether each is on, for the reader. The browser asks for its permission on a click and never
/// before.
#[component]
fn Switches() -> Html {
    let redraw = use_force_update();
    let (notifies, sounds) = (
        is_on(NOTIFY_KEY) && permission() == "granted",
        is_on(SOUND_KEY),
    );
    let is_denied = permission() == "denied";
    let on_notify = {
        let redraw = redraw.clone();
        move |_: MouseEvent| {
            if notifies {
                platform::remember(NOTIFY_KEY, "off");
                return redraw.force_update();
            }
            let redraw = redraw.clone();
            spawn_local(async move {
                let asked = platform::notifier().and_then(|notifier| {
                    let ask: js_sys::Function =
                        property(&notifier, "requestPermission").dyn_into().ok()?;
                    let promise: js_sys::Promise = ask.call0(&notifier).ok()?.dyn_into().ok()?;
                    Some(promise)
                });
                if let Some(asked) = asked {
                    // What came of it is read below.
                    drop(JsFuture::from(asked).await);
                }
                let allowed = permission() == "granted";
                platform::remember(NOTIFY_KEY, if allowed { "on" } else { "off" });
                redraw.force_update();
            });
        }
    };
    let on_sound = move |_: MouseEvent| {
        platform::remember(SOUND_KEY, if sounds { "off" } else { "on" });
        if !sounds {
            // So sounds it, and the browser now knows that it is wanted.
            beep();
        }
        redraw.force_update();
    };
    html! {
        <span class="alerts__switches">
            <button
                class={classes!("button", notifies.then_some("is-pressed"))}
                type="button"
                aria-pressed={notifies.to_string()}
                disabled={is_denied}
                title={if is_denied { "The browser does not let this page notify" } else { "When an alert fires, while this page is open" }}
                onclick={on_notify}
            >
                { "Notify me" }
            </button>
            <button
                class={classes!("button", sounds.then_some("is-pressed"))}
                type="button"
                aria-pressed={sounds.to_string()}
                title="When a critical or high alert fires"
                onclick={on_sound}
            >
                { "Sound" }
            </button>
        </span>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::alert::IncidentState;

    fn entry(incident: u128, severity: Severity, state: IncidentState) -> Rc<Entry> {
        Rc::new(Entry {
            incident: Uuid::from_u128(incident),
            message: "CPU".into(),
            severity,
            started_ms: 0,
            heard_ms: 0,
            times: 1,
            state,
        })
    }

    #[test]
    fn only_what_begins_is_news() {
        let entries = [
            entry(1, Severity::Critical, IncidentState::Firing),
            entry(2, Severity::Low, IncidentState::Firing),
            entry(3, Severity::Critical, IncidentState::Resolved),
        ];
        let news = fresh(&entries, &[Uuid::from_u128(1)]);
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].incident, Uuid::from_u128(2));
        assert_eq!(
            several(&fresh(&entries, &[])),
            "2 alerts fire, 1 of them critical"
        );
    }

    #[test]
    fn somebody_was_away() {
        assert_eq!(away_since(None, 1e9), None, "the first visit ever");
        assert_eq!(away_since(Some(1e9 - 5_000.0), 1e9), None);
        assert_eq!(away_since(Some(5.0), 1e9), Some(5.0));
    }
}
