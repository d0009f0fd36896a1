//! The four newest figures, side by side.

use pulseboard_shared::BUILT_IN;
use yew::prelude::*;
use yewdux::prelude::use_selector;

use super::metric_card::metric_card;
use crate::stores::{
    connection::ConnectionStore,
    stats::{Card, StatsStore},
};

/// Cards compared by their bits: a figure that is not a number equals itself, so that cards
/// without figures are not rendered again and again.
#[derive(Clone, Copy)]
struct Shown([Card; BUILT_IN.len()]);

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.all(|(one, other)| {
            one.current.to_bits() == other.current.to_bits() && one.stats == other.stats
        })
    }
}

/// See the module.
#[component]
pub fn MetricCards() -> Html {
    let cards =
        use_selector(|stats: &StatsStore| Shown(BUILT_IN.map(|metric| stats.select_card(metric))));
    let live = *use_selector(|store: &ConnectionStore| store.view.connection.is_live());
    let cards = BUILT_IN.into_iter().zip(cards.0);
    html! {
        <section class="metric-cards" aria-label="Newest figures">
            // Each card is headed by an h3; a screen reader's outline needs the level between.
            <h2 class="visually-hidden">{ "Newest figures" }</h2>
            { for cards.map(|(metric, card)| metric_card(metric, card, live)) }
        </section>
    }
}
