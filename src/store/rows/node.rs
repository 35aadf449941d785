//! Records of nodes, and writes of variables.

use crate::domain::{
    Attempt, EffectState, JsonText, NodeRecord, NodeStatus, RunId, Timestamp, VariableWrite,
};

use super::{super::StoreError, Place};

/// A node's record.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct NodeRow {
    pub(in crate::store) run_id: String,
    path: String,
    #[sqlx(rename = "type")]
    kind: String,
    status: String,
    input: Option<String>,
    result: Option<String>,
    error: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    due_at: Option<String>,
    branch: Option<String>,
    attempts: String,
    effect: Option<String>,
    origin_run_id: Option<String>,
    extra: Option<String>,
}

impl TryFrom<NodeRow> for NodeRecord {
    type Error = StoreError;

    fn try_from(row: NodeRow) -> Result<Self, StoreError> {
        let name = format!("{} {}", row.run_id, row.path);
        let place = Place {
            table: "nodes",
            row: &name,
        };
        let effect = row.effect.as_deref();
        Ok(Self {
            path: place.id("path", &row.path)?,
            kind: row.kind,
            status: place.word("status", &row.status, NodeStatus::parse)?,
            input: row.input.map(JsonText::trusted),
            result: row.result.map(JsonText::trusted),
            error: row.error.map(JsonText::trusted),
            started_at: row.started_at,
            finished_at: row.finished_at,
            due_at: row.due_at,
            branch: row.branch,
            attempts: place.json::<Vec<Attempt>>("attempts", &row.attempts)?,
            effect: effect
                .map(|text| place.json::<EffectState>("effect", text))
                .transpose()?,
            origin_run_id: place.optional_id("origin_run_id", row.origin_run_id.as_deref())?,
            extra: row.extra.map(JsonText::trusted),
        })
    }
}

/// A logged write of a variable.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct VariableWriteRow {
    run_id: String,
    name: String,
    old_value: String,
    new_value: String,
    written_by_node: Option<String>,
    written_at: Timestamp,
    lasts: bool,
}

impl TryFrom<VariableWriteRow> for (RunId, VariableWrite) {
    type Error = StoreError;

    fn try_from(row: VariableWriteRow) -> Result<Self, StoreError> {
        let place = Place {
            table: "variable_writes",
            row: &row.run_id,
        };
        let write = VariableWrite {
            name: row.name,
            old_value: JsonText::trusted(row.old_value),
            new_value: JsonText::trusted(row.new_value),
            written_by_node: place
                .optional_id("written_by_node", row.written_by_node.as_deref())?,
            written_at: row.written_at,
            lasts: row.lasts,
        };
        Ok((place.id("run_id", &row.run_id)?, write))
    }
}

/// The columns of a record that are made, not taken: attempts and effect, as JSON.
pub(in crate::store) fn history(
    record: &NodeRecord,
) -> Result<(String, Option<String>), StoreError> {
    let place = Place {
        table: "nodes",
        row: &record.path.to_string(),
    };
    let attempts = serde_json::to_string(&record.attempts)
        .map_err(|error| place.unreadable("attempts", &error))?;
    let effect = record.effect.as_ref().map(serde_json::to_string);
    let effect = effect
        .transpose()
        .map_err(|error| place.unreadable("effect", &error))?;
    Ok((attempts, effect))
}
