use std::collections::VecDeque;

use super::*;

/// The slow line of peers that hold a whole state: its parts come one by one.
pub(super) struct Line {
    count: u32,
    /// What was asked for and has not come, of each request.
    flowing: VecDeque<(RequestId, VecDeque<PartIndex>)>,
}

impl Line {
    /// Of a state in so many parts.
    pub(super) fn new(count: u32) -> Self {
        Self { count, flowing: VecDeque::new() }
    }

    /// Brings one part, if any was asked for.
    pub(super) fn bring_one(&mut self, script: &mut Script) {
        for Question { request, query, .. } in script.take(is_parts) {
            let Query::Parts { wanted, .. } = query else { continue };
            self.flowing.push_back((request, wanted.iter().collect()));
        }
        self.flowing.retain(|(request, _)| !script.cancels.contains(request));
        let Some((request, wanted)) = self.flowing.front_mut() else { return };
        let request = *request;
        if let Some(part) = wanted.pop_front() {
            script.tell(Input::PartVerified { request, part });
        }
        if wanted.is_empty() {
            self.flowing.pop_front();
            let end = RequestEnd::Parts { held: PartSet::full(self.count), refusal: None };
            script.tell(Input::RequestEnded { request, end });
        }
    }
}
