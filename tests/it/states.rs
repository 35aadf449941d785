//! Golden stored states: what an earlier version left behind is resumed by this one.
//!
//! Each file of `tests/fixtures/states` is a whole ledger as its version wrote it, killed in the
//! middle of things. A schema with a new number adds a file and keeps the old ones: see `make.py`
//! there.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, target::Target};

/// What the nodes of the files call.
const ELSEWHERE: &str = "http://127.0.0.1:1/";

/// A ledger from a file, with the retries that find it on its feet again.
struct Found {
    app: TestApp,
    target: Target,
}

impl Found {
    async fn new(ledger: impl AsyncFnOnce(&str) -> Ledger, file: &str) -> Self {
        let target = Target::start().await;
        let sql = file.replace(ELSEWHERE, &target.url("/"));
        assert_ne!(sql, file, "it calls what we can hear");
        let ledger = ledger(&sql).await;
        ledger.store.migrate().await.unwrap();
        let app = TestApp::start(ledger).await;
        Self { app, target }
    }

    async fn retried(&self, run: &str) -> Value {
        self.app.ended(&self.app.retry(run).await).await
    }

    fn called(&self, prefix: &str) -> Vec<(String, String)> {
        let calls = self.target.calls().into_iter();
        let calls = calls.filter(|call| call.path.starts_with(prefix));
        calls.map(|call| (call.path, call.key.unwrap())).collect()
    }
}

fn calls(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(path, key): &(&str, &str)| ((*path).to_owned(), (*key).to_owned());
    expected.iter().map(owned).collect()
}

/// Every state that an earlier version left is brought to its end.
async fn all_are_resumed(ledger: impl AsyncFnOnce(&str) -> Ledger, file: &str) {
    let found = Found::new(ledger, file).await;

    let ended = found.retried("run_failed").await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let expected = calls(&[
        ("/plain/fail", "run_failed/second/1"),
        ("/plain/third", "run_failed/third/1"),
    ]);
    assert_eq!(found.called("/plain/"), expected);
    let third = &ended["executionState"]["third"];
    assert_eq!(
        third["input"]["body"], 7,
        "the variable that a reused node wrote"
    );

    let ended = found.retried("run_looped").await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let expected = calls(&[
        ("/looped/ok/fail", "run_looped/each[0].inner[1].one/1"),
        ("/looped/fail/ok", "run_looped/each[1].inner[0].one/1"),
        ("/looped/fail/fail", "run_looped/each[1].inner[1].one/1"),
        ("/looped/two/fail", "run_looped/each[1].two/1"),
        ("/looped/fail", "run_looped/after/1"),
    ]);
    assert_eq!(found.called("/looped/"), expected);

    let path = "/v1/runs/run_waiting/nodes/approve/resume";
    let answer = found.app.post(path, &json!({ "data": 1 })).await;
    assert_eq!(answer["action"], "resumed");
    assert_eq!(found.app.ended("run_waiting").await["status"], "success");
    assert_eq!(
        found.called("/waiting/"),
        calls(&[("/waiting/yes", "run_waiting/yes/1")])
    );

    let ended = found.app.ended("run_doubtful").await;
    assert_eq!(ended["status"], "success", "taken over");
    let expected = calls(&[
        ("/doubtful/hold", "run_doubtful/pay/1"),
        ("/doubtful/note", "run_doubtful/note/1"),
    ]);
    assert_eq!(found.called("/doubtful/"), expected);

    let again = found.app.retry("run_cancelled").await;
    let held = found
        .app
        .run_when(&again, |run| run["waitingFor"] == "delay")
        .await;
    assert_eq!(held["executionState"]["pause"]["status"], "scheduled");

    let retries = found.app.get("/v1/retries").await;
    let scheduled = retries["items"].as_array().unwrap().iter();
    let mut scheduled = scheduled.filter(|retry| retry["sourceRunId"] == "run_scheduled");
    let run = scheduled.next().unwrap()["runId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(found.app.ended(&run).await["status"], "success");
    let expected = calls(&[
        ("/scheduled/fail", "run_scheduled/pay/1"),
        ("/scheduled/note", "run_scheduled/note/1"),
    ]);
    assert_eq!(found.called("/scheduled/"), expected);
    found.app.stop().await;
}

macro_rules! states {
    ($($name:ident: $made:expr, $file:literal;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                all_are_resumed($made, include_str!(concat!("../fixtures/states/", $file))).await;
            }
        )+

        /// The files that are held.
        const FILES: &[&str] = &[$($file),+];
    };
}

states! {
    what_schema_0005_left_on_sqlite_is_resumed: Ledger::sqlite_of, "0005.sqlite.sql";
    what_schema_0005_left_on_postgres_is_resumed: Ledger::postgres_of, "0005.postgres.sql";
    what_schema_0006_left_on_sqlite_is_resumed: Ledger::sqlite_of, "0006.sqlite.sql";
    what_schema_0006_left_on_postgres_is_resumed: Ledger::postgres_of, "0006.postgres.sql";
}

#[test]
fn every_schema_before_this_one_has_left_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for engine in ["sqlite", "postgres"] {
        let migrations = fs::read_dir(root.join("migrations").join(engine)).unwrap();
        let newest = migrations.count();
        for schema in 5..newest {
            let file = format!("{schema:04}.{engine}.sql");
            assert!(FILES.contains(&file.as_str()), "{file}: see make.py");
        }
    }
}
