use std::sync::LazyLock;

use ketch_ledger::{ChunkRange, Outputs};
use ketch_types::{Epoch, Height, ShardId};
use ketch_wire::{End, Refusal};

use super::super::Book;
use super::super::fixture::{BUSY, Chain, Home, IDLE, asked, follow, receive, serve};

/// The range and the outputs of an answer.
fn parse(frames: &[Vec<u8>]) -> (ChunkRange, Vec<Vec<u8>>) {
    let [range, outputs @ .., end] = frames else { panic!("{} frames", frames.len()) };
    assert_eq!((range[0], end), (4, &End { refusal: None }.frame()));
    assert!(outputs.iter().all(|frame| frame[0] == 5));
    let outputs = outputs.iter().map(|frame| frame[5..].to_vec()).collect();
    (ChunkRange::decode(&range[5..]).unwrap(), outputs)
}

#[test]
fn outputs_are_sent_while_the_budget_lasts_and_the_first_in_any_case() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).maker(&chain, 12);
    let sizes: Vec<_> =
        chain.headers(0, 12, BUSY).iter().map(|header| header.outputs().bytes).collect();
    for after in 0..12 {
        for budget in [0, 1, sizes[0], sizes[0] + sizes[1], 900, 1_500, u64::MAX] {
            let frames = serve(&book, &asked(BUSY, after, budget, 9)).unwrap();
            let (range, outputs) = parse(&frames);
            let trusted = chain.newest(after, BUSY);
            let verified = range.clone().verify(&book.trust(), &trusted).unwrap();
            let through = verified.ledger_info.ledger_info().height.0;
            assert_eq!(range, chain.range(after, through, BUSY));
            assert!(through >= after + outputs.len() as u64);
            assert!(budget < u64::MAX || through == 12);
            let rest = &sizes[usize::try_from(after).unwrap()..];
            let sums = rest.iter().scan(0_u64, |sum, size| {
                *sum += size;
                Some(*sum)
            });
            let affordable = sums.take_while(|sum| *sum <= budget).count().max(1);
            assert_eq!(outputs.len(), affordable, "after {after} for {budget}");
            let expected = chain.outputs(&chain.headers(after, 12, BUSY)[..affordable]);
            assert!(expected.iter().map(Outputs::encoded).eq(outputs.iter()));
        }
    }
}

#[test]
fn an_answer_ends_with_an_epoch_that_can_be_checked() {
    let chain = Chain::new(1, 17);
    let book = Home::new(&chain).maker(&chain, 17);
    for (after, newest, through) in [(0, 0, 5), (3, 0, 5), (3, 1, 10), (10, 2, 15), (3, 9, 17)] {
        let frames = serve(&book, &asked(BUSY, after, u64::MAX, newest)).unwrap();
        assert_eq!(parse(&frames).0, chain.range(after, through, BUSY));
    }
    for (after, newest) in [(5, 0), (6, 0), (15, 2), (17, 9), (18, 9), (u64::MAX, 9)] {
        let refused = serve(&book, &asked(BUSY, after, u64::MAX, newest));
        assert_eq!(refused, Err(Refusal::NotHeld), "after {after} in {newest}");
    }
}

#[test]
fn a_range_without_chunks_says_that_nothing_is_newer() {
    let chain = Chain::new(1, 17);
    let book = Home::new(&chain).maker(&chain, 17);
    for after in [15, 16] {
        let frames = serve(&book, &asked(IDLE, after, 0, 9)).unwrap();
        let (range, outputs) = parse(&frames);
        assert_eq!((range, outputs.len()), (chain.range(after, 17, IDLE), 0));
    }
    assert_eq!(serve(&book, &asked(IDLE, 17, 0, 9)), Err(Refusal::NotHeld));
    // At the end of epoch 1 there is no chunk, and who knows no more is told so.
    let frames = serve(&book, &asked(IDLE, 9, 0, 1)).unwrap();
    assert_eq!(parse(&frames).0, chain.range(9, 10, IDLE));
}

#[test]
fn what_was_dropped_is_not_retained_and_what_never_was_is_not_held() {
    let chain = Chain::new(1, 17);
    let book = Home::new(&chain).maker(&chain, 17);
    book.drop_before(Epoch(2)).unwrap();
    for (shard, after) in [(BUSY, 0), (BUSY, 9), (IDLE, 8)] {
        let refused = serve(&book, &asked(shard, after, 0, 9));
        assert_eq!(refused, Err(Refusal::NotRetained));
    }
    for (shard, after) in [(BUSY, 10), (IDLE, 9), (IDLE, 10)] {
        let frames = serve(&book, &asked(shard, after, u64::MAX, 9)).unwrap();
        assert_eq!(parse(&frames).0, chain.range(after, 17, shard));
    }
    assert_eq!(serve(&book, &asked(ShardId(3), 0, 0, 9)), Err(Refusal::NotHeld));
    book.forget(BUSY).unwrap();
    assert_eq!(serve(&book, &asked(BUSY, 10, 0, 9)), Err(Refusal::NotHeld));
}

#[test]
fn an_answer_whose_chunks_are_dropped_meanwhile_ends_with_the_reason() {
    let chain = Chain::new(1, 12);
    let book = Home::new(&chain).maker(&chain, 12);
    let served = book.outputs_answer(BUSY, Height(2), u64::MAX, Epoch(9)).unwrap();
    let Ok(mut served) = served else { panic!("refused") };
    assert!(served.next().unwrap().unwrap()[0] == 4);
    assert!(served.next().unwrap().unwrap()[0] == 5);
    book.begin(chain.newest(10, BUSY)).unwrap();
    let end = End { refusal: Some(Refusal::NotRetained) }.frame();
    assert_eq!(served.next().unwrap().unwrap(), end);
    assert!(served.next().is_none());
}

#[test]
fn outputs_in_part_are_kept_and_passed_on_once_a_proof_reaches_them() {
    let chain = Chain::new(1, 9);
    let home = Home::new(&chain);
    let book = home.open();
    book.begin(chain.newest(0, BUSY)).unwrap();
    let newest = |book: &Book| book.newest_header(BUSY).unwrap().height().0;
    assert_eq!(chain.give(&book, BUSY, (0, 4), 4).unwrap(), Height(4));
    assert_eq!(chain.give(&book, BUSY, (4, 8), 2).unwrap(), Height(6));
    drop(book);
    let book = home.open();
    assert_eq!(newest(&book), 6);
    let through = |after| serve(&book, &asked(BUSY, after, u64::MAX, 9)).map(|f| parse(&f).0);
    assert_eq!(through(0), Ok(chain.range(0, 4, BUSY)), "what is proven goes on being passed on");
    assert_eq!(through(4), Err(Refusal::NotHeld));
    // The rest comes under another ledger info, and the proof of the first range is of use then.
    assert_eq!(chain.give(&book, BUSY, (6, 9), 2).unwrap(), Height(8));
    assert_eq!(through(2), Ok(chain.range(2, 8, BUSY)));
    assert_eq!(chain.give(&book, BUSY, (8, 9), 1).unwrap(), Height(9));
    assert_eq!(through(2), Ok(chain.range(2, 9, BUSY)));
}

/// More chunks than two ranges can have, with an epoch's end among them.
static LONG: LazyLock<Chain> = LazyLock::new(|| Chain::with(1, 9_300, 9_000));

/// A book that has all of the long chain's chunks of one shard, in ranges of these lengths.
fn long_book(home: &Home, lengths: &[u64]) -> Book {
    let book = home.open();
    book.begin(LONG.newest(0, BUSY)).unwrap();
    let mut after = 0;
    for length in lengths.iter().cycle() {
        let through = (after + length).min(9_300);
        assert_eq!(LONG.give(&book, BUSY, (after, through), 5_000).unwrap(), Height(through));
        after = through;
        if through == 9_300 {
            break;
        }
    }
    book
}

#[test]
fn however_chunks_came_any_later_one_is_reached_from_any_height() {
    for lengths in [&[4_096][..], &[1, 4_096, 3, 2_000], &[97], &[2_049]] {
        let home = Home::new(&LONG);
        drop(long_book(&home, lengths));
        let book = home.open();
        for after in (0..9_300).step_by(331).chain([1, 4_095, 4_096, 4_097, 9_299]) {
            for budget in [0, 700, u64::MAX] {
                let frames = serve(&book, &asked(BUSY, after, budget, 9)).unwrap();
                let (range, outputs) = parse(&frames);
                let trusted = LONG.newest(after, BUSY);
                let verified = range.verify(&book.trust(), &trusted).unwrap();
                assert!(!outputs.is_empty() && outputs.len() <= verified.headers.len());
                assert!(verified.headers.len() <= 4_096);
                // A small budget is not answered with more headers than it needs.
                let is_short = verified.headers.len() <= 2_048;
                assert!(budget > 999 || lengths != [97] || is_short);
            }
        }
    }
}

#[test]
fn who_fetches_in_small_pieces_can_pass_on_what_it_fetched() {
    let home = Home::new(&LONG);
    let maker = long_book(&home, &[4_096]);
    let mut last = maker;
    let mut homes = vec![home];
    for budget_bytes in [300_000, 40_000] {
        let home = Home::new(&LONG);
        let book = home.open();
        book.begin(LONG.newest(0, BUSY)).unwrap();
        let answers = follow(&book, &last, BUSY, budget_bytes);
        assert!(answers > 6, "{answers}");
        assert_eq!(book.newest_header(BUSY), Some(LONG.newest(9_300, BUSY)));
        homes.push(home);
        last = book;
    }
}

#[test]
fn a_new_epochs_proofs_are_told_from_those_that_can_be_checked() {
    let home = Home::new(&LONG);
    let book = long_book(&home, &[4_000]);
    // The end of epoch 0 lies within a range: its proof comes with the start of epoch 1.
    let asked = asked(BUSY, 8_500, u64::MAX, 0);
    assert_eq!(serve(&book, &asked), Err(Refusal::NotHeld));
    let verified = book.trust().verify(LONG.signed(9_000)).unwrap();
    book.take_start(&verified, LONG.at(9_000).newest.clone()).unwrap();
    let frames = serve(&book, &asked).unwrap();
    assert_eq!(parse(&frames).0, LONG.range(8_500, 9_000, BUSY));
    let second = Home::new(&LONG).open();
    second.begin(LONG.newest(8_500, BUSY)).unwrap();
    assert_eq!(receive(&second, &asked, &frames).unwrap(), Height(9_000));
}
