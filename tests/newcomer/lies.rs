//! One holder that lies, asked before the honest one is there.

use super::Chain;
use super::liar::{Liar, Lie};

/// A newcomer takes the state although the first holder that it finds lies; it bans it where the lie is
/// proven, and nobody otherwise.
async fn is_taken_beside(lie: Lie, is_proven: bool) {
    let chain = Chain::new("");
    let mut liar = Liar::start(50, lie, &chain).await;
    let newcomer = chain.still.part_server(2, "");
    let taking = newcomer.start(&[&liar.address]);
    liar.has_lied().await;
    if is_proven {
        taking.until_logged("a liar is banned");
    }
    let holder = chain.holder.start(&[&taking.address]);
    let (_, log) = taking.completed();
    taking.stop();
    holder.stop();
    assert_eq!(Chain::stored_root(&newcomer), chain.root.to_string());
    assert!(!log.iter().any(|line| line.contains("a liar is banned")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_holder_that_does_not_lie_is_enough() {
    let chain = Chain::new("");
    let honest = Liar::start(50, Lie::None, &chain).await;
    let newcomer = chain.still.part_server(2, "");
    let taking = newcomer.start(&[&honest.address]);
    let (_, log) = taking.completed();
    taking.stop();
    assert_eq!(Chain::stored_root(&newcomer), chain.root.to_string());
    assert!(!log.iter().any(|line| line.contains("banned")));
}

/// Whoever tells of a head that no quorum signed is banned by whoever follows the chain.
async fn is_banned_for_its_head(lie: Lie) {
    let chain = Chain::new("");
    let mut liar = Liar::start(50, lie, &chain).await;
    let newcomer = chain.still.part_server(2, "");
    let taking = newcomer.start(&[&liar.address]);
    liar.has_lied().await;
    taking.until_logged("a peer lies about the chain");
    let holder = chain.holder.start(&[&taking.address]);
    taking.completed();
    let http = taking.http.parse().unwrap();
    let status = tokio::task::spawn_blocking(move || ketch_node::ask_status(http));
    assert_eq!(status.await.unwrap().unwrap().head, None);
    taking.stop();
    holder.stop();
    assert_eq!(Chain::stored_root(&newcomer), chain.root.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_with_too_few_signatures() {
    is_banned_for_its_head(Lie::TooFewSignatures).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_with_a_wrong_signature() {
    is_banned_for_its_head(Lie::WrongSignature).await;
}

macro_rules! lies {
    ($($name:ident: $lie:ident, banned: $banned:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            is_taken_beside(Lie::$lie, $banned).await;
        })*
    };
}

lies! {
    a_corrupt_part: CorruptPart, banned: true;
    a_part_that_ends_early: TruncatedPart, banned: true;
    a_part_that_is_too_long: OversizedPart, banned: true;
    a_part_in_the_place_of_another: OtherPart, banned: true;
    a_part_of_another_shard: OtherShard, banned: true;
    a_part_of_another_cut: OtherCut, banned: true;
    a_part_that_was_not_asked_for: UnaskedPart, banned: true;
    a_prefix_of_four_gibibytes: LongPrefix, banned: true;
    frames_that_there_are_none_of: Junk, banned: true;
    a_bitmap_past_the_part_count: BitmapPastCount, banned: true;
    the_outline_of_another_state: OtherOutline, banned: true;
    an_outline_that_never_ends: EndlessOutline, banned: true;
    an_outline_whose_counts_overflow: OverflowingCounts, banned: true;
    an_outline_that_ends_early: ShortOutline, banned: true;
    a_stream_that_is_closed_mid_part: ClosesMidPart, banned: false;
    a_stream_that_stalls_mid_part: Stalls, banned: false;
    a_stream_that_drips: Drips, banned: false;
    silence_on_parts: SilentOnParts, banned: false;
    silence_on_the_outline: SilentOnOutline, banned: false;
    a_holder_that_serves_nothing: ServesNothing, banned: false;
    a_holder_that_is_always_busy: AlwaysBusy, banned: false;
}
