//! One check: what it looked at, and a sentence about it.

use std::time::Duration;

use serde::Serialize;

/// How long a check may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// Not as it should be; the sentence says what to do.
    Failed,
    /// There is nothing to look at, or no way to.
    Skipped,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) message: String,
}

impl Check {
    pub(super) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, message)
    }

    pub(super) fn failed(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Status::Failed, message)
    }

    pub(super) fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Status::Skipped, message)
    }

    fn new(name: &'static str, status: Status, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            name,
            status,
            message,
        }
    }
}

/// These checks, all skipped for one reason.
pub(super) fn all_skipped<'a>(
    names: &'a [&'static str],
    why: &'a str,
) -> impl Iterator<Item = Check> + 'a {
    names.iter().map(move |name| Check::skipped(name, why))
}

/// Waits for an answer, but not for ever; an error becomes its sentence, causes included.
pub(super) async fn within<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, String>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| format!("{:#}", anyhow::Error::new(error))),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
