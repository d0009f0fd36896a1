//! Where the newest figure lies between least and greatest: a thin bar, decoration beside the
//! same figures in words.

use pulseboard_shared::{BuiltIn, Stats};
use yew::prelude::*;

use crate::chart::scale::nice_top;

/// Props of [`RangeBar`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Decides the scale.
    pub metric: BuiltIn,
    /// The newest figure; not a number when there is none.
    pub current: f64,
    /// Over the window.
    pub stats: Stats,
    /// Marked when it is on the scale.
    pub threshold: Option<f64>,
}

/// See the module.
#[component]
pub fn RangeBar(props: &Props) -> Html {
    let stats = &props.stats;
    let top = match props.metric {
        BuiltIn::Cpu | BuiltIn::Memory => 100.0,
        BuiltIn::Requests | BuiltIn::Latency => nice_top(stats.max),
    };
    let percent = |value: f64| (value / top * 100.0).clamp(0.0, 100.0);
    let text = |percent: f64| format!("{percent:.2}%");
    let known = stats.count > 0 && props.current.is_finite();
    let threshold = props.threshold.filter(|threshold| *threshold < top);

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
                <circle class="range-bar__now" cx={text(percent(props.current).clamp(1.5, 98.5))} cy="5" r="4.5" />
            }
        </svg>
    }
}
