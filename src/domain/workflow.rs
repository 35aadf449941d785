//! A registered workflow, and the variables that live on it.

use super::{DefinitionHash, JsonText, OrganizationId, RunId, Timestamp};

/// A registered workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// Whose workflow it is.
    pub organization_id: OrganizationId,
    /// The workflow: 1 to 128 visible characters.
    pub id: String,
    /// A name for people.
    pub name: Option<String>,
    /// Its newest version, from 1.
    pub version: i64,
    /// The definition of that version, by content.
    pub definition_hash: DefinitionHash,
    /// Its owner.
    pub owner_user_id: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last registered.
    pub updated_at: Timestamp,
}

/// A value that outlives a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowVariable {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: JsonText,
    /// The run that wrote it last; none if somebody set it.
    pub run_id: Option<RunId>,
    /// When.
    pub updated_at: Timestamp,
}
