//! One metric: its newest figure large, then average, extremes and samples of the window.

use pulseboard_shared::{BuiltIn, DefaultRule, Severity};
use yew::prelude::*;
use yewdux::prelude::{use_selector, use_selector_with_deps};

use super::range_bar::range_bar;
use crate::{
    format,
    stores::{connection::ConnectionStore, stats::StatsStore},
};

/// Props of [`MetricCard`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Which metric.
    pub metric: BuiltIn,
}

/// See the module.
#[component]
pub fn MetricCard(Props { metric }: &Props) -> Html {
    let metric = *metric;
    let card = use_selector_with_deps(
        |stats: &StatsStore, metric| Shown(stats.select_card(*metric)),
        metric,
    );
    let live = *use_selector(|store: &ConnectionStore| store.view.connection.is_live());
    let Shown(card) = *card;

    let rule = DefaultRule::of(metric);
    let over = rule.filter(|rule| card.current > rule.above);
    let known = card.stats.count > 0;
    let state = over.map(|rule| match rule.severity {
        Severity::Critical => "is-critical",
        _ => "is-warning",
    });
    let figure = |value: f64| format::figure(if known { value } else { f64::NAN });
    let limit = rule.map(|rule| {
        let word = if over.is_some() { "Above" } else { "Limit" };
        (word, format!(" {} {}", rule.above, metric.unit()))
    });

    html! {
        <article
            class={classes!(
                "metric-card",
                format!("metric-card--{}", format::slug(metric)),
                state,
                (known && !live).then_some("is-old"),
            )}
        >
            <div class="metric-card__head">
                <h3>{ format::card_title(metric) }</h3>
                if let Some((word, limit)) = limit {
                    <span class="metric-card__limit">
                        <span class="metric-card__word">{ word }</span>
                        { limit }
                    </span>
                }
            </div>
            <p class="metric-card__now">
                <span class={classes!("value", (!card.current.is_finite()).then_some("is-unknown"))}>
                    { format::figure(card.current) }
                </span>
                <span class="unit">{ metric.unit() }</span>
            </p>
            { range_bar(metric, card.current, &card.stats, rule.map(|rule| rule.above)) }
            <p class="metric-card__stats">
                <span>{ format!("Avg: {}", figure(card.stats.avg)) }</span>
                <span>{ format!("Min: {}", figure(card.stats.min)) }</span>
                <span>{ format!("Max: {}", figure(card.stats.max)) }</span>
                <span class="metric-card__samples">{ format!("({} samples)", card.stats.count) }</span>
            </p>
        </article>
    }
}

/// A card compared by its bits: a figure that is not a number equals itself, so that a card
/// without figures is not rendered again and again.
#[derive(Clone, Copy)]
struct Shown(crate::stores::stats::Card);

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.0.current.to_bits() == other.0.current.to_bits() && self.0.stats == other.0.stats
    }
}
