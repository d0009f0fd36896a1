//! How much of one tracked type came in each of the last buckets.

use yew::prelude::*;

use super::item_card::number;
use crate::{
    format,
    markup::html,
    platform,
    stores::aggregate::{Aggregate, BUCKETS},
};

/// Bars, newest on the right, and the same in words.
pub(crate) fn activity(aggregate: &Aggregate, name: &str, window_ms: f64) -> Html {
    let counts = aggregate.activity(window_ms);
    let greatest = counts.iter().copied().fold(1.0, f64::max);
    let newest_ms = (aggregate.now_ms / window_ms).floor() * window_ms;
    let clock = |index: usize| {
        #[expect(clippy::cast_precision_loss, reason = "ten of them")]
        let start_ms = newest_ms - (BUCKETS - 1 - index) as f64 * window_ms;
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let at_ms = start_ms as i64;
        format::clock_minutes(at_ms, platform::zone_offset_min(start_ms))
    };
    let words: Vec<String> = (0..BUCKETS)
        .filter(|index| counts[*index] > 0.0)
        .map(|index| format!("{} at {}", number(counts[index]), clock(index)))
        .collect();
    let words = if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    };
    let bar = |index: usize| {
        let height =
            (counts[index] / greatest * 100.0).max(if counts[index] > 0.0 { 2.0 } else { 0.0 });
        html! {
            <svg key={index} class="activity__slot">
                <rect class="activity__bar" x="10%" width="80%" rx="3"
                    y={format!("{}%", format::fixed(100.0 - height, 1))}
                    height={format!("{}%", format::fixed(height, 1))} />
            </svg>
        }
    };
    html! {
        <div class="activity" role="img" aria-label={format!("{}: {words}", format::spaced(name))}>
            { for (0..BUCKETS).map(|index| html! {
                <div class="activity__column" key={index}>
                    <span class="activity__count">{ if counts[index] > 0.0 { number(counts[index]) } else { String::new() } }</span>
                    { bar(index) }
                    <span class="activity__time">{ clock(index) }</span>
                </div>
            }) }
        </div>
    }
}
