//! Keeps the page connected to one backend, and says so when it is not.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use super::{ConnectionBanner, ProblemPanel};
use crate::{
    hooks::{use_alert_stream, use_metrics_socket},
    net::config::Endpoint,
    platform,
    stores::connection::ConnectionStore,
};

/// Props of [`Connected`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// See the module.
#[component]
pub fn Connected(Props { endpoint }: &Props) -> Html {
    let nudge = use_metrics_socket(endpoint.clone());
    let recoveries = *use_selector(|store: &ConnectionStore| store.recoveries);
    use_alert_stream(endpoint.clone(), recoveries);

    let never = *use_selector(|store: &ConnectionStore| store.view.counts.ticks == 0);
    let diagnosis = use_selector(|store: &ConnectionStore| store.view.diagnosis.clone());
    let on_retry = Callback::from(move |()| nudge.now());

    let advice = (*diagnosis)
        .as_ref()
        .map(|diagnosis| diagnosis.advice(endpoint, &platform::page_origin()));
    match advice {
        // Nothing has ever been shown: what is wrong is all there is to say.
        Some(advice) if never => html! {
            <ProblemPanel what={advice.what} fix={advice.fix} on_retry={Some(on_retry)} />
        },
        advice => html! { <ConnectionBanner advice={advice} {on_retry} /> },
    }
}
