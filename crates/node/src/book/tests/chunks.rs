use ketch_ledger::{ChunkHeader, ChunkProofFault, LedgerFault, Outputs, RangeFault};
use ketch_types::{Epoch, Height, ShardId};

use super::super::fixture::{BUSY, Chain, Home, IDLE, SHARDS, asked};
use super::super::record::run_key;
use super::super::{Book, BookError, PeerFault, StoredChunk, TakeError};

/// What a book says of a shard's chunks, up to a height.
#[derive(Debug, PartialEq)]
struct Contents {
    after: Option<Height>,
    newest: Option<ChunkHeader>,
    headers: Vec<Option<ChunkHeader>>,
    outputs: Vec<Option<Outputs>>,
}

fn contents(book: &Book, shard: ShardId, through: u64) -> Contents {
    let heights = || (0..=through).map(Height);
    Contents {
        after: book.outputs_after(shard),
        newest: book.newest_header(shard),
        headers: heights().map(|height| book.header(shard, height).unwrap()).collect(),
        outputs: heights().map(|height| book.outputs(shard, height).unwrap()).collect(),
    }
}

/// What it must say that has all chunks after the newest one at `begin`, up to a height.
fn expected(chain: &Chain, shard: ShardId, begin: u64, newest: u64, through: u64) -> Contents {
    let anchor = chain.newest(begin, shard);
    let headers = chain.headers(begin, newest, shard);
    let of = |height: u64| headers.iter().find(|header| header.height().0 == height).cloned();
    let and_anchor = |height: u64| {
        of(height).or_else(|| Some(anchor.clone()).filter(|anchor| anchor.height().0 == height))
    };
    Contents {
        after: Some(anchor.height()),
        newest: Some(chain.newest(newest, shard)),
        headers: (0..=through).map(and_anchor).collect(),
        outputs: (0..=through).map(|height| chain.outputs(of(height).as_slice()).pop()).collect(),
    }
}

fn heights(chunks: impl IntoIterator<Item = Result<StoredChunk, BookError>>) -> Vec<u64> {
    chunks.into_iter().map(|chunk| chunk.unwrap().header.height().0).collect()
}

/// Ends a book without letting it finish anything, as far as a process can do that to itself: its
/// folder is copied while it is open.
fn killed(home: &Home, book: Book) -> Book {
    let copy = home.folder.path().join("copy");
    copy_folder(&home.path(), &copy);
    drop(book);
    std::fs::remove_dir_all(home.path()).unwrap();
    std::fs::rename(copy, home.path()).unwrap();
    home.open()
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            // Journals are long and mostly holes.
            let bytes = std::fs::read(entry.path()).unwrap();
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            std::fs::write(&to, &bytes[..written]).unwrap();
            let file = std::fs::File::options().write(true).open(to).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
        }
    }
}

#[test]
fn chunks_are_there_when_they_were_taken_and_after_the_process_was_killed() {
    let chain = Chain::new(1, 9);
    let home = Home::new(&chain);
    let mut book = home.open();
    for shard in SHARDS {
        book.begin(chain.newest(0, shard)).unwrap();
        book = killed(&home, book);
        for (after, through) in [(0, 1), (1, 4), (4, 4), (2, 5), (5, 9)] {
            chain.give(&book, shard, (after, through), usize::MAX).unwrap();
            book = killed(&home, book);
            assert_eq!(contents(&book, shard, 9), expected(&chain, shard, 0, through, 9));
        }
    }
}

#[test]
fn what_is_taken_says_up_to_which_height_nothing_is_missing() {
    let chain = Chain::new(1, 8);
    let book = Home::new(&chain).open();
    book.begin(chain.newest(0, IDLE)).unwrap();
    let give = |span, count| chain.give(&book, IDLE, span, count).unwrap().0;
    assert_eq!(give((0, 2), 0), 2, "no chunk in two heights");
    assert_eq!(give((0, 8), 0), 0, "none of two chunks");
    let range = chain.range(0, 8, IDLE).verify(&book.trust(), &chain.newest(0, IDLE)).unwrap();
    assert_eq!(book.take_range(&range, 2, &[]).unwrap(), Height(0), "none after two chunks");
    assert_eq!(give((0, 8), 1), 3);
    assert_eq!(give((0, 5), 9), 5, "known already, and nothing after it");
    assert_eq!(give((0, 8), 2), 8);
    assert_eq!(give((0, 3), 9), 6, "less than is known");
}

#[test]
fn a_gap_foreign_outputs_and_strange_shards_are_refused_and_change_nothing() {
    let chain = Chain::new(1, 9);
    let book = Home::new(&chain).open();
    let unknown = chain.give(&book, BUSY, (0, 3), 9);
    assert!(matches!(unknown, Err(BookError::NotFollowed(BUSY))));
    book.begin(chain.newest(0, BUSY)).unwrap();
    chain.give(&book, BUSY, (0, 3), 9).unwrap();
    let before = contents(&book, BUSY, 9);
    let gap = chain.give(&book, BUSY, (5, 9), 9);
    let (newest, got) = (Height(3), Height(6));
    let text = BookError::Gap { shard: BUSY, newest, got }.to_string();
    assert_eq!(gap.map_err(|error| error.to_string()), Err(text));
    let range = chain.range(3, 6, BUSY).verify(&book.trust(), &chain.newest(3, BUSY)).unwrap();
    let mut outputs = chain.outputs(&range.headers);
    outputs.swap(0, 1);
    let swapped = book.take_range(&range, 0, &outputs);
    assert!(matches!(swapped, Err(BookError::OtherOutputs(BUSY))));
    outputs.extend(outputs.clone());
    let many = book.take_range(&range, 0, &outputs);
    assert!(matches!(many, Err(BookError::OtherOutputs(BUSY))));
    let skipped = book.take_range(&range, 1, &chain.outputs(&range.headers)[1..]);
    assert!(matches!(skipped, Err(BookError::Gap { .. })));
    assert_eq!(contents(&book, BUSY, 9), before);
}

#[test]
fn a_maker_stores_what_it_made_for_the_shards_that_it_follows() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.open();
    book.begin(chain.newest(0, BUSY)).unwrap();
    book.begin(chain.newest(0, IDLE)).unwrap();
    (1..=12).for_each(|height| _ = chain.tell(&book, height));
    let book = killed(&home, book);
    for shard in [BUSY, IDLE] {
        assert_eq!(contents(&book, shard, 12), expected(&chain, shard, 0, 12, 12));
    }
    assert_eq!(book.outputs_after(SHARDS[1]), None);
    let made = &chain.at(12).produced;
    let verified = book.trust().verify(made.signed.clone()).unwrap();
    let foreign = [(chain.newest(12, SHARDS[1]), chain.outputs(&made.headers).remove(0))];
    let refused = book.take_own(&verified, &chain.at(12).chunks, &foreign);
    assert!(matches!(refused, Err(BookError::NotFollowed(ShardId(2)))));
}

#[test]
fn chunks_are_replayed_in_order_between_any_two_heights() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).maker(&chain, 12);
    let replay = |shard, after, through| {
        heights(book.chunks_after(shard, Height(after), Height(through)).unwrap())
    };
    assert_eq!(replay(BUSY, 0, 12), (1..=12).collect::<Vec<_>>());
    assert_eq!(replay(BUSY, 4, 6), [5, 6]);
    assert!(replay(BUSY, 6, 6).is_empty());
    assert_eq!(replay(BUSY, 11, u64::MAX), [12]);
    assert_eq!(replay(IDLE, 3, 11), [6, 9]);
    assert!(replay(IDLE, 4, 5).is_empty());
    let chunk = book.chunks_after(IDLE, Height(3), Height(12)).unwrap().next().unwrap().unwrap();
    assert_eq!(chain.outputs(&[chunk.header]), [chunk.outputs]);
}

#[test]
fn a_shard_that_begins_anew_has_nothing_of_before() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.maker(&chain, 12);
    let mut replay = book.chunks_after(BUSY, Height(2), Height(12)).unwrap();
    assert_eq!(replay.next().unwrap().unwrap().header.height(), Height(3));
    // Below what was stored, so that the old chunks would fit.
    book.begin(chain.newest(5, BUSY)).unwrap();
    assert!(matches!(replay.next(), Some(Err(BookError::NotFollowed(BUSY)))));
    assert!(replay.next().is_none());
    let book = killed(&home, book);
    assert_eq!(contents(&book, BUSY, 12), expected(&chain, BUSY, 5, 5, 12));
    assert_eq!(contents(&book, IDLE, 12), expected(&chain, IDLE, 0, 12, 12));
    chain.give(&book, BUSY, (5, 8), 9).unwrap();
    assert_eq!(contents(&book, BUSY, 12), expected(&chain, BUSY, 5, 8, 12));
}

#[test]
fn a_shard_that_is_forgotten_is_gone() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.maker(&chain, 12);
    book.forget(BUSY).unwrap();
    book.forget(BUSY).unwrap();
    drop(book);
    let book = home.open();
    let nothing =
        Contents { after: None, newest: None, headers: vec![None; 13], outputs: vec![None; 13] };
    assert_eq!(contents(&book, BUSY, 12), nothing);
    assert!(matches!(
        book.chunks_after(BUSY, Height(0), Height(9)),
        Err(BookError::NotFollowed(_))
    ));
    assert_eq!(contents(&book, IDLE, 12), expected(&chain, IDLE, 0, 12, 12));
    assert_eq!(records(&book), (4, 3), "chunks and proofs of one shard");
}

/// How many headers and proofs are on disk, but for one shard's.
fn records(book: &Book) -> (usize, usize) {
    let others = |keyspace: &fjall::Keyspace| {
        let run = book.followed(SHARDS[1]).unwrap().run;
        let keys = keyspace.iter().map(|record| record.key().unwrap());
        keys.filter(|key| !key.starts_with(&run.to_be_bytes())).count()
    };
    assert_eq!(others(&book.disk.headers), others(&book.disk.outputs));
    (others(&book.disk.headers), others(&book.disk.proofs))
}

#[test]
fn old_epochs_are_dropped_and_the_rest_stays() {
    let chain = Chain::new(1, 17);
    let home = Home::new(&chain);
    let book = home.maker(&chain, 17);
    assert_eq!(book.starts(), [0, 1, 2, 3].map(Epoch));
    book.drop_before(Epoch(9)).unwrap();
    assert_eq!(book.starts().len(), 4, "an epoch that is not known drops nothing");
    book.drop_before(Epoch(2)).unwrap();
    for book in [book, home.open_again()] {
        assert_eq!(book.starts(), [0, 2, 3].map(Epoch));
        for shard in SHARDS {
            assert_eq!(contents(&book, shard, 17), expected(&chain, shard, 10, 17, 17));
            let early = book.chunks_after(shard, Height(8), Height(17));
            assert!(matches!(early, Err(BookError::Gap { .. })));
        }
        assert_eq!(heights(book.chunks_after(BUSY, Height(10), Height(13)).unwrap()), [11, 12, 13]);
        assert_eq!(book.next_end(), Epoch(3), "ends stay");
        // Seven of one, of heights 12 and 15 of the other; proofs at 10, 15 and 17 of each.
        assert_eq!(records(&book), (7 + 2, 3 + 3));
        drop(book);
    }
}

impl Home {
    /// Opens a book that an iterator has not dropped yet, later.
    fn open_again(&self) -> Book {
        let copy = self.folder.path().join("again");
        copy_folder(&self.path(), &copy);
        Book::open(&copy, &self.genesis, None).unwrap()
    }
}

#[test]
fn one_shards_old_chunks_are_dropped_alone() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).maker(&chain, 12);
    book.drop_shard_before(BUSY, Epoch(2)).unwrap();
    assert_eq!(contents(&book, BUSY, 12), expected(&chain, BUSY, 10, 12, 12));
    assert_eq!(contents(&book, IDLE, 12), expected(&chain, IDLE, 0, 12, 12));
    assert_eq!(book.starts(), [0, 1, 2].map(Epoch));
}

#[test]
fn a_replay_never_skips_what_is_dropped_meanwhile() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).maker(&chain, 12);
    let mut replay = book.chunks_after(BUSY, Height(2), Height(12)).unwrap();
    assert_eq!(replay.next().unwrap().unwrap().header.height(), Height(3));
    book.drop_before(Epoch(2)).unwrap();
    assert!(matches!(replay.next(), Some(Err(BookError::Gap { got: Height(11), .. }))));
    assert!(replay.next().is_none());
}

#[test]
fn what_a_crash_left_behind_is_swept_at_the_next_opening() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.maker(&chain, 12);
    let run = book.followed(BUSY).unwrap().run;
    let mut batch = book.disk.batch().unwrap();
    for (run, height) in [(77, 1), (77, 2), (run, 0)] {
        for keyspace in [&book.disk.headers, &book.disk.outputs] {
            batch.insert(keyspace, run_key(run, Height(height)), b"left behind");
        }
    }
    book.disk.commit_synced(batch).unwrap();
    assert_eq!(records(&book).0, 12 + 4 + 3);
    drop(book);
    let book = home.open();
    assert_eq!(records(&book).0, 12 + 4);
    assert_eq!(contents(&book, BUSY, 12), expected(&chain, BUSY, 0, 12, 12));
}

#[test]
fn a_range_is_checked_from_the_newest_header_at_or_below_what_was_asked() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).open();
    book.begin(chain.newest(0, IDLE)).unwrap();
    chain.give(&book, IDLE, (0, 6), 9).unwrap();
    let check = |after, range: &[u8]| book.check_range(&asked(IDLE, after, 0, 1), range);
    for after in [3, 4, 5] {
        let range = check(after, &chain.range(3, 10, IDLE).encode()).unwrap();
        assert_eq!(range.headers, chain.headers(3, 10, IDLE));
    }
    assert!(check(8, &chain.range(6, 10, IDLE).encode()).is_ok());
    assert!(check(8, &chain.range(8, 8, IDLE).encode()).is_ok(), "nothing is newer");
}

#[test]
fn a_range_that_lies_is_a_fault_and_one_of_an_unknown_epoch_that_was_asked_for_is_not() {
    let chain = Chain::new(1, 12);
    let other = Chain::new(2, 12);
    let book = Home::new(&chain).open();
    let not_followed = book.check_range(&asked(IDLE, 0, 0, 1), &chain.range(0, 9, IDLE).encode());
    assert!(matches!(not_followed, Err(TakeError::Book(BookError::NotFollowed(IDLE)))));
    book.begin(chain.newest(0, IDLE)).unwrap();
    let check =
        |after, newest, range: &[u8]| book.check_range(&asked(IDLE, after, 0, newest), range);
    let fault = |checked| match checked {
        Err(TakeError::Fault(fault)) => fault,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("believed"),
    };
    let range = |after, through| chain.range(after, through, IDLE).encode();
    let below = PeerFault::Below { after: Height(7), got: Height(6) };
    assert_eq!(fault(check(7, 1, &range(0, 6))), below);
    let later = PeerFault::LaterEpoch { newest: Epoch(1), got: Epoch(2) };
    assert_eq!(fault(check(0, 1, &range(0, 12))), later);
    assert!(matches!(check(0, 2, &range(0, 12)), Err(TakeError::UnknownEpoch(Epoch(2)))));
    let foreign = fault(check(0, 1, &other.range(0, 6, IDLE).encode()));
    assert_eq!(foreign, PeerFault::Ledger(LedgerFault::Chain));
    assert_eq!(fault(check(0, 1, &range(3, 6))), PeerFault::Range(RangeFault::Link(0)));
    let shard = RangeFault::Proof(ChunkProofFault::Shard(IDLE));
    assert_eq!(fault(check(0, 1, &chain.range(0, 6, BUSY).encode())), PeerFault::Range(shard));
    let cut = range(0, 6);
    assert!(matches!(fault(check(0, 1, &cut[..cut.len() - 1])), PeerFault::Decode(_)));
    assert!(matches!(fault(check(0, 1, &[])), PeerFault::Decode(_)));
}
