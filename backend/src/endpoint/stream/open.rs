//! What every stream's handler does once its request is checked: find a place, claim the socket,
//! and start the viewer's task.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use pulseboard_feed::{Arriving, Feed, Payload, Spot, Subscription, wire::Framing};
use salvo::{Depot, Request};

use crate::{
    access::Credential,
    app::App,
    base::{
        error::AppError,
        task::{catch_panic, count_panic},
        telemetry::StreamKind,
    },
    http::{caller, tenant::borrowed},
    rooms::RoomCursor,
    shares::Refused,
    stream::{
        registry::{Admission, Full},
        socket::Socket,
        sse_session,
        takeover::{TakenSocket, Takeover},
        viewer::Viewer,
        ws_session::{self, Inbound},
    },
};
use std::fmt;

/// Seconds after which a client that found no place may ask again.
const RETRY_AFTER_S: u32 = 5;

/// A place for a stream whose socket is not claimed yet.
#[derive(Debug)]
pub struct Offer {
    app: Arc<App>,
    takeover: Takeover,
    admission: Admission,
}

/// Finds a place for a stream.
///
/// # Errors
/// With `Retry-After`: 503 when the server is stopping or all places are taken, 429 when those of
/// the client's address or token are.
pub async fn offer(
    app: &Arc<App>,
    request: &mut Request,
    depot: &Depot,
    kind: StreamKind,
) -> Result<Offer, AppError> {
    if app.stopping.is_cancelled() {
        return Err(AppError::unavailable(
            "the server is stopping",
            RETRY_AFTER_S,
        ));
    }
    let Some(takeover) = request.extensions().get::<Takeover>().cloned() else {
        tracing::error!(
            stream.kind = kind.as_str(),
            "a stream was asked for outside a connection"
        );
        return Err(AppError::internal());
    };
    let credential = request
        .extensions()
        .get::<Credential>()
        .copied()
        .unwrap_or_default();
    let tenant = borrowed(request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(tenant));
    let address = caller::client_address(request);
    app.registry.ask_others(&keys).await;
    let admission = app
        .registry
        .admit(address, &keys, credential)
        .map_err(refuse)?;
    Ok(Offer {
        app: Arc::clone(app),
        takeover,
        admission,
    })
}

fn refuse(full: Full) -> AppError {
    match full {
        Full::Server(max) => AppError::unavailable(
            format!("all {max} places for streams are taken"),
            RETRY_AFTER_S,
        ),
        Full::Address(max) => AppError::too_many(
            format!("all {max} places for streams of one address are taken"),
            RETRY_AFTER_S,
        ),
        Full::Token(max) => AppError::too_many(
            format!("all {max} places for streams of one token are taken"),
            RETRY_AFTER_S,
        ),
        Full::Share(scope, max) => {
            let what = "streams";
            let whose = Refused { what, scope, max };
            AppError::unavailable(
                format!("the last free places for streams are for others: {whose}"),
                RETRY_AFTER_S,
            )
        }
    }
}

impl Offer {
    /// Names the stream, as its viewer will be named.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.admission.id
    }

    /// Claims the socket; `start` makes the viewer and returns the future that serves it.
    pub fn serve<F>(
        self,
        start: impl FnOnce(Arc<App>, TakenSocket, Admission) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self {
            app,
            takeover,
            mut admission,
        } = self;
        takeover.claim(move |mut taken| {
            admission.keep_file(taken.file.take());
            let (tasks, telemetry) = (app.tasks.clone(), Arc::clone(&app.telemetry));
            let started = AssertUnwindSafe(|| start(app, taken, admission));
            match catch_unwind(started) {
                Ok(viewer) => {
                    tasks.spawn(catch_panic(viewer, telemetry));
                }
                Err(_) => count_panic(&telemetry),
            }
        });
    }

    /// Claims the socket for an event stream; `start` says what it follows, once the socket is
    /// there.
    pub fn follow<P: Payload>(self, start: impl FnOnce(&App) -> Following<P> + Send + 'static) {
        self.serve(|app, taken, admission| {
            let following = start(&app);
            follow(&app, taken, admission, following)
        });
    }
}

/// The future that serves a WebSocket viewer.
pub fn serve_web_socket(
    app: Arc<App>,
    viewer: Arc<Viewer>,
    admission: Admission,
    inbound: impl Inbound + 'static,
    read_before: Bytes,
) -> impl Future<Output = ()> + Send {
    let limits = ws_session::MessageLimits::of(&app.settings);
    let (telemetry, clock) = (Arc::clone(&app.telemetry), app.clock.clone());
    async move {
        ws_session::run(
            viewer,
            admission,
            inbound,
            read_before,
            limits,
            telemetry,
            clock,
        )
        .await
    }
}

/// Makes a viewer of a claimed socket and registers it.
#[must_use]
pub fn viewer(
    app: &App,
    kind: StreamKind,
    wire: Framing,
    stream: Socket,
    first: impl IntoIterator<Item = Bytes>,
    admission: &Admission,
) -> Arc<Viewer> {
    let viewer = Viewer::new(
        admission.id,
        kind,
        wire,
        stream,
        first,
        app.clock.clone(),
        Arc::clone(&app.telemetry),
    );
    admission.register(&viewer);
    // Whoever ended the credential since the request was checked did not find this stream; whoever
    // ends it from here on does.
    if let Err(ended) = app.access.check_standing(admission.credential()) {
        admission.refuse(&viewer, ended);
    }
    viewer
}

/// Has a viewer follow what is said in a room, under `key`; `first` is what it is told when it
/// does.
pub fn enter_room(viewer: &Viewer, key: u64, entering: RoomCursor, first: Bytes) {
    let RoomCursor { cursor, waits } = entering;
    match waits {
        // Said when it holds: whoever has read it misses nothing that is said from then on.
        Some(seen) => viewer.follow(key, Arriving::new(cursor, first, seen)),
        None => {
            if !first.is_empty() {
                viewer.reply(first);
            }
            viewer.follow(key, cursor);
        }
    }
}

/// What an event stream is made of once its socket is there.
pub struct Following<P: Payload> {
    /// The endpoint that it came through.
    pub kind: StreamKind,
    /// How it is framed.
    pub wire: Framing,
    /// What it is sent at once, framed.
    pub first: Vec<Bytes>,
    /// What it follows,
    pub feed: Arc<Feed<P>>,
    /// from this place on,
    pub next: Spot,
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
fn follow<P: Payload>(
    app: &App,
    taken: TakenSocket,
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
    let viewer = self::viewer(app, kind, wire, taken.stream, first, &admission);
    let seat = feed.members().join(Arc::clone(&viewer) as Arc<_>);
    viewer.follow(ONLY, Subscription::new(feed, next, view, viewer.id));
    async move {
        sse_session::run(viewer, admission).await;
        drop(seat);
    }
}

/// Names the one cursor of an event stream.
const ONLY: u64 = 0;

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{Ipv4Addr, TcpListener},
    };

    use pulseboard_feed::{Fanout, Members};
    use tokio::net::TcpStream;

    use super::*;
    use crate::{
        base::{clock::Clock, telemetry::Telemetry},
        shares::CallerKeys,
        stream::registry::{Registry, StreamLimits},
    };

    #[tokio::test]
    async fn a_panic_in_a_viewers_task_ends_that_stream_and_is_counted() {
        let telemetry = Arc::new(Telemetry::default());
        let limits = StreamLimits {
            streams: 1,
            per_address: 1,
            per_token: 1,
            idle_ms: 1_000,
            write_ms: 1_000,
        };
        let registry = Registry::new(limits, Arc::clone(&telemetry), None);
        let fanout = Fanout::start(1, &telemetry.feed).expect("a thread");
        let members = Arc::new(Members::new(fanout.shards()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (mut client, _) = listener.accept().expect("accepted");

        let keys = CallerKeys {
            client: None,
            address: Some(address.ip()),
            token: None,
            tenant: None,
        };
        let admission = registry
            .admit(address.ip(), &keys, Credential::default())
            .expect("a place");
        let kind = StreamKind::WsChat;
        let viewer = Viewer::new(
            admission.id,
            kind,
            Framing::WebSocket(pulseboard_shared::codec::Encoding::Json),
            stream.into(),
            [],
            Clock::system(),
            Arc::clone(&telemetry),
        );
        admission.register(&viewer);
        let seat = members.join(Arc::clone(&viewer) as Arc<_>);
        let task = async move {
            let _owned = (viewer, admission, seat);
            tokio::task::yield_now().await;
            panic!("as the test wants it");
        };
        catch_panic(task, Arc::clone(&telemetry)).await;

        assert_eq!(telemetry.panics.get(), 1);
        assert_eq!(telemetry.open(kind), 0, "counted as ended");
        assert_eq!(
            (registry.open(), members.len()),
            (0, 0),
            "its places are free"
        );
        assert_eq!(client.read(&mut [0]).expect("an end"), 0, "it is closed");
    }
}
