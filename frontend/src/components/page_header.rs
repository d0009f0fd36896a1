//! The top of every page: name, room for navigation, state, theme.

use yew::prelude::*;

use super::{ConnectionStatus, CriticalBadge, ThemeSwitch};

/// See the module.
#[component]
pub fn PageHeader() -> Html {
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
                <CriticalBadge />
                <ConnectionStatus />
            </div>
            <ThemeSwitch />
        </header>
    }
}
