//! What the database saw: which process wrote what, and when. Triggers write it down, so nothing
//! that a process says of itself is taken for granted.

use std::{
    fmt,
    time::{Instant, SystemTime},
};

use sqlx::{Connection, PgConnection};

use crate::support::ledger::Ledger;

/// `at` is the time of the statement; its commit follows within milliseconds.
const WATCH: &str = "
    create table seen (
        at float8 not null default extract(epoch from clock_timestamp()),
        process text not null default coalesce(current_setting('redrive.process', true), ''),
        what text not null,
        run_id text not null,
        path text not null default '',
        status text not null default '',
        epoch bigint not null default 0
    );
    create function see_node() returns trigger language plpgsql as $$
    begin
        insert into seen (what, run_id, path, status, epoch)
        select 'node', new.run_id, new.path, new.status, lease_epoch
          from runs where id = new.run_id;
        return null;
    end $$;
    create function see_run() returns trigger language plpgsql as $$
    begin
        insert into seen (what, run_id, status, epoch)
        values (case when new.lease_owner is not null and new.lease_epoch > old.lease_epoch
                     then 'claim'
                     when old.lease_owner is not null then 'left' else 'run' end,
                new.id, new.status, new.lease_epoch);
        return null;
    end $$;
    create function see_send() returns trigger language plpgsql as $$
    begin
        insert into seen (what, run_id) values ('send', new.run_id);
        return null;
    end $$;
    create trigger see after insert or update on nodes
        for each row execute function see_node();
    create trigger see after update on runs for each row
        when ((old.status, old.lease_epoch, old.lease_owner)
              is distinct from (new.status, new.lease_epoch, new.lease_owner))
        execute function see_run();
    create trigger see after update on outbox for each row
        when (new.sends > old.sends) execute function see_send();

    create table moves (what text not null, id text not null, before text, after text);
    create function see_move() returns trigger language plpgsql as $$
    begin
        insert into moves values (tg_argv[0], to_json(new) ->> tg_argv[1],
            to_json(old) ->> tg_argv[2], to_json(new) ->> tg_argv[2]);
        return null;
    end $$;
    create trigger move after update of status on runs for each row
        when (new.status <> old.status) execute function see_move('run', 'id', 'status');
    create trigger move_back after update of lease_epoch on runs for each row
        when (new.lease_epoch < old.lease_epoch) execute function see_move('epoch', 'id', 'lease_epoch');
    create trigger move after update of state on retries for each row
        when (new.state <> old.state) execute function see_move('retry', 'id', 'state');
    create trigger move after update of status on nodes for each row
        when (new.status <> old.status) execute function see_move('node', 'path', 'status');
    ";

/// Begins to write down.
pub(super) async fn watch(ledger: &Ledger) {
    ledger.execute(WATCH).await;
}

/// One write.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Seen {
    /// Seconds since 1970.
    pub(super) at: f64,
    /// Who wrote it.
    pub(super) process: String,
    /// `claim`, `left` for a lease that was given up or ended with its run, `run`, `node` or `send`.
    pub(super) what: String,
    pub(super) run_id: String,
    pub(super) path: String,
    pub(super) status: String,
    pub(super) epoch: i64,
}

/// One change of a status.
#[derive(Clone, sqlx::FromRow)]
pub(super) struct Move {
    /// `run`, `retry`, `node`, or `epoch` for a lease epoch that fell.
    pub(super) what: String,
    pub(super) id: String,
    pub(super) before: String,
    pub(super) after: String,
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            id,
            before,
            after,
        } = self;
        write!(f, "{what} {id}: {before} -> {after}")
    }
}

/// All changes so far.
pub(super) async fn moves(ledger: &Ledger) -> Vec<Move> {
    let mut db = PgConnection::connect(&ledger.url).await.unwrap();
    let moves = sqlx::query_as("select what, id, before, after from moves");
    moves.fetch_all(&mut db).await.unwrap()
}

/// All writes so far, in order.
pub(super) async fn all(ledger: &Ledger) -> Vec<Seen> {
    let mut db = PgConnection::connect(&ledger.url).await.unwrap();
    let seen = sqlx::query_as(
        "select at, process, what, run_id, path, status, epoch from seen order by at",
    );
    seen.fetch_all(&mut db).await.unwrap()
}

/// How often a process has claimed a run, from an instant on.
pub(super) async fn claims(ledger: &Ledger, process: &str, since: Instant) -> usize {
    let since = seconds(since);
    let claims = format!(
        "select count(*) from seen where what = 'claim' and process = '{process}' and at >= {since}"
    );
    usize::try_from(ledger.count(&claims).await).unwrap()
}

/// Waits until a process has claimed so many runs from an instant on.
pub(super) async fn until_claimed(ledger: &Ledger, process: &str, since: Instant, most: usize) {
    let began = Instant::now();
    while claims(ledger, process, since).await < most {
        assert!(
            began.elapsed() < super::PATIENCE,
            "{process} claims nothing"
        );
        tokio::time::sleep(super::LOOK).await;
    }
}

/// An instant of this process as the database tells time.
pub(super) fn seconds(instant: Instant) -> f64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    now.as_secs_f64() - instant.elapsed().as_secs_f64()
}
