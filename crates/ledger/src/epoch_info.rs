use ketch_types::{Epoch, EpochInfoHash, Height, PeerId, ShardId, ShardLayout};
use thiserror::Error;

use crate::domain::{K_EPOCH, keyed};
use crate::encoding::{BytesField, Codec, DecodeError, ListField, Reader, write_bytes, write_list};
use crate::validator::{ADDRESSES_MAX, VALIDATORS_MAX, Validator};

/// The place for layout changes, of which version 1 has none.
const NO_LAYOUT_CHANGE: u8 = 0;

/// The longest encoding of an [`EpochInfo`]: 1,000 validators with 1 KiB of addresses each take half
/// of it, and a message of 8 MiB holds two beside the largest list that travels with them.
///
/// *Units:* bytes. *Source:* the ledger's bytes, version 1.
pub const EPOCH_INFO_BYTES_MAX: usize = 2 << 20;

/// What is fixed about one epoch, two epochs ahead: its heights, its shards, its validators.
///
/// *Shape:* the sum of the powers fits 64 bits, and so does the first height after the epoch. No
/// two validators share a consensus key or a peer id. The encoding has at most
/// [`EPOCH_INFO_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochInfo {
    epoch: Epoch,
    first_height: Height,
    length: u64,
    layout: ShardLayout,
    validators: Vec<Validator>,
    total_power: u64,
}

/// Why an epoch info is refused. A validator is named by its position.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EpochInfoError {
    /// An epoch has at least one block.
    #[error("an epoch has at least one block")]
    Length,
    /// Genesis belongs to no epoch.
    #[error("an epoch begins at height 1 or later")]
    FirstHeight,
    /// The first height after the epoch does not fit 64 bits.
    #[error("an epoch ends beyond the last height")]
    LastHeight,
    /// An epoch has at least one validator and at most [`VALIDATORS_MAX`].
    #[error("an epoch has 1 to {VALIDATORS_MAX} validators, not {0}")]
    ValidatorCount(usize),
    /// A validator has a vote.
    #[error("validator {0} has no power")]
    NoPower(usize),
    /// The sum of the powers does not fit 64 bits.
    #[error("the power of all validators is beyond 64 bits")]
    TotalPower,
    /// A validator has at most [`ADDRESSES_MAX`] addresses.
    #[error("validator {0} has more than {ADDRESSES_MAX} addresses")]
    Addresses(usize),
    /// Tracked shards rise strictly.
    #[error("the tracked shards of validator {0} do not rise")]
    TrackedOrder(usize),
    /// A tracked shard is one of the layout.
    #[error("validator {0} tracks shard {1}, which the layout does not have")]
    UnknownShard(usize, ShardId),
    /// A consensus key belongs to one validator.
    #[error("two validators share a consensus key")]
    SharedKey,
    /// A peer id belongs to one validator.
    #[error("two validators share a peer id")]
    SharedPeerId,
    /// The encoding is longer than [`EPOCH_INFO_BYTES_MAX`].
    #[error("an epoch info of {0} bytes, more than {EPOCH_INFO_BYTES_MAX}")]
    Bytes(usize),
}

impl EpochInfo {
    /// The info of `epoch`, which has `length` blocks from `first_height` on.
    ///
    /// *Errors:* see [`EpochInfoError`].
    pub fn new(
        epoch: Epoch,
        first_height: Height,
        length: u64,
        layout: ShardLayout,
        validators: Vec<Validator>,
    ) -> Result<Self, EpochInfoError> {
        check_heights(first_height, length)?;
        let total_power = check_validators(&layout, &validators)?;
        let info = Self { epoch, first_height, length, layout, validators, total_power };
        let bytes = info.to_bytes().len();
        if bytes > EPOCH_INFO_BYTES_MAX {
            return Err(EpochInfoError::Bytes(bytes));
        }
        Ok(info)
    }

    /// The info that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The info's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// The info's hash, which the ledger info two epochs before names.
    pub fn hash(&self) -> EpochInfoHash {
        EpochInfoHash::new(keyed(&K_EPOCH, &self.to_bytes()))
    }

    /// The epoch that this is about.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The height of the epoch's first block.
    pub fn first_height(&self) -> Height {
        self.first_height
    }

    /// The height of the epoch's last block, whose ledger info has an epoch end.
    pub fn last_height(&self) -> Height {
        Height(self.first_height.0 + (self.length - 1))
    }

    /// The height at which the next epoch begins.
    pub fn next_first_height(&self) -> Height {
        self.last_height().next()
    }

    /// How many blocks the epoch has; at least 1.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the block at `height` is one of the epoch's.
    pub fn contains(&self, height: Height) -> bool {
        (self.first_height..=self.last_height()).contains(&height)
    }

    /// The epoch's shards.
    pub fn layout(&self) -> &ShardLayout {
        &self.layout
    }

    /// The epoch's set, in the order that signatures name positions of.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The voting power of all validators together.
    pub fn total_power(&self) -> u64 {
        self.total_power
    }

    /// The validator with this peer id, if there is one in the set.
    pub fn validator_of(&self, peer: &PeerId) -> Option<&Validator> {
        self.validators.iter().find(|validator| validator.peer == *peer)
    }

    /// The shards that a peer tracks in this epoch; none if it is not a validator.
    pub fn tracked_by(&self, peer: &PeerId) -> &[ShardId] {
        self.validator_of(peer).map_or(&[], |validator| &validator.tracked)
    }

    /// The validators that track `shard` in this epoch.
    pub fn trackers(&self, shard: ShardId) -> impl Iterator<Item = &Validator> {
        let tracks = move |validator: &&Validator| validator.tracked.binary_search(&shard).is_ok();
        self.validators.iter().filter(tracks)
    }
}

impl Codec for EpochInfo {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.first_height.0.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        write_layout(out, &self.layout);
        write_list(out, &self.validators, |out, validator| validator.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = Epoch(reader.u64()?);
        let first_height = Height(reader.u64()?);
        let length = reader.u64()?;
        let layout = read_layout(reader)?;
        let validators = reader.list(ListField::Validators, Validator::read)?;
        Ok(Self::new(epoch, first_height, length, layout, validators)?)
    }
}

fn write_layout(out: &mut Vec<u8>, layout: &ShardLayout) {
    write_list(out, layout.shards(), |out, shard| out.extend_from_slice(&shard.0.to_le_bytes()));
    write_list(out, layout.boundaries(), |out, boundary| write_bytes(out, boundary));
    out.extend_from_slice(&layout.part_bytes().to_le_bytes());
    out.push(NO_LAYOUT_CHANGE);
}

fn read_layout(reader: &mut Reader<'_>) -> Result<ShardLayout, DecodeError> {
    let shards = reader.list(ListField::Shards, |reader| reader.u32().map(ShardId))?;
    let boundaries = reader.list(ListField::Boundaries, |reader| {
        reader.bytes(BytesField::Boundary).map(<[u8]>::to_vec)
    })?;
    let layout = ShardLayout::new(shards, boundaries, u64::from(reader.u32()?))?;
    match reader.u8()? {
        NO_LAYOUT_CHANGE => Ok(layout),
        tag => Err(DecodeError::Tag(tag)),
    }
}

fn check_heights(first: Height, length: u64) -> Result<(), EpochInfoError> {
    if length == 0 {
        return Err(EpochInfoError::Length);
    }
    if first.0 == 0 {
        return Err(EpochInfoError::FirstHeight);
    }
    first.0.checked_add(length).map(|_| ()).ok_or(EpochInfoError::LastHeight)
}

/// Checks the set; the power of all its validators.
fn check_validators(layout: &ShardLayout, validators: &[Validator]) -> Result<u64, EpochInfoError> {
    if validators.is_empty() || validators.len() > VALIDATORS_MAX {
        return Err(EpochInfoError::ValidatorCount(validators.len()));
    }
    let mut shards = layout.shards().to_vec();
    shards.sort_unstable();
    let mut total = 0_u64;
    for (at, validator) in validators.iter().enumerate() {
        check_validator(at, validator, &shards)?;
        total = total.checked_add(validator.power).ok_or(EpochInfoError::TotalPower)?;
    }
    if !all_distinct(validators.iter().map(|validator| validator.key.as_bytes())) {
        return Err(EpochInfoError::SharedKey);
    }
    if !all_distinct(validators.iter().map(|validator| &validator.peer)) {
        return Err(EpochInfoError::SharedPeerId);
    }
    Ok(total)
}

fn check_validator(
    at: usize,
    validator: &Validator,
    shards: &[ShardId],
) -> Result<(), EpochInfoError> {
    if validator.power == 0 {
        return Err(EpochInfoError::NoPower(at));
    }
    if validator.addresses.len() > ADDRESSES_MAX {
        return Err(EpochInfoError::Addresses(at));
    }
    if !validator.tracked.is_sorted_by(|a, b| a < b) {
        return Err(EpochInfoError::TrackedOrder(at));
    }
    let unknown = validator.tracked.iter().find(|shard| shards.binary_search(shard).is_err());
    unknown.map_or(Ok(()), |shard| Err(EpochInfoError::UnknownShard(at, *shard)))
}

fn all_distinct<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut sorted: Vec<_> = items.collect();
    sorted.sort_unstable();
    sorted.is_sorted_by(|a, b| a < b)
}

#[cfg(test)]
mod tests {
    use ketch_types::Address;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{arbitrary_epoch_info, layout, only_decodes_whole, signer, validator};

    fn info(validators: Vec<Validator>) -> Result<EpochInfo, EpochInfoError> {
        EpochInfo::new(Epoch(4), Height(101), 25, layout(), validators)
    }

    fn changed(change: impl Fn(&mut Validator)) -> Result<EpochInfo, EpochInfoError> {
        let mut validators = vec![validator(0), validator(1)];
        change(&mut validators[1]);
        info(validators)
    }

    #[test]
    fn an_epoch_has_the_heights_from_its_first_to_its_last() {
        let info = info(vec![validator(0)]).unwrap();
        assert_eq!((info.last_height(), info.next_first_height()), (Height(125), Height(126)));
        let inside = [100, 101, 125, 126].map(|height| info.contains(Height(height)));
        assert_eq!(inside, [false, true, true, false]);
    }

    #[test]
    fn heights_outside_the_rules_are_refused() {
        let heights = |first, length| {
            EpochInfo::new(Epoch(0), Height(first), length, layout(), vec![validator(0)])
        };
        assert_eq!(heights(1, 0), Err(EpochInfoError::Length));
        assert_eq!(heights(0, 1), Err(EpochInfoError::FirstHeight));
        assert_eq!(heights(2, u64::MAX - 1), Err(EpochInfoError::LastHeight));
        let longest = heights(1, u64::MAX - 1).unwrap();
        assert_eq!(longest.next_first_height(), Height(u64::MAX));
    }

    #[test]
    fn a_set_is_1_to_1000_validators_with_power() {
        assert_eq!(info(vec![]), Err(EpochInfoError::ValidatorCount(0)));
        let many = vec![validator(0); 1_001];
        assert_eq!(info(many), Err(EpochInfoError::ValidatorCount(1_001)));
        assert_eq!(changed(|v| v.power = 0), Err(EpochInfoError::NoPower(1)));
        let most = u64::MAX - validator(0).power;
        assert_eq!(changed(|v| v.power = most).unwrap().total_power(), u64::MAX);
        assert_eq!(changed(|v| v.power = most + 1), Err(EpochInfoError::TotalPower));
    }

    #[test]
    fn no_two_validators_share_a_key_or_a_peer_id() {
        let key = signer(0).key();
        assert_eq!(changed(|v| v.key = key), Err(EpochInfoError::SharedKey));
        let peer = validator(0).peer;
        assert_eq!(changed(|v| v.peer = peer.clone()), Err(EpochInfoError::SharedPeerId));
    }

    #[test]
    fn a_validator_tracks_shards_of_the_layout_in_order() {
        let tracking = |ids: &[u32]| {
            let ids: Vec<_> = ids.iter().copied().map(ShardId).collect();
            changed(|v| v.tracked.clone_from(&ids))
        };
        assert!(tracking(&[]).is_ok() && tracking(&[1, 7, 10]).is_ok());
        assert_eq!(tracking(&[7, 1]), Err(EpochInfoError::TrackedOrder(1)));
        assert_eq!(tracking(&[7, 7]), Err(EpochInfoError::TrackedOrder(1)));
        assert_eq!(tracking(&[7, 8]), Err(EpochInfoError::UnknownShard(1, ShardId(8))));
    }

    #[test]
    fn a_validator_has_at_most_eight_addresses() {
        let addresses = |count| {
            let all = vec![Address::new(b"here").unwrap(); count];
            changed(|v| v.addresses.clone_from(&all))
        };
        assert!(addresses(8).is_ok());
        assert_eq!(addresses(9), Err(EpochInfoError::Addresses(1)));
    }

    #[test]
    fn an_info_over_2_mib_is_neither_made_nor_decoded() {
        // 1,000 shards whose boundaries are as long as they may be, and the first one as given.
        let with = |first_boundary: usize, addresses: usize| {
            let mut boundaries = vec![vec![0; first_boundary]];
            boundaries.extend((1..999_u16).map(|at| [&at.to_be_bytes()[..], &[0; 2_046]].concat()));
            let layout = ShardLayout::new((0..1_000).map(ShardId).collect(), boundaries, 4 << 20);
            let validators = (0..addresses.div_ceil(8)).map(|at| Validator {
                addresses: vec![Address::new(&[1; 256]).unwrap(); 8.min(addresses - 8 * at)],
                tracked: vec![],
                ..validator(u8::try_from(at).unwrap())
            });
            EpochInfo::new(Epoch(4), Height(101), 25, layout.unwrap(), validators.collect())
        };
        let (most, least) = (166, with(1, 166).unwrap().encode().len());
        let longest = with(1 + EPOCH_INFO_BYTES_MAX - least, most).unwrap();
        assert_eq!(longest.encode().len(), EPOCH_INFO_BYTES_MAX);
        assert_eq!(EpochInfo::decode(&longest.encode()), Ok(longest.clone()));
        let bytes = EPOCH_INFO_BYTES_MAX + 1;
        let refused = with(2 + EPOCH_INFO_BYTES_MAX - least, most);
        assert_eq!(refused, Err(EpochInfoError::Bytes(bytes)));
        let mut validators = longest.validators;
        let address = validators.last_mut().and_then(|last| last.addresses.first_mut()).unwrap();
        *address = Address::new(&[1; 255]).unwrap();
        validators[0].peer = PeerId::new(&[b'p', 0, 0, 0]).unwrap();
        let longer = EpochInfo { validators, ..longest };
        let refused = EpochInfo::decode(&longer.encode());
        assert_eq!(refused, Err(EpochInfoError::Bytes(bytes).into()));
    }

    #[test]
    fn peers_and_the_shards_that_they_track_find_each_other() {
        let info = info(vec![validator(0), validator(1), validator(2)]).unwrap();
        let one = &info.validators()[1];
        assert_eq!(info.validator_of(&one.peer), Some(one));
        assert_eq!(info.tracked_by(&one.peer), one.tracked);
        assert!(info.tracked_by(&PeerId::new(b"stranger").unwrap()).is_empty());
        for shard in info.layout().shards() {
            let trackers: Vec<_> = info.trackers(*shard).map(|v| &v.peer).collect();
            let expected = info.validators().iter().filter(|v| v.tracked.contains(shard));
            assert_eq!(trackers, expected.map(|v| &v.peer).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_layout_change_is_not_known_to_version_1() {
        let info = info(vec![validator(0)]).unwrap();
        let mut bytes = info.encode();
        let mut layout = Vec::new();
        write_layout(&mut layout, info.layout());
        bytes[24 + layout.len() - 1] = 1;
        assert_eq!(EpochInfo::decode(&bytes), Err(DecodeError::Tag(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn an_epoch_info_has_one_encoding(info in arbitrary_epoch_info()) {
            only_decodes_whole(&info);
        }

        #[test]
        fn every_single_bit_of_an_epoch_info_counts(
            info in arbitrary_epoch_info(),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = info.encode();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = EpochInfo::decode(&bytes) {
                prop_assert_ne!(other.hash(), info.hash());
                prop_assert_eq!(other.encode(), bytes);
            }
        }
    }
}
