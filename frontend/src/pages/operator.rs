//! The operator's view: six figures, the commands, the servers for those who may see them, and a
//! log of what was answered and raised.

use yew::prelude::*;

use crate::{
    components::{ClusterPanel, Commands, operator_figures},
    format,
    hooks::{Stream, use_feed, use_selector},
    markup::html,
    net::{config::Endpoint, link::LinkState, rooms::Follow},
    platform,
    stores::{operator::OperatorStore, session::SessionStore, view::Page},
    words,
};

/// Props of [`OperatorView`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

const STREAM: Stream = Stream {
    path: "/api/metrics/stream",
    names: &["metrics", "alert"],
};

/// The figures, the commands for those who may give them, and the log.
#[component]
pub fn OperatorView(Props { endpoint }: &Props) -> Html {
    let store = use_selector(OperatorStore::clone);
    let role = *use_selector(|store: &SessionStore| store.session().map(|session| session.role));
    let old = use_feed(endpoint, Follow::OPERATOR, STREAM, "") != LinkState::Open;

    html! {
        <section class="operator" aria-label={Page::Operator.label()}>
            <h2 class="visually-hidden">{ Page::Operator.label() }</h2>
            <div class={classes!("operator__figures", old.then_some("is-old"))}>
                { operator_figures(store.figures(), store.select_threshold()) }
            </div>
            <div class="operator__commands panel">
                <h3>{ words::COMMANDS }</h3>
                { match role {
                    Some(role) if role.operates() => {
                        html! { <Commands endpoint={endpoint.clone()} /> }
                    }
                    Some(role) => html! {
                        <p class="operator__refused">
                            { format!("Commands need the role operator; yours is {role}.") }
                        </p>
                    },
                    // Asked for at this moment.
                    None => Html::default(),
                } }
            </div>
            <div class="operator__log panel">
                <h3>{ words::LOG }</h3>
                <div class="log" role="log" aria-label={words::LOG} tabindex="0"><ol>
                    { for store.lines().map(|line| {
                        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
                        let at_ms = line.at_ms as i64;
                        let clock = format::clock(at_ms, platform::zone_offset_min(line.at_ms));
                        html! { <li key={line.number}>{ format!("[{clock}] {}", line.text) }</li> }
                    }) }
                </ol></div>
                if store.lines().len() == 0 {
                    <p class="operator__empty">{ "Replies and alerts appear here" }</p>
                }
            </div>
            if role.is_some_and(|role| role.administers()) {
                <ClusterPanel endpoint={endpoint.clone()} />
            }
        </section>
    }
}
