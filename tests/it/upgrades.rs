//! Two versions side by side: while one replaces the other, both work on one database and read each
//! other's messages.

use std::{fs, path::Path};

use serde_json::json;

use redrive::{
    app::{App, Role, Roles},
    domain::Lane,
};

use crate::support::{
    app::{TestApp, configured, process},
    broker::{Place, until},
    ledger::Ledger,
    on_both_engines,
    target::Target,
};

on_both_engines![
    a_version_goes_on_when_a_later_one_has_changed_the_schema,
    a_version_that_would_do_damage_says_so_and_does_not_start,
];

/// What a later version leaves in the list of migrations.
const LATER: &str = "
    insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
    select 9999, 'of a later version', installed_on, success, checksum, execution_time
      from _sqlx_migrations
     where version = 1";

async fn a_version_goes_on_when_a_later_one_has_changed_the_schema(ledger: Ledger) {
    let target = Target::start().await;
    ledger.execute(LATER).await;
    ledger.store.migrate().await.unwrap();
    assert_eq!(ledger.store.missing_migrations().await.unwrap(), 0);
    let app = TestApp::start(ledger).await;
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["call"] },
        "call": { "type": "http-request", "payload": { "url": target.url("/work"), "method": "POST" } }
    }});
    let run = app.start_run(&definition, &json!({})).await;
    assert_eq!(app.ended(&run).await["status"], "success");
    app.stop().await.remove().await;
}

async fn a_version_that_would_do_damage_says_so_and_does_not_start(ledger: Ledger) {
    let contract = "update compatibility set oldest_schema = 9999";
    ledger.execute(contract).await;
    let app = App::new(configured(&ledger.url, |_| {}));
    let started = app.roles(Roles::of(&Role::ALL)).start().await;
    let Err(error) = started else {
        panic!("it started");
    };
    let text = format!("{error:#}");
    assert!(text.contains("migration 9999"), "{text}");
    assert!(text.contains("run a newer version"), "{text}");
    ledger.remove().await;
}

/// A program of the version before goes on while the schema is already this one's, so a migration
/// takes nothing away without saying which programs that ends.
#[test]
fn migrations_only_add_or_say_whom_they_leave_behind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for engine in ["sqlite", "postgres"] {
        for file in fs::read_dir(root.join(engine)).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            if name.as_str() < "0007" {
                continue;
            }
            let sql = fs::read_to_string(file.path()).unwrap();
            assert_eq!(contracts(&sql), says_whom(&sql), "{engine}/{name}");
        }
    }
    assert!(contracts("alter table runs drop column plan"));
    assert!(contracts("ALTER TABLE runs RENAME TO walks"));
    assert!(contracts("alter table runs alter column plan type bytea"));
    assert!(contracts("alter table runs add constraint a check (true)"));
    assert!(contracts("create unique index a on runs (plan)"));
    assert!(!contracts(
        "-- to drop or rename\ncreate index a on runs (plan)"
    ));
    assert!(contracts("alter table runs add column a text not null"));
    assert!(!contracts(
        "alter table runs add column a text not null default ''"
    ));
    assert!(!contracts("create table a (b text not null)"));
}

fn says_whom(sql: &str) -> bool {
    sql.contains("update compatibility set oldest_schema")
}

/// Whether statements take something away from who does not know of them. An index is nobody's.
fn contracts(sql: &str) -> bool {
    let lines = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let sql = lines.collect::<Vec<_>>().join("\n").to_lowercase();
    sql.split(';').any(|statement| {
        let words: Vec<_> = statement.split_whitespace().collect();
        let has = |phrase: &[&str]| words.windows(phrase.len()).any(|window| window == phrase);
        let takes = has(&["drop"]) && !has(&["drop", "index"]) || has(&["rename"]);
        let demands = has(&["add", "column"]) && has(&["not", "null"]) && !has(&["default"])
            || has(&["set", "not", "null"])
            || has(&["alter", "table"]) && has(&["add", "constraint"])
            || has(&["unique", "index"])
            || has(&["type"]) && has(&["alter", "column"]);
        takes || demands
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_later_version_is_worked_on() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let app = TestApp::start_as(&[Role::Api], Ledger::postgres().await, |_| {}).await;
    let worker = process(&[Role::Worker], &app.ledger.url, |c| {
        c.broker = place.config();
    })
    .await;
    let queue = place.queue(Lane::Interactive);
    until("declared", async || place.look(&queue).await.is_some()).await;
    place.until_consumed(&queue, true).await;
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["call"] },
        "call": { "type": "http-request", "payload": { "url": target.url("/work"), "method": "POST" } }
    }});
    let run = app.start_run(&definition, &json!({})).await;
    let message = json!({
        "schema": "redrive.dispatch.v1",
        "kind": "run",
        "runId": run,
        "organizationId": "org_test",
        "addedLater": { "a": 1 },
    });
    place
        .put("interactive", message.to_string().as_bytes())
        .await;
    assert_eq!(app.ended(&run).await["status"], "success");
    place.until_ready(&queue, 0).await;
    assert_eq!(place.ready(&place.dead_queue()).await, Some(0));
    worker.stop().await;
    app.stop().await.remove().await;
    place.remove().await;
}
