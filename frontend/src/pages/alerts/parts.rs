//! What all parts of the view of alerts use: their addresses, what the reader may do, how times are
//! written, and what is said where nothing can be shown.

use pulseboard_shared::Role;
use yew::prelude::*;

use crate::{
    format,
    hooks::{use_seconds, use_selector},
    markup::html,
    net::refusal::Refusal,
    platform,
    stores::{alert::AlertStore, session::SessionStore, view::Page},
    words,
};

pub(super) const HISTORY: &str = "history";
pub(super) const RULES: &str = "rules";
pub(super) const SILENCES: &str = "silences";
pub(super) const MAINTENANCE: &str = "maintenance";
pub(super) const RECEIVERS: &str = "receivers";

/// In the address, for what is not there yet.
pub(super) const NEW: &str = "new";

/// The address of a part, behind and with its `#`.
pub(super) fn part_hash(place: &str) -> String {
    let slash = if place.is_empty() { "" } else { "/" };
    [Page::Alerts.hash(), slash, place].concat()
}

/// What the reader may do.
#[hook]
pub(super) fn use_role() -> Role {
    *use_selector(|store: &SessionStore| store.session().map_or(Role::None, |session| session.role))
}

/// Grows when something was heard of alerts, once a second at the most: much may happen at once.
#[hook]
pub(super) fn use_news() -> (u32, u64) {
    let seconds = use_seconds();
    let revision = *use_selector(AlertStore::select_revision);
    let sampled = use_mut_ref(|| (seconds, revision));
    if sampled.borrow().0 != seconds {
        *sampled.borrow_mut() = (seconds, revision);
    }
    let now = sampled.borrow();
    *now
}

/// A moment with its day, as people read it.
pub(super) fn moment(at_ms: f64) -> String {
    let offset_min = platform::zone_offset_min(at_ms);
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let at_ms = at_ms as i64;
    [
        &format::date(at_ms, offset_min),
        " ",
        &format::clock(at_ms, offset_min),
    ]
    .concat()
}

/// A length of time, as people read it.
pub(super) fn lasted(ms: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
    format::duration(ms as i64)
}

/// What stands in place of a list: why it is not there, or that it is on its way; nothing where it
/// is there and is the newest.
pub(super) fn standing(is_there: bool, problem: Option<&Refusal>) -> Html {
    match problem {
        None if is_there => Html::default(),
        None => html! { <p class="explore__place" role="status">{ words::LOADING_ALL }</p> },
        Some(problem) => {
            let old = if is_there {
                " What is shown is older."
            } else {
                ""
            };
            let words = match problem.status {
                404 => "This server does not have it".to_owned(),
                _ => problem.in_words(),
            };
            html! { <p class="explore__problem" role="alert">{ [&words, ".", old].concat() }</p> }
        }
    }
}
