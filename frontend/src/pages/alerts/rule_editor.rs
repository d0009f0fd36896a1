//! A rule as it is being written, with its chart and when it would have fired: the limit is dragged
//! on the chart, and the rehearsal follows.

use std::rc::Rc;

use gloo::timers::callback::Timeout;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    act::{Saving, use_act},
    form::{change, choice, line, lines, tick},
    parts::{NEW, RULES, lasted, part_hash, standing, use_role},
    preview::Preview,
};
use crate::{
    chart::trace::{Band, ROWS_MAX},
    components::{ExpressionField, segments},
    format,
    hooks::{use_answer, use_effect_with},
    markup::html,
    net::{
        address,
        config::{Endpoint, encode_query},
        fetch,
        json::Json,
        refusal::Refusal,
    },
    platform,
    stores::{
        rules::{Draft, MISSING, Rehearsal, Rule, chosen, limit_of},
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
    },
    words,
};

/// Over which time it is rehearsed.
const TIMES: [(&str, f64); 4] = [
    ("1 h", 3_600_000.0),
    ("6 h", 21_600_000.0),
    ("Last day", 86_400_000.0),
    ("Last week", 604_800_000.0),
];

/// It is rehearsed once the hands rest for so long; while the limit is dragged, too.
const REST_MS: u32 = 200;

/// What is typed into an expression is drawn once the hands rest.
const TYPING_MS: u32 = 500;

/// Severities that are offered; any other may be typed into the labels of a file.
const SEVERITIES: [&str; 5] = ["critical", "high", "warning", "medium", "low"];

/// Props of [`RuleEditor`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// Names the rule; `new` for one that is not there yet.
    pub(super) id: AttrValue,
    /// What the address asks: the expression of a rule that is not there yet.
    pub(super) asked: AttrValue,
}

/// The rule that the address names, as the server has it.
#[component]
pub(super) fn RuleEditor(props: &Props) -> Html {
    let is_new = &*props.id == NEW;
    let path = match is_new {
        true => AttrValue::default(),
        false => ["/api/rules/", &encode_query(&props.id)].concat().into(),
    };
    let answer = use_answer(&props.endpoint, path, 0, 0);
    let rule = answer.json.as_ref().and_then(|json| Rule::read(json));
    let back = platform::with_hash(&part_hash(RULES));
    html! {
        <>
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={back}>{ "← All rules" }</a>
            </nav>
            if is_new {
                <Editor
                    endpoint={props.endpoint.clone()}
                    rule={None::<Rule>}
                    expression={address::param(&props.asked, "expr").unwrap_or_default()}
                />
            } else if let Some(rule) = rule {
                <Editor endpoint={props.endpoint.clone()} {rule} />
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
    /// As it is; `None` for one that is not there yet.
    rule: Option<Rule>,
    /// What one that is not there yet begins with.
    #[prop_or_default]
    expression: AttrValue,
}

/// What is known of a rehearsal.
#[derive(Clone, Debug, Default, PartialEq)]
enum Rehearsed {
    /// There is nothing to rehearse.
    #[default]
    Nothing,
    /// It was asked for.
    Asked,
    Known(Rc<Rehearsal>),
    Refused(AttrValue),
}

/// Rehearses `draft` whenever it has changed and the hands rest; the newest question wins.
#[hook]
fn use_rehearsal(endpoint: &Endpoint, draft: &Draft, length_ms: f64) -> (Rehearsed, bool) {
    let rehearsed = use_state_eq(Rehearsed::default);
    let is_asked = use_state_eq(|| false);
    let newest = use_mut_ref(|| 0_u64);
    let stats = use_dispatch::<StatsStore>();
    let key = (endpoint.clone(), draft.clone(), length_ms.to_bits());
    let (show, asking) = (rehearsed.setter(), is_asked.setter());
    use_effect_with(key, move |(endpoint, draft, _)| {
        *newest.borrow_mut() += 1;
        let number = *newest.borrow();
        let can = draft.is_alert && !draft.expression.trim().is_empty();
        if !can {
            show.set(Rehearsed::Nothing);
        }
        let (endpoint, mut draft) = (endpoint.clone(), draft.clone());
        if draft.name.trim().is_empty() {
            // It has to be called something, also before the reader has found a name.
            draft.name = "Rehearsed".to_owned();
        }
        asking.set(can);
        let timer = can.then(|| {
            Timeout::new(REST_MS, move || {
                let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
                let body = draft.rehearsal((now_ms - length_ms, now_ms));
                spawn_local(async move {
                    let path = "/api/rules/rehearse";
                    let answer = fetch::call(&endpoint, path, Some(&body)).await;
                    if *newest.borrow() != number {
                        return;
                    }
                    asking.set(false);
                    let answer =
                        answer.and_then(|text| Json::parse(&text).ok_or(Refusal::silence()));
                    show.set(match answer {
                        Ok(json) => Rehearsed::Known(Rc::new(Rehearsal::read(&json))),
                        Err(refusal) => Rehearsed::Refused(refusal.in_words().into()),
                    });
                });
            })
        });
        move || drop(timer)
    });
    let rehearsed = match (&*rehearsed, *is_asked) {
        (Rehearsed::Nothing, true) => Rehearsed::Asked,
        (known, _) => known.clone(),
    };
    (rehearsed, *is_asked)
}

/// Its stretches as the chart draws them.
fn bands_of(rehearsed: &Rehearsed) -> Vec<Band> {
    let Rehearsed::Known(rehearsal) = rehearsed else {
        return Vec::new();
    };
    let rows = rehearsal.series.iter().take(ROWS_MAX).enumerate();
    let bands = rows.flat_map(|(row, (_, stretches))| {
        stretches.iter().map(move |stretch| Band {
            from_ms: stretch.from_ms,
            to_ms: stretch.to_ms,
            is_firing: stretch.is_firing,
            row,
        })
    });
    bands.collect()
}

/// How often it would have fired, in words.
fn rehearsal_words(rehearsed: &Rehearsed) -> String {
    match rehearsed {
        Rehearsed::Nothing => String::new(),
        Rehearsed::Asked => words::LOADING_ALL.to_owned(),
        Rehearsed::Refused(why) => why.to_string(),
        Rehearsed::Known(rehearsal) => {
            let (count, ms) = rehearsal.fired();
            let notifications = rehearsal.notifications;
            let sent = format::count(notifications, "notification", "notifications");
            let more = if rehearsal.is_cut { words::OR_MORE } else { "" };
            let failed = match rehearsal.error.as_str() {
                "" => String::new(),
                why => [". Some of it could not be evaluated: ", why].concat(),
            };
            match count {
                0 => ["It would not have fired", &failed].concat(),
                count => format!(
                    "It would have fired {}{more}, {} in all, and {sent} would have been sent{failed}",
                    format::count(count, "time", "times"),
                    lasted(ms)
                ),
            }
        }
    }
}

/// Each series that would have fired: which, how often, how long.
fn rehearsed_series(rehearsed: &Rehearsed) -> Html {
    let Rehearsed::Known(rehearsal) = rehearsed else {
        return Html::default();
    };
    let one = |(labels, stretches): &(String, Vec<crate::stores::rules::Stretch>)| {
        let firing = stretches.iter().filter(|stretch| stretch.is_firing);
        let (count, ms) = firing.fold((0_u64, 0.0), |(count, ms), stretch| {
            (count + 1, ms + stretch.to_ms - stretch.from_ms)
        });
        let often = format::count(count, "time", "times");
        html! {
            <li>
                <code>{ labels.clone() }</code>
                { format!(" fired {often}, {}", lasted(ms)) }
            </li>
        }
    };
    let more = rehearsal.series.len().saturating_sub(ROWS_MAX);
    html! {
        <ul class="rehearsal__series">
            { for rehearsal.series.iter().take(ROWS_MAX).map(one) }
            if more > 0 {
                <li>{ format!("and {more} more series") }</li>
            }
        </ul>
    }
}

/// Why nothing can be changed; `None` where it can.
fn read_only(rule: Option<&Rule>, administers: bool) -> Option<String> {
    match rule {
        _ if !administers => Some("Who has the role admin can change rules".to_owned()),
        Some(rule) if !rule.is_ours() => Some(
            [
                "This rule stands in a file, and is changed there: ",
                &rule.file,
            ]
            .concat(),
        ),
        _ => None,
    }
}

/// Fields beside the expression.
fn fields(draft: &UseStateHandle<Draft>) -> Html {
    let severity = SEVERITIES
        .iter()
        .position(|known| **known == draft.severity);
    let missing = MISSING
        .iter()
        .position(|(known, _)| *known == draft.missing);
    let mut severities = SEVERITIES.to_vec();
    if severity.is_none() {
        // One that a rule has already and that is none of ours.
        severities.push(&draft.severity);
    }
    let on_severity = {
        let (draft, known) = (
            draft.clone(),
            severities.iter().map(|one| (*one).to_owned()),
        );
        let known: Vec<String> = known.collect();
        Callback::from(move |index: usize| {
            let severity = known.get(index).cloned().unwrap_or_default();
            draft.set(Draft {
                severity,
                ..(*draft).clone()
            });
        })
    };
    html! {
        <div class="form__grid">
            { line(words::NAME, "text", &draft.name, change(draft, |draft, text| draft.name = text)) }
            { line("Group", "text", &draft.group, change(draft, |draft, text| draft.group = text)) }
            if draft.is_alert {
                { choice(words::SEVERITY, &severities, severity.unwrap_or(SEVERITIES.len()), on_severity) }
                { line("Fires once it holds for, such as 5m", "text", &draft.wait, change(draft, |draft, text| draft.wait = text)) }
                { line("Ends when: an expression, or a value", "text", &draft.clear, change(draft, |draft, text| draft.clear = text)) }
                { line("Goes on firing for", "text", &draft.keep, change(draft, |draft, text| draft.keep = text)) }
                { choice(
                    "While no data come",
                    &MISSING.map(|(_, label)| label),
                    missing.unwrap_or(0),
                    change(draft, |draft, index: usize| {
                        draft.missing = MISSING[index.min(MISSING.len() - 1)].0.to_owned();
                    }),
                ) }
            }
            { line("Evaluated every, such as 15s", "text", &draft.every, change(draft, |draft, text| draft.every = text)) }
            if draft.is_alert {
                { line("Summary", "text", &draft.summary, change(draft, |draft, text| draft.summary = text)) }
                { line("Runbook, a URL", "text", &draft.runbook, change(draft, |draft, text| draft.runbook = text)) }
                { lines("Description", &draft.description, change(draft, |draft, text| draft.description = text)) }
                { lines("Other annotations, name=value", &draft.annotations, change(draft, |draft, text| draft.annotations = text)) }
            }
            { lines("Other labels, name=value", &draft.labels, change(draft, |draft, text| draft.labels = text)) }
            { tick("Evaluated", draft.enabled, change(draft, |draft, on| draft.enabled = on)) }
        </div>
    }
}

/// Props of [`LimitField`].
#[derive(Clone, Debug, PartialEq, Properties)]
struct LimitProps {
    value: f64,
    on_value: Callback<f64>,
}

/// The limit as a number, for those who do not drag.
#[component]
fn LimitField(props: &LimitProps) -> Html {
    // While it is typed in: a number that is half written stays as it is.
    let typed = use_state_eq(|| None::<String>);
    let oninput = {
        let (typed, on_value) = (typed.setter(), props.on_value.clone());
        move |event: InputEvent| {
            let text = event
                .target_unchecked_into::<web_sys::HtmlInputElement>()
                .value();
            if let Some(value) = Json::parse(text.trim()).and_then(|json| json.number()) {
                on_value.emit(value);
            }
            typed.set(Some(text));
        }
    };
    let onblur = {
        let typed = typed.setter();
        move |_: FocusEvent| typed.set(None)
    };
    let shown = (*typed)
        .clone()
        .unwrap_or_else(|| platform::digits(props.value));
    html! {
        <label class="field rule-editor__limit">
            <span class="field__label">{ words::LIMIT }</span>
            <input class="field__input" type="number" step="any" value={shown} {oninput} {onblur} />
        </label>
    }
}

/// The form, and beside it what the rule would do.
#[component]
fn Editor(props: &EditorProps) -> Html {
    let draft = use_state_eq(|| {
        let empty = || Draft {
            expression: props.expression.to_string(),
            ..Draft::default()
        };
        props.rule.as_ref().map_or_else(empty, Draft::of)
    });
    let place = use_state_eq(|| 2_usize);
    let is_asked = use_state_eq(|| false);
    let act = use_act(&props.endpoint);
    let role = use_role();
    let (_, length_ms) = TIMES[(*place).min(TIMES.len() - 1)];
    let (rehearsed, is_rehearsing) = use_rehearsal(&props.endpoint, &draft, length_ms);
    let bands = use_memo(rehearsed.clone(), |rehearsed| {
        Shared::new(bands_of(rehearsed))
    });
    let limit = limit_of(&draft.expression);
    let compared = limit.map_or(draft.expression.as_str(), |limit| {
        limit.compared(&draft.expression)
    });
    // What is drawn follows what is typed with a delay; a limit that is dragged changes nothing of
    // it.
    let drawn = use_state_eq(|| compared.to_owned());
    {
        let drawn = drawn.setter();
        use_effect_with(compared.to_owned(), move |compared| {
            let compared = compared.clone();
            let timer = Timeout::new(TYPING_MS, move || drawn.set(compared));
            move || drop(timer)
        });
    }
    let on_expression = change(&draft, |draft: &mut Draft, text: String| {
        draft.expression = text
    });
    let on_value = {
        let draft = draft.clone();
        Callback::from(move |value: f64| {
            if let Some(limit) = limit_of(&draft.expression) {
                let expression = limit.moved(&draft.expression, &platform::digits(value));
                draft.set(Draft {
                    expression,
                    ..(*draft).clone()
                });
            }
        })
    };
    let why_not = read_only(props.rule.as_ref(), role.administers());
    let can = why_not.is_none();
    let on_limit = on_value.reform(|(value, height): (f64, f64)| chosen(value, height));
    let id = props.rule.as_ref().map(|rule| rule.id.as_str());
    let saving = Saving::new(&act, "/api/rules", id, RULES);
    let missing = draft.problem();
    let onsubmit = {
        let (saving, draft, is_asked) = (saving.clone(), draft.clone(), is_asked.setter());
        move |event: SubmitEvent| {
            event.prevent_default();
            is_asked.set(true);
            if draft.problem().is_none() {
                saving.save(draft.json());
            }
        }
    };
    let on_place = {
        let place = place.setter();
        Callback::from(move |index: usize| place.set(index))
    };
    let heading = props
        .rule
        .as_ref()
        .map_or(words::NEW_RULE, |rule| &rule.name);
    let error = props.rule.as_ref().map(|rule| rule.error.clone());
    html! {
        <form class="rule-editor" aria-label="Rule" {onsubmit}>
            <div class="rule-editor__form">
                <h2>{ heading.to_owned() }</h2>
                if let Some(why_not) = &why_not {
                    <p class="explore__place">{ why_not.clone() }</p>
                }
                if let Some(error) = error.filter(|error| !error.is_empty()) {
                    <p class="form__problem">{ error }</p>
                }
                <fieldset class="form__fields" disabled={!can}>
                    <legend class="visually-hidden">{ "What the rule says" }</legend>
                    if props.rule.is_none() {
                        { segments(
                            "What it makes",
                            "rule-kind",
                            &["Alert", "Recorded series"],
                            Some(usize::from(!draft.is_alert)),
                            &change(&draft, |draft: &mut Draft, index: usize| draft.is_alert = index == 0),
                        ) }
                    }
                    <ExpressionField
                        endpoint={props.endpoint.clone()}
                        name="of-the-rule"
                        asked={draft.expression.clone()}
                        on_ask={on_expression.clone()}
                        on_input={on_expression.clone()}
                    />
                    { fields(&draft) }
                </fieldset>
                if can {
                    if let Some(missing) = missing.filter(|_| *is_asked) {
                        <p class="form__problem" role="alert">{ missing }</p>
                    }
                    <div class="form__acts">
                        <button type="submit" class={classes!("button", "button--primary")} disabled={act.is_busy}>{ words::SAVE }</button>
                        <a class="button" href={platform::with_hash(&part_hash(RULES))}>{ words::CANCEL }</a>
                        if saving.is_known() {
                            <button class="button form__delete" type="button" disabled={act.is_busy} onclick={saving.on_delete()}>{ words::DELETE }</button>
                        }
                    </div>
                    { act.problem_line() }
                }
            </div>
            <div class="rule-editor__preview panel">
                <div class="explore__head">
                    <h3>{ "Rehearsal" }</h3>
                    { segments("Rehearsed over", "rehearsed", &TIMES.map(|(label, _)| label), Some(*place), &on_place) }
                    if let Some(limit) = limit.filter(|_| can) {
                        <LimitField value={limit.value} on_value={on_value.clone()} />
                    }
                </div>
                <p class={classes!("rehearsal", is_rehearsing.then_some("is-old"))} role="status">{ rehearsal_words(&rehearsed) }</p>
                <Preview
                    endpoint={props.endpoint.clone()}
                    expression={(*drawn).clone()}
                    title={draft.name.clone()}
                    time={TimeRange::last(length_ms)}
                    bands={(*bands).clone()}
                    limit={limit.map(|limit| limit.value)}
                    on_limit={can.then_some(on_limit)}
                />
                if limit.is_some() && can {
                    <p class="explore__place">{ "The dashed line is the limit: drag it, and the expression and the rehearsal follow." }</p>
                }
                { rehearsed_series(&rehearsed) }
            </div>
        </form>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::rules::Stretch;

    #[test]
    fn a_rehearsal_is_told_in_words_and_bands() {
        let rehearsal = Rehearsal {
            series: vec![(
                "{a=\"b\"}".into(),
                vec![
                    Stretch {
                        is_firing: false,
                        from_ms: 0.0,
                        to_ms: 10_000.0,
                    },
                    Stretch {
                        is_firing: true,
                        from_ms: 10_000.0,
                        to_ms: 70_000.0,
                    },
                ],
            )],
            notifications: 1,
            ..Rehearsal::default()
        };
        let known = Rehearsed::Known(Rc::new(rehearsal));
        assert_eq!(
            rehearsal_words(&known),
            "It would have fired 1 time, 1 min in all, and 1 notification would have been sent"
        );
        let bands = bands_of(&known);
        assert_eq!(bands.len(), 2);
        assert!(!bands[0].is_firing && bands[1].is_firing);
        let none = Rehearsed::Known(Rc::default());
        assert_eq!(rehearsal_words(&none), "It would not have fired");
        assert!(bands_of(&none).is_empty());
    }

    #[test]
    fn says_why_nothing_can_be_changed() {
        let of_a_file = Rule {
            source: "file".into(),
            file: "a.yml".into(),
            ..Rule::default()
        };
        assert!(read_only(Some(&of_a_file), true).is_some_and(|why| why.ends_with("a.yml")));
        assert!(read_only(None, false).is_some());
        assert_eq!(read_only(None, true), None);
    }
}
