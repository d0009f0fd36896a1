//! The page's one drawing schedule: all charts share a time axis, a crosshair and a frame.
//!
//! Whatever changes marks what has to be drawn anew; one animation frame draws it all. Between
//! ticks the charts move by whole device pixels, and the next frame is asked for when the next
//! pixel is due, not sixty times a second. Charts outside the viewport are left out, and a
//! hidden tab gets no frames from the browser at all.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
};

use gloo::{
    events::EventListener,
    render::{AnimationFrame, request_animation_frame},
    timers::callback::Timeout,
    utils::window,
};
use js_sys::Array;
use pulseboard_shared::BuiltIn;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{
    CanvasRenderingContext2d, Element, HtmlCanvasElement, HtmlElement, IntersectionObserver,
    IntersectionObserverEntry, ResizeObserver,
};
use yewdux::Dispatch;

use super::{
    columns::column_px,
    crosshair::{self, Crosshair, Cursor, Elements, Step},
    layout::{Gutter, Plot, Span},
    paint::{self, Brush, Scene, Surface, Threshold},
    scale::{Axis, ValueAxis, within},
    theme::Theme,
};
use crate::{
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        ring::Ring,
        stats::{Past, StatsStore},
        view::{Range, ViewStore},
    },
    words,
};

/// Without reduced motion, moments further apart than this are waited for with a timer rather
/// than with frame after frame.
const TIMER_FROM_MS: f64 = 40.0;

/// A newest figure older than this many intervals has missing time after it.
const SILENT_INTERVALS: f64 = 2.5;

/// A touch read-out stays this long after the finger is lifted.
const TOUCH_LINGER_MS: u32 = 4_000;

const REDUCED_MOTION: &str = "(prefers-reduced-motion: reduce)";
const FORCED_COLORS: &str = "(forced-colors: active)";

/// The elements of one chart.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What the canvases fill.
    pub area: HtmlElement,
    /// The lower canvas.
    pub axis: HtmlCanvasElement,
    /// The upper canvas.
    pub data: HtmlCanvasElement,
    /// What moves with the crosshair.
    pub crosshair: Elements,
}

struct Chart {
    metric: BuiltIn,
    threshold: Option<Threshold>,
    /// A further one, that may change.
    note: RefCell<Option<Threshold>>,
    /// What the canvases fill.
    area: HtmlElement,
    /// The lower and the upper one.
    canvases: [HtmlCanvasElement; 2],
    axis_context: CanvasRenderingContext2d,
    data_context: CanvasRenderingContext2d,
    axis: Cell<Axis>,
    /// The axis as it is painted.
    marked: RefCell<ValueAxis>,
    /// CSS pixels across and down, and device pixels a CSS pixel.
    size: Cell<(f64, f64, f64)>,
    visible: Cell<bool>,
    /// Pixels that the figures of its y axis need.
    label_px: Cell<f64>,
    /// The lower canvas has to be painted.
    axis_dirty: Cell<bool>,
    brush: RefCell<Brush>,
    crosshair: Crosshair,
}

/// Where all charts are drawn, with one crosshair and one frame. Clones are the same stage.
#[derive(Clone)]
pub struct Stage(Rc<Inner>);

struct Inner {
    charts: RefCell<Vec<Rc<Chart>>>,
    stats: Dispatch<StatsStore>,
    view: Dispatch<ViewStore>,
    connection: Dispatch<ConnectionStore>,
    cursor: Cell<Option<Cursor>>,
    theme: RefCell<Theme>,
    frame: RefCell<Option<AnimationFrame>>,
    timer: RefCell<Option<Timeout>>,
    linger: RefCell<Option<Timeout>>,
    gutter: Gutter,
    /// The left margin that was painted last.
    margin: Cell<f64>,
    reduced_motion: Cell<bool>,
    listeners: RefCell<Vec<EventListener>>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("charts", &self.0.charts.borrow().len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Stage {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

type OnResize = Closure<dyn FnMut()>;
type OnIntersection = Closure<dyn FnMut(Array)>;

/// Takes the chart off the stage when dropped.
pub struct Placement {
    stage: Weak<Inner>,
    chart: Rc<Chart>,
    resize: Option<(ResizeObserver, OnResize)>,
    intersection: Option<(IntersectionObserver, OnIntersection)>,
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placement")
            .field("metric", &self.chart.metric)
            .finish_non_exhaustive()
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        if let Some((observer, _)) = &self.resize {
            observer.disconnect();
        }
        if let Some((observer, _)) = &self.intersection {
            observer.disconnect();
        }
        if let Some(inner) = self.stage.upgrade() {
            let chart = &self.chart;
            inner
                .charts
                .borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, chart));
        }
    }
}

impl Stage {
    /// An empty stage that draws from these stores.
    #[must_use]
    pub fn new(
        stats: Dispatch<StatsStore>,
        view: Dispatch<ViewStore>,
        connection: Dispatch<ConnectionStore>,
    ) -> Self {
        let stage = Self(Rc::new(Inner {
            charts: RefCell::default(),
            stats,
            view,
            connection,
            cursor: Cell::new(None),
            theme: RefCell::default(),
            frame: RefCell::new(None),
            timer: RefCell::new(None),
            linger: RefCell::new(None),
            gutter: Gutter::new(),
            margin: Cell::new(0.0),
            reduced_motion: Cell::new(false),
            listeners: RefCell::default(),
        }));
        stage.listen();
        stage
    }

    fn listen(&self) {
        let mut listeners = self.0.listeners.borrow_mut();
        // A window moved to a screen of another density, or zoomed.
        let weak = Rc::downgrade(&self.0);
        listeners.push(EventListener::new(&window(), "resize", move |_| {
            if let Some(inner) = weak.upgrade() {
                let stage = Self(inner);
                stage.measure_all();
                // The size of text may depend on that of the window.
                stage.restyle();
            }
        }));
        self.0
            .reduced_motion
            .set(platform::media_matches(REDUCED_MOTION));
        for query in [REDUCED_MOTION, FORCED_COLORS] {
            if let Ok(Some(list)) = window().match_media(query) {
                let weak = Rc::downgrade(&self.0);
                listeners.push(EventListener::new(&list, "change", move |_| {
                    if let Some(inner) = weak.upgrade() {
                        inner
                            .reduced_motion
                            .set(platform::media_matches(REDUCED_MOTION));
                        Self(inner).restyle();
                    }
                }));
            }
        }
    }

    /// Puts a chart on the stage; `None` where the browser has no 2D canvas.
    #[must_use]
    pub fn place(
        &self,
        metric: BuiltIn,
        threshold: Option<Threshold>,
        parts: Parts,
    ) -> Option<Placement> {
        let context = |canvas: &HtmlCanvasElement| -> Option<CanvasRenderingContext2d> {
            canvas.get_context("2d").ok()??.dyn_into().ok()
        };
        let (axis_context, data_context) = (context(&parts.axis)?, context(&parts.data)?);
        if self.0.theme.borrow().font.is_empty() {
            *self.0.theme.borrow_mut() = Theme::read();
        }
        let chart = Rc::new(Chart {
            metric,
            threshold,
            note: RefCell::default(),
            axis_context,
            data_context,
            axis: Cell::new(match metric {
                BuiltIn::Cpu | BuiltIn::Memory => Axis::percent(),
                BuiltIn::Requests | BuiltIn::Latency => Axis::following(),
            }),
            size: Cell::new((0.0, 0.0, 1.0)),
            visible: Cell::new(true),
            label_px: Cell::new(0.0),
            axis_dirty: Cell::new(true),
            brush: RefCell::default(),
            marked: RefCell::default(),
            crosshair: Crosshair::new(metric, parts.area.clone(), parts.crosshair),
            area: parts.area,
            canvases: [parts.axis, parts.data],
        });

        let weak = Rc::downgrade(&self.0);
        let watched = Rc::downgrade(&chart);
        let on_resize = Closure::<dyn FnMut()>::new(move || {
            if let (Some(inner), Some(chart)) = (weak.upgrade(), watched.upgrade()) {
                chart.measure();
                // At once and not in the next frame: a resized canvas is blank until drawn.
                Self(inner).draw();
            }
        });
        let resize = ResizeObserver::new(on_resize.as_ref().unchecked_ref())
            .ok()
            .map(|observer| {
                observer.observe(&chart.area);
                (observer, on_resize)
            });

        let weak = Rc::downgrade(&self.0);
        let watched = Rc::downgrade(&chart);
        let on_intersection = Closure::<dyn FnMut(Array)>::new(move |entries: Array| {
            if let (Some(inner), Some(chart)) = (weak.upgrade(), watched.upgrade())
                && let Ok(entry) = entries
                    .get(entries.length().saturating_sub(1))
                    .dyn_into::<IntersectionObserverEntry>()
            {
                chart.visible.set(entry.is_intersecting());
                Self(inner).request();
            }
        });
        let intersection = IntersectionObserver::new(on_intersection.as_ref().unchecked_ref())
            .ok()
            .map(|observer| {
                observer.observe(&chart.area);
                (observer, on_intersection)
            });

        chart.measure();
        self.0.charts.borrow_mut().push(Rc::clone(&chart));
        self.request();
        Some(Placement {
            stage: Rc::downgrade(&self.0),
            chart,
            resize,
            intersection,
        })
    }

    /// Draws a further threshold in the chart of `metric`, in place of the one before.
    pub fn note(&self, metric: BuiltIn, note: Option<&Threshold>) {
        for chart in self.0.charts.borrow().iter() {
            if chart.metric == metric {
                chart.note.replace(note.cloned());
                chart.axis_dirty.set(true);
            }
        }
        self.request();
    }

    /// Something that is drawn has changed: draw in the next animation frame.
    pub fn request(&self) {
        self.0.timer.take();
        if self.0.frame.borrow().is_some() {
            return;
        }
        let weak = Rc::downgrade(&self.0);
        let frame = request_animation_frame(move |_| {
            if let Some(inner) = weak.upgrade() {
                inner.frame.take();
                Self(inner).draw();
            }
        });
        self.0.frame.replace(Some(frame));
    }

    /// There are new figures: draw at once. They are taken in within an animation frame, and a
    /// further one would be a frame's time later.
    pub fn draw_now(&self) {
        if platform::hidden() {
            return self.request();
        }
        self.0.timer.take();
        self.0.frame.take();
        self.draw();
    }

    /// The theme has changed: read the colours again and draw everything.
    pub fn restyle(&self) {
        *self.0.theme.borrow_mut() = Theme::read();
        for chart in self.0.charts.borrow().iter() {
            chart.axis_dirty.set(true);
        }
        self.request();
    }

    fn measure_all(&self) {
        for chart in self.0.charts.borrow().iter() {
            chart.measure();
        }
    }

    /// Holds all charts as they are, or lets them go; data keeps arriving.
    pub fn toggle_pause(&self) {
        let now_ms = self.now_ms();
        let pushed = self.0.stats.get().ring().pushed();
        self.0.view.change(|view| view.toggle_pause(now_ms, pushed));
    }

    /// What time it is on the time axis.
    #[must_use]
    pub fn now_ms(&self) -> f64 {
        platform::now_ms() + self.0.stats.get().clock_offset_ms()
    }

    /// The pointer is over `area` at `client_x`.
    pub fn point(&self, area: &Element, client_x: f64) {
        self.0.linger.take();
        let bounds = area.get_bounding_client_rect();
        let plot = self.plot_in((bounds.width(), bounds.height()));
        let fraction = plot.fraction(client_x - bounds.left());
        self.set_cursor(Some(Cursor::Pointer(fraction)));
    }

    /// Where the line of a metric's chart is, and which time it shows now.
    #[must_use]
    pub fn shown(&self, metric: BuiltIn) -> Option<(Plot, Span)> {
        let stats = self.0.stats.get();
        let charts = self.0.charts.borrow();
        let chart = charts.iter().find(|chart| chart.metric == metric)?;
        Some(self.place_of(chart, &stats.ring()))
    }

    /// The pointer has left.
    pub fn leave(&self) {
        if matches!(self.0.cursor.get(), Some(Cursor::Pointer(_))) {
            self.set_cursor(None);
        }
    }

    /// The finger has left: its read-out stays a little.
    pub fn lift(&self) {
        let stage = self.clone();
        self.0
            .linger
            .replace(Some(Timeout::new(TOUCH_LINGER_MS, move || stage.leave())));
    }

    /// No crosshair, however it came.
    pub fn clear_cursor(&self) {
        self.set_cursor(None);
    }

    /// Moves the crosshair by keyboard; the slider of `metric` says where it is.
    pub fn step(&self, metric: BuiltIn, step: Step) {
        let stats = self.0.stats.get();
        let time = {
            let ring = stats.ring();
            let charts = self.0.charts.borrow();
            let Some(chart) = charts.iter().find(|chart| chart.metric == metric) else {
                return;
            };
            let (_, span) = self.place_of(chart, &ring);
            crosshair::stepped(&ring, &span, self.0.cursor.get(), step)
        };
        let Some(time) = time else {
            return;
        };
        self.set_cursor(Some(Cursor::Sample(time)));
        for chart in self.0.charts.borrow().iter() {
            if chart.metric == metric {
                chart.crosshair.speak(time);
            }
        }
    }

    fn set_cursor(&self, cursor: Option<Cursor>) {
        self.0.cursor.set(cursor);
        let stats = self.0.stats.get();
        let ring = stats.ring();
        for chart in self.0.charts.borrow().iter() {
            let (plot, span) = self.place_of(chart, &ring);
            chart.place_cursor(&ring, &plot, &span, cursor);
        }
    }

    fn plot_in(&self, size: (f64, f64)) -> Plot {
        let range_ms = self.0.view.get().time().length_ms(self.now_ms());
        let scale = self.0.theme.borrow().scale;
        Plot::inside(size, scale, self.0.gutter.px(), range_ms, false)
    }

    /// Where a chart's line is, and which time it shows now.
    fn place_of(&self, chart: &Chart, ring: &Ring) -> (Plot, Span) {
        let (width, height, ratio) = chart.size.get();
        let plot = self.plot_in((width, height));
        let view = self.0.view.get();
        let now = match (view.paused_at, ring.last_time()) {
            (Some(paused_at), _) => paused_at,
            // Steps with the data, and by whole seconds once no data comes.
            (None, Some(newest)) if self.0.reduced_motion.get() => {
                let since = self.now_ms() - newest;
                newest + (since / 1000.0 - 1.0).max(0.0).floor() * 1000.0
            }
            // A newest sample from the future (a clock that is being corrected) is shown.
            (None, newest) => self.now_ms().max(newest.unwrap_or(0.0)),
        };
        let columns = plot.width / column_px(ratio);
        let time = view.time();
        let span = match time.is_live() {
            true => Span::ending(now, time.length_ms(now), columns),
            false => Span::between(time.ends(now)),
        };
        (plot, span)
    }

    fn draw(&self) {
        let stats = self.0.stats.get();
        let ring = stats.ring();
        let theme = self.0.theme.borrow();
        let view = self.0.view.get();
        let paused = view.paused_at.is_some();
        let time = view.time();
        let is_still = paused || !time.is_live();
        let stale = !self.0.connection.get().view.connection.is_live();
        let at = platform::now_ms();
        #[expect(clippy::cast_precision_loss, reason = "an interval is small")]
        let silent_ms = SILENT_INTERVALS * stats.select_interval_ms() as f64;
        let silent_from = ring
            .last_time()
            .filter(|newest| self.now_ms() - newest > silent_ms);
        let before_first = match stats.past(view.range.ms()) {
            // It was here, and had to give way to what came since.
            _ if self.now_ms() - time.from.at(self.now_ms()) > Range::Quarter.ms() => {
                words::NOT_LOADED
            }
            Past::Loading => words::LOADING,
            Past::Failed => words::NOT_LOADED,
            Past::Known => words::NO_DATA,
        };

        let margin = self.0.gutter.px();
        let is_moved = self.0.margin.replace(margin) != margin;
        let mut needed: f64 = 0.0;
        let mut pixel_ms = f64::INFINITY;
        for chart in self.0.charts.borrow().iter() {
            let (width, height, ratio) = chart.size.get();
            if width < 1.0 || height < 1.0 {
                continue;
            }
            needed = needed.max(chart.label_px.get());
            let (plot, span) = self.place_of(chart, &ring);
            if !chart.visible.get() {
                // The crosshair is in all charts or in none; only painting is left out.
                chart.place_cursor(&ring, &plot, &span, self.0.cursor.get());
                continue;
            }
            let columns = plot.width / column_px(ratio);
            pixel_ms = pixel_ms.min(span.length_ms() / columns.max(1.0));
            let mut scene = Scene {
                ring: &ring,
                column: chart.metric.index(),
                span,
                ends: (0.0, 1.0),
                silent_from,
                before_first,
                stale,
            };
            // While paused the axis, too, stays as it is.
            let mut axis = chart.axis.get();
            if axis.fit(at, scene.greatest().unwrap_or(0.0), paused) {
                chart.axis_dirty.set(true);
            }
            chart.axis.set(axis);
            let is_dirty = chart.axis_dirty.replace(false);
            if is_dirty {
                let marks_max = paint::value_marks_max(&plot, &theme);
                *chart.marked.borrow_mut() = axis.marked(marks_max);
            }
            let marked = chart.marked.borrow();
            scene.ends = (marked.low, marked.high);
            if is_dirty || is_moved {
                chart
                    .label_px
                    .set(paint::label_px(&chart.axis_context, &theme, &marked));
            }
            needed = needed.max(chart.label_px.get());

            let surface = |context| Surface {
                context,
                size: (width, height),
                ratio,
                plot,
            };
            if is_dirty || is_moved {
                paint::paint_axis(
                    &surface(&chart.axis_context),
                    &theme,
                    &marked,
                    chart.threshold.as_ref(),
                    chart.note.borrow().as_ref(),
                );
            }
            paint::paint_data(
                &surface(&chart.data_context),
                &theme,
                &scene,
                (chart.threshold.as_ref(), chart.note.borrow().as_ref()),
                &mut chart.brush.borrow_mut(),
            );
            drop(marked);
            chart.place_cursor(&ring, &plot, &span, self.0.cursor.get());
        }
        self.0.gutter.need(needed);
        if self.0.gutter.px() != margin {
            self.request();
        } else if pixel_ms.is_finite() && !is_still {
            self.plan(if self.0.reduced_motion.get() {
                1_000.0
            } else {
                pixel_ms
            });
        }
    }

    /// The next frame is due in `wait_ms`.
    fn plan(&self, wait_ms: f64) {
        if wait_ms < TIMER_FROM_MS {
            self.request();
            return;
        }
        let weak = Rc::downgrade(&self.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of milliseconds below the longest range"
        )]
        let timer = Timeout::new(wait_ms.min(1_000.0) as u32, move || {
            if let Some(inner) = weak.upgrade() {
                Self(inner).request();
            }
        });
        self.0.timer.replace(Some(timer));
    }
}

impl Chart {
    /// Takes the size of the area, and makes the canvases as large in device pixels.
    fn measure(&self) {
        let bounds = self.area.get_bounding_client_rect();
        let ratio = within(window().device_pixel_ratio(), 0.5, 4.0);
        let (width, height) = (bounds.width(), bounds.height());
        if self.size.get() == (width, height, ratio) {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size in pixels"
        )]
        let (across, down) = (
            (width * ratio).round() as u32,
            (height * ratio).round() as u32,
        );
        for canvas in &self.canvases {
            canvas.set_width(across);
            canvas.set_height(down);
        }
        self.size.set((width, height, ratio));
        self.axis_dirty.set(true);
    }

    fn place_cursor(&self, ring: &Ring, plot: &Plot, span: &Span, cursor: Option<Cursor>) {
        let marked = self.marked.borrow();
        let ends = (marked.low, marked.high);
        self.crosshair.place(ring, (plot, span, ends), cursor);
    }
}
