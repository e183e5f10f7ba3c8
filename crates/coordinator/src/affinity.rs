use ketch_types::{PartIndex, mix};

/// How well `peer` suits `part`: the highest wins, so that everybody who asks the same peers asks
/// the same one for the same part, and its cache is reused.
///
/// *Source:* rendezvous hashing, Thaler and Ravishankar, 1998.
pub(crate) fn rendezvous(affinity: u64, part: PartIndex) -> u64 {
    mix(affinity ^ mix(u64::from(part.0).wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_the_first_choice_for_some_parts() {
        let mut firsts = [0; 4];
        for part in 0..400 {
            let best = (0..4_u64).max_by_key(|peer| rendezvous(mix(*peer), PartIndex(part)));
            firsts[usize::try_from(best.unwrap()).unwrap()] += 1;
        }
        assert!(firsts.iter().all(|times| *times > 60), "{firsts:?}");
    }
}
