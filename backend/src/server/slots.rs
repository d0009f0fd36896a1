//! Places for TCP connections: in all, so that open files suffice, and of each address for those
//! that are not streams (yet), so that one client cannot take them from the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    base::{address::network_of, telemetry::Limit},
    shares::little_of,
};

/// Connections of one address that are served however few streams it may have: a browser opens six
/// for a page, and a network of 64 bits has several.
const PER_ADDRESS_AT_LEAST: usize = 32;

/// What is kept of all for addresses that have few connections.
const KEPT_SIXTEENTHS: usize = 1;

/// Places for all connections, and who has them.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    all: Arc<Semaphore>,
    all_max: usize,
    per_address_max: usize,
    /// Leaf lock; held for a look-up. No entry is zero, so there are at most as many as places.
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place while it is not a stream; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    /// Goes with the socket when a stream takes it.
    file: Option<OwnedSemaphorePermit>,
    network: IpAddr,
    places: Weak<ConnectionSlots>,
}

/// What a connection finds taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All files: there is none to answer with.
    Server,
    /// As many as one address may have.
    Address(usize),
}

impl Full {
    pub(super) fn limit(self) -> Limit {
        match self {
            Self::Server => Limit::Sockets,
            Self::Address(_) => Limit::ConnectionsPerAddress,
        }
    }
}

impl ConnectionSlots {
    /// `all` in all; `per_address` is what the settings allow an address. Connections that are no
    /// streams are short or idle, so it has an eighth of all at most: with its share of streams
    /// that leaves some. Where many addresses take many, the last sixteenth is for those who have
    /// few ([`little_of`]).
    pub(super) fn new(all: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all)),
            all_max: all,
            per_address_max: per_address.min(all / 8).max(PER_ADDRESS_AT_LEAST),
            per_address: Mutex::default(),
        })
    }

    /// Takes a place for a connection from `address`. A trusted proxy stands for as many clients as
    /// there are, and has no share of its own.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Result<Place, Full> {
        let file = Arc::clone(&self.all)
            .try_acquire_owned()
            .or(Err(Full::Server))?;
        let network = network_of(address);
        let mut per_address = self.per_address.lock();
        let count = per_address.entry(network).or_default();
        let left = self.all.available_permits();
        let little = little_of(self.all_max, KEPT_SIXTEENTHS, left);
        let max = little.map_or(self.per_address_max, |little| {
            little.min(self.per_address_max)
        });
        if *count >= max && !is_proxy {
            return Err(Full::Address(max));
        }
        *count += 1;
        Ok(Place {
            file: Some(file),
            network,
            places: Arc::downgrade(self),
        })
    }
}

impl Place {
    /// What the socket goes on taking as a stream.
    pub(super) fn take_file(&mut self) -> Option<OwnedSemaphorePermit> {
        self.file.take()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.places.upgrade() {
            let mut per_address = places.per_address.lock();
            if let Some(count) = per_address.get_mut(&self.network) {
                *count -= 1;
                if *count == 0 {
                    per_address.remove(&self.network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_its_share_and_a_stream_keeps_its_file_only() {
        let places = ConnectionSlots::new(PER_ADDRESS_AT_LEAST + 2, 1);
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut taken: Vec<_> = (0..PER_ADDRESS_AT_LEAST)
            .map(|_| places.take(one, false).expect("its share"))
            .collect();
        let refused = places.take(one, false).expect_err("no more");
        assert_eq!(refused, Full::Address(PER_ADDRESS_AT_LEAST));
        drop(places.take(one, true).expect("a proxy has no share"));
        let another = places.take(other, false).expect("for others there is room");
        // A stream begins: its address may have one more, and the file stays taken.
        let file = taken.pop().expect("one").take_file();
        taken.push(places.take(one, false).expect("the last file"));
        assert_eq!(
            places.take(other, false).expect_err("no file"),
            Full::Server
        );
        drop(file);
        drop(places.take(other, false).expect("a file again"));
        drop((taken, another));
        assert!(places.per_address.lock().is_empty(), "nothing is kept");
        assert_eq!(places.all.available_permits(), PER_ADDRESS_AT_LEAST + 2);
    }

    #[test]
    fn addresses_that_take_much_leave_something_to_those_who_have_little() {
        let places = ConnectionSlots::new(4_096, 4_096);
        let mut taken = Vec::new();
        for address in 0..40 {
            while let Ok(place) = places.take([10, 0, 0, address].into(), false) {
                taken.push(place);
            }
        }
        assert!(taken.len() > 3_800, "{}", taken.len());
        for address in 100..110 {
            taken.push(places.take([10, 0, 0, address].into(), false).expect("one"));
        }
    }
}
