//! A choice of one among few, shown as a row of segments; radio buttons underneath, so that
//! arrow keys and screen readers know what it is.

use yew::prelude::*;

use crate::markup::html;

/// The row of `labels`, of which number `chosen` is chosen. `legend` says what is chosen to
/// screen readers, `name` keeps the buttons of different choices apart.
pub(crate) fn segments(
    legend: &'static str,
    name: &'static str,
    labels: &[&'static str],
    chosen: Option<usize>,
    on_choose: &Callback<usize>,
) -> Html {
    let option = |(index, label): (usize, &&'static str)| {
        let on_choose = on_choose.clone();
        html! {
            <label class="segments__option" key={index}>
                <input
                    class="segments__input visually-hidden"
                    type="radio"
                    {name}
                    checked={chosen == Some(index)}
                    onchange={move |_| on_choose.emit(index)}
                />
                <span class="segments__label">{ *label }</span>
            </label>
        }
    };
    html! {
        <fieldset class="segments">
            <legend class="visually-hidden">{ legend }</legend>
            { for labels.iter().enumerate().map(option) }
        </fieldset>
    }
}
