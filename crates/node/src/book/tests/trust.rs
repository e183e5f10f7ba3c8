use ketch_ledger::{Block, LedgerFault, SignedLedgerInfo, TrustPath, WaypointError};
use ketch_types::{ChunksRoot, Epoch, Height, LedgerInfoHash};
use ketch_wire::{EpochEnds, EpochEndsRequest, LedgerBytes, Request, Response, Waypoint};

use super::super::fixture::{BUSY, Chain, Home, SHARDS, ask, follow, learn, learn_start};
use super::super::{Book, BookError, EndTaken, HeadTaken, PeerFault, TakeError};

fn ledger_fault(refused: Result<impl Sized, TakeError>) -> Option<LedgerFault> {
    match refused.map(drop) {
        Err(TakeError::Fault(PeerFault::Ledger(fault))) => Some(fault),
        _ => None,
    }
}

fn is_unknown(refused: Result<impl Sized, TakeError>, epoch: u64) -> bool {
    matches!(refused.map(drop), Err(TakeError::UnknownEpoch(Epoch(unknown))) if unknown == epoch)
}

/// What a ledger info's bytes become when a signature is changed.
fn forged(mut signed: SignedLedgerInfo) -> SignedLedgerInfo {
    let first = signed.signatures[0].1;
    signed.signatures[1].1 = first;
    signed
}

#[test]
fn trust_walks_the_ends_of_epochs_and_is_there_after_a_restart() {
    let chain = Chain::new(1, 21);
    let home = Home::new(&chain);
    let mut path = TrustPath::from_genesis(&chain.genesis);
    for epoch in 0..4 {
        let book = home.open();
        assert_eq!(book.next_end(), Epoch(epoch));
        assert_eq!(*book.trust(), path);
        let end = chain.signed((epoch + 1) * 5);
        assert_eq!(book.take_end(end.clone()).unwrap(), EndTaken::New(Epoch(epoch)));
        assert_eq!(book.take_end(end.clone()).unwrap(), EndTaken::Known);
        let verified = path.verify(end).unwrap();
        path.advance(&verified).unwrap();
        assert_eq!(*book.trust(), path);
    }
    let book = home.open();
    assert_eq!(*book.trust(), path);
    assert_eq!(book.take_end(chain.signed(5)).unwrap(), EndTaken::Known, "whose info is dropped");
}

#[test]
fn an_end_that_lies_or_comes_early_changes_nothing() {
    let chain = Chain::new(1, 21);
    let home = Home::new(&chain);
    let book = home.open();
    let before = book.trust();
    assert_eq!(book.take_end(chain.signed(10)).unwrap(), EndTaken::Ahead(Epoch(0)));
    assert!(is_unknown(book.take_end(chain.signed(15)), 2));
    assert_eq!(ledger_fault(book.take_end(chain.signed(4))), Some(LedgerFault::NotAsked));
    let other = Chain::new(2, 5);
    assert_eq!(ledger_fault(book.take_end(other.signed(5))), Some(LedgerFault::Chain));
    let bad = ledger_fault(book.take_end(forged(chain.signed(5))));
    assert_eq!(bad, Some(LedgerFault::Signature(1)));
    let mut few = chain.signed(5);
    few.signatures.truncate(2);
    assert!(matches!(ledger_fault(book.take_end(few)), Some(LedgerFault::Quorum { .. })));
    assert_eq!((book.trust(), book.next_end()), (before, Epoch(0)));
    drop(book);
    assert_eq!(home.open().next_end(), Epoch(0));
}

#[test]
fn ends_are_taken_in_the_order_asked_and_nothing_else_is() {
    let chain = Chain::new(1, 21);
    let book = Home::new(&chain).open();
    let ends = |heights: &[u64]| {
        let bytes = heights.iter().map(|height| LedgerBytes(chain.signed(*height).encode()));
        EpochEnds::new(bytes.collect()).unwrap()
    };
    let asked = |epoch, count| EpochEndsRequest::new(Epoch(epoch), count).unwrap();
    let many = book.take_ends(&asked(0, 1), &ends(&[5, 10]));
    let items = PeerFault::Items { expected: 1, got: 2 };
    assert!(matches!(many, Err(TakeError::Fault(fault)) if fault == items));
    for wrong in [&[10, 15][..], &[4], &[6]] {
        let refused = book.take_ends(&asked(0, 9), &ends(wrong));
        assert_eq!(ledger_fault(refused), Some(LedgerFault::NotAsked));
    }
    let garbage = EpochEnds::new(vec![LedgerBytes(vec![1; 40])]).unwrap();
    let garbage = book.take_ends(&asked(0, 9), &garbage);
    assert!(matches!(garbage, Err(TakeError::Fault(PeerFault::Decode(_)))));
    assert_eq!(book.next_end(), Epoch(0));
    let gap = book.take_ends(&asked(0, 9), &ends(&[5, 15]));
    assert_eq!(ledger_fault(gap), Some(LedgerFault::NotAsked));
    assert_eq!(book.next_end(), Epoch(1), "what came before was taken");
    assert_eq!(book.take_ends(&asked(0, 9), &ends(&[5, 10, 15, 20])).unwrap(), Epoch(4));
}

#[test]
fn the_newest_head_is_known_and_survives_a_restart() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.open();
    let take = |height: u64| {
        let made = &chain.at(height).produced;
        book.take_head(made.signed.clone(), made.block.clone()).unwrap()
    };
    for (height, is_new) in [(2, true), (4, true), (3, false), (4, false), (5, true), (7, true)] {
        let taken = take(height);
        assert_eq!(matches!(&taken, HeadTaken::New(head) if head.height().0 == height), is_new);
    }
    assert_eq!(book.next_end(), Epoch(1), "a head may end an epoch");
    let head = book.head();
    assert_eq!(
        head.as_ref().map(|head| head.block.clone()),
        Some(chain.at(7).produced.block.clone())
    );
    drop(book);
    let book = home.open();
    assert_eq!((book.head(), book.next_end()), (head, Epoch(1)));
}

#[test]
fn an_old_head_that_ends_an_epoch_advances_trust_and_a_new_one_ahead_does_not() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.open();
    let take = |height: u64| {
        let made = &chain.at(height).produced;
        book.take_head(made.signed.clone(), made.block.clone()).unwrap()
    };
    assert!(matches!(take(10), HeadTaken::New(_)));
    assert_eq!(book.next_end(), Epoch(0));
    assert_eq!(take(5), HeadTaken::NotNewer);
    assert_eq!(book.next_end(), Epoch(1));
    assert_eq!(take(10), HeadTaken::NotNewer);
    assert_eq!(book.next_end(), Epoch(2));
    assert_eq!(home_head(&home, book), Some(Height(10)));
}

fn home_head(home: &Home, book: Book) -> Option<Height> {
    drop(book);
    home.open().head().map(|head| head.height())
}

#[test]
fn a_lying_head_is_a_fault_and_one_of_an_unknown_epoch_is_not() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).open();
    let block = |height| chain.at(height).produced.block.clone();
    let other = block(2).next(Epoch(0), 9, ChunksRoot::new([1; 32])).unwrap();
    for wrong in [block(2), other] {
        let refused = book.take_head(chain.signed(3), wrong);
        assert_eq!(ledger_fault(refused), Some(LedgerFault::Block));
    }
    let refused = book.take_head(forged(chain.signed(3)), block(3));
    assert_eq!(ledger_fault(refused), Some(LedgerFault::Signature(1)));
    assert!(is_unknown(book.take_head(chain.signed(11), block(11)), 2));
    let head = |signed: Vec<u8>, block: Vec<u8>| {
        let (signed_ledger_info, block) = (LedgerBytes(signed), LedgerBytes(block));
        book.take_head_message(&ketch_wire::Head { signed_ledger_info, block })
    };
    // What cannot be verified is not decoded.
    let mut unknown = chain.signed(11).encode();
    unknown.truncate(60);
    assert!(is_unknown(head(unknown, vec![]), 2));
    let signed = chain.signed(3).encode();
    for (signed, block) in [(vec![1; 3], vec![]), (signed.clone(), vec![1; 3])] {
        let refused = head(signed, block);
        assert!(matches!(refused, Err(TakeError::Fault(PeerFault::Decode(_)))));
    }
    assert_eq!(book.head(), None);
    assert!(matches!(head(signed, Block::encode(&block(3))), Ok(HeadTaken::New(_))));
}

fn waypoint_of(chain: &Chain, height: u64) -> (Home, LedgerInfoHash) {
    let hash = chain.hash(height);
    (Home { waypoint: Some(hash), ..Home::new(chain) }, hash)
}

#[test]
fn a_waypoint_comes_before_all_else_and_is_remembered() {
    let chain = Chain::new(1, 22);
    let maker_home = Home::new(&chain);
    let maker = maker_home.maker(&chain, 22);
    let (home, hash) = waypoint_of(&chain, 10);
    let book = home.open();
    assert_eq!(book.wanted_waypoint(), Some(hash));
    assert!(is_unknown(book.take_end(chain.signed(5)), 0));
    let made = &chain.at(3).produced;
    assert!(is_unknown(book.take_head(made.signed.clone(), made.block.clone()), 0));
    let Response::Waypoint(answer) = ask(&maker, &Request::Waypoint(hash)) else { panic!() };
    book.take_waypoint(&answer).unwrap();
    book.take_waypoint(&answer).unwrap();
    drop(book);
    let book = home.open();
    assert_eq!((book.wanted_waypoint(), book.next_end()), (None, Epoch(2)));
    learn_start(&book, &maker, Epoch(2));
    assert_eq!(book.start(Epoch(2)).unwrap().height(), Height(10), "believed by the waypoint");
    learn(&book, &maker);
    assert_eq!(book.trust(), maker.trust());
    for shard in SHARDS {
        book.begin(chain.newest(10, shard)).unwrap();
        follow(&book, &maker, shard, u64::MAX);
        assert_eq!(book.newest_header(shard), maker.newest_header(shard));
    }
    drop(book);
    // Without the waypoint, or with one that it passed since, it opens as it was.
    for waypoint in [None, Some(chain.hash(15)), Some(chain.hash(20)), Some(hash)] {
        let book = Home { waypoint, ..home_of(&home) }.open_at(&home);
        assert_eq!((book.wanted_waypoint(), book.trust()), (None, maker.trust()));
    }
}

fn home_of(home: &Home) -> Home {
    let folder = tempfile::tempdir().unwrap();
    Home { folder, genesis: home.genesis.clone(), waypoint: None }
}

impl Home {
    /// Opens another home's book by this one's waypoint.
    fn open_at(&self, home: &Home) -> Book {
        Book::open(&home.path(), &self.genesis, self.waypoint).unwrap()
    }
}

#[test]
fn a_newer_waypoint_leads_over_a_gap() {
    let chain = Chain::new(1, 42);
    let maker_home = Home::new(&chain);
    let maker = maker_home.maker(&chain, 42);
    let home = Home::new(&chain);
    let book = home.open();
    for height in [5, 10] {
        book.take_end(chain.signed(height)).unwrap();
    }
    drop(book);
    let book = Home { waypoint: Some(chain.hash(35)), ..home_of(&home) }.open_at(&home);
    assert_eq!(book.wanted_waypoint(), Some(chain.hash(35)));
    learn(&book, &maker);
    let infos = |book: &Book| book.trust().epochs().to_vec();
    assert_eq!(infos(&book), infos(&maker)[1..], "but for the one before the waypoint");
    let trust = book.trust();
    drop(book);
    let book = home.open();
    assert_eq!((book.trust(), book.next_end()), (trust, Epoch(8)));
}

#[test]
fn a_false_waypoint_is_its_senders_fault_or_the_operators() {
    let chain = Chain::new(1, 22);
    let info = |epoch: u64| {
        let signed = chain.signed((epoch - 1) * 5);
        LedgerBytes(signed.ledger_info.epoch_end.unwrap().info.encode())
    };
    let answer = |height, next| {
        let signed_ledger_info = LedgerBytes(chain.signed(height).encode());
        Waypoint { signed_ledger_info, next_epoch_info: next }
    };
    let (home, _) = waypoint_of(&chain, 10);
    let book = home.open();
    let fault = |answer: &Waypoint| match book.take_waypoint(answer) {
        Err(TakeError::Fault(PeerFault::Waypoint(error))) => Some(error),
        _ => None,
    };
    assert_eq!(fault(&answer(15, info(3))), Some(WaypointError::Hash));
    assert_eq!(fault(&answer(10, info(3))), Some(WaypointError::NextHash));
    let garbage = Waypoint { next_epoch_info: LedgerBytes(vec![1]), ..answer(10, info(2)) };
    let garbage = book.take_waypoint(&garbage);
    assert!(matches!(garbage, Err(TakeError::Fault(PeerFault::Decode(_)))));
    // Its signatures are nobody's business.
    let mut unsigned = chain.signed(10);
    unsigned.signatures.clear();
    let unsigned = LedgerBytes(unsigned.encode());
    let unsigned = Waypoint { signed_ledger_info: unsigned, next_epoch_info: info(2) };
    book.take_waypoint(&unsigned).unwrap();
    assert_eq!(book.wanted_waypoint(), None);

    let (home, _) = waypoint_of(&chain, 9);
    let refused = home.open().take_waypoint(&answer(9, info(2)));
    let wrong = WaypointError::NoEpochEnd;
    assert!(matches!(refused, Err(TakeError::Book(BookError::Waypoint(error))) if error == wrong));
}

#[test]
fn a_waypoint_that_contradicts_what_is_known_is_not_followed() {
    // Two chains of one genesis, as a set that lies later could make them.
    let (chain, fork) = (Chain::new(1, 12), Chain::fork(1, 12));
    assert_eq!(chain.genesis, fork.genesis);
    let home = Home::new(&chain);
    let book = home.maker(&chain, 12);
    let trust = book.trust();
    drop(book);
    let lie = Home { waypoint: Some(fork.hash(10)), ..home_of(&home) };
    let book = lie.open_at(&home);
    let next = fork.signed(5).ledger_info.epoch_end.unwrap().info;
    let answer = Waypoint {
        signed_ledger_info: LedgerBytes(fork.signed(10).encode()),
        next_epoch_info: LedgerBytes(next.encode()),
    };
    let refused = book.take_waypoint(&answer);
    let other =
        |error: &BookError| matches!(error, BookError::OtherWaypoint { epoch: Epoch(1), .. });
    assert!(matches!(refused, Err(TakeError::Book(error)) if other(&error)));
    assert_eq!(book.trust(), trust);
    assert_eq!(book.newest_header(BUSY), Some(chain.newest(12, BUSY)));
}
