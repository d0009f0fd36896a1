//! A lost connection, once it is more than a blip: of when the figures are, when it is tried again,
//! why. A strip under the header, over nothing else, that can be closed.

use yew::prelude::*;

use crate::{format, markup::html, net::probe::Advice, words};

/// A connection that comes back sooner was a blip and is not worth a banner.
const SHOWN_AFTER_S: u64 = 2;

/// A lost connection, as the banner tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss<'a> {
    /// Whether the browser says there is a network.
    pub(super) online: bool,
    /// Why, once that is known.
    pub(super) advice: Option<&'a Advice>,
    /// Attempts so far.
    pub(super) attempt: u32,
    /// Seconds since it was lost.
    pub(super) lost_s: u64,
    /// Age of the newest figures in milliseconds; `None` where there never were any.
    pub(super) age_ms: Option<f64>,
    /// The state of the next attempt.
    pub(super) again: &'a str,
}

/// A strip that says for how long the connection has been lost, and why.
pub(super) fn connection_banner(
    loss: Loss<'_>,
    on_retry: &Callback<()>,
    on_close: Callback<MouseEvent>,
) -> Html {
    let Loss {
        online,
        advice,
        attempt,
        lost_s,
        age_ms,
        again,
    } = loss;
    if lost_s < SHOWN_AFTER_S {
        return Html::default();
    }
    let what = match advice {
        _ if !online => "You are offline",
        Some(advice) => advice.what.as_str(),
        None => words::CONNECTION_LOST,
    };
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let age =
        age_ms.map(|age| format!(" · newest figures are {} old", format::duration(age as i64)));
    let fix = advice
        .as_ref()
        .filter(|_| online)
        .map(|advice| advice.fix.clone());
    let onclick = {
        let on_retry = on_retry.clone();
        move |_| on_retry.emit(())
    };
    html! {
        <aside class="banner" aria-label={words::CONNECTION_LOST}>
            <div class="banner__text">
                <p class="banner__what">{ what.to_owned() }</p>
                if let Some(fix) = fix {
                    <p class="banner__fix">{ fix }</p>
                }
                <p class="banner__again">
                    { format!("{again} · {}{}", format::count(u64::from(attempt), "attempt", "attempts"), age.unwrap_or_default()) }
                </p>
            </div>
            <button class="button button--primary" type="button" {onclick}>{ words::RETRY }</button>
            <button class="button banner__close" type="button" aria-label={words::CLOSE_NOTICE} onclick={on_close}>{ "×" }</button>
        </aside>
    }
}
