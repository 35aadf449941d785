//! What goes wrong, and when: all of it follows from the dice.

use std::time::Duration;

use crate::support::{
    dice::Dice,
    proxy::{Flow, Proxy},
};

/// Who there is, by place.
pub(super) const PLACES: [&str; 7] = [
    "api",
    "api",
    "relay",
    "worker",
    "worker",
    "worker",
    "scheduler",
];

/// How many other faults there are between two of a server.
const BETWEEN_SERVERS: usize = 28;

/// Which of a process's wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Database,
    Broker,
}

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Damage {
    Cut,
    HalfClose,
    /// A latency each way, for a time.
    Slow(Duration, Duration),
    /// Nothing gets through, or only one way, for a time.
    Silence(Flow, Duration),
}

impl Damage {
    pub(super) async fn be_done_to(self, proxy: &Proxy) {
        match self {
            Self::Cut => proxy.cut(),
            Self::HalfClose => proxy.half_close(),
            Self::Slow(latency, time) => {
                proxy.delay(latency);
                tokio::time::sleep(time).await;
                proxy.delay(Duration::ZERO);
            }
            Self::Silence(flow, time) => {
                proxy.set(flow);
                tokio::time::sleep(time).await;
                proxy.set(Flow::Both);
            }
        }
    }
}

/// How PostgreSQL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Fast,
    Immediate,
    Kill,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// SIGKILL.
    Kill(usize),
    /// SIGTERM.
    Stop(usize),
    /// SIGSTOP, and SIGCONT after a time.
    Freeze(usize, Duration),
    Wire(usize, Wire, Damage),
    /// The node is killed, and started again.
    Broker,
    /// It is ended, and started again after a time.
    Database(End, Duration),
    /// Messages that were sent already, many times, shuffled, in any lane.
    Duplicates,
    /// Messages that nobody can use.
    Rubbish,
    /// Many clients at one source.
    Crowd,
}

/// A fault and how long after the one before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) pause: Duration,
    pub(super) fault: Fault,
}

fn between(dice: &mut Dice, least: u64, most: u64) -> Duration {
    Duration::from_millis(least) + dice.up_to(Duration::from_millis(most - least))
}

/// So many faults, 50 to 500 ms apart.
pub(super) fn plan(dice: &mut Dice, steps: usize) -> Vec<Step> {
    let first = dice.below(4);
    let plan = (0..steps).map(|number| {
        let pause = between(dice, 50, 500);
        let is_of_a_server = number % BETWEEN_SERVERS == BETWEEN_SERVERS / 2;
        let fault = if is_of_a_server {
            server(dice, first + number / BETWEEN_SERVERS)
        } else {
            fault(dice)
        };
        Step { pause, fault }
    });
    plan.collect()
}

/// Each in its turn.
fn server(dice: &mut Dice, turn: usize) -> Fault {
    let away = between(dice, 0, 2_000);
    match turn % 4 {
        0 => Fault::Broker,
        1 => Fault::Database(End::Fast, away),
        2 => Fault::Database(End::Immediate, away),
        _ => Fault::Database(End::Kill, away),
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let place = dice.below(PLACES.len());
    let wire = [Wire::Database, Wire::Broker][dice.below(2)];
    match dice.below(22) {
        0..=4 => Fault::Kill(place),
        5 | 6 => Fault::Stop(place),
        7..=9 => Fault::Freeze(place, standing_still(dice)),
        10..=12 => Fault::Wire(place, wire, Damage::Cut),
        13 => Fault::Wire(place, wire, Damage::HalfClose),
        14 | 15 => {
            let slow = Damage::Slow(between(dice, 5, 250), between(dice, 300, 3_000));
            Fault::Wire(place, wire, slow)
        }
        16 | 17 => {
            let flow = [Flow::Nothing, Flow::FromServer][dice.below(2)];
            Fault::Wire(
                place,
                wire,
                Damage::Silence(flow, between(dice, 300, 5_000)),
            )
        }
        18 | 19 => Fault::Duplicates,
        20 => Fault::Rubbish,
        _ => Fault::Crowd,
    }
}

/// Mostly for a moment, now and then for longer than a lease.
fn standing_still(dice: &mut Dice) -> Duration {
    if dice.one_in(4) {
        between(dice, 6_500, 9_000)
    } else {
        between(dice, 50, 1_500)
    }
}

#[test]
fn a_seed_repeats_its_plan() {
    let plan_of = |seed| plan(&mut Dice(seed), 200);
    assert_eq!(plan_of(1), plan_of(1));
    assert_ne!(plan_of(1), plan_of(2));
    let all = plan_of(7);
    for step in &all {
        assert!(
            step.pause >= Duration::from_millis(50) && step.pause <= Duration::from_millis(500)
        );
    }
    let of_servers = all
        .iter()
        .filter(|step| matches!(step.fault, Fault::Broker | Fault::Database(..)));
    assert_eq!(of_servers.count(), 7);
}
