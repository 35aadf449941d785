//! Work does not grow with history: statements find their rows by an index, and those that every
//! round of a relay or a rescuer runs touch no more of a long backlog than of a short one.

use std::collections::BTreeMap;

use redrive::store::PostgresStore;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr, SqliteConnection,
    postgres::PgConnectOptions,
};

use crate::{store_sql::statements, support::ledger::Ledger};

/// Tables that only ever grow.
const GROWING: &[&str] = &[
    "runs",
    "nodes",
    "retries",
    "outbox",
    "signals",
    "children",
    "definitions",
    "variable_writes",
    "idempotency_keys",
    "workflow_variables",
];

/// They count a whole backlog: for metrics, `doctor`, and an organisation's limit; or touch all that
/// is under way, once, when the only process starts.
const WHOLE: &[&str] = &["BACKLOG_DUE", "EXPIRE_LEASES", "FORGET_SENT"];

/// What a round of the relay and of the rescuer asks, and some of what is asked for each run, with the
/// arguments.
const ROUNDS: &[(&str, &str)] = &[
    ("LEASE_DUE", "(128, 128, 128, 30000000, 0)"),
    ("SWEEP", "('', 1000)"),
    ("SENT", ""),
    ("RESCUE_EXPIRED", ""),
    ("RESCUE_UNCLAIMED", ""),
    ("LOCK_RUN", "('due_000000001')"),
    ("HEAD", "('due_000000001')"),
    ("WAITING_PARENTS", "('due_000000001')"),
    ("TAKE_DUE", "('due_000000001')"),
    ("LOST_LEASES", "('due_000000001')"),
];

/// How much there is of each: runs of the past, and runs that wait.
const FEW: u32 = 5_000;
const MANY: u32 = 40_000;

/// Runs that are sent, and runs that are held.
const UNDER_WAY: u32 = 200;

async fn explain(db: &mut PgConnection, how: &str, sql: &str, arguments: &str) -> Vec<String> {
    let prepare = format!("deallocate all; prepare it as {sql}");
    let script = sqlx::raw_sql(AssertSqlSafe(prepare).into_sql_str());
    db.execute(script).await.unwrap();
    let explain = format!("explain ({how}) execute it {arguments}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain).into_sql_str());
    let rows = db.fetch_all(rows).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

/// A session like those of the store.
async fn session(ledger: &Ledger) -> PgConnection {
    let options: PgConnectOptions = ledger.url.parse().unwrap();
    let options = options.options(PostgresStore::SESSION);
    PgConnection::connect_with(&options).await.unwrap()
}

/// How many parameters a statement has.
fn parameters(sql: &str) -> usize {
    let numbers = sql.split('$').skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    numbers.max().unwrap_or(0)
}

fn nulls(sql: &str) -> String {
    match parameters(sql) {
        0 => String::new(),
        n => format!("({})", vec!["null"; n].join(", ")),
    }
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index_on_postgres() {
    let ledger = Ledger::postgres().await;
    let mut db = session(&ledger).await;
    let planner = "set plan_cache_mode = force_generic_plan";
    db.execute(sqlx::raw_sql(planner)).await.unwrap();
    let mut scanning = BTreeMap::new();
    for (name, sql) in statements("postgres") {
        let plan = explain(&mut db, "costs off", &sql, &nulls(&sql)).await;
        if let Some(scan) = whole_scan(&plan) {
            scanning.insert(name, scan);
        }
    }
    scanning.retain(|name, _| !WHOLE.contains(&name.as_str()));
    assert_eq!(scanning, BTreeMap::new());
    drop(db);
    ledger.remove().await;
}

/// A scan of a growing table, or of the whole of one of its indexes, that no limit cuts short.
fn whole_scan(plan: &[String]) -> Option<String> {
    let is_node = |line: &&String| line.contains("->") || line.starts_with(|c: char| c != ' ');
    plan.iter().enumerate().find_map(|(at, line)| {
        let (before, table) = line.split_once(" on ")?;
        let table = table.split(' ').next()?;
        let reads = ["Seq Scan", "Index Scan", "Index Only Scan"];
        let is_read = reads.iter().any(|scan| before.contains(scan)) && !before.contains("Bitmap");
        if !is_read || !GROWING.contains(&table) || is_of_a_part(line) {
            return None;
        }
        let own = plan[at + 1..].iter().take_while(|next| !is_node(next));
        let is_bounded = own.into_iter().any(|detail| detail.contains("Index Cond"));
        // Between a limit and what it cuts short stands at most what locks the rows.
        let above = plan[..at].iter().rev().take(2);
        let is_limited = above.into_iter().any(|node| node.contains("Limit"));
        (!is_bounded && !is_limited).then(|| line.trim().to_owned())
    })
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index_on_sqlite() {
    let ledger = Ledger::sqlite().await;
    let mut db = SqliteConnection::connect(&ledger.url).await.unwrap();
    let mut scanning = BTreeMap::new();
    for (name, sql) in statements("sqlite") {
        let explain = format!("explain query plan {sql}");
        let plan = sqlx::raw_sql(AssertSqlSafe(explain).into_sql_str());
        for row in db.fetch_all(plan).await.unwrap() {
            let line: String = row.get("detail");
            let table = line
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            if table.is_some_and(|table| GROWING.contains(&table)) && !is_of_a_part(&line) {
                scanning.insert(name.clone(), line);
            }
        }
    }
    scanning.retain(|name, _| !WHOLE.contains(&name.as_str()));
    assert_eq!(scanning, BTreeMap::new());
    ledger.remove().await;
}

/// Whether a scan goes over an index that holds only what is under way.
fn is_of_a_part(line: &str) -> bool {
    ["runs_leased", "runs_queued", "outbox_due", "outbox_sent"]
        .iter()
        .any(|index| line.contains(index))
}

/// As many runs of the past as runs that wait, in one organisation.
async fn filled(scale: u32) -> (Ledger, PgConnection) {
    let ledger = Ledger::postgres().await;
    let fill = format!(
        "insert into runs (id, organization_id, root_run_id, status, waiting_for, created, lane,
                prop_values, variables, is_simulation, is_dust_test, total_cu, created_at, finished_at)
         select kind || '_' || lpad(n::text, 9, '0'), 'org_big', kind || '_' || lpad(n::text, 9, '0'),
                case kind when 'past' then 'success' else 'waiting' end,
                case kind when 'past' then null else 'queue' end,
                kind = 'past', 'bulk', '{{}}', '{{}}', false, false, '0',
                now() - n * interval '1 second',
                case kind when 'past' then '2026-01-01T00:00:00.000Z' end
           from generate_series(1, {scale}) as n, (values ('past'), ('due')) as kinds (kind);
         insert into outbox (run_id, organization_id, lane, due_at)
         select id, organization_id, lane, created_at from runs where status = 'waiting';
         update outbox set sent_at = now(), sends = 1
          where run_id in (select run_id from outbox order by run_id limit {UNDER_WAY});
         update runs set lease_owner = 'worker', lease_until = now() + interval '1 hour'
          where id in (select id from runs where status = 'waiting' order by id desc limit {UNDER_WAY});
         delete from outbox where run_id in (select id from runs where lease_owner is not null)"
    );
    for statement in fill.split(';').filter(|text| !text.trim().is_empty()) {
        // Not in a session of the store, which has a limit for every statement.
        ledger.execute(statement).await;
    }
    ledger.execute("vacuum analyze").await;
    let db = session(&ledger).await;
    (ledger, db)
}

/// Pages that each statement of a round reads.
async fn touched(scale: u32) -> BTreeMap<&'static str, u64> {
    let (ledger, mut db) = filled(scale).await;
    let statements = statements("postgres");
    let mut touched = BTreeMap::new();
    for (name, arguments) in ROUNDS {
        db.execute(sqlx::raw_sql("begin")).await.unwrap();
        let how = "analyze, buffers, costs off, timing off";
        let plan = explain(&mut db, how, &statements[*name], arguments).await;
        db.execute(sqlx::raw_sql("rollback")).await.unwrap();
        let buffers = plan.iter().find(|line| line.contains("Buffers: shared"));
        let buffers = buffers.unwrap_or_else(|| panic!("{name}: {plan:#?}"));
        touched.insert(*name, pages(buffers));
    }
    drop(db);
    ledger.remove().await;
    touched
}

fn pages(line: &str) -> u64 {
    let counts = line.split([' ', ',']).filter_map(|word| {
        let (what, count) = word.split_once('=')?;
        ["hit", "read"]
            .contains(&what)
            .then(|| count.parse::<u64>().ok())?
    });
    counts.sum()
}

#[tokio::test]
async fn a_round_touches_no_more_of_a_long_backlog_than_of_a_short_one() {
    let (few, many) = (touched(FEW).await, touched(MANY).await);
    println!("pages of {FEW}: {few:?}, of {MANY}: {many:?}");
    for (name, _) in ROUNDS {
        // An index is a level deeper at most.
        let most = few[name] * 3 / 2 + 100;
        assert!(
            many[name] <= most,
            "{name}: {} and {}",
            few[name],
            many[name]
        );
    }
    assert!(few.values().all(|pages| *pages > 0), "{few:?}");
}
