//! How data is written to standard output.

use std::io::{ErrorKind, Write};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{CliError, json_text, table};

/// The form of what is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: columns
    #[default]
    Table,
    /// Indented JSON, as the API answers it
    Json,
    /// JSON, one object a line
    Jsonl,
    /// Only the ids, one a line
    Id,
}

/// `-o` and `--json`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct OutputArgs {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "json")]
    output: Format,
    /// Short for `-o json`
    #[arg(long)]
    json: bool,
}

impl OutputArgs {
    /// The form asked for.
    #[must_use]
    pub(super) fn format(self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// Writes one object, `data`, whose table is made by `view` and whose id is its member `id`.
    pub(super) fn one(self, data: &str, view: fn(&Value) -> String) -> Result<(), CliError> {
        self.one_of_many(data, view, |value| vec![id(value)])
    }

    /// Writes one object that is about many things, `ids`.
    pub(super) fn one_of_many(
        self,
        data: &str,
        view: fn(&Value) -> String,
        ids: fn(&Value) -> Vec<String>,
    ) -> Result<(), CliError> {
        let text = match self.format() {
            Format::Json => json_text::pretty(data),
            Format::Jsonl => json_text::compact(data),
            Format::Id => lines(ids(&parse(data)?).iter().map(|id| table::printable(id))),
            Format::Table => view(&parse(data)?),
        };
        print(&text)
    }

    /// Writes a list, `data`, as the API answers it; `view` makes the table of its items.
    pub(super) fn list(self, data: &str, view: fn(&[Value]) -> String) -> Result<(), CliError> {
        let text = match self.format() {
            Format::Json => json_text::pretty(data),
            Format::Jsonl => {
                let items = read::<RawList>(data)?.items;
                lines(items.iter().map(|item| json_text::compact(item.get())))
            }
            Format::Id => lines(read::<List>(data)?.items.iter().map(id)),
            Format::Table => {
                let list = read::<List>(data)?;
                if list.has_more {
                    eprintln!("there is more: use --offset {}", list.next_offset());
                }
                view(&list.items)
            }
        };
        print(&text)
    }
}

#[derive(Deserialize)]
struct RawList {
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    items: Vec<Value>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    has_more: bool,
}

impl List {
    fn next_offset(&self) -> usize {
        self.offset + self.items.len()
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn id(value: &Value) -> String {
    let id = value.get("id").or_else(|| value.get("runId"));
    table::printable(id.and_then(Value::as_str).unwrap_or_default())
}

/// The data of an answer as a value.
pub(super) fn parse(data: &str) -> Result<Value, CliError> {
    read(data)
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, CliError> {
    let error = |e| anyhow::anyhow!("the answer is not what this client understands: {e}");
    Ok(serde_json::from_str(data).map_err(error)?)
}

/// Writes lines to standard output. Nothing is written for an empty text, and a reader that has
/// gone away is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(anyhow::Error::new(e)
            .context("standard output can't be written")
            .into()),
        _ => Ok(()),
    }
}
