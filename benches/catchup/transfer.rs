//! A state from one node to another, each a process of its own.

use crate::measure::{Sample, Samples, Usage, sample};
use crate::seed::Seed;
use crate::state::PART_BYTES;
use crate::still_chain::{Member, Process, StillChain};

/// A node that serves, and what newcomers took from it.
pub(crate) struct Transfer {
    chain: StillChain,
    pub(crate) seed: Seed,
    server: Option<Process>,
    newcomers: u8,
    pub(crate) client: Samples,
    serving: Samples,
    peaks_mib: Vec<u64>,
}

impl Transfer {
    pub(crate) fn new<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        name: &str,
        entries: impl Iterator<Item = (K, V)>,
    ) -> Self {
        let chain = StillChain::new(PART_BYTES);
        let seed = Seed::new(&chain, "", entries);
        let bytes = seed.bytes();
        let client = Samples::new(format!("node to node, {name}: the newcomer"), bytes);
        let serving = Samples::new(format!("node to node, {name}: the server"), bytes);
        Self { chain, seed, server: None, newcomers: 0, client, serving, peaks_mib: Vec::new() }
    }

    /// A newcomer takes the state: from its process' start until all is durable, and, opened anew,
    /// a thousand keys of each GiB are read right.
    pub(crate) fn round(&mut self) {
        let server = self.server.get_or_insert_with(|| self.seed.start());
        let before = Usage::of_process(server.id());
        self.newcomers += 1;
        let member = self.chain.part_server(1 + self.newcomers, "");
        let newcomer = member.start(&[&server.address]);
        let wall = newcomer.completed().0 - newcomer.started;
        let (took, served) = (Usage::of_process(newcomer.id()), Usage::of_process(server.id()));
        newcomer.stop();
        let read = read_probes(&member, &self.seed);
        self.client.add(Sample { wall: wall + read.wall, cpu: took.cpu + read.cpu });
        self.serving.add(Sample { wall, cpu: served.cpu - before.cpu });
        self.peaks_mib.push(took.peak_mib);
        member.remove();
    }

    pub(crate) fn print(&self) {
        self.client.print();
        self.serving.print();
        let server =
            self.server.as_ref().map_or(0, |server| Usage::of_process(server.id()).peak_mib);
        let newcomer = self.peaks_mib.iter().max().copied().unwrap_or(0);
        let ratio = self.seed.packed_bytes() as f64 / self.seed.bytes() as f64;
        println!("peak memory: newcomer {newcomer} MiB, server {server} MiB; lz4 ratio {ratio:.3}");
    }
}

fn read_probes(member: &Member, seed: &Seed) -> Sample {
    let ((), took) = sample(|| {
        let store = member.store();
        let view = store.view().expect("a complete state");
        for (key, value) in &seed.probes {
            let found = view.value(key).expect("readable");
            assert_eq!(found.as_deref(), Some(&value[..]));
        }
    });
    took
}
