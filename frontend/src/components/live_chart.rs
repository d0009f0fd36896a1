//! One metric over time: a figure with its title, its reading under the crosshair, and the
//! canvases that the stage draws on.

use pulseboard_shared::{BuiltIn, DefaultRule, Severity};
use web_sys::{Element, HtmlCanvasElement, HtmlElement};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    chart_time::{both, use_chart_time},
    toolbar::time_words,
};
use crate::{
    chart::{
        crosshair::{Elements, Step},
        layout::Plot,
        paint::Threshold,
        stage::{Parts, Stage},
    },
    format,
    hooks::{use_effect_with, use_seconds, use_selector},
    markup::html,
    platform,
    stores::{
        change::Change,
        operator::OperatorStore,
        stats::{Card, SameCards, StatsStore},
        time::TimeRange,
        view::{Page, ViewStore, time_hash},
    },
    words,
};

/// Samples that one key press with Shift moves the crosshair by.
const STEP_LARGE: isize = 10;

/// Props of [`LiveChart`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Which metric.
    pub metric: BuiltIn,
    /// Where it is drawn.
    pub stage: Stage,
}

/// The chart in one sentence, for those who do not see it.
fn summary(metric: BuiltIn, card: Card, time: &str) -> String {
    let title = format::chart_title(metric);
    if card.stats.count == 0 {
        return format!("{title}, no figures yet");
    }
    let unit = metric.unit();
    format!(
        "{title}, {time} shown. Now {} {unit}; in the newest {} samples between {} and {} {unit}, mean {}",
        format::figure(card.current),
        card.stats.count,
        format::figure(card.stats.min),
        format::figure(card.stats.max),
        format::figure(card.stats.avg),
    )
}

/// The default rule on this metric, as drawn.
fn threshold(metric: BuiltIn) -> Option<Threshold> {
    DefaultRule::of(metric).map(|rule| {
        let word = match rule.severity {
            Severity::Critical => "critical",
            _ => "warning",
        };
        Threshold {
            above: rule.above,
            severity: rule.severity,
            label: format!(
                "{} {} {}, {word}",
                words::LIMIT,
                format::plain(rule.above),
                metric.unit()
            ),
        }
    })
}

/// The operator's threshold, as drawn.
fn log_threshold(above: f64) -> Threshold {
    Threshold {
        above,
        severity: Severity::Low,
        label: format!("{} {} %", words::LOG_THRESHOLD_LINE, format::plain(above)),
    }
}

/// All that figures of `metric` are compared with, by name: the same words wherever they stand, in
/// the charts and in the operator's view.
pub(super) fn limits(metric: BuiltIn, logged: Option<f64>) -> Vec<String> {
    let logged = logged.filter(|_| metric == BuiltIn::Cpu).map(log_threshold);
    let all = threshold(metric).into_iter().chain(logged);
    all.map(|threshold| threshold.label).collect()
}

/// One of the server's own series over time.
#[component]
pub fn LiveChart(Props { metric, stage }: &Props) -> Html {
    let metric = *metric;
    let [area, line, point, readout] = use_memo((), |()| [(); 4].map(|()| NodeRef::default()))
        .as_ref()
        .clone();
    let [axis, data, slider] = use_memo((), |()| [(); 3].map(|()| NodeRef::default()))
        .as_ref()
        .clone();

    // What is said of it changes once a second, not with each tick: nobody could listen to that.
    use_seconds();
    let cards = SameCards::of(&use_dispatch::<StatsStore>().get());
    use_selector(|stats: &StatsStore| stats.select_newest_ms().is_some());
    let time = *use_selector(ViewStore::time);
    let view = use_dispatch::<ViewStore>();

    // A part of what is shown is looked at right here, any other time in Explore.
    let plot = use_mut_ref(Plot::default);
    let (placed, span) = stage.shown(metric).unwrap_or_default();
    *plot.borrow_mut() = placed;
    let now_ms = stage.now_ms();
    let on_time = {
        let view = view.clone();
        Callback::from(move |time: TimeRange| {
            let mut is_here = false;
            view.change(|view| is_here = view.zoom_to(time, now_ms));
            if !is_here {
                let series = [Page::Explore.hash(), "?match=", metric.name()].concat();
                platform::go(&time_hash(&series, time));
            }
        })
    };
    let hand = use_chart_time(&area, &plot, (span, time, now_ms), &Some(on_time));
    let ondblclick = move |_: MouseEvent| view.change(|view| view.zoom = None);

    {
        let redraw = use_force_update();
        let nodes = (
            area.clone(),
            axis.clone(),
            data.clone(),
            line.clone(),
            point.clone(),
            readout.clone(),
            slider.clone(),
        );
        use_effect_with((stage.clone(), metric), move |(stage, metric)| {
            let (area, axis, data, line, point, readout, slider) = nodes;
            let parts = (|| {
                Some(Parts {
                    area: area.cast::<HtmlElement>()?,
                    axis: axis.cast::<HtmlCanvasElement>()?,
                    data: data.cast::<HtmlCanvasElement>()?,
                    crosshair: Elements {
                        line: line.cast::<HtmlElement>()?,
                        point: point.cast::<HtmlElement>()?,
                        readout: readout.cast::<HtmlElement>()?,
                        slider: slider.cast::<Element>()?,
                    },
                })
            })();
            let placement = parts.and_then(|parts| stage.place(*metric, threshold(*metric), parts));
            // Only now it is known which time it shows.
            redraw.force_update();
            move || drop(placement)
        });
    }

    // After the effect above, which makes the chart.
    let logged = *use_selector(OperatorStore::select_threshold);
    use_effect_with(
        (stage.clone(), metric, logged),
        |(stage, metric, logged)| {
            if *metric == BuiltIn::Cpu {
                stage.note(*metric, logged.map(log_threshold).as_ref());
            }
        },
    );

    let pointed = {
        let (stage, area) = (stage.clone(), area.clone());
        Callback::from(move |event: PointerEvent| {
            if let Some(area) = area.cast::<Element>() {
                stage.point(&area, f64::from(event.client_x()));
            }
        })
    };
    let left = {
        let stage = stage.clone();
        Callback::from(move |event: PointerEvent| {
            if event.pointer_type() == "touch" {
                stage.lift();
            } else {
                stage.leave();
            }
        })
    };
    let onkeydown = {
        let stage = stage.clone();
        Callback::from(move |event: KeyboardEvent| {
            if event.ctrl_key() || event.meta_key() || event.alt_key() {
                return;
            }
            let by = if event.shift_key() { STEP_LARGE } else { 1 };
            match event.key().as_str() {
                "ArrowLeft" | "ArrowDown" => stage.step(metric, Step::By(-by)),
                "ArrowRight" | "ArrowUp" => stage.step(metric, Step::By(by)),
                "PageDown" => stage.step(metric, Step::By(-STEP_LARGE)),
                "PageUp" => stage.step(metric, Step::By(STEP_LARGE)),
                "Home" => stage.step(metric, Step::First),
                "End" => stage.step(metric, Step::Last),
                "Escape" => stage.clear_cursor(),
                " " => stage.toggle_pause(),
                _ => return,
            }
            event.prevent_default();
        })
    };
    let onblur = {
        let stage = stage.clone();
        Callback::from(move |_: FocusEvent| stage.clear_cursor())
    };

    let limits: String = limits(metric, logged)
        .iter()
        .map(|label| [". ", label.as_str()].concat())
        .collect();
    let title = format::chart_title(metric);
    let card = cards.0[metric.index()];
    html! {
        <figure class={classes!("chart", format!("chart--{}", format::slug(metric)))}>
            <figcaption class="chart__head">
                <h3>{ title }</h3>
                <span class="chart__readout" ref={readout}></span>
            </figcaption>
            <div
                class="chart-area"
                ref={area}
                onpointermove={both(&hand.on_move, &pointed)}
                onpointerdown={both(&hand.on_down, &pointed)}
                onpointerup={hand.on_up.clone()}
                onpointerleave={left.clone()}
                onpointercancel={both(&hand.on_up, &left)}
                onwheel={hand.on_wheel.clone()}
                {ondblclick}
            >
                <canvas class="chart__canvas" ref={axis} aria-hidden="true"></canvas>
                <canvas
                    class="chart__canvas"
                    ref={data}
                    role="img"
                    aria-label={[self::summary(metric, card, &time_words(time)), limits].concat()}
                ></canvas>
                { hand.selection() }
                <div class="chart__line" ref={line}></div>
                <div class="chart__point" ref={point}></div>
                <div
                    class="chart__slider"
                    ref={slider}
                    role="slider"
                    tabindex="0"
                    aria-label={format!("{title}: arrow keys read figures, Space pauses the charts")}
                    aria-valuemin="0"
                    aria-valuenow="0"
                    aria-valuetext={words::NO_FIGURE_CHOSEN}
                    {onkeydown}
                    {onblur}
                ></div>
            </div>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::Stats;

    use super::*;

    #[test]
    fn says_what_is_seen() {
        let mut card = Card {
            current: f64::NAN,
            stats: Stats::default(),
        };
        assert_eq!(
            summary(BuiltIn::Cpu, card, "last 5 min"),
            "CPU Usage (%), no figures yet"
        );
        card.current = 78.4;
        card.stats = Stats {
            avg: 51.0,
            max: 91.0,
            min: 12.0,
            count: 60,
        };
        assert_eq!(
            summary(BuiltIn::Cpu, card, "last 5 min"),
            "CPU Usage (%), last 5 min shown. Now 78.4 %; in the newest 60 samples between \
             12.0 and 91.0 %, mean 51.0"
        );
        assert_eq!(
            threshold(BuiltIn::Latency).map(|threshold| threshold.label),
            Some("Limit 80 ms, warning".into())
        );
        assert_eq!(threshold(BuiltIn::Requests), None);
        assert_eq!(log_threshold(5.0).label, "Operator's log above 5 %");
    }
}
