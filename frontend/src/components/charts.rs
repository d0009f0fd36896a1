//! The four charts on one time axis, and what governs it: range and pause.

use pulseboard_shared::BUILT_IN;
use yew::prelude::*;
use yewdux::prelude::{use_dispatch, use_selector};

use super::{LiveChart, RangeSwitch, RecoveryBadge};
use crate::{
    chart::stage::Stage,
    format, platform,
    stores::{connection::ConnectionStore, stats::StatsStore, view::ViewStore},
};

/// See the module.
#[component]
pub fn Charts() -> Html {
    let stage = use_context::<Stage>();
    let view = use_selector(|view: &ViewStore| (view.range, view.paused_at));
    let stats = use_dispatch::<StatsStore>();
    let connection = use_dispatch::<ConnectionStore>();

    // New figures and a changed connection are drawn without a detour through the virtual DOM.
    use_effect_with(stage.clone(), move |stage| {
        let subscriptions = stage.clone().map(|stage| {
            let other = stage.clone();
            (
                stats.subscribe_silent(move |_| stage.request()),
                connection.subscribe_silent(move |_| other.request()),
            )
        });
        move || drop(subscriptions)
    });
    use_effect_with((stage.clone(), *view), |(stage, _)| {
        if let Some(stage) = stage {
            stage.request();
        }
    });

    html! {
        <section class="page-charts" aria-label="Charts">
            <div class="toolbar">
                <RecoveryBadge />
                <PauseButton />
                <RangeSwitch />
            </div>
            <div class="charts">
                { for BUILT_IN.into_iter().map(|metric| html! { <LiveChart {metric} /> }) }
            </div>
        </section>
    }
}

/// Holds the charts, or lets them go; says since when and what has come meanwhile.
#[component]
fn PauseButton() -> Html {
    let stage = use_context::<Stage>();
    let paused = use_selector(|view: &ViewStore| view.paused_at.map(|at| (at, view.paused_pushed)));
    let pushed = *use_selector(|stats: &StatsStore| stats.ring().pushed());
    let onclick = Callback::from(move |_: MouseEvent| {
        if let Some(stage) = &stage {
            stage.toggle_pause();
        }
    });
    let words = (*paused).map(|(at_ms, before)| {
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let clock = format::clock(at_ms as i64, platform::zone_offset_min(at_ms));
        format!("Paused {clock} · {} new", pushed.saturating_sub(before))
    });
    let (icon, label) = if paused.is_some() {
        ("M7 5l11 7-11 7z", "Resume")
    } else {
        ("M7 5h3.5v14H7zM13.5 5H17v14h-3.5z", "Pause")
    };
    html! {
        <>
            if let Some(words) = words {
                <span class="toolbar__paused">{ words }</span>
            }
            <button
                class={classes!("button", paused.is_some().then_some("is-on"))}
                type="button"
                {onclick}
            >
                <svg class="button__icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                    <path d={icon} />
                </svg>
                { label }
            </button>
        </>
    }
}
