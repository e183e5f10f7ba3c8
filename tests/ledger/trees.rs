use ketch_ledger::{
    ChunkHeader, ChunkProof, ChunkProofFault, Chunks, ConsensusSigner, Outputs, SignedLedgerInfo,
    TransactionsCommit, VerifiedLedgerInfo,
};
use ketch_types::{ChunkHeaderHash, ShardId, StateRoot};

use super::vectors::{Bytes, Bytes32, vectors};
use super::{ledger_info, list, lone_validator};

/// A ledger info of an epoch with these shards that a quorum signed with this chunks root.
fn verified(shards: &[ShardId], chunks_root: [u8; 32]) -> VerifiedLedgerInfo {
    let signer = ConsensusSigner::from_seed(&[7; 32]);
    let signed = SignedLedgerInfo::sign(ledger_info(1, 11, chunks_root), [(0, &signer)]);
    lone_validator(shards, signer.key()).verify(signed).unwrap()
}

/// The shard and the header's hash that an item of the chunks' tree is made of.
fn chunk_of(item: &Bytes) -> (ShardId, ChunkHeaderHash) {
    let (shard, hash) = item.0.split_first_chunk().unwrap();
    (ShardId(u32::from_le_bytes(*shard)), ChunkHeaderHash::new(hash.try_into().unwrap()))
}

/// The header at height 0 that an item of the chunks' tree is made of.
fn header_of(item: &Bytes, root: &Bytes32) -> ChunkHeader {
    let (shard, hash) = chunk_of(item);
    let header = ChunkHeader::genesis(shard, StateRoot::new(root.0));
    assert_eq!(header.hash(), hash);
    header
}

#[test]
fn every_tree_of_the_vectors_has_its_root() {
    for case in vectors().trees {
        assert_eq!(case.items.len(), case.n);
        let root = match case.tree.as_str() {
            "chunks" => *Chunks::new(case.items.iter().map(chunk_of)).root().as_bytes(),
            "outputs" => {
                let outputs = Outputs::decode(list(&case.items)).unwrap();
                assert_eq!(outputs.len() as usize, case.n);
                *outputs.root().as_bytes()
            }
            "transactions" => *TransactionsCommit::of(&case.items).unwrap().root.as_bytes(),
            tree => panic!("{tree} is no kind of tree"),
        };
        assert_eq!(root, case.root.0, "{} {}", case.n, case.tree);
    }
}

#[test]
fn every_chunk_header_of_a_tree_is_proven_by_its_siblings() {
    let mut proven = 0;
    for case in vectors().trees.iter().filter(|case| case.tree == "chunks" && case.n > 0) {
        let chunks = Chunks::new(case.items.iter().map(chunk_of));
        let shards: Vec<_> = case.items.iter().map(|item| chunk_of(item).0).collect();
        let ledger_info = verified(&shards, case.root.0);
        for ((item, root), siblings) in case.items.iter().zip(&case.state_roots).zip(&case.proofs) {
            let header = header_of(item, root);
            let proof = ChunkProof::new(&chunks, header.clone()).unwrap();
            assert_eq!(proof.encode(), [header.encode(), list(siblings)].concat());
            assert_eq!(proof.verify(&ledger_info, header.shard()), Ok(header));
            proven += 1;
        }
    }
    assert_eq!(proven, 1 + 2 + 3 + 5 + 8 + 13);
}

#[test]
fn a_proof_for_another_place_count_or_root_is_refused() {
    for case in vectors().refused_proofs {
        assert_eq!(case.tree, "chunks");
        let header = header_of(&case.item, &case.state_root);
        let shard = header.shard();
        // A layout of as many shards as the case counts, with the header's at the case's place.
        let mut shards: Vec<_> = (0..case.n.max(1) as u32).map(|at| ShardId(9_999 + at)).collect();
        let place = shards[..case.n].get_mut(case.index);
        let fault =
            if place.is_some() { ChunkProofFault::Proof } else { ChunkProofFault::Shard(shard) };
        place.into_iter().for_each(|place| *place = shard);
        let proof = [header.encode(), list(&case.siblings)].concat();
        let proof = ChunkProof::decode(&proof).unwrap();
        let refused = proof.verify(&verified(&shards, case.root.0), shard);
        assert_eq!(refused, Err(fault), "{}", case.name);
    }
}

#[test]
fn every_list_of_transactions_has_its_root_and_size() {
    for case in vectors().transactions {
        let commit = TransactionsCommit::of(&case.transactions).unwrap();
        assert_eq!(commit.count as usize, case.transactions.len(), "{}", case.name);
        assert_eq!((*commit.root.as_bytes(), commit.bytes), (case.root.0, case.bytes));
    }
}

#[test]
fn the_longest_items_have_their_roots() {
    for case in vectors().large {
        let zeros = vec![0; case.zeros];
        let (root, bytes) = match case.tree.as_str() {
            "outputs" => {
                let outputs = Outputs::new([(&b"k"[..], Some(&zeros[..]))]).unwrap();
                let again = Outputs::decode(outputs.encoded().to_vec());
                assert_eq!(again.as_ref(), Ok(&outputs));
                let more = [&zeros[..], &[0]].concat();
                assert!(Outputs::new([(&b"k"[..], Some(&more[..]))]).is_err());
                (*outputs.root().as_bytes(), outputs.bytes())
            }
            "transactions" => {
                let commit = TransactionsCommit::of([&zeros]).unwrap();
                assert!(TransactionsCommit::of([[&zeros[..], &[0]].concat()]).is_err());
                (*commit.root.as_bytes(), commit.bytes)
            }
            tree => panic!("{tree} has no large items"),
        };
        assert_eq!((root, bytes), (case.root.0, case.bytes), "{}", case.tree);
    }
}
