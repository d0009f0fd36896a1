//! Incidents in a list: those that go on, grouped as the reader likes; or all that are kept, the
//! newest first, with how often each rule fired.

use std::rc::Rc;

use gloo::{
    events::{EventListener, EventListenerOptions},
    timers::callback::Timeout,
    utils::{document, window},
};
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Element, HtmlElement, HtmlInputElement, IntersectionObserver, KeyboardEvent};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{
    acknowledge::Acknowledge,
    form::choice,
    parts::{
        HISTORY, NEW, RULES, SILENCES, lasted, moment, part_hash, standing, use_news, use_role,
    },
};
use crate::{
    components::watch_switches,
    format,
    hooks::{KEYS_KEY, use_effect_with, use_selector},
    markup::html,
    net::{config::Endpoint, fetch, json::Json, refusal::Refusal},
    platform,
    stores::{
        change::Change,
        connection::ConnectionStore,
        incidents::{
            BY_RECEIVER, BY_RULE, Incident, PAGE_MAX, Wanted, counts, grouped, label_names,
        },
        stats::StatsStore,
        view::{Page, ViewStore},
    },
    words,
};

/// Asked for anew this often, in seconds: those that go on, and all that are kept.
const EVERY_S: u32 = 5;
const EVERY_S_HISTORY: u32 = 30;

/// What is typed is searched for once the hands rest.
const TYPING_MS: u32 = 250;

/// Pages of a list that are kept up to date.
const PAGES_MAX: usize = 20;

/// Severities as they can be chosen; the first one is all.
const SEVERITIES: [(&str, &str); 6] = [
    ("", "Any severity"),
    ("critical", "Critical"),
    ("high", "High"),
    ("warning", "Warning"),
    ("medium", "Medium"),
    ("low", "Low"),
];

/// Props of [`IncidentList`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
    /// What the address asks.
    pub(super) asked: AttrValue,
    /// All that are kept; else those that go on.
    pub(super) history: bool,
}

/// What is known of a list.
#[derive(Clone, Debug, Default, PartialEq)]
struct Listing {
    incidents: Rc<Vec<Incident>>,
    counts: Rc<Vec<(String, u64)>>,
    /// There are older ones.
    has_more: bool,
    is_there: bool,
    problem: Option<Refusal>,
}

/// Asks for page after page, as many as are shown: all of them are as they are now.
async fn load(endpoint: &Endpoint, wanted: &Wanted, firing: bool, pages: usize) -> Listing {
    let mut listing = Listing::default();
    let mut all: Vec<Incident> = Vec::new();
    let mut before = String::new();
    for page in 0..pages {
        let path = wanted.path(firing, &before);
        let answer = fetch::call(endpoint, &path, None).await;
        match answer.and_then(|text| Json::parse(&text).ok_or(Refusal::silence())) {
            Ok(json) => {
                if page == 0 {
                    listing.counts = Rc::new(counts(&json));
                }
                // One that came meanwhile moves all others.
                for incident in Incident::read_all(&json) {
                    if all.iter().all(|known| known.id != incident.id) {
                        all.push(incident);
                    }
                }
                before = json.text_of("next").to_owned();
                listing.has_more = !before.is_empty();
                listing.is_there = true;
            }
            Err(refusal) => {
                listing.problem = Some(refusal);
                break;
            }
        }
        if before.is_empty() {
            break;
        }
    }
    listing.incidents = Rc::new(all);
    listing
}

/// Keeps the list as the server has it.
#[hook]
fn use_listing(
    endpoint: &Endpoint,
    wanted: &Wanted,
    firing: bool,
    pages: usize,
    again: u32,
) -> Listing {
    let listing = use_state_eq(Listing::default);
    let (seconds, revision) = use_news();
    let every_s = if firing { EVERY_S } else { EVERY_S_HISTORY };
    let newest = use_mut_ref(|| 0_u64);
    let key = (
        endpoint.clone(),
        wanted.clone(),
        (firing, pages, again),
        (seconds / every_s, revision),
    );
    let show = listing.setter();
    let known = use_mut_ref(Listing::default);
    use_effect_with(key, move |(endpoint, wanted, (firing, pages, _), _)| {
        let (endpoint, mut wanted) = (endpoint.clone(), wanted.clone());
        // How they are grouped is nothing to the server.
        wanted.group.clear();
        let (firing, pages) = (*firing, *pages);
        let number = *newest.borrow() + 1;
        *newest.borrow_mut() = number;
        spawn_local(async move {
            let mut next = load(&endpoint, &wanted, firing, pages).await;
            // The newest question wins.
            if *newest.borrow() != number {
                return;
            }
            if next.problem.is_some() && !next.is_there {
                let problem = next.problem.take();
                next = Listing {
                    problem,
                    ..known.borrow().clone()
                };
            }
            *known.borrow_mut() = next.clone();
            show.set(next);
        });
    });
    (*listing).clone()
}

/// The row that has the focus, or what is in it.
fn focused_row() -> Option<Element> {
    document().active_element()?.closest(".incident").ok()?
}

/// Moves the focus to the row before or behind the one that has it.
fn step(forward: bool) {
    let rows = document().query_selector_all(".incident__message").ok();
    let Some(rows) = rows else {
        return;
    };
    let row = focused_row();
    let at = |place: u32| {
        rows.item(place)
            .and_then(|node| node.dyn_into::<HtmlElement>().ok())
    };
    let count = rows.length();
    let here = (0..count).find(|place| {
        let link = at(*place);
        row.as_ref()
            .is_some_and(|row| link.is_some_and(|link| row.contains(Some(&link))))
    });
    let next = match (here, forward) {
        (None, true) => 0,
        (None, false) => count.saturating_sub(1),
        (Some(place), true) => (place + 1).min(count.saturating_sub(1)),
        (Some(place), false) => place.saturating_sub(1),
    };
    if let Some(link) = at(next) {
        // Fails only for what cannot be focused.
        drop(link.focus());
    }
}

/// What a key does, once something has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stroke {
    Step(bool),
    Acknowledge,
    Silence,
    Search,
}

/// The stroke of a key, unless it is the second of a pair such as `g a`.
fn stroke_of(key: &str, before: &str) -> Option<Stroke> {
    match key {
        _ if before == "g" => None,
        "j" => Some(Stroke::Step(true)),
        "k" => Some(Stroke::Step(false)),
        "a" => Some(Stroke::Acknowledge),
        "s" => Some(Stroke::Silence),
        "/" => Some(Stroke::Search),
        _ => None,
    }
}

/// Listens to the keys of the list.
#[hook]
fn use_strokes(on_stroke: Callback<Stroke>) {
    use_effect_with(on_stroke, move |on_stroke| {
        let on_stroke = on_stroke.clone();
        let before = std::cell::RefCell::new(String::new());
        let options = EventListenerOptions::enable_prevent_default();
        let listener =
            EventListener::new_with_options(&window(), "keydown", options, move |event| {
                let Some(event) = event.dyn_ref::<KeyboardEvent>() else {
                    return;
                };
                let before = before.replace(event.key());
                let is_held = event.ctrl_key() || event.meta_key() || event.alt_key();
                let is_off = platform::remembered(KEYS_KEY).as_deref() == Some("off");
                if is_held || is_off || platform::is_typing(event.target()) {
                    return;
                }
                if let Some(stroke) = stroke_of(&event.key(), &before) {
                    event.prevent_default();
                    on_stroke.emit(stroke);
                }
            });
        move || drop(listener)
    });
}

/// Where the form for a silence of an incident is.
pub(super) fn silence_hash(incident: &str) -> String {
    [&part_hash(SILENCES), "/", NEW, "?for=", incident].concat()
}

/// One incident. `form` stands below it.
fn row(
    incident: &Incident,
    now_ms: f64,
    can_act: bool,
    on_open: &Callback<String>,
    form: Html,
) -> Html {
    let age = lasted(incident.lasted_ms(now_ms));
    let age = match incident.is_firing {
        true => ["for ", &age].concat(),
        false => format!("{}, lasted {age}", moment(incident.started_ms)),
    };
    let on_acknowledge = {
        let (on_open, id) = (on_open.clone(), incident.id.clone());
        move |_: MouseEvent| on_open.emit(id.clone())
    };
    let has_it = incident.acknowledged.is_some();
    let severity = incident.severity.as_str();
    html! {
        <li
            key={incident.id.clone()}
            class={classes!(
                "incident",
                format!("alert-{severity}"),
                incident.is_quiet().then_some("is-quiet"),
                (!incident.is_firing).then_some("is-over"),
                (!can_act).then_some("is-readable"),
            )}
            data-incident={incident.id.clone()}
        >
            <span class="incident__severity severity">{ severity.to_ascii_uppercase() }</span>
            <span class="incident__what">
                <a class="series-name incident__message" href={platform::with_hash(&incident.hash())}>
                    { incident.message.clone() }
                </a>
                <span class="series-name__labels">{ incident.label_words() }</span>
            </span>
            <span class="incident__marks">
                { for incident.marks().into_iter().map(|mark| html! { <span class="mark">{ mark }</span> }) }
                if !incident.is_firing {
                    <span class="mark">{ words::OVER }</span>
                }
            </span>
            <span class="incident__age">{ age }</span>
            if can_act && incident.is_firing {
                <span class="incident__acts">
                    if !has_it {
                        <button
                            class="button"
                            type="button"
                            aria-label={[words::ACKNOWLEDGE, " ", &incident.message].concat()}
                            onclick={on_acknowledge}
                        >
                            { words::ACKNOWLEDGE }
                        </button>
                    }
                    <a
                        class="button"
                        href={platform::with_hash(&silence_hash(&incident.id))}
                        aria-label={[words::SILENCE, " ", &incident.message].concat()}
                    >
                        { words::SILENCE }
                    </a>
                </span>
            }
            { form }
        </li>
    }
}

/// Tells when the end of the list comes into sight.
#[hook]
fn use_end(end: &NodeRef, has_more: bool, on_end: Callback<()>) {
    let end = end.clone();
    use_effect_with((has_more, on_end), move |(has_more, on_end)| {
        let on_end = on_end.clone();
        let on_sight = Closure::<dyn FnMut(js_sys::Array)>::new(move |entries: js_sys::Array| {
            let is_seen = entries.iter().any(|entry| {
                let entry = entry.dyn_into::<web_sys::IntersectionObserverEntry>();
                entry.is_ok_and(|entry| entry.is_intersecting())
            });
            if is_seen {
                on_end.emit(());
            }
        });
        let observer = IntersectionObserver::new(on_sight.as_ref().unchecked_ref()).ok();
        if let (Some(observer), Some(end)) =
            (&observer, end.cast::<Element>().filter(|_| *has_more))
        {
            observer.observe(&end);
        }
        move || {
            if let Some(observer) = observer {
                observer.disconnect();
            }
            drop(on_sight);
        }
    });
}

/// What the groups may be: what stands in the address, and what it is called.
fn groupings(incidents: &[Incident]) -> Vec<(String, String)> {
    let mut all = vec![
        (String::new(), words::NOT_GROUPED.to_owned()),
        (BY_RULE.to_owned(), "By rule".to_owned()),
        (BY_RECEIVER.to_owned(), "By receiver".to_owned()),
    ];
    for name in label_names(incidents) {
        all.push((["label:", &name].concat(), ["By label ", &name].concat()));
    }
    all
}

/// How many there are, in words.
fn count_words(incidents: &[Incident], has_more: bool, history: bool) -> String {
    let more = if has_more { " and older ones" } else { "" };
    let quiet = incidents
        .iter()
        .filter(|incident| incident.is_quiet())
        .count();
    let alerts = format::count(incidents.len() as u64, "alert", "alerts");
    match (history, quiet) {
        (true, _) => [&alerts, more].concat(),
        (false, 0) => format!("{alerts}{more} firing"),
        (false, quiet) => {
            format!("{alerts}{more} firing, {quiet} of them acknowledged, silenced or inhibited")
        }
    }
}

/// The list.
#[component]
pub(super) fn IncidentList(props: &Props) -> Html {
    let (firing, wanted) = (!props.history, Wanted::read(&props.asked));
    let pages = use_state_eq(|| 1_usize);
    let again = use_state_eq(|| 0_u32);
    let open = use_state_eq(|| None::<String>);
    let typed = use_state_eq(|| wanted.search.clone());
    let field = use_node_ref();
    let end = use_node_ref();
    let view = use_dispatch::<ViewStore>();
    let stats = use_dispatch::<StatsStore>();
    let listing = use_listing(&props.endpoint, &wanted, firing, *pages, *again);
    let is_lost = *use_selector(|store: &ConnectionStore| store.view.connection.is_lost());
    let role = use_role();
    let now_ms = platform::now_ms() + stats.get().clock_offset_ms();

    // Goes where the address says something else of the list, without a step back for each letter.
    let place = if props.history { HISTORY } else { "" };
    let go = {
        let (view, pages) = (view.clone(), pages.setter());
        Callback::from(move |wanted: Wanted| {
            let query = wanted.query();
            platform::note(&[&part_hash(place), query.as_str()].concat());
            pages.set(1);
            view.change(|view| view.asked = query.trim_start_matches('?').into());
        })
    };
    {
        let (go, wanted) = (go.clone(), wanted.clone());
        use_effect_with((*typed).clone(), move |typed| {
            let search = typed.trim().to_owned();
            let timer = (search != wanted.search)
                .then(|| Timeout::new(TYPING_MS, move || go.emit(Wanted { search, ..wanted })));
            move || drop(timer)
        });
    }
    {
        // Somebody went to another address, by Back for instance.
        let typed = typed.clone();
        use_effect_with(wanted.search.clone(), move |search| {
            if typed.trim() != search {
                typed.set(search.clone());
            }
        });
    }
    let can_act = role.operates();
    let on_stroke = {
        let (open, field) = (open.setter(), field.clone());
        use_callback(can_act, move |stroke: Stroke, can_act| {
            let row = focused_row();
            let id = row.and_then(|row| row.get_attribute("data-incident"));
            match (stroke, id) {
                (Stroke::Step(forward), _) => step(forward),
                (Stroke::Search, _) => {
                    if let Some(field) = field.cast::<HtmlElement>() {
                        // Fails only for what cannot be focused.
                        drop(field.focus());
                    }
                }
                (Stroke::Acknowledge, Some(id)) if *can_act => open.set(Some(id)),
                (Stroke::Silence, Some(id)) if *can_act => platform::go(&silence_hash(&id)),
                _ => {}
            }
        })
    };
    use_strokes(on_stroke);
    let on_end = {
        let pages = pages.clone();
        // As many as there are now: what is asked for already is not asked for twice.
        let is_full = listing.incidents.len() >= *pages * PAGE_MAX;
        use_callback((*pages, is_full), move |(), (known, is_full)| {
            if *is_full && *known < PAGES_MAX {
                pages.set(known + 1);
            }
        })
    };
    use_end(&end, listing.has_more, on_end.clone());

    let on_search = {
        let typed = typed.setter();
        move |event: InputEvent| {
            typed.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    let severity = SEVERITIES
        .iter()
        .position(|(name, _)| *name == wanted.severity);
    let on_severity = {
        let (go, wanted) = (go.clone(), wanted.clone());
        Callback::from(move |index: usize| {
            let severity = SEVERITIES
                .get(index)
                .map_or("", |(name, _)| name)
                .to_owned();
            go.emit(Wanted {
                severity,
                ..wanted.clone()
            });
        })
    };
    let groupings = groupings(&listing.incidents);
    let grouping = groupings.iter().position(|(name, _)| *name == wanted.group);
    let on_group = {
        let (go, wanted) = (go.clone(), wanted.clone());
        let names: Vec<String> = groupings.iter().map(|(name, _)| name.clone()).collect();
        Callback::from(move |index: usize| {
            let group = names.get(index).cloned().unwrap_or_default();
            go.emit(Wanted {
                group,
                ..wanted.clone()
            });
        })
    };
    let on_open = {
        let open = open.setter();
        Callback::from(move |id: String| open.set(Some(id)))
    };
    let on_done = {
        let (open, again) = (open.setter(), again.clone());
        Callback::from(move |()| {
            open.set(None);
            again.set(*again + 1);
        })
    };
    let one = |incident: &Incident| {
        let is_open = open.as_deref() == Some(incident.id.as_str()) && can_act;
        let form = match is_open {
            true => html! {
                <Acknowledge endpoint={props.endpoint.clone()} incident={incident.id.clone()} on_done={on_done.clone()} />
            },
            false => Html::default(),
        };
        row(incident, now_ms, can_act, &on_open, form)
    };
    let is_old = is_lost || listing.problem.is_some();
    let list = |incidents: Vec<Html>| {
        html! {
            <ol class={classes!("incidents", "panel", is_old.then_some("is-old"))}>{ for incidents }</ol>
        }
    };
    let groups = match props.history {
        true => vec![(String::new(), listing.incidents.iter().collect())],
        false => grouped(&listing.incidents, &wanted.group),
    };
    let group = |(heading, incidents): &(String, Vec<&Incident>)| {
        let count = incidents.len();
        let rows = incidents.iter().map(|incident| one(incident)).collect();
        match heading.as_str() {
            "" => list(rows),
            heading => html! {
                <section key={heading.to_owned()} class="alerts__group" aria-label={heading.to_owned()}>
                    <h3>{ format!("{heading} ({count})") }</h3>
                    { list(rows) }
                </section>
            },
        }
    };
    let is_empty = listing.is_there && listing.incidents.is_empty();
    let is_narrowed = Wanted {
        group: wanted.group.clone(),
        ..Wanted::default()
    } != wanted;
    let everything = platform::with_hash(&part_hash(place));
    html! {
        <>
            <div class="explore__head">
                <h2 class="visually-hidden">{ if props.history { "History of alerts" } else { words::ACTIVE_ALERTS } }</h2>
                <input
                    ref={field}
                    class="field__input explore__search"
                    type="search"
                    aria-label="Search alerts"
                    placeholder="Search messages, rules and labels"
                    autocomplete="off"
                    value={(*typed).clone()}
                    oninput={on_search}
                />
                { choice(words::SEVERITY, &SEVERITIES.map(|(_, label)| label), severity.unwrap_or(0), on_severity) }
                if firing {
                    { choice(
                        "Grouped",
                        &groupings.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(),
                        grouping.unwrap_or(0),
                        on_group,
                    ) }
                    { watch_switches() }
                }
                <span class="explore__place" role="status">
                    if listing.is_there {
                        { count_words(&listing.incidents, listing.has_more, props.history) }
                    }
                </span>
            </div>
            if is_lost {
                <p class="explore__problem">{ "The connection is lost: what is shown is as it was." }</p>
            }
            { standing(listing.is_there, listing.problem.as_ref()) }
            if props.history && !listing.counts.is_empty() {
                { by_rule(&listing.counts, &wanted, &go) }
            }
            if is_empty {
                <div class="explore__empty panel">
                    if is_narrowed {
                        <p>{ words::NO_MATCH }</p>
                        <p><a class="button" href={everything}>{ "Show all" }</a></p>
                    } else {
                        <p>{ if props.history { "No alert has fired as far back as is kept" } else { words::NO_ACTIVE_ALERTS } }</p>
                        <p><a class="button" href={platform::with_hash(&part_hash(RULES))}>{ words::WHAT_IS_WATCHED }</a></p>
                    }
                </div>
            } else {
                { for groups.iter().map(group) }
            }
            if listing.has_more {
                <button ref={end} class="button" type="button" onclick={on_end.reform(|_: MouseEvent| ())}>{ words::OLDER }</button>
            }
        </>
    }
}

/// How often each rule fired; one of them can be chosen.
fn by_rule(counts: &[(String, u64)], wanted: &Wanted, go: &Callback<Wanted>) -> Html {
    /// More are found by their names.
    const SHOWN_MAX: usize = 12;
    let rule = |(rule, count): &(String, u64)| {
        let is_chosen = wanted.rule == *rule;
        let next = Wanted {
            rule: if is_chosen {
                String::new()
            } else {
                rule.clone()
            },
            ..wanted.clone()
        };
        let go = go.clone();
        html! {
            <button
                key={rule.clone()}
                class={classes!("button", "button--small", is_chosen.then_some("is-pressed"))}
                type="button"
                aria-pressed={is_chosen.to_string()}
                onclick={move |_: MouseEvent| go.emit(next.clone())}
            >
                { format!("{rule} · {}", format::grouped(*count)) }
            </button>
        }
    };
    let more = counts.len().saturating_sub(SHOWN_MAX);
    html! {
        <div class="alerts__counts" role="group" aria-label="How often each rule fired">
            { for counts.iter().take(SHOWN_MAX).map(rule) }
            if more > 0 {
                <span class="explore__place">{ format!("and {more} more rules") }</span>
            }
        </div>
    }
}

/// The view of all alerts, where an incident is not found.
pub(super) fn all_alerts() -> String {
    platform::with_hash(Page::Alerts.hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_pair_do_nothing_here() {
        assert_eq!(stroke_of("a", "j"), Some(Stroke::Acknowledge));
        assert_eq!(stroke_of("a", "g"), None, "g a leads to another view");
        assert_eq!(stroke_of("j", ""), Some(Stroke::Step(true)));
        assert_eq!(stroke_of("x", ""), None);
    }

    #[test]
    fn tells_how_many_there_are() {
        assert_eq!(count_words(&[], false, false), "0 alerts firing");
        assert_eq!(count_words(&[], true, true), "0 alerts and older ones");
    }
}
