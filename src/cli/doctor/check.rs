//! One check: what it looked at, and a sentence about it.

use std::{error::Error, time::Duration};

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

/// An error and its causes; some errors hold the text of their cause already.
pub(super) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Waits for an answer, but not for ever; an error becomes its sentence, causes included.
pub(super) async fn within<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, String>
where
    E: Error,
{
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| sentence(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_every_cause_once() {
        let io = || std::io::Error::other("refused");
        let inner = sqlx::Error::Io(io());
        let text = sentence(&crate::store::StoreError::Unavailable(inner));
        assert!(
            text.starts_with("the database is not available: "),
            "{text}"
        );
        assert_eq!(text.matches("refused").count(), 1, "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_for_ever() {
        let never = std::future::pending::<Result<(), std::fmt::Error>>();
        assert_eq!(within(never).await, Err("no answer within 10 s".to_owned()));
    }
}
