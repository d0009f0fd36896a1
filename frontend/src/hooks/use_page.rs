//! Which view the address names: the part behind `#`, since that works from any path and any
//! file server.

use gloo::{events::EventListener, utils::window};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::use_effect_with;
use crate::{
    net::address::param,
    platform, preferences,
    stores::{
        change::Change,
        session::SessionStore,
        view::{Page, ViewStore, place},
    },
};

/// Keeps [`ViewStore::page`] as the address says.
#[hook]
pub fn use_page() {
    let dispatch = use_dispatch::<ViewStore>();
    let session = use_dispatch::<SessionStore>();
    use_effect_with((), move |()| {
        let read = move || {
            let hash = platform::hash();
            let asked = hash.split_once('?').map_or("", |(_, asked)| asked);
            preferences::recall(param(asked, "tz"));
            dispatch.change(|view| {
                view.page = Page::from_hash(&hash);
                view.place = place(&hash).into();
                view.asked = asked.into();
            });
        };
        read();
        let listener = EventListener::new(&window(), "hashchange", move |_| {
            if platform::is_admin_link(&platform::hash()) {
                // Pasted into an open tab: whoever asks for the session takes it.
                session.change(SessionStore::doubt);
            }
            read();
        });
        move || drop(listener)
    });
}
