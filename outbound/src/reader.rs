//! An answer that is read as it comes: a watch that stays open, or a body within a bound.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::{Error, bodies::Seat, error::innermost};

/// An answer whose head has come.
#[derive(Debug)]
pub struct Reader {
    /// The status, such as 200.
    pub status: u16,
    pub headers: HeaderMap,
    pub(crate) from: String,
    body: Incoming,
}

impl Reader {
    pub(crate) fn new(answer: http::Response<Incoming>, from: String) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            from,
            body,
        }
    }

    /// The next piece of the body as it came, or none at its end.
    ///
    /// # Errors
    /// The deadline passed, or the connection broke off.
    pub async fn chunk(&mut self, deadline: Instant) -> Result<Option<Bytes>, Error> {
        loop {
            let Ok(frame) = timeout_at(deadline, self.body.frame()).await else {
                return Err(Error::TimedOut {
                    to: self.from.clone(),
                });
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Error::Broken {
                        to: self.from.clone(),
                        why: innermost(&error),
                    });
                }
                // trailers are nobody's
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The rest of the body, `limit` bytes at most, each of which has its place in `seat`.
    pub(crate) async fn rest(
        &mut self,
        deadline: Instant,
        limit: usize,
        seat: &mut Option<Seat>,
    ) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge {
            to: self.from.clone(),
            limit,
        };
        let told = self.body.size_hint();
        if told.lower() > limit as u64 {
            return Err(too_large());
        }
        // What is said to come is waited for as a whole; what is not, piece by piece.
        let told = usize::try_from(told.lower()).unwrap_or(limit);
        self.find_room(seat, told, deadline).await?;
        let Some(first) = self.chunk(deadline).await? else {
            return Ok(Bytes::new());
        };
        let mut bytes = Vec::new();
        let mut next = Some(first);
        while let Some(chunk) = next {
            if bytes.len() + chunk.len() > limit {
                return Err(Error::TooLarge {
                    to: self.from.clone(),
                    limit,
                });
            }
            self.find_room(seat, bytes.len() + chunk.len(), deadline)
                .await?;
            if bytes.is_empty() && self.body.is_end_stream() {
                return Ok(chunk);
            }
            bytes.extend_from_slice(&chunk);
            next = self.chunk(deadline).await?;
        }
        Ok(bytes.into())
    }

    /// Waits until so many bytes may be held.
    pub(crate) async fn find_room(
        &self,
        seat: &mut Option<Seat>,
        bytes: usize,
        deadline: Instant,
    ) -> Result<(), Error> {
        if let Some(seat) = seat
            && !seat.fit(bytes, deadline).await
        {
            return Err(Error::NoMemory {
                to: self.from.clone(),
            });
        }
        Ok(())
    }
}
