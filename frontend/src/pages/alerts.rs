//! Alerts: what is wrong and what was, each incident with its course, rules, silences, and who is
//! told.

use std::rc::Rc;

use yew::prelude::*;

mod acknowledge;
mod act;
mod browsers;
mod deliveries;
mod form;
mod incident;
mod list;
mod maintenance;
mod maintenance_form;
mod parts;
mod preview;
mod push;
mod receiver_editor;
mod receivers;
mod rule_editor;
mod rules;
mod silence_form;
mod silences;

use self::{
    incident::IncidentPage,
    list::IncidentList,
    maintenance::WindowList,
    maintenance_form::WindowEditor,
    parts::{HISTORY, MAINTENANCE, RECEIVERS, RULES, SILENCES, part_hash},
    receiver_editor::ReceiverEditor,
    receivers::ReceiverList,
    rule_editor::RuleEditor,
    rules::RuleList,
    silence_form::SilenceForm,
    silences::SilenceList,
};
use crate::{
    components::show_current,
    hooks::use_effect_with,
    markup::html,
    net::{address, config::Endpoint},
    platform, words,
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
const TABS: [(&str, &str); 6] = [
    ("", words::ACTIVE),
    (HISTORY, "History"),
    (RULES, words::RULES_TITLE),
    (SILENCES, words::SILENCES),
    (MAINTENANCE, words::MAINTENANCE),
    (RECEIVERS, "Receivers"),
];

/// Links to all parts. Where they have not all room, the one that is shown is in sight.
#[hook]
fn use_tabs(place: &str) -> Html {
    let first = place.split('/').next().unwrap_or_default();
    let nav = use_node_ref();
    {
        let nav = nav.clone();
        use_effect_with(first.to_owned(), move |_| {
            show_current(&nav);
        });
    }
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
        <nav ref={nav} class="views alerts__tabs" aria-label="Parts of alerts">
            { for TABS.iter().map(tab) }
        </nav>
    }
}

/// The view: its parts, and the one that the address names.
#[component]
pub fn Alerts(props: &Props) -> Html {
    let endpoint = props.endpoint.clone();
    let tabs = use_tabs(&props.place);
    let asked = AttrValue::from(Rc::clone(&props.asked));
    let (first, rest) = props.place.split_once('/').unwrap_or((&props.place, ""));
    let rest = address::param(&["of=", rest].concat(), "of").unwrap_or_default();
    let shown = match (first, rest.as_str()) {
        ("", _) => html! { <IncidentList key="active" {endpoint} {asked} history=false /> },
        (HISTORY, _) => html! { <IncidentList key="history" {endpoint} {asked} history=true /> },
        (RULES, "") => html! { <RuleList {endpoint} /> },
        (RULES, id) => html! { <RuleEditor key={id} {endpoint} id={id.to_owned()} {asked} /> },
        (SILENCES, "") => html! { <SilenceList {endpoint} /> },
        (SILENCES, _) => html! { <SilenceForm {endpoint} {asked} /> },
        (MAINTENANCE, "") => html! { <WindowList {endpoint} /> },
        (MAINTENANCE, id) => html! { <WindowEditor key={id} {endpoint} id={id.to_owned()} /> },
        (RECEIVERS, "") => html! { <ReceiverList {endpoint} /> },
        (RECEIVERS, name) => {
            html! { <ReceiverEditor key={name} {endpoint} name={name.to_owned()} /> }
        }
        (incident, _) => {
            html! { <IncidentPage key={incident} {endpoint} incident={incident.to_owned()} {asked} /> }
        }
    };
    html! {
        <section class="alerts" aria-label={words::ALERTS}>
            { tabs }
            { shown }
        </section>
    }
}
