//! Clients that hang up while their request waits for the database: what was begun is finished or
//! was never begun, and no later write is lost in a transaction that somebody left open.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use super::{
    audit::{Invariant, Verdict, bounds},
    members::{Pool, stop_all},
    wires::Wires,
};
use crate::support::{
    dice::{Dice, scale},
    report::Report,
};

/// How many ask at once.
const AT_ONCE: usize = 32;

/// How long the database takes to hear something, and to answer.
const LATENCY: Duration = Duration::from_millis(2);

/// The longest that anybody stays on the line: some until they are known, some until they are
/// accepted.
const STAYS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(300)];

/// Users of one API, who start runs under keys.
#[derive(Clone)]
struct Users {
    http: reqwest::Client,
    address: String,
    token: String,
    body: String,
}

impl Users {
    fn key(number: usize) -> String {
        format!("start-{number}")
    }

    /// Asks and hangs up.
    async fn hang_up(&self, number: usize, after: Duration) {
        let request = format!(
            "POST /v1/runs HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\nidempotency-key: {}\r\ncontent-length: {}\r\n\r\n{}",
            self.address,
            self.token,
            Self::key(number),
            self.body.len(),
            self.body
        );
        let mut line = TcpStream::connect(&self.address).await.unwrap();
        line.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(after).await;
    }

    /// Asks until there is an answer; the run.
    async fn start(&self, number: usize) -> String {
        loop {
            let request = self
                .http
                .post(format!("http://{}/v1/runs", self.address))
                .bearer_auth(&self.token)
                .header("content-type", "application/json")
                .header("idempotency-key", Self::key(number))
                .body(self.body.clone());
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            match status {
                200 => return body["data"]["runId"].as_str().unwrap().to_owned(),
                409 if body["error"]["reason"] == "idempotency_in_flight" => {}
                503 => {}
                _ => panic!("{status} {body}"),
            }
            tokio::time::sleep(super::LOOK).await;
        }
    }
}

/// All of them, one in five of whom waits for the answer: what it says is there at once.
async fn everybody(pool: &Pool, users: &Users, clients: usize, mut dice: Dice) {
    let mut asking = JoinSet::new();
    for number in 0..clients {
        if asking.len() >= AT_ONCE {
            asking.join_next().await.unwrap().unwrap();
        }
        let (users, url) = (users.clone(), pool.ledger.url.clone());
        let (stays, waits) = (dice.up_to(STAYS[number % 2]), dice.one_in(5));
        asking.spawn(async move {
            users.hang_up(number, stays).await;
            if waits {
                let run = users.start(number).await;
                let there = format!("select count(*) from runs where id = '{run}'");
                let there = crate::support::ledger::count_at(&url, &there).await;
                assert_eq!(there, 1, "{run} was answered and is not there");
            }
        });
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_clients_hang_up() {
    let clients = usize::try_from(scale("REDRIVE_POOL_HANG_UPS", 300)).unwrap();
    let seed = scale("REDRIVE_POOL_SEED", u64::from(std::process::id()));
    let mut report = Report::new("clients hang up", seed, format!("{clients} clients"));
    // Few connections, so that each soon serves another request.
    let pool = Pool::new(&[("REDRIVE_DATABASE__MAX_CONNECTIONS", "4")]).await;
    let wires = Wires::of(&pool);
    let api = wires.start(&pool, "api").await;
    wires.database.delay(LATENCY);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["note"] },
        "note": { "type": "log", "payload": { "message": "x" } }
    }});
    let users = Users {
        http: crate::support::app::client(),
        address: api.process.url.replace("http://", ""),
        token: pool.token().await,
        body: json!({ "definition": definition, "payload": {} }).to_string(),
    };
    everybody(&pool, &users, clients, Dice(seed)).await;

    let begun = pool.ledger.count("select count(*) from runs").await;
    let mut verdict = Verdict::default();
    let asking = (0..clients).map(|number| users.start(number));
    let asking = stream::iter(asking).buffer_unordered(AT_ONCE);
    let runs: HashSet<String> = asking.collect().await;
    verdict.require(runs.len() == clients, Invariant::SecondRun, || {
        format!("{} runs of {clients} keys", runs.len())
    });
    let there = pool.ledger.count("select count(*) from runs").await;
    let there = usize::try_from(there).unwrap();
    verdict.require(there == clients, Invariant::SecondRun, || {
        format!("{there} runs of {clients} keys")
    });
    bounds::sessions(&pool, 1, &mut verdict).await;
    wires.database.delay(Duration::ZERO);
    report.fact(
        "faults",
        format!("{clients} hung up, {begun} runs begun by then"),
    );
    verdict.report(report);
    verdict.assert_holds();
    pool.assert_sound();
    stop_all([api]).await;
    pool.remove().await;
}
