//! What happened in a world, for whoever has to find out why; and what happened in any of them.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;

/// What has to happen in some world, or the worlds are too tame to show anything.
const EXPECTED: [&str; 17] = [
    "a zombie",
    "a death in a step",
    "a take-over",
    "the last take-over",
    "a lease lost",
    "a creation too late",
    "a duplicate",
    "a pause",
    "a cancellation",
    "a request to cancel",
    "no answer",
    "the same answer",
    "success",
    "failure",
    "cancelled",
    "rejected",
    "delivery_limit",
];

/// The ids that the product chooses: random, in part.
static IDS: LazyLock<Regex> = LazyLock::new(|| Regex::new("(run|rty)_[0-9a-f]{32}").unwrap());

#[derive(Debug, Default)]
pub(super) struct Story {
    steps: Vec<String>,
    seen: BTreeMap<&'static str, usize>,
}

impl Story {
    pub(super) fn begin(&mut self) {
        self.steps.clear();
    }

    pub(super) fn tell(&mut self, what: String) {
        self.steps.push(what);
    }

    /// Something that has to happen now and then.
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// The steps of the world, its ids numbered as they come.
    pub(super) fn text(&self) -> String {
        let mut names = BTreeMap::new();
        let text = self.steps.join("\n  ");
        let text = IDS.replace_all(&text, |id: &regex::Captures| {
            let next = names.len() + 1;
            let number = *names.entry(id[0].to_owned()).or_insert(next);
            format!("{}_{number}", &id[1])
        });
        text.into_owned()
    }

    pub(super) fn check(&self) {
        let missing = |what: &&str| !self.seen.contains_key(what);
        let missing: Vec<_> = EXPECTED.into_iter().filter(missing).collect();
        assert!(
            missing.is_empty(),
            "never seen: {missing:?} in {:?}",
            self.seen
        );
    }
}
