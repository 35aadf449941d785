//! One world: sources, a broker, relays, workers, clients, and fate, which throws the dice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use redrive::{
    broker::Hints,
    config::{HttpConfig, LimitsConfig},
    domain::{Clock, JsonText, NodeRecord, NodeStatus, Run, RunId, RunStatus},
    engine::{Engine, nodes},
    intake::Intake,
    outbox::{DeadLetterKeeper, Rescuer},
    store::{NewImport, Store, StoredDefinition},
    worker::AcceptsChildren,
};
use serde_json::{Map, Value, json};

use super::{
    broker::Mail,
    clients::Clients,
    fate::{self, Fate},
    jobs::Job,
    relays::Relays,
    story::Story,
    target::{Calls, Target},
    time::FatalClock,
    watch::Watch,
};
use crate::support::{
    dice::Dice,
    ledger::Ledger,
    rows::{id, new_import},
};

/// How long things go wrong.
const STEPS: usize = 30;

/// So often everybody does everything, and nothing goes wrong any more: every wait is over in fewer.
const CALM_ROUNDS: usize = 12;

/// Where worlds come and go, one at a time.
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<FatalClock>,
    pub(super) target: Arc<Target>,
    pub(super) intake: Intake,
    pub(super) engine: Engine,
    pub(super) keeper: DeadLetterKeeper,
    pub(super) rescuer: Rescuer,
    pub(super) watch: Watch,
    pub(super) dice: Dice,
    pub(super) mail: Mail,
    pub(super) relays: Relays,
    pub(super) jobs: Vec<Job>,
    pub(super) clients: Clients,
    /// The newest epoch of each run.
    pub(super) epochs: HashMap<RunId, i64>,
    pub(super) is_calm: bool,
    /// Whether somebody dies at every other step.
    pub(super) is_deadly: bool,
    pub(super) story: Story,
}

impl World {
    pub(super) async fn new() -> Self {
        let clock = Arc::new(FatalClock::new());
        let time: Arc<dyn Clock> = clock.clone();
        let mut ledger = Ledger::sqlite_in_memory().await;
        ledger.store = match ledger.store {
            Store::Sqlite(sqlite) => Store::Sqlite(sqlite.with_clock(time.clone())),
            Store::Postgres(_) => unreachable!("it is a file"),
        };
        let (store, limits, hints) = (&ledger.store, LimitsConfig::default(), Hints::default());
        let intake = Intake::new(store.clone(), time.clone(), limits.clone(), hints.clone())
            .accepting_intents(true);
        let target = Arc::new(Target::default());
        let handlers = nodes::built_in(&HttpConfig::default(), &BTreeMap::new()).unwrap();
        let engine = Engine::new(
            store.clone(),
            handlers.with("http-request", Arc::new(Calls(target.clone()))),
            time.clone(),
            limits,
            BTreeMap::new(),
            // By the clock of the machine, and nothing here waits for that.
            Duration::from_hours(1),
            Arc::new(AcceptsChildren::new(intake.clone())),
        );
        Self {
            keeper: DeadLetterKeeper::new(store.clone(), intake.clone(), time),
            rescuer: Rescuer::new(store.clone(), hints.clone()),
            relays: Relays::new(store, &hints),
            watch: Watch::open(&ledger.url).await,
            ledger,
            clock,
            target,
            intake,
            engine,
            dice: Dice(0),
            mail: Mail::default(),
            jobs: Vec::new(),
            clients: Clients::default(),
            epochs: HashMap::new(),
            is_calm: false,
            is_deadly: false,
            story: Story::default(),
        }
    }

    /// A world from its beginning to the time when nothing is left to do.
    pub(super) async fn play(&mut self, seed: u64) {
        self.begin(seed).await;
        for _ in 0..STEPS {
            self.step().await;
        }
        self.is_calm = true;
        self.note("from here on nothing goes wrong");
        for _ in 0..CALM_ROUNDS {
            self.round().await;
            if self.watch.undone(&self.clients.sources).await.is_empty() {
                break;
            }
        }
        self.check().await;
    }

    async fn begin(&mut self, seed: u64) {
        self.dice = Dice(seed);
        self.mail = Mail::default();
        self.jobs.clear();
        self.epochs.clear();
        self.is_calm = false;
        self.is_deadly = self.dice.one_in(8);
        self.story.begin();
        self.relays.begin(&mut self.dice);
        let sources = 1 + usize::from(self.dice.one_in(3));
        let sources: Vec<_> = (0..sources).map(|n| format!("w{seed}.{n}")).collect();
        for source in &sources {
            let import = import(source, self.dice.below(CHAINS.len()));
            let imported = self.ledger.store.import(&import, None).await;
            imported.unwrap().unwrap();
        }
        self.clients = Clients::of(seed, sources.iter().map(|source| id(source)).collect());
    }

    async fn step(&mut self) {
        match fate::next(self) {
            Fate::Click => self.click().await,
            Fate::Cancel => self.cancel().await,
            Fate::Publish => self.publish_intent(),
            Fate::Forge => self.forge(),
            Fate::Relay => self.relay().await,
            Fate::Deliver => self.deliver(),
            Fate::Work => self.work().await,
            Fate::Renew => self.renew().await,
            Fate::Rescue => self.rescue().await,
            Fate::Time => self.pass_time(),
            Fate::Kill => self.kill().await,
            Fate::Freeze => self.freeze().await,
            Fate::HardDay => self.hard_day().await,
            Fate::StartAgain => self.start_again().await,
            Fate::Misbehave => {
                let what = self.mail.misbehave(&mut self.dice);
                self.note(format!("the broker {what}"));
            }
        }
    }

    /// All workers stop for longer than their leases last; the first to go on again does not have to
    /// be the one that held a run.
    async fn freeze(&mut self) {
        self.clock.advance(61);
        self.tell_time(true);
        self.note("everybody freezes");
        self.rescue().await;
        self.relay_all().await;
        self.deliver();
        for _ in 0..self.dice.below(5) {
            self.work_on_newest().await;
        }
    }

    /// Workers die of whatever comes, again and again.
    async fn hard_day(&mut self) {
        self.note("a hard day begins");
        let (times, steps) = (2 + self.dice.below(6), 1 + self.dice.below(4));
        for _ in 0..times {
            self.deliver();
            for _ in 0..steps {
                self.work().await;
            }
            self.kill_all().await;
            self.clock.advance(61);
            self.rescue().await;
            self.relay_all().await;
        }
    }

    /// Everybody does what there is to do.
    async fn round(&mut self) {
        self.clock.advance(700);
        self.tell_time(false);
        self.rescue().await;
        self.relay_all().await;
        while !self.mail.is_empty() || !self.jobs.is_empty() {
            while !self.mail.is_empty() {
                self.deliver();
            }
            self.work().await;
        }
    }

    async fn rescue(&mut self) {
        let looks = self.looks(4);
        let rescued = self.clock.until_death(looks, self.rescuer.run_once()).await;
        let rescued = rescued.map(Result::unwrap);
        self.note(format!("the rescuer: {rescued:?}"));
    }

    /// The only process there is died, and starts again.
    async fn start_again(&mut self) {
        self.kill_all().await;
        self.relays.die();
        self.mail.lose_all();
        let expired = self.ledger.store.expire_leases().await.unwrap();
        self.note(format!("everybody starts again: {expired} leases are over"));
    }

    fn pass_time(&mut self) {
        let times = [1, 5, 20, 20, 31, 41, 41, 61, 61, 130, 700];
        let seconds = times[self.dice.below(times.len())];
        self.clock.advance(seconds);
        self.note(format!("{seconds} s pass"));
        self.tell_time(true);
    }

    /// After how many looks at the clock somebody dies, if at all.
    pub(super) fn looks(&mut self, most: usize) -> Option<usize> {
        let chances = if self.is_deadly { 2 } else { 6 };
        (!self.is_calm && self.dice.one_in(chances)).then(|| self.dice.below(most))
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.story.tell(what.into());
    }

    async fn check(&mut self) {
        let undone = self.watch.undone(&self.clients.sources).await;
        assert!(undone.is_empty(), "not ended: {undone:?}");
        let broken = self.watch.broken().await;
        assert!(broken.is_empty(), "{broken:?}");
        self.check_clients().await;
        self.target.check();
    }
}

/// What a source consists of: it failed at its second node.
const CHAINS: [&[&str]; 4] = [
    &["a", "b", "c"],
    &["a", "b", "c", "d"],
    &["a", "b", "pause", "c"],
    &["a", "b", "pause"],
];

/// A run from elsewhere.
fn import(run: &str, chain: usize) -> NewImport {
    let mut nodes = Map::new();
    let first = json!({ "type": "manual", "children": ["a"] });
    nodes.insert("root".to_owned(), first);
    for (place, name) in CHAINS[chain].iter().enumerate() {
        let next: Vec<_> = CHAINS[chain].get(place + 1).into_iter().collect();
        let payload = json!({ "url": "http://target", "method": "POST" });
        let node = if *name == "pause" {
            json!({ "type": "delay", "payload": { "delayMs": 90_000 }, "children": next })
        } else {
            json!({ "type": "http-request", "payload": payload, "children": next })
        };
        nodes.insert((*name).to_owned(), node);
    }
    let definition = json!({ "triggerNodeIds": ["root"], "nodes": nodes });
    let hash = format!("chain-{chain}");
    let record = |path: &str, kind: &str, status| NodeRecord {
        result: Some(JsonText::of(&Value::Null)),
        ..NodeRecord::new(id(path), kind, status)
    };
    let import = new_import(run, None, RunStatus::Failure);
    NewImport {
        run: Run {
            definition_hash: Some(id(&hash)),
            trigger_node_id: Some(id("root")),
            trigger_source: Some("imported".to_owned()),
            ..import.run
        },
        definition: Some(StoredDefinition {
            hash: id(&hash),
            text: JsonText::of(&definition),
        }),
        nodes: vec![
            record("root", "manual", NodeStatus::Success),
            record("a", "http-request", NodeStatus::Success),
            record("b", "http-request", NodeStatus::Failure),
        ],
        ..import
    }
}
