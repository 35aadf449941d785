//! What a command can end with, and the exit code it means.

use std::process::ExitCode;

use serde_json::json;

use super::{client::ApiError, json_text, output::Format};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments or the input are wrong.
    #[error("{0}")]
    Usage(String),
    /// The API said no.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no such thing in the database.
    #[error("{0}")]
    NotFound(String),
    /// No answer in time.
    #[error("{0}")]
    TimedOut(String),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl CliError {
    /// The exit code, as `redrive --help` documents it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::TimedOut(_) => 6,
            Self::Other(_) => 1,
            Self::Api(error) => match error.status() {
                401 | 403 => 5,
                404 => 3,
                409 => 4,
                408 | 504 => 6,
                _ => 1,
            },
        }
    }

    /// Writes the error to standard error.
    #[must_use]
    pub fn report(&self, format: Format) -> ExitCode {
        eprintln!("{}", self.text(format));
        ExitCode::from(self.exit_code())
    }

    fn text(&self, format: Format) -> String {
        match format {
            Format::Table | Format::Id => format!("error: {self}"),
            Format::Json => json_text::pretty(&self.object()),
            Format::Jsonl => json_text::compact(&self.object()),
        }
    }

    /// The API's error object, or one of the same shape for what never reached the API.
    fn object(&self) -> String {
        let reason = match self {
            Self::Api(error) => return error.body().to_owned(),
            Self::Usage(_) => "usage",
            Self::NotFound(_) => "not_found",
            Self::TimedOut(_) => "timed_out",
            Self::Other(_) => "failed",
        };
        json!({ "message": self.to_string(), "error": { "reason": reason } }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16) -> CliError {
        let body = r#"{"code":409004,"message":"no","error":{"reason":"already_retried"}}"#;
        CliError::Api(ApiError::new(status, body.to_owned()))
    }

    #[test]
    fn every_kind_of_failure_has_its_exit_code() {
        let codes = [400, 401, 403, 404, 409, 413, 429, 503].map(|status| api(status).exit_code());
        assert_eq!(codes, [1, 5, 5, 3, 4, 1, 1, 1]);
        assert_eq!(CliError::Usage(String::new()).exit_code(), 2);
        assert_eq!(CliError::NotFound(String::new()).exit_code(), 3);
        assert_eq!(CliError::TimedOut(String::new()).exit_code(), 6);
        assert_eq!(CliError::Other(anyhow::anyhow!("x")).exit_code(), 1);
    }

    #[test]
    fn errors_are_sentences_for_people_and_objects_for_programs() {
        assert_eq!(
            api(409).text(Format::Table),
            "error: no (already_retried, HTTP 409)"
        );
        let body = r#"{"code":409004,"message":"no","error":{"reason":"already_retried"}}"#;
        assert_eq!(api(409).text(Format::Jsonl), body);
        assert_eq!(
            CliError::TimedOut("late".into()).text(Format::Jsonl),
            r#"{"message":"late","error":{"reason":"timed_out"}}"#
        );
    }
}
