//! Keeps the page connected to one backend, and says so when it is not.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use super::{
    connection_banner::{Loss, connection_banner},
    problem_panel::problem_panel,
};
use crate::{
    hooks::{use_alert_stream, use_metrics_socket},
    net::{config::Endpoint, feed::Connection},
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

    let shown = use_selector(|store: &ConnectionStore| {
        let view = &store.view;
        let ever = view.counts.ticks > 0;
        (
            view.connection.clone(),
            view.online,
            view.diagnosis.clone(),
            ever,
        )
    });
    let (connection, online, diagnosis, ever) = &*shown;
    let &Connection::Lost {
        attempt,
        retry_in_s,
        lost_s,
    } = connection
    else {
        return Html::default();
    };
    let on_retry = Callback::from(move |()| nudge.now());
    let again = match retry_in_s {
        Some(seconds) => format!("Trying again in {seconds} s"),
        None => "Trying now".to_owned(),
    };
    let advice = diagnosis
        .as_ref()
        .map(|diagnosis| diagnosis.advice(endpoint, &platform::page_origin()));
    match advice {
        // Nothing has ever been shown: what is wrong is all there is to say.
        Some(advice) if !ever => problem_panel(advice.what, advice.fix, Some((again, on_retry))),
        advice => {
            let (online, advice) = (*online, advice.as_ref());
            connection_banner(
                Loss {
                    online,
                    advice,
                    attempt,
                    lost_s,
                    again: &again,
                },
                &on_retry,
            )
        }
    }
}
