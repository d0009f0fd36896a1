//! Questions in PromQL: expressions, what they answer as a chart, a table or values now, and ways
//! to take it along.

use std::rc::Rc;

use yew::prelude::*;

mod results;
mod take_along;
mod use_asked;
mod usual_range;

use self::{
    results::{value_table, values_over_time},
    take_along::use_take_along,
    use_asked::{Answers, Asked, PARSE_ERROR, name_of, use_asked},
    usual_range::usual_range,
};
use crate::{
    chart::layout::Span,
    components::{
        ExpressionField, LineTable, SeriesChart, Shown, line_table, segments, use_history,
        use_time_bar,
    },
    format,
    hooks::{use_effect_with, use_selector},
    markup::html,
    net::config::Endpoint,
    platform,
    stores::{
        connection::ConnectionStore,
        question::{EXPRESSIONS_MAX, Form, Question},
        shared::Shared,
        time::TimeRange,
        track::LINES_MAX,
        view::Page,
    },
    words,
};

/// Props of [`Questions`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// What the address asks.
    pub question: Question,
}

/// Goes to another question; without any expression to the list of series.
fn go(question: &Question) {
    let is_none = question.expressions.is_empty();
    platform::go(&match is_none {
        true => Page::Explore.hash().to_owned(),
        false => question.hash(),
    });
}

/// What is said under a field: that a counter is shown as its rate, or why there is no answer.
fn remark(question: &Question, asked: &Asked, answers: &Answers) -> Html {
    let raw = Question {
        raw: true,
        ..question.clone()
    };
    if let Some(rate) = &asked.rate {
        let window = format!("A counter, shown as its rate over {}. ", rate.window);
        return html! {
            <p class="expression__remark">
                { window }
                <button class="link" type="button" onclick={move |_: MouseEvent| go(&raw)}>
                    { "Show the counter itself" }
                </button>
            </p>
        };
    }
    // What can be underlined is said at the field.
    let problem = asked.problem.as_ref();
    match problem.filter(|problem| !problem.contains(PARSE_ERROR)) {
        Some(problem) => html! {
            <p class="expression__problem" role="alert">
                { problem.to_string() }
                { " " }
                <button class="button button--small" type="button" onclick={answers.on_retry.clone()}>{ words::RETRY }</button>
            </p>
        },
        None => Html::default(),
    }
}

/// The expressions, each in its field.
fn fields(
    props: &Props,
    answers: &Answers,
    added: bool,
    on_ask: &Callback<(usize, String)>,
) -> Html {
    let question = &props.question;
    let count = question.expressions.len() + usize::from(added);
    let field = |index: usize| {
        let asked = question.expressions.get(index);
        let answered = answers.each.get(index);
        let problem = answered.and_then(|answered| answered.problem.clone());
        let on_ask = on_ask.clone();
        let emptied = on_ask.clone();
        let name = match asked {
            Some(_) => name_of(question, index),
            None => crate::stores::answers::letter(index),
        };
        html! {
            <div class="questions__one" key={index}>
                <span class="questions__letter" aria-hidden="true">{ name }</span>
                <ExpressionField
                    endpoint={props.endpoint.clone()}
                    {name}
                    asked={asked.cloned().unwrap_or_default()}
                    problem={problem.filter(|problem| problem.contains(PARSE_ERROR))}
                    on_ask={move |text: String| on_ask.emit((index, text))}
                    focused={asked.is_none()}
                />
                <button
                    class="button questions__remove"
                    type="button"
                    aria-label={["Remove expression ", name].concat()}
                    onclick={move |_: MouseEvent| emptied.emit((index, String::new()))}
                >
                    { "×" }
                </button>
                if let Some(answered) = answered {
                    { remark(question, answered, answers) }
                }
            </div>
        }
    };
    html! { <div class="questions__fields">{ for (0..count).map(field) }</div> }
}

/// What the answers are of, and how many lines are left out.
fn count_words(answers: &Answers) -> Option<String> {
    let lines = &answers.lines;
    let more = if lines.is_cut { "more than " } else { "" };
    (lines.count > LINES_MAX).then(|| {
        format!(
            "The {LINES_MAX} highest of {more}{} lines; topk(), sum by () or a label choose others",
            format::grouped(lines.count as u64)
        )
    })
}

/// Why there is nothing to be drawn.
fn missing(answers: &Answers) -> &'static str {
    let is_loading = answers.each.iter().any(|asked| asked.is_loading);
    if is_loading {
        words::LOADING
    } else {
        words::NO_DATA
    }
}

/// Questions and answers.
#[component]
pub fn Questions(props: &Props) -> Html {
    let question = &props.question;
    let answers = use_asked(&props.endpoint, question);
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let hidden = use_state_eq(|| 0_u8);
    let order = use_state_eq(|| None::<(usize, bool)>);
    let added = use_state_eq(|| false);
    let take_along = use_take_along(&props.endpoint, question, &answers);
    {
        // Other lines than those that were hidden, and a field that has found its expression.
        let (hidden, added) = (hidden.setter(), added.setter());
        use_effect_with(question.expressions.clone(), move |_| {
            hidden.set(0);
            added.set(false);
        });
    }
    let on_ask = {
        let (question, added) = (question.clone(), added.setter());
        Callback::from(move |(index, text): (usize, String)| {
            let mut next = question.clone();
            if text.is_empty() {
                added.set(false);
                if index < next.expressions.len() {
                    next.expressions.remove(index);
                }
            } else if let Some(expression) = next.expressions.get_mut(index) {
                *expression = text;
            } else {
                next.expressions.push(text);
            }
            go(&next);
        })
    };
    let on_history = {
        let question = question.clone();
        Callback::from(move |text: String| {
            let mut next = question.clone();
            match next.expressions.last_mut() {
                Some(last) if question.expressions.len() == EXPRESSIONS_MAX => *last = text,
                _ => next.expressions = vec![text],
            }
            go(&next);
        })
    };
    let history = use_history(&question.expressions, &on_history);
    let on_time = {
        let question = question.clone();
        Callback::from(move |time: TimeRange| {
            go(&Question {
                time,
                ..question.clone()
            })
        })
    };
    let time_bar = use_time_bar(question.time, answers.now_ms, &on_time);
    let on_form = {
        let question = question.clone();
        Callback::from(move |index: usize| {
            let form = Form::ALL.get(index).copied().unwrap_or_default();
            go(&Question {
                form,
                ..question.clone()
            });
        })
    };
    let on_add = {
        let added = added.setter();
        move |_: MouseEvent| added.set(true)
    };
    let on_sort = {
        let order = order.clone();
        Callback::from(move |column: usize| {
            let is_first = order.is_none_or(|(by, greatest_first)| by != column || !greatest_first);
            order.set(Some((column, is_first)));
        })
    };
    let on_hide = {
        let hidden = hidden.setter();
        Callback::from(move |lines: u8| hidden.set(lines))
    };
    let track = &answers.lines.track;
    let is_full = question.expressions.len() + usize::from(*added) >= EXPRESSIONS_MAX;
    let shown = match question.form {
        Form::Chart => html! {
            <>
                <figure class="chart open-series__chart">
                    <SeriesChart
                        track={Shared::from(answers.lines.rc() as Rc<dyn Shown>)}
                        title={question.expressions.join(", ")}
                        time={question.time}
                        stale={is_lost}
                        missing={missing(&answers)}
                        hidden={*hidden}
                        on_time={Some(on_time.clone())}
                        keys=true
                    />
                </figure>
                if !track.lines.is_empty() {
                    { line_table(&LineTable {
                        track,
                        span: Span::between(question.time.ends(answers.now_ms)),
                        is_live: question.time.is_live(),
                        is_coarse: false,
                        is_stale: is_lost,
                        order: *order,
                        hidden: *hidden,
                        on_sort: &on_sort,
                        on_hide: &on_hide,
                    }) }
                }
            </>
        },
        Form::Table => values_over_time(track, missing(&answers)),
        Form::Values => value_table(question, &answers),
    };
    let form = Form::ALL.iter().position(|form| *form == question.form);
    html! {
        <section class="questions" aria-label="Questions">
            <nav class="open-series__nav" aria-label={words::FROM_HERE}>
                <a class="open-series__back" href={platform::with_hash(Page::Explore.hash())}>{ words::ALL_SERIES }</a>
            </nav>
            <h2 class="visually-hidden">{ "Questions in PromQL" }</h2>
            { fields(props, &answers, *added, &on_ask) }
            <div class="questions__tools">
                <button class="button" type="button" disabled={is_full} onclick={on_add}>{ "Add expression" }</button>
                { history }
                { usual_range(question, &answers, go) }
                <div class="open-series__ranges">{ time_bar }</div>
            </div>
            <div class="questions__tools">
                { segments("Show as", "form", &Form::ALL.map(Form::label), form, &on_form) }
                <span class="explore__place" role="status">{ count_words(&answers) }</span>
                { take_along }
            </div>
            { shown }
        </section>
    }
}
