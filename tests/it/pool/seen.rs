//! What the database saw: which process wrote what, and when. Triggers write it down, so nothing
//! that a process says of itself is taken for granted.

use std::time::{Instant, SystemTime};

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
                     then 'claim' else 'run' end,
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
    /// `claim`, `run`, `node` or `send`.
    pub(super) what: String,
    pub(super) run_id: String,
    pub(super) path: String,
    pub(super) status: String,
    pub(super) epoch: i64,
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
