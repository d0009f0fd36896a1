//! What the drawer shows and does: the channel, what was typed, where the focus goes. The markup in
//! [`super`] renders what this hook returns.

use std::rc::Rc;

use pulseboard_shared::protocol::rooms::check_channel;
use web_sys::{Element, HtmlElement, HtmlInputElement};
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use crate::{
    components::chat_button::BUTTON_ID,
    hooks::{ChannelEvent, Kind, use_channel, use_effect_with, use_selector},
    net::{config::Endpoint, link::LinkState},
    platform,
    stores::{
        change::Change,
        chat::{ChatStore, Say},
        session::SessionStore,
    },
    words,
};

/// Key in the browser's storage.
const NAME_KEY: &str = "pulseboard-chat-name";

/// Of somebody who did not give a name.
pub(super) const NAMELESS: &str = "Guest";

/// The chat as it is at this moment, and what can be done with it.
pub(super) struct Chat {
    /// Who said what, in which room.
    pub(super) store: Rc<ChatStore>,
    /// Under which name the reader speaks.
    pub(super) name: String,
    /// The room in its field: what was typed, else where the reader is.
    pub(super) room: String,
    /// Why nothing can be sent, or what was wrong with the room.
    pub(super) note: String,
    /// Whether something can be sent.
    pub(super) is_ready: bool,
    /// Whether the reader's role lets them speak.
    pub(super) may_speak: bool,
    /// The field of the message.
    pub(super) text_ref: NodeRef,
    /// The list of lines, which stays at its end.
    pub(super) lines_ref: NodeRef,
    pub(super) on_close: Callback<MouseEvent>,
    pub(super) on_key: Callback<KeyboardEvent>,
    pub(super) on_name_typed: Callback<InputEvent>,
    pub(super) on_room_typed: Callback<InputEvent>,
    pub(super) on_join: Callback<SubmitEvent>,
    pub(super) on_say: Callback<SubmitEvent>,
}

/// Connects to the chat for as long as the component is mounted.
#[hook]
pub(super) fn use_chat(endpoint: &Endpoint) -> Chat {
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
        Callback::from(move |ChannelEvent { event, data }: ChannelEvent| {
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
    let close = {
        let dispatch = dispatch.clone();
        Callback::from(move |()| dispatch.change(|chat| chat.show(false)))
    };
    let on_close = close.reform(|_: MouseEvent| ());
    let on_key = Callback::from(move |event: KeyboardEvent| {
        if event.key() == "Escape" {
            event.stop_propagation();
            close.emit(());
        }
    });
    let on_name_typed = {
        let name = name.setter();
        Callback::from(move |event: InputEvent| {
            let value = event.target_unchecked_into::<HtmlInputElement>().value();
            platform::remember(NAME_KEY, &value);
            name.set(value);
        })
    };
    let on_room_typed = {
        let draft = room_draft.setter();
        Callback::from(move |event: InputEvent| {
            draft.set(Some(
                event.target_unchecked_into::<HtmlInputElement>().value(),
            ));
        })
    };
    let on_join = {
        let (send, dispatch) = (channel.send.clone(), dispatch.clone());
        let (draft, problem) = (room_draft.clone(), problem.setter());
        Callback::from(move |event: SubmitEvent| {
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
        })
    };
    let on_say = {
        let (send, text_ref, name) = (channel.send.clone(), text_ref.clone(), name.clone());
        Callback::from(move |event: SubmitEvent| {
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
        })
    };
    let is_ready = channel.state == LinkState::Open;
    let state = match &channel.state {
        LinkState::Open => None,
        LinkState::Opening => Some(words::CONNECTING.to_owned()),
        LinkState::Lost => Some(words::LOST.to_owned()),
        LinkState::Refused(why) => Some(words::refused(why)),
    };
    let note = (*problem).clone().or(state);
    Chat {
        name: (*name).clone(),
        room: room_draft
            .as_deref()
            .unwrap_or_else(|| store.room())
            .to_owned(),
        store,
        note: note.unwrap_or_default(),
        is_ready,
        may_speak,
        text_ref,
        lines_ref,
        on_close,
        on_key,
        on_name_typed,
        on_room_typed,
        on_join,
        on_say,
    }
}
