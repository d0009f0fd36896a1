//! A page that has stopped: the reader gets words and a way out, the console gets the stack.
//!
//! A panic ends in a trap, which the browser tells of like any other error. In development a hook
//! says before that what the panic said; the page that is served has no such words, they are taken
//! out of it to make it load sooner (`xtask/src/panics.rs`).

use std::cell::Cell;

use gloo::{
    events::EventListener,
    utils::{body, document, window},
};
use js_sys::{Reflect, WebAssembly::RuntimeError};
use wasm_bindgen::{JsCast, JsValue};

/// Of a trap's stack: itself, and where it was met.
const LINES_SHOWN: usize = 4;

/// To be called once, before anything else.
pub fn install() {
    #[cfg(debug_assertions)]
    yew::set_custom_panic_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        show(&info.to_string());
    }));
    watch_traps();
}

/// Says that the page has stopped when it has: from here on, and once.
pub fn watch_traps() {
    // A trap in what the browser calls, and one in a task that waits for something.
    for (name, field) in [("error", "error"), ("unhandledrejection", "reason")] {
        EventListener::new(&window(), name, move |event| {
            let cause = Reflect::get(event, &field.into()).unwrap_or_default();
            if cause.has_type::<RuntimeError>() {
                let stack = Reflect::get(&cause, &"stack".into()).unwrap_or_default();
                let stack = stack.as_string().unwrap_or_default();
                let lines: Vec<&str> = stack.lines().map(str::trim).take(LINES_SHOWN).collect();
                show(&lines.join(" "));
            }
        })
        .forget();
    }
}

fn show(details: &str) {
    thread_local! {
        static SHOWN: Cell<bool> = const { Cell::new(false) };
    }
    // A stopped page can trap again whenever a timer rings; the first one is the cause.
    if SHOWN.replace(true) {
        return;
    }
    // Nothing more can be done when even this fails; the console has it all.
    drop(show_panel(details));
}

/// Lays the panel over the page. Built by hand: the virtual DOM is what may have failed.
///
/// # Errors
/// The browser's, when it does not let elements be made.
pub fn show_panel(details: &str) -> Result<(), JsValue> {
    let element = |name: &str, class: &str, text: &str| -> Result<web_sys::Element, JsValue> {
        let element = document().create_element(name)?;
        element.set_class_name(class);
        if !text.is_empty() {
            element.set_text_content(Some(text));
        }
        Ok(element)
    };
    let panel = element("div", "crash", "")?;
    panel.set_attribute("role", "alert")?;
    let card = element("div", "crash__card", "")?;
    card.append_child(&element("h2", "", "This page has stopped")?.into())?;
    card.append_child(
        &element(
            "p",
            "",
            "Something went wrong in it, so what it shows is no longer live. Reloading starts it again; the server is not affected.",
        )?
        .into(),
    )?;
    card.append_child(&element("p", "crash__details", details)?.into())?;
    let reload = element("a", "button button--primary", crate::words::RELOAD)?;
    reload.set_attribute("href", "")?;
    card.append_child(&reload.into())?;
    panel.append_child(&card.into())?;
    body().append_child(&panel.into())?;
    Ok(())
}
