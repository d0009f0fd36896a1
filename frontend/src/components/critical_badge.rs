//! How many incidents are critical now; nothing when none is.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use crate::stores::alert::AlertStore;

/// See the module.
#[component]
pub fn CriticalBadge() -> Html {
    let critical = *use_selector(AlertStore::select_critical);
    if critical == 0 {
        return Html::default();
    }
    html! { <span class="critical-badge">{ format!("{critical} Critical") }</span> }
}
