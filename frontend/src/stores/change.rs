//! Changes of a store. yewdux's own `reduce_mut` is made anew for every closure that it is given;
//! here only the closure is.

use yewdux::{Dispatch, store::Store};

/// What can change a store.
pub trait Change<S> {
    /// Lets `change` change it, and tells who follows it.
    fn change(&self, change: impl FnOnce(&mut S));
}

impl<S: Store + Clone> Change<S> for Dispatch<S> {
    #[inline]
    fn change(&self, change: impl FnOnce(&mut S)) {
        let mut change = Some(change);
        apply(self, &mut |store| {
            if let Some(change) = change.take() {
                change(store);
            }
        });
    }
}

#[inline(never)]
fn apply<S: Store + Clone>(dispatch: &Dispatch<S>, change: &mut dyn FnMut(&mut S)) {
    dispatch.reduce_mut(change);
}
