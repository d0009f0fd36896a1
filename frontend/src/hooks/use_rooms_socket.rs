//! Keeps `/ws` open for the live queries of the page, and the series store fed from it.

use std::{cell::RefCell, rc::Rc};

use gloo::render::{AnimationFrame, request_animation_frame};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{Heard as Came, Kind, use_channel, use_effect_with, use_selector};
use crate::{
    net::{
        config::Endpoint,
        link::Standing,
        rooms::{Heard, Rooms},
    },
    platform,
    stores::series::SeriesStore,
};

/// What came since the last animation frame.
#[derive(Default)]
struct Pending {
    heard: Vec<Heard>,
    frame: Option<AnimationFrame>,
}

/// Watches what [`SeriesStore::wants`] says, for as long as the component is mounted.
#[hook]
pub fn use_rooms_socket(endpoint: Endpoint) {
    let dispatch = use_dispatch::<SeriesStore>();
    let wants = use_selector(SeriesStore::wants);
    let rooms = use_mut_ref(Rooms::default);
    let pending = use_mut_ref(Pending::default);
    let say = use_mut_ref(Callback::<String>::default);

    let on_heard = {
        let (rooms, say) = (Rc::clone(&rooms), Rc::clone(&say));
        Callback::from(move |Came { event, data }: Came| {
            let words = if event == "open" {
                rooms.borrow_mut().opened()
            } else {
                let (heard, words) = rooms.borrow_mut().text(&data);
                if let Some(heard) = heard {
                    take_in(&pending, &dispatch, heard);
                }
                words.into_iter().collect()
            };
            let say = say.borrow().clone();
            for text in words {
                say.emit(text);
            }
        })
    };
    let channel = use_channel(endpoint, "/ws".into(), Kind::Socket, on_heard);
    say.replace(channel.send.clone());
    {
        let rooms = Rc::clone(&rooms);
        use_effect_with(channel.standing == Standing::Open, move |open| {
            if !open {
                rooms.borrow_mut().closed();
            }
        });
    }
    use_effect_with(wants, move |wants| {
        let words = rooms.borrow_mut().want(wants);
        for text in words {
            channel.send.emit(text);
        }
    });
}

/// Hands what came to the store, once an animation frame; at once in a tab that has none.
fn take_in(pending: &Rc<RefCell<Pending>>, dispatch: &Dispatch<SeriesStore>, heard: Heard) {
    pending.borrow_mut().heard.push(heard);
    let flush = {
        let (pending, dispatch) = (Rc::clone(pending), dispatch.clone());
        move || {
            let all = std::mem::take(&mut *pending.borrow_mut()).heard;
            dispatch.reduce_mut(|store| {
                for heard in &all {
                    store.hear(heard);
                }
            });
        }
    };
    if platform::hidden() {
        flush();
    } else if pending.borrow().frame.is_none() {
        let frame = request_animation_frame(move |_| flush());
        pending.borrow_mut().frame = Some(frame);
    }
}
