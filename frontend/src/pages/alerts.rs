//! Alerts: what is wrong and what was, each incident with its course, rules, silences, and who is told.

use std::rc::Rc;

use pulseboard_shared::Role;
use yew::prelude::*;

mod acknowledge;
mod act;
mod deliveries;
mod form;
mod incident;
mod list;
mod preview;
mod receiver_editor;
mod receivers;
mod rule_editor;
mod rules;
mod silence_form;
mod silences;

use self::{
    incident::IncidentPage, list::IncidentList, receiver_editor::ReceiverEditor,
    receivers::ReceiverList, rule_editor::RuleEditor, rules::RuleList, silence_form::SilenceForm,
    silences::SilenceList,
};
use crate::{
    format,
    hooks::use_selector,
    markup::html,
    net::{address, config::Endpoint, refusal::Refusal},
    platform,
    stores::{session::SessionStore, view::Page},
    words,
};

/// Props of [`Alerts`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// Which part of the view the address names.
    pub place: Rc<str>,
    /// What it asks of that.
    pub asked: Rc<str>,
}

/// The parts: what stands in the address, and what they are called.
const TABS: [(&str, &str); 5] = [
    ("", "Active"),
    (HISTORY, "History"),
    (RULES, words::RULES_TITLE),
    (SILENCES, "Silences"),
    (RECEIVERS, "Receivers"),
];

const HISTORY: &str = "history";
const RULES: &str = "rules";
const SILENCES: &str = "silences";
const RECEIVERS: &str = "receivers";

/// In the address, for what is not there yet.
const NEW: &str = "new";

/// The address of a part, behind and with its `#`.
fn part_hash(place: &str) -> String {
    let slash = if place.is_empty() { "" } else { "/" };
    [Page::Alerts.hash(), slash, place].concat()
}

/// What the reader may do.
#[hook]
fn use_role() -> Role {
    *use_selector(|store: &SessionStore| store.session().map_or(Role::None, |session| session.role))
}

/// A moment with its day, as people read it.
fn moment(at_ms: f64) -> String {
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
fn lasted(ms: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
    format::duration(ms as i64)
}

/// What stands in place of a list: why it is not there, or that it is on its way; nothing where it
/// is there and is the newest.
fn standing(is_there: bool, problem: Option<&Refusal>) -> Html {
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

/// Links to all parts.
fn tabs(place: &str) -> Html {
    let first = place.split('/').next().unwrap_or_default();
    let tab = |(name, label): &(&'static str, &'static str)| {
        html! {
            <a
                key={*name}
                class="views__link"
                href={platform::with_hash(&part_hash(name))}
                aria-current={(first == *name).then_some("page")}
            >
                { *label }
            </a>
        }
    };
    html! {
        <nav class="views alerts__tabs" aria-label="Parts of alerts">
            { for TABS.iter().map(tab) }
        </nav>
    }
}

/// The view: its parts, and the one that the address names.
#[component]
pub fn Alerts(props: &Props) -> Html {
    let endpoint = props.endpoint.clone();
    let asked = AttrValue::from(Rc::clone(&props.asked));
    let (first, rest) = props.place.split_once('/').unwrap_or((&props.place, ""));
    let rest = address::param(&["of=", rest].concat(), "of").unwrap_or_default();
    let shown = match (first, rest.as_str()) {
        ("", _) => html! { <IncidentList key="active" {endpoint} {asked} history=false /> },
        (HISTORY, _) => html! { <IncidentList key="history" {endpoint} {asked} history=true /> },
        (RULES, "") => html! { <RuleList {endpoint} /> },
        (RULES, id) => html! { <RuleEditor key={id} {endpoint} id={id.to_owned()} /> },
        (SILENCES, "") => html! { <SilenceList {endpoint} /> },
        (SILENCES, _) => html! { <SilenceForm {endpoint} {asked} /> },
        (RECEIVERS, "") => html! { <ReceiverList {endpoint} /> },
        (RECEIVERS, name) => html! { <ReceiverEditor key={name} {endpoint} name={name.to_owned()} /> },
        (incident, _) => {
            html! { <IncidentPage key={incident} {endpoint} incident={incident.to_owned()} {asked} /> }
        }
    };
    html! {
        <section class="alerts" aria-label={words::ALERTS}>
            { tabs(&props.place) }
            { shown }
        </section>
    }
}
