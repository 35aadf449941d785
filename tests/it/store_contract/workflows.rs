//! Registered workflows, their versions, and the variables that live on them.

use redrive::{
    domain::{JsonText, OrganizationId, RunStatus, VariableWrite, Workflow},
    store::{NewWorkflow, Store, StoredDefinition},
};

use crate::support::{
    ledger::Ledger,
    rows::{MINUTE, acme, checkpoint, claim, claim_and_die, finish, id, json, now, start},
};

fn new(hash: &str, name: Option<&str>) -> NewWorkflow {
    NewWorkflow {
        organization_id: acme(),
        id: "wf".into(),
        name: name.map(str::to_owned),
        definition: StoredDefinition {
            hash: id(hash),
            text: json("{\"nodes\":{}}"),
        },
        owner_user_id: name.map(|_| "owner".into()),
        now: now(),
    }
}

async fn put(store: &Store, hash: &str, name: Option<&str>) -> Workflow {
    store.put_workflow(&new(hash, name)).await.unwrap()
}

async fn set(store: &Store, organization: &OrganizationId, name: &str, value: &str) -> bool {
    let value = json(value);
    let set = store.set_workflow_variable(organization, "wf", name, &value, now());
    set.await.unwrap()
}

async fn values(store: &Store) -> Vec<(String, JsonText, bool)> {
    let values = store.workflow_variables(&acme(), "wf").await.unwrap();
    let values = values.into_iter();
    let value = |kept: redrive::domain::WorkflowVariable| {
        (kept.name, kept.value, kept.run_id == Some(id("run_a")))
    };
    values.map(value).collect()
}

fn write(name: &str, value: &str, lasts: bool) -> VariableWrite {
    VariableWrite {
        name: name.into(),
        old_value: json("null"),
        new_value: json(value),
        written_by_node: Some(id("set")),
        written_at: now(),
        lasts,
    }
}

pub(super) async fn another_definition_is_another_version(ledger: &Ledger) {
    let store = &ledger.store;
    let first = put(store, "one", Some("A ✓")).await;
    assert_eq!((first.version, first.name.as_deref()), (1, Some("A ✓")));
    let same = put(store, "one", None).await;
    assert_eq!((same.version, same.name.as_deref()), (1, Some("A ✓")));
    assert_eq!(same.owner_user_id.as_deref(), Some("owner"));
    assert_eq!(same.created_at, first.created_at);
    let second = put(store, "two", Some("B")).await;
    assert_eq!((second.version, second.name.as_deref()), (2, Some("B")));
    let third = put(store, "one", None).await;
    assert_eq!(third.version, 3, "it was another one in between");

    let version = async |number| store.workflow_version(&acme(), "wf", number).await.unwrap();
    assert_eq!(version(1).await, Some(id("one")));
    assert_eq!(version(2).await, Some(id("two")));
    assert_eq!(version(3).await, Some(id("one")));
    assert_eq!(version(4).await, None);
    assert_eq!(store.workflow(&acme(), "wf").await.unwrap(), Some(third));
}

pub(super) async fn workflows_belong_to_their_organisation(ledger: &Ledger) {
    let store = &ledger.store;
    put(store, "one", None).await;
    let (other, list) = (id("other"), async |limit, offset| {
        let found = store.workflows(&acme(), limit, offset).await.unwrap();
        found.into_iter().map(|found| found.id).collect::<Vec<_>>()
    });
    assert_eq!(store.workflow(&other, "wf").await.unwrap(), None);
    assert_eq!(store.workflow_version(&other, "wf", 1).await.unwrap(), None);
    assert!(store.workflows(&other, 10, 0).await.unwrap().is_empty());
    assert!(!set(store, &other, "n", "1").await);

    let newer = NewWorkflow {
        id: "wf_b".into(),
        now: now() + MINUTE,
        ..new("one", None)
    };
    store.put_workflow(&newer).await.unwrap();
    assert_eq!(list(10, 0).await, ["wf_b", "wf"]);
    assert_eq!(list(1, 1).await, ["wf"]);
}

pub(super) async fn values_live_on_a_workflow_until_they_are_unset(ledger: &Ledger) {
    let store = &ledger.store;
    let set = async |name, value| set(store, &acme(), name, value).await;
    assert!(!set("n", "1").await, "there is no workflow");
    put(store, "one", None).await;
    assert!(set("n", "1.50").await && set("a", "null").await && set("n", "{\"z\":1}").await);
    let expected = [("a", "null"), ("n", "{\"z\":1}")];
    let expected = expected.map(|(name, value)| (name.to_owned(), json(value), false));
    assert_eq!(values(store).await, expected);

    let unset = async || {
        store
            .unset_workflow_variable(&acme(), "wf", "a")
            .await
            .unwrap()
    };
    assert!(unset().await);
    assert!(!unset().await);
    assert_eq!(values(store).await.len(), 1);
}

pub(super) async fn what_a_run_writes_to_its_workflow_outlives_it(ledger: &Ledger) {
    let store = &ledger.store;
    put(store, "one", None).await;
    start(store, "run_a").await;
    let held = claim(store, "run_a").await.unwrap();
    let mut last = finish(RunStatus::Success);
    last.checkpoint.variable_writes = vec![
        write("lasting", "1", true),
        write("own", "2", false),
        write("lasting", "3", true),
    ];
    store.finish(&held.fence, &last).await.unwrap();
    let expected = [("lasting".to_owned(), json("3"), true)];
    assert_eq!(values(store).await, expected);
}

pub(super) async fn promise_4_a_worker_without_its_lease_writes_no_value(ledger: &Ledger) {
    let store = &ledger.store;
    put(store, "one", None).await;
    start(store, "run_a").await;
    let lost = claim_and_die(store, "run_a").await;
    store.rescue().await.unwrap();
    claim(store, "run_a").await.unwrap();
    let mut late = checkpoint(Vec::new());
    late.variable_writes = vec![write("lasting", "1", true)];
    store.checkpoint(&lost, &late).await.unwrap();
    assert_eq!(values(store).await, []);
}
