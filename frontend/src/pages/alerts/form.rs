//! Fields of the forms: a label above what is filled in.

use web_sys::{HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement};
use yew::prelude::*;

use crate::markup::html;

/// A field of one line; `kind` is an input's type.
pub(super) fn line(
    label: &'static str,
    kind: &'static str,
    value: &str,
    on_input: Callback<String>,
) -> Html {
    let oninput = move |event: InputEvent| {
        on_input.emit(event.target_unchecked_into::<HtmlInputElement>().value());
    };
    let autocomplete = if kind == "password" {
        "new-password"
    } else {
        "off"
    };
    html! {
        <label class="field">
            <span class="field__label">{ label }</span>
            <input class="field__input" type={kind} {autocomplete} spellcheck="false" value={value.to_owned()} {oninput} />
        </label>
    }
}

/// A field of several lines.
pub(super) fn lines(label: &'static str, value: &str, on_input: Callback<String>) -> Html {
    let oninput = move |event: InputEvent| {
        on_input.emit(event.target_unchecked_into::<HtmlTextAreaElement>().value());
    };
    html! {
        <label class="field">
            <span class="field__label">{ label }</span>
            <textarea class="field__input field__lines" rows="3" spellcheck="false" value={value.to_owned()} {oninput}></textarea>
        </label>
    }
}

/// A choice of one of many.
pub(super) fn choice(
    label: &'static str,
    options: &[&str],
    chosen: usize,
    on_choose: Callback<usize>,
) -> Html {
    let onchange = move |event: Event| {
        let menu = event.target_unchecked_into::<HtmlSelectElement>();
        on_choose.emit(usize::try_from(menu.selected_index()).unwrap_or(0));
    };
    let option = |(index, option): (usize, &&str)| {
        html! { <option key={index} selected={index == chosen}>{ (*option).to_owned() }</option> }
    };
    html! {
        <label class="field">
            <span class="field__label">{ label }</span>
            <select class="field__input" {onchange}>
                { for options.iter().enumerate().map(option) }
            </select>
        </label>
    }
}

/// A yes or no.
pub(super) fn tick(label: &'static str, checked: bool, on_tick: Callback<bool>) -> Html {
    let onchange = move |event: Event| {
        on_tick.emit(event.target_unchecked_into::<HtmlInputElement>().checked());
    };
    html! {
        <label class="tick">
            <input type="checkbox" {checked} {onchange} />
            { label }
        </label>
    }
}

/// Changes a part of a draft.
pub(super) fn change<D: Clone + PartialEq + 'static, V: 'static>(
    draft: &UseStateHandle<D>,
    set: fn(&mut D, V),
) -> Callback<V> {
    let draft = draft.clone();
    Callback::from(move |value: V| {
        let mut next = (*draft).clone();
        set(&mut next, value);
        draft.set(next);
    })
}
