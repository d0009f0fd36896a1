//! Memory for bodies that are read at the same time, for all who share one [`Bodies`].
//!
//! Nobody knows how long a body is before it has come. So there are seats of a few sizes, so many
//! of each, and a body that outgrows its seat waits for a larger one. Whoever waits keeps a seat
//! that no larger body needs, so that those who have the largest always get done, and nobody waits
//! in a circle.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Bytes of a seat, and how many there are: 64 MiB of each size but the last, which is for one body
/// of any size.
const SEATS: [(usize, usize); 4] = [
    (64 << 10, 1_024),
    (1 << 20, 64),
    (8 << 20, 8),
    (usize::MAX, 1),
];

/// Memory that bodies share while they are read and held.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<[(usize, Arc<Semaphore>)]>);

/// What one body has of it; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    bodies: Bodies,
    /// Which size, with the seat.
    taken: Option<(usize, OwnedSemaphorePermit)>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::of(&SEATS)
    }
}

impl Bodies {
    /// Seats of these sizes, the smallest first, and so many of each.
    #[must_use]
    pub fn of(seats: &[(usize, usize)]) -> Self {
        let seats = seats.iter();
        Self(
            seats
                .map(|(bytes, count)| (*bytes, Arc::new(Semaphore::new(*count))))
                .collect(),
        )
    }

    pub(crate) fn seat(&self) -> Seat {
        Seat {
            bodies: self.clone(),
            taken: None,
        }
    }
}

impl Seat {
    /// How large a body may be here.
    pub(crate) fn bytes(&self) -> usize {
        self.taken
            .as_ref()
            .map_or(0, |(size, _)| self.bodies.0[*size].0)
    }

    /// Has room for so many bytes, once there is; `false` where there is none until the deadline.
    pub(crate) async fn fit(&mut self, bytes: usize, deadline: Instant) -> bool {
        if bytes <= self.bytes() {
            return true;
        }
        let mut sizes = self.bodies.0.iter().enumerate();
        let Some((size, (_, seats))) = sizes.find(|(_, (most, _))| bytes <= *most) else {
            return false;
        };
        let seat = Arc::clone(seats).acquire_owned();
        match timeout_at(deadline, seat).await {
            Ok(Ok(seat)) => {
                self.taken = Some((size, seat));
                true
            }
            // Never closed.
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_outgrows_its_seat_waits_for_a_larger_one_and_keeps_nobody_from_it() {
        let bodies = Bodies::of(&[(10, 2), (100, 1)]);
        let soon = || Instant::now() + Duration::from_millis(20);
        let (mut one, mut other, mut third) = (bodies.seat(), bodies.seat(), bodies.seat());
        assert!(one.fit(5, soon()).await && other.fit(10, soon()).await);
        assert!(!third.fit(1, soon()).await, "both seats are taken");
        assert!(one.fit(11, soon()).await && one.fit(100, soon()).await);
        assert!(third.fit(1, soon()).await, "who has a larger one has one");
        assert!(!other.fit(11, soon()).await && other.bytes() == 10);
        drop(one);
        assert!(other.fit(11, soon()).await);
        assert!(!third.fit(101, soon()).await, "larger than any");
    }
}
