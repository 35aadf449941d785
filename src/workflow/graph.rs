//! The order in which nodes run, and who is below whom.
//!
//! Every walk keeps its own stack: a chain of ten thousand nodes must not end the process.

use super::{Definition, ancestors::Ancestors, bodies::depth_first};

impl Definition {
    /// The nodes that `trigger` can reach, in the order in which they run, `trigger` first.
    ///
    /// Depth first with `children` in order; a node is entered when the last of its reachable
    /// parents has been walked. Parents that can't be reached count as settled. Linear in nodes
    /// and edges.
    #[must_use]
    pub fn order(&self, trigger: usize) -> Vec<usize> {
        let reachable = self.reachable(trigger);
        depth_first(&self.nodes, vec![trigger], |parent| reachable[parent])
    }

    /// For each node, whether `trigger` can reach it; a trigger reaches itself.
    #[must_use]
    pub fn reachable(&self, trigger: usize) -> Vec<bool> {
        let mut reached = self.descendants(trigger);
        reached[trigger] = true;
        reached
    }

    /// For each node, whether it is below the node at `position`, which is not below itself.
    #[must_use]
    pub fn descendants(&self, position: usize) -> Vec<bool> {
        let mut below = vec![false; self.nodes.len()];
        let mut stack = vec![position];
        while let Some(next) = stack.pop() {
            for &child in &self.nodes[next].children {
                if !std::mem::replace(&mut below[child], true) {
                    stack.push(child);
                }
            }
        }
        below
    }

    /// Whether the node at `above` is an ancestor of the one at `below`: what is above a loop, and
    /// the loop itself, is above its body; its body is above nothing outside. The first call looks at
    /// the whole graph, the others at one bit.
    #[must_use]
    pub fn is_ancestor(&self, above: usize, below: usize) -> bool {
        self.ancestors
            .get_or_init(|| {
                let around = |position| self.loop_around(position);
                Ancestors::of(&self.nodes, &self.topological, around)
            })
            .is_above(above, below)
    }
}
