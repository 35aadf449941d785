//! Registering a workflow.

use serde_json::Value;

use super::{
    Caller, Intake, IntakeError,
    body::{invalid, object, only, text},
    stored,
};
use crate::{
    domain::{NodeId, Workflow},
    store::NewWorkflow,
    workflow::Definition,
};

impl Intake {
    /// Registers a workflow or updates it: `{name?, definition, variableDefs?, ownerUserId?}`.
    /// Another definition is another version; `variableDefs` beside it are part of it.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn put_workflow(
        &self,
        caller: &Caller,
        id: &str,
        body: Value,
    ) -> Result<Workflow, IntakeError> {
        let mut members = object(body)?;
        only(
            &members,
            &["name", "definition", "variableDefs", "ownerUserId"],
        )?;
        // A workflow's id is held to what any id is.
        id.parse::<NodeId>()
            .map_err(|error| invalid(format!("the workflow's id is invalid: {error}")))?;
        let name = text(&members, "name")?;
        let owner_user_id = text(&members, "ownerUserId")?;
        let mut definition = members
            .remove("definition")
            .ok_or_else(|| invalid("definition is missing: send the workflow's definition"))?;
        let variables = members
            .remove("variableDefs")
            .filter(|defs| !defs.is_null());
        if let (Some(variables), Value::Object(definition)) = (variables, &mut definition) {
            definition.insert("variableDefs".to_owned(), variables);
        }
        let parsed = Definition::parse(&definition, &self.definition_limits())?;
        parsed.validate_for_start(&self.expression_limits())?;
        let new = NewWorkflow {
            organization_id: caller.organization_id.clone(),
            id: id.to_owned(),
            name,
            definition: stored(&definition)?,
            owner_user_id,
            now: self.clock.now(),
        };
        let store = self.store.clone();
        Ok(super::uncancelled(async move { store.put_workflow(&new).await }).await?)
    }
}
