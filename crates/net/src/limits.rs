//! How much of us a peer can take, and why each number.

use std::time::Duration;

/// Streams of one peer that are answered at once: a shard's catchup has a handful of requests open
/// with a peer, and a validator takes a few shards.
pub(crate) const ANSWERS_PER_PEER_MAX: usize = 16;

/// Streams on which one peer is asked at once; who asks for more waits for its turn here, instead of
/// being told to come again. Too many streams of our own cost the connection, and all that is under
/// way on it. Half of what is answered: an answer that was read here may keep its place at the other
/// end for a moment longer.
pub(crate) const ASKS_PER_PEER_MAX: usize = ANSWERS_PER_PEER_MAX / 2;

/// Streams that are answered at once, of all peers: each holds a few hundred KiB.
pub(crate) const ANSWERS_MAX: usize = 512;

/// What a peer that asks for more than that is told to wait: about one part on a slow line.
pub(crate) const ANSWERS_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Streams of one connection: what is answered and what is asked, gossip, the DHT and some more. With
/// yamux both ends' streams together, with QUIC those of each end.
pub(crate) const STREAMS_PER_CONNECTION_MAX: usize = 128;

/// Bytes of one QUIC stream that may come before they are read: what a handful of streams need to fill
/// a line of 1 Gbit/s at 40 ms there and back. *Units:* bytes.
pub(crate) const QUIC_STREAM_BYTES_MAX: u32 = 1 << 20;

/// The same of all streams of one QUIC connection: whoever sends and is not read takes no more, however
/// many streams it opens. Answers to all that we may ask a peer at once, and room for all else when
/// none of them is read; two thirds of the least that yamux lets in. *Units:* bytes.
pub(crate) const QUIC_CONNECTION_BYTES_MAX: u32 = 20 * QUIC_STREAM_BYTES_MAX;

/// Streams of one connection whose protocol is not agreed on yet.
pub(crate) const NEGOTIATING_STREAMS_MAX: usize = 32;

/// Connections of one peer: both ends may dial at the same moment.
pub(crate) const CONNECTIONS_PER_PEER_MAX: u32 = 2;

/// Connections that are being set up: ours, and those of others over each transport. A handshake takes
/// a millisecond of CPU time.
pub(crate) const PENDING_CONNECTIONS_MAX: u32 = 64;

/// Addresses of one peer that are remembered: all transports over IPv4 and IPv6.
pub(crate) const ADDRESSES_PER_PEER_MAX: usize = 4;

/// Peers that one search connects to: more than one shard is fetched from at once.
pub(crate) const SEARCH_DIALS_MAX: usize = 32;

/// Bans that are remembered; the one that ends first leaves for a new one.
pub(crate) const BANS_MAX: usize = 10_000;

/// Facts that wait for the driver; gossip and questions that find no room are turned away.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// Messages that wait for one peer's gossip connection: a peer that reads slowly loses hints.
pub(crate) const GOSSIP_QUEUE_MAX: usize = 64;

/// Providers that are entered in the DHT at the same time.
pub(crate) const PUBLICATIONS_MAX: usize = 16;

/// Bytes that are read or written at once, after which limits and progress are looked at.
/// *Units:* bytes.
pub(crate) const SLICE_BYTES: usize = 256 << 10;

/// The longest message of the DHT: a reply names 20 providers and 20 closer peers, and libp2p sends all
/// the addresses that it knows of the latter. *Units:* bytes.
pub(crate) const DHT_PACKET_BYTES_MAX: usize = 64 << 10;

/// The DHT's own number for how many peers know of a provider.
pub(crate) const DHT_REPLICATION: usize = 20;

/// How long after all was published the routing table's changes have all published again: with few
/// peers known, each new one is among the nearest of every key.
pub(crate) const PUBLICATION_REST_FEW: Duration = Duration::from_secs(1);

/// The same with many peers known: a newcomer is seldom among a key's nearest.
pub(crate) const PUBLICATION_REST_MANY: Duration = Duration::from_secs(60);

/// How often what is due is looked at: bans, contacts, searches, publications.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// How long connections may take to close when a node leaves.
pub(crate) const LEAVE_MAX: Duration = Duration::from_secs(1);
