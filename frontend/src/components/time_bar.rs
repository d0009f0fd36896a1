//! Which time is shown: the usual ranges.

use yew::prelude::*;

use super::segments::segments;
use crate::{
    stores::time::{RANGES, TimeRange},
    words,
};

/// The choice of the time that is shown.
pub(crate) fn time_bar(time: TimeRange, on_time: &Callback<TimeRange>) -> Html {
    let on_time = on_time.clone();
    let on_choose = Callback::from(move |index: usize| {
        let (_, _, ms) = RANGES[index.min(RANGES.len() - 1)];
        on_time.emit(TimeRange::last(ms));
    });
    let labels = RANGES.map(|range| range.1);
    segments(
        words::TIME_SHOWN,
        "time-shown",
        &labels,
        time.known(),
        &on_choose,
    )
}
