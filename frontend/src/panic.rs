//! A panic in the page: the reader gets words and a way out, the console gets the stack.

use std::{cell::Cell, panic::PanicHookInfo};

use gloo::utils::{body, document};
use wasm_bindgen::JsValue;

/// To be called once, before anything else.
pub fn install() {
    yew::set_custom_panic_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        show(info);
    }));
}

fn show(info: &PanicHookInfo<'_>) {
    thread_local! {
        static SHOWN: Cell<bool> = const { Cell::new(false) };
    }
    // A stopped page can panic again whenever a timer rings; the first one is the cause.
    if SHOWN.replace(true) {
        return;
    }
    let message = info
        .payload()
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| info.payload().downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let place = info
        .location()
        .map(|location| format!(" ({}:{})", location.file(), location.line()))
        .unwrap_or_default();
    // Nothing more can be done when even this fails; the console has it all.
    drop(show_panel(&format!("{message}{place}")));
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
            "Something in it went wrong, so what it shows is no longer live. Reloading starts it anew; the server is not affected.",
        )?
        .into(),
    )?;
    card.append_child(&element("p", "crash__details", details)?.into())?;
    let reload = element("a", "button button--primary", "Reload")?;
    reload.set_attribute("href", "")?;
    card.append_child(&reload.into())?;
    panel.append_child(&card.into())?;
    body().append_child(&panel.into())?;
    Ok(())
}
