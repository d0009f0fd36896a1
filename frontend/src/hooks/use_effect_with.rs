//! Runs an effect when what it depends on has changed. Does what Yew's hook of this name does, and
//! shares what can be shared: an instance of that one takes most of a kilobyte of the page for
//! each of its callers.

use std::{any::Any, cell::RefCell, rc::Rc};

use yew::{functional::TearDown, prelude::*};

/// Undoes an effect.
type Undo = Box<dyn FnOnce()>;

/// What one use of the hook keeps between renderings.
#[derive(Default)]
struct Slot {
    /// What the newest effect depends on.
    deps: Option<Rc<dyn Any>>,
    /// An effect that is to be run after this rendering.
    due: Option<Box<dyn FnOnce() -> Undo>>,
    /// Undoes the one that was run.
    undo: Option<Undo>,
}

type Shared = Rc<RefCell<Slot>>;

/// Taken out first, since what is called may lead here again.
fn undo(slot: &Shared) {
    let undo = slot.borrow_mut().undo.take();
    if let Some(undo) = undo {
        undo();
    }
}

fn run(slot: &Shared) {
    let due = slot.borrow_mut().due.take();
    if let Some(due) = due {
        undo(slot);
        let next = due();
        slot.borrow_mut().undo = Some(next);
    }
}

#[hook]
fn use_slot() -> Shared {
    let slot = use_mut_ref(Slot::default);
    let (rendered, gone) = (Rc::clone(&slot), Rc::clone(&slot));
    use_effect(move || run(&rendered));
    yew::use_effect_with((), move |()| move || undo(&gone));
    slot
}

/// Runs `effect` after the first rendering and after each at which `deps` are others, once what it
/// returned the last time was called; that is also called when the component goes.
#[hook]
pub fn use_effect_with<D, F, T>(deps: D, effect: F)
where
    D: PartialEq + 'static,
    F: FnOnce(&D) -> T + 'static,
    T: TearDown,
{
    let slot = use_slot();
    let mut slot = slot.borrow_mut();
    let known = slot.deps.as_ref();
    if known.is_some_and(|known| known.downcast_ref::<D>() == Some(&deps)) {
        return;
    }
    let deps = Rc::new(deps);
    slot.deps = Some(Rc::clone(&deps) as Rc<dyn Any>);
    slot.due = Some(Box::new(move || {
        let undo = effect(&deps);
        Box::new(move || undo.tear_down())
    }));
}
