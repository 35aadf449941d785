//! The processes of a storm: each has its place, its own wires to the servers, and somebody who
//! starts it again whenever it is gone.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use redrive::domain::{Clock, SystemClock};
use tokio::{sync::mpsc, task::JoinHandle};

use super::plan::{PLACES, Wire};
use crate::{
    pool::{
        members::{Departed, Member, Pool, stop_all},
        wires::Wires,
    },
    support::{
        process::free_address,
        proxy::{Flow, Proxy},
    },
};

/// How soon a process that did not come up is started again.
const AGAIN: Duration = Duration::from_millis(200);

/// What is done to a process.
#[derive(Debug)]
pub(super) enum Order {
    Kill,
    Stop,
    Freeze(Duration),
}

/// Whose calls may have been made again. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Departures(Arc<Mutex<Vec<Departed>>>);

impl Departures {
    pub(super) fn all(&self) -> Vec<Departed> {
        self.0.lock().unwrap().clone()
    }

    fn add(&self, departed: Departed) {
        self.0.lock().unwrap().push(departed);
    }
}

/// Where a process is started again and again.
struct Place {
    role: &'static str,
    address: String,
    wires: Wires,
    /// The process that is there now.
    name: Mutex<String>,
}

/// All of them.
pub(super) struct Fleet {
    places: Vec<Arc<Place>>,
    orders: Vec<mpsc::Sender<Order>>,
    supervisors: Vec<JoinHandle<Member>>,
    pub(super) departures: Departures,
}

impl Fleet {
    /// Starts everybody and waits until they work.
    pub(super) async fn start(pool: &Arc<Pool>) -> Self {
        let mut fleet = Self {
            places: Vec::new(),
            orders: Vec::new(),
            supervisors: Vec::new(),
            departures: Departures::default(),
        };
        let mut starting = Vec::new();
        for role in PLACES {
            let place = Arc::new(Place {
                role,
                address: free_address(),
                wires: Wires::of(pool),
                name: Mutex::default(),
            });
            let (there, here) = (Arc::clone(pool), Arc::clone(&place));
            starting.push(async move {
                let member = start(&there, &here).await;
                member.until_ready(200).await;
                member
            });
            fleet.places.push(place);
        }
        let members = futures_util::future::join_all(starting).await;
        for (place, member) in fleet.places.iter().zip(members) {
            let (orders, taken) = mpsc::channel(1);
            fleet.orders.push(orders);
            let (pool, place) = (Arc::clone(pool), Arc::clone(place));
            let departures = fleet.departures.clone();
            let supervising = supervise(pool, place, member, taken, departures);
            fleet.supervisors.push(tokio::spawn(supervising));
        }
        fleet
    }

    /// Where the APIs answer.
    pub(super) fn addresses(&self) -> Vec<String> {
        let apis = self.places.iter().filter(|place| place.role == "api");
        apis.map(|place| place.address.clone()).collect()
    }

    /// Whether somebody was there to do it to.
    pub(super) fn order(&self, place: usize, order: Order) -> bool {
        self.orders[place].try_send(order).is_ok()
    }

    /// Something that is wrong with a wire until it is over.
    pub(super) fn wire(&self, place: usize, wire: Wire) -> Broken {
        let place = Arc::clone(&self.places[place]);
        Broken {
            departures: self.departures.clone(),
            wire,
            before: place.now(),
            at: Instant::now(),
            place,
        }
    }

    /// The database is gone for everybody, until the guard says that it is back.
    pub(super) fn wires_to_database(&self) -> Vec<Broken> {
        let all = 0..self.places.len();
        all.map(|place| self.wire(place, Wire::Database)).collect()
    }

    /// Mends all wires and waits until everybody is there and works.
    pub(super) async fn calm(&mut self) -> Vec<Member> {
        for place in &self.places {
            for proxy in [&place.wires.database, &place.wires.broker] {
                proxy.set(Flow::Both);
                proxy.delay(Duration::ZERO);
            }
        }
        self.orders.clear();
        let mut members = Vec::new();
        for supervisor in self.supervisors.drain(..) {
            members.push(supervisor.await.unwrap());
        }
        for member in &members {
            member.until_ready(200).await;
        }
        members
    }
}

impl Place {
    fn now(&self) -> String {
        self.name.lock().unwrap().clone()
    }
}

/// A wire that something is wrong with.
pub(super) struct Broken {
    departures: Departures,
    place: Arc<Place>,
    wire: Wire,
    before: String,
    at: Instant,
}

impl Broken {
    pub(super) fn proxy(&self) -> &Proxy {
        match self.wire {
            Wire::Database => &self.place.wires.database,
            Wire::Broker => &self.place.wires.broker,
        }
    }

    /// From now on it works. Who can't reach the ledger can't record what it did.
    pub(super) fn over(self) {
        let mut names = vec![self.before, self.place.now()];
        names.dedup();
        for name in names {
            self.departures.add(Departed::since(name, self.at));
        }
    }
}

/// Says when something happened, for whoever reads about a failure.
pub(super) fn log(what: std::fmt::Arguments<'_>) {
    println!("{} {what}", SystemClock.now());
}

/// Starts a process, again and again until it listens.
async fn start(pool: &Pool, place: &Place) -> Member {
    loop {
        let name = pool.next_name(place.role);
        name.clone_into(&mut place.name.lock().unwrap());
        let there = (place.address.as_str(), place.role);
        if let Some(member) = place.wires.try_start(pool, &name, there).await {
            log(format_args!("{name} listens"));
            return member;
        }
        log(format_args!("{name} ended: {:?}", pool.said().last()));
        tokio::time::sleep(AGAIN).await;
    }
}

/// Does to a process what is ordered; whoever is there in the end.
async fn supervise(
    pool: Arc<Pool>,
    place: Arc<Place>,
    mut member: Member,
    mut orders: mpsc::Receiver<Order>,
    departures: Departures,
) -> Member {
    while let Some(order) = orders.recv().await {
        let (name, at) = (member.name.clone(), Instant::now());
        log(format_args!("{name}: {order:?}"));
        match order {
            Order::Freeze(time) => {
                member.process.signal("STOP").await;
                tokio::time::sleep(time).await;
                member.process.signal("CONT").await;
                departures.add(Departed {
                    stood_still: true,
                    ..Departed::since(name, at)
                });
                continue;
            }
            Order::Kill => departures.add(member.kill().await),
            Order::Stop => {
                let status = member.told_to_stop().await;
                assert!(status.success(), "{name} told to stop: {status}");
                departures.add(Departed::since(name, at));
            }
        }
        member = start(&pool, &place).await;
    }
    member
}

/// Stops everybody well.
pub(super) async fn end(members: Vec<Member>) {
    stop_all(members).await;
}
