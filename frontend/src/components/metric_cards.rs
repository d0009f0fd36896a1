//! The four newest figures, side by side.

use pulseboard_shared::BUILT_IN;
use yew::prelude::*;

use super::MetricCard;

/// See the module.
#[component]
pub fn MetricCards() -> Html {
    html! {
        <section class="metric-cards" aria-label="Newest figures">
            // Each card is headed by an h3; a screen reader's outline needs the level between.
            <h2 class="visually-hidden">{ "Newest figures" }</h2>
            { for BUILT_IN.into_iter().map(|metric| html! { <MetricCard {metric} /> }) }
        </section>
    }
}
