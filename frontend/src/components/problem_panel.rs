//! What keeps the page from showing anything, and how to put it right.

use yew::prelude::*;

use crate::{markup::html, words};

/// What is wrong in one line, what to do about it, and how it goes on: the state of the next
/// attempt and a way not to wait for it; without that the page has to be reloaded.
pub(crate) fn problem_panel(
    what: String,
    fix: impl Into<AttrValue>,
    retry: Option<(String, Callback<()>)>,
) -> Html {
    let fix: AttrValue = fix.into();
    html! {
        <section class="problem" aria-label="Problem">
            <svg class="problem__icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                <path d="M12 3.5L22 20.5H2z" />
                <path d="M12 10v5M12 17.6v.1" />
            </svg>
            <div class="problem__text">
                <div role="alert">
                    <h2>{ what }</h2>
                    <p>{ fix }</p>
                </div>
                if let Some((again, on_retry)) = retry {
                    <p class="problem__again">
                        <button
                            class="button button--primary"
                            type="button"
                            onclick={move |_| on_retry.emit(())}
                        >
                            { words::RETRY }
                        </button>
                        <span>{ again }</span>
                    </p>
                } else {
                    // An empty address is the page itself: it needs neither script nor wasm.
                    <p class="problem__again">
                        <a class="button button--primary" href="">{ words::RELOAD }</a>
                    </p>
                }
            </div>
        </section>
    }
}
