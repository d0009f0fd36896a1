//! What applications count: a card for each type, and the activity of one.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::{activity, item_card, segments},
    format,
    hooks::{Stream, use_effect_with, use_feed, use_seconds, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::quote,
        link::LinkState,
        rooms::Follow,
    },
    platform,
    stores::{aggregate::Aggregate, change::Change, view::Page},
    words,
};

/// Buckets to choose from: seconds, on the button, and what all of them are together.
const WINDOWS: [(f64, &str, &str); 3] = [
    (60.0, words::ONE_MINUTE, "Last 10 minutes"),
    (300.0, words::FIVE_MINUTES, "Last 50 minutes"),
    (3_600.0, "1 h", "Last 10 hours"),
];

/// The server's choice where the reader made none and there is such a type.
const USUAL: &str = "page_view";

const STREAM: Stream = Stream {
    path: "/dashboard/stream",
    names: &["init", "update"],
};

/// Props of [`AggregateView`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// The cards of all tracked types, and the activity of the chosen one.
#[component]
pub fn AggregateView(Props { endpoint }: &Props) -> Html {
    use_seconds();
    let known = use_selector(Aggregate::clone);
    let dispatch = use_dispatch::<Aggregate>();
    let chosen = use_state(|| None::<String>);
    let window = use_state(|| 0_usize);

    let name = {
        let tallies = known.tallies.as_deref().unwrap_or_default();
        let first = tallies.iter().find(|tally| tally.name == USUAL);
        let first = first.or(tallies.first());
        let first = first.map_or(USUAL, |tally| tally.name.as_str());
        chosen.as_deref().unwrap_or(first).to_owned()
    };
    let (seconds, _, title) = WINDOWS[*window];
    let seconds_text = format::fixed(seconds, 0);
    let follow = Follow {
        feed: "aggregate",
        asked: format!(r#","type":{},"window":{seconds_text}"#, quote(&name)),
    };
    let query = format!("?type={}&window={seconds_text}", encode_query(&name));
    // Bars of another type or of other buckets are not shown as those of this one.
    use_effect_with(query.clone(), move |query| {
        dispatch.change(|known| known.ask(query));
    });
    let state = use_feed(endpoint, follow, STREAM, &query);
    let old = state != LinkState::Open;
    let state = match state {
        LinkState::Open => String::new(),
        LinkState::Opening => words::CONNECTING.to_owned(),
        LinkState::Lost => words::LOST.to_owned(),
        LinkState::Refused(why) => words::refused(&why),
    };
    // What is known stays, and says of when it is.
    let state = if state.is_empty() || known.tallies.is_none() {
        state
    } else {
        format!(
            "{state} · {}",
            format::as_of(platform::now_ms() - known.heard_ms)
        )
    };
    let on_window = {
        let window = window.setter();
        Callback::from(move |index: usize| window.set(index.min(WINDOWS.len() - 1)))
    };
    let on_choose = {
        let chosen = chosen.setter();
        Callback::from(move |name: String| chosen.set(Some(name)))
    };
    let labels = WINDOWS.map(|window| window.1);
    html! {
        <section class={classes!("aggregate", old.then_some("is-old"))} aria-label={Page::Aggregate.label()}>
            <h2 class="visually-hidden">{ Page::Aggregate.label() }</h2>
            <p class="aggregate__state" role="status">{ state }</p>
            { match known.tallies.as_deref() {
                None => Html::default(),
                Some(tallies) => html! {
                    <>
                        if tallies.is_empty() {
                            <div class="explore__empty panel">
                                <p>{ "No tracked items yet. This counts the first one:" }</p>
                                <p class="push-hint"><code class="push-hint__line">
                                    { format!("curl -H 'content-type: application/json' -d '{{\"type\":\"page_view\",\"value\":1}}' '{}'", endpoint.http("/metrics/track")) }
                                </code></p>
                            </div>
                        } else {
                            <div class="aggregate__cards">
                                { for tallies.iter().map(|tally| item_card(tally, tally.name == name, &on_choose)) }
                            </div>
                        }
                        <section class="aggregate__activity panel">
                            <div class="aggregate__head">
                                <div>
                                    <h3>{ format!("Activity ({title})") }</h3>
                                    <p class="figure__note">{ format::spaced(&name) }</p>
                                </div>
                                { segments("Bucket", "bucket", &labels, Some(*window), &on_window) }
                            </div>
                            // Before the first buckets it is not known what time the axis has.
                            if known.is_timed() {
                                { activity(&known, &name, seconds * 1_000.0) }
                            } else {
                                <p class="activity activity--none">{ words::LOADING_ALL }</p>
                            }
                        </section>
                    </>
                },
            } }
        </section>
    }
}
