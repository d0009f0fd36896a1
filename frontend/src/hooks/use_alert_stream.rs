//! Keeps the alert store fed where alerts do not come by the rooms' socket, and asks which go on
//! whenever the page begins to hear of them: from there on it is told only what happens.

use gloo::timers::callback::Interval;
use pulseboard_shared::protocol::alerts::RESOLVED_EVENT;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yewdux::{Dispatch, prelude::use_dispatch};

use super::{
    ChannelEvent, Kind, use_channel, use_effect_with, use_feed::use_falls_back, use_selector,
};
use crate::{
    net::{config::Endpoint, fetch, json::Json, link::LinkState, wire},
    stores::{alert::AlertStore, change::Change, feeds::FeedStore},
};

const STREAM: &str = "/events/alerts";

/// Where there is neither a socket nor a place for a stream the server is asked this often.
const ASKED_EVERY_MS: u32 = 5_000;

/// How the page hears of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Not yet.
    Nothing,
    /// Not at present.
    Lost,
    /// By a socket or a stream.
    Events,
    /// By asking again and again.
    Asking,
}

/// Feeds [`AlertStore`] for as long as the component is mounted.
#[hook]
pub fn use_alert_stream(endpoint: Endpoint) {
    let alerts = use_dispatch::<AlertStore>();
    let socket = use_selector(FeedStore::select_state);
    let falls_back = use_falls_back();
    let channel = use_channel(
        endpoint.clone(),
        if falls_back { STREAM } else { "" }.into(),
        Kind::Events {
            names: &["message", RESOLVED_EVENT],
            must: false,
        },
        {
            let alerts = alerts.clone();
            Callback::from(move |ChannelEvent { data, .. }: ChannelEvent| hear(&alerts, &data))
        },
    );
    let by = match (&*socket, falls_back, channel.state) {
        (LinkState::Open, ..) | (_, true, LinkState::Open) => By::Events,
        (_, true, LinkState::Lost) => By::Asking,
        (LinkState::Opening, false, _) | (_, true, _) => By::Nothing,
        _ => By::Lost,
    };
    use_effect_with((endpoint, by), move |(endpoint, by)| {
        let by = *by;
        if matches!(by, By::Events | By::Lost) {
            alerts.change(|store| store.set_listening(by == By::Events));
        }
        let endpoint = endpoint.clone();
        let ask = move || catch_up(endpoint.clone(), alerts.clone(), by == By::Asking);
        if matches!(by, By::Events | By::Asking) {
            ask();
        }
        let again = (by == By::Asking).then(|| Interval::new(ASKED_EVERY_MS, ask));
        move || drop(again)
    });
}

/// An alert, or the heartbeat of the stream.
fn hear(alerts: &Dispatch<AlertStore>, data: &str) {
    if let Some(alert) = Json::parse(data).as_ref().and_then(wire::alert) {
        alerts.change(|store| store.apply(&alert));
    }
}

fn catch_up(endpoint: Endpoint, alerts: Dispatch<AlertStore>, is_all: bool) {
    let asked = alerts.get().firing_incidents();
    spawn_local(async move {
        let active = fetch::active_alerts(&endpoint).await;
        alerts.change(|store| {
            if is_all {
                store.set_listening(active.is_some());
            }
            if let Some(active) = &active {
                store.reconcile(&asked, active);
            }
        });
    });
}
