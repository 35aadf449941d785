//! Which edges carry the run onward.

use crate::domain::NodeStatus;

/// The kinds that choose between branches, and the branches that they have.
const BRANCHING: &[(&str, &[&str])] = &[
    ("if", &["then", "else"]),
    ("wait", &["resumed", "timed_out"]),
];

/// The branches of a kind that chooses between some; none for all other kinds.
#[must_use]
pub fn branches_of(kind: &str) -> Option<&'static [&'static str]> {
    BRANCHING
        .iter()
        .find(|(branching, _)| *branching == kind)
        .map(|(_, branches)| *branches)
}

/// Whether the edge from a settled parent to a child is live. A node runs once all its parents
/// are settled and at least one edge to it is live; else it is skipped.
///
/// `taken` is the branch that the parent took and `child_branch` the child's own. A branching
/// parent that failed (and was tolerated) took none, whatever an old record says. A child without
/// a branch follows its parent whichever branch was taken.
#[must_use]
pub fn edge_is_live(
    parent_kind: &str,
    parent_status: NodeStatus,
    taken: Option<&str>,
    child_branch: Option<&str>,
) -> bool {
    if parent_status == NodeStatus::Skipped {
        return false;
    }
    match (branches_of(parent_kind), child_branch) {
        (Some(_), Some(branch)) => parent_status != NodeStatus::Failure && taken == Some(branch),
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_live_unless_skipped_or_on_the_other_branch() {
        use NodeStatus as S;
        let (yes, no) = (Some("then"), Some("else"));
        let table = [
            ("log", S::Success, None, None, true),
            ("log", S::Skipped, None, None, false),
            // A failed parent that was tolerated.
            ("log", S::Failure, None, None, true),
            // A branch below something that does not branch says nothing.
            ("log", S::Success, None, yes, true),
            ("if", S::Success, yes, yes, true),
            ("if", S::Success, yes, no, false),
            ("if", S::Success, yes, None, true),
            ("if", S::Success, None, yes, false),
            ("if", S::Failure, None, yes, false),
            ("if", S::Failure, yes, yes, false),
            ("if", S::Failure, None, None, true),
            ("if", S::Skipped, yes, None, false),
            ("wait", S::Success, Some("resumed"), Some("resumed"), true),
            (
                "wait",
                S::Success,
                Some("resumed"),
                Some("timed_out"),
                false,
            ),
        ];
        for (kind, status, taken, branch, live) in table {
            assert_eq!(
                edge_is_live(kind, status, taken, branch),
                live,
                "{kind} {status:?} {taken:?} {branch:?}"
            );
        }
    }
}
