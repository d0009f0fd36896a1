//! Says once that the server cannot reach the others, and since when; gone by itself when it can.

use yew::prelude::*;

use crate::{
    format,
    hooks::{use_answer, use_effect_with, use_selector},
    markup::html,
    net::config::Endpoint,
    platform,
    stores::{
        cluster::{Standing, standing},
        connection::ConnectionStore,
    },
    words,
};

/// Asked for this often; nothing of it is more than one look at the server's state.
const EVERY_MS: u32 = 5_000;

/// Props of [`AloneNotice`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(crate) struct Props {
    /// Where the backend is.
    pub(crate) endpoint: Endpoint,
}

/// What a reader is told.
fn alone(since_ms: i64, offset_min: i32) -> String {
    let clock = format::clock(since_ms, offset_min);
    [words::ALONE_SINCE, &clock, words::WHAT_ALONE_MEANS].concat()
}

/// The notice; nothing where all is well, and where there are no others.
#[component]
pub(crate) fn AloneNotice(Props { endpoint }: &Props) -> Html {
    // A connection that comes back may lead to another server.
    let recoveries = *use_selector(|store: &ConnectionStore| store.recoveries);
    let several = use_state_eq(|| true);
    let path = if *several { "/readyz" } else { "" };
    let answer = use_answer(endpoint, path.into(), EVERY_MS, recoveries);
    let standing = answer.json.as_ref().map(|json| standing(json));
    {
        let several = several.setter();
        use_effect_with(standing == Some(Standing::Single), move |is_single| {
            if *is_single {
                several.set(false);
            }
        });
    }
    let Some(Standing::Alone(since_ms)) = standing else {
        return Html::default();
    };
    #[expect(clippy::cast_precision_loss, reason = "Unix ms")]
    let offset_min = platform::zone_offset_min(since_ms as f64);
    html! { <p class="notice" role="status">{ alone(since_ms, offset_min) }</p> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_since_when_and_what_that_means() {
        let words = alone(1_795_878_009_000, 0);
        assert!(words.starts_with("Alone since "), "{words}");
        assert!(words.ends_with("by itself."), "{words}");
    }
}
