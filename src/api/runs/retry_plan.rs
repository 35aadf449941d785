//! `POST /v1/runs/{id}/retry-plan`: what a retry would do. Changes nothing. Scope `read`.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{
        Api,
        auth::Scope,
        call::{BodyLimit, Call},
        envelope::Reply,
        error::ApiError,
    },
    intake::{Inspected, Planned},
    plan::{Plan, Report},
};

/// Takes the body of a retry; answers `{plan, planHash, report, refusal}`: the plan, null where none can
/// be made, its name for `planHash`, what the latest definition changes, if it is asked for, and what
/// a retry would be refused with now, or null.
pub(in crate::api) async fn retry_plan(
    State(api): State<Api>,
    call: Call,
) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let source = call.run_id()?;
    let body = call.optional_object(BodyLimit::plain(&api.limits)).await?;
    let Inspected { planned, refusal } = api.intake.plan(&caller, &source, body).await?;
    Reply::new(&Answer {
        plan: planned.as_ref().map(|planned| &planned.plan),
        plan_hash: planned.as_ref().map(Planned::plan_hash),
        report: planned.as_ref().and_then(|planned| planned.report.as_ref()),
        refusal: refusal.map(|refusal| ApiError::from(refusal).to_value()),
    })
}

// Written as it is: a plan of ten thousand lines is not built up as a tree of values first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    plan: Option<&'a Plan>,
    plan_hash: Option<String>,
    report: Option<&'a Report>,
    refusal: Option<Value>,
}
