//! How much time the charts show; remembered.

use yew::prelude::*;
use yewdux::prelude::{use_dispatch, use_selector};

use super::Segments;
use crate::{
    app::RANGE_KEY,
    platform,
    stores::view::{Range, ViewStore},
};

/// See the module.
#[component]
pub fn RangeSwitch() -> Html {
    let chosen = *use_selector(|view: &ViewStore| view.range);
    let dispatch = use_dispatch::<ViewStore>();
    let on_choose = use_callback(dispatch, |index: usize, dispatch| {
        let range = Range::ALL.get(index).copied().unwrap_or_default();
        platform::remember(RANGE_KEY, range.key());
        dispatch.reduce_mut(|view| view.range = range);
    });
    html! {
        <Segments
            legend="Time shown"
            name="range"
            labels={Range::ALL.map(|range| AttrValue::from(range.label())).to_vec()}
            chosen={Range::ALL.iter().position(|range| *range == chosen).unwrap_or(0)}
            {on_choose}
        />
    }
}
