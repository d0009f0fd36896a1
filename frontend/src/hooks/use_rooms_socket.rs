//! Keeps `/ws` open for all that the page follows, and the stores fed from it: live queries,
//! alerts, and what the view that is shown needs.

use std::{cell::RefCell, rc::Rc};

use gloo::render::{AnimationFrame, request_animation_frame};
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{
    ChannelEvent, Kind, use_channel, use_effect_with, use_feed::use_hearing, use_selector,
};
use crate::{
    net::{
        config::Endpoint,
        link::LinkState,
        rooms::{ALERTS, Follow, Incoming, Rooms},
        wire,
    },
    platform,
    stores::{
        alert::AlertStore, change::Change, feeds::FeedStore, live::LiveStore, series::SeriesStore,
    },
};

/// What is said on a socket that is silent, and answered.
const QUESTION: &str = r#"{"action":"ping"}"#;

/// What came of series since the last animation frame.
#[derive(Default)]
struct Pending {
    heard: Vec<Incoming>,
    frame: Option<AnimationFrame>,
}

/// Watches what [`SeriesStore::watch_requests`] says and follows alerts and what [`FeedStore`]
/// says, for as long as the component is mounted. When `nudge` grows, an attempt that would wait is
/// made at once.
#[hook]
pub fn use_rooms_socket(endpoint: Endpoint, nudge: u64) {
    let series = use_dispatch::<SeriesStore>();
    let alerts = use_dispatch::<AlertStore>();
    let feeds = use_dispatch::<FeedStore>();
    let live = use_dispatch::<LiveStore>();
    let of_series = use_selector(SeriesStore::watch_requests);
    let of_expressions = use_selector(LiveStore::watch_requests);
    let requests: Vec<_> = of_series.iter().chain(&*of_expressions).cloned().collect();
    let view = use_selector(FeedStore::select_view);
    let hear = use_hearing();
    let rooms = use_mut_ref(Rooms::default);
    let pending = use_mut_ref(Pending::default);
    let say = use_mut_ref(Callback::<String>::default);

    let on_heard = {
        let (rooms, say) = (Rc::clone(&rooms), Rc::clone(&say));
        let live = live.clone();
        Callback::from(move |ChannelEvent { event, data }: ChannelEvent| {
            let words = if event == "open" {
                rooms.borrow_mut().opened()
            } else {
                let (heard, words) = rooms.borrow_mut().text(&data);
                match heard {
                    Some(Incoming::Event { feed, event, data }) if feed != ALERTS => {
                        hear(feed, &event, &data);
                    }
                    Some(Incoming::Event { data, .. }) => {
                        if let Some(alert) = wire::alert(&data) {
                            alerts.change(|store| store.apply(&alert));
                        }
                    }
                    Some(heard) => take_in(&pending, (&series, &live), heard),
                    None => {}
                }
                words.into_iter().collect()
            };
            let say = say.borrow().clone();
            for text in words {
                say.emit(text);
            }
        })
    };
    let channel = use_channel(endpoint, "/ws".into(), Kind::Answering(QUESTION), on_heard);
    say.replace(channel.send.clone());
    {
        let rooms = Rc::clone(&rooms);
        use_effect_with(channel.state, move |state| {
            if *state != LinkState::Open {
                rooms.borrow_mut().closed();
                live.change(LiveStore::lost);
            }
            feeds.change(|store| store.show(state.clone()));
        });
    }
    use_effect_with(nudge, move |_| channel.nudge.emit(()));
    {
        let (rooms, send) = (Rc::clone(&rooms), channel.send.clone());
        use_effect_with(view, move |view| {
            let alerts = Follow {
                feed: ALERTS,
                asked: String::new(),
            };
            let all: Vec<Follow> = std::iter::once(alerts).chain((**view).clone()).collect();
            let words = rooms.borrow_mut().follow(&all);
            for text in words {
                send.emit(text);
            }
        });
    }
    use_effect_with(requests, move |requests| {
        let words = rooms.borrow_mut().watch(requests);
        for text in words {
            channel.send.emit(text);
        }
    });
}

/// Hands what came to the stores, once an animation frame; at once in a tab that has none.
fn take_in(
    pending: &Rc<RefCell<Pending>>,
    (series, live): (&Dispatch<SeriesStore>, &Dispatch<LiveStore>),
    heard: Incoming,
) {
    pending.borrow_mut().heard.push(heard);
    let flush = {
        let (pending, series, live) = (Rc::clone(pending), series.clone(), live.clone());
        move || {
            let all = std::mem::take(&mut *pending.borrow_mut()).heard;
            series.change(|store| {
                for heard in &all {
                    store.hear(heard);
                }
            });
            live.change(|store| {
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
