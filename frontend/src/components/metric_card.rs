//! One metric: its newest figure large, then average, extremes and samples of the window.

use pulseboard_shared::{BuiltIn, DefaultRule, Severity};
use yew::prelude::*;

use super::range_bar::range_bar;
use crate::{format, markup::html, stores::stats::Card, words};

/// The card of `metric`; `live` while its figures are of now.
pub(super) fn metric_card(metric: BuiltIn, card: Card, live: bool) -> Html {
    let rule = DefaultRule::of(metric);
    let over = rule.filter(|rule| card.current > rule.above);
    let known = card.stats.count > 0;
    let state = over.map(|rule| match rule.severity {
        Severity::Critical => "is-critical",
        _ => "is-warning",
    });
    let figure = |value: f64| format::figure(if known { value } else { f64::NAN });
    let limit = rule.map(|rule| {
        let word = if over.is_some() {
            words::ABOVE
        } else {
            words::LIMIT
        };
        (
            word,
            format!(" {} {}", format::plain(rule.above), metric.unit()),
        )
    });

    html! {
        <article
            class={classes!(
                "metric-card",
                format!("metric-card--{}", format::slug(metric)),
                state,
                (known && !live).then_some("is-old"),
            )}
            title={matches!(metric, BuiltIn::Requests | BuiltIn::Latency).then_some(words::OWN_REQUESTS)}
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
                if known && metric == BuiltIn::Latency && !card.current.is_finite() {
                    <span class="metric-card__note">{ words::NO_REQUESTS }</span>
                }
            </p>
            { range_bar(metric, card.current, &card.stats, rule.map(|rule| rule.above)) }
            <p class="metric-card__stats">
                <span>{ [words::MEAN, ": ", &figure(card.stats.avg)].concat() }</span>
                <span>{ format!("Min: {}", figure(card.stats.min)) }</span>
                <span>{ format!("Max: {}", figure(card.stats.max)) }</span>
                <span class="metric-card__samples">{ format!("({} samples)", card.stats.count) }</span>
            </p>
        </article>
    }
}
