//! Scenarios as they are written down.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::time::Duration;

use ketch_coordinator::Config;
use ketch_types::{ByteSize, Instant, PartIndex, PartSet, ShardId};
use serde::{Deserialize, Deserializer, de::Error};
use toml::Spanned;

use crate::chain::{ChainSetup, Content};
use crate::dht::DhtModel;
use crate::fault::FaultKind;
use crate::gossip::GossipModel;
use crate::lie::{Conduct, Lie};
use crate::limit::Limit;
use crate::node::{LinkSpeed, NodeSetup};
use crate::scenario::{Chaos, Group, Planned, Scenario, sequencer};
use crate::stand_in::StandIns;
use crate::tries::Tries;

/// Why a scenario is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// Where in the text. *Units:* bytes.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

/// In which form a scenario is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is written.
    Full,
    /// With what its section `small` says instead, for tests.
    Small,
}

impl Scenario {
    /// The scenario that a TOML text describes.
    pub fn parse(text: &str, form: Form) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text).map_err(|error| ScenarioError {
            offset: error.span().map_or(text.len(), |span| span.start),
            message: error.message().to_owned(),
        })?;
        file.in_form(form).scenario()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    end: Time,
    chain: ChainPart,
    #[serde(default)]
    line: Line,
    #[serde(default)]
    gossip: Gossip,
    #[serde(default)]
    dht: DhtPart,
    #[serde(default)]
    config: ConfigPart,
    nodes: Vec<Nodes>,
    #[serde(default)]
    fault: Vec<FaultPart>,
    chaos: Option<ChaosPart>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    small: Small,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainPart {
    shards: u32,
    #[serde(default)]
    empty: Vec<u32>,
    state: Size,
    content: Material,
    part: Size,
    changes: NonZeroU64,
    /// Epochs behind the last change, for those who are late.
    #[serde(default = "one")]
    epochs_after: NonZeroU64,
    epoch_blocks: NonZeroU64,
    block_interval: Time,
    #[serde(default)]
    changed: Share,
    #[serde(default = "packed")]
    packed: Share,
    #[serde(default)]
    chunk: Size,
    #[serde(default)]
    writes: u64,
    #[serde(default = "value_bytes")]
    value: Size,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Material {
    Tries,
    StandIns,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    up_mbit: Option<NonZeroU64>,
    down_mbit: Option<NonZeroU64>,
    delay: Option<Time>,
    /// Of applying, in a second.
    apply: Option<Size>,
    /// Of making parts, in a second.
    generate: Option<Size>,
    replay_block: Option<Time>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gossip {
    #[serde(default)]
    loss: Share,
    #[serde(default)]
    stale: Share,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DhtPart {
    lookup: Option<Time>,
    #[serde(default)]
    failures: Share,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigPart {
    memory: Option<Size>,
    window: Option<Size>,
    window_min: Option<Size>,
    peer_bytes: Option<Size>,
    outputs: Option<Size>,
    stall_timeout: Option<Time>,
    announce_interval: Option<Time>,
    download_prior: Option<Size>,
    replay_prior: Option<u64>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nodes {
    name: String,
    #[serde(default = "one")]
    count: NonZeroU64,
    /// The shards of each epoch, the last for ever.
    tracks: Option<Spanned<Vec<Vec<u32>>>>,
    /// In each epoch the shard after the last epoch's: the first node begins with this one.
    rotates_from: Option<u32>,
    up_mbit: Option<NonZeroU64>,
    down_mbit: Option<NonZeroU64>,
    delay: Option<Time>,
    #[serde(default)]
    lies: Lies,
    /// Of so many of the group each holds every part whose number leaves its own place.
    #[serde(default)]
    holds_one_part_in: u32,
    joins: Option<Time>,
    clean: Option<Spanned<String>>,
}

#[derive(Clone, Default)]
struct Lies(Vec<Lie>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultPart {
    kind: Kind,
    nodes: Spanned<String>,
    at: Time,
    lasting: Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChaosPart {
    kinds: Kinds,
    nodes: Vec<Spanned<String>>,
    per_minute: NonZeroU64,
    until: Time,
}

#[derive(Clone, Copy)]
struct Kind(FaultKind);

struct Kinds(Vec<FaultKind>);

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    missed: Option<usize>,
    unfinished: Option<usize>,
    ready_p99_of_epoch: Option<Ratio>,
    of_bound: Option<Ratio>,
    of_clean: Option<Ratio>,
    faster_than_baseline: Option<Ratio>,
    apply_lag: Option<Time>,
    from_downloading: Option<Share>,
    wasted: Option<Share>,
    excess: Option<Ratio>,
    made_most: Option<u32>,
    fairness: Option<Share>,
    strikes: Option<u32>,
    seed_upload: Option<Ratio>,
    impossible_within: Option<Time>,
    warned_ahead: Option<Time>,
    replay_rate: Option<Ratio>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Small {
    state: Option<Size>,
    part: Option<Size>,
    changes: Option<NonZeroU64>,
    epoch_blocks: Option<NonZeroU64>,
    shards: Option<u32>,
    end: Option<Time>,
    #[serde(default)]
    counts: BTreeMap<String, NonZeroU64>,
    #[serde(default)]
    joins: BTreeMap<String, Time>,
    config: Option<ConfigPart>,
    limits: Option<Limits>,
}

#[derive(Clone, Copy)]
struct Time(Duration);

#[derive(Clone, Copy, Default)]
struct Size(u64);

/// From 0 to 1.
#[derive(Clone, Copy, Default)]
struct Share(f64);

/// Above 0.
#[derive(Clone, Copy)]
struct Ratio(f64);

fn one() -> NonZeroU64 {
    NonZeroU64::MIN
}

fn packed() -> Share {
    Share(0.68)
}

fn value_bytes() -> Size {
    Size(400)
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        humantime::parse_duration(&text).map(Time).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map(|ByteSize(bytes)| Size(bytes)).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(input)?;
        let is_one = (0.0..=1.0).contains(&share);
        is_one.then_some(Share(share)).ok_or_else(|| D::Error::custom("not a share from 0 to 1"))
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let ratio = f64::deserialize(input)?;
        let is_one = ratio.is_finite() && ratio > 0.0;
        is_one.then_some(Ratio(ratio)).ok_or_else(|| D::Error::custom("not a number above 0"))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        named(&String::deserialize(input)?, FaultKind::of_name, "fault").map(Kind)
    }
}

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        all_named(input, &FaultKind::ALL, FaultKind::of_name, "fault").map(Kinds)
    }
}

impl<'de> Deserialize<'de> for Lies {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        all_named(input, &Lie::ALL, Lie::of_name, "lie").map(Lies)
    }
}

/// A thing by its name.
fn named<T, E: Error>(name: &str, of: fn(&str) -> Option<T>, what: &str) -> Result<T, E> {
    of(name).ok_or_else(|| E::custom(format!("there is no {what} `{name}`")))
}

/// Things by their names, or all that there are.
fn all_named<'de, T: Copy, D: Deserializer<'de>>(
    input: D,
    all: &[T],
    of: fn(&str) -> Option<T>,
    what: &str,
) -> Result<Vec<T>, D::Error> {
    let names = Vec::<String>::deserialize(input)?;
    if names == ["all"] {
        return Ok(all.to_vec());
    }
    names.iter().map(|name| named(name, of, what)).collect()
}

impl File {
    fn in_form(mut self, form: Form) -> Self {
        if form == Form::Full {
            return self;
        }
        let small = self.small.clone();
        self.chain.state = small.state.unwrap_or(self.chain.state);
        self.chain.part = small.part.unwrap_or(self.chain.part);
        self.chain.changes = small.changes.unwrap_or(self.chain.changes);
        self.chain.epoch_blocks = small.epoch_blocks.unwrap_or(self.chain.epoch_blocks);
        self.chain.shards = small.shards.unwrap_or(self.chain.shards);
        self.end = small.end.unwrap_or(self.end);
        self.config = small.config.unwrap_or(self.config);
        self.limits = small.limits.unwrap_or(self.limits);
        for nodes in &mut self.nodes {
            nodes.count = small.counts.get(&nodes.name).copied().unwrap_or(nodes.count);
            nodes.joins = small.joins.get(&nodes.name).copied().or(nodes.joins);
        }
        self
    }

    fn scenario(self) -> Result<Scenario, ScenarioError> {
        let mut groups = Vec::new();
        for nodes in &self.nodes {
            let (name, clean) = (nodes.name.clone(), self.clean(nodes)?);
            groups.push(Group { name, nodes: self.setups(nodes)?, clean });
        }
        groups.push(sequencer());
        let known = |name: &Spanned<String>| {
            let is_known = self.nodes.iter().any(|nodes| nodes.name == *name.get_ref());
            is_known.then(|| name.get_ref().clone()).ok_or_else(|| no_group(name))
        };
        let faults = self.fault.iter().map(|fault| {
            Ok(Planned {
                kind: fault.kind.0,
                group: known(&fault.nodes)?,
                at: Instant::ORIGIN + fault.at.0,
                lasting: fault.lasting.0,
            })
        });
        let faults: Vec<Planned> = faults.collect::<Result<_, ScenarioError>>()?;
        let chaos = self.chaos.as_ref().map(|chaos| {
            let groups = chaos.nodes.iter().map(&known).collect::<Result<_, ScenarioError>>()?;
            let until = Instant::ORIGIN + chaos.until.0;
            let (kinds, per_minute) = (chaos.kinds.0.clone(), chaos.per_minute.get());
            Ok(Chaos { kinds, groups, per_minute, until })
        });
        Ok(Scenario {
            title: self.title,
            chain: self.chain.setup(),
            changes: self.chain.changes.get(),
            gossip: GossipModel {
                loss_per_mille: per_mille(self.gossip.loss),
                stale_per_mille: per_mille(self.gossip.stale),
                ..GossipModel::default()
            },
            dht: DhtModel {
                lookup: self.dht.lookup.map_or(DhtModel::default().lookup, |time| time.0),
                failures_per_mille: per_mille(self.dht.failures),
                ..DhtModel::default()
            },
            limits: self.limits.list(&self.chain, faults.first()),
            faults,
            chaos: chaos.transpose()?,
            end: Instant::ORIGIN + self.end.0,
            groups,
        })
    }

    /// What a group is in the clean run.
    fn clean(&self, nodes: &Nodes) -> Result<Option<Vec<NodeSetup>>, ScenarioError> {
        let Some(clean) = &nodes.clean else { return Ok(None) };
        if clean.get_ref() == "absent" {
            let gone = NodeSetup { conduct: Conduct::Absent, ..NodeSetup::default() };
            let count = usize::try_from(nodes.count.get()).unwrap_or(usize::MAX);
            return Ok(Some(vec![gone; count]));
        }
        let like = self.nodes.iter().find(|other| other.name == *clean.get_ref());
        let like = like.ok_or_else(|| no_group(clean))?;
        self.setups(&Nodes { count: nodes.count, ..like.clone() }).map(Some)
    }

    fn setups(&self, nodes: &Nodes) -> Result<Vec<NodeSetup>, ScenarioError> {
        let mut setups = Vec::new();
        for place in 0..usize::try_from(nodes.count.get()).unwrap_or(usize::MAX) {
            let tracked = self.tracked(nodes, place)?;
            let genesis = tracked.first().cloned().unwrap_or_default();
            let lie = nodes.lies.0.get(place % nodes.lies.0.len().max(1)).copied();
            let conduct = lie.map_or(Conduct::Honest, Conduct::Lies);
            let lacking = self.lacking(nodes, place, &genesis);
            let joins = nodes.joins.map_or(Instant::ORIGIN, |time| Instant::ORIGIN + time.0);
            let setup = NodeSetup { config: self.config.config(), ..NodeSetup::default() };
            let setup = self.line.of(nodes, setup);
            setups.push(NodeSetup { tracked, genesis, conduct, lacking, joins, ..setup });
        }
        Ok(setups)
    }

    fn tracked(&self, nodes: &Nodes, place: usize) -> Result<Vec<Vec<ShardId>>, ScenarioError> {
        let shards = self.chain.shards;
        if let Some(from) = nodes.rotates_from {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let epochs = 0..=u32::try_from(self.chain.changes.get()).unwrap_or(u32::MAX);
            let at = |epoch: u32| (from + place + epoch) % shards.max(1);
            return Ok(epochs.map(|epoch| vec![ShardId(at(epoch))]).collect());
        }
        let Some(tracks) = &nodes.tracks else { return Ok(vec![vec![]]) };
        if let Some(shard) = tracks.get_ref().iter().flatten().find(|shard| **shard >= shards) {
            let message = format!("there is no shard {shard}: there are {shards}, from 0 on");
            return Err(ScenarioError { offset: tracks.span().start, message });
        }
        let epochs = tracks.get_ref().iter();
        Ok(epochs.map(|shards| shards.iter().copied().map(ShardId).collect()).collect())
    }

    /// The parts that a node has lost of the shards that it began with.
    fn lacking(&self, nodes: &Nodes, place: usize, genesis: &[ShardId]) -> Vec<(ShardId, PartSet)> {
        if nodes.holds_one_part_in == 0 {
            return vec![];
        }
        let most =
            u32::try_from(self.chain.state.0 * 2 / self.chain.part.0.max(1)).unwrap_or(0) + 8;
        let mut lacking = PartSet::empty(most);
        let place = u32::try_from(place).unwrap_or(0) % nodes.holds_one_part_in;
        for part in (0..most).filter(|part| part % nodes.holds_one_part_in != place) {
            lacking.insert(PartIndex(part));
        }
        genesis.iter().map(|shard| (*shard, lacking.clone())).collect()
    }
}

impl ChainPart {
    fn setup(&self) -> ChainSetup {
        let content = match self.content {
            Material::Tries => {
                Content::Tries(Tries { value_bytes: self.value.0, writes: self.writes })
            }
            Material::StandIns => Content::StandIns(StandIns {
                packed_per_mille: per_mille(self.packed),
                changed_per_mille: per_mille(self.changed),
                chunk_bytes: self.chunk.0,
            }),
        };
        // An entry of a trie is a key, two lengths and a value.
        let size = match self.content {
            Material::Tries => self.state.0 / (self.value.0 + 18),
            Material::StandIns => self.state.0,
        };
        let of = |shard| if self.empty.contains(&shard) { 0 } else { size };
        ChainSetup {
            shards: (0..self.shards).map(|shard| (ShardId(shard), of(shard))).collect(),
            content,
            cut: u32::try_from(self.part.0).unwrap_or(u32::MAX),
            epochs: self.changes.get().saturating_add(self.epochs_after.get()),
            epoch_length: self.epoch_blocks.get(),
            block_interval: self.block_interval.0,
        }
    }

    fn epoch(&self) -> Duration {
        let blocks = u32::try_from(self.epoch_blocks.get()).unwrap_or(u32::MAX);
        self.block_interval.0.saturating_mul(blocks)
    }
}

impl Line {
    /// A node's machine: what its group says, else what all have.
    fn of(self, nodes: &Nodes, setup: NodeSetup) -> NodeSetup {
        let bytes = |mbit: NonZeroU64| mbit.get() * 125_000;
        let usual = setup.speed;
        let upload = nodes.up_mbit.or(self.up_mbit).map_or(usual.upload, bytes);
        let download = nodes.down_mbit.or(self.down_mbit).map_or(usual.download, bytes);
        let delay = nodes.delay.or(self.delay).map_or(usual.delay, |time| time.0);
        NodeSetup {
            speed: LinkSpeed { upload, download, delay },
            apply_rate: self.apply.map_or(setup.apply_rate, |size| size.0),
            generate_rate: self.generate.map_or(setup.generate_rate, |size| size.0),
            replay_block: self.replay_block.map_or(setup.replay_block, |time| time.0),
            ..setup
        }
    }
}

impl ConfigPart {
    fn config(self) -> Config {
        let usual = Config::default();
        let bytes = |size: Option<Size>, usual: u64| size.map_or(usual, |size| size.0);
        let time = |time: Option<Time>, usual: Duration| time.map_or(usual, |time| time.0);
        Config {
            memory_bytes: bytes(self.memory, usual.memory_bytes),
            window_bytes: bytes(self.window, usual.window_bytes),
            window_bytes_min: bytes(self.window_min, usual.window_bytes_min),
            peer_bytes_max: bytes(self.peer_bytes, usual.peer_bytes_max),
            outputs_bytes: bytes(self.outputs, usual.outputs_bytes),
            stall_timeout: time(self.stall_timeout, usual.stall_timeout),
            announce_interval: time(self.announce_interval, usual.announce_interval),
            download_prior: bytes(self.download_prior, usual.download_prior),
            replay_prior: self.replay_prior.unwrap_or(usual.replay_prior),
            ..usual
        }
    }
}

impl Limits {
    fn list(self, chain: &ChainPart, first: Option<&Planned>) -> Vec<Limit> {
        let since = first.map_or(Instant::ORIGIN, |fault| fault.at);
        let limits = [
            self.missed.map(Limit::Missed),
            self.unfinished.map(Limit::Unfinished),
            self.ready_p99_of_epoch.map(|r| Limit::ReadyWithin(r.0, chain.epoch())),
            self.of_bound.map(|r| Limit::OfBound(r.0)),
            self.of_clean.map(|r| Limit::OfClean(r.0)),
            self.faster_than_baseline.map(|r| Limit::FasterThanBaseline(r.0)),
            self.apply_lag.map(|time| Limit::ApplyLag(time.0)),
            self.from_downloading.map(|share| Limit::FromDownloading(share.0)),
            self.wasted.map(|share| Limit::Wasted(share.0)),
            self.excess.map(|r| Limit::Excess(r.0)),
            self.made_most.map(Limit::MadeMost),
            self.fairness.map(|share| Limit::Fairness(share.0)),
            self.strikes.map(Limit::Strikes),
            self.seed_upload.map(|r| Limit::SeedUpload(r.0)),
            self.impossible_within.map(|time| Limit::ImpossibleWithin(since, time.0)),
            self.warned_ahead.map(|time| Limit::WarnedAhead(time.0)),
            self.replay_rate.map(|r| Limit::ReplayRate(r.0)),
        ];
        limits.into_iter().flatten().collect()
    }
}

fn no_group(name: &Spanned<String>) -> ScenarioError {
    let Range { start: offset, .. } = name.span();
    ScenarioError { offset, message: format!("no nodes are called `{}`", name.get_ref()) }
}

fn per_mille(share: Share) -> u64 {
    // Shares are from 0 to 1, so this is from 0 to 1,000.
    format!("{:.0}", share.0 * 1_000.0).parse().unwrap_or(0)
}
