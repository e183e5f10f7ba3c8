use ketch_ledger::{ChunkProofFault, Chunks, LedgerFault};
use ketch_types::{Epoch, Height, LedgerInfoHash, ShardId};
use ketch_wire::{
    EpochEndsRequest, LedgerBytes, Proofs, ProofsRequest, Refusal, Request, Response,
    SummaryRequest,
};

use super::super::fixture::{BUSY, Chain, Home, IDLE, SHARDS, ask, asked, follow, learn, serve};
use super::super::{Book, BookError, PeerFault, TakeError};

fn refusal(book: &Book, request: &Request) -> Option<Refusal> {
    match ask(book, request) {
        Response::Refusal(refusal) => Some(refusal),
        _ => None,
    }
}

fn ends(epoch: u64, count: u32) -> Request {
    Request::EpochEnds(EpochEndsRequest::new(Epoch(epoch), count).unwrap())
}

fn proofs(height: u64, shards: &[u32]) -> Request {
    let shards = shards.iter().copied().map(ShardId).collect();
    Request::Proofs(ProofsRequest::new(Height(height), shards).unwrap())
}

/// Every question that has one right answer on this chain of 17 heights.
fn questions(chain: &Chain) -> Vec<Request> {
    let mut questions = vec![Request::Head, Request::Unknown];
    questions.extend((0..4).flat_map(|epoch| [ends(epoch, 1), ends(epoch, 64)]));
    questions.extend([5, 10, 15].map(|height| Request::Waypoint(chain.hash(height))));
    questions.extend([5, 10, 15].map(|height| proofs(height, &[2, 9, 30])));
    questions.extend([5, 10, 15].map(|height| proofs(height, &[9])));
    questions.extend([0, 4, 16, 17, 18].map(|height| proofs(height, &[9])));
    questions
}

#[test]
fn a_book_filled_from_anothers_answers_answers_the_same() {
    let chain = Chain::new(1, 17);
    let maker_home = Home::new(&chain);
    let maker = maker_home.maker(&chain, 17);
    let home = Home::new(&chain);
    let book = home.open();
    learn(&book, &maker);
    for (shard, budget_bytes) in SHARDS.into_iter().zip([u64::MAX, 0, 150]) {
        book.begin(chain.newest(0, shard)).unwrap();
        let answers = follow(&book, &maker, shard, budget_bytes);
        assert!(answers > 1 || budget_bytes > 999, "{answers} answers");
    }
    drop(book);
    let book = home.open();
    assert_eq!((book.trust(), book.head()), (maker.trust(), maker.head()));
    let second_home = Home::new(&chain);
    let second = second_home.open();
    learn(&second, &book);
    for shard in SHARDS {
        second.begin(chain.newest(0, shard)).unwrap();
        follow(&second, &book, shard, 1);
    }
    for other in [&book, &second] {
        for question in questions(&chain) {
            assert_eq!(ask(other, &question), ask(&maker, &question), "{question:?}");
        }
        for shard in SHARDS {
            assert_eq!(other.newest_header(shard), maker.newest_header(shard));
            for (after, newest) in
                (0..=18).flat_map(|after| [0, 1, 2, 3, 5].map(|newest| (after, newest)))
            {
                let asked = asked(shard, after, u64::MAX, newest);
                assert_eq!(serve(other, &asked), serve(&maker, &asked), "{shard} {after}");
            }
        }
    }
}

#[test]
fn shards_are_followed_and_heads_taken_by_many_threads_at_once() {
    let chain = Chain::new(1, 40);
    let maker_home = Home::new(&chain);
    let maker = maker_home.maker(&chain, 12);
    let home = Home::new(&chain);
    let book = home.open();
    learn(&book, &maker);
    std::thread::scope(|threads| {
        for shard in SHARDS {
            let (book, maker, chain) = (&book, &maker, &chain);
            threads.spawn(move || {
                book.begin(chain.newest(5, shard)).unwrap();
                while book.newest_header(shard) != Some(chain.newest(40, shard)) {
                    follow(book, maker, shard, 500);
                }
            });
        }
        threads.spawn(|| {
            while book.head().is_none_or(|head| head.height() < Height(40)) {
                learn(&book, &maker);
            }
        });
        (13..=40).for_each(|height| _ = chain.tell(&maker, height));
    });
    drop(book);
    let book = home.open();
    assert_eq!((book.head(), book.trust()), (maker.head(), maker.trust()));
    for shard in SHARDS {
        let read = |book: &Book| {
            let chunks = book.chunks_after(shard, Height(5), Height(40)).unwrap();
            chunks.map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(read(&book).len(), chain.headers(5, 40, shard).len());
        assert_eq!(read(&book), read(&maker));
    }
}

#[test]
fn what_is_not_there_is_refused_by_its_reason() {
    let chain = Chain::new(1, 17);
    let empty = Home::new(&chain).open();
    let not_held = Some(Refusal::NotHeld);
    for request in [
        Request::Head,
        ends(0, 1),
        Request::Waypoint(chain.hash(5)),
        proofs(0, &[9]),
        proofs(5, &[9]),
    ] {
        assert_eq!(refusal(&empty, &request), not_held);
    }
    let book = Home::new(&chain).maker(&chain, 17);
    let unsupported = Some(Refusal::Unsupported);
    let summary = Request::Summary(SummaryRequest::new(vec![BUSY]).unwrap());
    assert_eq!(refusal(&book, &summary), unsupported);
    assert_eq!(book.answer(&Request::Unknown).unwrap(), Response::Refusal(Refusal::Unsupported));
    assert_eq!(refusal(&book, &ends(3, 1)), not_held);
    assert_eq!(refusal(&book, &ends(u64::MAX, 64)), not_held);
    for hash in [chain.hash(4), LedgerInfoHash::new([1; 32])] {
        assert_eq!(refusal(&book, &Request::Waypoint(hash)), not_held);
    }
    for (height, shards) in [(18, &[9][..]), (16, &[9]), (5, &[3, 9]), (u64::MAX, &[9])] {
        assert_eq!(refusal(&book, &proofs(height, shards)), not_held);
    }
    book.drop_before(Epoch(2)).unwrap();
    assert_eq!(refusal(&book, &proofs(5, &[9])), Some(Refusal::NotRetained));
    assert_eq!(refusal(&book, &proofs(10, &[9])), None);
    assert_eq!(refusal(&book, &ends(0, 1)), None, "ends stay");
    let waypoint = Home { waypoint: Some(chain.hash(10)), ..Home::new(&chain) };
    let late = waypoint.open();
    learn(&late, &book);
    assert_eq!(refusal(&late, &ends(1, 1)), Some(Refusal::NotRetained));
    assert_eq!(refusal(&late, &ends(2, 1)), None);
    assert_eq!(refusal(&late, &Request::Waypoint(chain.hash(10))), not_held, "has no signatures");
    assert_eq!(refusal(&late, &Request::Waypoint(chain.hash(15))), None);
}

#[test]
fn ends_are_as_many_as_were_asked_for_or_are_known() {
    let chain = Chain::new(1, 17);
    let book = Home::new(&chain).maker(&chain, 17);
    for (epoch, count, expected) in [(0, 1, &[5][..]), (0, 64, &[5, 10, 15]), (2, 2, &[15])] {
        let Response::EpochEnds(ends) = ask(&book, &ends(epoch, count)) else { panic!() };
        let expected: Vec<_> =
            expected.iter().map(|height| LedgerBytes(chain.signed(*height).encode())).collect();
        assert_eq!(ends.signed_ledger_infos(), expected);
    }
}

#[test]
fn an_answer_about_an_epochs_start_is_believed_only_as_a_whole() {
    let chain = Chain::new(1, 17);
    let book = Home::new(&chain).open();
    let honest = |height: u64| {
        let proofs = [ShardId(2), BUSY, IDLE].map(|shard| chain.proof(height, shard).encode());
        (chain.signed(height).encode(), proofs.to_vec())
    };
    let take = |(signed, proofs): (Vec<u8>, Vec<Vec<u8>>), epoch| {
        let proofs = proofs.into_iter().map(LedgerBytes).collect();
        book.take_proofs(Epoch(epoch), &Proofs::new(LedgerBytes(signed), proofs).unwrap())
    };
    let fault = |taken| match taken {
        Err(TakeError::Fault(fault)) => fault,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("believed"),
    };
    let not_asked = PeerFault::Ledger(LedgerFault::NotAsked);
    assert_eq!(fault(take(honest(6), 1)), not_asked);
    assert_eq!(fault(take(honest(10), 1)), not_asked);
    assert!(matches!(take(honest(15), 3), Err(TakeError::UnknownEpoch(_))));
    let mut few = honest(5);
    few.1.pop();
    assert_eq!(fault(take(few, 1)), PeerFault::Items { expected: 3, got: 2 });
    let mut swapped = honest(5);
    swapped.1.swap(0, 1);
    let shard = PeerFault::Proof(ShardId(2), ChunkProofFault::Shard(ShardId(2)));
    assert_eq!(fault(take(swapped, 1)), shard);
    let mut old = honest(5);
    old.1[1] = chain.proof(4, BUSY).encode();
    assert_eq!(fault(take(old, 1)), PeerFault::Proof(BUSY, ChunkProofFault::Proof));
    let mut garbage = honest(5);
    garbage.1[2].pop();
    assert!(matches!(fault(take(garbage, 1)), PeerFault::Decode(_)));
    let mut forged = honest(5);
    *forged.0.last_mut().unwrap() ^= 1;
    assert!(matches!(fault(take(forged, 1)), PeerFault::Ledger(LedgerFault::Signature(_))));
    assert_eq!(book.starts(), [Epoch(0)]);
    let start = take(honest(5), 1).unwrap();
    assert_eq!(start.header(IDLE), Some(&chain.newest(5, IDLE)));
    assert_eq!(book.start(Epoch(1)).unwrap().headers(), start.headers());
}

#[test]
fn headers_that_are_not_an_epochs_start_are_refused() {
    let chain = Chain::new(1, 12);
    let home = Home::new(&chain);
    let book = home.open();
    let verified = |height| book.trust().verify(chain.signed(height)).unwrap();
    let headers = |height: u64| chain.at(height).newest.clone();
    let mut swapped = headers(5);
    swapped.swap(0, 1);
    let root = Chunks::new(headers(5).iter().map(|header| (header.shard(), header.hash()))).root();
    assert_eq!(root, chain.signed(5).ledger_info.chunks_root);
    for (height, headers) in [(4, headers(4)), (5, headers(4)), (5, swapped), (5, vec![])] {
        let refused = book.take_start(&verified(height), headers);
        assert!(matches!(refused, Err(BookError::NotAStart)));
    }
    let start = book.take_start(&verified(5), headers(5)).unwrap();
    assert_eq!((start.epoch(), start.height()), (Epoch(1), Height(5)));
    // Its ledger info is not stored yet, so nothing can be passed on.
    assert_eq!(refusal(&book, &proofs(5, &[9])), Some(Refusal::NotHeld));
    book.take_end(chain.signed(5)).unwrap();
    drop(book);
    let book = home.open();
    assert_eq!(book.start(Epoch(1)).unwrap().headers(), headers(5));
    assert_eq!(refusal(&book, &proofs(5, &[9])), None);
}
