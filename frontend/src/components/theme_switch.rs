//! Dark, light, or as the system says; remembered.

use yew::prelude::*;
use yewdux::prelude::{use_dispatch, use_selector};

use super::Segments;
use crate::{
    hooks::THEME_KEY,
    platform,
    stores::view::{ThemeChoice, ViewStore},
};

/// See the module.
#[component]
pub fn ThemeSwitch() -> Html {
    let chosen = *use_selector(|view: &ViewStore| view.theme);
    let dispatch = use_dispatch::<ViewStore>();
    let on_choose = use_callback(dispatch, |index: usize, dispatch| {
        let choice = ThemeChoice::ALL.get(index).copied().unwrap_or_default();
        platform::remember(THEME_KEY, choice.key());
        dispatch.reduce_mut(|view| view.theme = choice);
    });
    html! {
        <div class="theme-switch">
            <Segments
                legend="Theme"
                name="theme"
                labels={ThemeChoice::ALL.map(|choice| AttrValue::from(choice.label())).to_vec()}
                chosen={ThemeChoice::ALL.iter().position(|choice| *choice == chosen).unwrap_or(0)}
                {on_choose}
            />
        </div>
    }
}
