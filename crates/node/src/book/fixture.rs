//! A devnet's chain, and how books tell each other of it.

use std::path::PathBuf;

use ketch_devnet::{Assignment, DevChain, DevValidator, Executed, Produced, Producer};
use ketch_ledger::{
    ChunkHeader, ChunkProof, ChunkRange, Chunks, Genesis, Outputs, SignedLedgerInfo,
    VerifiedLedgerInfo,
};
use ketch_types::{Epoch, Height, LedgerInfoHash, PeerId, ShardId, ShardLayout, StateRoot};
use ketch_wire::{
    EpochEndsRequest, OutputsAnswer, OutputsEnd, OutputsNext, OutputsRequest, OutputsStart,
    Refusal, Request, Response,
};
use tempfile::TempDir;

use super::{Book, BookError, TakeError};

/// In layout order, which is not that of the ids.
pub(super) const SHARDS: [ShardId; 3] = [ShardId(9), ShardId(2), ShardId(30)];
/// Has a chunk at every height.
pub(super) const BUSY: ShardId = ShardId(9);
/// Has a chunk at every third height.
pub(super) const IDLE: ShardId = ShardId(30);
pub(super) const EPOCH_BLOCKS: u64 = 5;

/// A block, and all that its maker knows.
pub(super) struct Made {
    pub(super) produced: Produced,
    pub(super) chunks: Chunks,
    /// Every shard's newest header, in layout order.
    pub(super) newest: Vec<ChunkHeader>,
    outputs: Outputs,
}

pub(super) struct Chain {
    pub(super) genesis: Genesis,
    made: Vec<Made>,
}

impl Chain {
    /// The chain of a seed up to a height.
    pub(super) fn new(seed: u64, height: u64) -> Self {
        Self::with(seed, height, EPOCH_BLOCKS)
    }

    pub(super) fn with(seed: u64, height: u64, epoch_blocks: u64) -> Self {
        let roots = SHARDS.map(|shard| root(0, shard)).to_vec();
        let chain = dev_chain(seed, epoch_blocks);
        let mut producer = Producer::new(chain, roots).unwrap();
        let genesis = producer.genesis().clone();
        let made = (1..=height).map(|height| make(&mut producer, height)).collect();
        Self { genesis, made }
    }

    /// Another chain of the same genesis.
    pub(super) fn fork(seed: u64, height: u64) -> Self {
        let roots = SHARDS.map(|shard| root(0, shard)).to_vec();
        let mut producer = Producer::new(dev_chain(seed, EPOCH_BLOCKS), roots).unwrap();
        let genesis = producer.genesis().clone();
        producer.produce(77, &[]).unwrap();
        let mut made = vec![Chain::new(seed, 1).made.remove(0)];
        made.extend((2..=height).map(|height| make(&mut producer, height)));
        Self { genesis, made }
    }

    pub(super) fn at(&self, height: u64) -> &Made {
        &self.made[usize::try_from(height).unwrap() - 1]
    }

    pub(super) fn signed(&self, height: u64) -> SignedLedgerInfo {
        self.at(height).produced.signed.clone()
    }

    pub(super) fn hash(&self, height: u64) -> LedgerInfoHash {
        self.signed(height).ledger_info.hash()
    }

    /// A shard's newest header at a height.
    pub(super) fn newest(&self, height: u64, shard: ShardId) -> ChunkHeader {
        let at = SHARDS.iter().position(|id| *id == shard).unwrap();
        match height {
            0 => self.genesis.chunk_headers().nth(at).unwrap(),
            _ => self.at(height).newest[at].clone(),
        }
    }

    pub(super) fn proof(&self, height: u64, shard: ShardId) -> ChunkProof {
        ChunkProof::new(&self.at(height).chunks, self.newest(height, shard)).unwrap()
    }

    /// The headers of a shard's chunks above one height up to another.
    pub(super) fn headers(&self, after: u64, through: u64, shard: ShardId) -> Vec<ChunkHeader> {
        let newest = (after + 1..=through).map(|height| (height, self.newest(height, shard)));
        newest.filter(|(at, header)| header.height().0 == *at).map(|(_, header)| header).collect()
    }

    pub(super) fn outputs(&self, headers: &[ChunkHeader]) -> Vec<Outputs> {
        headers.iter().map(|header| self.at(header.height().0).outputs.clone()).collect()
    }

    pub(super) fn range(&self, after: u64, through: u64, shard: ShardId) -> ChunkRange {
        let headers = self.headers(after, through, shard);
        let (signed, chunks) = (self.signed(through), &self.at(through).chunks);
        ChunkRange::new(signed, chunks, &self.newest(after, shard), headers).unwrap()
    }

    /// Tells a book of a block as its maker does; the shards that it follows get their chunks.
    pub(super) fn tell(&self, book: &Book, height: u64) -> VerifiedLedgerInfo {
        let Made { produced, chunks, newest, outputs } = self.at(height);
        book.take_head(produced.signed.clone(), produced.block.clone()).unwrap();
        let verified = book.trust().verify(produced.signed.clone()).unwrap();
        let follows = |header: &&ChunkHeader| book.newest_header(header.shard()).is_some();
        let own = produced.headers.iter().filter(follows);
        let own: Vec<_> = own.map(|header| (header.clone(), outputs.clone())).collect();
        book.take_own(&verified, chunks, &own).unwrap();
        if verified.ledger_info().epoch_end.is_some() {
            book.take_start(&verified, newest.clone()).unwrap();
        }
        verified
    }

    /// Takes chunks of a shard from a range, with the outputs of the first `count`.
    pub(super) fn give(
        &self,
        book: &Book,
        shard: ShardId,
        (after, through): (u64, u64),
        count: usize,
    ) -> Result<Height, BookError> {
        let range = self.range(after, through, shard);
        let range = range.verify(&book.trust(), &self.newest(after, shard)).unwrap();
        let outputs = self.outputs(&range.headers);
        book.take_range(&range, 0, &outputs[..count.min(outputs.len())])
    }
}

/// A folder for a book.
pub(super) struct Home {
    pub(super) folder: TempDir,
    pub(super) genesis: Genesis,
    pub(super) waypoint: Option<LedgerInfoHash>,
}

impl Home {
    pub(super) fn new(chain: &Chain) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, genesis: chain.genesis.clone(), waypoint: None }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    pub(super) fn open(&self) -> Book {
        Book::open(&self.path(), &self.genesis, self.waypoint).unwrap()
    }

    /// A new book of the chain's maker, which follows all shards from genesis.
    pub(super) fn maker(&self, chain: &Chain, through: u64) -> Book {
        let book = self.open();
        chain.genesis.chunk_headers().for_each(|header| book.begin(header).unwrap());
        (1..=through).for_each(|height| _ = chain.tell(&book, height));
        book
    }
}

/// A book's answer as it travels.
pub(super) fn ask(book: &Book, request: &Request) -> Response {
    let request = Request::decode(&request.encode()).unwrap();
    let response = book.answer(&request).unwrap();
    assert!(response.answers(&request));
    Response::decode(&response.encode().unwrap()).unwrap()
}

/// What one book takes of another's answers, but for chunks.
pub(super) fn learn(book: &Book, from: &Book) {
    if let Some(wanted) = book.wanted_waypoint() {
        let Response::Waypoint(answer) = ask(from, &Request::Waypoint(wanted)) else { panic!() };
        book.take_waypoint(&answer).unwrap();
    }
    loop {
        let first = book.next_end();
        let asked = EpochEndsRequest::new(first, 2).unwrap();
        match ask(from, &Request::EpochEnds(asked)) {
            Response::EpochEnds(ends) => _ = book.take_ends(&asked, &ends).unwrap(),
            other => break assert_eq!(other, Response::Refusal(Refusal::NotHeld)),
        }
        (first.0 + 1..=book.next_end().0).for_each(|epoch| learn_start(book, from, Epoch(epoch)));
    }
    match ask(from, &Request::Head) {
        Response::Head(head) => _ = book.take_head_message(&head).unwrap(),
        other => assert_eq!(other, Response::Refusal(Refusal::NotHeld)),
    }
}

pub(super) fn learn_start(book: &Book, from: &Book, epoch: Epoch) {
    let asked = book.start_request(epoch).unwrap();
    if let Response::Proofs(proofs) = ask(from, &Request::Proofs(asked)) {
        book.take_proofs(epoch, &proofs).unwrap();
    }
}

pub(super) fn asked(shard: ShardId, after: u64, budget_bytes: u64, epoch: u64) -> OutputsRequest {
    OutputsRequest { shard, after: Height(after), budget_bytes, newest_epoch: Epoch(epoch) }
}

/// The frames that a book answers to a request for outputs.
pub(super) fn serve(book: &Book, asked: &OutputsRequest) -> Result<Vec<Vec<u8>>, Refusal> {
    let OutputsRequest { shard, after, budget_bytes, newest_epoch } = *asked;
    let served = book.outputs_answer(shard, after, budget_bytes, newest_epoch).unwrap();
    served.map(|served| served.map(Result::unwrap).collect())
}

/// How many chunks are stored at once of an answer that is received.
const AT_ONCE: usize = 7;

/// Reads an answer to a request for outputs, verifies it and stores it bit by bit.
pub(super) fn receive(
    book: &Book,
    asked: &OutputsRequest,
    frames: &[Vec<u8>],
) -> Result<Height, TakeError> {
    let split = |frame: &Vec<u8>| (frame[..5].try_into().unwrap(), frame[5..].to_vec());
    let (header, body) = split(&frames[0]);
    let OutputsStart::Range(start) = OutputsAnswer::start(header).unwrap() else { panic!() };
    assert_eq!(start.body_bytes(), body.len());
    let range = book.check_range(asked, &body)?;
    let sizes = range.headers.iter().map(|header| header.outputs().bytes).collect();
    let mut answer = start.verified(sizes);
    let (mut pending, mut sent) = (Vec::new(), 0);
    for frame in &frames[1..] {
        let (header, body) = split(frame);
        match answer.header(header).unwrap() {
            OutputsNext::Outputs { chunk, body_bytes } => {
                assert_eq!(body_bytes, body.len());
                pending.push(Outputs::verify(body, &range.headers[chunk]).unwrap());
                if pending.len() == AT_ONCE {
                    let first = chunk + 1 - AT_ONCE;
                    book.take_range(&range, first, &std::mem::take(&mut pending))?;
                }
                sent = chunk + 1;
            }
            OutputsNext::End { .. } => {
                assert_eq!(answer.end(&body), Ok(OutputsEnd::Sent));
                return Ok(book.take_range(&range, sent - pending.len(), &pending)?);
            }
        }
    }
    panic!("no end")
}

/// Follows a shard by another book's answers, as far as they go; how many there were.
pub(super) fn follow(book: &Book, from: &Book, shard: ShardId, budget_bytes: u64) -> usize {
    let mut after = book.newest_header(shard).unwrap().height();
    for answers in 0.. {
        let newest_epoch = book.trust().epochs().last().unwrap().epoch();
        let asked = asked(shard, after.0, budget_bytes, newest_epoch.0);
        match serve(from, &asked) {
            Ok(frames) => match receive(book, &asked, &frames) {
                Ok(through) => {
                    assert!(through > after, "an answer leads on");
                    after = through;
                }
                // Trust may go on while the answer comes, but not for ever.
                Err(TakeError::UnknownEpoch(_)) if answers < 1_000 => {}
                Err(error) => panic!("{error}"),
            },
            Err(refusal) => {
                assert_eq!(refusal, Refusal::NotHeld);
                return answers;
            }
        }
    }
    unreachable!()
}

fn dev_chain(seed: u64, epoch_blocks: u64) -> DevChain {
    let boundaries = [0x40, 0x80].map(|byte| vec![byte]).to_vec();
    let layout = ShardLayout::new(SHARDS.to_vec(), boundaries, 4 << 20).unwrap();
    let validator = |place: u32| DevValidator {
        signer: DevValidator::signer(seed, place),
        peer: PeerId::new(&[7, u8::try_from(place).unwrap()]).unwrap(),
        addresses: vec![],
    };
    DevChain {
        name: "dev".to_owned(),
        time_ms: 1_000,
        assignment: Assignment::new(layout.shards(), 4).unwrap(),
        layout,
        epoch_blocks,
        validators: (0..4).map(validator).collect(),
    }
}

fn make(producer: &mut Producer, height: u64) -> Made {
    let value = vec![7; usize::try_from(height % 5 * 100).unwrap()];
    let outputs = Outputs::new([(&height.to_be_bytes()[..], Some(&value[..]))]).unwrap();
    let has_chunk = |shard: &ShardId| *shard != IDLE || height.is_multiple_of(3);
    let executed = |shard| Executed { shard, outputs: &outputs, state_after: root(height, shard) };
    let executed: Vec<_> = SHARDS.into_iter().filter(has_chunk).map(executed).collect();
    let produced = producer.produce(1_000 + height, &executed).unwrap();
    let newest = SHARDS.iter().map(|shard| producer.header(*shard).unwrap().clone()).collect();
    Made { produced, chunks: producer.chunks(), newest, outputs }
}

fn root(height: u64, shard: ShardId) -> StateRoot {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&height.to_le_bytes());
    bytes[8..12].copy_from_slice(&shard.0.to_le_bytes());
    StateRoot::new(bytes)
}
