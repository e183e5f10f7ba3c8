//! What two nodes say to each other: names, messages, frames and their limits, version 1.
//!
//! A control request is a [`Request`], answered by one [`Response`]. Outlines, parts and outputs
//! travel on streams of their own, outside of any message: one request, then frames, then an end.
//! [`OutlineAnswer`], [`PartsAnswer`] and [`OutputsAnswer`] are the reading sides, which say before
//! each read how many bytes may come, and refuse what was not asked for. `docs/protocol.md` is the
//! specification.
//!
//! A value that was decoded is valid, and one that is made here keeps the same rules. What a peer
//! sends is measured and its lists are counted before anything is allocated for it.
//!
//! What is *not* here: any IO, any clock, and any trust. Ledger objects are opaque
//! [`LedgerBytes`], and a part's bytes go past this crate into a buffer of exactly their size.
//!
//! ```
//! use ketch_types::ShardId;
//! use ketch_wire::{Request, SummaryRequest};
//!
//! let request = Request::Summary(SummaryRequest::new(vec![ShardId(7)])?);
//! assert_eq!(request.encode(), [0x0a, 3, 0x0a, 1, 7]);
//! assert_eq!(Request::decode(&request.encode())?, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod announcement;
mod budget;
mod end;
mod fault;
mod frame;
mod holding;
pub mod limits;
pub mod names;
mod objects;
mod outline;
mod outputs;
mod parts;
mod proto;
mod refusal;
mod request;
mod response;
mod scan;
mod stream_request;
mod summary;

pub use announcement::{Announcement, ExpiryError};
pub use budget::Budget;
pub use end::{End, PartsEnd};
pub use fault::{List, RuleError, TooLong, WireFault};
pub use frame::{FRAME_HEADER_BYTES, FrameFault, FrameHeader, FrameKind};
pub use holding::{Following, Holding};
pub use objects::{EpochEnds, Head, LedgerBytes, Proofs, Waypoint};
pub use outline::{OutlineAnswer, OutlineEnd, OutlineNext, outline_frames};
pub use outputs::{OutputsAnswer, OutputsEnd, OutputsNext, OutputsStart, RangeFrame};
pub use parts::{
    PART_FRAME_HEADER_BYTES, PartFrame, PartHeader, PartsAnswer, PartsNext, WantedBytesError,
    part_frame_header, wanted_bytes,
};
pub use refusal::Refusal;
pub use request::{EpochEndsRequest, ProofsRequest, Request, SummaryRequest};
pub use response::Response;
pub use stream_request::{
    OutlineRequest, OutputsRequest, PartsRequest, control_response, control_response_bytes,
    stream_request, stream_request_bytes,
};
pub use summary::Summary;
