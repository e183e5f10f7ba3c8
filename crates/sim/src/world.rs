use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{Coordinator, Input, Peer, PeerClass, ShardStatus};
use ketch_types::{Chance, Epoch, Height, Instant, ShardId, mix};

use crate::chain::{Chain, ChainSetup, root_of};
use crate::check::{Breach, Ledger};
use crate::disk::Disk;
use crate::message::Message;
use crate::node::{Memory, Node, NodeId, NodeSetup};

/// Everything that a world is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// All chances come from this.
    pub seed: u64,
    /// The chain.
    pub chain: ChainSetup,
    /// The nodes.
    pub nodes: Vec<NodeSetup>,
}

/// Nodes, their links and a chain, in virtual time.
pub struct World {
    pub(crate) now: Instant,
    pub(crate) chain: Arc<Chain>,
    pub(crate) chance: Chance,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: BTreeSet<(NodeId, NodeId)>,
    /// The DHT: who can be asked for a shard's state at an epoch's start.
    pub(crate) directory: BTreeMap<(ShardId, Epoch), BTreeSet<NodeId>>,
    pub(crate) ledger: Ledger,
    pub(crate) head: Height,
    queue: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    trace: blake3::Hasher,
    seed: u64,
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
        job: ketch_coordinator::JobId,
        work: ketch_coordinator::Work,
    },
    Wake {
        node: NodeId,
        generation: u32,
        at: Instant,
    },
    Arrive {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    Hangup(NodeId, NodeId),
    Block(Height),
    Crash(NodeId),
    Start(NodeId),
}

impl World {
    /// The world of a setup, before anything has happened; none if its chain cannot be.
    pub fn new(setup: Setup) -> Option<Self> {
        let chain = Arc::new(Chain::new(setup.chain, setup.seed)?);
        Some(Self::on(chain, setup.seed, setup.nodes))
    }

    /// A world on a chain that was made before: making one takes longer than running most worlds.
    pub fn on(chain: Arc<Chain>, seed: u64, nodes: Vec<NodeSetup>) -> Self {
        let node = |setup: NodeSetup| {
            let disks = setup.genesis.iter().map(|shard| (*shard, Disk::genesis(&chain, *shard)));
            let disks = disks.collect();
            Node::new(setup, disks)
        };
        let nodes: Vec<_> = nodes.into_iter().map(node).collect();
        let mut world = Self {
            now: Instant::ORIGIN,
            chain,
            chance: Chance::new(seed),
            nodes,
            links: BTreeSet::new(),
            directory: BTreeMap::new(),
            ledger: Ledger::default(),
            head: Height(0),
            queue: BTreeMap::new(),
            next: 0,
            trace: blake3::Hasher::new(),
            seed,
        };
        for node in 0..world.nodes.len() {
            world.at(Instant::ORIGIN, Happening::Start(node));
        }
        world.at(world.chain.produced(Height(1)), Happening::Block(Height(1)));
        world
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
        let coordinator = self.nodes.get(node)?.coordinator.as_ref()?;
        coordinator.shards().find(|status| status.shard == shard)
    }

    /// Whether a node has nothing under way; one that is down has not.
    pub fn is_at_rest(&self, node: NodeId) -> bool {
        let coordinator = self.nodes.get(node).and_then(|node| node.coordinator.as_ref());
        coordinator.is_none_or(Coordinator::is_at_rest)
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

    /// Flips a value on a node's disk, and has its driver find it.
    pub fn damage(&mut self, node: NodeId, shard: ShardId) {
        let Some(of) = self.nodes.get_mut(node) else { return };
        if let Some(disk) = of.disks.get_mut(&shard)
            && let Some(value) = disk.entries.values_mut().next()
        {
            value.push(1);
        }
        let generation = of.generation;
        let input = Input::DamageFound { shard };
        self.at(self.now, Happening::Input { node, generation, input });
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
        while go_on(self)
            && let Some(((at, number), happening)) = self.queue.pop_first()
        {
            if at > end {
                self.queue.insert((at, number), happening);
                break;
            }
            self.now = at;
            self.happen(happening);
        }
        if self.queue.keys().next().is_none_or(|(at, _)| *at > end) {
            self.now = self.now.max(end);
        }
    }

    /// A hash of everything that nodes were told, and when.
    pub fn trace_hash(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    /// Whether what a node has of a shard, hashed afresh, is what the chain committed to at the height
    /// that it has reached.
    pub fn holds_truth(&self, node: NodeId, shard: ShardId) -> bool {
        let disk = self.nodes.get(node).and_then(|node| node.disks.get(&shard));
        disk.is_some_and(|disk| {
            disk.head
                .is_some_and(|head| self.chain.root(shard, head) == Some(root_of(&disk.entries)))
        })
    }

    /// Notes every whole state that is not the chain's.
    pub fn check_states(&mut self) {
        let mut wrong = Vec::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.setup.is_honest()) {
            for (shard, disk) in &node.disks {
                if let Some(head) = disk.head
                    && !self.holds_truth(id, *shard)
                {
                    wrong.push(Breach::WrongRoot(id, *shard, head));
                }
            }
        }
        wrong.into_iter().for_each(|breach| self.ledger.breach(breach));
    }

    pub(crate) fn at(&mut self, at: Instant, happening: Happening) {
        self.queue.insert((at.max(self.now), self.next), happening);
        self.next += 1;
    }

    pub(crate) fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Input { node, generation, input } => {
                if self.runs(node, generation) {
                    self.tell_now(node, input);
                }
            }
            Happening::Work { node, generation, job, work } => {
                if self.runs(node, generation) {
                    self.work_done(node, job, &work);
                }
            }
            Happening::Wake { node, generation, at } => {
                let due = self.nodes.get(node).is_some_and(|node| node.wake_at == Some(at));
                if due && self.runs(node, generation) {
                    self.wake(node);
                }
            }
            Happening::Arrive { from, to, message } => self.arrive(from, to, message),
            Happening::Hangup(a, b) => self.unlink(a, b),
            Happening::Block(height) => self.block(height),
            Happening::Crash(node) => self.crash_now(node),
            Happening::Start(node) => self.start(node),
        }
    }

    fn runs(&self, node: NodeId, generation: u32) -> bool {
        self.nodes.get(node).is_some_and(|node| node.generation == generation && node.is_up)
    }

    /// States a fact to a node, and does what it wants done.
    pub(crate) fn tell_now(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(coordinator) = &mut node.coordinator else { return };
        self.trace.update(format!("{:?} {id} {input:?}", self.now).as_bytes());
        coordinator.handle(self.now, input);
        self.drive(id);
    }

    fn wake(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.wake_at = None;
        let Some(coordinator) = &mut node.coordinator else { return };
        self.trace.update(format!("{:?} {id} timeout", self.now).as_bytes());
        coordinator.handle_timeout(self.now);
        self.drive(id);
    }

    /// Takes a node's commands and events, and notes when it wants to be woken.
    fn drive(&mut self, id: NodeId) {
        while let Some(command) = self.next_command(id) {
            self.obey(id, command);
        }
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(coordinator) = &mut node.coordinator else { return };
        while let Some(event) = coordinator.poll_event() {
            self.ledger.event(now, id, event);
        }
        let pending = coordinator.pending_bytes();
        let largest = u64::from(self.chain.setup().cut) + 4_096;
        if pending > node.setup.config.memory_bytes.max(largest) + largest {
            self.ledger.breach(Breach::OverBudget(id, pending));
        }
        let Some((at, _)) = coordinator.poll_timeout() else { return };
        if at <= now {
            self.ledger.breach(Breach::TimerInThePast(id));
        }
        if node.wake_at.is_none_or(|old| at < old || old <= now) {
            node.wake_at = Some(at);
            let generation = node.generation;
            self.at(at, Happening::Wake { node: id, generation, at });
        }
    }

    fn next_command(&mut self, id: NodeId) -> Option<ketch_coordinator::Command> {
        self.nodes.get_mut(id)?.coordinator.as_mut()?.poll_command()
    }

    fn block(&mut self, height: Height) {
        self.head = height;
        let setup = self.chain.setup();
        let last = Height(setup.epochs * setup.epoch_length);
        let new_epoch = self.chain.epoch_starting_after(height);
        if height < last {
            self.at(self.chain.produced(height.next()), Happening::Block(height.next()));
        }
        for id in 0..self.nodes.len() {
            let generation = self.nodes.get(id).map_or(0, |node| node.generation);
            let produced = self.chain.produced(height);
            let delay = Duration::from_micros(5_000 + self.chance.draw() % 20_000);
            let input = Input::HeadAdvanced { height, produced };
            self.after(delay, Happening::Input { node: id, generation, input });
            if let Some(epoch) = new_epoch {
                let input = self.epoch_input(id, epoch);
                self.after(delay, Happening::Input { node: id, generation, input });
            }
        }
        if let Some(epoch) = new_epoch {
            self.liars_provide(epoch);
            (0..self.nodes.len()).for_each(|id| self.gossip_lies(id));
        }
    }

    fn epoch_input(&self, id: NodeId, epoch: Epoch) -> Input {
        let tracked =
            |epoch| self.nodes.get(id).map(|n| n.setup.tracked_in(epoch)).unwrap_or_default();
        let (now, next) = (tracked(epoch), tracked(epoch.next()));
        Input::EpochStarted(self.chain.epoch_start(epoch, now, next))
    }

    /// Who lies is found for everything.
    fn liars_provide(&mut self, epoch: Epoch) {
        let liars = self.nodes.iter().enumerate().filter(|(_, node)| node.setup.lies());
        for (liar, _) in liars {
            for (shard, _) in &self.chain.setup().shards {
                self.directory.entry((*shard, epoch)).or_default().insert(liar);
            }
        }
    }

    fn start(&mut self, id: NodeId) {
        let epoch = Epoch(self.head.0 / self.chain.setup().epoch_length);
        let (now, seed) = (self.now, mix(self.seed ^ mix(id as u64 + 1)));
        let before = epoch.0.checked_sub(1).map(|before| self.epoch_input(id, Epoch(before)));
        let input = self.epoch_input(id, epoch);
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.is_up = true;
        if !node.setup.is_honest() {
            return self.liars_provide(epoch);
        }
        let seed = seed ^ u64::from(node.generation);
        node.coordinator = Some(Coordinator::new(node.setup.config.clone(), seed, now));
        before.into_iter().for_each(|input| self.tell_now(id, input));
        self.tell_now(id, input);
        let (height, produced) = (self.head, self.chain.produced(self.head));
        self.tell_now(id, Input::HeadAdvanced { height, produced });
        // Sequencers are in everybody's configuration, and who lies connects to everybody.
        let others = self.nodes.iter().enumerate().filter(|(_, node)| !node.setup.is_honest());
        let others: Vec<_> = others.map(|(other, _)| other).collect();
        others.into_iter().for_each(|other| self.link(id, other));
        self.gossip_lies(id);
    }

    fn crash_now(&mut self, id: NodeId) {
        let peers: Vec<_> = (0..self.nodes.len()).filter(|peer| self.linked(id, *peer)).collect();
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.generation += 1;
        (node.coordinator, node.memory, node.is_up) = (None, Memory::default(), false);
        node.wake_at = None;
        self.ledger.forget_phases(id, None);
        for peer in peers {
            self.unlink(id, peer);
        }
    }

    pub(crate) fn linked(&self, a: NodeId, b: NodeId) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    /// Connects two nodes, if both are up and neither has banned the other.
    pub(crate) fn link(&mut self, a: NodeId, b: NodeId) {
        let up = |id: NodeId| self.nodes.get(id).is_some_and(|node| node.is_up);
        let banned = self.ledger.banned.contains(&(a, b)) || self.ledger.banned.contains(&(b, a));
        if a != b && up(a) && up(b) && !banned && self.links.insert((a.min(b), a.max(b))) {
            for (to, peer) in [(a, b), (b, a)] {
                let affinity = mix(peer as u64);
                let (peer, class) = (handle(peer), PeerClass::Validator);
                let input = Input::PeerConnected { peer, class, affinity };
                let generation = self.nodes.get(to).map_or(0, |node| node.generation);
                self.at(self.now, Happening::Input { node: to, generation, input });
            }
        }
    }

    pub(crate) fn unlink(&mut self, a: NodeId, b: NodeId) {
        if self.links.remove(&(a.min(b), a.max(b))) {
            for (to, peer) in [(a, b), (b, a)] {
                let noticed = |node: &&mut Node| node.setup.defences.ends;
                if let Some(node) = self.nodes.get_mut(to).filter(noticed) {
                    node.memory.requests.retain(|_, outgoing| outgoing.peer != peer);
                    node.memory.asks.retain(|_, incoming| incoming.peer != peer);
                    let generation = node.generation;
                    let input = Input::PeerDisconnected { peer: handle(peer) };
                    self.at(self.now, Happening::Input { node: to, generation, input });
                }
            }
        }
    }
}

/// A node as its peers' handle for it.
pub(crate) fn handle(node: NodeId) -> Peer {
    Peer(u32::try_from(node).unwrap_or(u32::MAX))
}

/// A handle as the node that it is.
pub(crate) fn node_of(peer: Peer) -> NodeId {
    peer.0 as usize
}
