//! Why there is no configuration.
//!
//! Errors name the key and where it stands, never its value: it may be a secret.

use std::{io, path::PathBuf};

use figment::{
    Error, Figment,
    error::{Actual, Kind},
};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{origin} is not valid TOML: {why}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where and what, without the text itself.
        why: String,
    },
    /// A key that is not known, or a value that it can't have.
    #[error("{key} in {origin}: {why}")]
    Invalid {
        /// The key with its section, `database.url`.
        key: String,
        /// The file or the variable.
        origin: String,
        /// What is wrong, without the value.
        why: String,
    },
}

/// A TOML error without the lines that quote the file: they may hold a secret.
pub(super) fn without_source(message: &str) -> String {
    let is_quote = |line: &str| {
        line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
            .starts_with('|')
    };
    let kept = message
        .lines()
        .filter(|line| !is_quote(line) && !line.trim().is_empty());
    kept.collect::<Vec<_>>().join(": ")
}

/// What a value that does not fit is told, in the words of the configuration.
pub(super) fn explain(error: Error, figment: &Figment) -> ConfigError {
    let mut path = error.path.clone();
    let why = match &error.kind {
        Kind::UnknownField(field, known) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            format!("no such key; there are {}", known.join(", "))
        }
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("expected {expected}, found {}", kind_of(actual))
        }
        Kind::Message(message) => message.clone(),
        Kind::UnknownVariant(_, known) => format!("expected one of {}", known.join(", ")),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "the number is out of range".into(),
        Kind::InvalidLength(_, expected) => format!("expected {expected}"),
        Kind::MissingField(_)
        | Kind::DuplicateField(_)
        | Kind::Unsupported(_)
        | Kind::UnsupportedKey(..) => "this can't be its value".into(),
    };
    let key = path.join(".");
    let origin = match error.metadata {
        Some(metadata) => metadata.name.into_owned(),
        None => origin(figment, &key),
    };
    ConfigError::Invalid { key, origin, why }
}

fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        Actual::Unit
        | Actual::Option
        | Actual::NewtypeStruct
        | Actual::Enum
        | Actual::UnitVariant
        | Actual::NewtypeVariant
        | Actual::TupleVariant
        | Actual::StructVariant
        | Actual::Other(_) => "something else",
    }
}

/// Where a key stands.
pub(super) fn origin(figment: &Figment, key: &str) -> String {
    let metadata = figment.find_metadata(key);
    metadata.map_or_else(|| "the configuration".into(), |m| m.name.to_string())
}

/// A key that can't be as it is.
pub(super) fn invalid(key: &str, origin: &str, why: &str) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        origin: origin.to_owned(),
        why: why.to_owned(),
    }
}
