//! A lost connection, once it is more than a blip: since when, when it is tried again, why.
//! Floats over the page's foot, so that nothing moves when it comes and goes.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use crate::{
    format,
    net::{feed::Connection, probe::Advice},
    stores::connection::ConnectionStore,
};

/// A connection that comes back sooner was a blip and is not worth a banner.
const SHOWN_AFTER_S: u64 = 2;

/// Props of [`ConnectionBanner`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Why, once that is known.
    pub advice: Option<Advice>,
    /// The reader does not want to wait.
    pub on_retry: Callback<()>,
}

/// See the module.
#[component]
pub fn ConnectionBanner(Props { advice, on_retry }: &Props) -> Html {
    let connection = use_selector(|store: &ConnectionStore| store.view.connection.clone());
    let online = *use_selector(|store: &ConnectionStore| store.view.online);
    let Connection::Lost {
        attempt,
        retry_in_s,
        lost_s,
    } = *connection
    else {
        return Html::default();
    };
    if lost_s < SHOWN_AFTER_S {
        return Html::default();
    }
    let what = match advice {
        _ if !online => "You are offline",
        Some(advice) => advice.what.as_str(),
        None => "Connection lost",
    };
    #[expect(
        clippy::cast_possible_wrap,
        reason = "seconds since the page was opened"
    )]
    let since = format::duration((lost_s * 1000) as i64);
    let again = match retry_in_s {
        Some(seconds) => format!("Trying again in {seconds} s"),
        None => "Trying now".to_owned(),
    };
    let fix = advice
        .as_ref()
        .filter(|_| online)
        .map(|advice| advice.fix.clone());
    let onclick = {
        let on_retry = on_retry.clone();
        move |_| on_retry.emit(())
    };
    html! {
        <aside class="banner" aria-label="Connection lost">
            <div class="banner__text">
                <p class="banner__what">{ what.to_owned() }</p>
                if let Some(fix) = fix {
                    <p class="banner__fix">{ fix }</p>
                }
                <p class="banner__again">
                    { format!("{again} · {} · lost {since} ago", format::count(u64::from(attempt), "attempt", "attempts")) }
                </p>
            </div>
            <button class="button button--primary" type="button" {onclick}>{ "Retry now" }</button>
        </aside>
    }
}
