//! What a component reads of a store. Does what yewdux's hook of this name does, and shares what can
//! be shared: an instance of that one takes kilobytes of the page for each of its callers.

use std::{any::Any, cell::RefCell, rc::Rc};

use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch, store::Store};

/// A function and not a closure, so that all selectors of one type are the same code.
type Select<S, T> = fn(&S) -> T;

/// What one use of the hook keeps between renderings.
#[derive(Default)]
struct Held {
    /// What the component was given.
    value: Option<Rc<dyn Any>>,
    /// Ends when dropped.
    subscription: Option<Box<dyn Any>>,
}

type Holder = Rc<RefCell<Held>>;

#[hook]
fn use_holder() -> (Holder, UseForceUpdateHandle) {
    (use_mut_ref(Held::default), use_force_update())
}

/// What `select` yields now; the component renders anew once it yields something else.
#[hook]
pub fn use_selector<S: Store, T: PartialEq + 'static>(select: Select<S, T>) -> Rc<T> {
    let (holder, update) = use_holder();
    let dispatch = use_dispatch::<S>();
    selected(&holder, dispatch, update, select)
}

#[inline(never)]
fn selected<S: Store, T: PartialEq + 'static>(
    holder: &Holder,
    dispatch: Dispatch<S>,
    update: UseForceUpdateHandle,
    select: Select<S, T>,
) -> Rc<T> {
    let value = select(&dispatch.get());
    if holder.borrow().subscription.is_none() {
        let weak = Rc::downgrade(holder);
        let subscription = dispatch.subscribe_silent(move |state: Rc<S>| {
            if weak
                .upgrade()
                .is_some_and(|holder| known(&holder, &select(&state)).is_none())
            {
                update.force_update();
            }
        });
        holder.borrow_mut().subscription = Some(Box::new(subscription));
    }
    known(holder, &value).unwrap_or_else(|| {
        let value = Rc::new(value);
        holder.borrow_mut().value = Some(Rc::clone(&value) as Rc<dyn Any>);
        value
    })
}

/// What is held, if it equals `value`.
#[inline(never)]
fn known<T: PartialEq + 'static>(holder: &Holder, value: &T) -> Option<Rc<T>> {
    let held = holder.borrow().value.clone()?;
    held.downcast::<T>().ok().filter(|held| **held == *value)
}
