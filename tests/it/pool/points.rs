//! A process of the pool dies at every point between two durable steps, and another one comes.

use std::time::{Duration, Instant};

use super::{
    audit,
    load::{Client, Tally},
    members::{Departed, Member, Pool, stop_all},
};
use crate::support::{
    app,
    day::{Day, RETRIES, Runs},
    faults::{Death, deaths, rows},
    process::free_address,
    report::Report,
    witness::Witness,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_1_2_3_4_5_a_process_of_the_pool_dies_at_every_point() {
    // Those whose rows stay the dead relay's for half a minute come first, and wait beside the others.
    let mut all = deaths();
    all.sort_by_key(|death| death.point != "relay.leased");
    let report = Report::new(
        "a process of the pool dies at each point",
        1,
        format!("{} deaths", all.len()),
    );
    let began = Instant::now();
    rows(all, async |death| {
        Row::new(None).await.pass(death).await;
    })
    .await;
    println!("all points in {:?}", began.elapsed());
    report.file(true);
}

/// Who passes a point.
fn role(point: &str) -> &'static str {
    match point.split_once('.').expect("a room and a step").0 {
        "retry" | "signal" => "api",
        "relay" | "rescuer" | "dead_letter" => "relay",
        "worker" | "node" | "run" | "child" | "intent" => "worker",
        other => panic!("say which role passes {other}"),
    }
}

const ROLES: [&str; 3] = ["api", "relay", "worker"];

/// One installation and who works with it.
pub(super) struct Row {
    pub(super) pool: Pool,
    witness: Witness,
    api: String,
    bug: Vec<(&'static str, String)>,
}

impl Row {
    pub(super) async fn new(bug: Option<&str>) -> Self {
        let settings = [
            ("REDRIVE_WORKER__LEASE_MS", "2000"),
            // Many rows share one server.
            ("REDRIVE_DATABASE__MAX_CONNECTIONS", "4"),
            ("REDRIVE_BROKER__ACCEPT_EXTERNAL_INTENTS", "true"),
        ];
        let bug = bug.map(|bug| ("REDRIVE_BUG", bug.to_owned()));
        Self {
            pool: Pool::new(&settings).await,
            witness: Witness::steady(Duration::from_millis(20)).await,
            api: free_address(),
            bug: bug.into_iter().collect(),
        }
    }

    async fn start(&self, role: &str, death: Option<&Death>) -> Member {
        let address = if role == "api" {
            self.api.as_str()
        } else {
            "127.0.0.1:0"
        };
        let death = death.map(Death::variable);
        let variables: Vec<_> = self.bug.iter().cloned().chain(death).collect();
        self.pool.start_at(address, role, &variables).await
    }

    pub(super) async fn day(&self) -> Day {
        Day {
            http: app::client(),
            base: format!("http://{}", self.api),
            token: self.pool.token().await,
            database: self.pool.ledger.url.clone(),
            exchange: Some(self.pool.prefix.clone()),
            loses_messages: false,
            patience: super::PATIENCE,
        }
    }

    /// A day with a death in it, and the audit.
    async fn pass(self, death: Death) {
        let mut day = self.day().await;
        day.loses_messages = death.point == "rescuer.rescued";
        self.live_through(death, day).await;
    }

    /// The same with as much patience as the day has.
    pub(super) async fn live_through(self, death: Death, day: Day) {
        let victim = role(&death.point);
        let mut members = Vec::new();
        for role in ROLES {
            if role != victim {
                members.push(self.start(role, None).await);
            }
        }
        let doomed = self.start(victim, Some(&death)).await;
        // What is published before there is an exchange is lost.
        for member in &members {
            member.until_ready(200).await;
        }
        doomed.until_ready(200).await;
        let client = match members.iter().find(|member| member.name.starts_with("api")) {
            Some(api) => Client::new(&self.pool, api).await,
            None => Client::new(&self.pool, &doomed).await,
        };
        day.prepare(RETRIES, &self.witness).await;
        let working = tokio::spawn(day.work());
        let name = doomed.name.clone();
        let at = doomed.process.died().await;
        members.push(self.start(victim, None).await);
        match working.await {
            Ok(runs) => {
                let departed = Departed::for_good(name, at);
                self.audit(&client, runs, departed).await;
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        self.pool.assert_sound();
        stop_all(members).await;
        self.pool.remove().await;
    }

    /// At least once each, and once more by whoever died over it.
    async fn garbage_is_kept(&self) {
        let kept = "select count(*) from dead_letters";
        let began = Instant::now();
        while self.pool.ledger.count(kept).await < 2 {
            assert!(began.elapsed() < super::PATIENCE, "garbage is lost");
            tokio::time::sleep(super::LOOK).await;
        }
        let kept = self.pool.ledger.count(kept).await;
        assert!(kept <= 3, "{kept} dead letters");
    }

    async fn audit(&self, client: &Client, runs: Runs, departed: Departed) {
        audit::until_all_ended(&self.pool, super::PATIENCE).await;
        let tally = Tally {
            runs: runs.into_iter().collect(),
            ..Tally::default()
        };
        audit::hold(&self.pool, client, &self.witness, &tally, &[departed]).await;
        self.garbage_is_kept().await;
    }
}
