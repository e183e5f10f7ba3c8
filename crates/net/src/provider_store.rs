use std::borrow::Cow;
use std::collections::hash_map::{Entry, Values};
use std::collections::{HashMap, HashSet};
use std::iter::{self, FilterMap};
use std::time::{Duration, Instant};

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{K_VALUE, KBucketKey, ProviderRecord, Record, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::contact::kept;

/// The most remote providers of a key: kad's K, since a reply names no more.
///
/// Kad's readers refuse replies over 16 KiB, unless they are told otherwise. A provider takes 524 bytes for its addresses, with a tag
/// and two bytes of length each, at most 46 for its id, and 5 for the rest: 575, and 11,500 for all.
/// That leaves 244 for each of the 20 closer peers in the same reply.
const PROVIDERS_PER_KEY_MAX: usize = K_VALUE.get();

/// The most addresses of a provider: two transports on two families of IP.
const ADDRESSES_MAX: usize = 4;

/// The longest address: the peer id at its end takes 41, and the longest host names are of no use
/// here. *Units:* bytes.
const ADDRESS_BYTES_MAX: usize = 128;

/// The most keys of a remote provider: who serves parts of a hundred shards provides 200 in two epochs.
const KEYS_PER_PROVIDER_MAX: usize = 256;

/// Who provides parts of which shard, as far as kad had us remember it.
///
/// Unlike kad's own store, nothing that strangers say takes room from what we provide: our records are
/// outside of every limit. Theirs are held under known keys only, 20 to a key, the nearest to the key,
/// and of one provider under at most 256 keys.
///
/// *Shape:* at most keys × 20 records of about a kilobyte. Expired ones are never told, and leave when
/// their key or their provider needs room. Values are neither stored nor found.
pub(crate) struct ProviderStore {
    local: PeerId,
    ttl: Duration,
    /// Every known key, also those that nobody provides.
    keys: HashMap<RecordKey, Providers>,
    /// The keys under which each remote provider is held; never none.
    held: HashMap<PeerId, HashSet<RecordKey>>,
}

#[derive(Default)]
pub(crate) struct Providers {
    own: Option<ProviderRecord>,
    others: Vec<ProviderRecord>,
}

impl ProviderStore {
    /// A store of the node `local` that knows no keys yet, and believes what others say for `ttl`.
    pub(crate) fn new(local: PeerId, ttl: Duration) -> Self {
        Self { local, ttl, keys: HashMap::new(), held: HashMap::new() }
    }

    /// Knows these keys from now on; what is held under any other is dropped, our own as well.
    pub(crate) fn set_keys(&mut self, keys: impl IntoIterator<Item = [u8; 32]>) {
        let known: HashSet<_> = keys.into_iter().map(|key| RecordKey::new(&key)).collect();
        self.keys.retain(|key, _| known.contains(key));
        self.held.retain(|_, keys| {
            keys.retain(|key| known.contains(key));
            !keys.is_empty()
        });
        for key in known {
            self.keys.entry(key).or_default();
        }
    }

    /// Where a provider of `key` can be dialed, which kad does not say of those it knows itself.
    pub(crate) fn addresses_of(&self, key: &RecordKey, peer: &PeerId) -> Vec<Multiaddr> {
        let mut records = self.unexpired(key, Instant::now());
        let record = records.find(|record| record.provider == *peer);
        record.map_or_else(Vec::new, |record| record.addresses.clone())
    }

    fn add(&mut self, mut record: ProviderRecord, now: Instant) -> Result<()> {
        let Some(providers) = self.keys.get_mut(&record.key) else {
            return Err(Error::MaxProvidedKeys);
        };
        if record.provider == self.local {
            providers.own = Some(record);
            return Ok(());
        }
        // What the provider said before gives way, so that a refresh always finds room.
        self.remove_provider(&record.key, &record.provider);
        self.make_room(&record, now)?;
        self.bound(&mut record, now);
        self.insert(record);
        Ok(())
    }

    /// Makes room for one record of a provider that is not held under its key.
    ///
    /// *Errors:* [`Error::MaxProvidedKeys`] if those that are there come first.
    fn make_room(&mut self, newcomer: &ProviderRecord, now: Instant) -> Result<()> {
        if self.keys_of(&newcomer.provider) >= KEYS_PER_PROVIDER_MAX {
            for key in self.held.get(&newcomer.provider).cloned().unwrap_or_default() {
                self.drop_records(&key, |record| record.is_expired(now));
            }
            if self.keys_of(&newcomer.provider) >= KEYS_PER_PROVIDER_MAX {
                return Err(Error::MaxProvidedKeys);
            }
        }
        self.drop_records(&newcomer.key, |record| record.is_expired(now));
        let others = self.keys.get(&newcomer.key).map_or(&[][..], |providers| &providers.others);
        if others.len() < PROVIDERS_PER_KEY_MAX {
            return Ok(());
        }
        // Nearness is in the ids, so all who hold the key keep the same providers, and a flood of
        // strangers replaces only who is farther than they are.
        let key = KBucketKey::new(newcomer.key.clone());
        let distance = |peer: PeerId| KBucketKey::from(peer).distance(&key);
        let farthest =
            others.iter().map(|record| record.provider).max_by_key(|peer| distance(*peer));
        match farthest {
            Some(farthest) if distance(newcomer.provider) < distance(farthest) => {
                self.remove_provider(&newcomer.key, &farthest);
                Ok(())
            }
            _ => Err(Error::MaxProvidedKeys),
        }
    }

    /// Cuts what a peer said down to what is kept of it.
    fn bound(&self, record: &mut ProviderRecord, now: Instant) {
        let latest = now + self.ttl;
        record.expires = Some(record.expires.map_or(latest, |expires| expires.min(latest)));
        let provider = record.provider;
        let useful = std::mem::take(&mut record.addresses).into_iter().filter(|address| {
            address.len() <= ADDRESS_BYTES_MAX && !names_another(address, provider)
        });
        record.addresses = kept(useful, ADDRESSES_MAX);
        record.addresses.shrink_to_fit();
    }

    fn insert(&mut self, record: ProviderRecord) {
        if let Some(providers) = self.keys.get_mut(&record.key) {
            self.held.entry(record.provider).or_default().insert(record.key.clone());
            providers.others.push(record);
        }
    }

    /// Drops those of the others' records under `key` of which `is_over` is true.
    fn drop_records(&mut self, key: &RecordKey, is_over: impl Fn(&ProviderRecord) -> bool) {
        let Some(providers) = self.keys.get_mut(key) else { return };
        for record in providers.others.extract_if(.., |record| is_over(record)) {
            if let Entry::Occupied(mut keys) = self.held.entry(record.provider) {
                keys.get_mut().remove(key);
                if keys.get().is_empty() {
                    keys.remove();
                }
            }
        }
    }

    fn keys_of(&self, provider: &PeerId) -> usize {
        self.held.get(provider).map_or(0, HashSet::len)
    }

    /// The providers of a key, ourselves first: kad takes 20 of them for a reply.
    fn unexpired(&self, key: &RecordKey, now: Instant) -> impl Iterator<Item = &ProviderRecord> {
        let providers = self.keys.get(key).into_iter();
        let records = providers.flat_map(|providers| providers.own.iter().chain(&providers.others));
        records.filter(move |record| !record.is_expired(now))
    }
}

impl RecordStore for ProviderStore {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = FilterMap<
        Values<'a, RecordKey, Providers>,
        fn(&'a Providers) -> Option<Cow<'a, ProviderRecord>>,
    >;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::ValueTooLarge)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        self.add(record, Instant::now())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.unexpired(key, Instant::now()).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.keys.values().filter_map(|providers| providers.own.as_ref().map(Cow::Borrowed))
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider != self.local {
            self.drop_records(key, |record| record.provider == *provider);
        } else if let Some(providers) = self.keys.get_mut(key) {
            providers.own = None;
        }
    }
}

/// Whether an address leads to or by way of a peer that is not `provider`.
fn names_another(address: &Multiaddr, provider: PeerId) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2p(peer) if peer != provider))
}

#[cfg(test)]
mod tests {
    use libp2p::kad::Behaviour;

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const TTL: Duration = Duration::from_secs(600);

    /// A store of peer 0 that knows one key, and a time at which records come.
    fn store() -> (ProviderStore, Instant) {
        let mut store = ProviderStore::new(peer(0), TTL);
        store.set_keys([KEY]);
        (store, Instant::now())
    }

    fn peer(nth: u8) -> PeerId {
        PeerId::from_bytes(&[&[0x12, 32][..], &[nth; 32]].concat()).unwrap()
    }

    fn record(key: [u8; 32], nth: u8) -> ProviderRecord {
        ProviderRecord::new(RecordKey::new(&key), peer(nth), Vec::new())
    }

    /// Peers 1 to `count`, the nearest to the key first.
    fn by_distance(count: u8) -> Vec<u8> {
        let mut peers: Vec<_> = (1..=count).collect();
        let key = KBucketKey::new(RecordKey::new(&KEY));
        peers.sort_by_key(|nth| KBucketKey::from(peer(*nth)).distance(&key));
        peers
    }

    fn told(store: &ProviderStore, key: [u8; 32], now: Instant) -> HashSet<PeerId> {
        store.unexpired(&RecordKey::new(&key), now).map(|record| record.provider).collect()
    }

    fn addresses(store: &ProviderStore, nth: u8) -> Vec<Multiaddr> {
        store.addresses_of(&RecordKey::new(&KEY), &peer(nth))
    }

    #[test]
    fn only_known_keys_are_provided_and_no_values_kept() {
        let (mut store, now) = store();
        assert!(store.add(record([8; 32], 0), now).is_err());
        assert!(store.add(record([8; 32], 1), now).is_err());
        assert!(store.add(record(KEY, 1), now).is_ok());
        assert!(store.put(Record::new(RecordKey::new(&KEY), vec![1])).is_err());
        assert!(store.get(&RecordKey::new(&KEY)).is_none());
        assert_eq!(store.records().count(), 0);
        assert_eq!(store.provided().count(), 0);
    }

    #[test]
    fn a_key_that_leaves_takes_its_records_along() {
        let (mut store, now) = store();
        store.set_keys([KEY, [8; 32]]);
        for (key, nth) in [(KEY, 0), (KEY, 1), (KEY, 2), ([8; 32], 0), ([8; 32], 1)] {
            store.add(record(key, nth), now).unwrap();
        }
        store.set_keys([[8; 32], [9; 32], [8; 32]]);
        assert_eq!(told(&store, KEY, now), HashSet::new());
        assert_eq!(told(&store, [8; 32], now), HashSet::from([peer(0), peer(1)]));
        assert_eq!(store.provided().count(), 1);
        assert_eq!((store.keys_of(&peer(1)), store.held.len()), (1, 1));
        store.set_keys([]);
        assert!(store.keys.is_empty() && store.held.is_empty());
    }

    #[test]
    fn strangers_take_no_room_from_what_we_provide() {
        let (mut store, now) = store();
        for nth in 1..=60 {
            let _ = store.add(record(KEY, nth), now);
        }
        store.add(record(KEY, 0), now).unwrap();
        for nth in 61..=120 {
            let _ = store.add(record(KEY, nth), now);
        }
        assert_eq!(store.providers(&RecordKey::new(&KEY))[0].provider, peer(0));
        assert_eq!(told(&store, KEY, now).len(), 1 + PROVIDERS_PER_KEY_MAX);
        assert_eq!(store.held.len(), PROVIDERS_PER_KEY_MAX);
        assert_eq!(told(&store, KEY, now + 1000 * TTL), HashSet::from([peer(0)]));
        assert_eq!(store.provided().count(), 1);
        store.remove_provider(&RecordKey::new(&KEY), &peer(0));
        assert_eq!(store.provided().count(), 0);
    }

    #[test]
    fn a_full_list_keeps_the_nearest_whatever_their_order() {
        let peers = by_distance(60);
        let nearest: HashSet<_> = peers[..20].iter().map(|nth| peer(*nth)).collect();
        for order in [peers.clone(), peers.iter().copied().rev().collect(), (1..=60).collect()] {
            let (mut store, now) = store();
            for nth in order {
                let _ = store.add(record(KEY, nth), now);
            }
            assert_eq!(told(&store, KEY, now), nearest);
        }
        let (mut store, now) = store();
        for nth in &peers[..20] {
            store.add(record(KEY, *nth), now).unwrap();
        }
        assert!(store.add(record(KEY, peers[20]), now).is_err());
        assert!(store.add(record(KEY, peers[19]), now).is_ok());
    }

    #[test]
    fn an_expired_record_gives_way_before_one_that_is_farther() {
        let (mut store, now) = store();
        let peers = by_distance(21);
        for (place, nth) in peers[..20].iter().enumerate() {
            let begun = if place == 3 { now } else { now + TTL / 2 };
            store.add(record(KEY, *nth), begun).unwrap();
        }
        store.add(record(KEY, peers[20]), now + TTL).unwrap();
        let told = told(&store, KEY, now + TTL);
        assert_eq!(told.len(), 20);
        assert!(!told.contains(&peer(peers[3])) && told.contains(&peer(peers[20])));
    }

    #[test]
    fn a_record_is_believed_for_the_ttl_at_most_and_anew_when_it_comes_again() {
        let (mut store, now) = store();
        let until = |expires| ProviderRecord { expires: Some(expires), ..record(KEY, 2) };
        store.add(record(KEY, 1), now).unwrap();
        store.add(until(now + TTL * 2), now).unwrap();
        assert_eq!(told(&store, KEY, now + TTL - Duration::from_secs(1)).len(), 2);
        assert_eq!(told(&store, KEY, now + TTL).len(), 0);
        store.add(record(KEY, 1), now + TTL / 2).unwrap();
        store.add(until(now + TTL / 2), now).unwrap();
        assert_eq!(told(&store, KEY, now + TTL), HashSet::from([peer(1)]));
        assert_eq!(told(&store, KEY, now + TTL / 2).len(), 1);
        store.remove_provider(&RecordKey::new(&KEY), &peer(2));
        store.remove_provider(&RecordKey::new(&KEY), &peer(1));
        assert!(store.held.is_empty());
    }

    #[test]
    fn one_provider_takes_so_many_keys_and_expired_ones_do_not_count() {
        let (mut store, now) = store();
        let keys: Vec<_> = (0..300).map(|nth: u16| [nth.to_le_bytes(); 16].concat()).collect();
        let keys: Vec<[u8; 32]> = keys.into_iter().map(|key| key.try_into().unwrap()).collect();
        store.set_keys(keys.clone());
        let taken = |store: &mut ProviderStore, nth, now| {
            keys.iter().filter(|key| store.add(record(**key, nth), now).is_ok()).count()
        };
        assert_eq!(taken(&mut store, 1, now), KEYS_PER_PROVIDER_MAX);
        assert_eq!(taken(&mut store, 2, now), KEYS_PER_PROVIDER_MAX);
        assert_eq!(taken(&mut store, 0, now), 300);
        assert!(store.add(record(keys[299], 1), now).is_err());
        assert!(store.add(record(keys[299], 1), now + TTL).is_ok());
        assert_eq!(store.keys_of(&peer(1)), 1);
    }

    #[test]
    fn a_full_list_leaves_room_for_closer_peers_in_the_longest_reply() {
        let (mut store, now) = store();
        let at = |host_bytes, port| format!("/dns4/{}/tcp/{port}", "a".repeat(host_bytes));
        let longest = (1..9).map(|port| at(123, port).parse().unwrap());
        let addresses: Vec<Multiaddr> =
            iter::once(at(124, 1).parse().unwrap()).chain(longest).collect();
        for nth in 1..=60 {
            let _ =
                store.add(ProviderRecord { addresses: addresses.clone(), ..record(KEY, nth) }, now);
        }
        let records = store.providers(&RecordKey::new(&KEY));
        let kept = records.iter().flat_map(|record| &record.addresses);
        let reply_bytes = kept.map(|address| 3 + address.len()).sum::<usize>() + 20 * (46 + 5);
        assert_eq!(reply_bytes, 11_500);
        assert!(4 + reply_bytes + 20 * 244 <= 16 << 10);
    }

    #[test]
    fn addresses_by_way_of_another_peer_are_not_kept() {
        let (mut store, now) = store();
        let at = |end: String| format!("/ip4/192.0.2.1/tcp/1{end}").parse::<Multiaddr>().unwrap();
        let own = [at(String::new()), at(format!("/p2p/{}", peer(1)))];
        let others = [
            at(format!("/p2p/{}", peer(2))),
            at(format!("/p2p/{}/p2p-circuit/p2p/{}", peer(2), peer(1))),
        ];
        let addresses_sent = [others, own.clone()].concat();
        store.add(ProviderRecord { addresses: addresses_sent, ..record(KEY, 1) }, now).unwrap();
        assert_eq!(addresses(&store, 1), own);
        assert_eq!(addresses(&store, 2), []);
    }

    #[test]
    fn kad_provides_what_is_known_and_refuses_the_rest() {
        let (store, _) = store();
        let mut kad = Behaviour::new(peer(0), store);
        assert!(kad.start_providing(RecordKey::new(&[8; 32])).is_err());
        assert!(kad.start_providing(RecordKey::new(&KEY)).is_ok());
        assert_eq!(kad.store_mut().provided().count(), 1);
        kad.stop_providing(&RecordKey::new(&KEY));
        assert_eq!(kad.store_mut().provided().count(), 0);
    }
}
