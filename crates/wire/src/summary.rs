use crate::fault::{List, RuleError, WireFault};
use crate::holding::{Following, Holding};
use crate::proto;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

    /// What is held of states.
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    /// Which chunks' outputs can be asked for.
    pub fn following(&self) -> &[Following] {
        &self.following
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
