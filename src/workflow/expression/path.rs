//! What an expression points at: a head and the way on from there.

use std::fmt;

/// The value of a loop that `$for.<nodeId>` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoopValue {
    /// The element of this iteration.
    Item,
    /// The number of this iteration, from 0.
    Index,
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Head {
    /// `nodeId`: a node's record.
    Node(String),
    /// `$nodes.nodeId`, which takes any id: a node's record.
    Nodes(String),
    /// `root`: the record of the trigger that fired.
    Root,
    /// `$trigger`: the result of the trigger that fired.
    Trigger,
    /// `$vars`: the variables.
    Vars,
    /// `$props`: the run's `propValues`.
    Props,
    /// `$inputs`: the inputs of the block that a node was expanded from.
    Inputs,
    /// `$item`: the element of the innermost loop's iteration.
    Item,
    /// `$index`: the number of the innermost loop's iteration.
    Index,
    /// `$parent_item`: `$item` of the loop around the innermost one.
    ParentItem,
    /// `$parent_index`: `$index` of the loop around the innermost one.
    ParentIndex,
    /// `$for.<nodeId>.item` or `.index`.
    For {
        /// The loop.
        node: String,
        /// Which of its two values.
        value: LoopValue,
    },
    /// `$workflowId` or `$workflow.id`.
    WorkflowId,
    /// `$run.id`.
    RunId,
}

impl Head {
    /// The node whose record is read, when the path names one.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Node(id) | Self::Nodes(id) => Some(id),
            Self::Root
            | Self::Trigger
            | Self::Vars
            | Self::Props
            | Self::Inputs
            | Self::Item
            | Self::Index
            | Self::ParentItem
            | Self::ParentIndex
            | Self::For { .. }
            | Self::WorkflowId
            | Self::RunId => None,
        }
    }

    /// Whether it has a value only inside a loop.
    #[must_use]
    pub fn needs_loop(&self) -> bool {
        matches!(
            self,
            Self::Item | Self::Index | Self::ParentItem | Self::ParentIndex | Self::For { .. }
        )
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// `.name` or `["any key"]`: a member of an object.
    Key(String),
    /// `.0` or `[0]`: an element of an array, or the member of an object with that name.
    Index(usize),
}

/// A head and the steps from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Where it begins.
    pub head: Head,
    /// The steps, possibly none.
    pub segments: Vec<Segment>,
}

/// Whether names may hold this character without brackets.
pub(super) fn is_name_char(c: char) -> bool {
    match c {
        '-' | '_' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => !c.is_whitespace() && !c.is_control(),
    }
}

/// The segment that a name stands for: digits without leading zeros are an index.
pub(super) fn segment_of(name: &str) -> Segment {
    let plain = name == "0" || !name.starts_with('0');
    let digits = name.bytes().all(|b| b.is_ascii_digit());
    match name.parse() {
        Ok(index) if plain && digits => Segment::Index(index),
        _ => Segment::Key(name.to_owned()),
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(key) => write_key(f, key),
        }
    }
}

fn write_key(f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
    let is_plain = !key.is_empty() && key.chars().all(is_name_char);
    if is_plain && matches!(segment_of(key), Segment::Key(_)) {
        return write!(f, ".{key}");
    }
    let quoted = serde_json::to_string(key).map_err(|_| fmt::Error)?;
    write!(f, "[{quoted}]")
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Node(id) => id,
            Self::Nodes(id) => {
                f.write_str("$nodes")?;
                return write_key(f, id);
            }
            Self::For { node, value } => {
                f.write_str("$for")?;
                write_key(f, node)?;
                return f.write_str(match value {
                    LoopValue::Item => ".item",
                    LoopValue::Index => ".index",
                });
            }
            Self::Root => "root",
            Self::Trigger => "$trigger",
            Self::Vars => "$vars",
            Self::Props => "$props",
            Self::Inputs => "$inputs",
            Self::Item => "$item",
            Self::Index => "$index",
            Self::ParentItem => "$parent_item",
            Self::ParentIndex => "$parent_index",
            Self::WorkflowId => "$workflowId",
            Self::RunId => "$run.id",
        };
        f.write_str(word)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        self.segments.iter().try_for_each(|s| write!(f, "{s}"))
    }
}
