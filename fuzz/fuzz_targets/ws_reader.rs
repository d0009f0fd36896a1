//! The way of a client's bytes through tungstenite, on the product's limits, to the parsers. The
//! bytes come in pieces, whose size the first byte chooses.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use pulseboard_shared::{
    codec::decode_other,
    protocol::{metrics, rooms},
};
use tungstenite::{
    Error, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

const BYTES_MAX: usize = 65_536;

struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    /// Every other read finds nothing.
    turn: bool,
    written: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn = !self.turn;
        if self.turn {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.size.min(buffer.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.bytes = rest;
        Ok(count)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(BYTES_MAX))
        .max_frame_size(Some(BYTES_MAX));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut port = Pieces {
        bytes,
        size: usize::from(*size).max(1),
        turn: false,
        written: 0,
    };
    loop {
        match context.read(&mut port) {
            Ok(Message::Text(text)) => {
                assert!(text.len() <= BYTES_MAX);
                drop(metrics::ClientMessage::parse(&text));
                drop(rooms::ClientAction::parse(&text));
            }
            Ok(Message::Binary(bytes)) => {
                assert!(bytes.len() <= BYTES_MAX);
                drop(decode_other(&bytes));
            }
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    assert!(port.written <= bytes.len() + 256, "answers are no longer than questions");
});
