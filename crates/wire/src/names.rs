//! Every name under which nodes of one chain meet: protocols, topics and provider keys.
//!
//! All of them carry the version and the chain, so nodes of two chains or two versions never take
//! each other's messages, and a node may speak two versions at once.

use ketch_types::{ChainId, Epoch, ShardId};

use crate::limits::HELD_TOPICS;

/// BLAKE3 of "ketch.v1.providers".
const K_PROVIDERS: [u8; 32] = [
    0x39, 0x62, 0xf7, 0x77, 0x16, 0x42, 0x43, 0x58, 0x78, 0xb7, 0x74, 0xa0, 0x56, 0x51, 0xbc, 0x5f,
    0x17, 0x4d, 0x36, 0x7d, 0x37, 0x48, 0xf9, 0xe1, 0xe3, 0x36, 0xbe, 0xcd, 0x8e, 0xe3, 0x8d, 0x8b,
];

/// The protocol of control requests and their responses.
pub fn control_protocol(chain: &ChainId) -> String {
    named(chain, "control")
}

/// The protocol of outline streams.
pub fn outline_protocol(chain: &ChainId) -> String {
    named(chain, "outline")
}

/// The protocol of parts streams.
pub fn parts_protocol(chain: &ChainId) -> String {
    named(chain, "parts")
}

/// The protocol of outputs streams.
pub fn outputs_protocol(chain: &ChainId) -> String {
    named(chain, "outputs")
}

/// The protocol of the chain's own Kademlia.
pub fn kad_protocol(chain: &ChainId) -> String {
    named(chain, "kad")
}

/// The topic on which new heads are gossiped.
pub fn heads_topic(chain: &ChainId) -> String {
    named(chain, "heads")
}

/// The topic on which held parts of `shard` are announced, which it shares with other shards.
pub fn held_topic(chain: &ChainId, shard: ShardId) -> String {
    named(chain, &format!("held/{}", shard.0 % HELD_TOPICS))
}

/// Every topic on which held parts are announced.
pub fn held_topics(chain: &ChainId) -> impl Iterator<Item = String> + '_ {
    (0..HELD_TOPICS).map(|bucket| held_topic(chain, ShardId(bucket)))
}

/// The key under which nodes provide any parts of a shard's state at an epoch's start.
pub fn provider_key(chain: &ChainId, shard: ShardId, epoch: Epoch) -> [u8; 32] {
    let mut named = [0; 44];
    let fields = chain.as_bytes().iter().copied().chain(shard.0.to_le_bytes());
    for (byte, value) in named.iter_mut().zip(fields.chain(epoch.0.to_le_bytes())) {
        *byte = value;
    }
    *blake3::keyed_hash(&K_PROVIDERS, &named).as_bytes()
}

fn named(chain: &ChainId, what: &str) -> String {
    format!("/ketch/1/{chain}/{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn chain() -> ChainId {
        CHAIN.parse().unwrap()
    }

    #[test]
    fn names_carry_the_version_and_the_chain() {
        let names = [
            (control_protocol(&chain()), "control"),
            (outline_protocol(&chain()), "outline"),
            (parts_protocol(&chain()), "parts"),
            (outputs_protocol(&chain()), "outputs"),
            (kad_protocol(&chain()), "kad"),
            (heads_topic(&chain()), "heads"),
            (held_topic(&chain(), ShardId(15)), "held/15"),
            (held_topic(&chain(), ShardId(16)), "held/0"),
            (held_topic(&chain(), ShardId(u32::MAX)), "held/15"),
        ];
        for (name, end) in names {
            assert_eq!(name, format!("/ketch/1/{CHAIN}/{end}"));
        }
    }

    #[test]
    fn every_shard_is_announced_on_one_of_the_topics() {
        let topics: Vec<_> = held_topics(&chain()).collect();
        assert_eq!(topics.len(), 16);
        for shard in [0, 1, 15, 16, 999, u32::MAX] {
            assert!(topics.contains(&held_topic(&chain(), ShardId(shard))));
        }
    }

    #[test]
    fn the_provider_key_is_fixed_and_depends_on_all_that_it_names() {
        assert_eq!(K_PROVIDERS, *blake3::hash(b"ketch.v1.providers").as_bytes());
        let key = provider_key(&chain(), ShardId(7), Epoch(258));
        let golden = "624435c600900834a8731a41323b49622eb179b304c4493e1863ec20a4da6211";
        assert_eq!(hex::encode(key), golden);
        assert_ne!(key, provider_key(&chain(), ShardId(8), Epoch(258)));
        assert_ne!(key, provider_key(&chain(), ShardId(7), Epoch(259)));
        assert_ne!(key, provider_key(&ChainId::new([0; 32]), ShardId(7), Epoch(258)));
    }
}
