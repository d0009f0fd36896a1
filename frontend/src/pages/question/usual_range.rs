//! What is usual at this time of the week, drawn beside what is asked, and a rule of either.

use yew::prelude::*;

use super::use_asked::Answers;
use crate::{
    markup::html,
    net::config::encode_query,
    platform,
    stores::{
        question::Question,
        usual::{band, unusual},
    },
    words,
};

/// What is asked, where it is one expression, with or without its usual range; whether it is with
/// it.
fn asked<'a>(question: &'a Question, shown: &'a str) -> Option<bool> {
    match question.expressions.as_slice() {
        [_] => Some(false),
        [_, low, high] if [low.clone(), high.clone()] == band(shown) => Some(true),
        _ => None,
    }
}

/// Buttons where one expression is asked, and nothing elsewhere; `go` leads to another question.
pub(super) fn usual_range(question: &Question, answers: &Answers, go: fn(&Question)) -> Html {
    let Some(expression) = question.expressions.first() else {
        return Html::default();
    };
    // Of a counter its rate is looked at, as it is what is drawn.
    let rate = answers.each.first().and_then(|asked| asked.rate.as_ref());
    let shown = rate.map_or(expression, |rate| &rate.expression);
    let Some(is_drawn) = asked(question, shown) else {
        return Html::default();
    };
    let onclick = {
        let mut next = question.clone();
        next.expressions.truncate(1);
        if !is_drawn {
            next.expressions.extend(band(shown));
        }
        move |_: MouseEvent| go(&next)
    };
    let is_unknown = is_drawn
        && answers
            .each
            .get(1)
            .is_some_and(|low| !low.is_loading && low.values.is_empty());
    let rule = match is_drawn {
        true => unusual(shown),
        false => shown.clone(),
    };
    let rule = ["#/alerts/rules/new?expr=", &encode_query(&rule)].concat();
    html! {
        <>
            <button class="button" type="button" aria-pressed={is_drawn.to_string()} {onclick}>{ "Usual range" }</button>
            <a class="button" href={platform::with_hash(&rule)}>
                { if is_drawn { "Alert when it is unusual" } else { words::NEW_RULE } }
            </a>
            if is_unknown {
                <span class="explore__place" role="status">{ "Nothing is known of the same time of earlier days" }</span>
            }
        </>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_range_is_known_again() {
        let of = |expressions: &[String]| Question {
            expressions: expressions.to_vec(),
            ..Question::default()
        };
        let [low, high] = band("cpu");
        let cpu = "cpu".to_owned();
        assert_eq!(asked(&of(std::slice::from_ref(&cpu)), "cpu"), Some(false));
        assert_eq!(
            asked(&of(&[cpu.clone(), low.clone(), high]), "cpu"),
            Some(true)
        );
        assert_eq!(asked(&of(&[cpu.clone(), low, cpu.clone()]), "cpu"), None);
        assert_eq!(asked(&of(&[cpu.clone(), cpu]), "cpu"), None);
    }
}
