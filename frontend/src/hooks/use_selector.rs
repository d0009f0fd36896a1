//! What a component reads of a store. Does what yewdux's hook of this name does, and shares what
//! can be shared: an instance of that one takes kilobytes of the page for each of its callers.

use std::{any::Any, cell::RefCell, rc::Rc};

use yew::prelude::*;
use yewdux::{Context, Dispatch, prelude::use_dispatch, store::Store};

use crate::stores::connection::ConnectionStore;

/// A function and not a closure, so that all selectors of one type are the same code.
type Select<S, T> = fn(&S) -> T;

/// A [`Select`] whose types are known to it alone.
type Pick = Rc<dyn Fn(&dyn Any) -> Option<Rc<dyn Any>>>;

/// Whether two values of a type that it alone knows are equal.
type Same = fn(&dyn Any, &dyn Any) -> bool;

/// Gets the state of a store, and tells of each further one while what it returns is kept.
type Source = fn(&Context, Option<Hear>) -> (Rc<dyn Any>, Option<Box<dyn Any>>);
type Hear = Box<dyn Fn(&dyn Any)>;

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
fn use_holder() -> (Holder, UseForceUpdateHandle, Context) {
    // All stores are in one context.
    let context = use_dispatch::<ConnectionStore>().context().clone();
    (use_mut_ref(Held::default), use_force_update(), context)
}

/// What `select` yields now; the component renders anew once it yields something else.
///
/// # Panics
/// Never: what a selector yields is of one type.
#[hook]
pub fn use_selector<S: Store, T: PartialEq + 'static>(select: Select<S, T>) -> Rc<T> {
    let held = use_holder();
    read(held, select)
}

#[inline(never)]
fn read<S: Store, T: PartialEq + 'static>(
    held: (Holder, UseForceUpdateHandle, Context),
    select: Select<S, T>,
) -> Rc<T> {
    let pick = move |state: &dyn Any| {
        let value = select(state.downcast_ref::<S>()?);
        Some(Rc::new(value) as Rc<dyn Any>)
    };
    let Some(Ok(value)) = selected(held, source::<S>, Rc::new(pick), same::<T>).map(Rc::downcast)
    else {
        unreachable!("a selector has one type")
    };
    value
}

fn source<S: Store>(context: &Context, hear: Option<Hear>) -> (Rc<dyn Any>, Option<Box<dyn Any>>) {
    let dispatch = Dispatch::<S>::new(context);
    let state = dispatch.get();
    let subscription = hear.map(|hear| {
        Box::new(dispatch.subscribe_silent(move |state: Rc<S>| hear(&*state))) as Box<dyn Any>
    });
    (state, subscription)
}

fn same<T: PartialEq + 'static>(one: &dyn Any, other: &dyn Any) -> bool {
    match (one.downcast_ref::<T>(), other.downcast_ref::<T>()) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn selected(
    (holder, update, context): (Holder, UseForceUpdateHandle, Context),
    source: Source,
    pick: Pick,
    same: Same,
) -> Option<Rc<dyn Any>> {
    let hear = holder.borrow().subscription.is_none().then(|| {
        let (weak, pick) = (Rc::downgrade(&holder), Rc::clone(&pick));
        Box::new(move |state: &dyn Any| {
            if let Some(holder) = weak.upgrade()
                && let Some(value) = pick(state)
                && known(&holder, &*value, same).is_none()
            {
                update.force_update();
            }
        }) as Hear
    });
    let (state, subscription) = source(&context, hear);
    if subscription.is_some() {
        holder.borrow_mut().subscription = subscription;
    }
    let value = pick(&*state)?;
    let held = known(&holder, &*value, same);
    held.or_else(|| {
        holder.borrow_mut().value = Some(Rc::clone(&value));
        Some(value)
    })
}

/// What is held, if it equals `value`.
fn known(holder: &Holder, value: &dyn Any, same: Same) -> Option<Rc<dyn Any>> {
    let held = holder.borrow().value.clone()?;
    same(&*held, value).then_some(held)
}
