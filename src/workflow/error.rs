//! Why a definition is refused.

use std::fmt;

/// A definition that can't be used: where the fault is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    /// The node at fault, when it is one node's fault.
    pub node: Option<String>,
    /// The member at fault, dotted: `payload.headers.X-Id`, `children.0`.
    pub field: Option<String>,
    /// What is wrong and what to do, without node and field.
    pub message: String,
}

impl DefinitionError {
    /// A fault of the definition as a whole.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            node: None,
            field: None,
            message: cut(message.into(), 2_000),
        }
    }

    /// Names the node at fault.
    #[must_use]
    pub fn at_node(mut self, id: impl Into<String>) -> Self {
        self.node = Some(cut(id.into(), 128));
        self
    }

    /// Names the member at fault.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(cut(field.into(), 512));
        self
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "node `{node}`: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "`{field}`: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DefinitionError {}

/// Ids, keys and names are other people's text: an error must stay readable. `most` is in
/// characters.
fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
