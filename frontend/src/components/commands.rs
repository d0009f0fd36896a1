//! The operator's commands: the threshold of the log, and the reset of the counters.

use gloo::timers::callback::Timeout;
use web_sys::HtmlInputElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    format,
    hooks::{Channel, ChannelEvent, Kind, use_channel, use_effect_with, use_selector},
    markup::html,
    net::{
        config::Endpoint,
        json::{Json, quote},
        link::LinkState,
    },
    platform,
    stores::{change::Change, operator::OperatorStore},
    words,
};

/// A reset can be undone for so long.
const UNDO_MS: u32 = 3_000;

/// Props of [`Commands`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(crate) struct Props {
    /// Where the backend is.
    pub(crate) endpoint: Endpoint,
}

/// `set_threshold` as sent: a number where it is one, else the text, which the server refuses
/// in words.
fn threshold_command(text: &str) -> String {
    let text = text.trim();
    let value = match Json::parse(text) {
        Some(Json::Number(_)) => text.to_owned(),
        _ => quote(text),
    };
    format!(r#"{{"command":"set_threshold","value":{value}}}"#)
}

/// How the control channel stands, where that keeps commands from being sent.
fn obstacle(channel: &Channel) -> Option<String> {
    match &channel.state {
        LinkState::Open => None,
        LinkState::Opening => Some(words::CONNECTING.to_owned()),
        LinkState::Lost => Some(words::LOST.to_owned()),
        LinkState::Refused(why) => Some(words::refused(why)),
    }
}

/// The control channel, open for as long as the view is shown to somebody who may command.
#[component]
pub(crate) fn Commands(Props { endpoint }: &Props) -> Html {
    let dispatch = use_dispatch::<OperatorStore>();
    let threshold = *use_selector(|store: &OperatorStore| {
        store.figures().map(|figures| figures.alert_threshold)
    });
    let draft = use_state(|| None::<String>);
    let on_heard = Callback::from(move |ChannelEvent { event, data }: ChannelEvent| {
        if event == "message" {
            dispatch.change(|store| store.reply(&data, platform::now_ms()));
        }
    });
    let control = use_channel(
        endpoint.clone(),
        "/ws/control".into(),
        Kind::Socket,
        on_heard,
    );
    let obstacle = obstacle(&control);
    let value = draft.as_deref().map_or_else(
        || threshold.map_or_else(String::new, format::plain),
        str::to_owned,
    );

    // What cannot be taken back is not sent at once.
    let resetting = use_state_eq(|| false);
    {
        let (send, done) = (control.send.clone(), resetting.setter());
        use_effect_with(*resetting, move |resetting| {
            let timer = resetting.then(|| {
                Timeout::new(UNDO_MS, move || {
                    send.emit(r#"{"command":"reset_counters"}"#.to_owned());
                    done.set(false);
                })
            });
            move || drop(timer)
        });
    }
    let on_reset = {
        let resetting = resetting.clone();
        move |_: MouseEvent| resetting.set(!*resetting)
    };
    let oninput = {
        let draft = draft.setter();
        move |event: InputEvent| {
            draft.set(Some(
                event.target_unchecked_into::<HtmlInputElement>().value(),
            ));
        }
    };
    let onsubmit = {
        let (send, draft, value) = (control.send, draft.setter(), value.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            send.emit(threshold_command(&value));
            draft.set(None);
        }
    };
    html! {
        <div class="operator__controls">
            <form class="operator__threshold" {onsubmit} novalidate=true>
                <label class="field">
                    <span class="field__label">{ words::LOG_THRESHOLD }</span>
                    <input
                        class="field__input"
                        type="number"
                        name="threshold"
                        min="0"
                        max="100"
                        step="any"
                        inputmode="decimal"
                        {value}
                        {oninput}
                    />
                </label>
                <button class="button button--primary" type="submit" disabled={obstacle.is_some()}>
                    { "Set threshold" }
                </button>
            </form>
            <button class="button" type="button" onclick={on_reset} disabled={obstacle.is_some()}>
                { if *resetting { "Undo" } else { "Reset counters" } }
            </button>
            <p class="operator__obstacle" role="status">
                { if *resetting { "Requests and errors are about to be set to 0; after that it cannot be undone." } else { "" } }
            </p>
            <p class="operator__obstacle" role="status">{ obstacle.unwrap_or_default() }</p>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_the_server_reads() {
        use pulseboard_shared::protocol::operator::ControlCommand;
        assert_eq!(
            ControlCommand::parse(&threshold_command(" 72.5 ")),
            Ok(ControlCommand::SetThreshold(72.5))
        );
        for wrong in ["", "much", "101"] {
            assert!(
                ControlCommand::parse(&threshold_command(wrong))
                    .is_err_and(|text| text.starts_with("Error: ")),
                "{wrong:?}"
            );
        }
    }
}
