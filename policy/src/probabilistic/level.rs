//! Levels of agreement, and the vector of one pair.

use serde::{Deserialize, Serialize};

/// How far two values agree; each attribute uses those that its comparator can tell apart.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// One of the values is missing: no evidence.
    Missing,
    /// Nothing in common beyond chance.
    Different,
    /// A little in common, such as the street without the number.
    Weak,
    /// Much in common.
    Similar,
    /// The value stands in another attribute of the other record, as when given name and surname are swapped.
    Crossed,
    /// The same but for a slip.
    Close,
    /// The same after normalisation.
    Equal,
}

impl Level {
    /// All levels, from the least to the greatest agreement.
    pub const ALL: [Self; 7] = [Self::Missing, Self::Different, Self::Weak, Self::Similar, Self::Crossed, Self::Close, Self::Equal];

    /// The level in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Weak => "partly alike",
            Self::Similar => "similar",
            Self::Crossed => "found in another field",
            Self::Close => "almost equal",
            Self::Equal => "equal",
        }
    }
}

/// The levels of one pair of records, one for each of the first [`Vector::MOST`] attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Vector(u128);

impl Vector {
    /// The most attributes that are compared; further ones count as missing.
    pub const MOST: usize = 32;

    /// The level of an attribute.
    #[must_use]
    pub fn level(self, attribute: usize) -> Level {
        if attribute >= Self::MOST {
            return Level::Missing;
        }
        let bits = (self.0 >> (4 * attribute)) & 0xf;
        usize::try_from(bits).ok().and_then(|i| Level::ALL.get(i)).copied().unwrap_or(Level::Missing)
    }

    /// The same vector with another level for an attribute.
    #[must_use]
    pub fn with(self, attribute: usize, level: Level) -> Self {
        if attribute >= Self::MOST {
            return self;
        }
        let shift = 4 * attribute;
        Self(self.0 & !(0xf << shift) | (level as u128) << shift)
    }
}
