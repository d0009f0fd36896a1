//! The delivery log: every notification, how often it was tried, and what the receiver said.

use yew::prelude::*;

use super::parts::{moment, standing};
use crate::{
    components::state, format, hooks::use_answer, markup::html, net::config::Endpoint,
    stores::notifiers::Notification, words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 5_000;

/// Of the alerts of one notification, the server tells the timelines of so many.
const TIMELINES_MAX: u64 = 1_000;

/// Props of [`Deliveries`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
}

/// One notification.
fn row(notification: &Notification) -> Html {
    let (trouble, word) = notification.outcome;
    let tries = match notification.tries {
        0 | 1 => String::new(),
        tries => format!("{tries} tries"),
    };
    let alerts = format::count(notification.alerts, "alert", "alerts");
    let is_cut = notification.alerts > TIMELINES_MAX;
    let what = match notification.is_resolved {
        true => [&alerts, " over"].concat(),
        false => [&alerts, " firing"].concat(),
    };
    html! {
        <li key={notification.key.clone()} class="delivery">
            { state(trouble, word.to_owned()) }
            <span class="delivery__time">{ moment(notification.at_ms) }</span>
            <span class="delivery__to series-name">{ notification.to.clone() }</span>
            <span class="delivery__what">
                { what }
                { " " }
                <span class="series-name__labels">{ notification.group.clone() }</span>
                if is_cut {
                    { " " }
                    <span class="explore__place">{ format!("Timelines of the first {} say so", format::grouped(TIMELINES_MAX)) }</span>
                }
            </span>
            <span class="delivery__tries">{ tries }</span>
            if !notification.detail.is_empty() {
                <span class="rule__error">{ notification.detail.clone() }</span>
            }
        </li>
    }
}

/// The log.
#[component]
pub(super) fn Deliveries(props: &Props) -> Html {
    let answer = use_answer(
        &props.endpoint,
        "/api/notifications?limit=100".into(),
        EVERY_MS,
        0,
    );
    let json = answer.json.clone().unwrap_or_default();
    let all = Notification::read_all(&json);
    let is_there = answer.json.is_some();
    html! {
        <section class="alerts__group" aria-label={words::DELIVERIES}>
            <h3>{ words::DELIVERIES }</h3>
            { standing(is_there, answer.problem.as_ref()) }
            if is_there && all.is_empty() {
                <p class="explore__empty panel">{ "Nothing was sent yet" }</p>
            }
            if !all.is_empty() {
                <ol class="deliveries panel">{ for all.iter().map(row) }</ol>
            }
        </section>
    }
}
