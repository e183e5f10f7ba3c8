use ketch_types::{Instant, PartIndex};

use crate::peers::Peers;
use crate::state_key::StateKey;

/// How many peers hold each part of a state.
pub(crate) struct Holders {
    /// Peers that hold everything.
    complete: u32,
    partial: Vec<u32>,
}

impl Holders {
    pub(crate) fn count(peers: &Peers, state: &StateKey, parts: u32, now: Instant) -> Self {
        let mut holders = Holders { complete: 0, partial: vec![0; parts as usize] };
        for held in peers.holders(state, now).filter_map(|(_, peer)| peer.held(state, parts)) {
            if held.is_full() {
                holders.complete += 1;
            } else {
                for part in held.iter() {
                    holders.partial.get_mut(part.0 as usize).into_iter().for_each(|of| *of += 1);
                }
            }
        }
        holders
    }

    pub(crate) fn of(&self, part: PartIndex) -> u32 {
        self.complete + self.partial.get(part.0 as usize).copied().unwrap_or(0)
    }
}
