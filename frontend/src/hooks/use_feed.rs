//! Feeds that the page follows: on the rooms' socket, and by event streams where no socket opens.

use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::{ChannelEvent, Kind, use_channel, use_effect_with, use_selector};
use crate::{
    net::{config::Endpoint, json::Json, link::LinkState, rooms::Follow},
    platform,
    stores::{
        aggregate::Aggregate, change::Change, connection::ConnectionStore, feeds::FeedStore,
        operator::OperatorStore,
    },
};

/// Where a feed can be had as an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its address, but for what is asked.
    pub path: &'static str,
    /// Its events.
    pub names: &'static [&'static str],
}

/// Whether sockets have been found not to open, so that event streams are all there is. A socket
/// that is merely lost comes back.
#[hook]
pub fn use_falls_back() -> bool {
    let socket = *use_selector(|store: &ConnectionStore| store.view.transport.is_socket());
    let open = *use_selector(|store: &FeedStore| store.select_state() == LinkState::Open);
    !socket && !open
}

/// Hands an event of a feed that a view follows to the store that the view shows.
#[hook]
pub(super) fn use_hearing() -> impl Fn(&str, &str, &Json) + Clone + 'static {
    let operator = use_dispatch::<OperatorStore>();
    let aggregate = use_dispatch::<Aggregate>();
    move |feed: &str, event: &str, data: &Json| match feed {
        "operator" => operator.change(|store| store.hear(event, data, platform::now_ms())),
        "aggregate" => aggregate.change(|store| {
            store.hear(event, data);
            store.heard_ms = platform::now_ms();
        }),
        _ => {}
    }
}

/// Follows a feed for as long as the component is mounted, and keeps its store; `query` is what is
/// asked where it comes as an event stream. How it stands.
#[hook]
pub fn use_feed(endpoint: &Endpoint, follow: Follow, stream: Stream, query: &str) -> LinkState {
    let feeds = use_dispatch::<FeedStore>();
    let state = use_selector(FeedStore::select_state);
    let falls_back = use_falls_back();
    let hear = use_hearing();
    let feed = follow.feed;
    use_effect_with(follow, move |follow| {
        feeds.change(|store| store.follow(follow.clone()));
        let follow = follow.clone();
        move || feeds.change(|store| store.unfollow(&follow))
    });
    let path = if falls_back {
        format!("{}{query}", stream.path)
    } else {
        String::new()
    };
    let channel = use_channel(
        endpoint.clone(),
        path.into(),
        Kind::Events {
            names: stream.names,
            must: true,
        },
        Callback::from(move |ChannelEvent { event, data }: ChannelEvent| {
            // What is no JSON is text.
            let data = Json::parse(&data).unwrap_or(Json::Text(data));
            hear(feed, event, &data);
        }),
    );
    if falls_back {
        channel.state
    } else {
        (*state).clone()
    }
}
