//! What happened, as a hash that tells two runs apart, and on demand in words.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use ketch_types::Instant;

use crate::node::NodeId;

/// A run's trace.
#[derive(Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    lines: VecDeque<String>,
    kept: usize,
}

/// Text that is hashed as it is written.
struct Hashed<'a>(&'a mut blake3::Hasher);

impl Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Trace {
    pub(crate) fn keep(&mut self, lines: usize) {
        self.kept = lines;
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Takes note of what a node was told: it is part of the hash.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        node: NodeId,
        text: impl Fn(&mut dyn Write) -> fmt::Result,
    ) {
        self.hasher.update(&now.since_origin().as_nanos().to_le_bytes());
        self.hasher.update(&node.to_le_bytes());
        // A hasher takes whatever it is given.
        let _ = text(&mut Hashed(&mut self.hasher));
        self.tell(now, node, text);
    }

    /// Takes note of what follows from it.
    pub(crate) fn tell(
        &mut self,
        now: Instant,
        node: NodeId,
        text: impl Fn(&mut dyn Write) -> fmt::Result,
    ) {
        if self.kept == 0 {
            return;
        }
        let mut line = format!("{:>12.6} node {node:<4} ", now.since_origin().as_secs_f64());
        let _ = text(&mut line);
        self.lines.push_back(line);
        while self.lines.len() > self.kept {
            self.lines.pop_front();
        }
    }
}
