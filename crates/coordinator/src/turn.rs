use serde::{Deserialize, Serialize};

/// Which of those that take the same shard at the same time a node is.
///
/// Takers that have turns do not all ask the few who hold the whole state for the same parts first: each
/// begins with its own share, and has the rest from the others. *Source:* the pieces that one seed gives
/// away in turns ("super-seeding", BitTorrent's BEP 16), decided by the takers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Place")]
pub struct Turn {
    place: u32,
    of: u32,
}

impl Turn {
    /// The turn of a node that takes a shard alone, as far as is known.
    pub const ALONE: Turn = Turn { place: 0, of: 1 };

    /// The `place`-th of `of` takers, counted from 0; none if there is no such place.
    pub fn new(place: u32, of: u32) -> Option<Self> {
        (place < of).then_some(Self { place, of })
    }

    /// How many take turns.
    pub(crate) fn of(self) -> u32 {
        self.of
    }

    /// Whether the `number`-th share of a state is one's own.
    pub(crate) fn is_own(self, number: usize) -> bool {
        u32::try_from(number).is_ok_and(|number| number % self.of == self.place)
    }
}

/// A [`Turn`] as it is written, before there is known to be such a place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    place: u32,
    of: u32,
}

impl TryFrom<Place> for Turn {
    type Error = &'static str;

    fn try_from(written: Place) -> Result<Self, &'static str> {
        Self::new(written.place, written.of).ok_or("there is no such place among the takers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_is_exactly_one_takers_own() {
        assert_eq!((Turn::new(0, 0), Turn::new(3, 3)), (None, None));
        let written = |text| serde_json::from_str::<Turn>(text).ok();
        assert_eq!(written(r#"{"place":2,"of":3}"#), Turn::new(2, 3));
        assert_eq!(written(r#"{"place":3,"of":3}"#), None);
        for of in [1, 2, 5, 64] {
            let turns: Vec<_> = (0..of).filter_map(|place| Turn::new(place, of)).collect();
            for number in 0..200 {
                assert_eq!(turns.iter().filter(|turn| turn.is_own(number)).count(), 1);
            }
        }
        assert!((0..9).all(|number| Turn::ALONE.is_own(number)));
    }
}
