//! A string of a payload: plain text and expressions in turn.

use std::fmt;

use serde_json::Value;

use super::{ExpressionLimits, Head, Path, parse};

/// The marks around an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `{{ }}`
    Braces,
    /// `<< >>`
    Angles,
}

impl Marks {
    fn opening(self) -> &'static str {
        match self {
            Self::Braces => "{{",
            Self::Angles => "<<",
        }
    }

    pub(super) fn closing(self) -> &'static str {
        match self {
            Self::Braces => "}}",
            Self::Angles => ">>",
        }
    }
}

/// A path, or a value written out.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A path.
    Path(Path),
    /// A JSON literal; only fallbacks may be one.
    Literal(Value),
}

/// One expression: a path and its fallbacks.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// The marks around it.
    pub marks: Marks,
    /// The path, then its fallbacks in order. Each is used when all before it are missing or null.
    pub operands: Vec<Operand>,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.marks.opening())?;
        for (position, operand) in self.operands.iter().enumerate() {
            if position > 0 {
                f.write_str(" || ")?;
            }
            match operand {
                Operand::Path(path) => write!(f, "{path}")?,
                Operand::Literal(value) => write!(f, "{value}")?,
            }
        }
        write!(f, " {}", self.marks.closing())
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text that stays as it is.
    Text(String),
    /// The opening of what others resolve, `{{@field}}` and `{{ask.x}}`: stays as it is.
    Foreign(String),
    /// An expression.
    Expression(Expression),
}

/// What is wrong with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It can't be read.
    Syntax,
    /// It is too long, or there are too many of them.
    Limit,
}

/// A string whose expressions can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}`: {message}")]
pub struct ExpressionError {
    /// What kind of fault it is.
    pub fault: Fault,
    /// The beginning of the expression, cut when it is long.
    pub expression: String,
    /// What is wrong.
    pub message: String,
}

/// A string, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads a string. `is_node` says whether an id is a node of the definition, which decides
    /// about `<< nodeId.x >>`: everything else between such marks is plain text.
    ///
    /// # Errors
    /// What stands between `{{ }}` is no expression, or a limit is exceeded.
    pub fn parse(
        text: &str,
        is_node: &dyn Fn(&str) -> bool,
        limits: &ExpressionLimits,
    ) -> Result<Self, ExpressionError> {
        let mut reader = Reader {
            text,
            is_node,
            limits,
            parts: Vec::new(),
            pending: String::new(),
            expressions: 0,
        };
        reader.run()?;
        Ok(Self {
            parts: reader.parts,
        })
    }

    /// The pieces in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The expression that the string is, when it is nothing else.
    #[must_use]
    pub fn as_expression(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => Some(expression),
            _ => None,
        }
    }

    /// The expressions in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) | Part::Foreign(_) => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace("{{", "\\{{")),
            Part::Foreign(text) => f.write_str(text),
            Part::Expression(expression) => write!(f, "{expression}"),
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    is_node: &'a dyn Fn(&str) -> bool,
    limits: &'a ExpressionLimits,
    parts: Vec<Part>,
    pending: String,
    expressions: usize,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<(), ExpressionError> {
        let mut at = 0;
        while let Some(found) = self.text[at..].find(['\\', '{', '<']) {
            self.pending.push_str(&self.text[at..at + found]);
            at += found;
            at += self.special(at)?;
        }
        self.pending.push_str(&self.text[at..]);
        self.flush();
        Ok(())
    }

    /// Reads what begins with a special character; gives the bytes read.
    fn special(&mut self, at: usize) -> Result<usize, ExpressionError> {
        let rest = &self.text[at..];
        if rest.starts_with("\\{{") {
            self.pending.push_str("{{");
            return Ok(3);
        }
        // Of many braces the innermost two are the marks: `{"a":{{{x}}}}` has one expression.
        if rest.starts_with("{{") && !rest.starts_with("{{{") {
            return match foreign_opening(rest) {
                Some(opening) => {
                    self.flush();
                    self.parts.push(Part::Foreign(opening.to_owned()));
                    Ok(opening.len())
                }
                None => self.braces(rest),
            };
        }
        if rest.starts_with("<<")
            && let Some(read) = self.angles(rest)?
        {
            return Ok(read);
        }
        // All three special characters are one byte long.
        self.pending.push_str(&rest[..1]);
        Ok(1)
    }

    fn braces(&mut self, rest: &str) -> Result<usize, ExpressionError> {
        let window = self.window(rest);
        match parse::expression(&window[2..], Marks::Braces) {
            Ok((expression, read)) => {
                self.push(expression, rest)?;
                Ok(2 + read)
            }
            Err(broken) if broken.at_end && window.len() < rest.len() => Err(self.too_long(rest)),
            Err(broken) => Err(fault(Fault::Syntax, rest, broken.message)),
        }
    }

    /// An expression in angle marks, if that is what it is.
    fn angles(&mut self, rest: &str) -> Result<Option<usize>, ExpressionError> {
        let parsed = parse::expression(&self.window(rest)[2..], Marks::Angles);
        let Ok((expression, read)) = parsed else {
            return Ok(None);
        };
        let is_ours = match expression.operands.first() {
            Some(Operand::Path(Path {
                head: Head::Node(id),
                ..
            })) => (self.is_node)(id),
            Some(Operand::Path(_)) => true,
            Some(Operand::Literal(_)) | None => false,
        };
        if is_ours {
            self.push(expression, rest)?;
        }
        Ok(is_ours.then_some(2 + read))
    }

    /// As much of the text as the longest expression with its marks takes.
    fn window<'t>(&self, rest: &'t str) -> &'t str {
        let end = self.limits.expression_bytes.saturating_add(4);
        &rest[..rest.floor_char_boundary(end)]
    }

    fn too_long(&self, rest: &str) -> ExpressionError {
        let limit = self.limits.expression_bytes;
        let message =
            format!("an expression may have at most {limit} bytes (limits.expression_bytes)");
        fault(Fault::Limit, rest, message)
    }

    fn push(&mut self, expression: Expression, rest: &str) -> Result<(), ExpressionError> {
        self.expressions += 1;
        if self.expressions > self.limits.per_string {
            let limit = self.limits.per_string;
            let message = format!(
                "a string may have at most {limit} expressions (limits.expressions_per_string)"
            );
            return Err(fault(Fault::Limit, rest, message));
        }
        self.flush();
        self.parts.push(Part::Expression(expression));
        Ok(())
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.parts
                .push(Part::Text(std::mem::take(&mut self.pending)));
        }
    }
}

/// The beginning of `{{@field}}` or `{{ask.x}}`, up to and including what gives it away.
fn foreign_opening(rest: &str) -> Option<&str> {
    let inner = rest[2..].trim_start();
    let word_at = rest.len() - inner.len();
    if inner.starts_with('@') {
        return Some(&rest[..=word_at]);
    }
    let after = inner.strip_prefix("ask")?;
    let is_ask = after.starts_with(['.', '[', '}', '|']) || after.trim_start() != after;
    is_ask.then(|| &rest[..word_at + "ask".len()])
}

/// An error that shows the beginning of the expression.
fn fault(fault: Fault, rest: &str, message: String) -> ExpressionError {
    const SHOWN: usize = 80;
    let end = rest.find("}}").map_or(rest.len(), |end| end + 2);
    let shown = &rest[..rest.floor_char_boundary(end.min(SHOWN))];
    let more = if shown.len() < end { "..." } else { "" };
    ExpressionError {
        fault,
        expression: format!("{shown}{more}"),
        message,
    }
}
