//! Reads what stands between the marks of an expression.
//!
//! The end of an expression is where its grammar ends, not where the next marks stand: a fallback
//! may hold `}}` inside a JSON literal.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    Expression, Head, LoopValue, Marks, Operand, Path, Segment,
    path::{is_name_char, segment_of},
};
use crate::domain::{MAX_NESTING, parse_json};

/// Why a text is no expression.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) message: String,
    /// Whether the text ended before the expression did.
    pub(super) at_end: bool,
}

/// Reads an expression from `text`, which begins after the opening marks. Gives it and the bytes
/// up to and including the closing marks.
pub(super) fn expression(text: &str, marks: Marks) -> Result<(Expression, usize), Broken> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_space();
    let mut operands = vec![Operand::Path(cursor.path()?)];
    loop {
        cursor.skip_space();
        if cursor.take(marks.closing()) {
            break;
        }
        if !cursor.take("||") {
            return Err(cursor.broken(&format!("expected `||` or `{}`", marks.closing())));
        }
        cursor.skip_space();
        operands.push(cursor.operand()?);
    }
    Ok((Expression { marks, operands }, cursor.at))
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn broken(&self, message: &str) -> Broken {
        let rest = self.rest();
        let message = match rest.chars().next() {
            None => format!("{message}, but the text ends"),
            Some(c) => format!("{message}, found {c:?} after {} bytes", self.at),
        };
        Broken {
            message,
            // Marks are two bytes long: a single one left may be half of them.
            at_end: rest.len() < 2,
        }
    }

    fn name(&mut self) -> Result<&'a str, Broken> {
        let rest = self.rest();
        let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.broken("expected a name"));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    /// A fallback: a JSON literal, else a path.
    fn operand(&mut self) -> Result<Operand, Broken> {
        if self.rest().starts_with(['"', '{', '[']) {
            return self.json().map(Operand::Literal);
        }
        match self.word() {
            Some(literal) => Ok(Operand::Literal(literal)),
            None => self.path().map(Operand::Path),
        }
    }

    /// A literal without quotes or brackets: a number, `true`, `false`, `null`.
    fn word(&mut self) -> Option<Value> {
        let rest = self.rest();
        let in_word = |c: char| is_name_char(c) || matches!(c, '.' | '+');
        let end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        if rest[end..].starts_with('[') {
            return None;
        }
        let literal = parse_json(&rest.as_bytes()[..end], MAX_NESTING).ok()?;
        self.at += end;
        Some(literal)
    }

    /// A JSON value that knows its own end.
    fn json(&mut self) -> Result<Value, Broken> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {}
            Some(Err(e)) => {
                return Err(Broken {
                    message: format!("not a JSON value: {e}"),
                    at_end: e.is_eof(),
                });
            }
            None => return Err(self.broken("expected a JSON value")),
        }
        let text = &self.rest()[..values.byte_offset()];
        let value = parse_json(text.as_bytes(), MAX_NESTING).map_err(|e| Broken {
            message: e.to_string(),
            at_end: false,
        })?;
        self.at += text.len();
        Ok(value)
    }

    fn path(&mut self) -> Result<Path, Broken> {
        let head = self.head()?;
        let mut segments = Vec::new();
        while let Some(segment) = self.segment()? {
            segments.push(segment);
        }
        Ok(Path { head, segments })
    }

    fn head(&mut self) -> Result<Head, Broken> {
        if !self.take("$") {
            let name = self.name()?;
            return Ok(match name {
                "root" => Head::Root,
                id => Head::Node(id.to_owned()),
            });
        }
        Ok(match self.name()? {
            "nodes" => Head::Nodes(self.id("$nodes")?),
            "trigger" => Head::Trigger,
            "vars" => Head::Vars,
            "props" => Head::Props,
            "inputs" => Head::Inputs,
            "item" => Head::Item,
            "index" => Head::Index,
            "parent_item" => Head::ParentItem,
            "parent_index" => Head::ParentIndex,
            "for" => self.loop_value()?,
            "workflowId" => Head::WorkflowId,
            "workflow" => self.only_id("$workflow", Head::WorkflowId)?,
            "run" => self.only_id("$run", Head::RunId)?,
            unknown => {
                return Err(Broken {
                    message: format!("there is no `${unknown}`"),
                    at_end: false,
                });
            }
        })
    }

    /// The node id after `$nodes` or `$for`.
    fn id(&mut self, head: &str) -> Result<String, Broken> {
        match self.segment()? {
            Some(Segment::Key(id)) => Ok(id),
            Some(Segment::Index(id)) => Ok(id.to_string()),
            None => Err(self.broken(&format!("expected a node id after `{head}`"))),
        }
    }

    fn loop_value(&mut self) -> Result<Head, Broken> {
        let node = self.id("$for")?;
        let value = match self.segment()? {
            Some(Segment::Key(key)) if key == "item" => LoopValue::Item,
            Some(Segment::Key(key)) if key == "index" => LoopValue::Index,
            _ => return Err(self.broken("expected `.item` or `.index` of the loop")),
        };
        Ok(Head::For { node, value })
    }

    fn only_id(&mut self, word: &str, head: Head) -> Result<Head, Broken> {
        match self.segment()? {
            Some(Segment::Key(key)) if key == "id" => Ok(head),
            _ => Err(self.broken(&format!("`{word}` has only `.id`"))),
        }
    }

    fn segment(&mut self) -> Result<Option<Segment>, Broken> {
        if self.take(".") {
            return Ok(Some(segment_of(self.name()?)));
        }
        if !self.take("[") {
            return Ok(None);
        }
        let segment = if self.rest().starts_with('"') {
            let key = self.json()?;
            let key = key.as_str().ok_or_else(|| self.broken("expected a key"))?;
            Segment::Key(key.to_owned())
        } else {
            match segment_of(self.name()?) {
                index @ Segment::Index(_) => index,
                Segment::Key(_) => {
                    return Err(self.broken("expected a number or a \"key\" in brackets"));
                }
            }
        };
        if !self.take("]") {
            return Err(self.broken("expected `]`"));
        }
        Ok(Some(segment))
    }
}
