//! The points at which a process can be told to die, and the bugs that can be planted in it, as the
//! source names them.

use std::{collections::BTreeSet, fs, panic::AssertUnwindSafe, path::Path, time::Instant};

use futures_util::{FutureExt, StreamExt, stream};

/// How many rows are under way at once: they wait more than they work.
const AT_ONCE: usize = 6;

/// A death that is arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) point: String,
    pub(crate) pass: u32,
}

impl Death {
    pub(crate) fn at(point: &str, pass: u32) -> Self {
        Self {
            point: point.to_owned(),
            pass,
        }
    }

    /// What tells a process.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        ("REDRIVE_FAULT", format!("{}:{}", self.point, self.pass))
    }
}

/// Every point, at its first and at a later pass.
pub(crate) fn deaths() -> Vec<Death> {
    let points = named("point");
    assert!(points.len() > 15, "{points:?}");
    let twice = points
        .iter()
        .flat_map(|point| [1, 2].map(|pass| Death::at(point, pass)));
    twice.collect()
}

/// Runs a row for each of these deaths; panics with everything that went wrong in any of them.
pub(crate) async fn rows(deaths: Vec<Death>, row: impl AsyncFn(Death)) {
    let count = deaths.len();
    let row = &row;
    let running = deaths.into_iter().map(|death| async move {
        let began = Instant::now();
        let ended = outcome(row(death.clone())).await;
        println!("{death:?}: {:?}", began.elapsed());
        (death, ended)
    });
    let ended: Vec<_> = stream::iter(running)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert_eq!(ended.len(), count);
    let failed: Vec<_> = ended
        .into_iter()
        .filter_map(|(death, outcome)| Some(format!("{death:?}: {}", outcome.err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// What a row panics with, if it does.
pub(crate) async fn outcome(row: impl Future<Output = ()>) -> Result<(), String> {
    let Err(panic) = AssertUnwindSafe(row).catch_unwind().await else {
        return Ok(());
    };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Err(text.unwrap_or_else(|| "a panic without words".to_owned()))
}

/// Holds the auditor to finding what a planted bug breaks: one of these is what it says.
pub(crate) fn assert_caught(outcome: Result<(), String>, expected: &[&str]) {
    let said = outcome.expect_err("a planted bug that nobody noticed");
    let first = said.lines().next().unwrap_or_default();
    println!("caught: {first:.300}");
    assert!(expected.iter().any(|part| said.contains(part)), "{said}");
}

/// The texts that a function of `src/faults.rs` is called with.
fn named(function: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read(&src, &mut |text| {
        for call in text.split(&format!("faults::{function}(")).skip(1) {
            let name = call.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            let (name, _) = name.unwrap_or_else(|| panic!("{function} without a plain name"));
            found.insert(name.to_owned());
        }
    });
    found
}

fn read(folder: &Path, each: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, each);
        } else {
            each(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_planted_bug_has_a_row() {
    let rows = [
        include_str!("../chaos/bugs.rs"),
        include_str!("../pool/bugs.rs"),
    ]
    .concat();
    let bugs = named("planted");
    assert_eq!(bugs.len(), 8, "{bugs:?}");
    for bug in bugs {
        assert!(
            rows.contains(&format!("\"{bug}\"")),
            "nobody looks for {bug}"
        );
    }
}
