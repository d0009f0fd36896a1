//! The top of every page: name, room for navigation, state, theme.

use yew::prelude::*;
use yewdux::prelude::{use_dispatch, use_selector};

use super::{ConnectionStatus, segments::segments};
use crate::{
    hooks::THEME_KEY,
    platform,
    stores::{
        alert::AlertStore,
        view::{ThemeChoice, ViewStore},
    },
};

/// See the module.
#[component]
pub fn PageHeader() -> Html {
    let critical = *use_selector(AlertStore::select_critical);
    let theme = *use_selector(|view: &ViewStore| view.theme);
    let dispatch = use_dispatch::<ViewStore>();
    let on_theme = Callback::from(move |index: usize| {
        let choice = ThemeChoice::ALL.get(index).copied().unwrap_or_default();
        platform::remember(THEME_KEY, choice.key());
        dispatch.reduce_mut(|view| view.theme = choice);
    });
    html! {
        <header class="page-header">
            <div class="brand">
                <svg class="brand__mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
                    <rect x="1" y="1" width="30" height="30" rx="8" />
                    <path d="M6 17h5l3-8 5 14 3-6h4" />
                </svg>
                <h1>{ "Live Dashboard" }</h1>
                <span class="brand__name">{ "Pulseboard" }</span>
            </div>
            <div class="page-header__state">
                if critical > 0 {
                    <span class="critical-badge">{ format!("{critical} Critical") }</span>
                }
                <ConnectionStatus />
            </div>
            <div class="theme-switch">
                { segments(
                    "Theme",
                    "theme",
                    &ThemeChoice::ALL.map(ThemeChoice::label),
                    ThemeChoice::ALL.iter().position(|choice| *choice == theme),
                    &on_theme,
                ) }
            </div>
        </header>
    }
}
