//! The browser's side of being told while no page is open: its permission, the worker that shows
//! what is pushed, and its subscription. Called by name, since browsers differ in what of it they
//! have.

use gloo::utils::window;
use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;

use crate::{net::config::encode_query, platform};

/// The worker, beside the page.
const WORKER: &str = "notifications.js";

/// How and where a browser says that it has subscribed.
#[derive(Debug)]
pub(super) struct Saying {
    /// What it is called.
    pub(super) name: String,
    /// The address that it is said to.
    pub(super) to: String,
}

impl Saying {
    /// The worker's address, which tells it the same: a browser may subscribe anew by itself.
    fn worker(&self) -> String {
        let (to, name) = (encode_query(&self.to), encode_query(&self.name));
        [WORKER, "?to=", &to, "&name=", &name].concat()
    }
}

fn property(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &name.into()).unwrap_or_default()
}

fn object(entries: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in entries {
        // Fails only for what is no object.
        drop(Reflect::set(&object, &(*name).into(), value));
    }
    object.into()
}

fn call(of: &JsValue, name: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let method: Function = property(of, name).dyn_into()?;
    let arguments: Array = arguments.iter().collect();
    method.apply(of, &arguments)
}

/// As [`call`], of what answers later.
async fn ask(of: &JsValue, name: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let promise: Promise = call(of, name, arguments)?.dyn_into()?;
    JsFuture::from(promise).await
}

fn workers() -> JsValue {
    property(&window().navigator(), "serviceWorker")
}

/// Why this browser cannot be told, in words; nothing where it can.
pub(super) fn why_not() -> Option<&'static str> {
    let is_there = |of: &JsValue, name: &str| !property(of, name).is_undefined();
    let window: JsValue = window().into();
    if !property(&window, "isSecureContext").is_truthy() {
        return Some("Browsers take this from pages over HTTPS alone, or from localhost.");
    }
    if workers().is_undefined() || !is_there(&window, "PushManager") {
        return Some(
            "This browser cannot be told while the page is closed. On an iPhone it can once the page is on the home screen.",
        );
    }
    let permission = platform::notifier().map(|notifier| property(&notifier, "permission"));
    let permission = permission.and_then(|permission| permission.as_string());
    (permission.as_deref() == Some("denied")).then_some(
        "This browser does not let the page notify; its settings of this page change that.",
    )
}

/// What went wrong, as the browser says it.
fn said(error: &JsValue) -> String {
    let message = property(error, "message").as_string();
    let message = message.filter(|message| !message.is_empty());
    message.unwrap_or_else(|| "it does not say why".to_owned())
}

/// The worker's address, as pages that trust no text for a script have it.
fn trusted(worker: &str) -> JsValue {
    let types = property(&window(), "trustedTypes");
    if types.is_undefined() {
        return worker.into();
    }
    let same = Closure::once_into_js(|text: JsValue| text);
    let rules = object(&[("createScriptURL", same)]);
    let policy = call(&types, "createPolicy", &["pulseboard-worker".into(), rules]);
    let trusted = policy.and_then(|policy| call(&policy, "createScriptURL", &[worker.into()]));
    trusted.unwrap_or_else(|_refused| worker.into())
}

async fn registration(saying: &Saying) -> Result<JsValue, JsValue> {
    // Looked for anew each time that it is asked for, whatever a cache says.
    let options = object(&[("updateViaCache", "none".into())]);
    ask(
        &workers(),
        "register",
        &[trusted(&saying.worker()), options],
    )
    .await?;
    let ready: Promise = property(&workers(), "ready").dyn_into()?;
    JsFuture::from(ready).await
}

/// Subscribes this browser with the server's key, and gives what it says of that as JSON. The
/// browser asks for its permission, so this begins with a click. The worker is told how and where
/// that is said.
///
/// # Errors
/// Why it does not, in words.
pub(super) async fn subscribe(key: &str, saying: &Saying) -> Result<String, String> {
    let notifier: JsValue = platform::notifier().map_or(JsValue::UNDEFINED, Into::into);
    let asked = ask(&notifier, "requestPermission", &[]).await;
    let allowed = asked.ok().and_then(|answer| answer.as_string());
    if allowed.as_deref() != Some("granted") {
        return Err("This browser was not let notify".to_owned());
    }
    let failed = |error: JsValue| ["This browser did not subscribe: ", &said(&error)].concat();
    let manager = property(&registration(saying).await.map_err(failed)?, "pushManager");
    let options = || {
        object(&[
            ("userVisibleOnly", true.into()),
            ("applicationServerKey", key.into()),
        ])
    };
    let subscribed = match ask(&manager, "subscribe", &[options()]).await {
        Ok(subscribed) => subscribed,
        Err(first) => {
            // It has one of another server that was here, or of this one with another key.
            let old = ask(&manager, "getSubscription", &[]).await;
            let old = old.ok().filter(JsValue::is_object);
            let Some(old) = old else {
                return Err(failed(first));
            };
            ask(&old, "unsubscribe", &[]).await.map_err(failed)?;
            let again = ask(&manager, "subscribe", &[options()]).await;
            again.map_err(failed)?
        }
    };
    let text = js_sys::JSON::stringify(&subscribed).map_err(failed)?;
    Ok(text.into())
}

/// Ends what this browser has subscribed to, if anything.
pub(super) async fn unsubscribe() {
    let registered = ask(&workers(), "getRegistration", &[]).await;
    let Some(registered) = registered.ok().filter(JsValue::is_object) else {
        return;
    };
    let manager = property(&registered, "pushManager");
    if let Ok(old) = ask(&manager, "getSubscription", &[]).await
        && old.is_object()
    {
        // What is left of it is told by nobody.
        drop(ask(&old, "unsubscribe", &[]).await);
    }
}
