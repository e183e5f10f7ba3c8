//! A record held against the coordinator, and against what both sides owe each other.

use std::collections::BTreeMap;

use ketch_coordinator::{Command, Coordinator, Input, Query, Work};
use ketch_types::Instant;

use crate::contract::{Contract, Rule};
use crate::record::{RecordStart, RecordedTurn};

/// A coordinator that is told again what one was told, turn by turn.
pub struct Replay {
    coordinator: Coordinator,
    contract: Contract,
    replayed: Replayed,
}

/// How much was replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Turns in all.
    pub turns: u64,
    /// Of these, those at which only time had passed.
    pub timeouts: u64,
    /// What was told, by kind.
    pub inputs: BTreeMap<&'static str, u64>,
    /// What was said, by kind.
    pub commands: BTreeMap<&'static str, u64>,
    /// When the coordinator was made.
    pub from: Instant,
    /// When it was told something last.
    pub to: Instant,
}

/// A command that was recorded, and is not what comes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The command's place in its turn, counted from 0.
    pub place: usize,
    /// What was recorded; none if there was no further command.
    pub recorded: Option<Command>,
    /// What comes now; none if nothing does.
    pub came: Option<Command>,
}

impl Replay {
    /// A coordinator as the one at whose beginning a record begins.
    pub fn new(start: &RecordStart) -> Self {
        let config = start.config.clone();
        let replayed = Replayed {
            turns: 0,
            timeouts: 0,
            inputs: BTreeMap::new(),
            commands: BTreeMap::new(),
            from: start.at,
            to: start.at,
        };
        Self {
            contract: Contract::new(config.applies_max),
            coordinator: Coordinator::new(config, start.seed, start.at),
            replayed,
        }
    }

    /// Tells the coordinator what it was told in a turn, and compares what it says; the rules that were
    /// broken in it.
    ///
    /// *Errors:* the first [`Difference`], after which nothing that follows means anything.
    pub fn turn(&mut self, recorded: RecordedTurn) -> Result<Vec<Rule>, Box<Difference>> {
        let RecordedTurn { at, input, commands } = recorded;
        self.replayed.note(at, input.as_ref(), &commands);
        let mut broken = Vec::new();
        broken.extend(self.contract.told(at, input.as_ref()).err());
        match input {
            Some(input) => self.coordinator.handle(at, input),
            None => self.coordinator.handle_timeout(at),
        }
        let mut commands = commands.into_iter();
        for place in 0.. {
            let (recorded, came) = (commands.next(), self.coordinator.poll_command());
            if recorded != came {
                return Err(Box::new(Difference { place, recorded, came }));
            }
            let Some(came) = came else { break };
            broken.extend(self.contract.ordered(&came).err());
        }
        while self.coordinator.poll_event().is_some() {}
        Ok(broken)
    }

    /// How much was replayed so far.
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }
}

impl Replayed {
    fn note(&mut self, at: Instant, input: Option<&Input>, commands: &[Command]) {
        self.turns += 1;
        self.to = self.to.max(at);
        match input {
            Some(input) => *self.inputs.entry(input_kind(input)).or_default() += 1,
            None => self.timeouts += 1,
        }
        for command in commands {
            *self.commands.entry(command_kind(command)).or_default() += 1;
        }
    }
}

fn input_kind(input: &Input) -> &'static str {
    match input {
        Input::EpochStarted(_) => "EpochStarted",
        Input::HeadAdvanced { .. } => "HeadAdvanced",
        Input::PeerConnected { .. } => "PeerConnected",
        Input::PeerDisconnected { .. } => "PeerDisconnected",
        Input::HoldingAnnounced { .. } => "HoldingAnnounced",
        Input::RequestProgressed { .. } => "RequestProgressed",
        Input::PartVerified { .. } => "PartVerified",
        Input::RequestEnded { .. } => "RequestEnded",
        Input::JobEnded { .. } => "JobEnded",
        Input::DamageFound { .. } => "DamageFound",
        Input::HostBusy(_) => "HostBusy",
        Input::Asked { .. } => "Asked",
        Input::PartSent { .. } => "PartSent",
        Input::PartNotCached { .. } => "PartNotCached",
        Input::AskClosed { .. } => "AskClosed",
    }
}

fn command_kind(command: &Command) -> &'static str {
    match command {
        Command::Request { query, .. } => match query {
            Query::Summary(_) => "Request Summary",
            Query::Outline { .. } => "Request Outline",
            Query::Parts { .. } => "Request Parts",
            Query::Outputs { .. } => "Request Outputs",
        },
        Command::Cancel { .. } => "Cancel",
        Command::Run { work, .. } => match work {
            Work::Search { .. } => "Run Search",
            Work::Open { .. } => "Run Open",
            Work::Reconcile { .. } => "Run Reconcile",
            Work::Apply { .. } => "Run Apply",
            Work::Complete { .. } => "Run Complete",
            Work::Replay { .. } => "Run Replay",
            Work::Generate { .. } => "Run Generate",
            Work::DropShard { .. } => "Run DropShard",
            Work::DropEpochs { .. } => "Run DropEpochs",
            Work::CheckOurselves => "Run CheckOurselves",
        },
        Command::Discard { .. } => "Discard",
        Command::Ban { .. } => "Ban",
        Command::Announce(_) => "Announce",
        Command::Provide { .. } => "Provide",
        Command::StopProviding { .. } => "StopProviding",
        Command::SendSummary { .. } => "SendSummary",
        Command::SendOutline { .. } => "SendOutline",
        Command::SendOutputs { .. } => "SendOutputs",
        Command::SendPart { .. } => "SendPart",
        Command::End { .. } => "End",
    }
}
