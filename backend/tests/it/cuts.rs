//! Connections that are cut at random: what arrives in the end is what was published, each once
//! and in order, whatever the transport.
//!
//! `PULSEBOARD_CUT_TICKS` makes the test as long as one likes: the default takes some seconds, and
//! 35 000 ticks are about a minute of cuts on two cores. The seed is fixed, so the long form cuts
//! where the short one does and goes on from there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventsource_stream::Eventsource;
use futures_util::{SinkExt, StreamExt};
use pulseboard::server::accept;
use pulseboard_shared::{
    Metric,
    codec::decode,
    protocol::metrics::{ServerMessage, Snapshot},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{TestServer, ws::WsClient};

const TICKS: u64 = 2_000;
const HOURS: Duration = Duration::from_secs(360_000);
const SEED: u64 = 20_261_121;

/// A proxy that ends each connection after a number of bytes of its choice, often in the middle
/// of a frame.
struct Proxy {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = accept::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let cuts = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(Self::accept(listener, server, Arc::clone(&cuts)));
        Self {
            address,
            cuts,
            accepting,
        }
    }

    async fn accept(listener: TcpListener, server: SocketAddr, cuts: Arc<AtomicU64>) {
        let mut random = fastrand::Rng::with_seed(SEED);
        while let Ok((client, _)) = listener.accept().await {
            // Small budgets cut answers' heads, large ones let a long resume through.
            let scale = random.u32(6..20);
            let budget = random.u64(0..1 << scale);
            let cuts = Arc::clone(&cuts);
            tokio::spawn(async move {
                let Ok(upstream) = TcpStream::connect(server).await else {
                    return;
                };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = upstream.into_split();
                tokio::select! {
                    () = copy(&mut from_client, &mut to_server, u64::MAX) => {}
                    () = copy(&mut from_server, &mut to_client, budget) => {
                        cuts.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Copies until either side ends or the budget is used up.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    budget: u64,
) {
    let mut left = budget;
    let mut buffer = [0; 4_096];
    while left > 0 {
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(count @ 1..) = from.read(&mut buffer[..wanted]).await else {
            return;
        };
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        left -= count as u64;
    }
}

/// `cpu_usage` at a tick; every seventh is worth an alert.
fn cpu_at(offset: u64) -> f64 {
    let cpu = u32::try_from(offset % 80).expect("small");
    f64::from(if offset.is_multiple_of(7) {
        91 + cpu % 9
    } else {
        cpu
    })
}

/// What a client of ticks has; refuses anything twice, missing, out of order or wrong.
struct Ticks {
    epoch: String,
    newest: u64,
}

impl Ticks {
    fn take(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Resumed(snapshot) => self.take_snapshot(&snapshot),
            ServerMessage::Metrics(tick) => {
                assert_eq!(
                    (tick.epoch, tick.offset),
                    (self.epoch.clone(), self.newest + 1)
                );
                self.take_samples(&tick.data);
            }
            other => panic!("nothing is lost and nobody is slow: {other:?}"),
        }
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot) {
        let missed = usize::try_from(snapshot.offset - self.newest).expect("small");
        assert_eq!(snapshot.data.len(), missed * 4, "exactly what was missed");
        for samples in snapshot.data.chunks(4) {
            self.take_samples(samples);
        }
        assert_eq!(self.newest, snapshot.offset);
    }

    fn take_samples(&mut self, samples: &[Metric]) {
        self.newest += 1;
        assert_eq!(
            samples[0].value,
            cpu_at(self.newest),
            "tick {}",
            self.newest
        );
    }
}

/// Follows `/ws/metrics` through the proxy until the last tick is there.
async fn follow_socket(proxy: SocketAddr, encoding: &str, epoch: String, last: u64) -> u64 {
    let mut ticks = Ticks { epoch, newest: 0 };
    let mut connections = 0;
    while ticks.newest < last {
        connections += 1;
        let url = format!(
            "ws://{proxy}/ws/metrics?epoch={}&offset={}&encoding={encoding}",
            ticks.epoch, ticks.newest
        );
        let Ok((mut socket, _)) = tokio_tungstenite::connect_async(url).await else {
            continue;
        };
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(text) => ticks.take(ServerMessage::parse(&text).expect("a message")),
                Message::Binary(bytes) => ticks.take(decode(&bytes).expect("a message")),
                _ => {}
            }
            if ticks.newest >= last {
                break;
            }
        }
    }
    connections
}

/// Follows an event stream through the proxy by `Last-Event-ID`, as browsers do, for as long as
/// `take` wants more.
async fn follow_events(
    proxy: SocketAddr,
    path: &str,
    first_id: String,
    mut take: impl FnMut(&str, &str) -> bool,
) -> u64 {
    let client = reqwest::Client::new();
    let mut last_id = first_id;
    let mut connections = 0;
    loop {
        connections += 1;
        let request = client
            .get(format!("http://{proxy}{path}"))
            .header("last-event-id", &last_id);
        let Ok(answer) = request.send().await else {
            continue;
        };
        let mut events = answer.bytes_stream().eventsource();
        while let Some(Ok(event)) = events.next().await {
            if event.data.contains("\"heartbeat\"") {
                continue;
            }
            last_id.clone_from(&event.id);
            if !take(&event.event, &event.data) {
                return connections;
            }
        }
    }
}

/// Follows a room through the proxy until message `last`.
async fn follow_room(proxy: SocketAddr, mut cursor: (Value, Value), last: u64) -> u64 {
    let mut newest = 0;
    let mut connections = 0;
    while newest < last {
        connections += 1;
        let Ok((mut socket, _)) =
            tokio_tungstenite::connect_async(format!("ws://{proxy}/ws")).await
        else {
            continue;
        };
        let join = json!({"action": "subscribe", "channel": "news", "epoch": cursor.0, "offset": cursor.1});
        if socket.send(Message::text(join.to_string())).await.is_err() {
            continue;
        }
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["channel"] != "news" || message["type"] != "message" {
                continue;
            }
            assert_eq!(message["data"], newest + 1, "once and in order");
            newest += 1;
            cursor = (message["epoch"].clone(), message["offset"].clone());
            if newest >= last {
                break;
            }
        }
    }
    connections
}

async fn publish(publisher: &mut WsClient, number: u64) {
    let message = json!({"action": "publish", "channel": "news", "data": number});
    publisher.send(&message.to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tick_alert_and_message_arrives_once_over_connections_that_are_cut() {
    let ticks = std::env::var("PULSEBOARD_CUT_TICKS").map_or(TICKS, |text| {
        text.parse()
            .expect("PULSEBOARD_CUT_TICKS is a whole number")
    });
    let mut server = TestServer::start_with(|settings| {
        settings.window_size = usize::try_from(ticks).expect("small");
        settings.alert_check = Duration::from_secs(1);
        settings.write_timeout = HOURS;
        settings.idle_timeout = HOURS;
    })
    .await;
    let proxy = Proxy::start(server.address).await;
    let mut whole = server.ws("/ws/metrics").await;
    let initial = whole.json_of("initial").await;
    let epoch = initial["epoch"].as_str().expect("an epoch").to_owned();

    // One member stays, so the room does; its first message tells where the others resume from.
    let mut member = server.ws("/ws").await;
    member
        .send(r#"{"action":"subscribe","channel":"news","cursor":true}"#)
        .await;
    let mut publisher = server.ws("/ws").await;
    while member.json().await["type"] != "subscribed" {}
    publish(&mut publisher, 0).await;
    let first = loop {
        let message = member.json().await;
        if message["channel"] == "news" && message["type"] == "message" {
            break message;
        }
    };

    // It goes on reading, so that its buffers do not fill and it stays the member that it is.
    let staying = tokio::spawn(async move { while member.next_message().await.is_some() {} });
    let address = proxy.address;
    let json = tokio::spawn(follow_socket(address, "json", epoch.clone(), ticks));
    let binary = tokio::spawn(follow_socket(address, "bin", epoch.clone(), ticks));
    let events = tokio::spawn({
        let mut got = Ticks {
            epoch: epoch.clone(),
            newest: 0,
        };
        let epoch = epoch.clone();
        async move {
            follow_events(address, "/events/metrics", epoch, |_, data| {
                got.take(ServerMessage::parse(data).expect("a message"));
                got.newest < ticks
            })
            .await
        }
    });
    // A tick in seven fires, the next one resolves.
    let fired: Vec<u64> = (1..=ticks)
        .filter(|offset| offset.is_multiple_of(7))
        .collect();
    let alerts = tokio::spawn({
        let mut expected = fired
            .iter()
            .flat_map(|offset| [(*offset, "firing"), (*offset, "resolved")])
            .take_while(|(offset, state)| *state == "firing" || *offset < ticks)
            .collect::<std::collections::VecDeque<_>>();
        let epoch = epoch.clone();
        async move {
            follow_events(address, "/events/alerts", epoch, |_, data| {
                let alert: Value = serde_json::from_str(data).expect("JSON");
                let (offset, state) = expected.pop_front().expect("no more than were published");
                assert_eq!(alert["state"], state, "{alert}");
                if state == "firing" {
                    assert_eq!(alert["value"], cpu_at(offset), "the alert of tick {offset}");
                }
                !expected.is_empty()
            })
            .await
        }
    });
    let messages = ticks / 4;
    let room = tokio::spawn(follow_room(
        address,
        (first["epoch"].clone(), first["offset"].clone()),
        messages,
    ));

    for offset in 1..=ticks {
        server.tick(cpu_at(offset)).await;
        assert_eq!(whole.json_of("metrics").await["offset"], offset);
        if offset.is_multiple_of(4) {
            publish(&mut publisher, offset / 4).await;
        }
    }
    let all = async { tokio::try_join!(json, binary, events, alerts, room) };
    let connections = tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("everybody has everything in time")
        .expect("nothing lost, doubled or out of order");
    staying.abort();
    let cuts = proxy.cuts.load(Ordering::Relaxed);
    assert!(cuts > 50, "{cuts} cuts, {connections:?} connections");
    assert_eq!(server.own_metric("pulseboard_panics_total").await, 0);
    server.stop().await;
}
