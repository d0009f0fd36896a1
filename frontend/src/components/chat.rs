//! The talk of those who watch the same dashboard: a button that says what is unread, and a
//! drawer beside the figures.

use pulseboard_shared::{limits, protocol::rooms::check_channel};
use web_sys::{Element, HtmlElement, HtmlInputElement};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    format,
    hooks::{Heard, Kind, use_channel, use_effect_with, use_selector},
    markup::html,
    net::{config::Endpoint, link::Standing},
    platform,
    stores::{
        change::Change,
        chat::{ChatStore, Line, Say, Speaker},
        session::SessionStore,
    },
    words,
};

/// Key in the browser's storage.
const NAME_KEY: &str = "pulseboard-chat-name";

/// Of somebody who did not give a name.
const NAMELESS: &str = "Guest";

/// Opens and closes the drawer. Its id is where the focus goes back to.
const BUTTON_ID: &str = "chat-button";

/// See the module.
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
            { "Chat" }
            if unread > 0 {
                <span class="chat-button__unread">
                    { unread.to_string() }
                    <span class="visually-hidden">{ " unread" }</span>
                </span>
            }
        </button>
    }
}

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
    let store = use_selector(ChatStore::clone);
    let dispatch = use_dispatch::<ChatStore>();
    let may_speak = *use_selector(|store: &SessionStore| {
        store
            .session()
            .is_some_and(|session| session.role.operates())
    });
    let text_ref = use_node_ref();
    let lines_ref = use_node_ref();
    let name = use_state(|| platform::remembered(NAME_KEY).unwrap_or_default());
    let room_draft = use_state(|| None::<String>);
    let problem = use_state(|| None::<String>);

    // A reconnected socket is in the general room again: it is sent where the reader is.
    let opened = use_state_eq(|| 0_u32);
    let on_heard = {
        let (dispatch, opened) = (dispatch.clone(), opened.clone());
        Callback::from(move |Heard { event, data }: Heard| {
            if event == "open" {
                opened.set(*opened + 1);
            } else {
                dispatch.change(|chat| chat.hear(&data, platform::now_ms()));
            }
        })
    };
    let channel = use_channel(endpoint.clone(), "/ws/chat".into(), Kind::Socket, on_heard);
    {
        let (send, room) = (channel.send.clone(), store.room().to_owned());
        use_effect_with(*opened, move |times| {
            if *times > 0 && room != pulseboard_shared::protocol::rooms::GENERAL_ROOM {
                send.emit(Say::JoinRoom { room: &room }.json());
            }
        });
    }

    let open = store.is_open();
    {
        let text_ref = text_ref.clone();
        use_effect_with(open, move |open| {
            let target = if *open {
                text_ref.cast::<HtmlElement>()
            } else {
                // Only from inside: a drawer that was closed by its button leaves the focus.
                gloo::utils::document()
                    .get_element_by_id(BUTTON_ID)
                    .and_then(|button| wasm_bindgen::JsCast::dyn_into(button).ok())
            };
            if let Some(target) = target {
                // Fails only for what cannot be focused.
                drop(target.focus());
            }
        });
    }
    {
        let lines_ref = lines_ref.clone();
        use_effect_with((store.said(), open), move |_| {
            if let Some(lines) = lines_ref.cast::<Element>() {
                lines.set_scroll_top(lines.scroll_height());
            }
        });
    }
    if !open {
        return Html::default();
    }

    let close = {
        let dispatch = dispatch.clone();
        Callback::from(move |()| dispatch.change(|chat| chat.show(false)))
    };
    let on_close = {
        let close = close.clone();
        move |_: MouseEvent| close.emit(())
    };
    let onkeydown = move |event: KeyboardEvent| {
        if event.key() == "Escape" {
            event.stop_propagation();
            close.emit(());
        }
    };
    let on_name = {
        let name = name.setter();
        move |event: InputEvent| {
            let value = event.target_unchecked_into::<HtmlInputElement>().value();
            platform::remember(NAME_KEY, &value);
            name.set(value);
        }
    };
    let on_room = {
        let draft = room_draft.setter();
        move |event: InputEvent| {
            draft.set(Some(
                event.target_unchecked_into::<HtmlInputElement>().value(),
            ));
        }
    };
    let on_join = {
        let (send, dispatch) = (channel.send.clone(), dispatch.clone());
        let (draft, problem) = (room_draft.clone(), problem.setter());
        move |event: SubmitEvent| {
            event.prevent_default();
            let Some(room) = draft
                .as_deref()
                .map(str::trim)
                .filter(|room| !room.is_empty())
            else {
                return;
            };
            match check_channel(room) {
                Ok(room) => {
                    send.emit(Say::JoinRoom { room }.json());
                    dispatch.change(|chat| chat.enter(room));
                    problem.set(None);
                    draft.set(None);
                }
                Err(why) => problem.set(Some(why)),
            }
        }
    };
    let on_say = {
        let (send, text_ref, name) = (channel.send.clone(), text_ref.clone(), name.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            let Some(input) = text_ref.cast::<HtmlInputElement>() else {
                return;
            };
            let text = input.value();
            let text = text.trim();
            if text.is_empty() {
                return;
            }
            let user = match name.trim() {
                "" => NAMELESS,
                name => name,
            };
            send.emit(Say::Chat { user, text }.json());
            dispatch.change(|chat| chat.say(user, text, platform::now_ms()));
            input.set_value("");
        }
    };
    let ready = channel.standing == Standing::Open;
    let standing = match &channel.standing {
        Standing::Open => None,
        Standing::Opening => Some(words::CONNECTING.to_owned()),
        Standing::Lost => Some(words::LOST.to_owned()),
        Standing::Refused(why) => Some(words::refused(why)),
    };
    let note = (*problem).clone().or(standing);
    html! {
        <section class="chat" id="chat" role="dialog" aria-labelledby="chat-title" {onkeydown}>
            <div class="chat__head">
                <h2 id="chat-title">{ "Chat" }</h2>
                <span class="chat__room">{ store.room().to_owned() }</span>
                <button class="chat__close" type="button" aria-label="× Close chat" onclick={on_close}>{ "×" }</button>
            </div>
            <div class="chat__who">
                <label class="field">
                    <span class="field__label">{ "Your name" }</span>
                    <input
                        class="field__input"
                        name="chat-name"
                        autocomplete="nickname"
                        placeholder={NAMELESS}
                        maxlength={limits::CHAT_USER_CHARS_MAX.to_string()}
                        value={(*name).clone()}
                        oninput={on_name}
                    />
                </label>
                <form class="chat__join" onsubmit={on_join}>
                    <label class="field">
                        <span class="field__label">{ "Room" }</span>
                        <input
                            class="field__input"
                            name="chat-room"
                            autocomplete="off"
                            autocapitalize="none"
                            spellcheck="false"
                            maxlength={limits::CHANNEL_CHARS_MAX.to_string()}
                            value={room_draft.as_deref().unwrap_or_else(|| store.room()).to_owned()}
                            oninput={on_room}
                        />
                    </label>
                    <button class="button" type="submit" disabled={!ready}>{ "Join" }</button>
                </form>
            </div>
            <p class="chat__note" role="status">{ note.unwrap_or_default() }</p>
            <div class="chat__lines" role="log" aria-label="Messages" tabindex="0" ref={lines_ref}>
                <ol>{ for store.lines().map(chat_line) }</ol>
            </div>
            if may_speak {
                <form class="chat__say" onsubmit={on_say}>
                    <input
                        ref={text_ref}
                        class="field__input"
                        name="chat-text"
                        aria-label="Message"
                        placeholder="Message"
                        autocomplete="off"
                        maxlength={limits::CHAT_TEXT_CHARS_MAX.to_string()}
                    />
                    <button class="button button--primary" type="submit" disabled={!ready}>{ "Send" }</button>
                </form>
            } else {
                <p class="chat__note">{ "You hear what is said; to speak needs the role operator." }</p>
            }
        </section>
    }
}

fn chat_line(line: &Line) -> Html {
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let clock = format::clock(line.at_ms as i64, platform::zone_offset_min(line.at_ms));
    let (kind, user) = match &line.speaker {
        Speaker::System => ("chat__line--system", None),
        Speaker::Error => ("chat__line--error", None),
        Speaker::Other { user, .. } => ("chat__line--other", Some(user)),
        Speaker::Own(user) => ("chat__line--own", Some(user)),
    };
    // What the server says of who speaks, beside the name that they chose.
    let role = match &line.speaker {
        Speaker::Other { role, .. } if !role.is_empty() => Some(format!(" ({role})")),
        _ => None,
    };
    html! {
        <li class={classes!("chat__line", kind)} key={line.number}>
            if let Some(user) = user {
                <span class="chat__user">{ AttrValue::from(user.clone()) }</span>
                if let Some(role) = role {
                    <span class="chat__role">{ role }</span>
                }
                <span class="chat__time">{ clock }</span>
            }
            <span class="chat__text">{ AttrValue::from(line.text.clone()) }</span>
        </li>
    }
}
