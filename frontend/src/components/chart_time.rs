//! How a chart is told to show another time: by dragging over it, wheel and pinch, and the same
//! with Shift to move along. What is chosen is shown at once, and told when the hand rests.

use gloo::timers::callback::Timeout;
use web_sys::Element;
use yew::prelude::*;

use crate::{
    chart::{
        layout::{Plot, Span},
        scale::within,
    },
    format,
    hooks::use_effect_with,
    markup::html,
    stores::time::TimeRange,
};

/// A shorter drag is a click.
const DRAG_PX: f64 = 6.0;

/// A turn of the wheel by so many pixels halves or doubles what is shown; without a power of two,
/// whose tables would come with the page.
const WHEEL_PX: f64 = 400.0;

/// The wheel and two fingers rest after so long.
const REST_MS: u32 = 250;

/// What a drag does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drag {
    /// From here on something is selected: pixels from the left edge of the chart.
    Select { from: f64, to: f64 },
    /// What is shown is moved along; where that began, and what was shown then.
    Move { from: f64, span: Span },
    /// Two fingers: how far they were from each other, where their middle was, what was shown then.
    Pinch { apart: f64, middle: f64, span: Span },
}

/// What a chart needs to know of it.
pub(super) struct ChartTime {
    /// What is shown while the hand does not rest.
    pub(super) span: Option<Span>,
    /// What is selected, pixels from the left edge of the chart and how wide.
    pub(super) selected: Option<(f64, f64)>,
    /// A button or finger went down.
    pub(super) on_down: Callback<PointerEvent>,
    /// It moved; the chart reads figures only where this does nothing.
    pub(super) on_move: Callback<PointerEvent>,
    /// It was lifted or lost.
    pub(super) on_up: Callback<PointerEvent>,
    /// The wheel turned.
    pub(super) on_wheel: Callback<WheelEvent>,
    /// Back to what goes on with the clock.
    pub(super) on_double: Callback<MouseEvent>,
}

/// Tells both.
pub(super) fn both(
    one: &Callback<PointerEvent>,
    other: &Callback<PointerEvent>,
) -> Callback<PointerEvent> {
    let (one, other) = (one.clone(), other.clone());
    Callback::from(move |event: PointerEvent| {
        one.emit(event.clone());
        other.emit(event);
    })
}

impl ChartTime {
    /// What is selected, as it is seen.
    pub(super) fn selection(&self) -> Option<Html> {
        let (left, width) = self.selected?;
        Some(html! {
            <svg class="chart__selection" width="100%" height="100%" aria-hidden="true" focusable="false">
                <rect x={format::fixed(left, 0)} width={format::fixed(width, 0)} height="100%" />
            </svg>
        })
    }
}

/// Where each finger is.
type Fingers = Vec<(i32, f64)>;

fn middle_and_apart(fingers: &Fingers) -> Option<(f64, f64)> {
    match fingers.as_slice() {
        [(_, one), (_, other)] => Some(((one + other) / 2.0, (one - other).abs().max(8.0))),
        _ => None,
    }
}

/// `span` as two fingers have pulled it: what was under their middle stays there.
fn pinched(span: Span, plot: &Plot, from: (f64, f64), to: (f64, f64)) -> Span {
    let length = span.length_ms() * from.1 / to.1;
    let under = span.at_fraction(plot.fraction(from.0));
    let from_ms = under - plot.fraction(to.0) * length;
    Span::between((from_ms, from_ms + length))
}

/// Watches what is done to the chart in `area`, which shows `span`; `on_time` hears of another
/// time, and without it nothing is done.
#[hook]
pub(super) fn use_chart_time(
    area: &NodeRef,
    plot: &std::rc::Rc<std::cell::RefCell<Plot>>,
    now: (Span, TimeRange, f64),
    on_time: &Option<Callback<TimeRange>>,
) -> ChartTime {
    let (span, time, now_ms) = now;
    let drag = use_state_eq(|| None::<Drag>);
    let held = use_state_eq(|| None::<Span>);
    let fingers = use_mut_ref(Fingers::new);
    let rest = use_mut_ref(|| None::<Timeout>);
    {
        let held = held.setter();
        use_effect_with(time, move |_| held.set(None));
    }
    let shown = held.unwrap_or(span);
    let x_of = {
        let area = area.clone();
        move |client_x: i32| {
            let area = area.cast::<Element>();
            area.map(|area| f64::from(client_x) - area.get_bounding_client_rect().left())
        }
    };
    let tell = {
        let (on_time, held) = (on_time.clone(), held.setter());
        move |span: Span| {
            let next = TimeRange::settled(span.from_ms, span.to_ms, now_ms).checked(now_ms);
            match (next, &on_time) {
                (Some(next), Some(on_time)) if next != time => on_time.emit(next),
                _ => held.set(None),
            }
        }
    };
    let tell_at_rest = {
        let (rest, tell) = (rest.clone(), tell.clone());
        move |span: Span| {
            let tell = tell.clone();
            *rest.borrow_mut() = Some(Timeout::new(REST_MS, move || tell(span)));
        }
    };
    let is_on = on_time.is_some();
    let on_down = {
        let (drag, fingers, x_of) = (drag.setter(), fingers.clone(), x_of.clone());
        let area = area.clone();
        Callback::from(move |event: PointerEvent| {
            let Some(x) = x_of(event.client_x()).filter(|_| is_on) else {
                return;
            };
            if event.pointer_type() == "touch" {
                let mut fingers = fingers.borrow_mut();
                fingers.retain(|(id, _)| *id != event.pointer_id());
                fingers.truncate(1);
                fingers.push((event.pointer_id(), x));
                if let Some((middle, apart)) = middle_and_apart(&fingers) {
                    drag.set(Some(Drag::Pinch {
                        apart,
                        middle,
                        span: shown,
                    }));
                }
                return;
            }
            if event.button() != 0 {
                return;
            }
            drag.set(Some(match event.shift_key() {
                true => Drag::Move {
                    from: x,
                    span: shown,
                },
                false => Drag::Select { from: x, to: x },
            }));
            if let Some(area) = area.cast::<Element>() {
                // Fails only for a pointer that is gone.
                drop(area.set_pointer_capture(event.pointer_id()));
            }
        })
    };
    let on_move = {
        let (drag, held, fingers) = (drag.clone(), held.setter(), fingers.clone());
        let plot = plot.clone();
        Callback::from(move |event: PointerEvent| {
            let Some(x) = x_of(event.client_x()) else {
                return;
            };
            match *drag {
                Some(Drag::Select { from, .. }) => drag.set(Some(Drag::Select { from, to: x })),
                Some(Drag::Move { from, span }) => {
                    let width = plot.borrow().width.max(1.0);
                    let by = (from - x) / width * span.length_ms();
                    held.set(Some(Span::between((span.from_ms + by, span.to_ms + by))));
                }
                Some(Drag::Pinch {
                    apart,
                    middle,
                    span,
                }) => {
                    let mut fingers = fingers.borrow_mut();
                    let own = fingers.iter_mut().find(|(id, _)| *id == event.pointer_id());
                    if let Some(own) = own {
                        own.1 = x;
                    }
                    if let Some(now) = middle_and_apart(&fingers) {
                        held.set(Some(pinched(span, &plot.borrow(), (middle, apart), now)));
                    }
                }
                None => {}
            }
        })
    };
    let on_up = {
        let (drag, held, plot, tell) = (drag.clone(), held.clone(), plot.clone(), tell.clone());
        Callback::from(move |event: PointerEvent| {
            fingers
                .borrow_mut()
                .retain(|(id, _)| *id != event.pointer_id());
            match *drag {
                Some(Drag::Select { from, to }) if (to - from).abs() >= DRAG_PX => {
                    let plot = plot.borrow();
                    let ends = (from.min(to), from.max(to));
                    let at = |x: f64| shown.at_fraction(plot.fraction(x));
                    let next = Span::between((at(ends.0), at(ends.1)));
                    held.set(Some(next));
                    tell(next);
                }
                Some(Drag::Move { .. } | Drag::Pinch { .. }) => {
                    if let Some(next) = *held {
                        tell(next);
                    }
                }
                _ => {}
            }
            drag.set(None);
        })
    };
    let on_wheel = {
        let (held, area, plot) = (held.setter(), area.clone(), plot.clone());
        Callback::from(move |event: WheelEvent| {
            // The wheel alone moves the page; two fingers on a pad are a wheel with Control.
            let is_for_time = event.ctrl_key() || event.shift_key() || event.meta_key();
            let area = area.cast::<Element>().filter(|_| is_on && is_for_time);
            let Some(area) = area else {
                return;
            };
            event.prevent_default();
            let plot = plot.borrow();
            let x = f64::from(event.client_x()) - area.get_bounding_client_rect().left();
            let turned = match event.delta_y() == 0.0 {
                true => event.delta_x(),
                false => event.delta_y(),
            };
            let factor = within(turned / WHEEL_PX, -3.0, 3.0);
            let factor = match factor > 0.0 {
                true => 1.0 + factor,
                false => 1.0 / (1.0 - factor),
            };
            let apart = 100.0;
            let next = pinched(shown, &plot, (x, apart), (x, apart / factor));
            held.set(Some(next));
            tell_at_rest(next);
        })
    };
    let on_double = {
        let on_time = on_time.clone();
        Callback::from(move |_: MouseEvent| {
            if let Some(on_time) = on_time.as_ref().filter(|_| !time.is_live()) {
                on_time.emit(TimeRange::last(time.length_ms(now_ms)));
            }
        })
    };
    let selected = match *drag {
        Some(Drag::Select { from, to }) if (to - from).abs() >= DRAG_PX => {
            Some((from.min(to), (to - from).abs()))
        }
        _ => None,
    };
    ChartTime {
        span: *held,
        selected,
        on_down,
        on_move,
        on_up,
        on_wheel,
        on_double,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_fingers_stays_there() {
        let plot = Plot {
            left: 0.0,
            width: 100.0,
            ..Plot::default()
        };
        let span = Span::between((0.0, 1_000.0));
        let closer = pinched(span, &plot, (50.0, 20.0), (50.0, 40.0));
        assert_eq!((closer.from_ms, closer.to_ms), (250.0, 750.0));
        let moved = pinched(span, &plot, (50.0, 20.0), (40.0, 20.0));
        assert_eq!((moved.from_ms, moved.to_ms), (100.0, 1_100.0));
    }
}
