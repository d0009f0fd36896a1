//! Renders anew each second, for what tells how long ago something was.

use gloo::{events::EventListener, timers::callback::Interval, utils::document};
use yew::prelude::*;

use super::use_effect_with;
use crate::platform;

/// Grows each second while the page is in front, and when it comes there.
#[hook]
pub fn use_seconds() -> u32 {
    let seconds = use_mut_ref(|| 0_u32);
    let update = use_force_update();
    let counter = std::rc::Rc::clone(&seconds);
    use_effect_with((), move |()| {
        let count = move || {
            if !platform::hidden() {
                *counter.borrow_mut() += 1;
                update.force_update();
            }
        };
        let interval = Interval::new(1_000, count.clone());
        let listener = EventListener::new(&document(), "visibilitychange", move |_| count());
        move || drop((interval, listener))
    });
    *seconds.borrow()
}
