use ketch_ledger::{
    BytesField, ChunkHeaderError, DecodeError, EpochInfoError, GenesisError, ListField,
    OutputsError,
};
use ketch_types::{Epoch, LayoutError, PEER_ID_BYTES_MAX};

use super::objects::encoded_again;
use super::vectors::vectors;

/// What the vectors call a refusal of the crate's. Where the crate does not tell apart what the
/// vectors do, there are two names.
fn names(error: &DecodeError) -> &'static [&'static str] {
    match error {
        DecodeError::Truncated => &["truncated"],
        DecodeError::Trailing(_) => &["trailing bytes"],
        DecodeError::Tag(_) => &["unknown tag", "layout changes"],
        DecodeError::Count { list, .. } => names_of_list(*list),
        DecodeError::Length { field, .. } => names_of_string(*field),
        DecodeError::Opaque(error) if error.max == PEER_ID_BYTES_MAX => &["peer id too short"],
        DecodeError::Opaque(_) => &["address too short"],
        DecodeError::ConsensusKey(_) => &["consensus key"],
        DecodeError::Layout(error) => names_of_layout(error),
        DecodeError::EpochInfo(error) => names_of_epoch_info(error),
        DecodeError::ChunkHeader(ChunkHeaderError::Genesis) => {
            &["height 0, but not genesis' header"]
        }
        DecodeError::ChunkHeader(ChunkHeaderError::Items(_)) => {
            &["too many transactions", "too many outputs"]
        }
        DecodeError::ChunkHeader(ChunkHeaderError::Bytes(_)) => {
            &["too many bytes of transactions", "too many bytes of outputs"]
        }
        DecodeError::ChunkHeader(ChunkHeaderError::Empty) => {
            &["transactions empty in part", "outputs empty in part"]
        }
        DecodeError::Block(_) => &["height 0, but not genesis' block"],
        DecodeError::Outputs(OutputsError::Order) => &["keys not rising"],
        DecodeError::Outputs(OutputsError::Key(0)) => &["key too short"],
        DecodeError::Genesis(error) => names_of_genesis(*error),
        _ => &[],
    }
}

fn names_of_list(list: ListField) -> &'static [&'static str] {
    match list {
        ListField::Shards => &["too many shards"],
        ListField::Boundaries => &["number of boundaries"],
        ListField::Validators => &["too many validators"],
        ListField::Addresses => &["too many addresses"],
        ListField::TrackedShards => &["too many tracked shards"],
        ListField::Outputs => &["too many outputs"],
        ListField::StateRoots => &["number of state roots"],
        ListField::Signatures => &["too many signatures"],
        ListField::Siblings => &["too many siblings"],
        ListField::Headers => &["too many headers"],
    }
}

fn names_of_string(field: BytesField) -> &'static [&'static str] {
    match field {
        BytesField::Boundary => &["boundary too long"],
        BytesField::PeerId => &["peer id too long"],
        BytesField::Address => &["address too long"],
        BytesField::Key => &["key too long"],
        BytesField::Value => &["value too long"],
        BytesField::Name => &["name too long"],
    }
}

fn names_of_layout(error: &LayoutError) -> &'static [&'static str] {
    match error {
        LayoutError::ShardCount(_) => &["too few shards"],
        LayoutError::BoundaryCount { .. } => &["number of boundaries"],
        LayoutError::BoundaryOrder(_) => &["boundaries not rising"],
        LayoutError::BoundaryLength(_) => &["boundary too short"],
        LayoutError::DuplicateShard(_) => &["shard ids not distinct"],
        LayoutError::PartBytes(_) => &["part_bytes out of bounds"],
    }
}

fn names_of_epoch_info(error: &EpochInfoError) -> &'static [&'static str] {
    match error {
        EpochInfoError::Length => &["length zero"],
        EpochInfoError::FirstHeight => &["first height zero"],
        EpochInfoError::LastHeight => &["heights overflow"],
        EpochInfoError::ValidatorCount(_) => &["too few validators"],
        EpochInfoError::NoPower(_) => &["zero power"],
        EpochInfoError::TotalPower => &["powers overflow"],
        EpochInfoError::TrackedOrder(_) => &["tracked shards not rising"],
        EpochInfoError::UnknownShard(..) => &["tracked shard not in the layout"],
        EpochInfoError::SharedKey => &["consensus keys not distinct"],
        EpochInfoError::SharedPeerId => &["peer ids not distinct"],
        EpochInfoError::Addresses(_) | EpochInfoError::Bytes(_) => &[],
    }
}

fn names_of_genesis(error: GenesisError) -> &'static [&'static str] {
    match error {
        GenesisError::Name(_) => &["name too short"],
        GenesisError::NameText => &["name not UTF-8"],
        GenesisError::Epochs(..) => &["epochs are not 0 and 1"],
        GenesisError::Layouts => &["layouts differ"],
        GenesisError::FirstHeight(Epoch(0), _) => &["epoch 0 does not begin at height 1"],
        GenesisError::FirstHeight(..) => &["epoch 1 does not follow epoch 0"],
        GenesisError::StateRoots { .. } => &["number of state roots"],
    }
}

#[test]
fn nothing_malformed_decodes_and_every_refusal_has_its_reason() {
    for case in vectors().malformed {
        let error = encoded_again(&case.kind, &case.encoded.0).unwrap_err();
        let named = names(&error).contains(&case.reason.as_str());
        assert!(named, "{}, {}: {error}, not {}", case.kind, case.name, case.reason);
    }
}
