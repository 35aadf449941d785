//! The figures, as a table and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::{load::Measured, processes::Usage, workload::Workload};
use crate::cli::table::table;

/// What one bench gave.
pub(super) struct Report {
    pub(super) workload: Workload,
    pub(super) submitters: usize,
    pub(super) backlog: usize,
    /// One after the other.
    pub(super) alone: Measured,
    /// As many at a time as there are submitters.
    pub(super) together: Measured,
    /// What the processes used while `together` was measured.
    pub(super) usage: Vec<Usage>,
    /// Calls of the service and different keys among them, if the workload has effects.
    pub(super) calls: Option<(usize, usize)>,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The latency that this share of all is not above, by the nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

impl Measured {
    fn count(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX))
    }

    fn per_second(&self) -> f64 {
        self.count() / self.took.as_secs_f64()
    }

    /// p50, p90, p99 and the longest, in milliseconds.
    fn quantiles(&self) -> [f64; 4] {
        [50, 90, 99, 100].map(|percent| millis(percentile(&self.latencies, percent)))
    }

    fn json(&self) -> Value {
        let [p50, p90, p99, max] = self.quantiles().map(rounded);
        json!({ "p50": p50, "p90": p90, "p99": p99, "max": max })
    }

    fn row(&self, name: String) -> [String; 7] {
        let [p50, p90, p99, max] = self.quantiles().map(|ms| format!("{ms:.1}"));
        let per_second = format!("{:.0}", self.per_second());
        [
            name,
            self.latencies.len().to_string(),
            per_second,
            p50,
            p90,
            p99,
            max,
        ]
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

impl Report {
    pub(super) fn json(&self) -> Value {
        let retries = self.together.count();
        let processes = self.usage.iter().map(|usage| {
            json!({
                "name": usage.name,
                "coreMsPerRetry": rounded(usage.core_ms / retries),
                "peakRssMiB": usage.peak_kib / 1024,
            })
        });
        json!({
            "workload": self.workload.name(),
            "retries": self.together.latencies.len(),
            "submitters": self.submitters,
            "backlog": self.backlog,
            "retriesPerSecond": rounded(self.together.per_second()),
            "latencyMs": self.together.json(),
            "oneAtATimeMs": self.alone.json(),
            "processes": processes.collect::<Vec<_>>(),
            "calls": self.calls.map(|(all, keys)| json!({ "all": all, "differentKeys": keys })),
        })
    }

    pub(super) fn text(&self) -> String {
        let titles = [
            "",
            "RETRIES",
            "RETRIES/S",
            "P50 MS",
            "P90 MS",
            "P99 MS",
            "MAX MS",
        ];
        let rows = [
            self.alone.row("one at a time".to_owned()),
            self.together.row(format!("{} at a time", self.submitters)),
        ];
        let mut text = format!("{}\n\n{}", self.title(), table(titles, &rows));
        if !self.usage.is_empty() {
            let rows: Vec<_> = self
                .usage
                .iter()
                .map(|usage| self.usage_row(usage))
                .collect();
            let titles = ["PROCESS", "CORE-MS A RETRY", "PEAK RSS MIB"];
            text.push_str("\n\n");
            text.push_str(&table(titles, &rows));
        }
        text.push_str("\n\nEvery run ended in success and executed what had to be executed.");
        if let Some((all, keys)) = self.calls {
            let calls = format!("\n{all} calls of the service, {keys} different keys.");
            text.push_str(&calls);
        }
        text
    }

    fn title(&self) -> String {
        let name = self.workload.name();
        match self.backlog {
            0 => name.to_owned(),
            backlog => format!("{name}, {backlog} retries queued in the lane bulk"),
        }
    }

    fn usage_row(&self, usage: &Usage) -> [String; 3] {
        [
            usage.name.clone(),
            format!("{:.2}", usage.core_ms / self.together.count()),
            (usage.peak_kib / 1024).to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&sorted, percent).as_millis();
        assert_eq!([at(50), at(90), at(99), at(100)], [100, 180, 198, 200]);
        assert_eq!(percentile(&sorted[..1], 50).as_millis(), 1);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
