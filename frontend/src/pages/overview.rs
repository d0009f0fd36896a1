//! The page that one sees first: the server's own figures and charts, its alerts, and the series
//! that were pushed lately.

use yew::prelude::*;

use crate::{
    chart::stage::Stage,
    components::{AlertFeed, Charts, FreshSeries, MetricCards, no_series_yet},
    markup::html,
    net::config::Endpoint,
};

/// The overview. Without `asked_of` nothing may be asked for yet; `is_sourceless` is a server that
/// measures nothing itself, `identity` keeps what one reader sees from the next one.
pub(crate) fn overview(
    stage: &Stage,
    asked_of: Option<&Endpoint>,
    is_sourceless: bool,
    identity: u64,
) -> Html {
    let fresh = match asked_of {
        Some(endpoint) => html! {
            <FreshSeries key={identity} endpoint={endpoint.clone()} />
        },
        None => no_series_yet(),
    };
    // What has no source is not there; pushed series are, and come first.
    if is_sourceless {
        return html! { <>{ fresh }<AlertFeed /></> };
    }
    html! {
        <>
            <MetricCards />
            <Charts stage={stage.clone()} endpoint={asked_of.cloned()} />
            <AlertFeed />
            { fresh }
        </>
    }
}
