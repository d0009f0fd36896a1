//! Applies the reader's theme to the page, and follows the system where that is the choice.

use gloo::{
    events::EventListener,
    utils::{document_element, window},
};
use yew::prelude::*;

use super::{use_effect_with, use_selector};
use crate::{
    chart::stage::Stage,
    platform,
    stores::view::{ThemeChoice, ViewStore},
};

/// Key in the browser's storage; the script in `index.html` reads it, too.
pub(crate) const THEME_KEY: &str = "pulseboard-theme";

const LIGHT: &str = "(prefers-color-scheme: light)";

/// Keeps `data-theme` of the page's root as the reader wants it, and the charts' colours with it.
#[hook]
pub fn use_theme(stage: &Stage) {
    let choice = *use_selector(|view: &ViewStore| view.theme);
    let stage = stage.clone();
    use_effect_with(choice, move |choice| {
        let choice = *choice;
        let apply = move || {
            let light = match choice {
                ThemeChoice::Auto => platform::media_matches(LIGHT),
                ThemeChoice::Dark => false,
                ThemeChoice::Light => true,
            };
            let name = if light { "light" } else { "dark" };
            // Fails only for what is no attribute's name.
            drop(document_element().set_attribute("data-theme", name));
            stage.restyle();
        };
        apply();
        let list = window().match_media(LIGHT).ok().flatten();
        let listener = list.map(|list| {
            let listener = EventListener::new(&list, "change", move |_| apply());
            (list, listener)
        });
        move || drop(listener)
    });
}
