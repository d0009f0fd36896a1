//! Event streams on a WebSocket: `GET /ws` carries what `/events/alerts`, `/api/metrics/stream`
//! and `/dashboard/stream` do, from the same feeds and by the same cursors. A client follows each
//! of the three at most once, so what it costs is bounded by how many there are.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use pulseboard_feed::{
    EventId, Feed, MemberGuard, Payload, Subscription,
    wire::{Framing, event},
};
use pulseboard_series::key::check_name;
use pulseboard_shared::protocol::{
    follow::{FeedName, Follow, FollowMessage},
    operator::StreamConfig,
};

use crate::{
    alerts::AlertView,
    app::App,
    base::json::json_text,
    operator::OperatorView,
    stream::viewer::Viewer,
    tracking::{BucketLength, UpdateView},
};

/// The type whose buckets are sent when none is named.
pub const DEFAULT_TYPE: &str = "page_view";

/// Names the cursors among those of a viewer: rooms count from one, watches from 2³².
const FIRST_KEY: u64 = 1 << 48;

/// What one client follows; it stops when this is dropped.
#[derive(Debug, Default)]
pub struct Followed(HashMap<FeedName, MemberGuard>);

const fn key(feed: FeedName) -> u64 {
    FIRST_KEY + feed as u64
}

impl Followed {
    /// Follows a feed, in place of what was followed of it before.
    ///
    /// # Errors
    /// The text for an `error` message; what was followed before still is.
    pub fn follow(
        &mut self,
        app: &App,
        tenant: &str,
        viewer: &Arc<Viewer>,
        asked: &Follow,
    ) -> Result<(), String> {
        let wire = Framing::WebSocket(viewer.form());
        let last_seen: Option<EventId> = asked
            .last_event_id
            .as_deref()
            .and_then(|id| id.parse().ok());
        match asked.feed {
            FeedName::Alerts => {
                let tenant = tenant.into();
                let view = AlertView { tenant, wire };
                self.begin(viewer, asked.feed, app.alerts.feed(), last_seen, view, None);
            }
            FeedName::Operator => {
                let config = json_text(&StreamConfig {
                    interval_ms: app.live.interval_ms(),
                });
                let first = event(wire, asked.feed, Some("config"), None, &config);
                let (feed, view) = (app.operator.feed(), OperatorView(wire));
                self.begin(viewer, asked.feed, feed, last_seen, view, Some(first));
            }
            FeedName::Aggregate => {
                let view = update_view(asked.name.as_deref(), asked.window, wire)
                    .map_err(|(field, why)| format!("{field:?} is not accepted: {why}"))?;
                // It is among the clients that it is told of when it comes for the first time.
                self.end(viewer, asked.feed);
                let tracked = app.tracked.tenant(tenant);
                let init = json_text(&tracked.init());
                let first = event(wire, asked.feed, Some("init"), None, &init);
                self.begin(viewer, asked.feed, tracked.feed(), None, view, Some(first));
            }
        }
        Ok(())
    }

    /// Follows a feed no more.
    pub fn unfollow(&mut self, viewer: &Viewer, feed: FeedName) {
        self.end(viewer, feed);
        viewer.send_message(&FollowMessage::Unfollowed { feed });
    }

    fn end(&mut self, viewer: &Viewer, feed: FeedName) {
        viewer.unfollow(key(feed));
        self.0.remove(&feed);
    }

    fn begin<P: Payload>(
        &mut self,
        viewer: &Arc<Viewer>,
        name: FeedName,
        feed: &Arc<Feed<P>>,
        last_seen: Option<EventId>,
        view: P::View,
        first: Option<Bytes>,
    ) {
        self.end(viewer, name);
        let next = feed.resume(last_seen);
        viewer.send_message(&FollowMessage::Following { feed: name });
        if let Some(first) = first {
            viewer.reply(first);
        }
        let seat = feed.members().join(Arc::clone(viewer) as Arc<_>);
        self.0.insert(name, seat);
        viewer.follow(
            key(name),
            Subscription::new(Arc::clone(feed), next, view, viewer.id),
        );
    }
}

/// What a follower of the aggregate asked for.
///
/// # Errors
/// Which part is not accepted, and why.
pub fn update_view(
    name: Option<&str>,
    window: Option<u64>,
    wire: Framing,
) -> Result<UpdateView, (&'static str, String)> {
    let name = name.unwrap_or(DEFAULT_TYPE);
    check_name(name).map_err(|reason| ("type", reason.to_string()))?;
    let length = match window {
        None => BucketLength::default(),
        Some(seconds) => u32::try_from(seconds)
            .ok()
            .and_then(BucketLength::from_seconds)
            .ok_or_else(|| ("window", "accepted are 60, 300 and 3600".to_owned()))?,
    };
    Ok(UpdateView {
        name: name.into(),
        length,
        wire,
    })
}
