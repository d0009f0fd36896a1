//! Says "I have it": with a comment, and until when.

use web_sys::HtmlInputElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    act::{Ask, use_act},
    form::choice,
};
use crate::{
    hooks::use_effect_with,
    markup::html,
    net::{config::Endpoint, fetch::Method, json::quote},
    platform,
    stores::{answers::utc, stats::StatsStore},
    words,
};

/// Until when; the first one is until the incident ends.
const UNTIL: [(&str, f64); 5] = [
    (words::UNTIL_IT_ENDS, 0.0),
    ("for 1 h", 3_600_000.0),
    ("for 4 h", 14_400_000.0),
    ("for 1 d", 86_400_000.0),
    ("for 7 d", 604_800_000.0),
];

/// Props of [`Acknowledge`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// The incident.
    pub(super) incident: AttrValue,
    /// It was said, or not after all.
    pub(super) on_done: Callback<()>,
}

/// Where an incident is acknowledged.
pub(super) fn path(incident: &str) -> String {
    ["/api/alerts/", incident, "/ack"].concat()
}

/// The form.
#[component]
pub(super) fn Acknowledge(props: &Props) -> Html {
    let act = use_act(&props.endpoint);
    let stats = use_dispatch::<StatsStore>();
    let comment = use_state_eq(String::new);
    let until = use_state_eq(|| 0_usize);
    let field = use_node_ref();
    {
        let field = field.clone();
        use_effect_with((), move |()| {
            if let Some(field) = field.cast::<HtmlInputElement>() {
                // Fails only for what cannot be focused.
                drop(field.focus());
            }
        });
    }
    let onsubmit = {
        let (ask, comment, until) = (act.ask.clone(), comment.clone(), until.clone());
        let (incident, on_done) = (props.incident.clone(), props.on_done.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            let (_, length_ms) = UNTIL[(*until).min(UNTIL.len() - 1)];
            let until = match length_ms > 0.0 {
                true => {
                    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
                    [",\"until\":", &quote(&utc(now_ms + length_ms))].concat()
                }
                false => String::new(),
            };
            ask.emit(Ask {
                method: Method::Post,
                path: path(&incident),
                body: format!("{{\"comment\":{}{until}}}", quote(comment.trim())),
                on_done: on_done.reform(|_| ()),
            });
        }
    };
    let oninput = {
        let comment = comment.setter();
        move |event: InputEvent| {
            comment.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    let onkeydown = {
        let on_done = props.on_done.clone();
        move |event: KeyboardEvent| {
            if event.key() == "Escape" {
                on_done.emit(());
            }
        }
    };
    let on_cancel = props.on_done.reform(|_: MouseEvent| ());
    let until_setter = until.setter();
    html! {
        <form class="form form--inline" aria-label={words::ACKNOWLEDGE} {onsubmit} {onkeydown}>
            <label class="field">
                <span class="field__label">{ words::COMMENT }</span>
                <input ref={field} class="field__input" autocomplete="off" placeholder="Looking at it" value={(*comment).clone()} {oninput} />
            </label>
            { choice("Holds", &UNTIL.map(|(label, _)| label), *until, Callback::from(move |index| until_setter.set(index))) }
            <button class="button button--primary" type="submit" disabled={act.is_busy}>{ words::ACKNOWLEDGE }</button>
            <button class="button" type="button" onclick={on_cancel}>{ words::CANCEL }</button>
            { act.problem_line() }
        </form>
    }
}
