//! One type of tracked items as a card: its count, its total and when the last one came.

use yew::prelude::*;

use crate::{format, markup::html, platform, stores::aggregate::ItemTotals};

/// Whole numbers in groups, others short.
pub(super) fn number(value: f64) -> String {
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

/// The card of one type; `on_choose` is told its name when it is clicked.
pub(crate) fn item_card(tally: &ItemTotals, chosen: bool, on_choose: &Callback<String>) -> Html {
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
