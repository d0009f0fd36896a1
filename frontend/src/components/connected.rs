//! Keeps the page connected to one backend, and says so when it is not: with a login where the
//! server asks for one, else with what is wrong.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    LoginCard,
    connection_banner::{Loss, connection_banner},
    problem_panel::problem_panel,
};
use crate::{
    hooks::{
        forget_answers, use_alert_stream, use_effect_with, use_metrics_socket, use_rooms_socket,
        use_selector, use_session,
    },
    markup::html,
    net::{
        config::Endpoint,
        feed::{Connection, View},
        probe::Diagnosis,
    },
    platform,
    stores::{
        change::Change, connection::ConnectionStore, session::SessionStore, stats::StatsStore,
    },
};

/// Props of [`Connected`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// Keeps the page connected, and shows what stands in the way. Streams wait for the session: one
/// way to the server and back, against attempts that a server with a login would only refuse.
#[component]
pub fn Connected(Props { endpoint }: &Props) -> Html {
    use_session(endpoint);
    let (needed, settled, shown, identity) = *use_selector(|store: &SessionStore| {
        (
            store.is_locked(),
            store.is_settled(),
            store.login_shown(),
            store.identity(),
        )
    });
    use_effect_with(identity, |_| forget_answers());
    let connection = use_dispatch::<ConnectionStore>();
    use_effect_with(needed, move |needed| {
        if *needed {
            // Nothing is connected, and nothing is tried before somebody has logged in.
            let lost = Connection::Lost {
                attempt: 0,
                retry_in_s: None,
                lost_s: 0,
            };
            connection.change(|store| {
                store.show(View {
                    connection: lost,
                    ..store.view.clone()
                });
            });
        }
    });
    html! {
        <>
            if shown {
                <LoginCard endpoint={endpoint.clone()} />
            }
            if settled && !needed {
                // Streams of somebody else are not continued but opened anew.
                <Streams key={identity} endpoint={endpoint.clone()} />
            }
        </>
    }
}

/// Whether the server refuses whom it takes us for.
const fn is_refusal(diagnosis: Option<&Diagnosis>) -> bool {
    matches!(
        diagnosis,
        Some(Diagnosis::SignInNeeded | Diagnosis::Forbidden | Diagnosis::Closed { code: 1008, .. })
    )
}

/// The streams that every view needs.
#[component]
fn Streams(Props { endpoint }: &Props) -> Html {
    let session = use_dispatch::<SessionStore>();
    let refused =
        *use_selector(|store: &ConnectionStore| is_refusal(store.view.diagnosis.as_ref()));
    use_effect_with(refused, move |refused| {
        if *refused {
            session.change(SessionStore::doubt);
        }
    });
    let nudge = use_metrics_socket(endpoint.clone());
    let recoveries = *use_selector(|store: &ConnectionStore| store.recoveries);
    use_rooms_socket(endpoint.clone(), recoveries);
    use_alert_stream(endpoint.clone());

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
    // Closed until the next loss.
    let closed = use_state_eq(|| None::<u64>);
    let stats = use_dispatch::<StatsStore>();
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
        _ if *closed == Some(recoveries) && *ever => Html::default(),
        Some(advice) if !ever => problem_panel(advice.what, advice.fix, Some((again, on_retry))),
        advice => {
            let (online, advice) = (*online, advice.as_ref());
            let stats = stats.get();
            let now_ms = platform::now_ms() + stats.clock_offset_ms();
            connection_banner(
                Loss {
                    online,
                    advice,
                    attempt,
                    lost_s,
                    age_ms: stats.select_newest_ms().map(|newest| now_ms - newest),
                    again: &again,
                },
                &on_retry,
                Callback::from(move |_: MouseEvent| closed.set(Some(recoveries))),
            )
        }
    }
}
