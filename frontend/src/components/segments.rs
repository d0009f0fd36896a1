//! A choice of one among few, shown as a row of segments; radio buttons underneath, so that
//! arrow keys and screen readers know what it is.

use yew::prelude::*;

/// Props of [`Segments`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// What is chosen, for screen readers.
    pub legend: AttrValue,
    /// Keeps the buttons of different choices apart.
    pub name: AttrValue,
    /// Labels, in order.
    pub labels: Vec<AttrValue>,
    /// Which one is chosen.
    pub chosen: usize,
    /// Another one was chosen.
    pub on_choose: Callback<usize>,
}

/// See the module.
#[component]
pub fn Segments(props: &Props) -> Html {
    let option = |(index, label): (usize, &AttrValue)| {
        let on_choose = props.on_choose.clone();
        html! {
            <label class="segments__option" key={index}>
                <input
                    class="segments__input visually-hidden"
                    type="radio"
                    name={props.name.clone()}
                    checked={index == props.chosen}
                    onchange={move |_| on_choose.emit(index)}
                />
                <span class="segments__label">{ label.clone() }</span>
            </label>
        }
    };
    html! {
        <fieldset class="segments">
            <legend class="visually-hidden">{ props.legend.clone() }</legend>
            { for props.labels.iter().enumerate().map(option) }
        </fieldset>
    }
}
