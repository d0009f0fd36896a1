//! Receivers in a list with a test for each, the route that leads to them, and what was delivered.

use yew::prelude::*;

use super::{
    act::{Ask, use_act},
    browsers::Browsers,
    deliveries::Deliveries,
    parts::{NEW, RECEIVERS, part_hash, standing, use_role},
};
use crate::{
    components::state,
    format,
    hooks::use_answer,
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        fetch::Method,
        json::Json,
    },
    platform,
    stores::{
        hosts::Trouble,
        notifiers::{Receiver, outcomes, route_lines},
    },
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 15_000;

/// Props of [`ReceiverList`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
}

/// The address of a receiver.
fn hash_of(name: &str) -> String {
    [&part_hash(RECEIVERS), "/", &encode_query(name)].concat()
}

/// Props of [`Row`].
#[derive(Clone, Debug, PartialEq, Properties)]
struct RowProps {
    endpoint: Endpoint,
    receiver: Receiver,
    /// The reader may change and test it; what is in a file may be tested alone.
    administers: bool,
    editable: bool,
}

/// One receiver, with the outcome of its newest test.
#[component]
fn Row(props: &RowProps) -> Html {
    let act = use_act(&props.endpoint);
    let told = use_state_eq(|| None::<Vec<(Trouble, String)>>);
    let receiver = &props.receiver;
    let on_test = {
        let (ask, told) = (act.ask.clone(), told.setter());
        let path = ["/api/receivers/", &encode_query(&receiver.name), "/test"].concat();
        move |_: MouseEvent| {
            told.set(None);
            let told = told.clone();
            ask.emit(Ask {
                method: Method::Post,
                path: path.clone(),
                body: "{}".to_owned(),
                on_done: Callback::from(move |text: String| {
                    told.set(Some(outcomes(&Json::parse(&text).unwrap_or_default())));
                }),
            });
        }
    };
    let outcome = |(trouble, words): &(Trouble, String)| {
        html! { <li>{ state(*trouble, words.clone()) }</li> }
    };
    let source = match receiver.source.as_str() {
        "file" => "from the file",
        _ => words::MADE_HERE,
    };
    html! {
        <li class="receiver">
            <span class="receiver__name series-name">{ receiver.name.clone() }</span>
            <span class="receiver__ways">{ receiver.ways().join(", ") }</span>
            <span class="receiver__source">{ source }</span>
            <span class="incident__acts">
                if !receiver.used {
                    <span class="mark">{ "No route leads to it" }</span>
                }
                if props.administers {
                    <button class="button button--small" type="button" disabled={act.is_busy} onclick={on_test}
                        aria-label={[words::SEND_TEST_TO, " ", &receiver.name].concat()}>
                        { if act.is_busy { words::SENDING } else { words::SEND_TEST } }
                    </button>
                }
                if props.administers && props.editable {
                    <a class="button button--small" href={platform::with_hash(&hash_of(&receiver.name))}
                        aria-label={[words::EDIT, " ", &receiver.name].concat()}>
                        { words::EDIT }
                    </a>
                }
            </span>
            <div class="receiver__outcome" role="status">
                if let Some(told) = &*told {
                    <ul>{ for told.iter().map(outcome) }</ul>
                }
                { act.problem_line() }
            </div>
        </li>
    }
}

/// The list, the route, the log.
#[component]
pub(super) fn ReceiverList(props: &Props) -> Html {
    let answer = use_answer(&props.endpoint, "/api/receivers".into(), EVERY_MS, 0);
    let role = use_role();
    let json = answer.json.clone().unwrap_or_default();
    let receivers = Receiver::read_all(&json);
    let editable = json.get("editable").is_true();
    let administers = role.administers();
    let route = route_lines(json.get("route"));
    let is_there = answer.json.is_some();
    let row = |receiver: &Receiver| {
        yew::html! {
            <Row
                key={receiver.name.clone()}
                endpoint={props.endpoint.clone()}
                receiver={receiver.clone()}
                {administers}
                {editable}
            />
        }
    };
    let count = receivers.len() as u64;
    html! {
        <>
            <div class="explore__head">
                <h2>{ "Receivers of notifications" }</h2>
                if administers && editable {
                    <a class="button button--primary" href={platform::with_hash(&hash_of(NEW))}>{ words::NEW_RECEIVER }</a>
                }
                <span class="explore__place" role="status">
                    if is_there {
                        { format::count(count, "receiver", "receivers") }
                    }
                </span>
            </div>
            if is_there && !editable {
                <p class="explore__place">{ "They stand in the file of ALERTMANAGER_CONFIG, and are changed there." }</p>
            }
            { standing(is_there, answer.problem.as_ref()) }
            if is_there && receivers.is_empty() {
                <p class="explore__empty panel">
                    { "Nobody is told of alerts but who looks at this page. " }
                    { if administers { "A new receiver is told by e-mail, chat or phone." } else { "Who has the role admin can add receivers." } }
                </p>
            }
            if !receivers.is_empty() {
                <ol class="receivers panel">{ for receivers.iter().map(row) }</ol>
            }
            if !route.is_empty() {
                <section class="alerts__group" aria-label="Routes">
                    <h3>{ "Who is told of what" }</h3>
                    <ol class="route panel">{ for route.iter().map(|line| html! { <li>{ line.clone() }</li> }) }</ol>
                </section>
            }
            <Browsers endpoint={props.endpoint.clone()} />
            <Deliveries endpoint={props.endpoint.clone()} />
        </>
    }
}
