use prost::Message;
use serde::{Deserialize, Serialize};

use crate::fault::{List, RuleError, WireFault};
use crate::holding::{Following, Holding};
use crate::proto;
use crate::response::{FIELDS_BYTES_MAX, field_bytes};
use crate::scan::{Field, Shape};

/// Where the lists of a summary are.
pub(crate) const SUMMARY_SHAPE: Shape =
    &[(1, Field::Item(List::Holdings)), (2, Field::Item(List::Followings))];

/// What a node holds and follows of the shards that it was asked of: the truth, where announcements
/// are hints.
///
/// *Shape:* at most [`HOLDINGS_MAX`] holdings and [`FOLLOWINGS_MAX`] followings.
///
/// [`HOLDINGS_MAX`]: crate::limits::HOLDINGS_MAX
/// [`FOLLOWINGS_MAX`]: crate::limits::FOLLOWINGS_MAX
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Lists")]
pub struct Summary {
    holdings: Vec<Holding>,
    following: Vec<Following>,
}

impl Summary {
    /// A summary of these.
    ///
    /// *Errors:* [`RuleError::TooManyItems`].
    pub fn new(holdings: Vec<Holding>, following: Vec<Following>) -> Result<Self, RuleError> {
        List::Holdings.check(holdings.len())?;
        List::Followings.check(following.len())?;
        Ok(Self { holdings, following })
    }

    /// As many of these as fit one response, from the first on: followings, which are small, before
    /// holdings. What is left out is not known to whoever asked.
    pub fn fitting(holdings: Vec<Holding>, mut following: Vec<Following>) -> Self {
        following.truncate(List::Followings.items_max());
        let mut summary = Self { holdings: Vec::new(), following };
        let mut left =
            FIELDS_BYTES_MAX.saturating_sub(proto::Summary::from(&summary).encoded_len());
        for holding in holdings.into_iter().take(List::Holdings.items_max()) {
            let bytes = proto::Holding::from(&holding).encoded_len();
            let Some(rest) = left.checked_sub(field_bytes(bytes)) else { break };
            left = rest;
            summary.holdings.push(holding);
        }
        summary
    }

    /// What is held of states.
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    /// Which chunks' outputs can be asked for.
    pub fn following(&self) -> &[Following] {
        &self.following
    }
}

/// A [`Summary`] as it is written, before its lists are counted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    holdings: Vec<Holding>,
    following: Vec<Following>,
}

impl TryFrom<Lists> for Summary {
    type Error = RuleError;

    fn try_from(written: Lists) -> Result<Self, RuleError> {
        Self::new(written.holdings, written.following)
    }
}

impl From<&Summary> for proto::Summary {
    fn from(summary: &Summary) -> Self {
        Self {
            holdings: summary.holdings.iter().map(proto::Holding::from).collect(),
            following: summary.following.iter().map(proto::Following::from).collect(),
        }
    }
}

impl TryFrom<proto::Summary> for Summary {
    type Error = WireFault;

    fn try_from(message: proto::Summary) -> Result<Self, WireFault> {
        let holdings = message.holdings.into_iter().map(Holding::try_from);
        let following = message.following.into_iter().map(Following::try_from);
        Ok(Self::new(holdings.collect::<Result<_, _>>()?, following.collect::<Result<_, _>>()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PART_COUNT_MAX, RESPONSE_BYTES_MAX};
    use crate::response::Response;
    use ketch_types::{Epoch, Height, PartIndex, PartSet, ShardId, StateRoot};

    fn holding(epoch: u64, held: PartSet) -> Holding {
        Holding::new(ShardId(1), Epoch(epoch), StateRoot::new([7; 32]), 4, held).unwrap()
    }

    #[test]
    fn a_summary_leaves_out_what_does_not_fit_a_response() {
        let mut largest = PartSet::empty(PART_COUNT_MAX);
        (0..PART_COUNT_MAX).filter(|part| part % 3 > 0).for_each(|part| {
            largest.insert(PartIndex(part));
        });
        let holdings: Vec<_> = (0..64).map(|epoch| holding(epoch, largest.clone())).collect();
        let following = vec![Following::new(ShardId(1), Height(5), Height(300)).unwrap(); 99];
        let whole = Summary::new(holdings.clone(), following[..64].to_vec()).unwrap();
        assert!(Response::Summary(whole).encode().is_err());
        let some = Summary::fitting(holdings.clone(), following.clone());
        assert_eq!((some.holdings(), some.following()), (&holdings[..63], &following[..64]));
        let bytes = Response::Summary(some).encode().unwrap();
        assert!(RESPONSE_BYTES_MAX - bytes.len() < (128 << 10) + 256, "one more would fit");
    }

    #[test]
    fn a_summary_leaves_out_what_is_too_many() {
        let holdings: Vec<_> = (0..65).map(|epoch| holding(epoch, PartSet::full(9))).collect();
        assert!(Summary::new(holdings.clone(), vec![]).is_err());
        let some = Summary::fitting(holdings.clone(), vec![]);
        assert_eq!(some.holdings(), &holdings[..64]);
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), some);
        let all = serde_json::json!({ "holdings": holdings, "following": [] });
        assert!(serde_json::from_value::<Summary>(all).is_err());
    }
}
