//! Rules in a list: how each stands, when and how long it was evaluated, what is wrong with it, and
//! where it comes from.

use web_sys::HtmlInputElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    incident::download,
    parts::{NEW, RULES, lasted, part_hash, standing, use_role},
};
use crate::{
    components::state,
    format,
    hooks::{use_answer, use_seconds},
    markup::html,
    net::config::{Endpoint, encode_query},
    platform,
    stores::{rules::Rule, stats::StatsStore},
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 5_000;

/// Rules that are shown at most; the search finds others.
const SHOWN_MAX: usize = 300;

/// Props of [`RuleList`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
}

/// The address of a rule.
fn hash_of(id: &str) -> String {
    [&part_hash(RULES), "/", &encode_query(id)].concat()
}

/// When it was evaluated and how long that took.
fn evaluation(rule: &Rule, now_ms: f64) -> String {
    let Some(last_ms) = rule.last_ms.filter(|_| rule.enabled) else {
        return String::new();
    };
    let age = lasted((now_ms - last_ms).max(0.0));
    let took = match rule.took_s.is_finite() {
        true => format!(", took {} ms", format::value(rule.took_s * 1_000.0)),
        false => String::new(),
    };
    let every = match rule.every.as_str() {
        "" => String::new(),
        "0s" => ", at each tick".to_owned(),
        every => [", every ", every].concat(),
    };
    format!("{age} ago{took}{every}")
}

/// One rule.
fn row(rule: &Rule, now_ms: f64) -> Html {
    let (trouble, word) = rule.standing();
    html! {
        <li key={rule.id.clone()} class={classes!("rule", (!rule.enabled).then_some("is-old"))}>
            { state(trouble, word) }
            <span class="rule__what">
                <a class="series-name" href={platform::with_hash(&hash_of(&rule.id))}>{ rule.name.clone() }</a>
                { " " }
                <span class="series-name__labels">{ rule.expression.clone() }</span>
            </span>
            <span class="rule__group">{ rule.group.clone() }</span>
            <span class="rule__source">{ rule.source_words() }</span>
            <span class="rule__evaluation">{ evaluation(rule, now_ms) }</span>
            if !rule.error.is_empty() {
                <span class="rule__error">{ rule.error.clone() }</span>
            }
        </li>
    }
}

/// Whether all words of `search` are in a rule, in any order.
fn is_found(rule: &Rule, search: &str) -> bool {
    let text = [
        &rule.name,
        " ",
        &rule.group,
        " ",
        &rule.expression,
        " ",
        &rule.file,
        " ",
        &rule.standing().1,
    ]
    .concat()
    .to_lowercase();
    let search = search.to_lowercase();
    search.split_whitespace().all(|word| text.contains(word))
}

/// The list.
#[component]
pub(super) fn RuleList(props: &Props) -> Html {
    use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let typed = use_state_eq(String::new);
    let role = use_role();
    let answer = use_answer(&props.endpoint, "/api/rules".into(), EVERY_MS, 0);
    let rules = use_memo(answer.json.clone(), |json| {
        json.as_ref()
            .map_or_else(Vec::new, |json| Rule::read_all(json))
    });
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let found: Vec<&Rule> = rules.iter().filter(|rule| is_found(rule, &typed)).collect();
    let broken = rules.iter().filter(|rule| rule.health == "err").count();
    let place = match broken {
        0 => format::count(rules.len() as u64, "rule", "rules"),
        broken => format!(
            "{}, {broken} broken",
            format::count(rules.len() as u64, "rule", "rules")
        ),
    };
    let oninput = {
        let typed = typed.setter();
        move |event: InputEvent| {
            typed.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    let on_yaml = {
        let endpoint = props.endpoint.clone();
        move |_: MouseEvent| download(&endpoint, "/api/rules?format=yaml", "rules.yaml")
    };
    let more = found.len().saturating_sub(SHOWN_MAX);
    html! {
        <>
            <div class="explore__head">
                <h2 class="visually-hidden">{ words::RULES_TITLE }</h2>
                <input
                    class="field__input explore__search"
                    type="search"
                    aria-label="Search rules"
                    placeholder="Search names, groups and expressions"
                    autocomplete="off"
                    value={(*typed).clone()}
                    {oninput}
                />
                if role.administers() {
                    <a class="button button--primary" href={platform::with_hash(&hash_of(NEW))}>{ words::NEW_RULE }</a>
                }
                <button class="button" type="button" onclick={on_yaml}>{ "Rule file" }</button>
                <span class="explore__place" role="status">
                    if answer.json.is_some() {
                        { place }
                    }
                </span>
            </div>
            { standing(answer.json.is_some(), answer.problem.as_ref()) }
            if answer.json.is_some() && found.is_empty() {
                <p class="explore__empty panel">
                    { if rules.is_empty() { "Nothing is watched: there is no rule" } else { words::NO_MATCH } }
                </p>
            }
            if !found.is_empty() {
                <ol class="rules panel">{ for found.iter().take(SHOWN_MAX).map(|rule| row(rule, now_ms)) }</ol>
            }
            if more > 0 {
                <p class="explore__place">{ format!("and {more} more; the search finds them") }</p>
            }
        </>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_words_in_any_order() {
        let rule = Rule {
            name: "CPU high".into(),
            group: "host".into(),
            expression: "cpu > 90".into(),
            health: "err".into(),
            enabled: true,
            last_ms: Some(1_000.0),
            took_s: 0.0042,
            every: "15s".into(),
            ..Rule::default()
        };
        assert!(is_found(&rule, "host CPU"));
        assert!(is_found(&rule, "broken"));
        assert!(!is_found(&rule, "memory"));
        assert_eq!(
            evaluation(&rule, 4_000.0),
            "3 s ago, took 4.2 ms, every 15s"
        );
        let fast = Rule {
            every: "0s".into(),
            ..rule.clone()
        };
        assert!(evaluation(&fast, 4_000.0).ends_with("4.2 ms, at each tick"));
        let off = Rule {
            enabled: false,
            ..rule
        };
        assert_eq!(evaluation(&off, 4_000.0), "");
    }
}
