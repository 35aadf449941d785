//! `redrive token list`.

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{CliError, database::ConfigArgs, output::OutputArgs, table, view},
    domain::format_timestamp,
    store::Token,
};

/// Arguments of `redrive token list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl List {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let store = self.config.open().await?;
        let tokens = store.tokens().await.context("the tokens can't be read")?;
        let items: Vec<Value> = tokens.iter().map(shown).collect();
        self.output
            .list(&json!({ "items": items }).to_string(), rows)
    }
}

/// The token as data, without its hash.
fn shown(token: &Token) -> Value {
    json!({
        "id": token.id,
        "organizationId": token.organization_id,
        "name": token.name,
        "scopes": token.scopes.split_whitespace().collect::<Vec<_>>(),
        "createdAt": format_timestamp(token.created_at),
        "revokedAt": token.revoked_at.map(format_timestamp),
    })
}

fn rows(items: &[Value]) -> String {
    let row = |item: &Value| {
        let text = |name| view::text(item, name).unwrap_or_default();
        let scopes = item.get("scopes").and_then(Value::as_array);
        let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
        [
            text("id"),
            text("organizationId"),
            text("name"),
            scopes.collect::<Vec<_>>().join(","),
            text("createdAt"),
            text("revokedAt"),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table::table(
        ["ID", "ORGANIZATION", "NAME", "SCOPES", "CREATED", "REVOKED"],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_without_its_hash() {
        let token = Token {
            id: "tok_1".parse().unwrap(),
            organization_id: "org_1".parse().unwrap(),
            name: None,
            secret_hash: "5ec4e7".into(),
            scopes: "read retry".into(),
            created_at: chrono::DateTime::from_timestamp_millis(0).unwrap(),
            revoked_at: None,
        };
        let shown = shown(&token);
        assert!(!shown.to_string().contains("5ec4e7"));
        let text = rows(&[shown]);
        assert!(text.contains("read,retry"), "{text}");
    }
}
