//! Renders anew each second, for what tells how long ago something was.

use gloo::timers::callback::Interval;
use yew::prelude::*;

use crate::platform;

/// Grows each second while the page is in front.
#[hook]
pub fn use_seconds() -> u32 {
    let seconds = use_mut_ref(|| 0_u32);
    let update = use_force_update();
    let counter = std::rc::Rc::clone(&seconds);
    use_effect_with((), move |()| {
        let interval = Interval::new(1_000, move || {
            if !platform::hidden() {
                *counter.borrow_mut() += 1;
                update.force_update();
            }
        });
        move || drop(interval)
    });
    *seconds.borrow()
}
