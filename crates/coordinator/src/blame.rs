//! Rule 4: proof of a fault, and when to doubt ourselves instead.

use ketch_types::{Instant, PartIndex, ShardId};

use crate::command::{Command, Work};
use crate::coordinator::Coordinator;
use crate::event::Event;
use crate::id::Peer;
use crate::input::Fault;
use crate::request::Request;

/// Who was banned lately, and whether we trust our own judgement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blame {
    bans: Vec<Instant>,
    suspecting: Option<Suspicion>,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    /// When it ends, once the check of ourselves found nothing; without an end if it did not.
    until: Option<Instant>,
}

impl Blame {
    pub(crate) fn suspicion_ends(&self) -> Option<Instant> {
        self.suspecting.and_then(|suspicion| suspicion.until)
    }
}

impl Coordinator {
    /// What a peer sent proves that it lies, or that we cannot tell.
    pub(crate) fn proven(&mut self, request: &Request, fault: Fault) {
        let peer = request.peer;
        if let (Fault::Part(part), Some(shard)) = (fault, request.shard())
            && self.several_failed_at(shard, part, peer)
        {
            self.suspect(Some((shard, part)));
        }
        let since = self.config.suspicion;
        self.blame.bans.retain(|at| self.now - *at < since);
        if self.blame.bans.len() + 1 >= self.config.bans_max {
            self.suspect(None);
        }
        if self.blame.suspecting.is_some() {
            // Nobody is banned, but whoever it was is asked last.
            self.disappointed(peer, request.subject.kind());
        } else {
            self.ban(peer, fault);
        }
    }

    fn several_failed_at(&mut self, shard: ShardId, part: PartIndex, peer: Peer) -> bool {
        let download = self.shards.get_mut(&shard).and_then(|shard| shard.download.as_mut());
        download.is_some_and(|download| download.fail(part, peer).len() > 1)
    }

    fn ban(&mut self, peer: Peer, fault: Fault) {
        let lasting = self.config.ban;
        self.blame.bans.push(self.now);
        self.close_requests_of(peer);
        self.peers.ban(peer, self.now + lasting);
        self.serving.disconnect(peer);
        self.command(Command::Ban { peer, lasting });
        self.event(Event::Banned { peer, fault });
    }

    /// So many peers cannot be wrong at once: checks our own memory and decoder.
    fn suspect(&mut self, part: Option<(ShardId, PartIndex)>) {
        if self.blame.suspecting.is_some() {
            return;
        }
        self.blame.suspecting = Some(Suspicion { until: None });
        self.event(Event::SuspectingOurselves { part });
        self.run(Work::CheckOurselves);
    }

    /// The check found nothing: liars are banned again after a while, since a fault that comes and
    /// goes may have gone. It found something: never again until we are started anew.
    pub(crate) fn checked_ourselves(&mut self, sound: bool) {
        self.event(Event::CheckedOurselves { sound });
        let until = self.now + self.config.suspicion;
        if sound {
            self.blame.suspecting = Some(Suspicion { until: Some(until) });
        }
    }

    pub(crate) fn end_suspicion(&mut self) {
        if self.blame.suspicion_ends().is_some_and(|until| self.now >= until) {
            self.blame.suspecting = None;
            self.blame.bans.clear();
        }
    }
}
