//! What keeps the page from showing anything, and how to put it right.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use crate::{net::feed::Connection, stores::connection::ConnectionStore};

/// Props of [`ProblemPanel`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// What is wrong, one line.
    pub what: AttrValue,
    /// What to do about it.
    pub fix: AttrValue,
    /// Tries again; without it the page has to be reloaded.
    #[prop_or_default]
    pub on_retry: Option<Callback<()>>,
}

/// See the module.
#[component]
pub fn ProblemPanel(props: &Props) -> Html {
    let retry_in_s = *use_selector(|store: &ConnectionStore| match store.view.connection {
        Connection::Lost { retry_in_s, .. } => retry_in_s,
        _ => None,
    });
    let again = match retry_in_s {
        Some(seconds) => format!("Trying again in {seconds} s"),
        None => "Trying now".to_owned(),
    };
    html! {
        <section class="problem" aria-label="Problem">
            <svg class="problem__icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                <path d="M12 3.5L22 20.5H2z" />
                <path d="M12 10v5M12 17.6v.1" />
            </svg>
            <div class="problem__text">
                <div role="alert">
                    <h2>{ props.what.clone() }</h2>
                    <p>{ props.fix.clone() }</p>
                </div>
                if let Some(on_retry) = props.on_retry.clone() {
                    <p class="problem__again">
                        <button
                            class="button button--primary"
                            type="button"
                            onclick={move |_| on_retry.emit(())}
                        >
                            { "Retry now" }
                        </button>
                        <span>{ again }</span>
                    </p>
                } else {
                    // An empty address is the page itself: it needs neither script nor wasm.
                    <p class="problem__again">
                        <a class="button button--primary" href="">{ "Reload" }</a>
                    </p>
                }
            </div>
        </section>
    }
}
