//! The button that opens the chat, and says how much is unread.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    hooks::use_selector,
    markup::html,
    stores::{change::Change, chat::ChatStore},
    words,
};

/// Opens and closes the drawer. Its id is where the focus goes back to.
pub(super) const BUTTON_ID: &str = "chat-button";

/// The button; the drawer is [`super::ChatDrawer`].
#[hook]
pub fn use_chat_button() -> Html {
    let (open, unread) = *use_selector(|chat: &ChatStore| (chat.is_open(), chat.unread()));
    let dispatch = use_dispatch::<ChatStore>();
    let onclick = move |_: MouseEvent| dispatch.change(|chat| chat.show(!open));
    html! {
        <button
            id={BUTTON_ID}
            class={classes!("button", "chat-button", open.then_some("is-pressed"))}
            type="button"
            aria-expanded={open.to_string()}
            aria-controls="chat"
            {onclick}
        >
            { words::CHAT }
            if unread > 0 {
                <span class="chat-button__unread">
                    { unread.to_string() }
                    <span class="visually-hidden">{ " unread" }</span>
                </span>
            }
        </button>
    }
}
