//! How to make the first chart appear: a line that can be copied.

use wasm_bindgen::JsCast;
use yew::prelude::*;

use crate::markup::html;

use crate::net::config::Endpoint;

/// What is typed to push a first figure to `endpoint`.
fn line(endpoint: &Endpoint) -> String {
    let address = endpoint.http("/push");
    // A shell reads a question mark as its own.
    let mark = if address.contains('?') { "'" } else { "" };
    format!("curl -d 'queue_depth 42' {mark}{address}{mark}")
}

/// Puts `text` on the clipboard, where the page may; a browser lets it only in safe contexts.
fn copy(text: &str) -> bool {
    let navigator = gloo::utils::window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &"clipboard".into()).unwrap_or_default();
    let write = js_sys::Reflect::get(&clipboard, &"writeText".into()).unwrap_or_default();
    write
        .dyn_ref::<js_sys::Function>()
        .is_some_and(|write| write.call1(&clipboard, &text.into()).is_ok())
}

/// A line that pushes a first sample, with a button that copies it.
#[hook]
pub fn use_push_hint(endpoint: &Endpoint) -> Html {
    let copied = use_state_eq(|| None::<bool>);
    let text = line(endpoint);
    let onclick = {
        let (copied, text) = (copied.setter(), text.clone());
        move |_: MouseEvent| copied.set(Some(copy(&text)))
    };
    html! {
        <p class="push-hint">
            <code class="push-hint__line">{ text }</code>
            <button class="button button--small" type="button" {onclick}>
                { match *copied {
                    None => "Copy",
                    Some(true) => "Copied",
                    Some(false) => "Select it to copy",
                } }
            </button>
        </p>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn can_be_typed_into_a_shell() {
        let endpoint = Endpoint::resolve("", "http://127.0.0.1:3000").expect("an endpoint");
        assert_eq!(
            line(&endpoint),
            "curl -d 'queue_depth 42' http://127.0.0.1:3000/push"
        );
        assert_eq!(
            line(&endpoint.of_tenant("shop")),
            "curl -d 'queue_depth 42' 'http://127.0.0.1:3000/push?tenant=shop'"
        );
    }
}
