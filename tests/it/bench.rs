//! `redrive bench`: every workload is measured, and held to what it should have done.

use serde_json::Value;

use crate::cli::{output, redrive};

async fn bench(workload: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut command = redrive(folder.path());
    command.args(["bench", "--workload", workload, "--json"]);
    command.args(["--retries", "12", "--alone", "3", "--submitters", "4"]);
    command.args(["--backlog", "5"]);
    let (ended, text) = output(&mut command).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{workload}: {said}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn every_workload_is_measured() {
    for (workload, calls) in [
        ("w1", 0),
        ("W1e", 5),
        ("w2", 0),
        ("w3", 1),
        ("w4", 0),
        ("w5", 0),
    ] {
        let report = bench(workload).await;
        assert_eq!(
            report["workload"].as_str().unwrap().to_lowercase(),
            workload.to_lowercase()
        );
        assert_eq!(report["retries"], 12);
        assert!(
            report["retriesPerSecond"].as_f64().unwrap() > 0.0,
            "{report}"
        );
        for latencies in ["latencyMs", "oneAtATimeMs"] {
            let at = |name: &str| report[latencies][name].as_f64().unwrap();
            assert!(0.0 < at("p50") && at("p50") <= at("p99"), "{report}");
        }
        assert!(report["processes"][0]["peakRssMiB"].as_u64().unwrap() > 0);
        // Each effect once, those of the backlog and of single retries among them.
        let made = report["calls"]["all"].as_u64().unwrap_or(0);
        assert!(made >= calls * 15 && made <= calls * 20, "{report}");
    }
}

#[tokio::test]
async fn a_bench_of_nobody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = redrive(folder.path());
    command.args([
        "bench",
        "--url",
        "http://127.0.0.1:1",
        "--token",
        "rdv_none",
    ]);
    let (ended, text) = output(&mut command).await;
    assert_eq!((ended.status.code(), text.as_str()), (Some(1), ""));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("can't be imported"), "{said}");
}
