//! A silence as it is being written: of an alert, of what was silent before, or of anything; once,
//! or as a maintenance window that comes again.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    act::{Ask, use_act},
    form::{change, choice, line, lines},
    parts::{SILENCES, part_hash, use_role},
};
use crate::{
    hooks::{use_answer, use_effect_with},
    markup::html,
    net::{address::param, config::Endpoint, fetch::Method},
    platform,
    stores::{
        incidents::Incident,
        silences::{Draft, LENGTHS, REPEATS, Silence, TIMES_MAX},
        stats::StatsStore,
        time::Bound,
    },
    words,
};

/// Where the browser remembers who makes silences.
const NAME_KEY: &str = "pulseboard-silence-name";

/// Props of [`SilenceForm`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// Of what, in the address: `for` an incident, `like` another silence.
    pub(super) asked: AttrValue,
}

/// Where the server tells of what the silence is made for.
fn source(asked: &str) -> String {
    let path = |name, before: &str| Some([before, &param(asked, name)?].concat());
    let path = path("for", "/api/alerts/").or_else(|| path("like", "/api/v2/silence/"));
    path.unwrap_or_default()
}

/// The form.
#[component]
pub(super) fn SilenceForm(props: &Props) -> Html {
    let stats = use_dispatch::<StatsStore>();
    let act = use_act(&props.endpoint);
    let role = use_role();
    let draft = use_state_eq(|| Draft {
        by: platform::remembered(NAME_KEY).unwrap_or_default(),
        ..Draft::default()
    });
    let problem = use_state_eq(|| None::<String>);
    let answer = use_answer(&props.endpoint, source(&props.asked).into(), 0, 0);
    {
        let draft = draft.clone();
        use_effect_with(answer.json.clone(), move |json| {
            let Some(json) = json else {
                return;
            };
            let matchers = match (Incident::read(json), Silence::read(json)) {
                (Some(incident), _) => incident.matchers(),
                (None, Some(silence)) => {
                    let texts = silence.matchers.iter().map(|matcher| matcher.text());
                    texts.collect::<Vec<String>>().join("\n")
                }
                _ => return,
            };
            draft.set(Draft {
                matchers,
                ..(*draft).clone()
            });
        });
    }
    let onsubmit = {
        let (ask, draft, problem) = (act.ask.clone(), draft.clone(), problem.setter());
        move |event: SubmitEvent| {
            event.prevent_default();
            let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
            let moment = |typed: &str| {
                let bound = Bound::read(typed, now_ms, platform::zone_offset_min);
                bound.map(|bound| bound.at(now_ms))
            };
            match draft.windows(now_ms, moment) {
                Ok(windows) => {
                    platform::remember(NAME_KEY, draft.by.trim());
                    problem.set(None);
                    send(&ask, windows);
                }
                Err(why) => problem.set(Some(why)),
            }
        }
    };
    let to_list = platform::with_hash(&part_hash(SILENCES));
    if !role.operates() {
        return html! {
            <p class="explore__empty panel">{ "Who has the role operator can make silences" }</p>
        };
    }
    let repeats = draft.repeat > 0;
    let times = draft.times.to_string();
    html! {
        <form class="form panel" aria-label={words::SILENCE} {onsubmit}>
            <h2>{ words::NEW_SILENCE }</h2>
            <p class="explore__place">{ "Alerts that match go on and are listed; nobody is told of them meanwhile." }</p>
            if let Some(problem) = &answer.problem {
                <p class="form__problem">{ ["The labels could not be filled in: ", &problem.in_words()].concat() }</p>
            }
            { lines(words::MATCHERS, &draft.matchers,
                change(&draft, |draft: &mut Draft, text| draft.matchers = text)) }
            <div class="form__grid">
                { choice("Lasts", &LENGTHS.map(|(label, _)| label), draft.length,
                    change(&draft, |draft: &mut Draft, index| draft.length = index)) }
                { line("Begins; empty: now. Such as 2026-11-28 22:00 or 22:00", "text", &draft.from,
                    change(&draft, |draft: &mut Draft, text| draft.from = text)) }
                { choice("Comes again", &REPEATS.map(|(label, _)| label), draft.repeat,
                    change(&draft, |draft: &mut Draft, index| draft.repeat = index)) }
                if repeats {
                    { line("How many times in all, 12 at most", "number", &times,
                        change(&draft, |draft: &mut Draft, text: String| {
                            draft.times = text.parse().unwrap_or(1).clamp(1, TIMES_MAX);
                        })) }
                }
                { line(words::COMMENT, "text", &draft.comment, change(&draft, |draft: &mut Draft, text| draft.comment = text)) }
                { line(words::YOUR_NAME, "text", &draft.by, change(&draft, |draft: &mut Draft, text| draft.by = text)) }
            </div>
            if let Some(problem) = &*problem {
                <p class="form__problem" role="alert">{ problem.clone() }</p>
            }
            { act.problem_line() }
            <div class="form__acts">
                <button class="button button--primary" type="submit" disabled={act.is_busy}>{ words::SILENCE }</button>
                <a class="button" href={to_list}>{ words::CANCEL }</a>
            </div>
        </form>
    }
}

/// Sends one window after the other, and goes to the list behind the last one.
fn send(ask: &Callback<Ask>, mut windows: Vec<String>) {
    if windows.is_empty() {
        return platform::go(&part_hash(SILENCES));
    }
    let body = windows.remove(0);
    let next = ask.clone();
    ask.emit(Ask {
        method: Method::Post,
        path: "/api/v2/silences".to_owned(),
        body,
        on_done: Callback::from(move |_| send(&next, windows.clone())),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_of_what() {
        assert_eq!(source("for=0199-a"), "/api/alerts/0199-a");
        assert_eq!(source("like=s1"), "/api/v2/silence/s1");
        assert_eq!(source(""), "");
    }
}
