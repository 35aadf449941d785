//! A type per id, so that two of them can't be swapped.
//!
//! Ids that come from outside are 1 to 128 visible characters; ids made here are a prefix and a
//! time-sortable word of letters and digits (`^run_\w+$` is what clients of the contract check).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::{NoContext, Uuid};

use super::Timestamp;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to 128 visible characters, got {got}")]
pub struct InvalidId {
    /// Which id was being read.
    pub what: &'static str,
    /// What is wrong with it, without repeating a long text.
    pub got: String,
}

fn check(what: &'static str, text: &str) -> Result<(), InvalidId> {
    let invalid = |got: String| Err(InvalidId { what, got });
    match text.chars().count() {
        0 => return invalid("an empty text".into()),
        n if n > 128 => return invalid(format!("{n} characters")),
        _ => {}
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace()) {
        Some(c) => invalid(format!("one holding {c:?}")),
        None => Ok(()),
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

macro_rules! generated {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// A new id; ids made later sort later, to the millisecond.
            #[must_use]
            pub fn generate(now: Timestamp) -> Self {
                Self(sortable($prefix, now).into())
            }
        }
    };
}

id_type!(
    /// A run. New ones are `run_` and a sortable word.
    RunId, "a run id"
);
id_type!(
    /// An accepted retry.
    RetryId, "a retry id"
);
id_type!(
    /// A message that could not be used.
    DeadLetterId, "a dead letter's id"
);
id_type!(
    /// An API token; the secret is no part of it.
    TokenId, "a token id"
);
id_type!(
    /// A node: its key in the definition's `nodes`.
    NodeId, "a node id"
);
id_type!(
    /// An organisation: the boundary that no read and no write crosses.
    OrganizationId, "an organization id"
);
id_type!(
    /// The SHA-256 of a definition's text in hexadecimal: definitions are stored once.
    DefinitionHash, "a definition hash"
);

generated!(RunId, "run_");
generated!(RetryId, "rty_");
generated!(TokenId, "tok_");
generated!(DeadLetterId, "dl_");

fn sortable(prefix: &str, now: Timestamp) -> String {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    let at = uuid::Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos());
    format!("{prefix}{}", Uuid::new_v7(at).simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn generated_ids_match_the_clients_pattern_and_sort_by_time() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let (old, new) = (RunId::generate(at(1_000)), RunId::generate(at(1_001)));
        assert!(old < new);
        let word = old.as_str().strip_prefix("run_").unwrap();
        assert!(word.chars().all(|c| c.is_ascii_alphanumeric()));
    }

    #[test]
    fn ids_are_1_to_128_visible_characters() {
        let longest = "é".repeat(128);
        for good in ["a", "my.run/7", "日本", longest.as_str()] {
            assert_eq!(good.parse::<RunId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\n", "\u{0}", "é".repeat(129).as_str()] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }
}
