//! Which shards' holders we are entered as, and how the DHT is set up.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use ketch_types::{ChainId, Epoch, ShardId};
use ketch_wire::names;
use libp2p::kad::{self, Mode, QueryId, RecordKey};
use tokio::time::Instant;

use crate::config::{NetworkConfig, Timeouts};
use crate::limits::{
    DHT_PACKET_BYTES_MAX, DHT_REPLICATION, PUBLICATION_REST_FEW, PUBLICATION_REST_MANY,
    PUBLICATIONS_MAX,
};
use crate::protocol::stream_protocol;
use crate::provider_store::ProviderStore;

pub(crate) type Kad = kad::Behaviour<ProviderStore>;

/// The DHT of one chain.
pub(crate) fn kad(config: &NetworkConfig, local: libp2p::PeerId) -> Kad {
    let Timeouts { search, provider_ttl, .. } = config.timeouts;
    let mut setup = kad::Config::new(stream_protocol(names::kad_protocol(&config.chain)));
    setup
        .set_query_timeout(search)
        .set_replication_factor(NonZeroUsize::new(DHT_REPLICATION).unwrap_or(NonZeroUsize::MIN))
        .disjoint_query_paths(true)
        .set_max_packet_size(DHT_PACKET_BYTES_MAX)
        .set_provider_record_ttl(Some(provider_ttl))
        // Publications are made here, see `Publications`, and values are not kept at all.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let mut kad = Kad::with_config(local, ProviderStore::new(local, provider_ttl), setup);
    kad.set_mode(Some(if config.serves_dht { Mode::Server } else { Mode::Client }));
    kad
}

/// The records by which we are found: what is to be published, and when again.
///
/// A record is published when it is new, when a third of its life is over, and when the routing table
/// has changed: who provides before it knows anybody is found as soon as it does.
pub(crate) struct Publications {
    chain: ChainId,
    ttl: Duration,
    provided: BTreeMap<[u8; 32], (ShardId, Epoch)>,
    /// Keys to be published.
    due: BTreeSet<[u8; 32]>,
    /// Publications under way.
    running: HashSet<QueryId>,
    table_changed: bool,
    published: Instant,
}

impl Publications {
    pub(crate) fn new(chain: ChainId, ttl: Duration, now: Instant) -> Self {
        Self {
            chain,
            ttl,
            provided: BTreeMap::new(),
            due: BTreeSet::new(),
            running: HashSet::new(),
            table_changed: false,
            published: now,
        }
    }

    pub(crate) fn key(&self, shard: ShardId, epoch: Epoch) -> [u8; 32] {
        names::provider_key(&self.chain, shard, epoch)
    }

    /// The keys that exist: those of these shards in these epochs. What we provide beyond is over.
    pub(crate) fn set_keys(&mut self, kad: &mut Kad, known: &BTreeSet<(ShardId, Epoch)>) {
        self.provided.retain(|_, provided| known.contains(provided));
        let Self { provided, due, .. } = self;
        due.retain(|key| provided.contains_key(key));
        let keys: Vec<_> = known.iter().map(|(shard, epoch)| self.key(*shard, *epoch)).collect();
        kad.store_mut().set_keys(keys);
    }

    pub(crate) fn provide(&mut self, shard: ShardId, epoch: Epoch) {
        let key = self.key(shard, epoch);
        self.provided.insert(key, (shard, epoch));
        self.due.insert(key);
    }

    pub(crate) fn stop_providing(&mut self, kad: &mut Kad, shard: ShardId, epoch: Epoch) {
        let key = self.key(shard, epoch);
        self.provided.remove(&key);
        self.due.remove(&key);
        kad.stop_providing(&RecordKey::from(key.to_vec()));
    }

    /// The routing table has a new peer.
    pub(crate) fn table_changed(&mut self) {
        self.table_changed = true;
    }

    /// A publication is over; whether the query was one.
    pub(crate) fn ended(&mut self, query: QueryId) -> bool {
        self.running.remove(&query)
    }

    /// Publishes what is due; `peers` are known to the routing table.
    pub(crate) fn publish(&mut self, kad: &mut Kad, peers: usize, now: Instant) {
        let age = now.saturating_duration_since(self.published);
        let settles =
            if peers <= DHT_REPLICATION { PUBLICATION_REST_FEW } else { PUBLICATION_REST_MANY };
        if age >= self.ttl / 3 || (self.table_changed && age >= settles) {
            self.due.extend(self.provided.keys().copied());
            (self.table_changed, self.published) = (false, now);
        }
        while self.running.len() < PUBLICATIONS_MAX
            && let Some(key) = self.due.pop_first()
        {
            // Refused only for a key that is not known, which `set_keys` has taken out.
            if let Ok(query) = kad.start_providing(RecordKey::from(key.to_vec())) {
                self.running.insert(query);
            }
        }
    }
}
