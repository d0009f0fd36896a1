//! The four charts on one time axis.

use std::{cell::Cell, rc::Rc};

use pulseboard_shared::BUILT_IN;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{LiveChart, past::PastFigures, toolbar::use_toolbar};
use crate::{
    chart::stage::Stage,
    hooks::{use_effect_with, use_selector},
    markup::html,
    net::config::Endpoint,
    stores::{connection::ConnectionStore, stats::StatsStore, view::ViewStore},
    words,
};

/// Props of [`Charts`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where they are drawn.
    pub stage: Stage,
    /// Where the backend is, once that is known.
    pub endpoint: Option<Endpoint>,
}

/// The four charts on one time axis, with the choice of range above them.
#[component]
pub fn Charts(Props { stage, endpoint }: &Props) -> Html {
    let view = use_selector(|view: &ViewStore| (view.time(), view.paused_at));
    let stats = use_dispatch::<StatsStore>();
    let connection = use_dispatch::<ConnectionStore>();

    // New figures and a changed connection are drawn without a detour through the virtual DOM.
    use_effect_with(stage.clone(), move |stage| {
        let (one, other) = (stage.clone(), stage.clone());
        let was_live = Cell::new(None);
        let subscriptions = (
            stats.subscribe_silent(move |_| one.draw_now()),
            // What it counts changes with each tick, and is not drawn.
            connection.subscribe_silent(move |store: Rc<ConnectionStore>| {
                let is_live = Some(store.view.connection.is_live());
                if was_live.replace(is_live) != is_live {
                    other.request();
                }
            }),
        );
        move || drop(subscriptions)
    });
    use_effect_with((stage.clone(), *view), |(stage, _)| stage.request());

    let toolbar = use_toolbar(stage);
    html! {
        <section class="page-charts" aria-label={words::CHARTS}>
            <h2 class="visually-hidden">{ words::CHARTS }</h2>
            { toolbar }
            if let Some(endpoint) = endpoint {
                <PastFigures endpoint={endpoint.clone()} />
            }
            <div class="charts">
                { for BUILT_IN.into_iter().map(|metric| html! {
                    <LiveChart {metric} stage={stage.clone()} />
                }) }
            </div>
        </section>
    }
}
