//! How to make the first chart appear: a line that can be copied.

use yew::prelude::*;

use crate::{markup::html, net::config::Endpoint, platform, words};

/// What is typed to push a first figure to `endpoint`.
fn line(endpoint: &Endpoint) -> String {
    let address = endpoint.http("/push");
    // A shell reads a question mark as its own.
    let mark = if address.contains('?') { "'" } else { "" };
    format!("curl -d 'queue_depth 42' {mark}{address}{mark}")
}

/// A line that pushes a first sample, with a button that copies it.
#[hook]
pub fn use_push_hint(endpoint: &Endpoint) -> Html {
    let copied = use_state_eq(|| None::<bool>);
    let text = line(endpoint);
    let onclick = {
        let (copied, text) = (copied.setter(), text.clone());
        move |_: MouseEvent| copied.set(Some(platform::copy(&text)))
    };
    html! {
        <p class="push-hint">
            <code class="push-hint__line">{ text }</code>
            <button class="button button--small" type="button" {onclick}>
                { match *copied {
                    None => words::COPY,
                    Some(true) => words::COPIED,
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
