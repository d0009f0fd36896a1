//! Expressions that were asked before, as a menu.

use web_sys::HtmlSelectElement;
use yew::prelude::*;

use crate::{
    hooks::use_effect_with,
    markup::html,
    platform,
    stores::asked::{self, ASKED_KEY},
};

/// Longer expressions are cut in the menu.
const SHOWN_MAX: usize = 80;

/// Remembers `expressions`, and offers those that were asked before; the one that is chosen goes to
/// `on_choose`.
#[hook]
pub fn use_history(expressions: &[String], on_choose: &Callback<String>) -> Html {
    let known = use_state_eq(|| asked::read(&platform::remembered(ASKED_KEY).unwrap_or_default()));
    {
        let known = known.setter();
        use_effect_with(expressions.to_vec(), move |expressions| {
            // As it is now: another tab may have asked since.
            let mut all = asked::read(&platform::remembered(ASKED_KEY).unwrap_or_default());
            for expression in expressions.iter().rev() {
                let text = asked::with(&all, expression);
                platform::remember(ASKED_KEY, &text);
                all = asked::read(&text);
            }
            known.set(all);
        });
    }
    if known.is_empty() {
        return Html::default();
    }
    let onchange = {
        let (known, on_choose) = (known.clone(), on_choose.clone());
        move |event: Event| {
            let menu = event.target_unchecked_into::<HtmlSelectElement>();
            let chosen = usize::try_from(menu.selected_index() - 1).ok();
            menu.set_selected_index(0);
            if let Some(expression) = chosen.and_then(|chosen| known.get(chosen)) {
                on_choose.emit(expression.clone());
            }
        }
    };
    let option = |(index, expression): (usize, &String)| {
        let shown: String = expression.chars().take(SHOWN_MAX).collect();
        html! { <option key={index}>{ shown }</option> }
    };
    html! {
        <select class="field__input history-menu" aria-label="Asked before" {onchange}>
            <option selected=true>{ "Asked before…" }</option>
            { for known.iter().enumerate().map(option) }
        </select>
    }
}
