//! Logging in with a token. A password manager can keep it; nothing else is asked.

use pulseboard_shared::Role;
use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlInputElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    hooks::{use_effect_with, use_selector},
    markup::html,
    net::{config::Endpoint, fetch, json::quote, refusal::Refusal, session::Session},
    platform,
    stores::{change::Change, session::SessionStore},
    words,
};

/// Props of [`LoginCard`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where to log in.
    pub endpoint: Endpoint,
}

/// Logs in; the token stays in a cookie that no script can read or, where none reaches, in the
/// storage of this tab.
async fn log_in(endpoint: &Endpoint, token: &str) -> Result<(), Refusal> {
    if !endpoint.is_foreign(&platform::page_origin()) {
        let body = format!("{{\"token\":{}}}", quote(token));
        return fetch::call(endpoint, "/api/login", Some(&body))
            .await
            .map(drop);
    }
    let text = fetch::call_as(endpoint, "/api/session", None, Some(token)).await?;
    match Session::read(&text) {
        Some(session) if !session.anonymous && session.role != Role::None => {
            fetch::keep_token(endpoint, Some(token));
            Ok(())
        }
        _ => Err(Refusal {
            status: 401,
            detail: None,
        }),
    }
}

/// What the reader is told; the form itself says that a token is needed.
fn said(refusal: &Refusal) -> String {
    match (refusal.status, &refusal.detail) {
        (401, _) => words::UNKNOWN_TOKEN.to_owned(),
        _ => refusal.in_words(),
    }
}

/// A form that takes a token, with why one is asked for.
#[component]
pub fn LoginCard(Props { endpoint }: &Props) -> Html {
    let store = use_selector(SessionStore::clone);
    let dispatch = use_dispatch::<SessionStore>();
    let field = use_node_ref();
    let problem = use_state(|| None::<String>);
    let busy = use_state(|| false);

    {
        let field = field.clone();
        use_effect_with((), move |()| {
            if let Some(field) = field.cast::<HtmlInputElement>() {
                // Fails only for what cannot be focused.
                drop(field.focus());
            }
        });
    }

    let onsubmit = {
        let (endpoint, field, dispatch) = (endpoint.clone(), field.clone(), dispatch.clone());
        let (problem, busy) = (problem.setter(), busy.setter());
        move |event: SubmitEvent| {
            event.prevent_default();
            let Some(input) = field.cast::<HtmlInputElement>() else {
                return;
            };
            let token = input.value().trim().to_owned();
            if token.is_empty() {
                problem.set(Some("Paste a token first".to_owned()));
                return;
            }
            let (endpoint, dispatch) = (endpoint.clone(), dispatch.clone());
            let (problem, busy) = (problem.clone(), busy.clone());
            busy.set(true);
            problem.set(None);
            spawn_local(async move {
                let outcome = log_in(&endpoint, &token).await;
                busy.set(false);
                match outcome {
                    Ok(()) => dispatch.change(SessionStore::doubt),
                    Err(refusal) => problem.set(Some(said(&refusal))),
                }
            });
        }
    };
    let on_cancel = Callback::from(move |_: MouseEvent| {
        dispatch.change(|store| store.ask(false));
    });
    html! {
        <section class="login" aria-labelledby="login-title">
            <h2 id="login-title">{ words::LOG_IN }</h2>
            <p class="login__why">{ store.login_reason() }</p>
            <form class="login__form" {onsubmit}>
                // Password managers want a name beside a password.
                <input type="text" name="username" autocomplete="username" value="pulseboard" hidden=true readonly=true />
                <label class="field">
                    <span class="field__label">{ "Token" }</span>
                    <input
                        ref={field}
                        class="field__input"
                        type="password"
                        name="password"
                        autocomplete="current-password"
                        spellcheck="false"
                        aria-describedby="login-problem"
                        aria-invalid={problem.is_some().then_some("true")}
                    />
                </label>
                <button class="button button--primary" type="submit" disabled={*busy}>{ words::LOG_IN }</button>
                if !store.login_needed() {
                    <button class="button" type="button" onclick={on_cancel}>{ words::CANCEL }</button>
                }
            </form>
            <p class="login__problem" id="login-problem" role="alert">
                { problem.as_deref().unwrap_or_default().to_owned() }
            </p>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_words() {
        let refusal = |status, detail: Option<&str>| Refusal {
            status,
            detail: detail.map(str::to_owned),
        };
        assert_eq!(
            said(&refusal(401, Some("x"))),
            "This token is not known here"
        );
        assert!(said(&refusal(429, None)).starts_with("Too many attempts"));
        assert!(said(&refusal(0, None)).contains("does not answer"));
    }
}
