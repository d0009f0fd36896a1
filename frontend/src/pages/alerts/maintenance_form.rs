//! A maintenance window as it is being written: what it keeps quiet, and the times at which it
//! does.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    act::{Saving, use_act},
    form::{change, line, lines, tick},
    parts::{MAINTENANCE, NEW, part_hash, standing, use_role},
};
use crate::{
    hooks::use_answer,
    markup::html,
    net::config::{Endpoint, encode_query},
    platform,
    stores::{
        maintenance::{Draft, Interval, WEEKDAYS, Window},
        stats::StatsStore,
        time::Bound,
    },
    words,
};

/// Props of [`WindowEditor`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// Which; `new` for one that is not there yet.
    pub(super) id: AttrValue,
}

/// The window that the address names.
#[component]
pub(super) fn WindowEditor(props: &Props) -> Html {
    let is_new = &*props.id == NEW;
    let path = match is_new {
        true => AttrValue::default(),
        false => ["/api/maintenance/", &encode_query(&props.id)]
            .concat()
            .into(),
    };
    let answer = use_answer(&props.endpoint, path, 0, 0);
    let role = use_role();
    let window = answer.json.as_ref().and_then(|json| Window::read(json));
    html! {
        <>
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={platform::with_hash(&part_hash(MAINTENANCE))}>{ "← All maintenance windows" }</a>
            </nav>
            if !role.operates() {
                <p class="explore__empty panel">{ "Who has the role operator can plan maintenance" }</p>
            } else if is_new {
                <Editor endpoint={props.endpoint.clone()} window={None::<Window>} />
            } else if let Some(window) = window {
                <Editor endpoint={props.endpoint.clone()} {window} />
            } else {
                { standing(false, answer.problem.as_ref()) }
            }
        </>
    }
}

/// Props of [`Editor`].
#[derive(Clone, Debug, PartialEq, Properties)]
struct EditorProps {
    endpoint: Endpoint,
    window: Option<Window>,
}

/// Changes one time of a draft.
fn change_time<V: 'static>(
    draft: &UseStateHandle<Draft>,
    index: usize,
    set: impl Fn(&mut Interval, V) + 'static,
) -> Callback<V> {
    let draft = draft.clone();
    Callback::from(move |value: V| {
        let mut next = (*draft).clone();
        if let Some(interval) = next.intervals.get_mut(index) {
            set(interval, value);
        }
        draft.set(next);
    })
}

/// One time; `index` is its place.
fn time(draft: &UseStateHandle<Draft>, index: usize, interval: &Interval) -> Html {
    let number = (index + 1).to_string();
    let on_remove = {
        let draft = draft.clone();
        move |_: MouseEvent| {
            let mut next = (*draft).clone();
            if index < next.intervals.len() {
                next.intervals.remove(index);
            }
            draft.set(next);
        }
    };
    let text = |label: &'static str, value: &str, set: fn(&mut Interval, String)| {
        line(label, "text", value, change_time(draft, index, set))
    };
    let day = |(place, (_, label)): (usize, &(&'static str, &'static str))| {
        let on_tick = change_time(draft, index, move |interval: &mut Interval, on: bool| {
            interval.weekdays[place] = on;
        });
        tick(label, interval.weekdays[place], on_tick)
    };
    html! {
        <fieldset class="form__fields form__section">
            <legend>{ ["Opening ", &number].concat() }</legend>
            <div class="form__acts" role="group" aria-label={["Days of the week of opening ", &number].concat()}>
                { for WEEKDAYS.iter().enumerate().map(day) }
            </div>
            <div class="form__grid">
                { text("Times of day, such as 12:00-13:00, 22:00-06:00; empty: all day", &interval.times,
                    |interval, text| interval.times = text) }
                { text("Time zone, such as Europe/Paris; empty: UTC", &interval.zone,
                    |interval, text| interval.zone = text) }
                { text("Days of the month, such as 1:7, -1; empty: all", &interval.days,
                    |interval, text| interval.days = text) }
                { text("Months, such as january:march; empty: all", &interval.months,
                    |interval, text| interval.months = text) }
                { text("Years, such as 2026:2027; empty: all", &interval.years,
                    |interval, text| interval.years = text) }
            </div>
            if draft.intervals.len() > 1 {
                <div class="form__acts">
                    <button class="button button--small" type="button" onclick={on_remove}
                        aria-label={[words::REMOVE, " opening ", &number].concat()}>
                        { words::REMOVE }
                    </button>
                </div>
            }
        </fieldset>
    }
}

/// A new time, in the zone of the page.
fn new_time() -> Interval {
    Interval {
        zone: platform::zone_here(),
        ..Interval::default()
    }
}

/// The form.
#[component]
fn Editor(props: &EditorProps) -> Html {
    let stats = use_dispatch::<StatsStore>();
    let draft = use_state_eq(|| {
        let empty = || Draft {
            intervals: vec![Interval {
                times: "22:00-24:00".to_owned(),
                ..new_time()
            }],
            ..Draft::default()
        };
        let window = props.window.as_ref();
        window.map_or_else(empty, Draft::of)
    });
    let problem = use_state_eq(|| None::<String>);
    let act = use_act(&props.endpoint);
    let known = props.window.as_ref().map(|window| window.id.as_str());
    let saving = Saving::new(&act, "/api/maintenance", known, MAINTENANCE);
    let onsubmit = {
        let (saving, draft, problem) = (saving.clone(), draft.clone(), problem.setter());
        move |event: SubmitEvent| {
            event.prevent_default();
            let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
            let typed = |typed: &str| {
                let bound = Bound::read(typed, now_ms, platform::zone_offset_min);
                bound.map(|bound| bound.at(now_ms))
            };
            match draft.json(typed) {
                Ok(body) => {
                    problem.set(None);
                    saving.save(body);
                }
                Err(why) => problem.set(Some(why)),
            }
        }
    };
    let on_more = {
        let draft = draft.clone();
        move |_: MouseEvent| {
            let mut next = (*draft).clone();
            next.intervals.push(new_time());
            draft.set(next);
        }
    };
    let heading = props.window.as_ref();
    let heading = heading.map_or(words::NEW_WINDOW, |window| &window.name);
    let intervals = draft.intervals.iter().enumerate();
    html! {
        <form class="form panel" aria-label={words::MAINTENANCE} {onsubmit}>
            <h2>{ heading.to_owned() }</h2>
            <p class="explore__place">{ "Alerts that match go on and are listed; nobody is told of them while the time is within one of these." }</p>
            { line(words::NAME, "text", &draft.name, change(&draft, |draft: &mut Draft, text| draft.name = text)) }
            { lines(words::MATCHERS, &draft.matchers,
                change(&draft, |draft: &mut Draft, text| draft.matchers = text)) }
            { for intervals.map(|(index, one)| time(&draft, index, one)) }
            <div class="form__acts">
                <button class="button button--small" type="button" onclick={on_more}>{ "+ Another time" }</button>
            </div>
            <div class="form__grid">
                { line("Over for good, such as 2026-12-31 22:00; empty: never", "text", &draft.until,
                    change(&draft, |draft: &mut Draft, text| draft.until = text)) }
                { line(words::COMMENT, "text", &draft.comment, change(&draft, |draft: &mut Draft, text| draft.comment = text)) }
            </div>
            if let Some(problem) = &*problem {
                <p class="form__problem" role="alert">{ problem.clone() }</p>
            }
            { act.problem_line() }
            <div class="form__acts">
                <button class="button button--primary" type="submit" disabled={act.is_busy}>{ words::SAVE }</button>
                <a class="button" href={platform::with_hash(&part_hash(MAINTENANCE))}>{ words::CANCEL }</a>
                if saving.is_known() {
                    <button class="button form__delete" type="button" disabled={act.is_busy} onclick={saving.on_delete()}>{ words::DELETE }</button>
                }
            </div>
        </form>
    }
}
