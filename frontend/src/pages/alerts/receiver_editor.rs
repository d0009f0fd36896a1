//! A receiver as it is being written: its name, and each way to tell it.

use yew::prelude::*;

use super::{
    act::{Saving, use_act},
    form::{line, tick},
    parts::{NEW, RECEIVERS, part_hash, standing, use_role},
};
use crate::{
    hooks::use_answer,
    markup::html,
    net::config::Endpoint,
    platform,
    stores::notifiers::{Draft, Field, Kind, Receiver, Section, WAYS},
    words,
};

/// Props of [`ReceiverEditor`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// Its name; `new` for one that is not there yet.
    pub(super) name: AttrValue,
}

/// The receiver that the address names.
#[component]
pub(super) fn ReceiverEditor(props: &Props) -> Html {
    let is_new = &*props.name == NEW;
    let path = if is_new { "" } else { "/api/receivers" };
    let answer = use_answer(&props.endpoint, path.into(), 0, 0);
    let role = use_role();
    let json = answer.json.clone().unwrap_or_default();
    let all = Receiver::read_all(&json).into_iter();
    let receiver = all.rev().find(|one| one.name == *props.name);
    let is_missing = answer.json.is_some() && receiver.is_none();
    html! {
        <>
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={platform::with_hash(&part_hash(RECEIVERS))}>{ "← All receivers" }</a>
            </nav>
            if !role.administers() {
                <p class="explore__empty panel">{ "Who has the role admin can change receivers" }</p>
            } else if is_new {
                <Editor endpoint={props.endpoint.clone()} receiver={None::<Receiver>} />
            } else if let Some(receiver) = receiver {
                <Editor endpoint={props.endpoint.clone()} {receiver} />
            } else if is_missing {
                <p class="explore__empty panel">{ "No receiver has this name" }</p>
            } else {
                { standing(false, answer.problem.as_ref()) }
            }
        </>
    }
}

/// Props of [`Editor`].
#[derive(Clone, Debug, PartialEq, Properties)]
struct EditorProps {
    endpoint: Endpoint,
    receiver: Option<Receiver>,
}

/// One way; `index` is its place.
fn section(draft: &UseStateHandle<Draft>, index: usize, section: &Section) -> Html {
    let way = section.way();
    let field = |(name, label, kind, _): &'static Field| {
        let kind = if *kind == Kind::Secret {
            "password"
        } else {
            "text"
        };
        let draft = draft.clone();
        let on_input = Callback::from(move |text: String| {
            let mut next = (*draft).clone();
            if let Some(section) = next.sections.get_mut(index) {
                section.set(name, text);
            }
            draft.set(next);
        });
        line(label, kind, section.value(name), on_input)
    };
    let on_resolved = {
        let draft = draft.clone();
        Callback::from(move |on: bool| {
            let mut next = (*draft).clone();
            if let Some(section) = next.sections.get_mut(index) {
                section.resolved = on;
            }
            draft.set(next);
        })
    };
    let on_remove = {
        let draft = draft.clone();
        move |_: MouseEvent| {
            let mut next = (*draft).clone();
            if index < next.sections.len() {
                next.sections.remove(index);
            }
            draft.set(next);
        }
    };
    html! {
        <fieldset class="form__fields form__section">
            <legend>{ way.label }</legend>
            <div class="form__grid">{ for way.fields.iter().map(field) }</div>
            <div class="form__acts">
                { tick("Also when alerts are over", section.resolved, on_resolved) }
                <button class="button button--small" type="button" onclick={on_remove}
                    aria-label={[words::REMOVE, " ", way.label].concat()}>
                    { words::REMOVE }
                </button>
            </div>
        </fieldset>
    }
}

/// The form.
#[component]
fn Editor(props: &EditorProps) -> Html {
    let draft = use_state_eq(|| {
        props
            .receiver
            .as_ref()
            .map_or_else(Draft::default, Draft::of)
    });
    let problem = use_state_eq(|| None::<String>);
    let act = use_act(&props.endpoint);
    let known = props.receiver.as_ref().map(|one| one.name.as_str());
    let saving = Saving::new(&act, "/api/receivers", known, RECEIVERS);
    let onsubmit = {
        let (saving, draft, problem) = (saving.clone(), draft.clone(), problem.setter());
        move |event: SubmitEvent| {
            event.prevent_default();
            let missing = draft.problem();
            if missing.is_none() {
                saving.save(draft.json(platform::digits));
            }
            problem.set(missing);
        }
    };
    let on_name = {
        let draft = draft.clone();
        Callback::from(move |name: String| {
            let mut next = (*draft).clone();
            next.name = name;
            draft.set(next);
        })
    };
    let add = |(index, way): (usize, &crate::stores::notifiers::Way)| {
        let draft = draft.clone();
        let onclick = move |_: MouseEvent| {
            let mut next = (*draft).clone();
            next.sections.push(Section::new(index));
            draft.set(next);
        };
        html! { <button key={way.label} class="button button--small" type="button" {onclick}>{ ["+ ", way.label].concat() }</button> }
    };
    let sections = draft.sections.iter().enumerate();
    html! {
        <form class="form panel" aria-label="Receiver" {onsubmit}>
            <h2>{ props.receiver.as_ref().map_or(words::NEW_RECEIVER, |receiver| &receiver.name).to_owned() }</h2>
            if !saving.is_known() {
                { line(words::NAME, "text", &draft.name, on_name) }
            }
            { for sections.map(|(index, one)| section(&draft, index, one)) }
            <div class="form__ways" role="group" aria-label="Add a way to be told">
                { for WAYS.iter().enumerate().map(add) }
            </div>
            <p class="explore__place">{ "What is secret is never shown again; left as it is, it stays." }</p>
            if let Some(problem) = &*problem {
                <p class="form__problem" role="alert">{ problem.clone() }</p>
            }
            { act.problem_line() }
            <div class="form__acts">
                <button class="button button--primary" type="submit" disabled={act.is_busy}>{ words::SAVE }</button>
                <a class="button" href={platform::with_hash(&part_hash(RECEIVERS))}>{ words::CANCEL }</a>
                if saving.is_known() {
                    <button class="button form__delete" type="button" disabled={act.is_busy} onclick={saving.on_delete()}>{ words::DELETE }</button>
                }
            </div>
        </form>
    }
}
