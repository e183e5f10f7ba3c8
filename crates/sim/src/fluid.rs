//! Lines as fluids: what is on its way shares every line max-min fairly.
//!
//! A link carries a *level*: the most that any of its flows may have of it. A flow runs at the lower
//! level of its two ends. Levels are found by letting each link whose flows changed fill itself with
//! what the other ends of its flows allow, until nothing changes by more than [`TOLERANCE`]; so only
//! links that are touched are looked at again.
//!
//! *Source:* Bertsekas and Gallager, "Data Networks", 1992, section 6.5.2 (max-min fairness).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ketch_types::Instant;

use crate::node::NodeId;

/// A level that changes by less than one in so many is left as it is.
const TOLERANCE: u64 = 128;
/// How often one link is looked at in one settling; more often only rounding moves levels.
const VISITS_MAX: u32 = 64;
/// A link without need to limit anybody.
const UNLIMITED: u64 = u64::MAX;
/// Nanoseconds of a second.
const NANOS: u128 = 1_000_000_000;

/// Something on its way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowId {
    /// Rises with each, so that a place that is taken again is not taken for the old one.
    number: u64,
    place: usize,
}

/// One direction of one node's line, by its place.
type LinkId = usize;

/// All lines of a world, and all that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Fluid {
    links: Vec<Link>,
    flows: Vec<Option<Flow>>,
    free: Vec<usize>,
    due: BTreeSet<(Instant, FlowId)>,
    /// Links to be looked at, each once.
    dirty: VecDeque<LinkId>,
    /// Links that were looked at in this settling.
    touched: Vec<LinkId>,
    /// What the other ends of a link's flows allow; kept for its memory.
    others: Vec<(LinkId, u64)>,
    allowed: Vec<u64>,
    next: u64,
}

#[derive(Debug)]
struct Link {
    /// *Units:* bytes per second.
    capacity: u64,
    /// *Units:* bytes per second.
    level: u64,
    flows: Vec<usize>,
    is_dirty: bool,
    /// How often it was looked at in this settling.
    visits: u32,
}

#[derive(Debug)]
struct Flow {
    id: FlowId,
    /// The sender's way up, the receiver's way down.
    links: [LinkId; 2],
    /// Its places among the flows of these.
    among: [usize; 2],
    /// *Units:* bytes.
    bytes: u64,
    /// What has not left yet, as of `since`. *Units:* a billionth of a byte.
    left: u128,
    since: Instant,
    /// *Units:* bytes per second.
    rate: u64,
    is_held: bool,
    ends: Option<Instant>,
}

impl Fluid {
    /// Adds a node's line. *Units:* bytes per second.
    pub(crate) fn add(&mut self, upload: u64, download: u64) {
        for capacity in [upload, download] {
            let (capacity, flows) = (capacity.max(1), Vec::new());
            let link = Link { capacity, level: UNLIMITED, flows, is_dirty: false, visits: 0 };
            self.links.push(link);
        }
    }

    /// Gives a node's line other speeds. *Units:* bytes per second.
    pub(crate) fn set(&mut self, node: NodeId, upload: u64, download: u64) {
        for (link, capacity) in [(up(node), upload), (down(node), download)] {
            if let Some(of) = self.links.get_mut(link) {
                of.capacity = capacity.max(1);
            }
            self.mark(link);
        }
    }

    /// Puts something on its way. *Units:* bytes.
    pub(crate) fn start(&mut self, now: Instant, from: NodeId, to: NodeId, bytes: u64) -> FlowId {
        let place = self.free.pop().unwrap_or(self.flows.len());
        let id = FlowId { number: self.next, place };
        self.next += 1;
        let (links, left) = ([up(from), down(to)], u128::from(bytes) * NANOS);
        let among = links.map(|link| {
            let Some(of) = self.links.get_mut(link) else { return 0 };
            of.flows.push(place);
            of.flows.len() - 1
        });
        let (rate, is_held, ends) = (0, false, None);
        let flow = Flow { id, links, among, bytes, left, since: now, rate, is_held, ends };
        match self.flows.get_mut(place) {
            Some(free) => *free = Some(flow),
            None => self.flows.push(Some(flow)),
        }
        links.into_iter().for_each(|link| self.mark(link));
        id
    }

    /// Takes something off its way.
    pub(crate) fn stop(&mut self, id: FlowId) {
        let of = self.flows.get_mut(id.place);
        let Some(flow) = of.and_then(|flow| flow.take_if(|flow| flow.id == id)) else { return };
        self.free.push(id.place);
        if let Some(ends) = flow.ends {
            self.due.remove(&(ends, id));
        }
        for (end, (link, at)) in flow.links.into_iter().zip(flow.among).enumerate() {
            let Some(of) = self.links.get_mut(link) else { continue };
            of.flows.swap_remove(at);
            // The last has moved to where this one was.
            let moved = of.flows.get(at).and_then(|place| self.flows.get_mut(*place)?.as_mut());
            moved.and_then(|flow| flow.among.get_mut(end)).into_iter().for_each(|of| *of = at);
            self.mark(link);
        }
    }

    /// Holds something up, or lets it go on.
    pub(crate) fn hold(&mut self, id: FlowId, is_held: bool) {
        let flow = self.flows.get_mut(id.place).and_then(Option::as_mut);
        if let Some(flow) = flow.filter(|flow| flow.id == id && flow.is_held != is_held) {
            flow.is_held = is_held;
            flow.links.into_iter().for_each(|link| self.mark(link));
        }
    }

    /// How much of something has left by now. *Units:* bytes.
    pub(crate) fn sent(&self, now: Instant, id: FlowId) -> u64 {
        self.flow(id.place).filter(|flow| flow.id == id).map_or(0, |flow| {
            let left = flow.left_at(now).div_ceil(NANOS);
            flow.bytes.saturating_sub(u64::try_from(left).unwrap_or(u64::MAX))
        })
    }

    /// When something ends next, as things are.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Something that has ended by now; it is taken off its way.
    pub(crate) fn pop_ended(&mut self, now: Instant) -> Option<FlowId> {
        let (_, id) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.stop(id);
        Some(id)
    }

    /// Shares lines anew where anything has changed.
    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some(id) = self.dirty.pop_front() {
            let Some(link) = self.links.get_mut(id) else { continue };
            link.is_dirty = false;
            if link.visits == 0 {
                self.touched.push(id);
            }
            link.visits += 1;
            if link.visits <= VISITS_MAX {
                self.fill(id);
            }
        }
        while let Some(id) = self.touched.pop() {
            let flows = self.links.get(id).map_or(0, |link| link.flows.len());
            for at in 0..flows {
                let flow = self.links.get(id).and_then(|link| link.flows.get(at)).copied();
                flow.into_iter().for_each(|flow| self.run(now, flow));
            }
            self.links.get_mut(id).into_iter().for_each(|link| link.visits = 0);
        }
    }

    /// Finds a link's level anew, and marks those links that it matters to.
    fn fill(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let mut others = std::mem::take(&mut self.others);
        let flows = link.flows.iter().filter_map(|place| self.flow(*place));
        others.clear();
        others.extend(flows.filter(|flow| !flow.is_held).map(|flow| self.across(flow, id)));
        self.allowed.clear();
        self.allowed.extend(others.iter().map(|(_, allowed)| *allowed));
        let (before, level) = (link.level, level(link.capacity, &mut self.allowed));
        let is_same = level.abs_diff(before) <= before / TOLERANCE
            && (level == UNLIMITED) == (before == UNLIMITED);
        if !is_same {
            for (other, allowed) in &others {
                // A link that allows a flow less than both does not notice.
                if *allowed >= level.min(before) {
                    self.mark(*other);
                }
            }
            self.links.get_mut(id).into_iter().for_each(|link| link.level = level);
        }
        self.others = others;
    }

    fn mark(&mut self, id: LinkId) {
        let link = self.links.get_mut(id).filter(|link| !link.is_dirty);
        if let Some(link) = link {
            link.is_dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// The link at a flow's other end, and what it allows the flow.
    fn across(&self, flow: &Flow, here: LinkId) -> (LinkId, u64) {
        let [up, down] = flow.links;
        let other = if up == here { down } else { up };
        (other, self.level(other))
    }

    fn level(&self, link: LinkId) -> u64 {
        self.links.get(link).map_or(0, |link| link.level)
    }

    fn flow(&self, place: usize) -> Option<&Flow> {
        self.flows.get(place)?.as_ref()
    }

    /// Has a flow run at the rate that its links allow now.
    fn run(&mut self, now: Instant, place: usize) {
        let Some(flow) = self.flows.get_mut(place).and_then(Option::as_mut) else { return };
        let allowed = |link: &LinkId| self.links.get(*link).map(|of| of.level.min(of.capacity));
        let allowed = flow.links.iter().filter_map(allowed).min().unwrap_or(0);
        let rate = if flow.is_held { 0 } else { allowed.max(1) };
        if flow.rate == rate {
            return;
        }
        flow.left = flow.left_at(now);
        (flow.since, flow.rate) = (now, rate);
        if let Some(ends) = flow.ends.take() {
            self.due.remove(&(ends, flow.id));
        }
        if let Some(nanos) =
            flow.left.div_ceil(u128::from(rate).max(1)).try_into().ok().filter(|_| rate > 0)
        {
            let ends = now + Duration::from_nanos(nanos);
            flow.ends = Some(ends);
            self.due.insert((ends, flow.id));
        }
    }
}

impl Flow {
    fn left_at(&self, now: Instant) -> u128 {
        self.left.saturating_sub(u128::from(self.rate) * (now - self.since).as_nanos())
    }
}

fn up(node: NodeId) -> LinkId {
    node * 2
}

fn down(node: NodeId) -> LinkId {
    node * 2 + 1
}

/// The highest level at which flows that are allowed so much elsewhere fit a link.
fn level(capacity: u64, allowed: &mut [u64]) -> u64 {
    let (mut left, mut flows) = (capacity, allowed.len() as u64);
    // Mostly nobody is limited more elsewhere.
    if allowed.iter().all(|allowed| *allowed > left / flows) {
        return left.checked_div(flows).unwrap_or(UNLIMITED);
    }
    allowed.sort_unstable();
    for allowed in allowed {
        if *allowed > left / flows {
            return left / flows;
        }
        left -= *allowed;
        flows -= 1;
    }
    UNLIMITED
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook's way: raise all rates together, and freeze those whose link is full.
    fn reference(links: &[u64], flows: &[(usize, usize)]) -> Vec<f64> {
        let mut rates = vec![None; flows.len()];
        let mut left: Vec<f64> = links.iter().map(|capacity| *capacity as f64).collect();
        while rates.iter().any(Option::is_none) {
            let open = |link| {
                let on = flows.iter().zip(&rates);
                on.filter(|((u, d), rate)| rate.is_none() && (*u == link || *d == link)).count()
            };
            let share = |link: usize| left[link] / open(link) as f64;
            let tight = (0..links.len()).filter(|link| open(*link) > 0);
            let tight = tight.min_by(|a, b| share(*a).total_cmp(&share(*b))).unwrap();
            let share = share(tight);
            for (flow, (u, d)) in flows.iter().enumerate() {
                if rates[flow].is_none() && (*u == tight || *d == tight) {
                    rates[flow] = Some(share);
                    left[*u] -= share;
                    left[*d] -= share;
                }
            }
        }
        rates.into_iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn lines_are_shared_max_min_fairly(
            nodes in proptest::collection::vec((1_000u64..1_000_000, 1_000u64..1_000_000), 2..12),
            pairs in proptest::collection::vec((0usize..12, 0usize..12), 1..40),
            stopped in 0usize..40,
        ) {
            let mut fluid = Fluid::default();
            nodes.iter().for_each(|(up, down)| fluid.add(*up, *down));
            let mut pairs: Vec<_> =
                pairs.into_iter().map(|(a, b)| (a % nodes.len(), b % nodes.len())).collect();
            let mut ids = Vec::new();
            for (from, to) in &pairs {
                ids.push(fluid.start(Instant::ORIGIN, *from, *to, 1 << 40));
                fluid.settle(Instant::ORIGIN);
            }
            if stopped < pairs.len() && pairs.len() > 1 {
                fluid.stop(ids.remove(stopped));
                pairs.remove(stopped);
                fluid.settle(Instant::ORIGIN);
            }
            let links: Vec<u64> = nodes.iter().flat_map(|(up, down)| [*up, *down]).collect();
            let flows: Vec<_> = pairs.iter().map(|(a, b)| (a * 2, b * 2 + 1)).collect();
            for (id, expected) in ids.iter().zip(reference(&links, &flows)) {
                let rate = fluid.flow(id.place).unwrap().rate as f64;
                prop_assert!((rate - expected).abs() <= expected * 0.05 + 2.0, "{rate} {expected}");
            }
        }
    }

    #[test]
    fn what_is_held_up_leaves_its_share_to_others_and_goes_on_later() {
        let mut fluid = Fluid::default();
        fluid.add(1_000, 1_000);
        fluid.add(1_000, 1_000);
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let a = fluid.start(at(0), 0, 1, 1_000);
        let b = fluid.start(at(0), 0, 1, 1_500);
        fluid.settle(at(0));
        fluid.hold(a, true);
        fluid.settle(at(1));
        assert_eq!((fluid.sent(at(2), a), fluid.sent(at(2), b)), (500, 1_500));
        assert_eq!(fluid.next_end(), Some(at(2)));
        assert_eq!(fluid.pop_ended(at(2)), Some(b));
        fluid.hold(a, false);
        fluid.settle(at(3));
        assert_eq!(fluid.next_end(), Some(Instant::ORIGIN + Duration::from_millis(3_500)));
        assert_eq!(fluid.pop_ended(at(3)), None);
    }

    #[test]
    fn another_speed_holds_from_now_on() {
        let mut fluid = Fluid::default();
        fluid.add(1_000, 1_000);
        fluid.add(1_000, 1_000);
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        fluid.start(at(0), 0, 1, 3_000);
        fluid.settle(at(0));
        fluid.set(0, 100, 100);
        fluid.settle(at(2));
        assert_eq!(fluid.next_end(), Some(at(12)));
        assert!(fluid.pop_ended(at(12)).is_some());
        assert_eq!(fluid.next_end(), None);
    }
}
