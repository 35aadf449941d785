//! The message: which run needs a worker. Under 1 KiB; the worker reads everything else from the
//! ledger, so a forged or repeated message can at most hurry what is due anyway.

use serde::{Deserialize, Serialize};

use crate::domain::{OrganizationId, RetryId, RunId};

/// The name and version of the message's form.
pub const SCHEMA: &str = "redrive.dispatch.v1";

/// What is to be done with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DispatchKind {
    /// Execute it.
    Run,
    /// Create it from its source, then execute it.
    Retry,
}

/// One message. Members that a later version adds are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    schema: String,
    kind: DispatchKind,
    /// The run that needs a worker.
    pub run_id: RunId,
    /// The retry whose run is to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_id: Option<RetryId>,
    /// Whose run it is.
    pub organization_id: OrganizationId,
    /// The W3C trace context of the request behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Why bytes are no message of ours.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDispatch {
    /// Not JSON of the right shape.
    #[error("not a dispatch: {0}")]
    Shape(#[from] serde_json::Error),
    /// Another schema or version.
    #[error("unknown schema {0:?}")]
    Schema(String),
}

impl Dispatch {
    /// A message about `run_id`: create it if there is a `retry_id`, else execute it.
    #[must_use]
    pub fn new(
        run_id: RunId,
        retry_id: Option<RetryId>,
        organization_id: OrganizationId,
        traceparent: Option<String>,
    ) -> Self {
        let kind = if retry_id.is_some() {
            DispatchKind::Retry
        } else {
            DispatchKind::Run
        };
        Self {
            schema: SCHEMA.to_owned(),
            kind,
            run_id,
            retry_id,
            organization_id,
            traceparent,
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn kind(&self) -> DispatchKind {
        self.kind
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// None in practice: every member is plain text.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are no message of this schema.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidDispatch> {
        let dispatch: Self = serde_json::from_slice(bytes)?;
        if dispatch.schema != SCHEMA {
            return Err(InvalidDispatch::Schema(dispatch.schema));
        }
        Ok(dispatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_is_written_and_stays_small() {
        let longest = "é".repeat(128);
        let dispatch = Dispatch::new(
            longest.parse().unwrap(),
            Some("rty_1".parse().unwrap()),
            "org_1".parse().unwrap(),
            Some(format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16))),
        );
        let bytes = dispatch.to_bytes().unwrap();
        assert!(bytes.len() < 1024);
        assert_eq!(Dispatch::from_bytes(&bytes).unwrap(), dispatch);
    }

    #[test]
    fn what_a_later_version_adds_is_not_read() {
        let text = r#"{"schema":"redrive.dispatch.v1","kind":"run","runId":"r","organizationId":"o","x":{}}"#;
        let dispatch = Dispatch::from_bytes(text.as_bytes()).unwrap();
        let known = Dispatch::new("r".parse().unwrap(), None, "o".parse().unwrap(), None);
        assert_eq!(dispatch, known);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"schema":"redrive.dispatch.v2","kind":"run","runId":"r","organizationId":"o"}"#,
            r#"{"schema":"redrive.dispatch.v1","kind":"walk","runId":"r","organizationId":"o"}"#,
            r#"{"schema":"redrive.dispatch.v1","kind":"run","runId":"","organizationId":"o"}"#,
        ] {
            assert!(Dispatch::from_bytes(text.as_bytes()).is_err(), "{text}");
        }
    }
}
