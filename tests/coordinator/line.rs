use std::collections::{BTreeMap, VecDeque};

use super::*;

/// A line on which so many requests' parts come at once that none is soon whole.
pub(super) struct Flow {
    count: u32,
    /// What was asked for and has not come, of each request, and how much of the first of it is here.
    flowing: BTreeMap<RequestId, (VecDeque<PartIndex>, u64)>,
    /// Parts that came.
    pub(super) whole: u32,
}

impl Flow {
    /// Of a state in so many parts.
    pub(super) fn new(count: u32) -> Self {
        Self { count, flowing: BTreeMap::new(), whole: 0 }
    }

    /// Brings so many bytes, as many of each request.
    pub(super) fn bring(&mut self, script: &mut Script, bytes: u64) {
        for Question { request, query, .. } in script.take(is_parts) {
            let Query::Parts { wanted, .. } = query else { continue };
            self.flowing.insert(request, (wanted.iter().collect(), 0));
        }
        self.flowing.retain(|request, _| !script.cancels.contains(request));
        let bytes = bytes / self.flowing.len().max(1) as u64;
        for (request, (wanted, here)) in std::mem::take(&mut self.flowing) {
            script.tell(Input::RequestProgressed { request, bytes });
            let mut flow = (wanted, here + bytes);
            while flow.1 >= u64::from(PART)
                && let Some(part) = flow.0.pop_front()
            {
                flow.1 -= u64::from(PART);
                self.whole += 1;
                script.tell(Input::PartVerified { request, part });
            }
            if flow.0.is_empty() {
                let end = RequestEnd::Parts { held: PartSet::full(self.count), refusal: None };
                script.tell(Input::RequestEnded { request, end });
            } else {
                self.flowing.insert(request, flow);
            }
        }
    }

    /// The peers that were asked for these are gone silent.
    pub(super) fn fail(&mut self, script: &mut Script) {
        for (request, _) in std::mem::take(&mut self.flowing) {
            let end = RequestEnd::Failed(Failure::TimedOut);
            script.tell(Input::RequestEnded { request, end });
        }
    }
}

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
