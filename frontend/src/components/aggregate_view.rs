//! What applications count: a card for each type, and the activity of one.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::segments::segments;
use crate::{
    format,
    hooks::{Stream, use_effect_with, use_feed, use_seconds, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::quote,
        link::Standing,
        rooms::Follow,
    },
    platform,
    stores::{
        aggregate::{Aggregate, BUCKETS, ItemTotals},
        change::Change,
    },
    words,
};

/// Buckets to choose from: seconds, on the button, and what all of them are together.
const WINDOWS: [(f64, &str, &str); 3] = [
    (60.0, "1 min", "Last 10 minutes"),
    (300.0, "5 min", "Last 50 minutes"),
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

/// Whole numbers in groups, others short.
fn number(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked right here"
    )]
    if (0.0..1e12).contains(&value) && value.fract() == 0.0 {
        format::grouped(value as u64)
    } else {
        format::value(value)
    }
}

/// Bars, newest on the right, and the same in words.
fn activity(aggregate: &Aggregate, name: &str, window_ms: f64) -> Html {
    let counts = aggregate.activity(window_ms);
    let greatest = counts.iter().copied().fold(1.0, f64::max);
    let newest_ms = (aggregate.now_ms / window_ms).floor() * window_ms;
    let clock = |index: usize| {
        #[expect(clippy::cast_precision_loss, reason = "ten of them")]
        let start_ms = newest_ms - (BUCKETS - 1 - index) as f64 * window_ms;
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let at_ms = start_ms as i64;
        format::clock_minutes(at_ms, platform::zone_offset_min(start_ms))
    };
    let words: Vec<String> = (0..BUCKETS)
        .filter(|index| counts[*index] > 0.0)
        .map(|index| format!("{} at {}", number(counts[index]), clock(index)))
        .collect();
    let words = if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    };
    let bar = |index: usize| {
        let height =
            (counts[index] / greatest * 100.0).max(if counts[index] > 0.0 { 2.0 } else { 0.0 });
        html! {
            <svg key={index} class="activity__slot">
                <rect class="activity__bar" x="10%" width="80%" rx="3"
                    y={format!("{}%", format::fixed(100.0 - height, 1))}
                    height={format!("{}%", format::fixed(height, 1))} />
            </svg>
        }
    };
    html! {
        <div class="activity" role="img" aria-label={format!("{}: {words}", format::spaced(name))}>
            { for (0..BUCKETS).map(|index| html! {
                <div class="activity__column" key={index}>
                    <span class="activity__count">{ if counts[index] > 0.0 { number(counts[index]) } else { String::new() } }</span>
                    { bar(index) }
                    <span class="activity__time">{ clock(index) }</span>
                </div>
            }) }
        </div>
    }
}

fn card(tally: &ItemTotals, chosen: bool, on_choose: &Callback<String>) -> Html {
    let onclick = {
        let (on_choose, name) = (on_choose.clone(), tally.name.clone());
        move |_: MouseEvent| on_choose.emit(name.clone())
    };
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let clock = format::clock(
        tally.last_ms as i64,
        platform::zone_offset_min(tally.last_ms),
    );
    html! {
        <article key={tally.name.as_str()} class={classes!("figure", "tally", chosen.then_some("is-chosen"))}>
            <h3>{ format::spaced(&tally.name) }</h3>
            <p class="figure__now"><span class="value">{ number(tally.count) }</span></p>
            <p class="tally__total">{ format!("Total: {}", number(tally.total)) }</p>
            <p class="figure__note">{ format!("Last: {clock}") }</p>
            <button class="tally__choose" type="button" aria-pressed={chosen.to_string()} {onclick}
                aria-label={format!("Show the activity of {}", format::spaced(&tally.name))}></button>
        </article>
    }
}

/// See the module.
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
    let standing = use_feed(endpoint, follow, STREAM, &query);
    let old = standing != Standing::Open;
    let state = match standing {
        Standing::Open => String::new(),
        Standing::Opening => words::CONNECTING.to_owned(),
        Standing::Lost => words::LOST.to_owned(),
        Standing::Refused(why) => words::refused(&why),
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
        <section class={classes!("aggregate", old.then_some("is-old"))} aria-label="Aggregate">
            <h2 class="visually-hidden">{ "Aggregate" }</h2>
            <p class="aggregate__state" role="status">{ state }</p>
            { match known.tallies.as_deref() {
                None => Html::default(),
                Some(tallies) => html! {
                    <>
                        if tallies.is_empty() {
                            <div class="explore__empty panel">
                                <p>{ "Nothing tracked yet. This counts a first item:" }</p>
                                <p class="push-hint"><code class="push-hint__line">
                                    { format!("curl -H 'content-type: application/json' -d '{{\"type\":\"page_view\",\"value\":1}}' '{}'", endpoint.http("/metrics/track")) }
                                </code></p>
                            </div>
                        } else {
                            <div class="aggregate__cards">
                                { for tallies.iter().map(|tally| card(tally, tally.name == name, &on_choose)) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(12_345.0), "12\u{a0}345");
        assert_eq!(number(1.5), "1.5");
        assert_eq!(number(f64::NAN), format::UNKNOWN);
    }
}
