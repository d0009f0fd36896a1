//! The talk of those who watch the same dashboard: a drawer beside the figures.

use pulseboard_shared::limits;
use yew::prelude::*;

mod use_chat;

use self::use_chat::{Chat, NAMELESS, use_chat};
use super::chat_line::chat_line;
use crate::{markup::html, net::config::Endpoint, words};

/// Props of [`ChatDrawer`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

/// Connected for as long as it is mounted; shown while the drawer is open. Not to be mounted
/// before the drawer was opened for the first time: nobody is announced in a room who did not
/// go there.
#[component]
pub fn ChatDrawer(Props { endpoint }: &Props) -> Html {
    let chat = use_chat(endpoint);
    if !chat.store.is_open() {
        return Html::default();
    }
    html! {
        <section class="chat" id="chat" role="dialog" aria-labelledby="chat-title" onkeydown={chat.on_key.clone()}>
            <div class="chat__head">
                <h2 id="chat-title">{ words::CHAT }</h2>
                <span class="chat__room">{ chat.store.room().to_owned() }</span>
                <button class="chat__close" type="button" aria-label="× Close chat" onclick={chat.on_close.clone()}>{ "×" }</button>
            </div>
            { name_and_room(&chat) }
            <p class="chat__note" role="status">{ chat.note.clone() }</p>
            <div class="chat__lines" role="log" aria-label="Messages" tabindex="0" ref={chat.lines_ref.clone()}>
                <ol>{ for chat.store.lines().map(chat_line) }</ol>
            </div>
            { message_field(&chat) }
        </section>
    }
}

/// Who speaks, and where.
fn name_and_room(chat: &Chat) -> Html {
    html! {
        <div class="chat__who">
            <label class="field">
                <span class="field__label">{ words::YOUR_NAME }</span>
                <input
                    class="field__input"
                    name="chat-name"
                    autocomplete="nickname"
                    placeholder={NAMELESS}
                    maxlength={limits::CHAT_USER_CHARS_MAX.to_string()}
                    value={chat.name.clone()}
                    oninput={chat.on_name_typed.clone()}
                />
            </label>
            <form class="chat__join" onsubmit={chat.on_join.clone()}>
                <label class="field">
                    <span class="field__label">{ "Room" }</span>
                    <input
                        class="field__input"
                        name="chat-room"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        maxlength={limits::CHANNEL_CHARS_MAX.to_string()}
                        value={chat.room.clone()}
                        oninput={chat.on_room_typed.clone()}
                    />
                </label>
                <button class="button" type="submit" disabled={!chat.is_ready}>{ "Join" }</button>
            </form>
        </div>
    }
}

/// Where a message is typed; for those who may only listen, why there is no such field.
fn message_field(chat: &Chat) -> Html {
    if !chat.may_speak {
        return html! {
            <p class="chat__note">{ "You can read along; writing needs the role operator." }</p>
        };
    }
    html! {
        <form class="chat__say" onsubmit={chat.on_say.clone()}>
            <input
                ref={chat.text_ref.clone()}
                class="field__input"
                name="chat-text"
                aria-label={words::MESSAGE}
                placeholder={words::MESSAGE}
                autocomplete="off"
                maxlength={limits::CHAT_TEXT_CHARS_MAX.to_string()}
            />
            <button class="button button--primary" type="submit" disabled={!chat.is_ready}>{ "Send" }</button>
        </form>
    }
}
