//! Rows of a list stand one below the other by `transform` and not by layout: those that change
//! their places slide there, and what is about to be clicked does not jump. For a browser nothing
//! moves at all, so nothing else of the page is laid out anew.

use gloo::utils::window;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{HtmlElement, ResizeObserver};
use yew::prelude::*;

use super::use_effect_with;
use crate::format;

/// Puts the children of `list` in their places after each rendering, and whenever the list becomes
/// wider or narrower. The style sheet has them lie at the top with a `row-gap` between two.
#[hook]
pub fn use_stack(list: &NodeRef, shown: bool) {
    {
        let list = list.clone();
        use_effect(move || place(&list));
    }
    let list = list.clone();
    use_effect_with(shown, move |_| {
        let placed = list.clone();
        let on_resize = Closure::<dyn FnMut()>::new(move || place(&placed));
        let observer = ResizeObserver::new(on_resize.as_ref().unchecked_ref()).ok();
        if let (Some(observer), Some(list)) = (&observer, list.cast::<HtmlElement>()) {
            observer.observe(&list);
        }
        move || {
            if let Some(observer) = observer {
                observer.disconnect();
            }
            drop(on_resize);
        }
    });
}

fn place(list: &NodeRef) {
    let Some(list) = list.cast::<HtmlElement>() else {
        return;
    };
    let style = window().get_computed_style(&list).ok().flatten();
    let gap = style.and_then(|style| style.get_property_value("row-gap").ok());
    let gap = gap.and_then(|gap| gap.strip_suffix("px")?.parse::<u32>().ok());
    let gap = f64::from(gap.unwrap_or_default());
    let pixels = |length: f64| format!("{}px", format::fixed(length, 2));

    // All are measured before the first is moved: each look after a change is a layout.
    let mut rows = Vec::new();
    let mut next = list.first_element_child();
    let mut top = 0.0;
    while let Some(row) = next {
        next = row.next_element_sibling();
        if let Ok(row) = row.dyn_into::<HtmlElement>() {
            let height = row.get_bounding_client_rect().height();
            rows.push((row, top));
            top += height + gap;
        }
    }
    // These fail only for what is no property.
    for (row, top) in &rows {
        let transform = format!("translateY({})", pixels(*top));
        drop(row.style().set_property("transform", &transform));
    }
    drop(
        list.style()
            .set_property("height", &pixels((top - gap).max(0.0))),
    );
}
