//! Browsers that are told of alerts also while no page is open: this one with a click, and all that
//! have subscribed, with a test for each.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::{
    act::{Ask, use_act},
    parts::{moment, standing, use_role},
    push,
};
use crate::{
    components::state,
    hooks::use_answer,
    markup::html,
    net::{
        config::{Endpoint, encode_query},
        fetch::Method,
        json::{Json, write},
    },
    platform,
    stores::{
        browsers::{Browser, browser_name, subscription},
        hosts::Trouble,
        notifiers::outcome_of,
    },
    words,
};

/// Asked for anew this often.
const EVERY_MS: u32 = 15_000;

/// Where the browser remembers which of those it is.
const OWN_KEY: &str = "pulseboard-browser";

/// Props of [`Browsers`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct Props {
    pub(super) endpoint: Endpoint,
}

/// Props of [`Row`].
#[derive(Clone, Debug, PartialEq, Properties)]
struct RowProps {
    endpoint: Endpoint,
    browser: Browser,
    /// It is the one that shows this.
    is_own: bool,
    operates: bool,
    on_change: Callback<()>,
}

/// One browser, with the outcome of its newest test.
#[component]
fn Row(props: &RowProps) -> Html {
    let act = use_act(&props.endpoint);
    let told = use_state_eq(|| None::<(Trouble, String)>);
    let browser = &props.browser;
    let path = ["/api/browsers/", &encode_query(&browser.id)].concat();
    let on_test = {
        let (ask, told, on_change) = (act.ask.clone(), told.setter(), props.on_change.clone());
        let path = [&path, "/test"].concat();
        move |_: MouseEvent| {
            told.set(None);
            let (told, on_change) = (told.clone(), on_change.clone());
            ask.emit(Ask {
                method: Method::Post,
                path: path.clone(),
                body: "{}".to_owned(),
                on_done: Callback::from(move |text: String| {
                    told.set(Some(outcome_of(
                        &Json::parse(&text).unwrap_or_default(),
                        "Its push service",
                    )));
                    // One that has unsubscribed is no longer there.
                    on_change.emit(());
                }),
            });
        }
    };
    let on_forget = {
        let (ask, on_change, is_own) = (act.ask.clone(), props.on_change.clone(), props.is_own);
        move |_: MouseEvent| {
            let on_change = on_change.clone();
            ask.emit(Ask {
                method: Method::Delete,
                path: path.clone(),
                body: String::new(),
                on_done: Callback::from(move |_| {
                    if is_own {
                        platform::remember(OWN_KEY, "");
                        spawn_local(push::unsubscribe());
                    }
                    on_change.emit(());
                }),
            });
        }
    };
    html! {
        <li class="receiver browser">
            <span class="receiver__name series-name">{ browser.name.clone() }</span>
            <span class="receiver__ways">{ browser.by.clone() }</span>
            <span class="receiver__source">{ moment(browser.since_ms) }</span>
            <span class="incident__acts">
                if props.is_own {
                    <span class="mark">{ "This browser" }</span>
                }
                if props.operates {
                    <button class="button button--small" type="button" disabled={act.is_busy} onclick={on_test}
                        aria-label={[words::SEND_TEST_TO, " ", &browser.name].concat()}>
                        { if act.is_busy { words::SENDING } else { words::SEND_TEST } }
                    </button>
                    <button class="button button--small" type="button" disabled={act.is_busy} onclick={on_forget}
                        aria-label={[words::FORGET, " ", &browser.name].concat()}>
                        { words::FORGET }
                    </button>
                }
            </span>
            <div class="receiver__outcome" role="status">
                if let Some((trouble, words)) = &*told {
                    { state(*trouble, words.clone()) }
                }
                { act.problem_line() }
            </div>
        </li>
    }
}

/// Subscribes this browser; what hinders it in words.
async fn subscribed(key: &str, to: String) -> Result<String, String> {
    let agent = gloo::utils::window().navigator().user_agent();
    let saying = push::Saying {
        name: browser_name(&agent.unwrap_or_default()),
        to,
    };
    let told = push::subscribe(key, &saying).await?;
    let body =
        subscription(&told, &saying.name).ok_or("This browser says nothing of its subscription")?;
    Ok(write(&body, platform::digits))
}

/// The list, and the button for this one.
#[component]
pub(super) fn Browsers(props: &Props) -> Html {
    let again = use_state_eq(|| 0_u64);
    let act = use_act(&props.endpoint);
    let problem = use_state_eq(|| None::<String>);
    let is_asking = use_state_eq(|| false);
    let operates = use_role().operates();
    let answer = use_answer(&props.endpoint, "/api/browsers".into(), EVERY_MS, *again);
    let json = answer.json.clone().unwrap_or_default();
    let browsers = Browser::read_all(&json);
    let is_there = answer.json.is_some();
    let own = platform::remembered(OWN_KEY).unwrap_or_default();
    let is_told = browsers.iter().any(|browser| browser.id == own);
    let on_change = {
        let again = again.clone();
        Callback::from(move |()| again.set(*again + 1))
    };
    let on_subscribe = {
        let (ask, problem) = (act.ask.clone(), problem.setter());
        let (is_asking, on_change) = (is_asking.setter(), on_change.clone());
        let key = json.text_of("key").to_owned();
        let to = props.endpoint.http("/api/browsers");
        move |_: MouseEvent| {
            let (ask, problem, key) = (ask.clone(), problem.clone(), key.clone());
            let to = to.clone();
            let (is_asking, on_change) = (is_asking.clone(), on_change.clone());
            problem.set(None);
            is_asking.set(true);
            spawn_local(async move {
                let subscribed = subscribed(&key, to).await;
                is_asking.set(false);
                match subscribed {
                    Ok(body) => ask.emit(Ask {
                        method: Method::Post,
                        path: "/api/browsers".to_owned(),
                        body,
                        on_done: Callback::from(move |text: String| {
                            let json = Json::parse(&text).unwrap_or_default();
                            platform::remember(OWN_KEY, json.text_of("id"));
                            on_change.emit(());
                        }),
                    }),
                    Err(why) => problem.set(Some(why)),
                }
            });
        }
    };
    let why_not = push::why_not();
    let row = |browser: &Browser| {
        yew::html! {
            <Row
                key={browser.id.clone()}
                endpoint={props.endpoint.clone()}
                browser={browser.clone()}
                is_own={browser.id == own}
                {operates}
                on_change={on_change.clone()}
            />
        }
    };
    html! {
        <section class="alerts__group" aria-label="Browsers">
            <div class="explore__head">
                <h3>{ "Browsers that are told" }</h3>
                if is_there && operates && !is_told && why_not.is_none() {
                    <button class="button" type="button" disabled={act.is_busy || *is_asking} onclick={on_subscribe}>
                        { "Tell this browser" }
                    </button>
                }
                <span class="explore__place">{ "Of all alerts, also while no page is open." }</span>
            </div>
            if let Some(problem) = &*problem {
                <p class="form__problem" role="alert">{ problem.clone() }</p>
            }
            { act.problem_line() }
            { standing(is_there, answer.problem.as_ref()) }
            if let Some(why_not) = why_not.filter(|_| is_there && !is_told) {
                <p class="explore__place">{ why_not }</p>
            }
            if is_there && browsers.is_empty() {
                <p class="explore__empty panel">{ if operates { "No browser has subscribed" } else { "No browser has subscribed. Who has the role operator can do so." } }</p>
            }
            if !browsers.is_empty() {
                <ol class="receivers panel">{ for browsers.iter().map(row) }</ol>
            }
        </section>
    }
}
