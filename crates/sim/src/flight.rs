//! What is on its way over lines, from the moment at which it begins to leave.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ketch_coordinator::{Input, RequestId};

use crate::fluid::FlowId;
use crate::message::{Answer, Message};
use crate::node::{Incoming, NodeId};
use crate::world::{Happening, World};

/// How often a driver tells of a part that is on its way.
const PROGRESS: Duration = Duration::from_millis(250);

/// All answers that are on their way. One request's come one after the other, as over a stream.
#[derive(Default)]
pub(crate) struct Flights {
    by_flow: BTreeMap<FlowId, Flight>,
    by_request: BTreeMap<(NodeId, RequestId), Stream>,
}

/// What answers one request.
struct Stream {
    from: NodeId,
    flow: FlowId,
    /// What goes on its way next.
    queue: VecDeque<(Answer, Option<Input>)>,
}

/// An answer that is on its way.
struct Flight {
    from: NodeId,
    to: Incoming,
    answer: Answer,
    /// What the sender is told once it has left, if it is still the same.
    then: Option<(u32, Input)>,
    /// What was told of it on the way. *Units:* bytes.
    told: u64,
}

impl Flights {
    /// Who is told once something has left.
    pub(crate) fn senders(&self) -> impl Iterator<Item = NodeId> {
        self.by_flow.values().map(|flight| flight.from)
    }
}

impl World {
    /// Sends an answer; once it has left, the sender is told `then`.
    pub(crate) fn answer(
        &mut self,
        from: NodeId,
        to: Incoming,
        answer: Answer,
        then: Option<Input>,
    ) {
        if let Some(stream) = self.flights.by_request.get_mut(&(to.peer, to.request)) {
            return stream.queue.push_back((answer, then));
        }
        let bytes = answer.bytes();
        if bytes == 0 {
            self.deliver(from, to, answer);
            return then.into_iter().for_each(|input| self.tell(from, input));
        }
        let flow = self.launch(from, to, (answer, then));
        let stream = Stream { from, flow, queue: VecDeque::new() };
        self.flights.by_request.insert((to.peer, to.request), stream);
    }

    fn launch(
        &mut self,
        from: NodeId,
        to: Incoming,
        (answer, then): (Answer, Option<Input>),
    ) -> FlowId {
        let generation = self.nodes.get(from).map_or(0, |node| node.generation);
        let flow = self.fluid.start(self.now, from, to.peer, answer.bytes());
        if self.weather.is_blocked(from, to.peer) {
            self.fluid.hold(flow, true);
        }
        self.after(PROGRESS, Happening::Progress(flow));
        let then = then.map(|input| (generation, input));
        self.flights.by_flow.insert(flow, Flight { from, to, answer, then, told: 0 });
        flow
    }

    /// Answers that have left by now arrive after the way's delay.
    pub(crate) fn land(&mut self) {
        while let Some(flow) = self.fluid.pop_ended(self.now) {
            let Some(flight) = self.flights.by_flow.remove(&flow) else { continue };
            let (from, to) = (flight.from, flight.to);
            self.deliver(from, to, flight.answer);
            if let Some((generation, input)) = flight.then {
                self.at(self.now, Happening::Input { node: from, generation, input });
            }
            self.follow_up(from, to);
        }
    }

    /// Sends what comes next over a stream.
    fn follow_up(&mut self, from: NodeId, to: Incoming) {
        let place = (to.peer, to.request);
        while let Some(stream) = self.flights.by_request.get_mut(&place) {
            let Some((answer, then)) = stream.queue.pop_front() else {
                self.flights.by_request.remove(&place);
                return;
            };
            if answer.bytes() > 0 {
                let flow = self.launch(from, to, (answer, then));
                let stream = self.flights.by_request.get_mut(&place);
                return stream.into_iter().for_each(|stream| stream.flow = flow);
            }
            self.deliver(from, to, answer);
            then.into_iter().for_each(|input| self.tell(from, input));
        }
    }

    /// Tells of an answer that is long on its way.
    pub(crate) fn progress(&mut self, flow: FlowId) {
        let (now, sent) = (self.now, self.fluid.sent(self.now, flow));
        let Some(flight) = self.flights.by_flow.get_mut(&flow) else { return };
        let (from, to, of) = (flight.from, flight.to, flight.answer.bytes());
        let bytes = sent.min(of).saturating_sub(flight.told);
        flight.told += bytes;
        let part = match &flight.answer {
            Answer::Part { index, .. } => Some(*index),
            _ => None,
        };
        if bytes > 0 {
            self.deliver(from, to, Answer::Flow { part, bytes, of });
        }
        self.at(now + PROGRESS, Happening::Progress(flow));
    }

    fn deliver(&mut self, from: NodeId, to: Incoming, answer: Answer) {
        let delay = self.delay(from, to.peer);
        let mut at = self.now + delay;
        // What comes over one stream comes in order.
        let node = self.nodes.get_mut(to.peer);
        if let Some(outgoing) = node.and_then(|node| node.memory.requests.get_mut(&to.request)) {
            at = at.max(outgoing.last_arrival);
            outgoing.last_arrival = at;
        }
        let message = Message::Answer { request: to.request, answer };
        self.post(at, from, to.peer, message);
    }

    /// Takes what answers a request off its way.
    pub(crate) fn abort_request(&mut self, to: NodeId, request: RequestId) {
        if let Some(stream) = self.flights.by_request.remove(&(to, request)) {
            self.flights.by_flow.remove(&stream.flow);
            self.fluid.stop(stream.flow);
        }
    }

    /// Takes what one node sends another off its way.
    pub(crate) fn abort_between(&mut self, a: NodeId, b: NodeId) {
        for (to, from) in [(a, b), (b, a)] {
            let of_node = (to, RequestId(0))..=(to, RequestId(u64::MAX));
            let streams = self.flights.by_request.range(of_node);
            let streams = streams.filter(|(_, stream)| stream.from == from);
            let requests: Vec<_> = streams.map(|((_, request), _)| *request).collect();
            requests.into_iter().for_each(|request| self.abort_request(to, request));
        }
    }

    /// Has what is on its way wait or go on, as the weather is now.
    pub(crate) fn hold_flights(&mut self) {
        for (flow, flight) in &self.flights.by_flow {
            self.fluid.hold(*flow, self.weather.is_blocked(flight.from, flight.to.peer));
        }
    }

    /// How long a message is on its way.
    pub(crate) fn delay(&mut self, a: NodeId, b: NodeId) -> Duration {
        let of =
            |id: NodeId| self.nodes.get(id).map_or(Duration::ZERO, |node| node.setup.speed.delay);
        of(a).max(of(b)) + self.weather.delay(&mut self.chance, a, b)
    }
}
