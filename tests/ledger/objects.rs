use ketch_ledger::{
    Block, CHUNK_HEADER_BYTES, ChunkHeader, ChunkProof, ChunkRange, ConsensusSigner, DecodeError,
    EpochInfo, Genesis, LedgerInfo, Outputs, SignedLedgerInfo, Validator,
};
use ketch_types::{Epoch, Height, PART_BYTES_MIN, PeerId, ShardId, ShardLayout};
use serde::de::DeserializeOwned;

use super::fields::{
    BlockFields, ChunkHeaderFields, ChunkProofFields, ChunkRangeFields, EpochInfoFields,
    GenesisFields, LedgerInfoFields, OutputsFields, SignedFields,
};
use super::vectors::{ObjectCase, WideCase, vectors};
use super::{keyed, list};

/// Decodes an object of this kind, and encodes it again.
pub(super) fn encoded_again(kind: &str, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(match kind {
        "block" => Block::decode(bytes)?.encode(),
        "chunk_header" => ChunkHeader::decode(bytes)?.encode(),
        "chunk_proof" => ChunkProof::decode(bytes)?.encode(),
        "chunk_range" => ChunkRange::decode(bytes)?.encode(),
        "epoch_info" => EpochInfo::decode(bytes)?.encode(),
        "genesis" => Genesis::decode(bytes)?.encode(),
        "ledger_info" => LedgerInfo::decode(bytes)?.encode(),
        "outputs" => Outputs::decode(bytes.to_vec())?.encoded().to_vec(),
        "signed_ledger_info" => SignedLedgerInfo::decode(bytes)?.encode(),
        _ => panic!("{kind} is no kind of object"),
    })
}

/// The objects of one kind, with their fields.
fn of_kind<F: DeserializeOwned>(kind: &str) -> Vec<(ObjectCase, F)> {
    let cases = vectors().objects.into_iter().filter(|case| case.kind == kind);
    let cases: Vec<_> = cases
        .map(|case| {
            let fields = serde_json::from_value(case.fields.clone());
            let fields = fields.unwrap_or_else(|error| panic!("{kind}, {}: {error}", case.name));
            (case, fields)
        })
        .collect();
    assert!(cases.len() >= 2, "{kind}");
    cases
}

/// The headers that follow one another in these bytes.
fn headers(bytes: &[u8]) -> Vec<ChunkHeaderFields> {
    let header = |bytes| ChunkHeaderFields::of(&ChunkHeader::decode(bytes).unwrap());
    bytes.chunks(CHUNK_HEADER_BYTES).map(header).collect()
}

#[test]
fn every_object_of_the_vectors_has_one_encoding_and_ends_where_it_does() {
    for case in vectors().objects {
        let (kind, name, encoded) = (&case.kind, &case.name, &case.encoded.0);
        assert_eq!(encoded_again(kind, encoded).as_ref(), Ok(encoded), "{kind}, {name}");
        for cut in 0..encoded.len() {
            let refused = encoded_again(kind, &encoded[..cut]);
            assert_eq!(refused, Err(DecodeError::Truncated), "{kind}, {name}: cut at {cut}");
        }
        let refused = encoded_again(kind, &[encoded, &[0][..]].concat());
        assert_eq!(refused, Err(DecodeError::Trailing(1)), "{kind}, {name}");
    }
}

#[test]
fn epoch_infos_have_the_fields_and_hashes_of_the_vectors() {
    for (case, fields) in of_kind::<EpochInfoFields>("epoch_info") {
        let info = EpochInfo::decode(&case.encoded.0).unwrap();
        assert_eq!(EpochInfoFields::of(&info), fields, "{}", case.name);
        assert_eq!(fields.build(), info, "{}", case.name);
        assert_eq!(Some(*info.hash().as_bytes()), case.hash.map(|hash| hash.0), "{}", case.name);
    }
}

#[test]
fn chunk_headers_have_the_fields_and_hashes_of_the_vectors() {
    for (case, fields) in of_kind::<ChunkHeaderFields>("chunk_header") {
        let header = ChunkHeader::decode(&case.encoded.0).unwrap();
        assert_eq!(ChunkHeaderFields::of(&header), fields, "{}", case.name);
        assert_eq!(Some(*header.hash().as_bytes()), case.hash.map(|hash| hash.0), "{}", case.name);
    }
}

#[test]
fn outputs_have_the_writes_and_roots_of_the_vectors() {
    for (case, fields) in of_kind::<OutputsFields>("outputs") {
        let outputs = Outputs::decode(case.encoded.0.clone()).unwrap();
        assert_eq!(OutputsFields::of(&outputs), fields, "{}", case.name);
        assert_eq!(fields.build(), outputs, "{}", case.name);
        let commit = outputs.commit();
        let root = Some(*commit.root.as_bytes());
        assert_eq!(root, case.root.map(|root| root.0), "{}", case.name);
        assert_eq!(Some(commit.bytes), case.bytes, "{}", case.name);
    }
}

#[test]
fn blocks_have_the_fields_and_hashes_of_the_vectors() {
    for (case, fields) in of_kind::<BlockFields>("block") {
        let block = Block::decode(&case.encoded.0).unwrap();
        assert_eq!(BlockFields::of(&block), fields, "{}", case.name);
        assert_eq!(Some(*block.hash().as_bytes()), case.hash.map(|hash| hash.0), "{}", case.name);
    }
}

#[test]
fn geneses_have_the_fields_and_chain_ids_of_the_vectors() {
    for (case, fields) in of_kind::<GenesisFields>("genesis") {
        let genesis = Genesis::decode(&case.encoded.0).unwrap();
        assert_eq!(GenesisFields::of(&genesis), fields, "{}", case.name);
        assert_eq!(fields.build(), genesis, "{}", case.name);
        let chain_id = Some(*genesis.chain_id().as_bytes());
        assert_eq!(chain_id, case.hash.map(|hash| hash.0), "{}", case.name);
    }
}

#[test]
fn ledger_infos_have_the_fields_hashes_and_messages_of_the_vectors() {
    let signed = vectors().domains["ketch.v1.ledger-info.signed"];
    for (case, fields) in of_kind::<LedgerInfoFields>("ledger_info") {
        let info = LedgerInfo::decode(&case.encoded.0).unwrap();
        assert_eq!(LedgerInfoFields::of(&info), fields, "{}", case.name);
        assert_eq!(fields.build(), info, "{}", case.name);
        let hash = info.hash();
        assert_eq!(Some(*hash.as_bytes()), case.hash.map(|hash| hash.0), "{}", case.name);
        let message = [&signed.0, info.chain.as_bytes(), hash.as_bytes()].map(|part| &part[..]);
        assert_eq!(case.message.map(|message| message.0), Some(message.concat()), "{}", case.name);
    }
}

#[test]
fn signed_ledger_infos_have_the_fields_of_the_vectors() {
    for (case, fields) in of_kind::<SignedFields>("signed_ledger_info") {
        let signed = SignedLedgerInfo::decode(&case.encoded.0).unwrap();
        assert_eq!(SignedFields::of(&signed), fields, "{}", case.name);
        assert_eq!(fields.build(), signed, "{}", case.name);
    }
}

#[test]
fn chunk_proofs_are_the_headers_and_siblings_of_the_vectors() {
    for (case, fields) in of_kind::<ChunkProofFields>("chunk_proof") {
        let (header, siblings) = case.encoded.0.split_at(CHUNK_HEADER_BYTES);
        assert_eq!(headers(header), [fields.header], "{}", case.name);
        assert_eq!(siblings, list(&fields.siblings), "{}", case.name);
    }
}

#[test]
fn chunk_ranges_are_the_ledger_infos_siblings_and_headers_of_the_vectors() {
    for (case, fields) in of_kind::<ChunkRangeFields>("chunk_range") {
        let before = [fields.signed.build().encode(), list(&fields.siblings)].concat();
        let (start, rest) = case.encoded.0.split_at(before.len());
        assert_eq!(start, before, "{}", case.name);
        let (count, rest) = rest.split_first_chunk().unwrap();
        assert_eq!(u32::from_le_bytes(*count) as usize, fields.headers.len(), "{}", case.name);
        assert_eq!(headers(rest), fields.headers, "{}", case.name);
    }
}

/// The key and the peer id of a wide epoch info's validator.
fn member(at: u32) -> (ketch_ledger::ConsensusKey, [u8; 4]) {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&at.to_le_bytes());
    (ConsensusSigner::from_seed(&seed).key(), at.to_le_bytes())
}

/// The keys at which the shards of a wide epoch info begin.
fn boundaries(case: &WideCase) -> Vec<Vec<u8>> {
    let boundary = |at: u32| {
        let mut boundary = u16::try_from(1000 + at).unwrap().to_be_bytes().to_vec();
        boundary.resize(case.boundary_bytes, 0);
        boundary
    };
    (0..case.shards - 1).map(boundary).collect()
}

/// The encoding of a wide epoch info, whether or not it may be.
fn wide_bytes(case: &WideCase) -> Vec<u8> {
    let bytes = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let validator = |at| {
        let (key, peer) = member(at);
        [&key.as_bytes()[..], &1_u64.to_le_bytes(), &bytes(&peer), &[0; 8]].concat()
    };
    [
        [0_u64, 1, 1].map(u64::to_le_bytes).concat(),
        list((1..=case.shards).rev().map(u32::to_le_bytes)),
        list(boundaries(case).iter().map(|boundary| bytes(boundary))),
        PART_BYTES_MIN.to_le_bytes().to_vec(),
        vec![0],
        list((0..case.validators).map(validator)),
    ]
    .concat()
}

/// A wide epoch info, if it may be.
fn wide(case: &WideCase) -> Option<EpochInfo> {
    let shards = (1..=case.shards).rev().map(ShardId).collect();
    let layout = ShardLayout::new(shards, boundaries(case), PART_BYTES_MIN.into()).ok()?;
    let validator = |at| {
        let (key, peer) = member(at);
        let peer = PeerId::new(&peer).unwrap();
        Validator { key, power: 1, peer, addresses: vec![], tracked: vec![] }
    };
    let validators = (0..case.validators).map(validator).collect();
    EpochInfo::new(Epoch(0), Height(1), 1, layout, validators).ok()
}

#[test]
fn epoch_infos_reach_their_limits_and_not_beyond() {
    let label = vectors().domains["ketch.v1.epoch-info"];
    for case in vectors().wide {
        let name = format!("{} shards, {} validators", case.shards, case.validators);
        let encoded = wide_bytes(&case);
        assert_eq!(encoded.len(), case.bytes, "{name}");
        assert_eq!(keyed(&label.0, &[&encoded]), case.hash.0, "{name}");
        let (made, read) = (wide(&case), EpochInfo::decode(&encoded).ok());
        assert_eq!(made, read, "{name}");
        assert_eq!(made.is_some(), case.decodes, "{name}");
        if let Some(info) = made {
            assert_eq!(info.encode(), encoded, "{name}");
            assert_eq!(*info.hash().as_bytes(), case.hash.0, "{name}");
        }
    }
}
