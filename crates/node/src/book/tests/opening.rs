use std::fs;

use ketch_types::{Epoch, Height};

use super::super::fixture::{BUSY, Chain, Home, SHARDS};
use super::super::{Book, BookError, Damage, record};

#[test]
fn a_new_book_knows_genesis_alone() {
    let chain = Chain::new(1, 1);
    let book = Home::new(&chain).open();
    assert_eq!(book.chain(), chain.genesis.chain_id());
    assert_eq!((book.next_end(), book.head()), (Epoch(0), None));
    assert_eq!(book.wanted_waypoint(), None);
    let start = book.start(Epoch(0)).unwrap();
    let headers: Vec<_> = chain.genesis.chunk_headers().collect();
    assert_eq!((start.height(), start.headers()), (Height(0), headers.as_slice()));
    let roots: Vec<_> = SHARDS.iter().map(|shard| start.roots()[shard]).collect();
    assert_eq!(roots, chain.genesis.state_roots());
    assert_eq!((book.starts(), book.outputs_after(BUSY)), (vec![Epoch(0)], None));
}

#[test]
fn another_chains_book_is_refused_and_left_alone() {
    let (chain, other) = (Chain::new(1, 6), Chain::new(2, 1));
    let home = Home::new(&chain);
    drop(home.maker(&chain, 6));
    let refused = Book::open(&home.path(), &other.genesis, None).map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, BookError::OtherChain { .. }), "{text}");
    for id in [chain.genesis.chain_id(), other.genesis.chain_id()] {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    assert_eq!(home.open().head().unwrap().height(), Height(6));
}

#[test]
fn a_book_is_opened_once_at_a_time() {
    let chain = Chain::new(1, 1);
    let home = Home::new(&chain);
    let book = home.open();
    let again = Book::open(&home.path(), &home.genesis, None).map(drop);
    assert!(matches!(again, Err(BookError::Locked)), "{again:?}");
    drop(book);
    home.open();
}

#[test]
fn a_making_that_was_cut_short_is_begun_again() {
    let chain = Chain::new(1, 1);
    let home = Home::new(&chain);
    let unfinished = home.folder.path().join("ledger.new");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("version"), b"").unwrap();
    home.open();
    assert!(!unfinished.exists());
}

#[test]
fn a_damaged_book_says_that_it_can_be_deleted() {
    let chain = Chain::new(1, 6);
    let home = Home::new(&chain);
    drop(home.maker(&chain, 6));
    fs::write(home.path().join("version"), b"nonsense").unwrap();
    let refused = Book::open(&home.path(), &home.genesis, None).map(drop).unwrap_err();
    assert!(matches!(&refused, BookError::Damaged { damage: Damage::Database(_), .. }));
    let text = refused.to_string();
    assert!(text.contains("delete") && text.contains(&home.path().display().to_string()), "{text}");
    fs::remove_dir_all(home.path()).unwrap();
    assert_eq!(home.open().next_end(), Epoch(0));
}

#[test]
fn records_that_are_not_believed_are_damage() {
    let chain = Chain::new(1, 12);
    let other = Chain::new(2, 12);
    for (key, value, is_damage) in [
        (record::end_key(Epoch(1)), other.signed(10).encode(), true),
        (record::end_key(Epoch(1)), vec![1; 9], true),
        (record::HEAD_KEY.to_vec(), vec![1; 9], true),
        (record::start_key(Epoch(1)), vec![1; 9], true),
        (record::shard_key(BUSY), vec![1; 9], true),
        (b"later".to_vec(), vec![1; 9], false),
    ] {
        let home = Home::new(&chain);
        let book = home.maker(&chain, 12);
        let mut batch = book.disk.batch().unwrap();
        batch.insert(&book.disk.meta, key, value);
        book.disk.commit_synced(batch).unwrap();
        drop(book);
        let opened = Book::open(&home.path(), &home.genesis, None);
        assert_eq!(matches!(opened, Err(BookError::Damaged { .. })), is_damage);
    }
}
