//! The top of every view: name, views, state, chat, who the reader is, theme.

use wasm_bindgen::JsCast;
use web_sys::HtmlElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    chat_button::use_chat_button, connection_status::use_connection_status, segments::segments,
};
use crate::{
    hooks::{THEME_KEY, forget_answers, use_effect_with, use_selector},
    markup::html,
    net::{config::Endpoint, fetch},
    platform,
    stores::{
        aggregate::Aggregate,
        alert::{AlertStore, ONGOING_MAX},
        change::Change,
        chat::ChatStore,
        operator::OperatorStore,
        session::SessionStore,
        view::{Overlay, Page, ThemeChoice, ViewStore},
    },
    words,
};

/// Props of [`PageHeader`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is, once that is known.
    pub endpoint: Option<Endpoint>,
}

/// Brings the link of what is shown into sight, where a list of links has not room for all.
pub fn show_current(nav: &NodeRef) {
    let nav = nav.cast::<HtmlElement>();
    let link = nav
        .as_ref()
        .and_then(|nav| nav.query_selector("[aria-current]").ok()?);
    if let (Some(nav), Some(link)) = (
        nav,
        link.and_then(|link| link.dyn_into::<HtmlElement>().ok()),
    ) {
        nav.set_scroll_left(link.offset_left() - nav.offset_left() - nav.offset_width() / 3);
    }
}

/// The views, as links: they can be opened in another tab and bookmarked. Where they have not all
/// room, the one that is shown is in sight.
#[hook]
fn use_views(shown: Page) -> Html {
    let nav = use_node_ref();
    {
        let nav = nav.clone();
        use_effect_with(shown, move |_| {
            show_current(&nav);
        });
    }
    html! {
        <nav ref={nav} class="views" aria-label="Views">
            { for Page::ALL.into_iter().map(|page| html! {
                <a
                    key={page.hash()}
                    class="views__link"
                    href={platform::with_hash(page.hash())}
                    aria-current={(page == shown).then_some("page")}
                >
                    { page.label() }
                </a>
            }) }
        </nav>
    }
}

/// Logging in and out, for whom that makes a difference.
#[hook]
fn use_session_button(endpoint: &Option<Endpoint>) -> Html {
    let session = use_selector(|store: &SessionStore| store.session().cloned());
    let shown = *use_selector(SessionStore::login_shown);
    let dispatch = use_dispatch::<SessionStore>();
    let (operator, chat) = (use_dispatch::<OperatorStore>(), use_dispatch::<ChatStore>());
    let aggregate = use_dispatch::<Aggregate>();
    let (Some(session), Some(endpoint)) = (&*session, endpoint.clone()) else {
        return Html::default();
    };
    if session.anonymous {
        // Who may do everything without a token has no use for one.
        if session.role.administers() || shown {
            return Html::default();
        }
        let onclick = move |_: MouseEvent| dispatch.change(|store| store.ask(true));
        return html! { <button class="button" type="button" {onclick}>{ words::LOG_IN }</button> };
    }
    let onclick = move |_: MouseEvent| {
        // The next one at this screen shall not read what was said to the one before.
        operator.set(OperatorStore::default());
        chat.set(ChatStore::default());
        aggregate.set(Aggregate::default());
        forget_answers();
        let (endpoint, dispatch) = (endpoint.clone(), dispatch.clone());
        wasm_bindgen_futures::spawn_local(async move {
            // Without an answer the cookie stays; the next look at the session tells.
            drop(fetch::call(&endpoint, "/api/logout", Some("{}")).await);
            fetch::keep_token(&endpoint, None);
            dispatch.change(SessionStore::log_out);
        });
    };
    html! {
        <button class="button" type="button" title={format!("Logged in as {}", session.role)} {onclick}>
            { "Log out" }
        </button>
    }
}

/// How many alerts fire, on every view; it leads to them.
#[hook]
fn use_bell() -> Html {
    let count = *use_selector(AlertStore::select_ongoing);
    let is_deaf = *use_selector(AlertStore::select_listening) == Some(false);
    let words = match count {
        0 if is_deaf => words::DEAF.to_owned(),
        // What is seen on the button is said, too.
        count if is_deaf => format!("{}: {count}", words::DEAF),
        0 => "No alert fires".to_owned(),
        1 => "1 alert fires".to_owned(),
        ONGOING_MAX.. => "1000 alerts or more fire".to_owned(),
        count => words::alerts_fire(count),
    };
    html! {
        <a
            class={classes!("button", "bell", (count > 0).then_some("is-ringing"), is_deaf.then_some("is-deaf"))}
            href={platform::with_hash(Page::Alerts.hash())}
            aria-label={words.clone()}
            title={words}
        >
            <svg class="button__icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                <path d="M12 2a7 7 0 0 0-7 7c0 5-2 7-2 8h18c0-1-2-3-2-8a7 7 0 0 0-7-7zm-3 17a3 3 0 0 0 6 0z" />
            </svg>
            if count > 0 {
                <span class="bell__count">{ count.to_string() }</span>
            }
        </a>
    }
}

/// The top of every view: name, views, state, chat, who the reader is, theme.
#[component]
pub fn PageHeader(Props { endpoint }: &Props) -> Html {
    let critical = *use_selector(AlertStore::select_critical);
    let locked = *use_selector(SessionStore::is_locked);
    let (theme, page) = *use_selector(|view: &ViewStore| (view.theme, view.page));
    let dispatch = use_dispatch::<ViewStore>();
    let on_help = {
        let dispatch = dispatch.clone();
        move |_: MouseEvent| dispatch.change(|view| view.overlay = Overlay::Help)
    };
    let on_theme = Callback::from(move |index: usize| {
        let choice = ThemeChoice::ALL.get(index).copied().unwrap_or_default();
        platform::remember(THEME_KEY, choice.key());
        dispatch.change(|view| view.theme = choice);
    });
    let status = use_connection_status();
    let views = use_views(page);
    let bell = use_bell();
    let chat = use_chat_button();
    let session = use_session_button(endpoint);
    html! {
        <header class="page-header">
            <div class="brand">
                <svg class="brand__mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
                    <rect x="1" y="1" width="30" height="30" rx="8" />
                    <path d="M6 17h5l3-8 5 14 3-6h4" />
                </svg>
                <h1>{ "Live Dashboard" }</h1>
                <span class="brand__name">{ words::PRODUCT }</span>
            </div>
            { views }
            <div class="page-header__state">
                if critical > 0 {
                    <span class="critical-badge">{ format!("{critical} Critical") }</span>
                }
                { status }
            </div>
            <div class="page-header__tools">
                if !locked {
                    { bell }
                    { chat }
                }
                { session }
                <button class="button" type="button" aria-label={words::HELP} title={words::HELP} onclick={on_help}>{ "?" }</button>
            </div>
            <div class="theme-switch">
                { segments(
                    words::THEME,
                    "theme",
                    &ThemeChoice::ALL.map(ThemeChoice::label),
                    ThemeChoice::ALL.iter().position(|choice| *choice == theme),
                    &on_theme,
                ) }
            </div>
        </header>
    }
}
