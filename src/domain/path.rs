//! The path of a node within a run: `pay`, or `loop[3].pay` inside iteration 3 of `loop`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::NodeId;

/// One step of a path: a node and, when the path goes on into a loop, the iteration (from 0).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathSegment {
    /// The node.
    pub node: NodeId,
    /// The iteration of that node that the next segment lives in.
    pub iteration: Option<u32>,
}

/// Where a node stands: its id, and the loop iterations around it.
///
/// An id holding `.`, `[`, `]` or `"` is written `["a.b"]`, as a JSON string in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodePath(Vec<PathSegment>);

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a node path (`pay`, `loop[3].pay`, `[\"a.b\"]`): {0:?}")]
pub struct InvalidPath(pub String);

impl NodePath {
    /// Whether this is the node at `other`, or one inside it, in whichever of its iterations.
    #[must_use]
    pub fn is_at_or_in(&self, other: &Self) -> bool {
        let (own, outer) = (self.segments(), other.segments());
        let last = outer.len().saturating_sub(1);
        let mut pairs = own.iter().zip(outer).enumerate();
        own.len() >= outer.len()
            && pairs.all(|(place, (one, other))| {
                one.node == other.node && (place == last || one.iteration == other.iteration)
            })
    }

    /// The path of a node outside any loop.
    #[must_use]
    pub fn of(node: NodeId) -> Self {
        Self(vec![PathSegment {
            node,
            iteration: None,
        }])
    }

    /// The path of `inner` within an iteration of the loop at `self`.
    #[must_use]
    pub fn enter(mut self, iteration: u32, inner: Self) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.iteration = Some(iteration);
        }
        self.0.extend(inner.0);
        self
    }

    /// The node that the path leads to.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.0[self.0.len() - 1].node
    }

    /// The segments from the outside in; at least one.
    #[must_use]
    pub fn segments(&self) -> &[PathSegment] {
        &self.0
    }
}

fn is_plain(id: &str) -> bool {
    !id.contains(['.', '[', ']', '"'])
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            let id = segment.node.as_str();
            if is_plain(id) {
                let dot = if position == 0 { "" } else { "." };
                write!(f, "{dot}{id}")?;
            } else {
                let quoted = serde_json::to_string(id).map_err(|_| fmt::Error)?;
                write!(f, "[{quoted}]")?;
            }
            if let Some(iteration) = segment.iteration {
                write!(f, "[{iteration}]")?;
            }
        }
        Ok(())
    }
}

impl FromStr for NodePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(text.chars().take(200).collect());
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            let (id, after) = read_id(rest, segments.is_empty()).ok_or_else(invalid)?;
            let node = NodeId::try_from(id).map_err(|_| invalid())?;
            let (iteration, after) = read_iteration(after);
            segments.push(PathSegment { node, iteration });
            if after.is_empty() {
                break;
            }
            rest = after;
        }
        // Only the segments above the last one are loops.
        let last_is_node = segments.last().is_some_and(|s| s.iteration.is_none());
        let above_are_loops = segments
            .iter()
            .rev()
            .skip(1)
            .all(|segment| segment.iteration.is_some());
        (last_is_node && above_are_loops)
            .then_some(Self(segments))
            .ok_or_else(invalid)
    }
}

fn read_id(text: &str, first: bool) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('[') {
        let mut strings = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
        let id = strings.next()?.ok()?;
        let after = quoted.get(strings.byte_offset()..)?.strip_prefix(']')?;
        return Some((id, after));
    }
    let plain = if first { text } else { text.strip_prefix('.')? };
    let end = plain.find(['.', '[', ']', '"']).unwrap_or(plain.len());
    (end > 0).then(|| (plain[..end].to_owned(), &plain[end..]))
}

fn read_iteration(text: &str) -> (Option<u32>, &str) {
    let read = || {
        let (digits, after) = text.strip_prefix('[')?.split_once(']')?;
        let plain = digits == "0" || !digits.starts_with(['0', '+']);
        plain
            .then(|| digits.parse().ok())
            .flatten()
            .map(|n| (n, after))
    };
    read().map_or((None, text), |(n, after)| (Some(n), after))
}

impl TryFrom<String> for NodePath {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<Self, InvalidPath> {
        text.parse()
    }
}

impl From<NodePath> for String {
    fn from(path: NodePath) -> Self {
        path.to_string()
    }
}

impl From<NodeId> for NodePath {
    fn from(node: NodeId) -> Self {
        Self::of(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_read_as_they_are_written() {
        for text in [
            "pay",
            "loop[3].pay",
            "a[0].b[12].c",
            r#"["a.b"]"#,
            r#"x[0]["a\"b"]"#,
        ] {
            assert_eq!(text.parse::<NodePath>().unwrap().to_string(), text);
        }
        for text in [
            "", ".pay", "pay.", "a.b", "loop[3]", "a[01].b", "[pay]", "a[+1].b",
        ] {
            assert!(text.parse::<NodePath>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn print_then_parse_is_identity(ids in prop::collection::vec(("[ -~]{1,6}", 0u32..200), 1..4)) {
            let last = ids.len() - 1;
            let segments: Option<Vec<_>> = ids.iter().enumerate().map(|(i, (id, n))| {
                Some(PathSegment { node: id.parse().ok()?, iteration: (i < last).then_some(*n) })
            }).collect();
            if let Some(segments) = segments {
                let path = NodePath(segments);
                prop_assert_eq!(path.to_string().parse::<NodePath>().unwrap(), path);
            }
        }
    }
}
