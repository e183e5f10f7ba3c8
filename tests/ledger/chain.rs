use std::collections::{BTreeMap, BTreeSet};

use ketch_ledger::{
    Advance, Block, ChunkHeader, ChunkProof, ChunkProofFault, ChunkRange, Chunks, ConsensusSigner,
    EpochEnd, EpochInfo, Genesis, LedgerFault, LedgerInfo, LedgerPlace, LedgerRefusal, RangeFault,
    RangeRefusal, SignedLedgerInfo, TrustPath, VerifiedLedgerInfo, VerifiedRange, WaypointError,
};
use ketch_types::{Epoch, Height, LedgerInfoHash, ShardId};

use super::vectors::{Hex, Ledger, VerdictCase, vectors};

/// Every name of a refusal.
const REFUSALS: [&str; 13] = [
    "block",
    "chain",
    "epoch",
    "epoch end",
    "height",
    "link",
    "next epoch",
    "not asked",
    "proof",
    "quorum",
    "shard",
    "signature",
    "signer",
];

/// The small chain, decoded.
struct Chain {
    vectors: Ledger,
    genesis: Genesis,
    epochs: Vec<EpochInfo>,
    blocks: Vec<Block>,
    /// The headers that each height made.
    made: Vec<Vec<ChunkHeader>>,
    /// The shards' newest headers at each height, in layout order.
    newest: Vec<Vec<ChunkHeader>>,
    /// The signed ends of the epochs.
    ends: Vec<SignedLedgerInfo>,
}

/// What is learnt from something that is believed: a ledger info's or a block's hash, or a header's
/// height and state after.
#[derive(Debug, PartialEq)]
enum Learnt {
    Hash([u8; 32]),
    State(u64, [u8; 32]),
}

impl Learnt {
    fn of(header: &ChunkHeader) -> Self {
        Self::State(header.height().0, *header.state_after().as_bytes())
    }
}

impl Chain {
    fn new() -> Self {
        let vectors = vectors().ledger;
        let genesis = Genesis::decode(&vectors.genesis.0).unwrap();
        let header = |bytes: &Hex<Vec<u8>>| ChunkHeader::decode(&bytes.0).unwrap();
        let made: Vec<Vec<_>> =
            vectors.heights.iter().map(|row| row.chunks.iter().map(header).collect()).collect();
        let mut newest = vec![made[0].clone()];
        for made in &made[1..] {
            let mut row = newest.last().unwrap().clone();
            for header in made {
                *row.iter_mut().find(|old| old.shard() == header.shard()).unwrap() = header.clone();
            }
            newest.push(row);
        }
        let ends = vectors.advance.iter();
        Self {
            genesis,
            epochs: vectors.epochs.iter().map(|e| EpochInfo::decode(&e.0).unwrap()).collect(),
            blocks: vectors.heights.iter().map(|h| Block::decode(&h.block.0).unwrap()).collect(),
            made,
            newest,
            ends: ends.map(|end| SignedLedgerInfo::decode(&end.0).unwrap()).collect(),
            vectors,
        }
    }

    fn chunks(&self, height: usize) -> Chunks {
        Chunks::new(self.newest[height].iter().map(|header| (header.shard(), header.hash())))
    }

    fn newest(&self, height: usize, shard: ShardId) -> &ChunkHeader {
        self.newest[height].iter().find(|header| header.shard() == shard).unwrap()
    }

    /// The path of a node that holds the infos of these epochs and no others.
    fn trust(&self, known: &[u64]) -> TrustPath {
        let first = known[0] as usize;
        let mut path = if first == 0 {
            TrustPath::from_genesis(&self.genesis)
        } else {
            let end = self.ends[first - 1].ledger_info.clone();
            let next = self.epochs[first].clone();
            let begun = TrustPath::from_waypoint(self.genesis.chain_id(), end.hash(), end, next);
            begun.unwrap().0
        };
        for (end, added) in self.ends[first..].iter().zip(&known[2..]) {
            let verified = path.verify(end.clone()).unwrap();
            assert_eq!(path.advance(&verified), Ok(Advance::Added(Epoch(*added))));
        }
        let held: Vec<_> = path.epochs().iter().map(|info| info.epoch().0).collect();
        assert_eq!(held, known);
        path
    }

    /// The ledger info of a height, as the crate makes it.
    fn ledger_info(&self, height: usize) -> LedgerInfo {
        let block = &self.blocks[height];
        let epoch = block.epoch().0 as usize;
        let is_last = block.height() == self.epochs[epoch].last_height();
        let epoch_end = is_last.then(|| EpochEnd {
            next: self.epochs[epoch + 1].hash(),
            info: self.epochs[epoch + 2].clone(),
        });
        LedgerInfo::new(self.genesis.chain_id(), block, epoch_end)
    }

    /// What a node that holds the case's epochs learns from it, or the name of its refusal.
    fn verify(&self, case: &VerdictCase) -> Result<Learnt, &'static str> {
        let trust = self.trust(&case.known);
        let encoded = &case.encoded.0;
        match case.kind.as_str() {
            "signed_ledger_info" => {
                let signed = SignedLedgerInfo::decode(encoded).unwrap();
                let verified = verify_asked(&trust, case, signed.clone());
                let verified = verified.map_err(name_of_ledger_refusal)?;
                assert_eq!(verified.signed(), Some(&signed), "{}", case.name);
                Ok(Learnt::Hash(*verified.ledger_info().hash().as_bytes()))
            }
            "block" => {
                let block = Block::decode(encoded).unwrap();
                let checked = verify_beside(&trust, case).check_block(&block);
                let hash = Learnt::Hash(*block.hash().as_bytes());
                checked.map(|()| hash).map_err(name_of_ledger_fault)
            }
            "chunk_proof" => {
                let ledger_info = verify_beside(&trust, case);
                let proof = ChunkProof::decode(encoded).unwrap();
                let header = proof.verify(&ledger_info, ShardId(case.shard.unwrap()));
                header.map(|header| Learnt::of(&header)).map_err(name_of_proof_fault)
            }
            "chunk_range" => {
                let range = self.verify_range(&trust, case).map_err(name_of_range_refusal)?;
                Ok(Learnt::of(range.headers.last().unwrap_or(self.trusted(case))))
            }
            kind => panic!("nothing of kind {kind} is verified"),
        }
    }

    fn verify_range(
        &self,
        trust: &TrustPath,
        case: &VerdictCase,
    ) -> Result<VerifiedRange, RangeRefusal> {
        ChunkRange::decode(&case.encoded.0).unwrap().verify(trust, self.trusted(case))
    }

    /// The header that a range begins after.
    fn trusted(&self, case: &VerdictCase) -> &ChunkHeader {
        self.newest(case.trusted.unwrap(), ShardId(case.shard.unwrap()))
    }
}

/// Verifies the ledger info of a case as what it was asked for as.
fn verify_asked(
    trust: &TrustPath,
    case: &VerdictCase,
    signed: SignedLedgerInfo,
) -> Result<VerifiedLedgerInfo, LedgerRefusal> {
    match (case.asked_height, case.asked_end) {
        (Some(height), _) => trust.verify_at(Height(height), signed),
        (_, Some(epoch)) => trust.verify_end_of(Epoch(epoch), signed),
        (None, None) => trust.verify(signed),
    }
}

/// Verifies the ledger info that came with a case's block or proof.
fn verify_beside(trust: &TrustPath, case: &VerdictCase) -> VerifiedLedgerInfo {
    let signed = SignedLedgerInfo::decode(&case.signed.as_ref().unwrap().0).unwrap();
    trust.verify(signed).unwrap()
}

fn name_of_ledger_refusal(refusal: LedgerRefusal) -> &'static str {
    match refusal {
        LedgerRefusal::UnknownEpoch(_) => "epoch",
        LedgerRefusal::Fault(fault) => name_of_ledger_fault(fault),
    }
}

fn name_of_ledger_fault(fault: LedgerFault) -> &'static str {
    match fault {
        LedgerFault::NotAsked => "not asked",
        LedgerFault::Chain => "chain",
        LedgerFault::Height(_) => "height",
        LedgerFault::EpochEnd => "epoch end",
        LedgerFault::NextEpoch => "next epoch",
        LedgerFault::Signer(_) => "signer",
        LedgerFault::Quorum { .. } => "quorum",
        LedgerFault::Signature(_) => "signature",
        LedgerFault::Block => "block",
    }
}

fn name_of_proof_fault(fault: ChunkProofFault) -> &'static str {
    match fault {
        ChunkProofFault::Shard(_) => "shard",
        ChunkProofFault::Height(_) => "height",
        ChunkProofFault::Proof => "proof",
    }
}

fn name_of_range_refusal(refusal: RangeRefusal) -> &'static str {
    match refusal {
        RangeRefusal::UnknownEpoch(_) => "epoch",
        RangeRefusal::Fault(RangeFault::Ledger(fault)) => name_of_ledger_fault(fault),
        RangeRefusal::Fault(RangeFault::Proof(fault)) => name_of_proof_fault(fault),
        RangeRefusal::Fault(RangeFault::Link(_)) => "link",
    }
}

fn name_of_waypoint_error(error: WaypointError) -> &'static str {
    match error {
        WaypointError::Hash => "another ledger info",
        WaypointError::Chain => "another chain",
        WaypointError::NoEpochEnd => "ends no epoch",
        WaypointError::NextHash => "another next epoch info",
        WaypointError::Epochs => "epochs that do not follow",
    }
}

#[test]
fn the_chain_begins_with_the_headers_and_the_block_of_its_genesis() {
    let chain = Chain::new();
    assert_eq!(*chain.genesis.chain_id().as_bytes(), chain.vectors.chain_id.0);
    assert_eq!(chain.genesis.epochs()[..], chain.epochs[..2]);
    assert_eq!(chain.genesis.chunk_headers().collect::<Vec<_>>(), chain.made[0]);
    assert_eq!(chain.genesis.block(), chain.blocks[0]);
}

#[test]
fn every_block_and_every_chunk_header_of_the_chain_is_what_the_crate_makes() {
    let chain = Chain::new();
    for (at, row) in chain.vectors.heights.iter().enumerate() {
        let block = &chain.blocks[at];
        assert_eq!((block.height().0, *block.hash().as_bytes()), (row.height, row.hash.0));
        assert_eq!(block.chunks_root(), chain.chunks(at).root());
        let Some(before) = at.checked_sub(1) else { continue };
        assert!(chain.epochs[block.epoch().0 as usize].contains(block.height()));
        let next = chain.blocks[before].next(block.epoch(), block.time_ms(), block.chunks_root());
        assert_eq!(next.as_ref(), Ok(block));
        for header in &chain.made[at] {
            assert_eq!(header.height(), block.height());
            let (transactions, outputs) = (*header.transactions(), *header.outputs());
            let previous = chain.newest(before, header.shard());
            let next = previous.next(header.height(), header.state_after(), transactions, outputs);
            assert_eq!(next.as_ref(), Ok(header));
            assert!(header.follows(previous));
        }
    }
}

#[test]
fn epoch_ends_lead_from_genesis_to_the_newest_epoch() {
    let chain = Chain::new();
    let mut path = TrustPath::from_genesis(&chain.genesis);
    for (end, added) in chain.ends.iter().zip(2..) {
        let verified = path.verify(end.clone()).unwrap();
        assert_eq!(path.advance(&verified), Ok(Advance::Added(Epoch(added))));
        let newest = path.epochs().last().unwrap();
        assert_eq!(newest.as_ref(), &chain.epochs[added as usize]);
    }
    assert_eq!(path.epochs().last().unwrap().epoch().0 as usize, chain.epochs.len() - 1);
}

#[test]
fn everything_that_the_vectors_accept_is_believed() {
    let chain = Chain::new();
    for case in &chain.vectors.accepted {
        assert_eq!(case.refusal, None);
        let expected = match (case.hash, case.height, case.state_after) {
            (Some(hash), None, None) => Learnt::Hash(hash.0),
            (None, Some(height), Some(root)) => Learnt::State(height, root.0),
            _ => panic!("{}: what is learnt", case.name),
        };
        assert_eq!(chain.verify(case), Ok(expected), "{}, {}", case.kind, case.name);
    }
}

#[test]
fn everything_that_the_vectors_refuse_is_refused_for_its_reason() {
    let chain = Chain::new();
    let mut seen = BTreeSet::new();
    for case in &chain.vectors.refused {
        let refusal = chain.verify(case).map_err(str::to_owned);
        let expected = case.refusal.clone().unwrap();
        assert_eq!(refusal, Err(expected.clone()), "{}, {}", case.kind, case.name);
        seen.insert(expected);
    }
    assert_eq!(seen, REFUSALS.map(str::to_owned).into());
}

#[test]
fn the_first_bytes_of_a_ledger_info_refuse_what_all_of_it_would_be_refused_for() {
    let chain = Chain::new();
    let of_kind = |case: &&VerdictCase| case.kind != "chunk_proof" && case.kind != "block";
    let of_place = |name: &&str| ["chain", "epoch", "height"].contains(name);
    for case in chain.vectors.accepted.iter().chain(&chain.vectors.refused).filter(of_kind) {
        let place = LedgerPlace::peek(&case.encoded.0).unwrap();
        let peeked = chain.trust(&case.known).may_verify(&place).map_err(name_of_ledger_refusal);
        // A range is refused for a header's height, too.
        let expected = case.refusal.as_deref().filter(of_place);
        if case.kind == "signed_ledger_info" && case.asked_height.or(case.asked_end).is_none() {
            assert_eq!(peeked.err(), expected, "{}", case.name);
        } else if let Err(name) = peeked {
            assert!([Some(name), Some("not asked")].contains(&case.refusal.as_deref()));
        }
    }
}

#[test]
fn accepted_ledger_infos_are_what_the_crate_makes_and_signs() {
    let chain = Chain::new();
    let foreign = "another info of an epoch whose info is not known";
    let seeds = chain.vectors.seeds.iter();
    let signers = seeds.map(|case| (case.key.0, ConsensusSigner::from_seed(&case.seed.0)));
    let signers: BTreeMap<_, _> = signers.collect();
    let mut signed_again = 0;
    for case in chain.vectors.accepted.iter().filter(|case| case.kind == "signed_ledger_info") {
        let signed = SignedLedgerInfo::decode(&case.encoded.0).unwrap();
        if case.name == foreign {
            continue;
        }
        let info = chain.ledger_info(signed.ledger_info.height.0 as usize);
        assert_eq!(signed.ledger_info, info, "{}", case.name);
        let validators = chain.epochs[info.epoch.0 as usize].validators();
        let signer = |at: u32| Some((at, signers.get(validators[at as usize].key.as_bytes())?));
        let Some(members) =
            signed.signatures.iter().map(|(at, _)| signer(*at)).collect::<Option<Vec<_>>>()
        else {
            // A key with a component of small order is no seed's.
            continue;
        };
        assert_eq!(SignedLedgerInfo::sign(info, members), signed);
        signed_again += 1;
    }
    assert!(signed_again >= 10, "{signed_again}");
}

#[test]
fn accepted_proofs_and_ranges_are_what_the_crate_makes() {
    let chain = Chain::new();
    for case in &chain.vectors.accepted {
        let Some(shard) = case.shard.map(ShardId) else { continue };
        let trust = chain.trust(&case.known);
        let made = if let Some(signed) = &case.signed {
            let signed = SignedLedgerInfo::decode(&signed.0).unwrap();
            let height = signed.ledger_info.height.0 as usize;
            let header = chain.newest(height, shard).clone();
            ChunkProof::new(&chain.chunks(height), header).unwrap().encode()
        } else {
            let verified = chain.verify_range(&trust, case).unwrap();
            let signed = verified.ledger_info.signed().unwrap().clone();
            let height = signed.ledger_info.height.0 as usize;
            let made = chain.made[case.trusted.unwrap() + 1..=height].iter().flatten();
            let headers: Vec<_> = made.filter(|header| header.shard() == shard).cloned().collect();
            assert_eq!(headers, verified.headers, "{}", case.name);
            let (chunks, after) = (chain.chunks(height), chain.trusted(case));
            ChunkRange::new(signed, &chunks, after, headers).unwrap().encode()
        };
        assert_eq!(made, case.encoded.0, "{}, {}", case.kind, case.name);
    }
}

#[test]
fn a_path_begins_at_a_waypoint_whose_epochs_follow_one_another() {
    let chain = Chain::new();
    for case in &chain.vectors.waypoints {
        let ledger_info = LedgerInfo::decode(&case.ledger_info.0).unwrap();
        let next = EpochInfo::decode(&case.next.0).unwrap();
        let waypoint = LedgerInfoHash::new(case.waypoint.0);
        let after = ledger_info.epoch_end.as_ref().map(|end| end.info.clone());
        let id = chain.genesis.chain_id();
        let begun = TrustPath::from_waypoint(id, waypoint, ledger_info, next.clone());
        if let Ok((_, verified)) = &begun {
            assert!(!case.proofs.is_empty(), "{}", case.name);
            for proof in &case.proofs {
                let root = ChunkProof::decode(&proof.encoded.0).unwrap();
                let root = root.verify(verified, ShardId(proof.shard)).unwrap().state_after();
                assert_eq!(*root.as_bytes(), proof.state_after.0, "{}", case.name);
            }
        }
        let held = begun.map(|(path, _)| path.epochs().to_vec()).map_err(name_of_waypoint_error);
        let expected = match &case.reason {
            None => Ok(vec![next.into(), after.unwrap().into()]),
            Some(reason) => Err(reason.as_str()),
        };
        assert_eq!(held, expected, "{}", case.name);
        assert_eq!(held.is_ok(), case.accepted, "{}", case.name);
    }
}

#[test]
fn an_epoch_end_that_came_early_is_checked_again_when_its_next_epoch_is_known() {
    let chain = Chain::new();
    for case in &chain.vectors.early {
        let signed = SignedLedgerInfo::decode(&case.encoded.0).unwrap();
        let mut path = chain.trust(&[0, 1]);
        let early = path.verify(signed.clone()).unwrap();
        assert_eq!(path.advance(&early), Ok(Advance::Ahead(Epoch(3))), "{}", case.name);
        let end = path.verify(chain.ends[0].clone()).unwrap();
        assert_eq!(path.advance(&end), Ok(Advance::Added(Epoch(2))));
        let again = path.verify(signed).map(|_| ()).map_err(name_of_ledger_refusal);
        let added = path.advance(&early).map_err(name_of_ledger_fault);
        match case.refusal.as_deref() {
            None => assert_eq!((again, added), (Ok(()), Ok(Advance::Added(Epoch(3))))),
            Some(name) => assert_eq!((again, added), (Err(name), Err(name)), "{}", case.name),
        }
    }
}
