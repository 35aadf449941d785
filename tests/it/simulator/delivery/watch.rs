//! The ledger watches itself: whatever no transaction may do, it notes.

use redrive::domain::RunId;
use serde_json::json;
use sqlx::{Connection, Executor, SqliteConnection};

/// Promises as triggers, written down apart from the code that has to keep them.
const TRIGGERS: &str = "
    create table broken (what text not null);
    create table written (run_id text not null);
    create index written_by_run on written (run_id);
    create index runs_by_root on runs (root_run_id);
    create index retries_by_root on retries (root_run_id);

    create trigger no_run_goes before delete on runs begin
        insert into broken values ('run ' || old.id || ' was deleted');
    end;
    create trigger no_retry_goes before delete on retries begin
        insert into broken values ('retry ' || old.id || ' was deleted');
    end;
    create trigger no_record_goes before delete on nodes begin
        insert into broken values ('record ' || old.path || ' of ' || old.run_id || ' was deleted');
    end;

    create trigger runs_move after update on runs begin
        insert into written values (new.id);
        insert into broken
        select 'run ' || old.id || ' went from ' || old.status || ' to ' || new.status
         where old.status in ('success', 'partial', 'failure', 'cancelled')
            or (old.status = 'waiting' and new.status in ('success', 'partial'));
        insert into broken
        select 'run ' || old.id || ' was to be cancelled and is ' || new.status
         where old.cancel_requested_at is not null and new.created
           and new.status in ('success', 'partial', 'failure');
        insert into broken
        select 'run ' || old.id || ' is another one'
         where new.created < old.created or new.lease_epoch < old.lease_epoch
            or new.source_run_id is not old.source_run_id or new.root_run_id <> old.root_run_id;
        insert into broken
        select 'run ' || old.id || ' was taken from its holder'
         where new.lease_epoch > old.lease_epoch
           and old.lease_owner is not null and new.lease_owner is not null
           -- A lease is for a minute, so this is whether the old one was over when the new one began.
           and (new.lost_leases <> old.lost_leases + 1
                or julianday(new.lease_until) - julianday(old.lease_until) < 59.9 / 86400);
    end;

    create trigger retries_move after update on retries begin
        insert into written values (new.run_id);
        insert into broken
        select 'retry ' || old.id || ' went from ' || old.state || ' to ' || new.state
         where old.state <> new.state
           and (old.state, new.state) not in (values
               ('scheduled', 'claimed'), ('queued', 'claimed'), ('claimed', 'created'),
               ('claimed', 'refused'), ('scheduled', 'cancelled'), ('queued', 'cancelled'),
               ('claimed', 'cancelled'));
        insert into broken
        select 'retry ' || old.id || ' is another one'
         where new.run_id is not old.run_id or new.source_run_id <> old.source_run_id
            or new.live > old.live;
    end;

    create trigger retries_begin after insert on retries begin
        insert into broken
        select 'two live retries of ' || new.root_run_id
         where new.live
           and (select count(*) from retries where root_run_id = new.root_run_id and live) > 1;
        insert into broken
        select 'two retries of ' || new.source_run_id
         where new.ordinal is not null
           and exists (select 1 from retries
                        where source_run_id = new.source_run_id and id <> new.id
                          and ordinal is not null);
    end;

    create trigger records_begin after insert on nodes begin
        insert into written values (new.run_id);
        insert into broken
        select 'record ' || new.path || ' came to the ended run ' || new.run_id
          from runs
         where id = new.run_id and status not in ('waiting', 'running') and trigger_source <> 'imported';
    end;

    create trigger records_change after update on nodes begin
        insert into written values (new.run_id);
        insert into broken
        select 'record ' || new.path || ' of the ended run ' || new.run_id || ' changed'
          from runs
         where id = new.run_id and status not in ('waiting', 'running');
        insert into broken
        select 'the success of ' || new.path || ' of ' || new.run_id || ' was written over'
         where old.status = 'success'
           and (new.status <> 'success' or new.result is not old.result
                or new.attempts <> old.attempts);
    end;";

const BROKEN: &str = "select what from broken";

const WRITES: &str = "select count(*) from written where run_id = $1";

const SUCCESSES: &str = "
    select count(*)
      from nodes
      join runs on runs.id = nodes.run_id
     where runs.root_run_id = $1 and nodes.path = $2 and nodes.status = 'success'";

/// What is left to do in the chains of these roots.
const UNDONE: &str = "
    select 'run ' || id || ' is ' || status || ' for ' || coalesce(waiting_for, '-')
      from runs
     where root_run_id in (select value from json_each($1))
       and status in ('waiting', 'running')
    union all
    select 'retry ' || id || ' is ' || state
      from retries
     where root_run_id in (select value from json_each($1))
       and (live or state not in ('created', 'refused', 'cancelled'))
    union all
    select 'a row of the outbox for ' || run_id
      from outbox
      join runs on runs.id = outbox.run_id
     where root_run_id in (select value from json_each($1))
    union all
    select 'run ' || id || ' has no retry'
      from runs
     where root_run_id in (select value from json_each($1))
       and id <> root_run_id
       and not exists (select 1 from retries where retries.run_id = runs.id)
    union all
    select 'the source of retry ' || retries.id || ' is not that of its run'
      from retries
      join runs on runs.id = retries.run_id
     where retries.root_run_id in (select value from json_each($1))
       and runs.source_run_id is not retries.source_run_id";

const HAS_RETRY: &str = "
    select count(*) from retries where id = $1 and organization_id = $2 and run_id is $3";

const HAS_INTENT: &str = "select count(*) from retries where id = $1 and organization_id = $2";

const RUNS_OF: &str = "select count(*) from runs where organization_id = $1";

/// Reads the ledger behind the store's back.
#[derive(Debug)]
pub(super) struct Watch(SqliteConnection);

impl Watch {
    pub(super) async fn open(url: &str) -> Self {
        let mut db = SqliteConnection::connect(url).await.unwrap();
        db.execute(sqlx::raw_sql(TRIGGERS)).await.unwrap();
        Self(db)
    }

    pub(super) async fn execute(&mut self, sql: &'static str) {
        self.0.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    /// How often a run was written.
    pub(super) async fn writes(&mut self, run: &RunId) -> i64 {
        let count = sqlx::query_scalar(WRITES).bind(run.as_str());
        count.fetch_one(&mut self.0).await.unwrap()
    }

    /// Whether a success of a node is on record in a chain.
    pub(super) async fn has_succeeded(&mut self, root: &str, path: &str) -> bool {
        let count = sqlx::query_scalar(SUCCESSES).bind(root).bind(path);
        let count: i64 = count.fetch_one(&mut self.0).await.unwrap();
        count > 0
    }

    pub(super) async fn undone(&mut self, roots: &[RunId]) -> Vec<String> {
        let roots = json!(roots.iter().map(RunId::as_str).collect::<Vec<_>>());
        let undone = sqlx::query_scalar(UNDONE).bind(roots.to_string());
        undone.fetch_all(&mut self.0).await.unwrap()
    }

    pub(super) async fn broken(&mut self) -> Vec<String> {
        let broken = sqlx::query_scalar(BROKEN);
        broken.fetch_all(&mut self.0).await.unwrap()
    }

    pub(super) async fn has_retry(&mut self, organization: &str, id: &str, run: &str) -> bool {
        let count = sqlx::query_scalar(HAS_RETRY);
        let count = count.bind(id).bind(organization).bind(run);
        let count: i64 = count.fetch_one(&mut self.0).await.unwrap();
        count == 1
    }

    pub(super) async fn has_intent(&mut self, organization: &str, id: &str) -> bool {
        let count = sqlx::query_scalar(HAS_INTENT).bind(id).bind(organization);
        let count: i64 = count.fetch_one(&mut self.0).await.unwrap();
        count == 1
    }

    pub(super) async fn runs_of(&mut self, organization: &str) -> i64 {
        let count = sqlx::query_scalar(RUNS_OF).bind(organization);
        count.fetch_one(&mut self.0).await.unwrap()
    }
}
