//! A chart of any series: a canvas, the reading under the crosshair, and keys to move that.

use std::rc::Rc;

use gloo::{events::EventListener, utils::window};
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, Element, HtmlCanvasElement};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::chart_time::{both, use_chart_time};
use crate::{
    chart::{
        columns::column_px,
        layout::{Gutter, Plot, Span},
        paint::{Surface, label_px, value_marks_max},
        scale::{ValueAxis, within},
        theme::Theme,
        trace::{self, Band, Scene},
    },
    format,
    hooks::{use_effect_with, use_seconds},
    markup::html,
    net::series::{Line, Step},
    platform,
    stores::{
        shared::Shared,
        stats::StatsStore,
        time::TimeRange,
        track::{LINES_MAX, Track},
    },
    words,
};

/// Ranges longer than this need a date beside the time.
const DATED_FROM_MS: f64 = 72_000_000.0;

/// Props of [`SeriesChart`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// What is drawn.
    pub track: Shared<dyn Shown>,
    /// Its heading, for those who do not see it.
    pub title: AttrValue,
    /// Time that is shown.
    pub time: TimeRange,
    /// Why there is nothing where there is nothing.
    pub missing: &'static str,
    /// The figures are not of now.
    pub stale: bool,
    /// Lines that are not drawn, a bit each.
    #[prop_or_default]
    pub hidden: u8,
    /// The reader chose another time on the chart; without it they cannot.
    #[prop_or_default]
    pub on_time: Option<Callback<TimeRange>>,
    /// The crosshair moves by keyboard, too.
    #[prop_or_default]
    pub keys: bool,
    /// When alerts fired.
    #[prop_or_default]
    pub bands: Shared<Vec<Band>>,
    /// What the lines are compared with.
    #[prop_or_default]
    pub limit: Option<f64>,
    /// The limit was dragged to another value, on an axis of this height; without it the limit
    /// stays where it is.
    #[prop_or_default]
    pub on_limit: Option<Callback<(f64, f64)>>,
}

/// So near to the limit it is taken hold of, in CSS pixels; a finger is less exact.
const HOLD_PX: f64 = 8.0;
const HOLD_TOUCH_PX: f64 = 20.0;

/// What a hand needs to know of the limit.
struct Hold {
    area: NodeRef,
    plot: Rc<std::cell::RefCell<Plot>>,
    axis: Rc<std::cell::RefCell<Option<ValueAxis>>>,
    limit: Option<f64>,
}

impl Hold {
    /// The value where the pointer is, and how high the axis is.
    fn value(&self, event: &PointerEvent) -> Option<(f64, f64)> {
        let area = self.area.cast::<Element>()?;
        let y = f64::from(event.client_y()) - area.get_bounding_client_rect().top();
        let (plot, axis) = (self.plot.borrow(), self.axis.borrow());
        let axis = axis.as_ref()?;
        let height = axis.high - axis.low;
        let part = within((plot.bottom() - y) / plot.height.max(1.0), 0.0, 1.0);
        Some((axis.low + part * height, height))
    }

    /// Whether the pointer is at the limit.
    fn is_near(&self, event: &PointerEvent) -> bool {
        let near = || {
            let (value, height) = self.value(event)?;
            let px = (value - self.limit?).abs() / height * self.plot.borrow().height;
            let touch = event.pointer_type() == "touch";
            Some(px <= if touch { HOLD_TOUCH_PX } else { HOLD_PX })
        };
        near().unwrap_or(false)
    }
}

/// What is done to the chart, but for what is done to its limit: that is dragged.
#[hook]
fn use_limit(
    hold: Hold,
    on_limit: &Option<Callback<(f64, f64)>>,
    others: [Callback<PointerEvent>; 3],
) -> (bool, [Callback<PointerEvent>; 3]) {
    let held = use_state_eq(|| false);
    let [on_down, on_move, on_up] = others;
    let is_held = *held;
    let Some(on_limit) = on_limit.clone().filter(|_| hold.limit.is_some()) else {
        return (false, [on_down, on_move, on_up]);
    };
    let hold = Rc::new(hold);
    let down = {
        let (hold, held) = (Rc::clone(&hold), held.setter());
        Callback::from(move |event: PointerEvent| {
            if !hold.is_near(&event) {
                return on_down.emit(event);
            }
            event.prevent_default();
            held.set(true);
            if let Some(area) = hold.area.cast::<Element>() {
                // Fails only for a pointer that is gone.
                drop(area.set_pointer_capture(event.pointer_id()));
            }
        })
    };
    let moved = Callback::from(move |event: PointerEvent| {
        let value = is_held.then(|| hold.value(&event)).flatten();
        match value {
            Some(value) => on_limit.emit(value),
            None => on_move.emit(event),
        }
    });
    let up = Callback::from(move |event: PointerEvent| {
        held.set(false);
        on_up.emit(event);
    });
    (is_held, [down, moved, up])
}

/// What holds a track.
pub trait Shown {
    /// The track.
    fn track(&self) -> &Track;
}

impl Shown for Track {
    fn track(&self) -> &Track {
        self
    }
}

/// What is read at `t_ms`: `78.4 % at 14:31:07` of a single line.
fn reading(track: &Track, t_ms: f64, range_ms: f64, hidden: u8) -> String {
    let offset_min = platform::zone_offset_min(t_ms);
    let clock = |t_ms: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let at_ms = t_ms as i64;
        if range_ms > DATED_FROM_MS {
            format!(
                "{} {}",
                format::date(at_ms, offset_min),
                format::clock_minutes(at_ms, offset_min)
            )
        } else {
            format::clock(at_ms, offset_min)
        }
    };
    let with_unit = |line: &Line, value: f64| {
        let (figure, unit) = format::measure(value, &line.unit);
        let space = if unit.is_empty() { "" } else { " " };
        format!("{figure}{space}{unit}")
    };
    let lines = track.lines.iter().take(LINES_MAX).enumerate();
    let lines: Vec<&Line> = lines
        .filter(|(index, _)| hidden & (1 << index) == 0)
        .map(|(_, line)| line)
        .collect();
    let samples: Vec<_> = lines
        .iter()
        .filter_map(|line| Some((line, trace::reading(line, track.step_ms, t_ms)?)))
        .collect();
    match samples.as_slice() {
        [] => {
            let is_odd = |step: &Step| {
                step.odd > 0 && (step.t_ms - t_ms).abs() <= track.step_ms.max(1_000.0)
            };
            let steps = lines.iter().flat_map(|line| &line.steps);
            let what = if steps.into_iter().any(is_odd) {
                words::NOT_FINITE
            } else {
                words::NO_DATA
            };
            format!("{what} at {}", clock(t_ms))
        }
        [(line, sample)] => {
            let single = lines.len() == 1;
            let step = line.steps.iter().find(|step| step.t_ms == sample.t_ms);
            let ends = step.filter(|step| single && step.least < step.greatest);
            let ends = ends.map_or_else(String::new, |step| {
                format!(
                    " ({} to {})",
                    with_unit(line, step.least),
                    with_unit(line, step.greatest)
                )
            });
            format!(
                "{} at {}{ends}",
                with_unit(line, sample.value),
                clock(sample.t_ms)
            )
        }
        several => {
            let values: Vec<String> = several
                .iter()
                .map(|(line, sample)| with_unit(line, sample.value))
                .collect();
            format!("{} at {}", values.join(" · "), clock(t_ms))
        }
    }
}

/// The chart in one sentence.
fn summary(title: &str, track: &Track, span: &Span) -> String {
    let mut ends = (f64::INFINITY, f64::NEG_INFINITY);
    for line in &track.lines {
        for step in &line.steps {
            if step.t_ms >= span.from_ms && step.mean.is_finite() {
                ends = (ends.0.min(step.least), ends.1.max(step.greatest));
            }
        }
    }
    let Some(last) = track.last().filter(|_| ends.0 <= ends.1) else {
        return format!("{title}, no figures in this time");
    };
    #[expect(clippy::cast_possible_truncation, reason = "a range in milliseconds")]
    let range = format::duration(span.length_ms() as i64);
    format!(
        "{title}, last {range}: newest {}, between {} and {}",
        format::value(last.value),
        format::value(ends.0),
        format::value(ends.1)
    )
}

/// A chart of any series, with a crosshair that pointer and keys move.
#[component]
pub fn SeriesChart(props: &Props) -> Html {
    use_seconds();
    let area = use_node_ref();
    let canvas = use_node_ref();
    let cursor = use_state_eq(|| None::<f64>);
    let sizes = use_state_eq(|| 0_u32);
    let stats = use_dispatch::<StatsStore>();
    {
        let sizes = sizes.clone();
        use_effect_with((), move |()| {
            let count = std::cell::Cell::new(0);
            let listener = EventListener::new(&window(), "resize", move |_| {
                count.set(count.get() + 1);
                sizes.set(count.get());
            });
            move || drop(listener)
        });
    }

    let track = props.track.clone();
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();
    let gutter = use_memo((), |()| Gutter::new());
    // As it was painted last.
    let plot = use_mut_ref(Plot::default);
    let columns = plot.borrow().width / column_px(ratio());
    let range_ms = props.time.length_ms(now_ms);
    let span = match props.time.is_live() {
        true => Span::ending(now_ms, range_ms, columns.max(100.0)),
        false => Span::between(props.time.ends(now_ms)),
    };
    // The axis as it was painted last; it stays while the limit is being dragged.
    let axis = use_mut_ref(|| None::<ValueAxis>);
    let hand = use_chart_time(&area, &plot, (span, props.time, now_ms), &props.on_time);
    let span = hand.span.unwrap_or(span);
    let hold = Hold {
        area: area.clone(),
        plot: Rc::clone(&plot),
        axis: Rc::clone(&axis),
        limit: props.limit,
    };
    let others = [
        hand.on_down.clone(),
        hand.on_move.clone(),
        hand.on_up.clone(),
    ];
    let (is_held, [on_down, on_move, on_up]) = use_limit(hold, &props.on_limit, others);

    {
        let (area, canvas, track) = (area.clone(), canvas.clone(), track.clone());
        let (plot, gutter) = (Rc::clone(&plot), Rc::clone(&gutter));
        let (cursor, stale, missing) = (*cursor, props.stale, props.missing);
        let (hidden, limit, bands) = (props.hidden, props.limit, props.bands.clone());
        // After each rendering: that is when something has changed. Nobody sees a hidden tab;
        // `use_seconds` renders anew once it is in front.
        use_effect(move || {
            if platform::hidden() {
                return;
            }
            if let (Some(area), Some(canvas)) =
                (area.cast::<Element>(), canvas.cast::<HtmlCanvasElement>())
            {
                let scene = Scene {
                    track: track.track(),
                    span,
                    cursor,
                    stale,
                    missing,
                    hidden,
                    bands: &bands,
                    limit,
                };
                let mut axis = axis.borrow_mut();
                if !is_held {
                    *axis = None;
                }
                if let Some(painted) = paint(&area, &canvas, &gutter, &scene, &mut axis) {
                    *plot.borrow_mut() = painted;
                }
            }
        });
    }

    let pointed = {
        let (area, cursor) = (area.clone(), cursor.setter());
        Callback::from(move |event: PointerEvent| {
            if let Some(area) = area.cast::<Element>() {
                let bounds = area.get_bounding_client_rect();
                let fraction = plot
                    .borrow()
                    .fraction(f64::from(event.client_x()) - bounds.left());
                cursor.set(Some(span.at_fraction(fraction)));
            }
        })
    };
    let left = {
        let cursor = cursor.setter();
        Callback::from(move |_: PointerEvent| cursor.set(None))
    };
    let words = cursor.map(|at| reading(track.track(), at, range_ms, props.hidden));
    let slider = props.keys.then(|| {
        let (cursor, track) = (cursor.clone(), track.clone());
        let blurred = cursor.setter();
        let onkeydown = move |event: KeyboardEvent| {
            if event.ctrl_key() || event.meta_key() || event.alt_key() {
                return;
            }
            let by = if event.shift_key() { 10 } else { 1 };
            let by = match event.key().as_str() {
                "ArrowLeft" | "ArrowDown" => -by,
                "ArrowRight" | "ArrowUp" => by,
                "PageDown" => -10,
                "PageUp" => 10,
                "Home" => -1_000_000,
                "End" => 1_000_000,
                "Escape" => return cursor.set(None),
                _ => return,
            };
            event.prevent_default();
            cursor.set(trace::neighbour(track.track(), &span, *cursor, by));
        };
        html! {
            <div
                class="chart__slider"
                role="slider"
                tabindex="0"
                aria-label={format!("{}: arrow keys read figures", props.title)}
                aria-valuemin="0"
                aria-valuenow="0"
                aria-valuetext={words.clone().unwrap_or_else(|| words::NO_FIGURE_CHOSEN.to_owned())}
                {onkeydown}
                onblur={move |_| blurred.set(None)}
            ></div>
        }
    });
    html! {
        <div
            class={classes!("chart-area", props.on_limit.as_ref().map(|_| "has-limit"))}
            ref={area}
            onpointermove={both(&on_move, &pointed)}
            onpointerdown={both(&on_down, &pointed)}
            onpointerup={on_up.clone()}
            onpointerleave={left.clone()}
            onpointercancel={both(&on_up, &left)}
            onwheel={hand.on_wheel.clone()}
            ondblclick={hand.on_double.clone()}
        >
            <canvas
                class="chart__canvas"
                ref={canvas}
                role="img"
                aria-label={summary(&props.title, track.track(), &span)}
            ></canvas>
            { hand.selection() }
            { slider }
            <span class="chart__reading">{ words }</span>
        </div>
    }
}

/// Device pixels a CSS pixel.
fn ratio() -> f64 {
    within(window().device_pixel_ratio(), 0.5, 4.0)
}

/// Makes `canvas` as large as `area` in device pixels, and paints on it, with the axis that is
/// `held` or else with one that fits, which is held then; says where.
fn paint(
    area: &Element,
    canvas: &HtmlCanvasElement,
    gutter: &Gutter,
    scene: &Scene<'_>,
    held: &mut Option<ValueAxis>,
) -> Option<Plot> {
    let bounds = area.get_bounding_client_rect();
    let size = (bounds.width(), bounds.height());
    if size.0 < 1.0 || size.1 < 1.0 {
        return None;
    }
    let ratio = ratio();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in pixels"
    )]
    let (across, down) = (
        (size.0 * ratio).round() as u32,
        (size.1 * ratio).round() as u32,
    );
    if (canvas.width(), canvas.height()) != (across, down) {
        canvas.set_width(across);
        canvas.set_height(down);
    }
    let context: CanvasRenderingContext2d = canvas.get_context("2d").ok()??.dyn_into().ok()?;
    let theme = Theme::read();
    let inside = |has_head: bool| {
        let range_ms = scene.span.length_ms();
        Plot::inside(size, theme.scale, gutter.px(), range_ms, has_head)
    };
    let axis = held.get_or_insert_with(|| scene.axis(value_marks_max(&inside(true), &theme)));
    gutter.need(label_px(&context, &theme, axis));
    let surface = Surface {
        context: &context,
        size,
        ratio,
        plot: inside(!axis.head.is_empty()),
    };
    trace::paint(&surface, &theme, scene, axis);
    Some(surface.plot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::series::Sample;

    #[test]
    fn says_what_is_seen() {
        let span = Span {
            from_ms: 0.0,
            to_ms: 300_000.0,
        };
        let mut track = Track::default();
        assert_eq!(
            summary("queue_depth", &track, &span),
            "queue_depth, no figures in this time"
        );
        for (t_ms, value) in [(1_000.0, 4.0), (2_000.0, 42.0)] {
            track.add("queue_depth", "", &[Sample { t_ms, value }], 1e9);
        }
        assert_eq!(
            summary("queue_depth", &track, &span),
            "queue_depth, last 5 min: newest 42, between 4 and 42"
        );
    }
}
