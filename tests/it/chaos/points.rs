//! The one process dies at every point between two durable steps, and is started again.

use std::time::{Duration, Instant};

use super::{
    audit::Audit,
    client::{Client, Journal},
    killer::Lives,
    ledger::Durable,
    process::Installation,
};
use crate::support::{
    app,
    day::{Day, RETRIES, Runs},
    faults::{Death, deaths, rows},
    report::Report,
    witness::Witness,
};

/// What only a broker brings.
const NOT_EMBEDDED: [&str; 3] = ["intent.received", "intent.stored", "dead_letter.kept"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_1_2_3_5_the_one_process_dies_at_every_point() {
    let all = deaths().into_iter();
    let embedded = all.filter(|death| !NOT_EMBEDDED.contains(&death.point.as_str()));
    let report = Report::new("the one process dies at each point", 1, "on SQLite");
    let began = Instant::now();
    rows(embedded.collect(), async |death| {
        Row::new().await.pass(death).await;
    })
    .await;
    println!("all points in {:?}", began.elapsed());
    report.file(true);
}

/// One installation and who works with it.
pub(super) struct Row {
    pub(super) installation: Installation,
    pub(super) witness: Witness,
    client: Client,
    pub(super) day: Day,
}

impl Row {
    pub(super) async fn new() -> Self {
        let installation = Installation::new();
        let day = Day {
            http: app::client(),
            base: installation.url(""),
            token: installation.token().await,
            database: installation.database_url(),
            exchange: None,
            loses_messages: false,
            patience: Duration::from_secs(40),
        };
        Self {
            witness: Witness::steady(Duration::from_millis(20)).await,
            client: Client::new(&installation).await,
            installation,
            day,
        }
    }

    /// A day with a death in it, and the audit.
    async fn pass(mut self, death: Death) {
        self.day.loses_messages = death.point == "rescuer.rescued";
        self.live_through(death, None).await;
    }

    /// The same with a bug that somebody has to notice.
    pub(super) async fn live_through(self, death: Death, bug: Option<&str>) {
        let bug = bug.map(|bug| ("REDRIVE_BUG", bug.to_owned()));
        let variables: Vec<_> = bug.into_iter().collect();
        let armed = [variables.as_slice(), &[death.variable()]].concat();
        let first = self.installation.start_with(&armed).await;
        let mut lives = Lives::of_one(first.spawned);
        self.day.prepare(RETRIES, &self.witness).await;
        let working = tokio::spawn(self.day.clone().work());
        lives.lives[0].killed = Some(first.died().await);
        let left = Durable::left_in(&self.installation.file()).await;
        let successes = left.successes.into_iter();
        lives.recorded = successes.map(|success| (success, 0)).collect();
        let second = self.installation.start_with(&variables).await;
        lives.begin(second.spawned);
        match working.await {
            Ok(runs) => self.audit(&runs, &lives).await,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        second.stop().await;
    }

    /// The auditor of the kills, for a day's runs.
    pub(super) async fn audit(&self, runs: &Runs, lives: &Lives) {
        let journal = Journal::default();
        for (source, run) in runs {
            journal.add(source.clone(), run.clone(), false);
        }
        let mut audit = Audit::new(&self.witness, &journal, lives);
        audit.accepted(&self.client, runs.len()).await;
        audit.runs(&self.client).await;
        audit.effects();
        audit.ledger(&self.installation, runs.len()).await;
        assert_eq!(self.installation.said(), [""; 0], "warnings");
    }
}
