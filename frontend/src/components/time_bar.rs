//! Which time is shown: the usual ranges, any other as typed, pause, and ways along it.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::segments::segments;
use crate::{
    format,
    markup::html,
    platform,
    stores::time::{Bound, RANGES, TimeRange},
    words,
};

/// A moment as it is typed: `2026-11-28 14:00:00`.
fn typed(bound: Bound) -> String {
    let Bound::At(at_ms) = bound else {
        return bound.text();
    };
    let offset_min = platform::zone_offset_min(at_ms);
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let wall_ms = at_ms as i64 + i64::from(offset_min) * 60_000;
    let (year, month, day) = format::civil(wall_ms.div_euclid(format::DAY_MS));
    let clock = format::clock_of_a_day(wall_ms, 0);
    format!("{year:04}-{month:02}-{day:02} {clock}")
}

/// Reads both ends; what is wrong with them in words.
fn read(from: &str, to: &str, now_ms: f64) -> Result<TimeRange, &'static str> {
    let bound = |text: &str| Bound::read(text, now_ms, platform::zone_offset_min);
    let to = if to.trim().is_empty() { "now" } else { to };
    let from = bound(from).ok_or(words::NO_BEGINNING)?;
    let to = bound(to).ok_or(words::NO_END)?;
    let time = TimeRange { from, to };
    time.checked(now_ms)
        .ok_or("The end is to be 1 s to 10 y after the beginning")
}

/// A square button with a sign on it, and its name.
fn sign(name: &'static str, sign: &'static str, onclick: Callback<MouseEvent>) -> Html {
    html! {
        <button class="button time-bar__sign" type="button" aria-label={name} title={name} {onclick}>{ sign }</button>
    }
}

/// The choice of the time that is shown.
#[hook]
pub fn use_time_bar(time: TimeRange, now_ms: f64, on_time: &Callback<TimeRange>) -> Html {
    // What is typed, while the form is open. Kept here, since a field shows what it is given
    // whenever the page is drawn anew, which may be at each tick.
    let written = use_state_eq(|| None::<(String, String)>);
    let problem = use_state_eq(|| None::<&'static str>);
    let on_choose = {
        let on_time = on_time.clone();
        Callback::from(move |index: usize| {
            let (_, _, ms) = RANGES[index.min(RANGES.len() - 1)];
            on_time.emit(TimeRange::last(ms));
        })
    };
    let labels = RANGES.map(|range| range.1);
    let go = |next: Option<TimeRange>| {
        let on_time = on_time.clone();
        Callback::from(move |_: MouseEvent| {
            if let Some(next) = next {
                on_time.emit(next);
            }
        })
    };
    let length_ms = time.length_ms(now_ms);
    let (pause, label) = if time.is_live() {
        let (from_ms, to_ms) = time.ends(now_ms);
        (TimeRange::between(from_ms, to_ms), words::PAUSE)
    } else {
        (TimeRange::last(length_ms), words::BACK_TO_LIVE)
    };
    let onsubmit = {
        let (on_time, problem, written) = (on_time.clone(), problem.setter(), written.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            let (from, to) = (*written).clone().unwrap_or_default();
            match read(&from, &to, now_ms) {
                Ok(time) => {
                    problem.set(None);
                    written.set(None);
                    on_time.emit(time);
                }
                Err(words) => problem.set(Some(words)),
            }
        }
    };
    let toggle = {
        let written = written.clone();
        move |_: MouseEvent| {
            written.set(match *written {
                Some(_) => None,
                None => Some((typed(time.from), typed(time.to))),
            });
        }
    };
    let field = |is_end: bool| {
        let written = written.clone();
        Callback::from(move |event: InputEvent| {
            let Some(input) = event.target_dyn_into::<HtmlInputElement>() else {
                return;
            };
            let (from, to) = (*written).clone().unwrap_or_default();
            written.set(Some(match is_end {
                true => (from, input.value()),
                false => (input.value(), to),
            }));
        })
    };
    let (on_from, on_to) = (field(false), field(true));
    let own = match time.known() {
        Some(_) => words::OTHER_TIME.to_owned(),
        None => format!("{} – {}", typed(time.from), typed(time.to)),
    };
    html! {
        <div class="time-bar">
            <div class="time-bar__row">
                { sign("Earlier", "‹", go(time.moved(now_ms, -0.5))) }
                { sign("Zoom out", "−", go(time.zoomed(now_ms, 2.0))) }
                { sign("Zoom in", "+", go(time.zoomed(now_ms, 0.5))) }
                { sign("Later", "›", go(time.moved(now_ms, 0.5))) }
                <button
                    class={classes!("button", (!time.is_live()).then_some("is-on"))}
                    type="button"
                    onclick={go(Some(pause))}
                >
                    { label }
                </button>
                <button
                    class="button"
                    type="button"
                    aria-expanded={if written.is_some() { "true" } else { "false" }}
                    onclick={toggle}
                >
                    { own }
                </button>
                <div class="time-bar__ranges">
                    { segments(words::TIME_SHOWN, "time-shown", &labels, time.known(), &on_choose) }
                </div>
            </div>
            if let Some((from, to)) = &*written {
                <form class="time-bar__row panel time-bar__form" {onsubmit}>
                    <label class="field">
                        <span class="field__label">{ words::FROM }</span>
                        <input class="field__input" value={from.clone()} oninput={on_from} autocomplete="off" aria-invalid={problem.map(|_| "true")} />
                    </label>
                    <label class="field">
                        <span class="field__label">{ "To" }</span>
                        <input class="field__input" value={to.clone()} oninput={on_to} autocomplete="off" />
                    </label>
                    <button class="button button--primary" type="submit">{ "Show" }</button>
                    <p class="time-bar__help">
                        { "Such as now-6h, now/d, yesterday 14:00, 14:30 or 2026-11-28 14:00" }
                    </p>
                    if let Some(problem) = *problem {
                        <p class="expression__problem" role="alert">{ problem }</p>
                    }
                </form>
            }
        </div>
    }
}
