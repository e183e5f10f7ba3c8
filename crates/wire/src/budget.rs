/// How much of an answer may still be sent: the serving side of a request's budget.
///
/// *Units:* bytes of payloads: a part counts with its size in the manifest, however it is packed, and
/// a chunk's outputs with the *bytes of outputs* of its header. *Shape:* what comes first is sent however small the budget is; then sending stops, for good, when
/// the next would exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What is left; none once it is spent.
    left_bytes: Option<u64>,
    begun: bool,
}

impl Budget {
    /// A budget of so many bytes of payloads.
    pub fn new(bytes: u64) -> Self {
        Self { left_bytes: Some(bytes), begun: false }
    }

    /// Whether the next part, or the next chunk's outputs, with a payload of so many bytes, may be
    /// sent; if so, it counts as sent.
    pub fn admits(&mut self, bytes: u64) -> bool {
        let left = self.left_bytes.and_then(|left| left.checked_sub(bytes));
        let is_first = !self.begun;
        self.begun = true;
        self.left_bytes = if is_first { left.or(Some(0)) } else { left };
        self.left_bytes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sending_stops_for_good_when_the_next_would_exceed_the_budget() {
        let mut budget = Budget::new(10);
        assert!(budget.admits(4) && budget.admits(6) && budget.admits(0));
        assert!(!budget.admits(1) && !budget.admits(0));
        let mut budget = Budget::new(10);
        assert!(budget.admits(4) && !budget.admits(7) && !budget.admits(6));
    }

    #[test]
    fn the_first_is_sent_however_small_the_budget_is() {
        for bytes in [0, 9] {
            let mut budget = Budget::new(bytes);
            assert!(budget.admits(u64::MAX) && !budget.admits(1));
        }
    }
}
