//! What lies over the page when it is asked for: help with the reader's choices, and the palette of
//! commands.

use gloo::utils::document;
use wasm_bindgen::JsCast;
use web_sys::{HtmlDialogElement, HtmlElement, HtmlInputElement};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::segments::segments;
use crate::{
    format,
    hooks::{KEYS_KEY, THEME_KEY, use_answer, use_effect_with, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        series::Series,
    },
    platform,
    preferences::{choose_hours, choose_zone},
    stores::{
        change::Change,
        time::RANGES,
        view::{Overlay, Page, ThemeChoice, ViewStore, time_hash},
    },
    words,
};

/// Which version the page is.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Series that the palette offers.
const SERIES_MAX: usize = 8;

/// Keys and what they do.
const KEYS: [(&str, &str); 18] = [
    ("?", "This help"),
    ("Ctrl K", "Find a view, a series or a command"),
    ("/", "Search all series, in Explore"),
    ("Space", "Pause, and go on"),
    ("1 … 9", "5 min to 2 y; on the overview 1, 5 and 15 min"),
    ("0  L", words::BACK_TO_LIVE),
    ("[  ]", "Earlier, later"),
    ("+  −", "Zoom in, zoom out"),
    ("Ctrl Z", "The time or view before; with Shift the next"),
    (
        "g, then o l e h t a p",
        "Overview, Alerts, Explore, Hosts, Targets, Aggregate, Operator",
    ),
    ("J  K, Enter", "Next and previous alert, open it"),
    (
        "A  S",
        "Acknowledge or silence the alert that has the focus",
    ),
    ("← →", "Read figures of a chart that has the focus"),
    ("Drag", "Zoom to a part of a chart"),
    ("Shift drag", "Move along"),
    ("Ctrl wheel, pinch", "Zoom around the pointer"),
    ("Double click", words::BACK_TO_LIVE),
    ("Enter, Tab", "Ask an expression, take a completion"),
];

/// Props of [`Overlays`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// Help or palette, whichever is open.
#[component]
pub fn Overlays(Props { endpoint }: &Props) -> Html {
    let overlay = *use_selector(|view: &ViewStore| view.overlay);
    let dialog = use_node_ref();
    let dispatch = use_dispatch::<ViewStore>();
    {
        let dialog = dialog.clone();
        use_effect_with(overlay, move |overlay| {
            if let Some(dialog) = dialog.cast::<HtmlDialogElement>() {
                if *overlay == Overlay::None {
                    dialog.close();
                } else if !dialog.open() {
                    // Fails only for what is not in the page.
                    drop(dialog.show_modal());
                }
            }
        });
    }
    let onclose = move |_: Event| dispatch.change(|view| view.overlay = Overlay::None);
    let (label, shown) = match overlay {
        Overlay::Help => (
            words::HELP,
            yew::html! { <Help endpoint={endpoint.clone()} /> },
        ),
        Overlay::Palette => (
            words::COMMANDS,
            yew::html! { <Palette endpoint={endpoint.clone()} /> },
        ),
        Overlay::None => ("", Html::default()),
    };
    html! {
        <dialog ref={dialog} class="overlay" aria-label={label} {onclose}>{ shown }</dialog>
    }
}

/// Keys, choices, where to read more, and which version this is.
#[component]
fn Help(Props { endpoint }: &Props) -> Html {
    let dispatch = use_dispatch::<ViewStore>();
    let health = use_answer(endpoint, "/healthz".into(), 0, 0);
    let redraw = use_force_update();
    let is_unknown = use_state_eq(|| false);
    // What is typed. Kept here, since a field shows what it is given whenever it is drawn anew,
    // which the answer of the server and a tick may bring about.
    let zone = use_state_eq(platform::zone_name);
    let version = health.json.clone().unwrap_or_default();
    let server = version.text_of("version").to_owned();
    let row = |(key, what): &(&'static str, &'static str)| {
        html! { <tr><th scope="row"><kbd>{ *key }</kbd></th><td>{ *what }</td></tr> }
    };
    let told = {
        let (dispatch, redraw) = (dispatch.clone(), redraw);
        move || {
            dispatch.change(|view| view.clocks += 1);
            redraw.force_update();
        }
    };
    let on_zone = {
        let (told, is_unknown) = (told.clone(), is_unknown.setter());
        move |event: Event| {
            let field = event.target_unchecked_into::<HtmlInputElement>();
            is_unknown.set(!choose_zone(field.value().trim()));
            told();
        }
    };
    let oninput = {
        let zone = zone.setter();
        move |event: InputEvent| {
            zone.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    let on_hours = {
        let told = told.clone();
        Callback::from(move |index: usize| {
            choose_hours(index == 1);
            told();
        })
    };
    let theme = *use_selector(|view: &ViewStore| view.theme);
    let on_theme = {
        let dispatch = dispatch.clone();
        Callback::from(move |index: usize| choose_theme(&dispatch, index))
    };
    let on_keys = Callback::from(move |index: usize| {
        platform::remember(KEYS_KEY, if index == 1 { "off" } else { "on" });
        told();
    });
    let is_off = platform::remembered(KEYS_KEY).as_deref() == Some("off");
    let (docs, readme) = (endpoint.http("/docs"), endpoint.http("/docs/README.md"));
    let onclick = move |_: MouseEvent| dispatch.change(|view| view.overlay = Overlay::None);
    html! {
        <div class="help">
            <div class="help__head">
                <h2>{ words::HELP }</h2>
                <button class="button" type="button" {onclick}>{ words::CLOSE }</button>
            </div>
            <div class="help__parts">
                <table>
                    <caption class="visually-hidden">{ "Keys" }</caption>
                    <tbody>{ for KEYS.iter().map(row) }</tbody>
                </table>
                <div class="help__choices">
                    <label class="field">
                        <span class="field__label">{ "Time zone, such as UTC or Europe/Berlin; empty: the browser's" }</span>
                        <input
                            class="field__input"
                            value={(*zone).clone()}
                            placeholder="As the browser has it"
                            aria-invalid={is_unknown.then_some("true")}
                            {oninput}
                            onchange={on_zone}
                        />
                    </label>
                    if *is_unknown {
                        <p class="expression__problem" role="alert">{ "The browser knows no zone of this name" }</p>
                    }
                    { segments(
                        words::THEME,
                        "theme-choice",
                        &ThemeChoice::ALL.map(ThemeChoice::label),
                        ThemeChoice::ALL.iter().position(|choice| *choice == theme),
                        &on_theme,
                    ) }
                    { segments("Hours", "hours", &["24 h clock", "12 h clock"],
                        Some(usize::from(format::has_twelve_hours())), &on_hours) }
                    { segments("Single keys", "keys", &["Keys on", "Keys off"], Some(usize::from(is_off)), &on_keys) }
                    <p class="help__links">
                        <a href={readme}>{ "README: how it is run and fed" }</a>
                        <a href={docs}>{ "Description of the API" }</a>
                    </p>
                    <p class="help__version">
                        { [words::PRODUCT, " ", VERSION].concat() }
                        if !server.is_empty() && server != VERSION {
                            { [", the server is ", &server].concat() }
                        }
                    </p>
                </div>
            </div>
        </div>
    }
}

/// Remembers a theme and shows it.
fn choose_theme(dispatch: &Dispatch<ViewStore>, index: usize) {
    let choice = ThemeChoice::ALL.get(index).copied().unwrap_or_default();
    platform::remember(THEME_KEY, choice.key());
    dispatch.change(|view| view.theme = choice);
}

/// What the palette can do.
#[derive(Clone, PartialEq)]
enum Act {
    Go(String),
    Theme(ThemeChoice),
    Help,
}

/// Everything that fits what was typed: views, ranges, themes, and series by name.
fn commands(typed: &str) -> Vec<(String, Act)> {
    let mut all = Vec::new();
    for page in Page::ALL {
        all.push((page.label().to_owned(), Act::Go(page.hash().to_owned())));
    }
    for (_, label, ms) in RANGES {
        let time = crate::stores::time::TimeRange::last(ms);
        let hash = time_hash(&platform::hash(), time);
        all.push((["Show the last ", label].concat(), Act::Go(hash)));
    }
    for theme in ThemeChoice::ALL {
        all.push((["Theme: ", theme.label()].concat(), Act::Theme(theme)));
    }
    all.push((words::HELP.to_owned(), Act::Help));
    let typed = typed.to_ascii_lowercase();
    all.retain(|(label, _)| {
        let label = label.to_ascii_lowercase();
        typed.split_whitespace().all(|word| label.contains(word))
    });
    all
}

/// A field, and what fits.
#[component]
fn Palette(Props { endpoint }: &Props) -> Html {
    let typed = use_state_eq(String::new);
    let active = use_state_eq(|| 0_usize);
    let dispatch = use_dispatch::<ViewStore>();
    let field = use_node_ref();
    {
        let field = field.clone();
        use_effect_with((), move |()| {
            if let Some(field) = field.cast::<HtmlElement>() {
                // Fails only for what cannot be focused.
                drop(field.focus());
            }
        });
    }
    let path = match typed.trim() {
        "" => String::new(),
        typed => format!(
            "/api/series?limit={SERIES_MAX}&search={}",
            encode_query(typed)
        ),
    };
    let answer = use_answer(endpoint, path.clone().into(), 0, 0);
    let json = answer.json.filter(|_| *answer.path == *path);
    let json = json.unwrap_or_default();
    let mut all = commands(&typed);
    for series in json.get("series").list().iter().filter_map(Series::read) {
        let hash = format!(
            "{}?match={}",
            Page::Explore.hash(),
            encode_query(&series.key)
        );
        all.push((series.key, Act::Go(hash)));
    }
    let count = all.len();
    let at = (*active).min(count.saturating_sub(1));
    let run = Callback::from(move |act: Act| {
        dispatch.change(|view| {
            view.overlay = Overlay::None;
            match &act {
                Act::Theme(theme) => {
                    platform::remember(THEME_KEY, theme.key());
                    view.theme = *theme;
                }
                Act::Help => view.overlay = Overlay::Help,
                Act::Go(_) => {}
            }
        });
        if let Act::Go(hash) = act {
            platform::go(&hash);
        }
    });
    let oninput = {
        let (typed, active) = (typed.setter(), active.setter());
        move |event: InputEvent| {
            typed.set(event.target_unchecked_into::<HtmlInputElement>().value());
            active.set(0);
        }
    };
    let onkeydown = {
        let (run, chosen) = (run.clone(), all.get(at).map(|(_, act)| act.clone()));
        let active = active.setter();
        move |event: KeyboardEvent| {
            match event.key().as_str() {
                "ArrowDown" => active.set((at + 1) % count.max(1)),
                "ArrowUp" => active.set((at + count.max(1) - 1) % count.max(1)),
                "Enter" => {
                    if let Some(act) = chosen.clone() {
                        run.emit(act);
                    }
                }
                _ => return,
            }
            event.prevent_default();
            scroll_to_active();
        }
    };
    let option = |(index, (label, act)): (usize, (String, Act))| {
        let run = run.clone();
        let is_active = index == at;
        html! {
            <li
                id={format!("command-{index}")}
                class={classes!("offers__one", is_active.then_some("is-active"))}
                role="option"
                aria-selected={if is_active { "true" } else { "false" }}
                onclick={move |_: MouseEvent| run.emit(act.clone())}
            >
                { label }
            </li>
        }
    };
    html! {
        <div class="palette">
            <input
                ref={field}
                class="field__input"
                type="text"
                role="combobox"
                aria-label={words::COMMANDS}
                aria-expanded="true"
                aria-controls="commands"
                aria-activedescendant={format!("command-{at}")}
                placeholder="View, series or command"
                autocomplete="off"
                spellcheck="false"
                value={(*typed).clone()}
                {oninput}
                {onkeydown}
            />
            <ul class="palette__list" id="commands" role="listbox" aria-label={words::COMMANDS}>
                { for all.into_iter().enumerate().map(option) }
            </ul>
        </div>
    }
}

/// What is chosen by keys is seen.
fn scroll_to_active() {
    let active = document()
        .query_selector(".palette .is-active")
        .ok()
        .flatten();
    if let Some(active) = active.and_then(|active| active.dyn_into::<HtmlElement>().ok()) {
        active.scroll_into_view_with_bool(false);
    }
}
