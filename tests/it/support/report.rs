//! What a row of the chaos suite did and found, for whoever runs all of them: a line of JSON in the
//! file that `REDRIVE_CHAOS_REPORT` names. Without one it is only printed.

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// One row under way. Dropped by a panic, it is reported as failed.
pub(crate) struct Report {
    row: &'static str,
    seed: u64,
    scale: String,
    began: Instant,
    facts: Value,
    is_filed: bool,
}

impl Report {
    pub(crate) fn new(row: &'static str, seed: u64, scale: impl Into<String>) -> Self {
        let scale = scale.into();
        // Shown when the test fails.
        println!("{row}: seed {seed}, {scale}");
        Self {
            row,
            seed,
            scale,
            began: Instant::now(),
            facts: json!({}),
            is_filed: false,
        }
    }

    /// When the row began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// A column of the report.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts[name] = value.into();
    }

    pub(crate) fn settled(&mut self, after: Duration) {
        self.fact(
            "settledSeconds",
            (after.as_secs_f64() * 10.0).round() / 10.0,
        );
    }

    /// All of it holds, or not.
    pub(crate) fn file(mut self, passed: bool) {
        self.write(passed);
    }

    fn write(&mut self, passed: bool) {
        self.is_filed = true;
        let mut line = json!({
            "row": self.row,
            "seed": self.seed,
            "scale": self.scale,
            "seconds": self.began.elapsed().as_secs(),
            "passed": passed,
        });
        for (name, value) in self.facts.as_object().into_iter().flatten() {
            line[name] = value.clone();
        }
        println!("{line}");
        let Some(file) = named() else { return };
        let file = OpenOptions::new().create(true).append(true).open(file);
        writeln!(file.unwrap(), "{line}").unwrap();
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.is_filed {
            self.write(false);
        }
    }
}

/// Where the report goes, as whoever runs the rows says.
fn named() -> Option<PathBuf> {
    std::env::var_os("REDRIVE_CHAOS_REPORT").map(PathBuf::from)
}
