use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{Input, JobId, Phase, ShardStatus, Turn, Work};
use ketch_types::{Chance, Epoch, Height, Instant, ShardId};

use crate::chain::Chain;
use crate::check::{Breach, Ledger};
use crate::contract::Rule;
use crate::dht::{Dht, DhtModel};
use crate::fault::FaultTurn;
use crate::flight::Flights;
use crate::fluid::{FlowId, Fluid};
use crate::gossip::GossipModel;
use crate::identity::node_of;
use crate::lie::Conduct;
use crate::message::{Answer, Message};
use crate::node::{Incoming, Node, NodeId, NodeSetup};
use crate::policy::Policy;
use crate::trace::Trace;
use crate::weather::Weather;

/// What the model of a driver may do and a real one never does: here heads and epochs come in any order, where
/// a real follower tells of newer ones alone, and what happens at one moment, or while a process stands
/// still, may be told the wrong way round.
const LAXER_HERE: [Rule; 6] = [
    Rule::HeadNotAbove,
    Rule::EpochNotAbove,
    Rule::PeerThereTwice,
    Rule::PeerNotThere,
    Rule::RequestNotOpen,
    Rule::AskNotOpen,
];

/// Nodes, their links and a chain, in virtual time.
pub struct World {
    pub(crate) now: Instant,
    pub(crate) chain: Arc<Chain>,
    pub(crate) chance: Chance,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: BTreeSet<(NodeId, NodeId)>,
    pub(crate) dht: Dht,
    pub(crate) dht_model: DhtModel,
    pub(crate) gossip: GossipModel,
    pub(crate) subscribers: BTreeMap<ShardId, BTreeSet<NodeId>>,
    pub(crate) fluid: Fluid,
    pub(crate) flights: Flights,
    pub(crate) weather: Weather,
    /// What would have arrived over ways that are stopped up.
    pub(crate) clogged: Vec<(NodeId, NodeId, u32, Message)>,
    pub(crate) ledger: Ledger,
    pub(crate) head: Height,
    pub(crate) trace: Trace,
    /// The last epoch for which shards are taken, for whom takes are counted.
    pub(crate) last_change: Epoch,
    queue: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    pub(crate) seed: u64,
}

/// Something that is going to happen.
pub(crate) enum Happening {
    /// A node's driver states a fact.
    Input {
        node: NodeId,
        generation: u32,
        input: Input,
    },
    /// A node's work is done; what it does to the disk is done with it.
    Work {
        node: NodeId,
        generation: u32,
        job: JobId,
        work: Work,
    },
    Wake {
        node: NodeId,
        generation: u32,
        at: Instant,
    },
    /// A peer without a coordinator answers.
    Say {
        from: NodeId,
        to: Incoming,
        /// See [`World::era`].
        era: u32,
        answer: Answer,
    },
    Arrive {
        from: NodeId,
        to: NodeId,
        /// See [`World::era`].
        era: u32,
        message: Message,
    },
    Progress(FlowId),
    Link(NodeId, NodeId),
    Hangup(NodeId, NodeId),
    Block(Height),
    Crash(NodeId),
    Start(NodeId),
    Fault(Box<FaultTurn>),
}

impl World {
    /// A world on a chain that was made before: making one takes longer than running most worlds.
    pub fn on(chain: Arc<Chain>, seed: u64, nodes: Vec<NodeSetup>) -> Self {
        let mut fluid = Fluid::default();
        nodes.iter().for_each(|node| fluid.add(node.speed.upload, node.speed.download));
        let nodes: Vec<_> = nodes.into_iter().map(|setup| Node::new(&chain, setup)).collect();
        let mut world = Self {
            now: Instant::ORIGIN,
            chain,
            chance: Chance::new(seed),
            nodes,
            links: BTreeSet::new(),
            dht: Dht::default(),
            dht_model: DhtModel::default(),
            gossip: GossipModel::default(),
            subscribers: BTreeMap::new(),
            fluid,
            flights: Flights::default(),
            weather: Weather::default(),
            clogged: Vec::new(),
            ledger: Ledger::default(),
            head: Height(0),
            trace: Trace::default(),
            last_change: Epoch(u64::MAX),
            queue: BTreeMap::new(),
            next: 0,
            seed,
        };
        world.subscribe(Epoch(0));
        for (id, joins) in world.joins() {
            world.at(joins, Happening::Start(id));
        }
        world.at(world.chain.produced(Height(1)), Happening::Block(Height(1)));
        world
    }

    fn joins(&self) -> Vec<(NodeId, Instant)> {
        let there = |node: &Node| node.setup.conduct != Conduct::Absent;
        let there = self.nodes.iter().enumerate().filter(|(_, node)| there(node));
        there.map(|(id, node)| (id, node.setup.joins)).collect()
    }

    /// Has announcements travel and look-ups fare otherwise.
    pub fn set_models(&mut self, gossip: GossipModel, dht: DhtModel) {
        (self.gossip, self.dht_model) = (gossip, dht);
    }

    /// Keeps the newest `lines` of what happens, in words.
    pub fn keep_trace(&mut self, lines: usize) {
        self.trace.keep(lines);
    }

    /// Whether every event is kept; the largest worlds have too many.
    pub fn keep_events(&mut self, kept: bool) {
        self.ledger.forgets_events = !kept;
    }

    /// Whether every shard that nodes must still take is caught up.
    pub fn is_done(&self) -> bool {
        self.unfinished() == 0
    }

    /// How many shards are not caught up that nodes must have.
    pub(crate) fn unfinished(&self) -> usize {
        let epoch = self.chain.epoch_after(self.head);
        let takes = self.ledger.takes.newest().filter(|((node, shard, _), take)| {
            let setup = self.nodes.get(*node).map(|node| &node.setup);
            let wanted = |epoch| setup.is_some_and(|s| s.tracked_in(epoch).contains(shard));
            take.caught_up.is_none() && (wanted(epoch) || wanted(epoch.next()))
        });
        takes.count()
    }

    /// What happened last, in words, the oldest first.
    pub fn trace_lines(&self) -> impl Iterator<Item = &str> {
        self.trace.lines()
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What happened so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How a node's shard stands.
    pub fn status(&self, node: NodeId, shard: ShardId) -> Option<ShardStatus> {
        let policy = self.nodes.get(node)?.policy.as_ref()?;
        policy.status(shard)
    }

    /// Whether a node has nothing under way; one that is down has not.
    pub fn is_at_rest(&self, node: NodeId) -> bool {
        let policy = self.nodes.get(node).and_then(|node| node.policy.as_ref());
        policy.is_none_or(Policy::is_at_rest)
    }

    /// Whether a node has anything of a shard on its disk.
    pub fn has_on_disk(&self, node: NodeId, shard: ShardId) -> bool {
        self.nodes.get(node).is_some_and(|node| node.disks.contains_key(&shard))
    }

    /// Has a node lose everything but its disk at a time, and start again at another.
    pub fn crash(&mut self, node: NodeId, at: Instant, again: Instant) {
        self.at(at, Happening::Crash(node));
        self.at(again, Happening::Start(node));
    }

    /// Flips a value on a node's disk, and has its driver find it, at once if it runs.
    pub fn damage(&mut self, node: NodeId, shard: ShardId) {
        let Some(of) = self.nodes.get_mut(node) else { return };
        if let Some(disk) = of.disks.get_mut(&shard) {
            disk.rot();
        }
        if of.is_up {
            self.find_rot(node, shard);
        }
    }

    /// A node's driver reads what has changed by itself, once in a process' life.
    pub(crate) fn find_rot(&mut self, id: NodeId, shard: ShardId) {
        if self.has_unseen_rot(id, shard) {
            self.tell(id, Input::DamageFound { shard });
        }
    }

    /// Whether something on a disk has changed by itself that its process has not read.
    pub(crate) fn has_unseen_rot(&self, id: NodeId, shard: ShardId) -> bool {
        self.nodes.get(id).is_some_and(|node| {
            let is_rotten = node.disks.get(&shard).is_some_and(|disk| disk.is_rotten);
            is_rotten && !node.memory.rot_told.contains(&shard)
        })
    }

    /// States a fact to a node from outside.
    pub fn tell(&mut self, node: NodeId, input: Input) {
        let Some(of) = self.nodes.get(node) else { return };
        let generation = of.generation;
        self.at(self.now, Happening::Input { node, generation, input });
    }

    /// Lets the world run until a time.
    pub fn run_until(&mut self, end: Instant) {
        self.run_while(end, |_| true);
    }

    /// Lets the world run until a time, or until `go_on` says no.
    pub fn run_while(&mut self, end: Instant, go_on: impl Fn(&World) -> bool) {
        while go_on(self) {
            self.fluid.settle(self.now);
            let landing = self.fluid.next_end();
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = [landing, next].into_iter().flatten().min().filter(|at| *at <= end)
            else {
                self.now = self.now.max(end);
                return;
            };
            self.now = self.now.max(at);
            if landing.is_some_and(|landing| landing <= at) {
                self.land();
            } else if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        }
    }

    /// A hash of everything that nodes were told, and when.
    pub fn trace_hash(&self) -> [u8; 32] {
        self.trace.hash()
    }

    /// Whether what a node has of a shard, hashed afresh, is what the chain committed to at the height
    /// that it has reached.
    pub fn holds_truth(&self, node: NodeId, shard: ShardId) -> bool {
        let disk = self.nodes.get(node).and_then(|node| node.disks.get(&shard));
        disk.is_some_and(|disk| disk.is_true(&self.chain, shard))
    }

    /// Notes every whole state that is not the chain's.
    pub fn check_states(&mut self) {
        let mut wrong = Vec::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.setup.is_honest()) {
            for (shard, disk) in &node.disks {
                if let Some(head) = disk.head
                    && !self.has_unseen_rot(id, *shard)
                    && self.is_followed(id, *shard)
                    && !disk.is_true(&self.chain, *shard)
                {
                    wrong.push(Breach::WrongRoot(id, *shard, head));
                }
            }
        }
        wrong.into_iter().for_each(|breach| self.ledger.breach(breach));
    }

    /// Nodes whose drivers have something to state.
    pub(crate) fn about_to_be_told(&self) -> BTreeSet<NodeId> {
        let told = self.queue.values().filter_map(|happening| match happening {
            Happening::Input { node, .. } | Happening::Work { node, .. } => Some(*node),
            _ => None,
        });
        told.chain(self.flights.senders()).collect()
    }

    /// Whether a shard is taken for the chain's; what is frozen only waits to be dropped.
    fn is_followed(&self, id: NodeId, shard: ShardId) -> bool {
        matches!(self.phase(id, shard), Some(Phase::Replaying | Phase::Following))
    }

    /// Where a node's task of a shard is.
    pub(crate) fn phase(&self, id: NodeId, shard: ShardId) -> Option<Phase> {
        self.nodes.get(id)?.policy.as_ref()?.phase(shard)
    }

    pub(crate) fn at(&mut self, at: Instant, happening: Happening) {
        self.queue.insert((at.max(self.now), self.next), happening);
        self.next += 1;
    }

    /// Puts a message on its way.
    pub(crate) fn post(&mut self, at: Instant, from: NodeId, to: NodeId, message: Message) {
        let era = self.era(from, to);
        self.at(at, Happening::Arrive { from, to, era, message });
    }

    /// A number that is another one once either of two processes is.
    pub(crate) fn era(&self, a: NodeId, b: NodeId) -> u32 {
        let of = |id: NodeId| self.nodes.get(id).map_or(0, |node| node.generation);
        of(a).wrapping_add(of(b))
    }

    pub(crate) fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Input { node, generation, input } => {
                if !self.runs(node, generation) {
                    return;
                }
                if let Some(until) = self.stands_until(node) {
                    return self.at(until, Happening::Input { node, generation, input });
                }
                self.tell_now(node, input);
            }
            Happening::Work { node, generation, job, work } => {
                if !self.runs(node, generation) {
                    return;
                }
                if let Some(until) = self.stands_until(node) {
                    return self.at(until, Happening::Work { node, generation, job, work });
                }
                self.work_done(node, job, &work);
            }
            Happening::Wake { node, generation, at } => {
                let due = self.nodes.get(node).is_some_and(|node| node.wake_at == Some(at));
                if !due || !self.runs(node, generation) {
                    return;
                }
                match self.stands_until(node) {
                    Some(until) => {
                        self.nodes.get_mut(node).into_iter().for_each(|n| n.wake_at = Some(until));
                        self.at(until, Happening::Wake { node, generation, at: until });
                    }
                    None => self.wake(node),
                }
            }
            Happening::Say { from, to, era, answer } => {
                if self.era(from, to.peer) == era {
                    self.answer(from, to, answer, None);
                }
            }
            Happening::Arrive { from, to, era, message } => match self.stands_until(to) {
                Some(until) => self.at(until, Happening::Arrive { from, to, era, message }),
                None if self.era(from, to) == era => self.arrive(from, to, message),
                // It was on its way to or from a process that is gone.
                None => {}
            },
            Happening::Progress(flow) => self.progress(flow),
            Happening::Link(a, b) => self.link(a, b),
            Happening::Hangup(a, b) => self.unlink(a, b),
            Happening::Block(height) => self.block(height),
            Happening::Crash(node) => self.crash_now(node),
            Happening::Start(node) => self.start(node),
            Happening::Fault(turn) => self.turn(*turn),
        }
    }

    fn runs(&self, node: NodeId, generation: u32) -> bool {
        self.nodes.get(node).is_some_and(|node| node.generation == generation && node.is_up)
    }

    /// Until when a node's process stands still, if it does.
    fn stands_until(&self, node: NodeId) -> Option<Instant> {
        let until = self.nodes.get(node)?.trouble.stands_until?;
        Some(until).filter(|until| *until > self.now)
    }

    /// What a node's clock says.
    pub(crate) fn clock(&self, id: NodeId) -> Instant {
        self.now + self.nodes.get(id).map_or(Duration::ZERO, |node| node.trouble.ahead)
    }

    /// States a fact to a node, and does what it wants done.
    pub(crate) fn tell_now(&mut self, id: NodeId, input: Input) {
        let clock = self.clock(id);
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(policy) = &mut node.policy else { return };
        self.trace.note(self.now, id, |line| write!(line, "{input:?}"));
        if let Input::EpochStarted(start) = &input {
            let new = start.tracked_next.iter().filter(|shard| !start.tracked.contains(shard));
            for shard in new.filter(|_| start.epoch < self.last_change) {
                let follows = policy.phase(*shard) == Some(Phase::Following);
                self.ledger.takes.begin(self.now, (id, *shard, start.epoch.next()), follows);
            }
        }
        if let (Input::PeerDisconnected { peer }, true) = (&input, node.setup.defences.ends) {
            // Also what was asked after the connection had gone, before that was known.
            node.memory.requests.retain(|_, outgoing| outgoing.peer != *peer);
            node.memory.asks.retain(|_, incoming| incoming.peer != node_of(*peer));
        }
        node.memory.duties.told(self.now, &input);
        if let Input::DamageFound { shard } = &input {
            node.memory.rot_told.insert(*shard);
        }
        let contract = node.memory.contract.as_mut();
        let kept = contract.map_or(Ok(()), |contract| contract.told(clock, Some(&input)));
        policy.handle(clock, input);
        self.check_kept(id, kept);
        self.drive(id);
    }

    fn wake(&mut self, id: NodeId) {
        let clock = self.clock(id);
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.wake_at = None;
        let Some(policy) = &mut node.policy else { return };
        self.trace.note(self.now, id, |line| line.write_str("timeout"));
        let contract = node.memory.contract.as_mut();
        let kept = contract.map_or(Ok(()), |contract| contract.told(clock, None));
        policy.handle_timeout(clock);
        self.check_kept(id, kept);
        self.drive(id);
    }

    /// Takes a node's commands and events, and notes when it wants to be woken.
    fn drive(&mut self, id: NodeId) {
        while let Some(command) = self.next_command(id) {
            self.trace.tell(self.now, id, |line| write!(line, "    {command:?}"));
            let contract = self.nodes.get_mut(id).and_then(|node| node.memory.contract.as_mut());
            let kept = contract.map_or(Ok(()), |contract| contract.ordered(&command));
            self.obey(id, command);
            // After those who know more: what is on the disk, who lies.
            self.check_kept(id, kept);
        }
        while let Some(event) = self.next_event(id) {
            self.trace.tell(self.now, id, |line| write!(line, "    {event:?}"));
            self.check_event(id, &event);
            self.ledger.event(self.now, id, event);
        }
        self.check_node(id);
        let (now, clock) = (self.now, self.clock(id));
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some((at, _)) = node.policy.as_ref().and_then(Policy::poll_timeout) else { return };
        if at <= clock {
            self.ledger.breach(Breach::TimerInThePast(id));
        }
        let at = now + (at - clock);
        if node.wake_at.is_none_or(|old| at < old || old <= now) {
            node.wake_at = Some(at);
            let generation = node.generation;
            self.at(at, Happening::Wake { node: id, generation, at });
        }
    }

    fn check_kept(&mut self, id: NodeId, kept: Result<(), Rule>) {
        let broken = kept.err().filter(|rule| !LAXER_HERE.contains(rule));
        broken.into_iter().for_each(|rule| self.ledger.breach(Breach::Contract(id, rule)));
    }

    fn next_command(&mut self, id: NodeId) -> Option<ketch_coordinator::Command> {
        self.nodes.get_mut(id)?.policy.as_mut()?.poll_command()
    }

    fn next_event(&mut self, id: NodeId) -> Option<ketch_coordinator::Event> {
        self.nodes.get_mut(id)?.policy.as_mut()?.poll_event()
    }

    fn block(&mut self, height: Height) {
        self.head = height;
        let new_epoch = self.chain.epoch_starting_after(height);
        if height < self.chain.last_height() {
            self.at(self.chain.produced(height.next()), Happening::Block(height.next()));
        }
        if let Some(epoch) = new_epoch {
            self.note_epoch_end();
            epoch.0.checked_sub(1).into_iter().for_each(|ended| self.check_epoch_end(Epoch(ended)));
            self.subscribe(epoch);
        }
        for id in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(id).filter(|node| node.policy.is_some()) else {
                continue;
            };
            let generation = node.generation;
            // What a node makes of a block's time moves with its clock.
            let produced = self.chain.produced(height) + node.trouble.ahead;
            let at = self.heard_at(id, self.now);
            let input = Input::HeadAdvanced { height, produced };
            self.at(at, Happening::Input { node: id, generation, input });
            if let Some(epoch) = new_epoch {
                let input = self.epoch_input(id, epoch);
                self.at(at, Happening::Input { node: id, generation, input });
            }
        }
        if let Some(epoch) = new_epoch {
            self.liars_provide(epoch);
            (0..self.nodes.len()).for_each(|id| self.gossip_lies(id));
        }
    }

    pub(crate) fn epoch_input(&self, id: NodeId, epoch: Epoch) -> Input {
        let tracked =
            |epoch| self.nodes.get(id).map(|n| n.setup.tracked_in(epoch)).unwrap_or_default();
        let (now, next) = (tracked(epoch), tracked(epoch.next()));
        let turns =
            next.iter().filter_map(|shard| Some((*shard, self.turn_of(id, *shard, epoch)?)));
        let turns = turns.collect();
        Input::EpochStarted(self.chain.epoch_start(epoch, now, next, turns))
    }

    /// Which of those that take a shard in an epoch a node is; everybody knows from the assignment.
    fn turn_of(&self, id: NodeId, shard: ShardId, epoch: Epoch) -> Option<Turn> {
        let takes = |(id, node): (NodeId, &Node)| {
            let tracks = |epoch| node.setup.tracked_in(epoch).contains(&shard);
            (node.setup.is_honest() && !tracks(epoch) && tracks(epoch.next())).then_some(id)
        };
        let takers: Vec<NodeId> = self.nodes.iter().enumerate().filter_map(takes).collect();
        let place = takers.iter().position(|taker| *taker == id)?;
        Turn::new(u32::try_from(place).ok()?, u32::try_from(takers.len()).ok()?)
    }
}
