//! The four newest figures, side by side.

use pulseboard_shared::BUILT_IN;
use yew::prelude::*;

use super::metric_card::metric_card;
use crate::{
    hooks::use_selector,
    markup::html,
    stores::{connection::ConnectionStore, stats::SameCards},
    words,
};

/// The four newest figures, side by side.
#[component]
pub fn MetricCards() -> Html {
    let cards = use_selector(SameCards::of);
    let live = *use_selector(|store: &ConnectionStore| store.view.connection.is_live());
    let cards = BUILT_IN.into_iter().zip(cards.0);
    html! {
        <section class="metric-cards" aria-label={words::NEWEST_FIGURES}>
            // Each card is headed by an h3; a screen reader's outline needs the level between.
            <h2 class="visually-hidden">{ words::NEWEST_FIGURES }</h2>
            { for cards.map(|(metric, card)| metric_card(metric, card, live)) }
        </section>
    }
}
