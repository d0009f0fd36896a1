//! The floor: the least that a tokio program can do to write the same bytes to as many sockets.
//!
//! It accepts, answers the handshake of a WebSocket or an event stream, and K times a second
//! writes one frame to every socket by `try_write` in a loop, on one thread. Each viewer has a
//! task that reads, so that a closed connection is noticed. What a full socket does not take is
//! thrown away: whoever does better than that pays for it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use pulseboard_bench::{Transport, now_us, wire};
use tokio::net::{TcpSocket, TcpStream};

/// A request head of the load client is shorter.
const HEAD_BYTES_MAX: usize = 2 * 1024;

#[derive(Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long)]
    bind: SocketAddr,
    /// Which handshake to answer
    #[arg(long)]
    transport: Transport,
    /// Frames a second
    #[arg(long)]
    rate: f64,
    /// Bytes of a frame's payload
    #[arg(long, default_value_t = 400)]
    bytes: usize,
}

type Viewers = Arc<Mutex<Vec<Arc<TcpStream>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(arguments.bind)?;
    let listener = socket.listen(4_096)?;
    let viewers = Viewers::default();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / arguments.rate));
    // A late frame is not made up for by several at once.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting")?;
                stream.set_nodelay(true)?;
                let viewers = Arc::clone(&viewers);
                let transport = arguments.transport;
                tokio::spawn(async move {
                    let stream = Arc::new(stream);
                    if greet(&stream, transport).await.is_ok() {
                        lock(&viewers).push(Arc::clone(&stream));
                        read_to_end(&stream).await;
                        lock(&viewers).retain(|known| !Arc::ptr_eq(known, &stream));
                    }
                });
            }
            _ = ticks.tick() => {
                let payload = wire::payload(arguments.bytes, now_us());
                let frame = wire::frame(arguments.transport, &payload);
                for viewer in lock(&viewers).iter() {
                    // Full or gone: this is the floor, it does not care.
                    drop(viewer.try_write(&frame));
                }
            }
        }
    }
}

fn lock(viewers: &Viewers) -> std::sync::MutexGuard<'_, Vec<Arc<TcpStream>>> {
    viewers.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn greet(stream: &TcpStream, transport: Transport) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.readable().await?;
        match stream.try_read_buf(&mut head) {
            Ok(0) => bail!("closed"),
            Ok(_) if head.len() > HEAD_BYTES_MAX => bail!("head too long"),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    let answer = match transport {
        Transport::Ws => {
            let head = String::from_utf8_lossy(&head);
            let key = head
                .lines()
                .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
                .context("no key")?;
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                tungstenite::handshake::derive_accept_key(key.as_bytes())
            )
        }
        Transport::Sse => "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned(),
    };
    // The socket is new: an answer this short fits.
    if stream.try_write(answer.as_bytes())? < answer.len() {
        bail!("the answer did not fit");
    }
    Ok(())
}

async fn read_to_end(stream: &TcpStream) {
    while stream.readable().await.is_ok() {
        let mut buffer = [0; 256];
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
