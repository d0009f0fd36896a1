//! The application: stores, stage, settings, page.

use std::rc::Rc;

use pulseboard_shared::limits;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    chart::stage::Stage,
    components::{Connected, Notices, PageFooter, PageHeader, problem_panel},
    hooks::{
        ConfigState, THEME_KEY, use_config, use_effect_with, use_keys, use_page, use_selector,
        use_theme,
    },
    late::{self, Address, Late, Part, use_late},
    markup::html,
    net::{
        boot,
        feed::{Connection, View},
    },
    pages::overview,
    platform,
    stores::{
        alert::AlertStore,
        change::Change,
        chat::ChatStore,
        connection::ConnectionStore,
        session::SessionStore,
        stats::StatsStore,
        view::{Overlay, Page, RANGE_KEY, Range, ThemeChoice, ViewStore},
    },
};

/// The whole page. The stores are yewdux's own of this thread: there is one page.
#[component]
pub fn App() -> Html {
    let view = use_dispatch::<ViewStore>();
    let stats = use_dispatch::<StatsStore>();
    let connection = use_dispatch::<ConnectionStore>();
    let lost = connection.clone();
    let session = use_dispatch::<SessionStore>();
    let start = use_memo((), move |()| {
        // Before anybody subscribes: what the page brings along, and what the reader chose the
        // last time.
        let boot = boot::load();
        if let Some(known) = boot.session {
            session.change(|store| store.learn(known));
        }
        if let Some(ticks) = &boot.ticks {
            let (update, offset_ms) = ticks.update();
            stats.change(|store| store.apply(vec![update], offset_ms));
        }
        view.change(|view| {
            view.theme = platform::remembered(THEME_KEY)
                .and_then(|key| ThemeChoice::from_key(&key))
                .unwrap_or_default();
            view.range = platform::remembered(RANGE_KEY)
                .and_then(|key| Range::from_key(&key))
                .unwrap_or_default();
        });
        (Stage::new(stats, view, connection), boot.config)
    });
    let (stage, brought) = &*start;
    use_theme(stage);
    use_title();
    use_page();
    use_keys(stage);
    let view = use_selector(|view: &ViewStore| {
        let address = Address {
            place: Rc::clone(&view.place),
            asked: Rc::clone(&view.asked),
        };
        (view.page, address)
    });
    let (page, address) = (view.0, &view.1);
    let (locked, settled, identity) = *use_selector(|store: &SessionStore| {
        (store.is_locked(), store.is_settled(), store.identity())
    });
    let sourceless = *use_selector(|store: &ConnectionStore| store.view.sourceless);
    let talking = *use_selector(ChatStore::is_listening);
    let config = use_config(brought.as_ref());

    // Settings that cannot be used mean no connection, and none on the way.
    let unusable = matches!(config, ConfigState::Failed(_));
    use_effect_with(unusable, move |unusable| {
        if *unusable {
            let connection = Connection::Lost {
                attempt: 0,
                retry_in_s: None,
                lost_s: 0,
            };
            lost.change(|store| {
                store.show(View {
                    connection,
                    ..View::default()
                })
            });
        }
    });

    let endpoint = match &config {
        ConfigState::Ready(endpoint) => Some(endpoint.clone()),
        _ => None,
    };
    let connection = match config {
        ConfigState::Loading => Html::default(),
        ConfigState::Ready(endpoint) => html! { <Connected {endpoint} /> },
        ConfigState::Failed(error) => problem_panel(error.what(), error.fix(), None),
    };
    // What may be asked: nothing before it is known whether there is a login.
    let asked_of = endpoint.as_ref().filter(|_| settled && !locked);
    let notices = asked_of.map(|endpoint| {
        let refusals = matches!(page, Page::Explore | Page::Aggregate);
        html! { <Notices key={identity} endpoint={endpoint.clone()} {refusals} /> }
    });
    let overlay = *use_selector(|view: &ViewStore| view.overlay);
    let is_over = overlay != Overlay::None;
    let needed = asked_of.is_some() && (page != Page::Overview || is_over || talking);
    let (late, retry) = use_late(needed, asked_of.is_some());
    let is_ready = late == Late::Ready;
    let view = match asked_of {
        // Before a login there is nothing to see, and nothing that could be asked for.
        _ if locked => Html::default(),
        endpoint if page == Page::Overview => overview(stage, endpoint, sourceless, identity),
        None => Html::default(),
        Some(endpoint) if is_ready => {
            late::draw(Part::View(page, address.clone()), endpoint, identity)
        }
        Some(_) => late::waiting(late, &retry),
    };
    // What was opened over the overview, and cannot be had.
    let missing = (page == Page::Overview && needed && late == Late::Failed)
        .then(|| late::waiting(late, &retry));
    let over = |part| {
        let endpoint = asked_of.filter(|_| is_ready)?;
        Some(late::draw(part, endpoint, identity))
    };
    let chat = talking.then(|| over(Part::Chat));
    let overlays = over(Part::Overlays);
    let watch = over(Part::Watch);
    html! {
        <>
            <PageHeader endpoint={endpoint.clone()} />
            <main class={classes!("page-main", locked.then_some("is-locked"))}>
                { connection }
                { notices }
                { watch }
                { missing }
                { view }
            </main>
            { chat }
            <PageFooter />
            { overlays }
        </>
    }
}

/// The tab says how many incidents are critical, for those who look elsewhere.
#[hook]
fn use_title() {
    let critical = *use_selector(AlertStore::select_critical);
    use_effect_with(critical, |critical| {
        let count = (*critical).min(limits::ALERTS_SHOWN_MAX);
        let title = if count == 0 {
            "Live Dashboard · Pulseboard".to_owned()
        } else {
            format!("({count}) Live Dashboard · Pulseboard")
        };
        gloo::utils::document().set_title(&title);
    });
}
