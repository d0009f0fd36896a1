//! One incident in the alert feed.

use std::rc::Rc;

use uuid::Uuid;
use yew::prelude::*;

use crate::{
    format,
    markup::html,
    platform,
    stores::alert::{Entry, IncidentState},
    words,
};

/// How often and how long, and whether it is over.
fn course(entry: &Entry) -> String {
    let lasted = format::duration(entry.lasted_ms());
    match entry.state {
        IncidentState::Firing if entry.times == 1 => words::ACTIVE.to_owned(),
        IncidentState::Firing => format!("Active · {} times in {lasted}", entry.times),
        IncidentState::Resolved => format!("Resolved after {lasted}"),
        IncidentState::EndedUnheard => format!("Ended while disconnected, after {lasted} or more"),
    }
}

/// One incident of the list; `on_dismiss` is told when the reader has seen it.
pub(super) fn alert_item(entry: &Entry, on_dismiss: &Callback<Uuid>) -> Html {
    let started = {
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        let offset_min = platform::zone_offset_min(entry.started_ms as f64);
        format::clock(entry.started_ms, offset_min)
    };
    let onclick = {
        let (on_dismiss, incident) = (on_dismiss.clone(), entry.incident);
        move |_| on_dismiss.emit(incident)
    };
    html! {
        <li
            key={entry.incident.to_string()}
            class={classes!(
                "alert",
                format!("alert-{}", entry.severity),
                (!entry.is_firing()).then_some("is-over"),
            )}
        >
            <div class="alert__head">
                <span class="severity">{ entry.severity.as_str().to_ascii_uppercase() }</span>
                <span class="time">{ started }</span>
            </div>
            <p class="message">
                <a href={platform::with_hash(&entry.hash())}>{ AttrValue::from(Rc::clone(&entry.message)) }</a>
            </p>
            <p class="alert__course">{ course(entry) }</p>
            // The accessible name contains the visible one (WCAG 2.5.3).
            <button
                class="alert__dismiss"
                type="button"
                aria-label={format!("× Dismiss {}", entry.message)}
                {onclick}
            >
                { "×" }
            </button>
        </li>
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::Severity;

    use super::*;

    #[test]
    fn tells_the_course_of_an_incident() {
        let entry = |times, state| Entry {
            incident: Uuid::nil(),
            message: "CPU usage critical: 93.4%".into(),
            severity: Severity::Critical,
            started_ms: 0,
            heard_ms: 23_400,
            times,
            state,
        };
        for (times, state, text) in [
            (1, IncidentState::Firing, "Active"),
            (3, IncidentState::Firing, "Active · 3 times in 23 s"),
            (3, IncidentState::Resolved, "Resolved after 23 s"),
            (
                1,
                IncidentState::EndedUnheard,
                "Ended while disconnected, after 23 s or more",
            ),
        ] {
            assert_eq!(course(&entry(times, state)), text);
        }
    }
}
