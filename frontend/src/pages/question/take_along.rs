//! Ways to take an answer along: its link, what one types to ask the same, a table, a picture.

use gloo::utils::{document, window};
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};
use yew::prelude::*;

use super::use_asked::Answers;
use crate::{
    chart::theme::Theme,
    hooks::use_selector,
    markup::html,
    net::config::{Endpoint, encode_query},
    platform,
    stores::{
        answers::{csv, curl},
        question::{Form, Question},
        session::SessionStore,
    },
    words,
};

/// Pixels of the border around a picture, and of a line of its text.
const BORDER_PX: f64 = 12.0;
const LINE_PX: f64 = 18.0;

/// The chart as a picture, on its ground and with the names of its lines under it; `None` where
/// there is none.
fn picture(names: &[String]) -> Option<String> {
    let chart = document().query_selector(".questions canvas").ok()??;
    let chart: HtmlCanvasElement = chart.dyn_into().ok()?;
    let picture = document().create_element("canvas").ok()?;
    let picture: HtmlCanvasElement = picture.dyn_into().ok()?;
    let ratio = window().device_pixel_ratio().max(1.0);
    let (border, line) = (BORDER_PX * ratio, LINE_PX * ratio);
    let (width, height) = (f64::from(chart.width()), f64::from(chart.height()));
    #[expect(clippy::cast_precision_loss, reason = "some lines")]
    let text = names.len() as f64 * line;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in pixels"
    )]
    let (across, down) = (
        (width + 2.0 * border) as u32,
        (height + text + 2.0 * border) as u32,
    );
    picture.set_width(across);
    picture.set_height(down);
    let context = picture.get_context("2d").ok()??;
    let context: CanvasRenderingContext2d = context.dyn_into().ok()?;
    let theme = Theme::read();
    context.set_fill_style_str(&theme.panel);
    context.fill_rect(0.0, 0.0, f64::from(across), f64::from(down));
    // These fail only for numbers that are not finite.
    drop(context.draw_image_with_html_canvas_element(&chart, border, border));
    drop(context.scale(ratio, ratio));
    context.set_font(&theme.font);
    let mut y = border / ratio + height / ratio + LINE_PX * 0.7;
    for (name, color) in names.iter().zip(&theme.compared) {
        context.set_fill_style_str(color);
        context.fill_rect(BORDER_PX, y - 5.0, 18.0, 3.0);
        context.set_fill_style_str(&theme.axis);
        drop(context.fill_text(name, BORDER_PX + 26.0, y));
        y += LINE_PX;
    }
    picture.to_data_url().ok()
}

/// The buttons.
#[hook]
pub(super) fn use_take_along(endpoint: &Endpoint, question: &Question, answers: &Answers) -> Html {
    let copied = use_state_eq(|| None::<(usize, bool)>);
    let has_token = *use_selector(|store: &SessionStore| {
        store.session().is_some_and(|session| !session.anonymous)
    });
    let (from_ms, to_ms, _) = answers.asked_ms;
    let link = {
        // The very same time, also tomorrow.
        let fixed = Question {
            time: crate::stores::time::TimeRange::between(from_ms, to_ms),
            ..question.clone()
        };
        platform::with_hash(&fixed.hash())
    };
    let commands = {
        let expressions = question.expressions.iter().zip(&answers.each);
        let lines = expressions.map(|(expression, asked)| {
            let expression = asked
                .rate
                .as_ref()
                .map_or(expression, |rate| &rate.expression);
            let address = endpoint.http("/api/v1/query_range");
            curl(&address, expression, answers.asked_ms, has_token)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let copy = |index: usize, name: &'static str, text: String| {
        let set = copied.setter();
        let words = match *copied {
            Some((of, true)) if of == index => words::COPIED,
            Some((of, false)) if of == index => "The browser does not let it",
            _ => name,
        };
        let onclick = move |_: MouseEvent| set.set(Some((index, platform::copy(&text))));
        html! { <button class="button button--small" type="button" {onclick}>{ words }</button> }
    };
    let lines = answers.lines.clone();
    let on_csv = move |_: MouseEvent| {
        let text = csv(&lines.track, platform::digits);
        let address = ["data:text/csv;charset=utf-8,", &encode_query(&text)].concat();
        platform::save(&address, "pulseboard.csv");
    };
    let lines = answers.lines.clone();
    let on_png = move |_: MouseEvent| {
        let names = lines.track.lines.iter().map(|line| line.key.clone());
        if let Some(address) = picture(&names.collect::<Vec<_>>()) {
            platform::save(&address, "pulseboard.png");
        }
    };
    let is_empty = answers.lines.track.lines.is_empty();
    let has_no_picture = is_empty || question.form != Form::Chart;
    html! {
        <div class="questions__along">
            { copy(0, "Copy link", link) }
            { copy(1, "Copy as curl", commands) }
            <button class="button button--small" type="button" disabled={is_empty} onclick={on_csv}>{ "CSV" }</button>
            <button class="button button--small" type="button" disabled={has_no_picture} onclick={on_png}>{ "PNG" }</button>
        </div>
    }
}
