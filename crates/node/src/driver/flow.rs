use std::time::{Duration, Instant};

use ketch_types::PartIndex;
use ketch_wire::PartFrame;

/// The driver is told no more often of what comes of one request: verdicts are made at half the pace.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// States are packed to a quarter at best; of one that is packed better, the rest counts when it is
/// verified.
const RATIO_MAX: u64 = 4;

/// How the parts of one answer come in, as the coordinator is told of it.
#[derive(Debug, Default)]
pub(super) struct Flow {
    part: Option<PartIndex>,
    /// What was told of the part. *Units:* bytes, unpacked.
    told_bytes: u64,
    told: Option<Instant>,
}

impl Flow {
    /// Of a part that unpacks to `part_bytes`, so many packed bytes are here; what is to be told
    /// of it, if anything is at this moment. *Units:* bytes, unpacked.
    ///
    /// What is not told of a part before the next begins need not be: it is verified meanwhile.
    pub(super) fn came(
        &mut self,
        now: Instant,
        (frame, read): (PartFrame, usize),
        part_bytes: u64,
    ) -> Option<u64> {
        if self.part.replace(frame.index) != Some(frame.index) {
            self.told_bytes = 0;
        }
        if self.told.is_some_and(|told| now < told + TOLD_EVERY) {
            return None;
        }
        // What was read bounds it, or a peer could announce little, send that, and be counted for much.
        let most = u64::try_from(read).unwrap_or(u64::MAX).saturating_mul(RATIO_MAX);
        let packed = u128::try_from(frame.packed_bytes).unwrap_or(u128::MAX).max(1);
        let here = u128::try_from(read).unwrap_or(0) * u128::from(part_bytes) / packed;
        let here = u64::try_from(here).unwrap_or(part_bytes).min(part_bytes).min(most);
        let fresh = here.saturating_sub(self.told_bytes);
        (self.told_bytes, self.told) = (here, Some(now));
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ketch_trie::Packing;

    fn frame(part: u32, packed_bytes: usize) -> PartFrame {
        PartFrame { index: PartIndex(part), packing: Packing::Lz4, packed_bytes }
    }

    #[test]
    fn a_part_that_comes_slowly_is_told_of_a_few_times_a_second_and_by_what_it_unpacks_to() {
        let (begun, mut flow) = (Instant::now(), Flow::default());
        let mut told = Vec::new();
        for (slice, read) in (0..100).zip(0..100) {
            let now = begun + Duration::from_millis(10) * slice;
            told.extend(flow.came(now, (frame(0, 100), read), 400));
        }
        // At the beginning, and after a quarter, a half and three quarters of a second.
        assert_eq!(told, [0, 100, 100, 100]);
    }

    #[test]
    fn who_announces_little_and_sends_that_is_not_counted_for_a_whole_part() {
        let (begun, mut flow) = (Instant::now(), Flow::default());
        let told: Vec<_> = (0..5)
            .filter_map(|step| {
                let now = begun + Duration::from_secs(step);
                flow.came(now, (frame(0, 100), 99), 4 << 20)
            })
            .collect();
        assert_eq!(told, [396, 0, 0, 0, 0]);
    }

    #[test]
    fn no_more_is_told_of_parts_than_they_are_however_they_follow_each_other() {
        let (begun, mut flow) = (Instant::now(), Flow::default());
        let mut told = 0;
        for (step, (part, read)) in (0..5).flat_map(|p| (0..7).map(move |r| (p, r))).enumerate() {
            let now = begun + Duration::from_millis(step as u64 * 100);
            told += flow.came(now, (frame(part, 700), read * 100), 1_000).unwrap_or(0);
            assert!(told <= u64::from(part + 1) * 1_000, "{told} by the end of part {part}");
        }
        assert!(told > 2_500, "{told}");
    }
}
