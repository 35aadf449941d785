//! What a run knows of its nodes, by where they stand: one frame for the nodes outside all loops,
//! and one for each iteration of each loop.

use std::collections::{BTreeMap, HashMap};

use super::Definition;
use crate::domain::{NodePath, PathSegment};

/// The frame of the nodes outside all loops.
pub const TOP: usize = 0;

/// A node in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// The frame.
    pub frame: usize,
    /// The node's position in the definition.
    pub node: usize,
}

/// One execution of a body.
#[derive(Debug)]
struct Frame<T> {
    body: usize,
    /// The loop that it is an iteration of, and which one.
    around: Option<(At, u32)>,
    /// By place among the body's members.
    slots: Vec<Option<T>>,
    /// The frames of the iterations of the loops in it.
    iterations: HashMap<usize, BTreeMap<u32, usize>>,
}

/// Something for each node of a run, in a tree of frames. Frames are numbered in the order in
/// which they were made.
#[derive(Debug)]
pub struct Frames<T>(Vec<Frame<T>>);

impl<T> Frames<T> {
    /// Frames that hold nothing: the one outside all loops.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let mut frames = Self(Vec::new());
        frames.push(definition, 0, None);
        frames
    }

    fn push(&mut self, definition: &Definition, body: usize, around: Option<(At, u32)>) -> usize {
        let mut slots = Vec::new();
        slots.resize_with(definition.body(body).members.len(), || None);
        self.0.push(Frame {
            body,
            around,
            slots,
            iterations: HashMap::new(),
        });
        self.0.len() - 1
    }

    /// How many frames there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The body that a frame executes.
    #[must_use]
    pub fn body(&self, frame: usize) -> usize {
        self.0[frame].body
    }

    /// The loop that a frame is an iteration of, and which one.
    #[must_use]
    pub fn around(&self, frame: usize) -> Option<(At, u32)> {
        self.0[frame].around
    }

    /// Whether a frame is an iteration of the loop at `at`, or inside one.
    #[must_use]
    pub fn is_inside(&self, frame: usize, at: At) -> bool {
        self.0[frame]
            .around
            .is_some_and(|(around, _)| around == at || self.is_inside(around.frame, at))
    }

    /// What is held for a node.
    #[must_use]
    pub fn get(&self, definition: &Definition, at: At) -> Option<&T> {
        self.0[at.frame].slots[definition.node(at.node).place].as_ref()
    }

    /// Holds something for a node; what was held before.
    pub fn put(&mut self, definition: &Definition, at: At, value: T) -> Option<T> {
        self.0[at.frame].slots[definition.node(at.node).place].replace(value)
    }

    /// The frame of an iteration, if there is one.
    #[must_use]
    pub fn iteration(&self, at: At, number: u32) -> Option<usize> {
        let iterations = self.0[at.frame].iterations.get(&at.node)?;
        iterations.get(&number).copied()
    }

    /// The frames of a loop's iterations, by number.
    pub fn iterations(&self, at: At) -> impl Iterator<Item = (u32, usize)> + use<'_, T> {
        let iterations = self.0[at.frame].iterations.get(&at.node);
        let pairs = iterations.into_iter().flatten();
        pairs.map(|(number, frame)| (*number, *frame))
    }

    /// The frame of an iteration of the loop at `at`, made if there is none; none if the node has
    /// no body.
    pub fn enter(&mut self, definition: &Definition, at: At, number: u32) -> Option<usize> {
        if let Some(frame) = self.iteration(at, number) {
            return Some(frame);
        }
        let body = definition.node(at.node).loop_body?;
        let frame = self.push(definition, body, Some((at, number)));
        let iterations = &mut self.0[at.frame].iterations;
        iterations.entry(at.node).or_default().insert(number, frame);
        Some(frame)
    }

    /// The node at a path, if its frame is there.
    #[must_use]
    pub fn find(&self, definition: &Definition, path: &NodePath) -> Option<At> {
        let mut frame = TOP;
        let mut found = None;
        for segment in path.segments() {
            let at = self.node(definition, frame, segment)?;
            if let Some(number) = segment.iteration {
                frame = self.iteration(at, number)?;
            }
            found = Some(at);
        }
        found
    }

    /// The node at a path, with the frames that lead there; none if the definition has no such
    /// place.
    pub fn locate(&mut self, definition: &Definition, path: &NodePath) -> Option<At> {
        let mut frame = TOP;
        let mut found = None;
        for segment in path.segments() {
            let at = self.node(definition, frame, segment)?;
            if let Some(number) = segment.iteration {
                frame = self.enter(definition, at, number)?;
            }
            found = Some(at);
        }
        found
    }

    fn node(&self, definition: &Definition, frame: usize, segment: &PathSegment) -> Option<At> {
        let node = definition.find(segment.node.as_str())?;
        (definition.node(node).body == self.0[frame].body).then_some(At { frame, node })
    }

    /// The path of a node.
    #[must_use]
    pub fn path(&self, definition: &Definition, at: At) -> NodePath {
        let path = NodePath::of(definition.node(at.node).id.clone());
        match self.0[at.frame].around {
            None => path,
            Some((around, number)) => self.path(definition, around).enter(number, path),
        }
    }

    /// Everything that is held, frame by frame.
    pub fn all<'a>(&'a self, definition: &'a Definition) -> impl Iterator<Item = (At, &'a T)> {
        self.0.iter().enumerate().flat_map(|(number, frame)| {
            let members = &definition.body(frame.body).members;
            let held = members.iter().zip(&frame.slots);
            held.filter_map(move |(node, slot)| {
                let at = At {
                    frame: number,
                    node: *node,
                };
                Some((at, slot.as_ref()?))
            })
        })
    }

    /// The place of the node at `position` as a node in `frame` sees it: in its own frame, or in
    /// one around it.
    #[must_use]
    pub fn visible(&self, definition: &Definition, frame: usize, position: usize) -> Option<At> {
        let body = definition.node(position).body;
        let mut frame = frame;
        while self.0[frame].body != body {
            frame = self.0[frame].around?.0.frame;
        }
        Some(At {
            frame,
            node: position,
        })
    }
}
