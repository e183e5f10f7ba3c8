//! A holder that lies, on the real network.

use std::sync::Arc;
use std::time::Duration;

use ketch_devnet::DevValidator;
use ketch_ledger::{Genesis, LedgerInfo, SignedLedgerInfo};
use ketch_net::{
    AnswerWriter, Contact, NetworkEvent, Question, SendError, address_text, peer_text,
};
use ketch_trie::{
    COMMIT_BYTES, Manifest, MemoryState, Outline, PackedPart, Packing, VerifiedPart, Writes,
};
use ketch_types::{Epoch, PartIndex, PartSet};
use ketch_wire::{
    End, FRAME_HEADER_BYTES, Head, Holding, LedgerBytes, PartsEnd, PartsRequest, Refusal, Request,
    Response, Summary, outline_frames, part_frame_header,
};
use tokio::sync::mpsc;

use super::{Chain, PART_BYTES};
use crate::net::node::{Node, PATIENCE, config};
use crate::still_chain::{SEED, SHARD};

/// What a holder does that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Nothing: whoever asks it is served.
    None,
    /// A bit of a part is another one.
    CorruptPart,
    /// A part ends early.
    TruncatedPart,
    /// A part goes on after its end.
    OversizedPart,
    /// A part of the same state in the place of another.
    OtherPart,
    /// A part of another shard's state.
    OtherShard,
    /// What a part would be at another size.
    OtherCut,
    /// A part that was not asked for.
    UnaskedPart,
    /// A frame that says it has 4 GiB.
    LongPrefix,
    /// Frames that there are none of.
    Junk,
    /// An end that tells of more parts than there are.
    BitmapPastCount,
    /// The outline of another state.
    OtherOutline,
    /// An outline that never ends.
    EndlessOutline,
    /// An outline of which a count is as large as can be.
    OverflowingCounts,
    /// An outline that ends early.
    ShortOutline,
    /// A head that one of two validators signed; no state is claimed.
    TooFewSignatures,
    /// A head that somebody signed in the place of a validator.
    WrongSignature,
    /// Half a part, and the stream is closed.
    ClosesMidPart,
    /// Half a part, and nothing more.
    Stalls,
    /// A byte of a part now and then.
    Drips,
    /// No answer to who asks for parts.
    SilentOnParts,
    /// No answer to who asks for the outline.
    SilentOnOutline,
    /// It claims to hold everything, and serves none of it.
    ServesNothing,
    /// Always too busy.
    AlwaysBusy,
}

/// A holder that lies, and says when it has.
pub(super) struct Liar {
    lie: Lie,
    pub(super) address: String,
    lied: mpsc::UnboundedReceiver<()>,
}

struct Holder {
    lie: Lie,
    manifest: Arc<Manifest>,
    parts: Arc<Vec<VerifiedPart>>,
    genesis: Genesis,
    lied: mpsc::UnboundedSender<()>,
}

impl Liar {
    pub(super) async fn start(number: u8, lie: Lie, chain: &Chain) -> Self {
        let mut config = config();
        config.chain = chain.genesis.chain_id();
        let mut node = Node::with(number, config).await;
        let Contact { peer, addresses } = node.contact();
        let address = address_text(&addresses[0]).unwrap();
        let address = format!("{address}/p2p/{}", peer_text(&peer).unwrap());
        let (to_test, lied) = mpsc::unbounded_channel();
        let (manifest, parts) = (Arc::clone(&chain.manifest), Arc::clone(&chain.parts));
        let genesis = chain.genesis.clone();
        let holder = Arc::new(Holder { lie, manifest, parts, genesis, lied: to_test });
        tokio::spawn(async move {
            loop {
                if let NetworkEvent::Asked { question, .. } = node.next().await {
                    let holder = Arc::clone(&holder);
                    // Whoever was lied to may be gone before the end.
                    tokio::spawn(async move { holder.answer(question).await.is_ok() });
                }
            }
        });
        Self { lie, address, lied }
    }

    /// Waits until it has lied to somebody.
    pub(super) async fn has_lied(&mut self) {
        let lied = tokio::time::timeout(PATIENCE, self.lied.recv()).await;
        lied.unwrap_or_else(|_| panic!("nobody asks {:?}", self.lie)).unwrap();
    }
}

impl Holder {
    fn lies(&self) {
        // The test may have seen enough.
        let _ = self.lied.send(());
    }

    fn is_about_the_chain(&self) -> bool {
        matches!(self.lie, Lie::TooFewSignatures | Lie::WrongSignature)
    }

    /// The head after genesis, signed by too few or by others.
    fn head(&self) -> Head {
        let block = self.genesis.block();
        let block = block.next(Epoch(0), block.time_ms() + 1, block.chunks_root()).unwrap();
        let ledger_info = LedgerInfo::new(self.genesis.chain_id(), &block, None);
        let [first, stranger] = [0, 7].map(|place| DevValidator::signer(SEED, place));
        let mut signers = vec![(0, &first)];
        if self.lie == Lie::WrongSignature {
            signers.push((1, &stranger));
        }
        let signed = SignedLedgerInfo::sign(ledger_info, signers);
        Head {
            signed_ledger_info: LedgerBytes(signed.encode()),
            block: LedgerBytes(block.encode()),
        }
    }

    async fn answer(&self, question: Question) -> Result<(), SendError> {
        match question {
            Question::Control(Request::Head, reply) if self.is_about_the_chain() => {
                self.lies();
                reply.send(&Response::Head(self.head())).await
            }
            Question::Control(Request::Summary(_), reply) if !self.is_about_the_chain() => {
                let root = self.manifest.root();
                let held = PartSet::full(self.manifest.part_count());
                let holding = Holding::new(SHARD, Epoch(0), root, PART_BYTES, held).unwrap();
                reply.send(&Response::Summary(Summary::new(vec![holding], vec![]).unwrap())).await
            }
            Question::Control(_, reply) => reply.refuse(Refusal::NotHeld).await,
            Question::Outline(_, writer) => self.outline(writer).await,
            Question::Parts(request, writer) => self.parts(&request, writer).await,
            Question::Outputs(_, mut writer) => {
                writer.send(&End { refusal: Some(Refusal::NotHeld) }.frame()).await?;
                writer.finish().await
            }
        }
    }

    async fn outline(&self, mut writer: AnswerWriter) -> Result<(), SendError> {
        let mut frames: Vec<_> = outline_frames(self.manifest.outline()).collect();
        match self.lie {
            Lie::OtherOutline => frames = outline_frames(&other_outline()).collect(),
            // The counts follow the hash in the opening.
            Lie::OverflowingCounts => {
                let counts = FRAME_HEADER_BYTES + 32..FRAME_HEADER_BYTES + COMMIT_BYTES;
                frames[0][counts].fill(0xff);
            }
            Lie::ShortOutline => {
                let body = frames[0].len() - FRAME_HEADER_BYTES - 40;
                frames[0].truncate(FRAME_HEADER_BYTES + body);
                let length = u32::try_from(body).unwrap().to_le_bytes();
                frames[0][1..FRAME_HEADER_BYTES].copy_from_slice(&length);
            }
            Lie::EndlessOutline | Lie::SilentOnOutline => {}
            _ => return send_all(writer, &frames).await,
        }
        self.lies();
        match self.lie {
            Lie::SilentOnOutline => {
                writer.unwanted().await;
                Ok(())
            }
            Lie::EndlessOutline => loop {
                for frame in &frames {
                    writer.send(frame).await?;
                }
            },
            _ => send_all(writer, &frames).await,
        }
    }

    async fn parts(
        &self,
        request: &PartsRequest,
        mut writer: AnswerWriter,
    ) -> Result<(), SendError> {
        self.lies();
        match self.lie {
            Lie::SilentOnParts => {
                writer.unwanted().await;
                return Ok(());
            }
            Lie::ServesNothing | Lie::AlwaysBusy => {
                let busy = Refusal::Busy { retry_after: Duration::from_millis(100) };
                let refusal = if self.lie == Lie::AlwaysBusy { busy } else { Refusal::NotHeld };
                writer.send(&PartsEnd::Refused { refusal, held: None }.frame()).await?;
                return writer.finish().await;
            }
            Lie::LongPrefix => writer.send(&[2, 0xff, 0xff, 0xff, 0xff]).await?,
            Lie::Junk => writer.send(&[0x5a; 4_096]).await?,
            _ => {}
        }
        for part in request.wanted().iter() {
            self.part(request, part, &mut writer).await?;
        }
        let count = self.manifest.part_count();
        let count = if self.lie == Lie::BitmapPastCount { count + 1 } else { count };
        writer.send(&PartsEnd::Sent { held: PartSet::full(count) }.frame()).await?;
        writer.finish().await
    }

    async fn part(
        &self,
        request: &PartsRequest,
        part: PartIndex,
        writer: &mut AnswerWriter,
    ) -> Result<(), SendError> {
        let count = self.manifest.part_count();
        let payload = |part: u32| self.parts[(part % count) as usize].payload().to_vec();
        let (mut index, mut payload, other) = (part, payload(part.0), payload(part.0 + 1));
        match self.lie {
            Lie::CorruptPart => payload[40] ^= 1,
            Lie::TruncatedPart => payload.truncate(payload.len() - 1),
            Lie::OversizedPart => payload.push(0),
            Lie::OtherPart => payload = other,
            Lie::OtherShard => payload = b"\x01\x00\x01\x00\x00\x00kv".to_vec(),
            Lie::OtherCut => payload.extend_from_slice(&other),
            Lie::UnaskedPart => {
                let mut all = (0..=count).map(PartIndex);
                index = all.find(|part| !request.wanted().contains(*part)).unwrap();
            }
            _ => {}
        }
        // Raw, so that lengths are what the lie makes them.
        let packed = PackedPart { packing: Packing::Raw, bytes: payload };
        writer.send(&part_frame_header(index, &packed).unwrap()).await?;
        match self.lie {
            Lie::ClosesMidPart | Lie::Stalls => {
                writer.send(&packed.bytes[..packed.bytes.len() / 2]).await?;
                if self.lie == Lie::Stalls {
                    writer.unwanted().await;
                }
                // Dropped, the writer cuts the answer off.
                Err(SendError::Closed)
            }
            Lie::Drips => {
                for byte in &packed.bytes {
                    writer.send(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Ok(())
            }
            _ => writer.send(&packed.bytes).await,
        }
    }
}

async fn send_all(mut writer: AnswerWriter, frames: &[Vec<u8>]) -> Result<(), SendError> {
    for frame in frames {
        writer.send(frame).await?;
    }
    writer.send(&End { refusal: None }.frame()).await?;
    writer.finish().await
}

/// The outline of a state that has nothing to do with the chain's.
fn other_outline() -> Outline {
    let mut writes = Writes::default();
    for number in 0..10_000_u32 {
        writes.put(&number.to_le_bytes(), &[7; 50]).unwrap();
    }
    let mut state = MemoryState::default();
    state.commit(&writes).unwrap();
    Outline::of_state(&state, PART_BYTES).unwrap()
}
