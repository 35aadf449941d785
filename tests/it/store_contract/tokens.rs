//! API tokens.

use redrive::{
    domain::{TokenId, format_timestamp},
    store::{NewToken, Token},
};

use crate::support::{
    ledger::Ledger,
    rows::{acme, id, now},
};

pub(super) async fn tokens_live_until_they_are_revoked(ledger: &Ledger) {
    let store = &ledger.store;
    let new = NewToken {
        id: id("tok_a"),
        organization_id: acme(),
        name: Some("ci ✓".into()),
        secret_hash: "abc".into(),
        scopes: "read retry".into(),
        created_at: now(),
    };
    store.insert_token(&new).await.unwrap();
    let other = NewToken {
        id: id("tok_b"),
        name: None,
        created_at: new.created_at + chrono::TimeDelta::seconds(1),
        ..new.clone()
    };
    store.insert_token(&other).await.unwrap();
    assert!(store.insert_token(&other).await.is_err(), "ids are unique");
    let token = store.token(&new.id).await.unwrap().unwrap();
    let expected = Token {
        id: new.id.clone(),
        organization_id: acme(),
        name: new.name.clone(),
        secret_hash: "abc".into(),
        scopes: "read retry".into(),
        created_at: new.created_at,
        revoked_at: None,
    };
    assert_eq!(token, expected);
    let missing: TokenId = id("tok_none");
    assert_eq!(store.token(&missing).await.unwrap(), None);
    let at = now();
    assert!(store.revoke_token(&new.id, at).await.unwrap());
    assert!(!store.revoke_token(&new.id, now()).await.unwrap());
    assert!(!store.revoke_token(&missing, now()).await.unwrap());
    assert_eq!(store.token(&new.id).await.unwrap(), None);
    let all = store.tokens().await.unwrap();
    let ids: Vec<_> = all.iter().map(|token| token.id.as_str()).collect();
    assert_eq!(ids, ["tok_b", "tok_a"]);
    let revoked = all[1].revoked_at.map(format_timestamp);
    assert_eq!(revoked, Some(format_timestamp(at)));
}
