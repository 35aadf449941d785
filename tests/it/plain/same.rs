//! Whatever happens to runs, it is the same by the plain statements, many at once, as by the flows.
//! An embedded ledger has no plain statements.

use futures_util::future::join_all;
use redrive::{domain::Retry, store::Store};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::story::{Chain, play, without_clock};
use crate::support::{dice::scale, ledger::Ledger, rows::acme};

const CHAINS: u64 = 16;
const STEPS: usize = 40;

/// All who hold a run are late.
const EXPIRE: &str = "update runs set lease_until = created_at where lease_owner is not null";

// Numbers, and of what the ledger's clock says only whether it is said, so that both engines say
// the same.
const REST: [&str; 5] = [
    "select id || ' ' || lease_epoch || ' ' || lost_leases || ' ' || coalesce(lease_owner, '-') || ' '
         || lane || ' ' || coalesce(traceparent, '-') || ' ' || coalesce(plan, '-') || ' '
         || case when lease_until is null then '-' else 'until' end
       from runs order by 1",
    "select run_id || ' ' || row_number() over (partition by run_id order by position) || ' ' || path
       from nodes order by 1",
    "select run_id || ' ' || organization_id || ' ' || lane || ' ' || sends from outbox order by 1",
    "select organization_id || ' ' || key || ' ' || fingerprint || ' ' || run_id
       from idempotency_keys order by 1",
    "select id || ' ' || state || ' ' || case when live then 'live' else '-' end || ' '
         || coalesce(ordinal, 0)
       from retries where ordinal is not null order by 1",
];

#[tokio::test]
async fn plain_statements_do_what_the_flows_do() {
    for seed in 0..scale("REDRIVE_TEST_STORIES", 4) {
        let (flows, plain) = (Ledger::sqlite_in_memory().await, Ledger::postgres().await);
        let stores = [&flows.store, &plain.store];
        let mut chains = Vec::new();
        for number in 0..CHAINS {
            chains.push(Chain::begin(number, seed * CHAINS + number, stores).await);
        }
        let mut log = vec![Vec::new(); chains.len()];
        for round in 0..STEPS {
            if round % 5 == 4 {
                flows.execute(EXPIRE).await;
                plain.execute(EXPIRE).await;
            }
            let steps: Vec<_> = chains.iter_mut().map(Chain::next).collect();
            let by_plain = join_all(steps.iter().map(|step| play(&plain.store, step))).await;
            for (number, (step, plain)) in steps.iter().zip(by_plain).enumerate() {
                log[number].push(step.clone());
                let flow = play(&flows.store, step).await;
                assert_eq!(
                    plain, flow,
                    "seed {seed}, chain {number}: {:?}",
                    log[number]
                );
                chains[number].learn(step, &plain);
            }
        }
        for chain in &chains {
            let [by_flow, by_plain] = [
                told(chain, &flows.store).await,
                told(chain, &plain.store).await,
            ];
            assert_eq!(by_plain, by_flow, "seed {seed}");
        }
        for rest in REST {
            assert_eq!(
                texts(&plain.url, rest).await,
                texts(&flows.url, rest).await,
                "seed {seed}: {rest}"
            );
        }
        flows.remove().await;
        plain.remove().await;
    }
}

/// What a ledger tells of a chain.
async fn told(chain: &Chain, store: &Store) -> Vec<String> {
    let mut told = Vec::new();
    for id in &chain.runs {
        let run = store.run(&acme(), id).await.unwrap().unwrap();
        told.push(format!("{:?}", without_clock(run)));
        for node in store.nodes(id, None).await.unwrap() {
            told.push(format!("{node:?}"));
        }
        let retry = store.retry_of_run(id).await.unwrap();
        let retry = retry.map(|retry| Retry {
            updated_at: retry.created_at,
            ..retry
        });
        told.push(format!(
            "{retry:?} {:?}",
            store.line_writes(id).await.unwrap()
        ));
    }
    told
}

async fn texts(url: &str, sql: &'static str) -> Vec<String> {
    if url.starts_with("sqlite:") {
        let mut db = SqliteConnection::connect(url).await.unwrap();
        return sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap();
    }
    let mut db = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap()
}
