//! The chart of an expression over a time, with when something fired and the limit.

use std::rc::Rc;

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    chart::trace::Band,
    components::{SeriesChart, Shown},
    hooks::{use_answer, use_seconds, use_selector},
    markup::html,
    net::{config::Endpoint, json::Json, prom},
    platform,
    stores::{
        connection::ConnectionStore,
        question::{Answered, highest, step_ms},
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
    },
    words,
};

/// Steps across the chart.
const POINTS: f64 = 600.0;

/// A time that goes on is asked for anew this often at the most.
const EVERY_MS_MIN: f64 = 5_000.0;

/// Props of [`Preview`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// What is drawn; nothing is asked while it is empty.
    pub(super) expression: AttrValue,
    pub(super) title: AttrValue,
    pub(super) time: TimeRange,
    pub(super) bands: Shared<Vec<Band>>,
    pub(super) limit: Option<f64>,
    #[prop_or_default]
    pub(super) on_limit: Option<Callback<(f64, f64)>>,
    /// Only lines that have none but these labels; all where it is empty.
    #[prop_or_default]
    pub(super) only: Rc<Vec<(String, String)>>,
}

/// Whether a series of the answer is of an alert that has `only` these labels.
fn is_of(series: &Json, only: &[(String, String)]) -> bool {
    let labels = series.get("metric").entries().iter();
    let mut labels = labels.filter(|(name, _)| name != "__name__");
    only.is_empty()
        || labels.all(|(name, value)| {
            let mut only = only.iter();
            only.any(|(known, wanted)| known == name && value.text() == Some(wanted))
        })
}

/// The lines of an answer that are of such an alert; all where none is.
fn lines_of(json: &Json, only: &[(String, String)]) -> Vec<Answered> {
    let series = json.get("data").get("result").list().iter();
    let of_it: Vec<bool> = series.map(|series| is_of(series, only)).collect();
    let is_any = of_it.iter().any(|is_of| *is_of);
    let lines = prom::lines(json, "", "").into_iter().zip(of_it);
    let lines = lines.filter(|(_, is_of)| *is_of || !is_any);
    lines.map(|(line, _)| Answered::new(line)).collect()
}

/// The chart.
#[component]
pub(super) fn Preview(props: &Props) -> Html {
    let seconds = use_seconds();
    let stats = use_dispatch::<StatsStore>();
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let length_ms = props.time.length_ms(now_ms);
    let step = step_ms(length_ms, POINTS);
    let every_ms = step.max(EVERY_MS_MIN);
    let part = match props.time.is_live() {
        true => (f64::from(seconds) * 1_000.0 / every_ms).floor(),
        false => 0.0,
    };
    let path = use_memo((props.expression.clone(), props.time, part.to_bits()), {
        let (_, to_ms) = props.time.ends(now_ms);
        move |(expression, ..)| {
            if expression.trim().is_empty() {
                return AttrValue::default();
            }
            let to_ms = (to_ms / step).ceil() * step;
            let from_ms = to_ms - (length_ms / step).ceil() * step;
            let most = prom::SERIES_MAX;
            AttrValue::from(prom::range_path(expression, from_ms, to_ms, step, most))
        }
    });
    let answer = use_answer(&props.endpoint, (*path).clone(), 0, 0);
    let problem = answer.problem.clone().filter(|_| !path.is_empty());
    let key = (answer.json.clone(), props.only.clone(), step.to_bits());
    let lines = use_memo(key, move |(json, only, _)| {
        let json = json.clone().unwrap_or_default();
        let (track, count) = highest(&lines_of(&json, only), &[], step);
        (Shared::new(track), count)
    });
    let (lines, count) = (lines.0.clone(), lines.1);
    let missing = match answer.json.is_some() || problem.is_some() || path.is_empty() {
        true => words::NO_DATA,
        false => words::LOADING,
    };
    let more = count.saturating_sub(lines.lines.len());
    let name = |(index, line): (usize, &crate::net::series::Line)| {
        html! { <li class={format!("legend__line legend__line--{}", index + 1)}>{ line.key.clone() }</li> }
    };
    html! {
        <figure class="chart preview">
            <SeriesChart
                track={Shared::from(lines.rc() as Rc<dyn Shown>)}
                title={props.title.clone()}
                time={props.time}
                stale={is_lost}
                {missing}
                keys=true
                bands={props.bands.clone()}
                limit={props.limit}
                on_limit={props.on_limit.clone()}
            />
            if let Some(problem) = problem {
                <p class="form__problem" role="alert">{ problem.in_words() }</p>
            }
            <ul class="host-page__names">
                { for lines.lines.iter().enumerate().map(name) }
                if more > 0 {
                    <li>{ words::and_more(more) }</li>
                }
            </ul>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_alert_are_found() {
        let json = r#"{"data":{"result":[
            {"metric":{"__name__":"cpu","instance":"a"},"values":[[1,"1"]]},
            {"metric":{"__name__":"cpu","instance":"b"},"values":[[1,"2"]]}]}}"#;
        let json = Json::parse(json).expect("JSON");
        let only = |instance: &str| {
            vec![
                ("alertname".to_owned(), "CPU".to_owned()),
                ("instance".to_owned(), instance.to_owned()),
            ]
        };
        let keys = |only: &[(String, String)]| -> Vec<String> {
            let lines = lines_of(&json, only).into_iter();
            lines.map(|answered| answered.line.key).collect()
        };
        assert_eq!(keys(&only("b")), ["cpu{instance=\"b\"}"]);
        assert_eq!(keys(&only("c")).len(), 2, "better than nothing");
        assert_eq!(keys(&[]).len(), 2);
    }
}
