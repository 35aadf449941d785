//! Everything at once: random faults of processes, wires, servers, messages and clients while
//! retries are submitted. What goes wrong and when follows from the seed; what it meets does not.
//!
//! `REDRIVE_STORM_SEED` repeats one, `REDRIVE_STORM_STEPS` and `REDRIVE_STORM_RETRIES` scale it.

mod fleet;
pub(super) mod messages;
mod plan;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};

use self::{
    fleet::{Fleet, Order, log},
    messages::Publisher,
    plan::{Damage, End, Fault, Step, Wire, plan},
};
use super::{
    audit::{self, Invariant, Verdict, bounds, neighbours::Neighbour, secrets, watch::LiveRetries},
    keyed::Keyed,
    load::Client,
    members::{Member, Pool},
};
use crate::support::{
    dice::{Dice, scale},
    ledger::Ledger,
    report::Report,
    server::Server,
    witness::Witness,
};

const LEASE: Duration = Duration::from_secs(6);

/// How long the rest may take after the last fault.
const PATIENCE: Duration = Duration::from_secs(60 + 2 * LEASE.as_secs());

/// How many clients want one source.
const CROWD: usize = 100;

/// What the storm blows through.
struct Storm {
    pool: Arc<Pool>,
    fleet: Fleet,
    users: Keyed,
    publisher: Arc<Publisher>,
    database: Arc<Server>,
    broker: Arc<Server>,
    /// One end of a server at a time.
    of_database: Arc<Mutex<()>>,
    of_broker: Arc<Mutex<()>>,
    /// What is under way.
    tasks: JoinSet<()>,
    dice: Dice,
    next_crowd: usize,
    /// How often each fault was done.
    done: BTreeMap<&'static str, usize>,
}

impl Storm {
    /// Does one thing. What takes its time goes on beside the others.
    fn strike(&mut self, fault: &Fault) {
        log(format_args!("{fault:?}"));
        let is_done = match *fault {
            Fault::Kill(place) => self.fleet.order(place, Order::Kill),
            Fault::Stop(place) => self.fleet.order(place, Order::Stop),
            Fault::Freeze(place, time) => self.fleet.order(place, Order::Freeze(time)),
            Fault::Wire(place, wire, how) => {
                self.break_wire(place, wire, how);
                true
            }
            Fault::Broker => {
                let (broker, alone) = (Arc::clone(&self.broker), Arc::clone(&self.of_broker));
                self.tasks.spawn(async move {
                    let _alone = alone.lock().await;
                    broker.tell("stop-rabbitmq", &["immediate"]).await;
                    broker.tell("start-rabbitmq", &[]).await;
                    log(format_args!("the broker is back"));
                });
                true
            }
            Fault::Database(end, away) => {
                self.end_database(end, away);
                true
            }
            Fault::Duplicates | Fault::Rubbish => {
                self.publish(fault == &Fault::Rubbish);
                true
            }
            Fault::Crowd => {
                let (users, number) = (self.users.clone(), self.next_crowd);
                self.next_crowd += 1;
                self.tasks
                    .spawn(async move { users.crowd(number, CROWD).await });
                true
            }
        };
        let name = if is_done { name(fault) } else { "nobody there" };
        *self.done.entry(name).or_default() += 1;
    }

    /// One wire does something else, for a time or for a moment.
    fn break_wire(&mut self, place: usize, wire: Wire, how: Damage) {
        let broken = self.fleet.wire(place, wire);
        self.tasks.spawn(async move {
            how.be_done_to(broken.proxy()).await;
            broken.over();
        });
    }

    fn end_database(&mut self, end: End, away: Duration) {
        let how = match end {
            End::Fast => "fast",
            End::Immediate => "immediate",
            End::Kill => "kill",
        };
        let (database, alone) = (Arc::clone(&self.database), Arc::clone(&self.of_database));
        let broken = self.fleet.wires_to_database();
        self.tasks.spawn(async move {
            let _alone = alone.lock().await;
            database.tell("stop-postgres", &[how]).await;
            tokio::time::sleep(away).await;
            database.tell("start-postgres", &[]).await;
            log(format_args!("the database is back"));
            for broken in broken {
                broken.over();
            }
        });
    }

    fn publish(&mut self, is_rubbish: bool) {
        let (publisher, mut dice) = (Arc::clone(&self.publisher), self.dice.fork());
        let accepted = self.users.journal.accepted();
        self.tasks.spawn(async move {
            if is_rubbish {
                let rubbish = messages::rubbish(20, &mut dice);
                publisher.publish_rubbish(rubbish).await;
                return;
            }
            // New ones, which may be under way, and whatever has ended.
            let newest = accepted.iter().rev().take(6).cloned();
            let mut chosen: Vec<_> = newest.collect();
            if !accepted.is_empty() {
                chosen.push(accepted[dice.below(accepted.len())].clone());
            }
            publisher
                .publish(messages::duplicates(&chosen, &mut dice))
                .await;
        });
    }
}

fn name(fault: &Fault) -> &'static str {
    match fault {
        Fault::Kill(_) => "kill",
        Fault::Stop(_) => "stop",
        Fault::Freeze(..) => "freeze",
        Fault::Wire(_, _, Damage::Cut) => "cut",
        Fault::Wire(_, _, Damage::HalfClose) => "half-close",
        Fault::Wire(_, _, Damage::Slow(..)) => "slow",
        Fault::Wire(_, _, Damage::Silence(..)) => "silence",
        Fault::Broker => "broker killed",
        Fault::Database(End::Fast, _) => "database fast",
        Fault::Database(End::Immediate, _) => "database immediate",
        Fault::Database(End::Kill, _) => "database killed",
        Fault::Duplicates => "duplicates",
        Fault::Rubbish => "rubbish",
        Fault::Crowd => "crowd",
    }
}

/// Everybody in their place, on servers of their own.
async fn gather(seed: u64, crowds: usize, retries: usize) -> (Storm, Witness) {
    let mut dice = Dice(seed);
    let (database, broker) = tokio::join!(Server::postgres(), Server::rabbitmq());
    let ledger = Ledger::postgres_at(database.url.clone()).await;
    let lease = LEASE.as_millis().to_string();
    let settings = [
        ("REDRIVE_WORKER__LEASE_MS", lease.as_str()),
        ("REDRIVE_BROKER__ACCEPT_EXTERNAL_INTENTS", "true"),
        ("REDRIVE_LOG__FILTER", "info"),
    ];
    let pool = Arc::new(Pool::on(ledger, broker.url.clone(), &settings).await);
    let witness = Witness::start(dice.fork(), Duration::from_millis(500)).await;
    let fleet = Fleet::start(&pool).await;
    let users = Keyed::new(&pool, &fleet.addresses()).await;
    let publisher = Arc::new(Publisher::new(&pool));
    publisher.begin_to_copy().await;
    println!("{retries} retries and {crowds} crowds");
    let storm = Storm {
        pool,
        fleet,
        users,
        publisher,
        database: Arc::new(database),
        broker: Arc::new(broker),
        of_database: Arc::default(),
        of_broker: Arc::default(),
        tasks: JoinSet::new(),
        dice: dice.fork(),
        next_crowd: retries,
        done: BTreeMap::new(),
    };
    (storm, witness)
}

/// Strikes step by step, while retries are released evenly; the instant of the last fault's end.
async fn blow(storm: &mut Storm, steps: &[Step], released: &watch::Sender<usize>, retries: usize) {
    for (number, step) in steps.iter().enumerate() {
        released.send_replace(retries * (number + 1) / steps.len());
        tokio::time::sleep(step.pause).await;
        storm.strike(&step.fault);
    }
    while let Some(done) = storm.tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_3_4_5_everything_at_once() {
    let steps = usize::try_from(scale("REDRIVE_STORM_STEPS", 60)).unwrap();
    let retries = usize::try_from(scale("REDRIVE_STORM_RETRIES", 150)).unwrap();
    let seed = scale("REDRIVE_STORM_SEED", u64::from(std::process::id()));
    let mut report = Report::new(
        "everything at once",
        seed,
        format!("REDRIVE_STORM_SEED={seed} {retries} retries, {steps} faults"),
    );
    let plan = plan(&mut Dice(seed), steps);
    let crowds = plan
        .iter()
        .filter(|step| step.fault == Fault::Crowd)
        .count();
    let (mut storm, witness) = gather(seed, crowds, retries).await;
    let all = retries + crowds;

    let client = Client::at_address(&storm.pool, &storm.fleet.addresses()[0]).await;
    client.import_with(0..all, &witness, secrets::plant).await;
    let neighbour = Neighbour::move_in(&storm.pool, &client, &witness).await;
    let sources = client.sources(all).await;
    let looking = LiveRetries::watch(&storm.pool.ledger.url);
    let (released, gate) = watch::channel(0);
    let submitting = storm.users.clone().submit(32, gate, storm.dice.fork());
    let submitting = tokio::spawn(submitting);

    blow(&mut storm, &plan, &released, retries).await;
    let last_fault = Instant::now();
    drop(released);
    let departures = storm.fleet.departures.clone();
    let members = storm.fleet.calm().await;
    submitting.await.unwrap();
    let pool = &storm.pool;
    audit::until_all_ended(pool, PATIENCE).await;
    report.settled(last_fault.elapsed());
    let kept = storm.publisher.until_kept(pool).await;

    let tally = storm.users.journal.tally();
    let departed = departures.all();
    let mut verdict = audit::examine(pool, &client, &witness, &tally, &departed).await;
    verdict.require(tally.runs.len() == all, Invariant::Lost, || {
        format!("{} of {all} have an answer", tally.runs.len())
    });
    let looks = looking.check(&mut verdict).await;
    assert!(looks > 0, "nobody looked at live retries");
    neighbour.check(&tally, &mut verdict).await;
    let mut texts = storm.users.journal.refusals();
    texts.extend(storm.publisher.copies().await);
    secrets::check(pool, &client, &tally, &texts, &mut verdict).await;
    bounds::sessions(pool, members.len(), &mut verdict).await;
    let is_same = sources == client.sources(all).await;
    verdict.require(is_same, Invariant::Transition, || {
        "a source has changed".to_owned()
    });
    println!(
        "{kept} dead letters looked for, {looks} looks at live retries, {} texts",
        texts.len()
    );
    end(storm, members, verdict, report).await;
}

async fn end(storm: Storm, members: Vec<Member>, mut verdict: Verdict, mut report: Report) {
    let pool = storm.pool;
    fleet::end(members).await;
    bounds::lanes(&pool, &pool.amqp, &mut verdict).await;
    let asked: usize = storm
        .users
        .journal
        .accepted()
        .iter()
        .map(|a| a.asked - 1)
        .sum();
    report.fact(
        "faults",
        format!("{:?}; {asked} requests repeated", storm.done),
    );
    verdict.report(report);
    pool.assert_sound();
    verdict.assert_holds();
}
