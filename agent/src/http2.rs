//! How a connection of HTTP/2 begins, which a server's own timers do not look at: whoever connects
//! and says nothing would keep its place. For both doors of gRPC, the agent's and the hub's.

use std::{io::Cursor, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    time::timeout,
};

/// What a client of HTTP/2 begins with (RFC 9113 §3.4), and how long the head of the frame of
/// settings is that follows.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;

/// A connection that has begun as one of HTTP/2 does within `patience`, with all that was read of
/// it; `None` for one that is silent, or begins otherwise.
pub async fn begun<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    patience: Duration,
) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let mut opening = vec![0; PREFACE.len() + FRAME_HEAD_BYTES];
    let read = timeout(patience, stream.read_exact(&mut opening)).await;
    if !matches!(read, Ok(Ok(_))) || !opening.starts_with(PREFACE) {
        return None;
    }
    let (reading, writing) = tokio::io::split(stream);
    Some(tokio::io::join(
        Cursor::new(opening).chain(reading),
        writing,
    ))
}
