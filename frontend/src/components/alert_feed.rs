//! What is wrong now and what was, until the reader dismisses it.

use gloo::timers::callback::Timeout;
use uuid::Uuid;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::alert_item::alert_item;
use crate::{
    hooks::{use_effect_with, use_selector, use_stack},
    markup::html,
    platform,
    stores::{
        alert::{AlertStore, in_places},
        change::Change,
        connection::ConnectionStore,
    },
    words,
};

/// New critical incidents are announced no more often than this; later ones are gathered.
const ANNOUNCE_EVERY_MS: f64 = 10_000.0;

/// Decides what is said aloud, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Announcer {
    last_at: Option<f64>,
    /// Critical incidents announced so far.
    said: u64,
}

/// What the announcer wants.
#[derive(Clone, Debug, PartialEq)]
enum Say {
    Nothing,
    Now(String),
    /// Ask again after so many milliseconds.
    Later(f64),
}

impl Announcer {
    /// There have been `total` critical incidents; `newest` is the words of the newest one.
    fn consider(&mut self, at: f64, total: u64, newest: Option<&str>) -> Say {
        let fresh = total.saturating_sub(self.said);
        if fresh == 0 {
            return Say::Nothing;
        }
        let wait = self
            .last_at
            .map_or(0.0, |last_at| last_at + ANNOUNCE_EVERY_MS - at);
        if wait > 0.0 {
            return Say::Later(wait);
        }
        self.last_at = Some(at);
        self.said = total;
        Say::Now(match newest {
            Some(newest) if fresh == 1 => format!("Critical: {newest}"),
            _ => format!("{fresh} new critical alerts"),
        })
    }
}

/// The list of alerts, active ones first.
#[component]
pub fn AlertFeed() -> Html {
    let entries = use_selector(AlertStore::select_entries);
    let firing = *use_selector(AlertStore::select_firing);
    let listening = *use_selector(AlertStore::select_listening);
    // A page that cannot hear of alerts does not say that all is well.
    let live = *use_selector(|store: &ConnectionStore| !store.view.connection.is_lost());
    let sourceless = *use_selector(|store: &ConnectionStore| store.view.sourceless);
    let dispatch = use_dispatch::<AlertStore>();
    let announcement = use_announcement();
    let list = use_node_ref();
    use_stack(&list, !entries.is_empty());

    // While the reader points at the list it keeps its order: what is about to be dismissed does
    // not move away from under the pointer. What is new comes below.
    let pointed = use_state_eq(|| false);
    let places = use_mut_ref(Vec::<Uuid>::new);
    if !*pointed {
        places.borrow_mut().clear();
    }
    let shown = in_places(&entries, &places.borrow());
    places.replace(shown.iter().map(|entry| entry.incident).collect());
    {
        // A list that is gone does not tell that the pointer has left it.
        let pointed = pointed.setter();
        use_effect_with(shown.is_empty(), move |gone| {
            if *gone {
                pointed.set(false);
            }
        });
    }
    let point = |at: bool| {
        let pointed = pointed.setter();
        Callback::from(move |_: PointerEvent| pointed.set(at))
    };

    let on_dismiss = use_callback(dispatch.clone(), |incident: Uuid, dispatch| {
        dispatch.change(|alerts| alerts.dismiss(incident));
    });
    let on_clear = use_callback(dispatch, |_: MouseEvent, dispatch| {
        dispatch.change(AlertStore::clear);
    });

    let total = entries.len();
    let summary = match (firing, total - firing) {
        (0, 0) => String::new(),
        (0, over) => format!("{over} ended"),
        (firing, 0) => format!("{firing} active"),
        (firing, over) => format!("{firing} active · {over} ended"),
    };
    html! {
        <section class="alert-feed" aria-label={words::ALERTS}>
            <div class="alert-feed__head">
                <h2>{ format!("Alerts ({total})") }</h2>
                if total > 0 {
                    <button class="button button--small" type="button" onclick={on_clear}>
                        { "Clear All" }
                    </button>
                }
            </div>
            if listening == Some(false) {
                <p class="alert-feed__summary is-deaf">{ words::DEAF }</p>
            } else {
                <p class="alert-feed__summary">{ summary }</p>
            }
            if total == 0 {
                <div class="alert-feed__empty">
                    <svg class={classes!("alert-feed__tick", (listening != Some(true) || !live || sourceless).then_some("is-deaf"))} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                        <circle cx="12" cy="12" r="10" />
                        <path d="M7.5 12.5l3 3 6-6.5" />
                    </svg>
                    <p>{ words::NO_ACTIVE_ALERTS }</p>
                    <p class="alert-feed__hint">
                        if sourceless {
                            { words::RULES_WITHOUT_SOURCE }
                        }
                        // What that is, only the server knows: anybody may have changed it.
                        <a href={platform::with_hash("#/alerts/rules")}>{ words::WHAT_IS_WATCHED }</a>
                    </p>
                </div>
            } else {
                <ol
                    ref={list}
                    class="alert-feed__list"
                    tabindex="0"
                    aria-label="Alerts, active ones first"
                    onpointerenter={point(true)}
                    onpointerleave={point(false)}
                    onpointercancel={point(false)}
                >
                    { for shown.iter().map(|entry| alert_item(entry, &on_dismiss)) }
                </ol>
            }
            <p class="visually-hidden" role="alert">{ announcement }</p>
        </section>
    }
}

/// The words for the live region: new critical incidents, gathered.
#[hook]
fn use_announcement() -> AttrValue {
    let total = *use_selector(AlertStore::select_critical_ever);
    let entries = use_selector(AlertStore::select_entries);
    let announcer = use_mut_ref(Announcer::default);
    let words = use_state(|| AttrValue::from(""));
    // Grows when the time of a gathered announcement has come.
    let due = use_state(|| 0_u32);
    {
        let (words, due) = (words.clone(), due.clone());
        use_effect_with((total, *due), move |(total, times)| {
            let newest = entries
                .iter()
                .find(|entry| entry.is_firing())
                .map(|entry| &*entry.message);
            let say = announcer
                .borrow_mut()
                .consider(platform::now_ms(), *total, newest);
            let timer = match say {
                Say::Nothing => None,
                Say::Now(text) => {
                    words.set(text.into());
                    None
                }
                Say::Later(wait_ms) => {
                    let next = times + 1;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "at most ten seconds"
                    )]
                    let timer = Timeout::new(wait_ms.ceil() as u32, move || due.set(next));
                    Some(timer)
                }
            };
            move || drop(timer)
        });
    }
    (*words).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_at_most_once_in_ten_seconds() {
        let mut announcer = Announcer::default();
        assert_eq!(announcer.consider(0.0, 0, None), Say::Nothing);
        assert_eq!(
            announcer.consider(0.0, 1, Some("CPU usage critical: 93.4%")),
            Say::Now("Critical: CPU usage critical: 93.4%".into())
        );
        assert_eq!(
            announcer.consider(4_000.0, 2, Some("x")),
            Say::Later(6_000.0)
        );
        assert_eq!(
            announcer.consider(10_000.0, 3, Some("x")),
            Say::Now("2 new critical alerts".into())
        );
        assert_eq!(announcer.consider(10_001.0, 3, Some("x")), Say::Nothing);
    }
}
