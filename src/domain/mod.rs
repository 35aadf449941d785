//! What redrive talks about: ids, statuses, records, errors, time, JSON and the context of a trace.
//! No I/O.
//!
//! Everything above speaks in these types. A type lives here when two rooms need it and neither
//! may import the other.

mod clock;
mod delay;
mod effect;
mod id;
mod json;
mod lane;
mod node;
mod number;
mod path;
mod policy;
mod refusal;
mod retry;
mod run;
mod trace;
mod workflow;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp, format_timestamp};
pub use delay::{Jitter, RetryDelay};
pub use effect::{EffectState, LastAttempt, SideEffects, is_rejection};
pub use id::{
    DeadLetterId, DefinitionHash, InvalidId, NodeId, OrganizationId, RetryId, RunId, TokenId,
};
pub use json::{JsonError, JsonText, MAX_NESTING, nesting, parse_json, same_value};
pub use lane::{Lane, PerLane};
pub use node::{
    Attempt, CHILD_RUN_ID, ErrorClass, ITERATION_SECRET_KEYS, ITERATIONS, NodeError, NodeRecord,
    NodeStatus, RETRIES_CHILD, SECRET_KEYS,
};
pub use number::{compare_numbers, whole_number};
pub use path::{InvalidPath, NodePath, PathSegment};
pub use policy::{Backoff, DelayJitter, RetryPolicy};
pub use refusal::{Refusal, RefusalReason};
pub use retry::{IllegalTransition, Retry, RetryEvent, RetryState};
pub use run::{Run, RunStatus, Simulation, VariableWrite, WaitingFor};
pub use trace::{is_traceparent, join_trace, traceparent_of};
pub use workflow::{Workflow, WorkflowVariable};
