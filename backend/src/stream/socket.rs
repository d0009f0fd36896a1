//! What a viewer writes to: a socket, the same with TLS over it, or a stream of a connection of
//! HTTP/2.
//!
//! Nearly all are plain, and what those need is done in place; the others are a call further away.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
};

use parking_lot::Mutex;
use rustls::ServerConnection;
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};

use super::pipe::Pipe;

/// What a viewer writes to and is heard by.
#[derive(Debug)]
pub enum Socket {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted by us.
    Tls(Box<TlsSocket>),
    /// One of several on a connection of HTTP/2, whose task writes for it.
    Pipe(Pipe),
}

// A viewer's first lines of memory hold it.
const _: () = assert!(size_of::<Socket>() <= size_of::<TcpStream>() + size_of::<usize>());

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl From<Pipe> for Socket {
    fn from(pipe: Pipe) -> Self {
        Self::Pipe(pipe)
    }
}

impl Socket {
    /// A socket whose handshake is done.
    #[must_use]
    pub fn tls(stream: TcpStream, session: ServerConnection) -> Self {
        Self::Tls(Box::new(TlsSocket {
            stream,
            session: Mutex::new(session),
        }))
    }

    /// Waits until something can be done. Cancel safe.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Plain(stream) => stream.ready(interest).await,
            Self::Tls(tls) => tls.stream.ready(interest).await,
            Self::Pipe(pipe) => Ok(pipe.ready(interest).await),
        }
    }

    /// Writes as much as there is room for. Past the runtime: asking it first whether the socket is
    /// ready costs a visit to memory of its own for each viewer, and it is as a rule. Where it is
    /// not, the runtime is asked, so that it knows what to wait for.
    #[inline]
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => send(stream, bytes),
            other => other.send_otherwise(&[IoSlice::new(bytes)]),
        }
    }

    /// The same for several pieces, one behind the other, in one call.
    pub(super) fn send_together(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => send_together(stream, pieces),
            other => other.send_otherwise(pieces),
        }
    }

    #[cold]
    fn send_otherwise(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => send_together(stream, pieces),
            Self::Tls(tls) => tls.send(pieces),
            Self::Pipe(pipe) => pipe.send(pieces),
        }
    }

    /// Writes what was taken and is not with the kernel yet; a plain socket has nothing of the
    /// kind.
    ///
    /// # Errors
    /// `WouldBlock` where the socket has no room for all of it.
    #[inline]
    pub(super) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) | Self::Pipe(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Reads what is there.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Tls(tls) => tls.read(buffer),
            Self::Pipe(pipe) => pipe.read(),
        }
    }

    /// Says that nothing more is written. The peer may be gone already, which is what we are about
    /// to find out.
    pub(super) fn close_write_side(&self) {
        match self {
            Self::Plain(stream) => shutdown(stream),
            Self::Tls(tls) => tls.close_write_side(),
            Self::Pipe(pipe) => pipe.close(),
        }
    }

    /// The address of the client.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.peer_addr().ok(),
            Self::Tls(tls) => tls.stream.peer_addr().ok(),
            Self::Pipe(pipe) => Some(pipe.peer()),
        }
    }

    /// Whatever names the socket to the system; read for being read.
    #[cfg(unix)]
    #[inline]
    pub(super) fn name(&self) -> usize {
        match self {
            Self::Plain(stream) => {
                usize::try_from(std::os::fd::AsRawFd::as_raw_fd(stream)).unwrap_or_default()
            }
            Self::Tls(_) | Self::Pipe(_) => 0,
        }
    }

    #[cfg(not(unix))]
    pub(super) fn name(&self) -> usize {
        0
    }
}

fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match socket2::SockRef::from(stream).send(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.try_write(bytes),
        sent => sent,
    }
}

fn send_together(stream: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    match socket2::SockRef::from(stream).send_vectored(pieces) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            stream.try_write_vectored(pieces)
        }
        sent => sent,
    }
}

fn shutdown(stream: &TcpStream) {
    drop(socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write));
}

/// A socket with TLS over it. What is written is encrypted where it is written, by whoever does:
/// the fan-out thread as a rule.
#[derive(Debug)]
pub struct TlsSocket {
    stream: TcpStream,
    /// A leaf lock below the viewer's outbox. It holds at most 64 KiB that the kernel did not take,
    /// and one record that has not arrived in whole.
    session: Mutex<ServerConnection>,
}

/// The socket, as the session writes to it.
struct Sending<'a>(&'a TcpStream);

impl io::Write for Sending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(self.0, bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        send_together(self.0, pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket, as the session reads from it.
struct Receiving<'a>(&'a TcpStream);

impl io::Read for Receiving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl TlsSocket {
    /// Takes what the session has room for, once all that it took before is with the kernel: so
    /// what waits for a socket that is full is with the viewer, but for what was taken last.
    fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.lock();
        self.flush_session(&mut session)?;
        let taken = io::Write::write_vectored(&mut session.writer(), pieces)?;
        match self.flush_session(&mut session) {
            // The rest is written by [`Self::flush`].
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.flush_session(&mut self.session.lock())
    }

    fn flush_session(&self, session: &mut ServerConnection) -> io::Result<()> {
        while session.wants_write() {
            if session.write_tls(&mut Sending(&self.stream))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        loop {
            match io::Read::read(&mut session.reader(), buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without its alert is one all the same: every frame says how long it is.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if session.read_tls(&mut Receiving(&self.stream))? == 0 {
                return Ok(0);
            }
            let processed = session.process_new_packets();
            // An alert that says why, or the answer to new keys.
            let answered = self.flush_session(&mut session);
            if let Err(error) = processed {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            match answered {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    fn close_write_side(&self) {
        let mut session = self.session.lock();
        session.send_close_notify();
        drop(self.flush_session(&mut session));
        shutdown(&self.stream);
    }
}
