//! An event stream's session: one feed, followed by a client that has nothing to say.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{
    open,
    registry::Admission,
    takeover::Taken,
    viewer::{Viewer, Woken},
};
use crate::{
    app::App,
    base::telemetry::StreamKind,
    feed::{Feed, Payload, Subscription},
};
use crate::{stream::ws_session::discard, wire::Wire};

/// What an event stream is made of once its socket is there.
pub struct Following<P: Payload> {
    /// The door that it came through.
    pub kind: StreamKind,
    /// How it is framed.
    pub wire: Wire,
    /// What it is sent at once, framed.
    pub first: Vec<Bytes>,
    /// What it follows,
    pub feed: Arc<Feed<P>>,
    /// from this offset on,
    pub next: u64,
    /// encoded for this view.
    pub view: P::View,
}

impl<P: Payload> fmt::Debug for Following<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following")
            .field("kind", &self.kind)
            .field("wire", &self.wire)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Makes a viewer that follows one feed; the future serves it.
pub fn follow<P: Payload>(
    app: &App,
    taken: Taken,
    admission: Admission,
    following: Following<P>,
) -> impl Future<Output = ()> + Send + use<P> {
    let Following {
        kind,
        wire,
        first,
        feed,
        next,
        view,
    } = following;
    let first = std::iter::once(taken.head).chain(first);
    let viewer = open::viewer(app, kind, wire, taken.stream, first, &admission);
    let seat = feed.roster().join(Arc::clone(&viewer) as Arc<_>);
    viewer.follow(ONLY, Subscription::new(feed, next, view, viewer.id));
    async move {
        run(viewer, admission).await;
        drop(seat);
    }
}

/// Names the one cursor of an event stream.
const ONLY: u64 = 0;

/// Serves one event stream until it ends; the viewer's task. The client has nothing to say.
async fn run(viewer: Arc<Viewer>, admission: Admission) {
    let mut left = false;
    let why = loop {
        if let Some(why) = viewer.over() {
            break why;
        }
        if left {
            tokio::task::yield_now().await;
        } else {
            left = viewer.woken().await == Woken::Readable;
        }
        left = left && discard(&viewer);
    };
    admission.end(&viewer, why);
}
