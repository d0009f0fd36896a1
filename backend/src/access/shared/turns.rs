//! Questions to the other servers for somebody who is not known here yet: so many at once, and so
//! many of one address, so that nobody who shows what he made up takes the turns of all. What is
//! looked for is bounded by this and by the half second that an answer may take.

use std::{collections::HashMap, net::IpAddr};

use parking_lot::Mutex;
use pulseboard_bus::BusError;

use crate::base::address::network_of;

/// Questions under way; past them whoever is not known has to wait.
const ALL_MAX: usize = 512;
/// Of one address: an eighth, which is a whole office whose sessions are looked for at once.
const PER_ADDRESS_MAX: usize = 64;

/// Who asks now.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// No entry is zero.
    per_network: HashMap<IpAddr, usize>,
}

/// Somebody's turn; dropping it gives it back.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    network: IpAddr,
}

impl Turns {
    /// A turn for who comes from there.
    ///
    /// # Errors
    /// Too many ask, there or in all.
    pub fn take(&self, address: IpAddr) -> Result<Turn<'_>, BusError> {
        let network = network_of(address);
        let mut taken = self.0.lock();
        let own = taken.per_network.get(&network).copied().unwrap_or_default();
        if taken.all >= ALL_MAX {
            return Err(BusError::Away("too many ask who they are".into()));
        }
        if own >= PER_ADDRESS_MAX {
            let why = "too many of one address ask who they are";
            return Err(BusError::Away(why.into()));
        }
        taken.all += 1;
        taken.per_network.insert(network, own + 1);
        drop(taken);
        Ok(Turn {
            turns: self,
            network,
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.0.lock();
        taken.all -= 1;
        if let Some(own) = taken.per_network.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                taken.per_network.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_turns_to_others_and_gives_back_what_it_had() {
        let turns = Turns::default();
        let address = |number: u8| IpAddr::from([10, 0, 0, number]);
        let mut taken: Vec<Turn<'_>> = Vec::new();
        for number in 0..10 {
            while let Ok(turn) = turns.take(address(number)) {
                taken.push(turn);
            }
            let most = (usize::from(number) + 1) * PER_ADDRESS_MAX;
            assert_eq!(taken.len(), most.min(ALL_MAX));
        }
        assert!(turns.take(address(200)).is_err(), "all are taken");
        drop(taken.pop());
        drop(turns.take(address(200)).expect("one is free"));
        drop(taken);
        let left = turns.0.lock();
        assert_eq!((left.all, left.per_network.len()), (0, 0));
    }
}
