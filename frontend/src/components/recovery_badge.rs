//! After a lost connection: how many ticks came after all, how fast, and how many never will,
//! from counts that the page made itself.

use yew::prelude::*;
use yewdux::prelude::use_selector;

use crate::{format, net::feed::Recovery, stores::connection::ConnectionStore};

fn words(recovery: Recovery) -> String {
    format!(
        "{} recovered in {} ms · {} lost",
        format::count(recovery.ticks, "tick", "ticks"),
        recovery.took_ms,
        recovery.lost
    )
}

/// See the module.
#[component]
pub fn RecoveryBadge() -> Html {
    let recovery = *use_selector(|store: &ConnectionStore| store.view.recovery);
    let Some(recovery) = recovery else {
        return Html::default();
    };
    let class = classes!(
        "recovery-badge",
        (recovery.lost > 0).then_some("recovery-badge--lossy")
    );
    html! { <span {class} role="status">{ words(recovery) }</span> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_came_and_what_did_not() {
        let recovery = Recovery {
            ticks: 42,
            lost: 0,
            took_ms: 38,
        };
        assert_eq!(words(recovery), "42 ticks recovered in 38 ms · 0 lost");
    }
}
