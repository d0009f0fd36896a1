//! Which view the address names: the part behind `#`, since that works from any path and any
//! file server.

use gloo::{events::EventListener, utils::window};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    platform,
    stores::view::{Page, ViewStore},
};

/// Keeps [`ViewStore::page`] as the address says.
#[hook]
pub fn use_page() {
    let dispatch = use_dispatch::<ViewStore>();
    use_effect_with((), move |()| {
        let read = move || {
            let page = Page::from_hash(&platform::hash());
            dispatch.reduce_mut(|view| view.page = page);
        };
        read();
        let listener = EventListener::new(&window(), "hashchange", move |_| read());
        move || drop(listener)
    });
}
