//! What happens next: anything that can, some things more often.

use super::world::World;

/// A client that has asked so often has better things to do.
const MOST_CLICKS: usize = 4;

/// The most messages that others publish, and that are forged.
const MOST_MESSAGES: usize = 2;

#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Click,
    Cancel,
    Publish,
    Forge,
    Relay,
    Deliver,
    Work,
    Renew,
    Rescue,
    Time,
    Kill,
    Freeze,
    HardDay,
    StartAgain,
    Misbehave,
}

pub(super) fn next(world: &mut World) -> Fate {
    let choices = choices(world);
    let all: usize = choices.iter().map(|(chances, _)| chances).sum();
    let mut thrown = world.dice.below(all);
    for (chances, fate) in choices {
        match thrown.checked_sub(chances) {
            Some(left) => thrown = left,
            None => return fate,
        }
    }
    unreachable!("the dice show less than all")
}

/// Out of how many chances something happens; none if it can't.
fn choices(world: &World) -> [(usize, Fate); 15] {
    let when = |is_possible: bool, chances: usize| if is_possible { chances } else { 0 };
    let (clients, has_mail, has_jobs) = (
        &world.clients,
        !world.mail.is_empty(),
        !world.jobs.is_empty(),
    );
    let is_deadly = world.is_deadly;
    [
        (when(clients.clicks < MOST_CLICKS, 4), Fate::Click),
        (
            when(clients.has_runs(), if world.has_leases() { 2 } else { 1 }),
            Fate::Cancel,
        ),
        (when(clients.published() < MOST_MESSAGES, 1), Fate::Publish),
        (when(clients.forged < MOST_MESSAGES, 1), Fate::Forge),
        (3, Fate::Relay),
        (when(has_mail, 8), Fate::Deliver),
        (when(has_jobs, 16), Fate::Work),
        (when(has_jobs, 1), Fate::Renew),
        (1, Fate::Rescue),
        (3, Fate::Time),
        (when(has_jobs, if is_deadly { 3 } else { 1 }), Fate::Kill),
        (when(world.has_leases(), 2), Fate::Freeze),
        (when(is_deadly && (has_mail || has_jobs), 2), Fate::HardDay),
        (when(is_deadly, 1), Fate::StartAgain),
        (when(has_mail, 2), Fate::Misbehave),
    ]
}
