use ketch_ledger::{
    Block, ChunkHeader, Chunks, ConsensusKey, ConsensusSigner, EpochInfo, Genesis, LedgerFault,
    LedgerInfo, Outputs, Signature, SignedLedgerInfo, TransactionsCommit,
};
use ketch_types::{ShardId, StateRoot};

use super::vectors::{Vectors, vectors};
use super::{keyed, ledger_info, list, lone_validator};

/// The key of a kind of hash.
fn domain(vectors: &Vectors, label: &str) -> [u8; 32] {
    vectors.domains[&format!("ketch.v1.{label}")].0
}

/// The root over two items, hashed here.
fn root_of_two(vectors: &Vectors, tree: &str, items: [&[u8]; 2]) -> [u8; 32] {
    let key = |part| domain(vectors, &format!("{tree}.{part}"));
    let [left, right] = items.map(|item| keyed(&key("leaf"), &[item]));
    let top = keyed(&key("inner"), &[&left, &right]);
    keyed(&key("tree"), &[&2_u32.to_le_bytes(), &top])
}

#[test]
fn every_kind_of_hash_has_the_key_of_its_label() {
    let vectors = vectors();
    assert_eq!(vectors.domains.len(), 15);
    for (label, key) in &vectors.domains {
        assert_eq!(*blake3::hash(label.as_bytes()).as_bytes(), key.0, "{label}");
    }
    for case in vectors.objects.iter().filter(|case| case.hash.is_some()) {
        let encoded = &case.encoded.0;
        let (label, hash) = match case.kind.as_str() {
            "block" => ("block", *Block::decode(encoded).unwrap().hash().as_bytes()),
            "chunk_header" => {
                ("chunk-header", *ChunkHeader::decode(encoded).unwrap().hash().as_bytes())
            }
            "epoch_info" => ("epoch-info", *EpochInfo::decode(encoded).unwrap().hash().as_bytes()),
            "genesis" => ("genesis", *Genesis::decode(encoded).unwrap().chain_id().as_bytes()),
            "ledger_info" => {
                ("ledger-info", *LedgerInfo::decode(encoded).unwrap().hash().as_bytes())
            }
            kind => panic!("{kind} has no hash"),
        };
        assert_eq!(keyed(&domain(&vectors, label), &[encoded]), hash, "{label}, {}", case.name);
    }
}

#[test]
fn every_kind_of_tree_has_the_keys_of_its_labels() {
    let vectors = vectors();
    let headers = [9, 4].map(|id| ChunkHeader::genesis(ShardId(id), StateRoot::new([1; 32])));
    let leaves = headers
        .each_ref()
        .map(|header| [&header.shard().0.to_le_bytes()[..], header.hash().as_bytes()].concat());
    let root = Chunks::new(headers.map(|header| (header.shard(), header.hash()))).root();
    let expected = root_of_two(&vectors, "chunks", leaves.each_ref().map(|leaf| &leaf[..]));
    assert_eq!(*root.as_bytes(), expected);

    let items = [&b"\x01\0\0\0a\0"[..], b"\x01\0\0\0b\x01\x01\0\0\0v"];
    let root = Outputs::decode(list(items)).unwrap().root();
    assert_eq!(*root.as_bytes(), root_of_two(&vectors, "outputs", items));

    let items = [&b"pay"[..], b"go"];
    let root = TransactionsCommit::of(items).unwrap().root;
    assert_eq!(*root.as_bytes(), root_of_two(&vectors, "transactions", items));
}

#[test]
fn a_key_is_a_consensus_key_if_it_is_canonical_and_not_of_small_order() {
    for case in vectors().consensus_keys {
        let key = ConsensusKey::new(&case.key.0);
        assert_eq!(key.is_ok(), case.valid, "{}", case.name);
        assert!(key.is_ok_and(|key| key.as_bytes() == &case.key.0) || !case.valid);
    }
}

#[test]
fn a_validators_key_is_the_one_of_its_seed() {
    for case in vectors().ledger.seeds {
        let signer = ConsensusSigner::from_seed(&case.seed.0);
        assert_eq!(*signer.key().as_bytes(), case.key.0);
    }
}

#[test]
fn signatures_are_verified_strictly() {
    let mut strange_keys = 0;
    for case in vectors().signatures {
        let Ok(key) = ConsensusKey::new(&case.key.0) else {
            assert!(!case.valid, "{}", case.name);
            strange_keys += 1;
            continue;
        };
        let ledger_info = LedgerInfo::decode(&case.ledger_info.0).unwrap();
        let signatures = vec![(0, Signature(case.signature.0))];
        let signed = SignedLedgerInfo { ledger_info, signatures };
        let verified = lone_validator(&[ShardId(0)], key).verify(signed).map(|_| ());
        let expected = if case.valid { Ok(()) } else { Err(LedgerFault::Signature(0).into()) };
        assert_eq!(verified, expected, "{}", case.name);
    }
    assert_eq!(strange_keys, 2);
}

#[test]
fn a_signature_of_the_crates_is_verified_by_it() {
    let signer = ConsensusSigner::from_seed(&[7; 32]);
    let signed = SignedLedgerInfo::sign(ledger_info(1, 11, [0; 32]), [(0, &signer)]);
    assert!(lone_validator(&[ShardId(0)], signer.key()).verify(signed).is_ok());
}
