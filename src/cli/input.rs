//! What a user hands in: files, standard input, JSON on the command line.

use std::io::{IsTerminal, Read};

use serde_json::value::RawValue;

use super::CliError;

/// Reads a file, or standard input for `-`.
pub(super) fn read(source: &str) -> Result<String, CliError> {
    let text = if source == "-" {
        read_stdin()
    } else {
        std::fs::read_to_string(source)
    };
    let what = if source == "-" {
        "standard input"
    } else {
        source
    };
    text.map_err(|e| CliError::Usage(format!("can't read {what}: {e}")))
}

fn read_stdin() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("reading JSON from standard input; end it with Ctrl-D");
    }
    let mut text = String::new();
    stdin.lock().read_to_string(&mut text)?;
    Ok(text)
}

/// Reads JSON that stands on the command line, or in a file whose name follows an `@`.
pub(super) fn json_argument(argument: &str) -> Result<Box<RawValue>, CliError> {
    match argument.strip_prefix('@') {
        Some(source) => json(&read(source)?, source),
        None => json(argument, "the argument"),
    }
}

/// Takes text for JSON without changing a character of it.
pub(super) fn json(text: &str, what: &str) -> Result<Box<RawValue>, CliError> {
    serde_json::from_str(text.trim())
        .map_err(|e| CliError::Usage(format!("{what} is no JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_arguments_keep_their_spelling() {
        let json = json_argument(" {\"n\": 1E5, \"d\": 0.10} ").unwrap();
        assert_eq!(json.get(), "{\"n\": 1E5, \"d\": 0.10}");
        let error = json_argument("{oops}").unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn an_at_sign_names_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1.0]\n").unwrap();
        let argument = format!("@{}", file.path().display());
        assert_eq!(json_argument(&argument).unwrap().get(), "[1.0]");
        assert_eq!(json_argument("@/no/such").unwrap_err().exit_code(), 2);
    }
}
