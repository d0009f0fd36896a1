//! All series of the tenant: a list that is searched and paged by the server, so that a hundred
//! thousand are no more than a hundred; each leads to its chart.

use gloo::{events::EventListener, timers::callback::Timeout, utils::window};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, HtmlInputElement};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::{ExpressionField, series_row, use_history, use_push_hint},
    format,
    hooks::{use_answer, use_effect_with, use_seconds, use_selector},
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        json::quote,
        series::Series,
    },
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        question::Question,
        series::SeriesStore,
        stats::StatsStore,
        view::{Page, ViewStore},
    },
    words,
};

/// Series on a page of the list.
const PAGE_SIZE: usize = 100;

/// Stretches of a sparkline.
const SPARK: usize = 30;

/// The search is sent when nothing was typed for so long.
const TYPING_MS: u32 = 150;

/// Figures and sparklines are asked for anew this often.
const REFRESH_MS: u32 = 3_000;

/// Props of [`Explore`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// What the address says is searched for.
    pub search: AttrValue,
}

/// The address of a search: what stands behind `?`.
fn address_of(search: &str) -> String {
    match search {
        "" => String::new(),
        search => ["search=", &encode_query(search)].concat(),
    }
}

/// Moves the focus from the search along the names of the list, and back.
fn walk(event: &KeyboardEvent) {
    let forward = match event.key().as_str() {
        "ArrowDown" => true,
        "ArrowUp" => false,
        _ => return,
    };
    let Some(target) = event
        .target()
        .and_then(|target| target.dyn_into::<HtmlElement>().ok())
    else {
        return;
    };
    let within = |of: Option<Element>, what| of?.query_selector(what).ok().flatten();
    let whole = || target.closest(".explore").ok().flatten();
    let next = match target.closest(".series-row").ok().flatten() {
        Some(row) if forward => within(row.next_element_sibling(), "a"),
        Some(row) => within(row.previous_element_sibling(), "a")
            .or_else(|| within(whole(), ".explore__search")),
        None if forward => within(whole(), ".series-row a"),
        None => None,
    };
    if let Some(link) = next.and_then(|link| link.dyn_into::<HtmlElement>().ok()) {
        event.prevent_default();
        // Fails only for what cannot be focused.
        drop(link.focus());
    }
}

/// `/` goes to the search, wherever nothing is being typed.
#[hook]
fn use_slash(field: &NodeRef) {
    let field = field.clone();
    use_effect_with((), move |()| {
        let options = gloo::events::EventListenerOptions::enable_prevent_default();
        let listener =
            EventListener::new_with_options(&window(), "keydown", options, move |event| {
                let Some(event) = event.dyn_ref::<KeyboardEvent>() else {
                    return;
                };
                if event.key() == "/"
                    && !platform::is_typing(event.target())
                    && let Some(field) = field.cast::<HtmlElement>()
                {
                    event.prevent_default();
                    // Fails only for what cannot be focused.
                    drop(field.focus());
                }
            });
        move || drop(listener)
    });
}

/// `1–100 of 2 500`.
fn place(before: usize, shown: usize, matched: u64, total: u64) -> String {
    let count = |count: u64| format::grouped(count);
    if shown == 0 {
        return format!("none of {}", count(total));
    }
    let range = format!("{}–{}", before + 1, before + shown);
    if matched < total {
        format!("{range} of {}, of {} in all", count(matched), count(total))
    } else {
        format!("{range} of {}", count(total))
    }
}

/// The list of all series: searched, paged, each row a link.
#[component]
pub fn Explore(
    Props {
        endpoint,
        search: asked,
    }: &Props,
) -> Html {
    use_seconds();
    let view = use_dispatch::<ViewStore>();
    let stats = use_dispatch::<StatsStore>();
    let changes = *use_selector(SeriesStore::select_changes);
    let typed = use_state(|| asked.to_string());
    let search = use_state_eq(|| asked.to_string());
    // Where each page before this one began.
    let pages = use_state(Vec::<String>::new);
    let field = use_node_ref();
    use_slash(&field);
    let hint = use_push_hint(endpoint);
    let on_ask = Callback::from(|text: String| {
        if !text.is_empty() {
            let question = Question {
                expressions: vec![text],
                ..Question::default()
            };
            platform::go(&question.hash());
        }
    });
    let history = use_history(&[], &on_ask);

    {
        let (search, pages) = (search.clone(), pages.setter());
        use_effect_with((*typed).clone(), move |typed| {
            let typed = typed.trim().to_owned();
            let timer = (typed != *search).then(|| {
                Timeout::new(TYPING_MS, move || {
                    let asked = address_of(&typed);
                    search.set(typed);
                    pages.set(Vec::new());
                    let sign = if asked.is_empty() { "" } else { "?" };
                    platform::note(&[Page::Explore.hash(), sign, &asked].concat());
                    view.change(|view| view.asked = asked.into());
                })
            });
            move || drop(timer)
        });
    }
    {
        // Somebody went to another address, by Back for instance.
        let (typed, search, pages) = (typed.clone(), search.clone(), pages.setter());
        use_effect_with(asked.clone(), move |asked| {
            if **asked != **search {
                typed.set(asked.to_string());
                search.set(asked.to_string());
                pages.set(Vec::new());
            }
        });
    }
    let after = pages.last().map_or("", String::as_str);
    let path = format!(
        "/api/series?limit={PAGE_SIZE}&spark={SPARK}&search={}&after={}",
        encode_query(&search),
        encode_query(after)
    );
    let answer = use_answer(endpoint, path.into(), REFRESH_MS, changes);
    let lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());

    let here_ms = platform::now_ms();
    let now_ms = here_ms + stats.get().clock_offset_ms();
    // What is known stays, and says of when it is.
    let old = lost || answer.problem.is_some();
    let json = answer.json.clone().unwrap_or_default();
    let list = json.get("series").list().iter();
    let list: Vec<Series> = list.filter_map(Series::read).collect();
    let total = json.get("total").count().unwrap_or(0);
    let matched = json.get("matched").count().unwrap_or(0);
    let next = json.get("next").text().map(str::to_owned);
    // The host's own are always there; somebody who looks for theirs is told how they come.
    let empty = answer.json.is_some()
        && search.is_empty()
        && next.is_none()
        && !list.iter().any(Series::is_pushed);
    let loading = answer.json.is_none() && answer.problem.is_none();

    let oninput = {
        let typed = typed.setter();
        move |event: InputEvent| {
            typed.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    let clear = {
        let typed = typed.setter();
        move |_: MouseEvent| typed.set(String::new())
    };
    let turn = |to: Option<Vec<String>>| {
        let pages = pages.setter();
        let disabled = to.is_none();
        let onclick = move |_: MouseEvent| {
            if let Some(to) = &to {
                pages.set(to.clone());
                window().scroll_to_with_x_and_y(0.0, 0.0);
            }
        };
        (disabled, onclick)
    };
    let (first, back) = turn((!pages.is_empty()).then(|| pages[..pages.len() - 1].to_vec()));
    let (last, on) = turn(next.map(|next| [pages.as_slice(), &[next]].concat()));
    let words = match &answer.json {
        _ if loading => words::LOADING_ALL.to_owned(),
        None => String::new(),
        Some(_) => {
            let place = place(pages.len() * PAGE_SIZE, list.len(), matched, total);
            if old {
                format!("{place} · {}", format::as_of(here_ms - answer.at_ms))
            } else {
                place
            }
        }
    };
    html! {
        <section class="explore" aria-label={Page::Explore.label()} onkeydown={|event: KeyboardEvent| walk(&event)}>
            <ExpressionField endpoint={endpoint.clone()} name="A" asked="" {on_ask} />
            <div class="explore__head">
                { history }
                <h2>{ words::SERIES }</h2>
                <input
                    ref={field}
                    class="field__input explore__search"
                    type="search"
                    aria-label="Search names and labels"
                    placeholder="Search names and labels  ( / )"
                    autocomplete="off"
                    spellcheck="false"
                    value={(*typed).clone()}
                    {oninput}
                />
                <span class="explore__place" role="status">{ words }</span>
            </div>
            if let Some(problem) = &answer.problem {
                <p class="explore__problem" role="alert">
                    { format!("The list could not be refreshed: {}", problem.in_words()) }
                </p>
            }
            if !loading && empty && answer.problem.is_none() {
                <div class="explore__empty panel">
                    <p>{ "Nothing pushed yet. This makes a chart appear:" }</p>
                    { hint }
                </div>
            } else if answer.json.is_some() && list.is_empty() && answer.problem.is_none() {
                <div class="explore__empty panel">
                    <p>{ format!("No series has {} in its name or labels.", quote(&search)) }</p>
                    <button class="button" type="button" onclick={clear}>{ "Clear search" }</button>
                </div>
            }
            if !list.is_empty() {
                <ol class={classes!("series-list", "panel", old.then_some("is-old"))}>
                    { for list.iter().map(|series| series_row(series, now_ms)) }
                </ol>
            }
            if !(first && last) {
                <nav class="explore__pages" aria-label="Pages of the list">
                    <button class="button" type="button" disabled={first} onclick={back}>{ "Previous" }</button>
                    <button class="button" type="button" disabled={last} onclick={on}>{ "Next" }</button>
                </nav>
            }
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_has_what_is_searched_for() {
        assert_eq!(address_of(""), "");
        let asked = address_of("cpu a=b");
        assert_eq!(asked, "search=cpu%20a%3Db");
        assert!(!Page::Explore.has_time(&address_of("match=x")));
    }

    #[test]
    fn says_where_in_the_list() {
        assert_eq!(place(0, 12, 12, 12), "1–12 of 12");
        assert_eq!(place(100, 100, 100_000, 100_000), "101–200 of 100\u{a0}000");
        assert_eq!(place(0, 3, 3, 2_500), "1–3 of 3, of 2\u{a0}500 in all");
        assert_eq!(place(0, 0, 0, 7), "none of 7");
    }
}
