//! Starts, imports and retries come in.

use crate::{
    domain::{JsonText, Lane, OrganizationId, Refusal, Retry, RetryState, Run, RunId, RunStatus},
    faults,
};

use super::{
    super::{
        AcceptedIntent, AcceptedStart, Earlier, IdempotencyKey, ImportOutcome, NewImport, NewRetry,
        NewStart, RetryTerms,
    },
    Engine, LockedRun, Statements, StoreError, missing,
};

/// Stores a new run, its trigger's record and its outbox row.
pub(in crate::store) async fn accept_start<E: Engine>(
    engine: &E,
    start: &NewStart,
    key: Option<&IdempotencyKey>,
    live_limit: Option<u32>,
) -> Result<Result<AcceptedStart, Earlier>, StoreError> {
    let mut tx = engine.begin().await?;
    if let Some(earlier) = earlier(&mut tx, key).await? {
        return Ok(Err(earlier));
    }
    if is_full(&mut tx, &start.run.organization_id, live_limit).await? {
        return Ok(Ok(AcceptedStart::TooManyLive));
    }
    if !insert_start(&mut tx, start).await? {
        return Ok(Ok(AcceptedStart::RunExists));
    }
    keep_key(&mut tx, key, &start.run.id).await?;
    tx.commit().await?;
    Ok(Ok(AcceptedStart::Accepted))
}

/// The request that came before under this key, if it has one.
async fn earlier<T: Statements + Send>(
    tx: &mut T,
    key: Option<&IdempotencyKey>,
) -> Result<Option<Earlier>, StoreError> {
    match key {
        Some(key) => tx.earlier(key).await,
        None => Ok(None),
    }
}

/// Keeps the key of the request that makes this run, if it has one.
async fn keep_key<T: Statements + Send>(
    tx: &mut T,
    key: Option<&IdempotencyKey>,
    run: &RunId,
) -> Result<(), StoreError> {
    match key {
        Some(key) => tx.keep_key(key, run).await,
        None => Ok(()),
    }
}

/// Whether an organisation has as many runs under way as it may.
async fn is_full<T: Statements + Send>(
    tx: &mut T,
    organization: &OrganizationId,
    limit: Option<u32>,
) -> Result<bool, StoreError> {
    match limit {
        Some(limit) => Ok(tx.live_runs(organization, limit).await? >= i64::from(limit)),
        None => Ok(false),
    }
}

/// Writes a new run with everything that belongs to it; false if there is one with its id.
pub(super) async fn insert_start<T: Statements + Send>(
    tx: &mut T,
    start: &NewStart,
) -> Result<bool, StoreError> {
    tx.put_definition(&start.definition).await?;
    let traceparent = start.traceparent.as_deref();
    if !tx.insert_run(&start.run, start.lane, traceparent).await? {
        return Ok(false);
    }
    tx.put_nodes(&start.run.id, std::slice::from_ref(&start.trigger))
        .await?;
    tx.put_outbox(&start.run.id, None).await?;
    Ok(true)
}

/// Stores an ended run from elsewhere, and its place in a chain.
pub(in crate::store) async fn import<E: Engine>(
    engine: &E,
    import: &NewImport,
    key: Option<&IdempotencyKey>,
) -> Result<Result<ImportOutcome, Earlier>, StoreError> {
    let mut tx = engine.begin().await?;
    if let Some(earlier) = earlier(&mut tx, key).await? {
        return Ok(Err(earlier));
    }
    let mut run = import.run.clone();
    let source = match &run.source_run_id {
        Some(id) => source_with_locked_root(&mut tx, &run.organization_id, id).await?,
        None => None,
    };
    run.root_run_id = source
        .as_ref()
        .map_or_else(|| run.id.clone(), |source| source.root_run_id.clone());
    if let Some(definition) = &import.definition {
        tx.put_definition(definition).await?;
    }
    if !tx.insert_run(&run, Lane::Interactive, None).await? {
        return Ok(Ok(ImportOutcome::RunExists));
    }
    tx.put_nodes(&run.id, &import.nodes).await?;
    tx.log_variable_writes(&run.id, &import.variable_writes)
        .await?;
    if let Some(source) = source {
        let ordinal = tx.next_ordinal(&source.id).await?;
        let retry = retry_of_import(import, &run, &source, ordinal);
        tx.insert_retry(&retry, false, None).await?;
    }
    keep_key(&mut tx, key, &run.id).await?;
    tx.commit().await?;
    Ok(Ok(ImportOutcome::Imported(Box::new(run))))
}

/// The retry that an import counts as.
fn retry_of_import(import: &NewImport, run: &Run, source: &Run, ordinal: i64) -> Retry {
    Retry {
        id: import.retry_id.clone(),
        organization_id: run.organization_id.clone(),
        source_run_id: source.id.clone(),
        run_id: Some(run.id.clone()),
        root_run_id: Some(source.root_run_id.clone()),
        ordinal: Some(ordinal),
        state: RetryState::Created,
        lane: Lane::Interactive,
        request: JsonText::trusted("{}"),
        reason: None,
        triggered_by: run.triggered_by.clone(),
        refusal: None,
        created_at: run.created_at,
        updated_at: run.created_at,
    }
}

/// Reserves the run of a retry, or says why not.
pub(in crate::store) async fn accept_retry<E: Engine>(
    engine: &E,
    new: &NewRetry,
    key: Option<&IdempotencyKey>,
) -> Result<Result<Result<(Run, Retry), Refusal>, Earlier>, StoreError> {
    if let Some(accepted) = engine.accept_plain(new, key).await? {
        return Ok(Ok(Ok(accepted)));
    }
    let mut tx = engine.begin().await?;
    if let Some(earlier) = earlier(&mut tx, key).await? {
        return Ok(Err(earlier));
    }
    let source = match fit_source(&mut tx, new).await? {
        Ok(source) => source,
        Err(refusal) => return Ok(Ok(Err(refusal))),
    };
    let Some(accepted) = reserve(&mut tx, new, source, None).await? else {
        return Err(StoreError::Inconsistent {
            table: "runs",
            column: "id",
            row: new.run.id.to_string(),
            why: "the id chosen for a retry's run is taken".into(),
        });
    };
    keep_key(&mut tx, key, &new.run.id).await?;
    tx.commit().await?;
    Ok(Ok(Ok(accepted)))
}

/// The same for an intent that somebody published.
pub(in crate::store) async fn accept_intent<E: Engine>(
    engine: &E,
    new: &NewRetry,
    intent: &JsonText,
) -> Result<AcceptedIntent, StoreError> {
    let mut tx = engine.begin().await?;
    let fit = fit_source(&mut tx, new).await?;
    // Asked after the chain is locked: of two that came at once, the second finds the first.
    let (organization, id) = (&new.retry.organization_id, &new.retry.id);
    if let Some(earlier) = tx.intent(organization, id).await? {
        return Ok(AcceptedIntent::Exists(earlier));
    }
    let source = match fit {
        Ok(source) => source,
        Err(refusal) => return Ok(AcceptedIntent::Refused(refusal)),
    };
    let Some(accepted) = reserve(&mut tx, new, source, Some(intent)).await? else {
        return Ok(AcceptedIntent::Refused(Refusal::run_exists(&new.run.id)));
    };
    tx.commit().await?;
    Ok(AcceptedIntent::Accepted(Box::new(accepted)))
}

/// Why a retry would be refused now. Nothing is written: the transaction is dropped.
pub(in crate::store) async fn retry_refusal<E: Engine>(
    engine: &E,
    organization: &OrganizationId,
    source: &RunId,
    terms: &RetryTerms,
) -> Result<Option<Refusal>, StoreError> {
    let mut tx = engine.begin().await?;
    match source_with_locked_root(&mut tx, organization, source).await? {
        Some(source) => refusal(&mut tx, &source, terms).await,
        None => Ok(Some(Refusal::missing_state(
            source,
            "record in this ledger",
        ))),
    }
}

/// The source of a retry, its chain locked, if it may be retried now.
async fn fit_source<T: Statements + Send>(
    tx: &mut T,
    new: &NewRetry,
) -> Result<Result<Run, Refusal>, StoreError> {
    let organization = &new.retry.organization_id;
    let id = &new.retry.source_run_id;
    let Some(source) = source_with_locked_root(tx, organization, id).await? else {
        return Ok(Err(Refusal::missing_state(id, "record in this ledger")));
    };
    Ok(match refusal(tx, &source, &new.terms).await? {
        Some(refusal) => Err(refusal),
        None => Ok(source),
    })
}

/// Writes header, retry and outbox row; none if the new run's id is taken.
async fn reserve<T: Statements + Send>(
    tx: &mut T,
    new: &NewRetry,
    source: Run,
    intent: Option<&JsonText>,
) -> Result<Option<(Run, Retry)>, StoreError> {
    let run = Run {
        root_run_id: source.root_run_id.clone(),
        ..new.run.clone()
    };
    let retry = Retry {
        root_run_id: Some(source.root_run_id),
        ordinal: Some(tx.next_ordinal(&source.id).await?),
        ..new.retry.clone()
    };
    let traceparent = new.traceparent.as_deref();
    if !tx.insert_run(&run, retry.lane, traceparent).await? {
        return Ok(None);
    }
    tx.insert_retry(&retry, true, intent).await?;
    tx.put_outbox(&run.id, new.due_at).await?;
    Ok(Some((run, retry)))
}

/// The source, read again once its chain is locked: whoever holds the root's lock decides for the
/// whole chain, so that all others find what it did.
async fn source_with_locked_root<T: Statements + Send>(
    tx: &mut T,
    organization: &OrganizationId,
    id: &RunId,
) -> Result<Option<Run>, StoreError> {
    let Some(Run { root_run_id, .. }) = tx.run(organization, id).await? else {
        return Ok(None);
    };
    let root: Option<LockedRun> = tx.lock_run(&root_run_id).await?;
    if root.is_none() {
        return Err(missing("runs", &root_run_id));
    }
    tx.run(organization, id).await
}

/// Why a run of a locked chain can't be retried now.
async fn refusal<T: Statements + Send>(
    tx: &mut T,
    source: &Run,
    terms: &RetryTerms,
) -> Result<Option<Refusal>, StoreError> {
    let id = &source.id;
    match source.status {
        RunStatus::Waiting | RunStatus::Running => {
            return Ok(Some(Refusal::still_active(id, source.status)));
        }
        RunStatus::Partial if terms.include_partial => {}
        RunStatus::Success | RunStatus::Partial => {
            return Ok(Some(Refusal::not_retryable(id, source.status)));
        }
        RunStatus::Failure | RunStatus::Cancelled => {}
    }
    if !source.created {
        let instead = source.source_run_id.as_ref().unwrap_or(id);
        return Ok(Some(Refusal::never_created(id, instead)));
    }
    if faults::planted("no_unique_index") {
        return Ok(None);
    }
    if let Some((retry, run)) = tx.live_retry(&source.root_run_id).await? {
        return Ok(Some(Refusal::in_progress(id, &retry, &run)));
    }
    let head = if terms.allow_again {
        None
    } else {
        tx.head(id).await?
    };
    if let Some(head) = head {
        return Ok(Some(Refusal::already_retried(id, &head)));
    }
    if tx.chain_length(id).await? >= i64::from(terms.chain_limit) {
        return Ok(Some(Refusal::chain_too_long(id, terms.chain_limit)));
    }
    let is_full = is_full(tx, &source.organization_id, terms.live_limit).await?;
    Ok(is_full.then(|| Refusal::rate_limited(terms.live_limit.unwrap_or_default())))
}
