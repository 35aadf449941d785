//! Who is above whom, for every pair of nodes.

use super::Node;

const BITS: usize = usize::BITS as usize;

/// One bit per pair: for the largest definition 12.5 MB, for a common one a few words.
#[derive(Debug)]
pub(super) struct Ancestors {
    words_per_node: usize,
    words: Vec<usize>,
}

impl Ancestors {
    /// Works down from the triggers: what is above a node is its parents and what is above them.
    pub(super) fn of(
        nodes: &[Node],
        topological: &[usize],
        loop_around: impl Fn(usize) -> Option<usize>,
    ) -> Self {
        let words_per_node = nodes.len().div_ceil(BITS);
        let mut words = vec![0_usize; words_per_node * nodes.len()];
        for &below in topological {
            let row = below * words_per_node;
            let parents = nodes[below].parents.iter().copied();
            for parent in parents.chain(loop_around(below)) {
                let parent_row = parent * words_per_node;
                for word in 0..words_per_node {
                    words[row + word] |= words[parent_row + word];
                }
                words[row + parent / BITS] |= 1 << (parent % BITS);
            }
        }
        Self {
            words_per_node,
            words,
        }
    }

    pub(super) fn is_above(&self, above: usize, below: usize) -> bool {
        self.words[below * self.words_per_node + above / BITS] >> (above % BITS) & 1 == 1
    }
}
