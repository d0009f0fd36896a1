//! What the figures are made of: interval, window, what arrived, how and how fast, time zone.

use yew::prelude::*;

use crate::{
    format,
    hooks::use_selector,
    markup::html,
    net::feed::Counts,
    platform,
    stores::{
        connection::ConnectionStore,
        latency::{LatencyStore, Percentiles, STRETCHES},
        stats::StatsStore,
    },
};

/// What arrived and what did not; merged ticks arrived, though not one by one.
fn received(counts: &Counts) -> String {
    let ticks = format::count(counts.ticks, "tick", "ticks");
    let merged = match counts.merged {
        0 => String::new(),
        merged => format!(" · {} merged", format::count(merged, "tick", "ticks")),
    };
    format!("{ticks} received · {} lost{merged}", counts.lost)
}

/// Such as `p50 38 · p99 61 ms`.
fn pair(of: Percentiles) -> String {
    format!("p50 {} · p99 {} ms", of.p50, of.p99)
}

/// From sampled to painted; with the pointer or the keyboard on it, where that time went.
#[hook]
fn use_freshness() -> Html {
    let summary = *use_selector(LatencyStore::select_summary);
    let is_waiting = summary.is_none();
    let summary = summary.unwrap_or_default();
    let stretches = STRETCHES.iter().zip(summary.stretches);
    html! {
        <button class={classes!("freshness", is_waiting.then_some("is-waiting"))} type="button" aria-describedby="freshness-split">
            { "Sample to paint " }
            <span class="freshness__figures">{ pair(summary.total) }</span>
            <span class="freshness__split" id="freshness-split" role="tooltip">
                <span class="freshness__title">{ "From sample to paint, last 2 min" }</span>
                { for stretches.map(|(name, of)| html! {
                    <span class="freshness__stretch">
                        <span>{ *name }</span>
                        <span>{ pair(of) }</span>
                    </span>
                }) }
            </span>
        </button>
    }
}

/// What the figures are made of: interval, window, what arrived, how and how fast, time zone.
#[component]
pub fn PageFooter() -> Html {
    let (counts, transport) =
        *use_selector(|store: &ConnectionStore| (store.view.counts, store.view.transport));
    let (interval_ms, window) =
        *use_selector(|stats: &StatsStore| (stats.select_interval_ms(), stats.select_window()));
    let zone = format::zone(platform::zone_offset_min(platform::now_ms()));
    let in_zone = ["Times in ", &zone].concat();
    let freshness = use_freshness();
    let is_sourceless = *use_selector(|store: &ConnectionStore| store.view.sourceless);
    // Of a server that measures nothing there is nothing to be said.
    if is_sourceless {
        return html! { <footer class="page-footer"><span>{ in_zone }</span></footer> };
    }
    // Before the first figures the places of all are kept, unseen: nothing moves once they come.
    let waits = (counts.ticks == 0).then_some("is-waiting");
    html! {
        <footer class={classes!("page-footer", waits)}>
            <span>{ format!("A tick every {}", format::interval(interval_ms)) }</span>
            <span>{ format!("Statistics over {}", format::count(window, "tick", "ticks")) }</span>
            <span class="page-footer__counts">{ received(&counts) }</span>
            <span class="page-footer__way">{ transport.label() }</span>
            { freshness }
            <span>{ in_zone }</span>
        </footer>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_ticks_are_said() {
        let mut counts = Counts {
            ticks: 41,
            ..Counts::default()
        };
        assert_eq!(received(&counts), "41 ticks received · 0 lost");
        counts.merged = 17;
        assert_eq!(
            received(&counts),
            "41 ticks received · 0 lost · 17 ticks merged"
        );
    }
}
