//! The order in which nodes run, and who is below whom.
//!
//! Every walk keeps its own stack: a chain of ten thousand nodes must not end the process.

use super::{Definition, ancestors::Ancestors};

impl Definition {
    /// The nodes that `trigger` can reach, in the order in which they run, `trigger` first.
    ///
    /// Depth first with `children` in order; a node is entered when the last of its reachable
    /// parents has been walked. Parents that can't be reached count as settled. Linear in nodes
    /// and edges.
    #[must_use]
    pub fn order(&self, trigger: usize) -> Vec<usize> {
        let reachable = self.reachable(trigger);
        let is_reachable = |&&parent: &&usize| reachable[parent];
        let mut unsettled: Vec<usize> = self
            .nodes
            .iter()
            .map(|node| node.parents.iter().filter(is_reachable).count())
            .collect();
        let mut order = Vec::with_capacity(reachable.iter().filter(|&&r| r).count());
        let mut stack = vec![trigger];
        while let Some(position) = stack.pop() {
            order.push(position);
            // The first child goes on last, so that it is walked first.
            for &child in self.nodes[position].children.iter().rev() {
                unsettled[child] = unsettled[child].saturating_sub(1);
                if unsettled[child] == 0 {
                    stack.push(child);
                }
            }
        }
        order
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

    /// Whether the node at `above` is an ancestor of the one at `below`. The first call looks at
    /// the whole graph, the others at one bit.
    #[must_use]
    pub fn is_ancestor(&self, above: usize, below: usize) -> bool {
        self.ancestors
            .get_or_init(|| Ancestors::of(&self.nodes, &self.topological))
            .is_above(above, below)
    }
}
