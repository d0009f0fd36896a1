//! What the figures are made of: interval, window, what arrived, time zone.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use crate::{
    format, platform,
    stores::{connection::ConnectionStore, stats::StatsStore},
};

/// See the module.
#[component]
pub fn PageFooter() -> Html {
    let counts = *use_selector(|store: &ConnectionStore| store.view.counts);
    let (interval_ms, window) =
        *use_selector(|stats: &StatsStore| (stats.select_interval_ms(), stats.select_window()));
    let zone = format::zone(platform::zone_offset_min(platform::now_ms()));
    let known = counts.ticks > 0;
    html! {
        <footer class="page-footer">
            if known {
                <span>{ format!("A tick every {}", format::interval(interval_ms)) }</span>
                <span>{ format!("Statistics over {}", format::count(window, "tick", "ticks")) }</span>
                <span class="page-footer__counts">
                    { format!("{} received · {} lost", format::count(counts.ticks, "tick", "ticks"), counts.lost) }
                </span>
            }
            <span>{ format!("Times in {zone}") }</span>
        </footer>
    }
}
