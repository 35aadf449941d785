//! How much an expression may cost.

use std::io;

use serde_json::Value;

use crate::{
    config::{LimitsConfig, MOST_EXPRESSION_BYTES},
    domain::MAX_NESTING,
};

/// The limits of expressions, checked while they are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpressionLimits {
    /// Bytes between the marks of one expression.
    pub expression_bytes: usize,
    /// Expressions in one string.
    pub per_string: usize,
    /// Bytes of one resolved string or key of a payload: of its text, or of its compact JSON
    /// where it is exactly one expression.
    pub field_bytes: usize,
    /// Bytes of all resolved strings and keys of one node's payload.
    pub node_bytes: usize,
    /// Nesting of the resolved payload.
    pub nesting: usize,
}

impl ExpressionLimits {
    /// The widest that can be configured: which values a node reads must not depend on the
    /// configuration of whoever asks.
    pub const WIDEST: Self = Self {
        expression_bytes: MOST_EXPRESSION_BYTES,
        per_string: usize::MAX,
        field_bytes: usize::MAX,
        node_bytes: usize::MAX,
        nesting: MAX_NESTING,
    };
}

impl From<&LimitsConfig> for ExpressionLimits {
    /// Nesting stays what all user JSON is held to: its readers and writers recurse.
    fn from(limits: &LimitsConfig) -> Self {
        Self {
            expression_bytes: limits.expression_bytes,
            per_string: limits.expressions_per_string,
            field_bytes: limits.field_bytes,
            node_bytes: limits.node_bytes,
            nesting: MAX_NESTING,
        }
    }
}

impl Default for ExpressionLimits {
    fn default() -> Self {
        Self::from(&LimitsConfig::default())
    }
}

/// The bytes of `value` as compact JSON; none when there are more than `limit`, without going
/// over the rest.
pub(in crate::workflow) fn json_bytes(value: &Value, limit: usize) -> Option<usize> {
    let mut counter = Counter { left: limit };
    serde_json::to_writer(&mut counter, value).ok()?;
    Some(limit - counter.left)
}

/// Counts what is written and keeps nothing.
struct Counter {
    left: usize,
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len())
            .ok_or_else(|| io::Error::other("over the limit"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
