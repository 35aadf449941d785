//! Lanes: whose work waits behind whose.

use serde::{Deserialize, Serialize};

/// Which share of the workers a retry draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Somebody waits for it.
    Interactive,
    /// A policy asked.
    Automatic,
    /// One of very many.
    Bulk,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Automatic, Self::Bulk];

    /// The word in the API, in the ledger and as routing key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Automatic => "automatic",
            Self::Bulk => "bulk",
        }
    }

    /// The lane with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "interactive" => Self::Interactive,
            "automatic" => Self::Automatic,
            "bulk" => Self::Bulk,
            _ => return None,
        })
    }
}

/// One of something for each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerLane<T> {
    /// For [`Lane::Interactive`].
    pub interactive: T,
    /// For [`Lane::Automatic`].
    pub automatic: T,
    /// For [`Lane::Bulk`].
    pub bulk: T,
}

impl<T> PerLane<T> {
    /// The same for every lane, made three times.
    pub fn from_fn(mut make: impl FnMut(Lane) -> T) -> Self {
        Self {
            interactive: make(Lane::Interactive),
            automatic: make(Lane::Automatic),
            bulk: make(Lane::Bulk),
        }
    }

    /// The one of a lane.
    pub const fn of(&self, lane: Lane) -> &T {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Automatic => &self.automatic,
            Lane::Bulk => &self.bulk,
        }
    }

    /// The one of a lane, to change it.
    pub const fn of_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Automatic => &mut self.automatic,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
