//! Has expressions evaluated live for a part of the view, as long as that is shown.

use std::sync::atomic::{AtomicU32, Ordering};

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{use_effect_with, use_selector};
use crate::stores::{
    change::Change,
    live::{Live, LiveStore, Wanted},
    shared::Shared,
};

/// How many parts have asked so far; each has its number.
static PARTS: AtomicU32 = AtomicU32::new(0);

/// Has `wanted` evaluated live while it is wanted, and not once the component is gone. All that is
/// live, that of other parts of the view among it.
#[hook]
pub fn use_live(wanted: Vec<Wanted>) -> Shared<Vec<Shared<Live>>> {
    let dispatch = use_dispatch::<LiveStore>();
    let whose = use_mut_ref(|| PARTS.fetch_add(1, Ordering::Relaxed));
    let whose = *whose.borrow();
    let away = dispatch.clone();
    use_effect_with(wanted, move |wanted| {
        dispatch.change(|store| store.want(whose, wanted));
    });
    use_effect_with((), move |()| {
        move || away.change(|store| store.want(whose, &[]))
    });
    (*use_selector(LiveStore::select_all)).clone()
}
