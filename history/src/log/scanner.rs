//! Reads records out of a segment file through a bounded buffer. Never trusts a byte before its
//! CRC has been checked, never allocates more than one record's limit.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use super::record::{
    MAX_PAYLOAD_BYTES, RECORD_HEADER_BYTES, SYNC_RECORD_BYTES, SYNC_TYPE, Salt, u32_at, u64_at,
};

/// Read ahead by this much; grows only for records that are larger.
const BUFFER_BYTES: usize = 256 << 10;

/// What stands at the scanner's place.
#[derive(Debug)]
pub(super) enum Found {
    /// Exactly the end of the file.
    End,
    /// An intact record of so many bytes, its header included.
    Record { record_type: u8, bytes: usize },
    /// Something else.
    Damage(&'static str),
}

#[derive(Debug)]
pub(super) struct Scanner {
    file: File,
    buffer: Vec<u8>,
    /// `buffer[start..end]` has been read and not been passed.
    start: usize,
    end: usize,
    /// Where in the file `buffer[start]` is.
    offset: u64,
}

impl Scanner {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to `offset`, which may be past the end.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.start = 0;
        self.end = 0;
        self.offset = offset;
        Ok(())
    }

    /// At least `want` bytes from here on, fewer only at the end of the file.
    pub(super) fn fill(&mut self, want: usize) -> io::Result<&[u8]> {
        if self.end - self.start < want {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() < want.max(BUFFER_BYTES) {
                self.buffer.resize(want.max(BUFFER_BYTES), 0);
            }
            while self.end < want {
                match self.file.read(&mut self.buffer[self.end..]) {
                    Ok(0) => break,
                    Ok(count) => self.end += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Passes `count` bytes that `fill` has shown.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Looks at the record that stands here, without passing it.
    pub(super) fn look(&mut self, salt: &Salt) -> io::Result<Found> {
        let head = self.fill(RECORD_HEADER_BYTES)?;
        if head.is_empty() {
            return Ok(Found::End);
        }
        if head.len() < RECORD_HEADER_BYTES {
            return Ok(Found::Damage("the file ends within a record"));
        }
        let length = u32_at(head, 0) as usize;
        if length > MAX_PAYLOAD_BYTES {
            return Ok(Found::Damage("a length beyond the limit"));
        }
        let bytes = RECORD_HEADER_BYTES + length;
        let record = self.fill(bytes)?;
        if record.len() < bytes {
            return Ok(Found::Damage("the file ends within a record"));
        }
        let record_type = record[8];
        if salt.crc(record_type, &record[RECORD_HEADER_BYTES..bytes]) != u32_at(record, 4) {
            return Ok(Found::Damage("the checksum does not match"));
        }
        Ok(Found::Record { record_type, bytes })
    }

    /// The payload of a record of `bytes` that `look` has just found.
    pub(super) fn payload(&self, bytes: usize) -> &[u8] {
        &self.buffer[self.start + RECORD_HEADER_BYTES..self.start + bytes]
    }

    /// After damage at this place, goes to the next place from which records can be read again,
    /// and returns false (anywhere) if there is none.
    ///
    /// First by the damaged record's own length, which is right if only its payload suffered; then
    /// by trying every place of the next [`BUFFER_BYTES`], which is more than lies between two sync
    /// records; else by the next sync record. All are safe: a record counts only with the salted
    /// CRC.
    pub(super) fn resynchronise(&mut self, salt: &Salt) -> io::Result<bool> {
        let from = self.offset;
        let head = self.fill(RECORD_HEADER_BYTES)?;
        if head.len() >= RECORD_HEADER_BYTES {
            let length = u32_at(head, 0) as usize;
            if length <= MAX_PAYLOAD_BYTES {
                let next = from + (RECORD_HEADER_BYTES + length) as u64;
                self.seek(next)?;
                if matches!(self.look(salt)?, Found::Record { .. }) {
                    return Ok(true);
                }
            }
        }
        self.seek(from + 1)?;
        let ahead = self.fill(BUFFER_BYTES)?;
        if let Some(skipped) = find_record(ahead, salt) {
            self.advance(skipped);
            return Ok(true);
        }
        self.find_sync(salt)
    }

    fn find_sync(&mut self, salt: &Salt) -> io::Result<bool> {
        let needle = salt.value.to_le_bytes();
        loop {
            let offset = self.offset;
            let bytes = self.fill(BUFFER_BYTES)?;
            if bytes.len() < SYNC_RECORD_BYTES {
                return Ok(false);
            }
            let last = bytes.len() - SYNC_RECORD_BYTES;
            let hit = (0..=last).find(|&at| {
                let record = &bytes[at..at + SYNC_RECORD_BYTES];
                record[8] == SYNC_TYPE
                    && record[9..17] == needle
                    && u64_at(record, 17) == offset + at as u64
                    && salt.crc(SYNC_TYPE, &record[9..]) == u32_at(record, 4)
            });
            self.advance(hit.unwrap_or(last + 1));
            if hit.is_some() {
                return Ok(true);
            }
        }
    }
}

/// Where the first whole record in `bytes` begins. Few places look like the head of one, so few
/// checksums are made.
fn find_record(bytes: &[u8], salt: &Salt) -> Option<usize> {
    let last = bytes.len().checked_sub(RECORD_HEADER_BYTES)?;
    (0..=last).find(|&at| {
        let length = u32_at(bytes, at) as usize;
        let record = at
            .checked_add(RECORD_HEADER_BYTES + length)
            .and_then(|end| bytes.get(at..end));
        record.is_some_and(|record| {
            salt.crc(record[8], &record[RECORD_HEADER_BYTES..]) == u32_at(record, 4)
        })
    })
}
