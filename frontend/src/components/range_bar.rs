//! Where the newest figure lies between least and greatest: a thin bar, decoration beside the
//! same figures in words.

use pulseboard_shared::{BuiltIn, Stats};
use yew::prelude::*;

use crate::{
    chart::scale::{nice_top, within},
    format,
    markup::html,
};

/// The bar of `metric`, whose newest figure is `current` (not a number when there is none) and
/// whose window is `stats`; the threshold is marked when it is on the scale.
pub(super) fn range_bar(
    metric: BuiltIn,
    current: f64,
    stats: &Stats,
    threshold: Option<f64>,
) -> Html {
    let top = match metric {
        BuiltIn::Cpu | BuiltIn::Memory => 100.0,
        BuiltIn::Requests | BuiltIn::Latency => nice_top(stats.max),
    };
    let percent = |value: f64| within(value / top * 100.0, 0.0, 100.0);
    let text = |percent: f64| format!("{}%", format::fixed(percent, 2));
    let known = stats.count > 0 && current.is_finite();
    let threshold = threshold.filter(|threshold| *threshold < top);

    html! {
        <svg class="range-bar" aria-hidden="true" focusable="false" width="100%" height="10">
            <rect class="range-bar__track" x="0" y="3" width="100%" height="4" rx="2" />
            if known {
                <rect
                    class="range-bar__span"
                    x={text(percent(stats.min))}
                    y="3"
                    width={text((percent(stats.max) - percent(stats.min)).max(0.5))}
                    height="4"
                    rx="2"
                />
            }
            if let Some(threshold) = threshold {
                <rect class="range-bar__limit" x={text(percent(threshold))} y="0" width="2" height="10" />
            }
            if known {
                <circle class="range-bar__now" cx={text(within(percent(current), 1.5, 98.5))} cy="5" r="4.5" />
            }
        </svg>
    }
}
