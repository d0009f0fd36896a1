//! What governs the time axis of all charts: range and pause; and the badge of the last recovery.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::segments::segments;
use crate::{
    chart::stage::Stage,
    format,
    hooks::use_selector,
    markup::html,
    net::feed::Recovery,
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        stats::StatsStore,
        time::{Bound, TimeRange},
        view::{RANGE_KEY, Range, ViewStore},
    },
    words,
};

/// After a lost connection: how many ticks came after all and how fast, from counts that the page
/// made itself; or what did not come, and why.
fn recovery_words(recovery: Recovery) -> String {
    let since = |ms: u64| format::duration(i64::try_from(ms).unwrap_or(i64::MAX));
    let ticks = |count| format::count(count, "tick", "ticks");
    let back = format!("Back after {}", since(recovery.away_ms));
    if recovery.lost > 0 {
        format!("{back} · {} lost", ticks(recovery.lost))
    } else if recovery.hole_ms > 0 {
        format!(
            "{back} · server was not measuring for {}",
            since(recovery.hole_ms)
        )
    } else {
        format!(
            "{} recovered in {} ms · 0 lost",
            ticks(recovery.ticks),
            recovery.took_ms
        )
    }
}

/// Which time is shown: `last 5 min`, or from when to when.
pub(super) fn time_words(time: TimeRange) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
    let words = match (time.from, time.to) {
        (Bound::Ago(ms), Bound::Ago(0.0)) => ["last ", &format::duration(ms as i64)].concat(),
        _ => {
            let (from_ms, to_ms) = time.ends(0.0);
            let clock = |at_ms: f64| format::clock(at_ms as i64, platform::zone_offset_min(at_ms));
            [&clock(from_ms), " to ", &clock(to_ms)].concat()
        }
    };
    words
}

/// The choice of range, the pause and the badge of the last recovery; the charts are drawn on
/// `stage`.
#[hook]
pub fn use_toolbar(stage: &Stage) -> Html {
    let recovery = *use_selector(|store: &ConnectionStore| store.view.recovery);
    let view = use_selector(ViewStore::clone);
    let pushed = *use_selector(|stats: &StatsStore| stats.ring().pushed());
    let dispatch = use_dispatch::<ViewStore>();

    let on_range = Callback::from(move |index: usize| {
        let range = Range::ALL.get(index).copied().unwrap_or_default();
        platform::remember(RANGE_KEY, range.key());
        dispatch.change(|view| view.show(range));
    });
    let on_live = {
        let dispatch = use_dispatch::<ViewStore>();
        move |_: MouseEvent| dispatch.change(|view| view.zoom = None)
    };
    let on_pause = {
        let stage = stage.clone();
        move |_: MouseEvent| stage.toggle_pause()
    };
    let paused = view.paused_at.map(|at_ms| {
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let clock = format::clock(at_ms as i64, platform::zone_offset_min(at_ms));
        format!(
            "Paused {clock} · {} new",
            pushed.saturating_sub(view.paused_pushed)
        )
    });
    let (icon, label) = if paused.is_some() {
        ("M7 5l11 7-11 7z", "Resume")
    } else {
        ("M7 5h3.5v14H7zM13.5 5H17v14h-3.5z", words::PAUSE)
    };
    html! {
        <div class="toolbar">
            // The region is always there, so that what comes into it is announced.
            <div class="toolbar__state" role="status">
                if let Some(recovery) = recovery {
                    <span
                        class={classes!(
                            "recovery-badge",
                            (recovery.lost + recovery.hole_ms > 0).then_some("recovery-badge--lossy"),
                        )}
                    >
                        { recovery_words(recovery) }
                    </span>
                }
            </div>
            if let Some(words) = &paused {
                <span class="toolbar__paused">{ words.clone() }</span>
            }
            if let Some(part) = view.zoom {
                <span class="toolbar__paused">{ time_words(part) }</span>
                <button class="button" type="button" onclick={on_live}>{ words::BACK_TO_LIVE }</button>
            }
            <button
                class={classes!("button", paused.is_some().then_some("is-on"))}
                type="button"
                onclick={on_pause}
            >
                <svg class="button__icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                    <path d={icon} />
                </svg>
                { label }
            </button>
            { segments(
                words::TIME_SHOWN,
                "range",
                &Range::ALL.map(Range::label),
                Range::ALL.iter().position(|range| *range == view.range && view.zoom.is_none()),
                &on_range,
            ) }
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_time_is_shown() {
        assert_eq!(time_words(TimeRange::last(300_000.0)), "last 5 min");
    }

    #[test]
    fn says_what_came_and_what_did_not() {
        let recovery = Recovery {
            ticks: 42,
            lost: 0,
            took_ms: 38,
            away_ms: 18_900,
            hole_ms: 0,
        };
        assert_eq!(
            recovery_words(recovery),
            "42 ticks recovered in 38 ms · 0 lost"
        );
        let hole = Recovery {
            hole_ms: 18_000,
            ..recovery
        };
        assert_eq!(
            recovery_words(hole),
            "Back after 18 s · server was not measuring for 18 s"
        );
        let lossy = Recovery { lost: 1, ..hole };
        assert_eq!(recovery_words(lossy), "Back after 18 s · 1 tick lost");
    }
}
