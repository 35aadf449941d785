//! Templates with `{{@field}}` marks, which are read twice: the resolver puts in the values of
//! their expressions, then `format` the fields of its items.
//!
//! What the first reader has put in, and what the author wrote as a literal (`\{{`), must be no
//! mark to the second. So between the two `\{` is a `{` that opens nothing, and backslashes before a
//! `{` are doubled; everywhere else a backslash is itself. `hi {{@key}}` out of data is recorded as
//! `hi \{{@key}}`.

/// The text of a template while it grows.
#[derive(Debug, Default)]
pub(super) struct Growing {
    text: String,
    /// Whether there is a second reader, who has to tell marks from literal text.
    is_read_again: bool,
    /// Where the literal text at the end begins.
    literal_from: usize,
}

impl Growing {
    /// A text that nobody reads again: everything goes in as it is.
    pub(super) fn plain() -> Self {
        Self::default()
    }

    /// A text whose marks are read again.
    pub(super) fn with_fields() -> Self {
        Self {
            is_read_again: true,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Literal text. It is escaped together with what it stands beside: two braces may come out of
    /// two values.
    pub(super) fn literal(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    /// The opening of a mark.
    pub(super) fn mark(&mut self, opening: &str) {
        self.escape_literal(true);
        self.text.push_str(opening);
        self.literal_from = self.text.len();
    }

    pub(super) fn finish(mut self) -> String {
        self.escape_literal(false);
        self.text
    }

    fn escape_literal(&mut self, before_mark: bool) {
        let literal = &self.text[self.literal_from..];
        if self.is_read_again && literal.contains(['\\', '{']) {
            let escaped = escape(literal, before_mark);
            self.text.truncate(self.literal_from);
            self.text.push_str(&escaped);
        }
    }
}

/// `before_mark`: whether a mark follows, which begins with a brace.
fn escape(literal: &str, before_mark: bool) -> String {
    let mut escaped = String::with_capacity(literal.len() + 8);
    let mut backslashes = 0;
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        let is_last = chars.peek().is_none();
        let opens = chars.peek() == Some(&'{') || (is_last && before_mark);
        if c == '{' {
            escaped.extend(std::iter::repeat_n('\\', backslashes));
            if opens {
                escaped.push('\\');
            }
        }
        escaped.push(c);
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    if before_mark {
        escaped.extend(std::iter::repeat_n('\\', backslashes));
    }
    escaped
}

/// A piece of a resolved template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPart<'a> {
    /// Text that stays as it is.
    Text(&'a str),
    /// The name of a field.
    Field(&'a str),
}

/// Reads a resolved template. Everything but `{{@field}}` is text, also marks that are not closed
/// and those of others. Of many braces the innermost two are the mark, and a name holds no `{`.
#[must_use]
pub fn field_parts(template: &str) -> Vec<FieldPart<'_>> {
    let mut parts = Vec::new();
    let (mut text_from, mut at) = (0, 0);
    let text = |parts: &mut Vec<_>, range: std::ops::Range<usize>| {
        if !range.is_empty() {
            parts.push(FieldPart::Text(&template[range]));
        }
    };
    while let Some(found) = template[at..].find(['\\', '{']) {
        at += found;
        let rest = template[at..].trim_start_matches('\\');
        let backslashes = template.len() - at - rest.len();
        let from = at + backslashes;
        if backslashes > 0 && rest.starts_with('{') {
            text(&mut parts, text_from..at + backslashes / 2);
            text_from = from;
        }
        // An odd backslash makes the brace a literal one.
        let field = if backslashes.is_multiple_of(2) {
            field(rest)
        } else {
            None
        };
        if let Some((name, bytes)) = field {
            text(&mut parts, text_from..from);
            parts.push(FieldPart::Field(name));
            at = from + bytes;
            text_from = at;
        } else {
            at = from + usize::from(rest.starts_with('{'));
        }
    }
    text(&mut parts, text_from..template.len());
    parts
}

/// The name in the mark that `rest` begins with, and the bytes of the mark.
fn field(rest: &str) -> Option<(&str, usize)> {
    let inner = rest.strip_prefix("{{")?;
    let inner = &inner[..inner.find('{').unwrap_or(inner.len())];
    let close = inner.find("}}")?;
    let name = inner[..close].trim().strip_prefix('@')?;
    Some((name, close + 4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adjacent texts as one.
    fn merged(parts: &[FieldPart<'_>]) -> Vec<(bool, String)> {
        let mut merged: Vec<(bool, String)> = Vec::new();
        for part in parts {
            match (part, merged.last_mut()) {
                (FieldPart::Text(more), Some((false, text))) => text.push_str(more),
                (FieldPart::Text(text), _) => merged.push((false, (*text).to_owned())),
                (FieldPart::Field(name), _) => merged.push((true, (*name).to_owned())),
            }
        }
        merged
    }

    #[test]
    fn a_field_is_the_innermost_closed_mark() {
        use FieldPart::{Field, Text};
        for (template, expected) in [
            ("", &[][..]),
            ("a {{@b.c}}", &[Text("a "), Field("b.c")]),
            ("{{ @b }}}", &[Field("b"), Text("}")]),
            ("{{{@b}}", &[Text("{"), Field("b")]),
            ("{{ {{@b}}", &[Text("{{ "), Field("b")]),
            ("{{root.b}} {{@b", &[Text("{{root.b}} {{@b")]),
            (r"\{{@b}}", &[Text("{{@b}}")]),
            (r"\\{{@b}}", &[Text(r"\"), Field("b")]),
            (r"\a\\b \", &[Text(r"\a\\b \")]),
            (r"\{{{@b}}", &[Text("{"), Field("b")]),
            (r"{{@a\{{b}}", &[Text(r"{{@a"), Text("{{b}}")]),
        ] {
            assert_eq!(field_parts(template), expected, "{template}");
        }
    }

    #[test]
    fn work_is_linear_in_the_template() {
        let began = std::time::Instant::now();
        for piece in ["{", r"\", "{{@a", r"\{", "{{@a}}"] {
            let _ = field_parts(&piece.repeat(300_000));
        }
        // Quadratic, it would be minutes.
        assert!(began.elapsed().as_secs() < 10);
    }

    proptest! {
        #[test]
        fn literal_text_and_marks_are_read_back(pieces in prop::collection::vec((any::<bool>(), r"[\\{}@a ]{0,6}"), 0..8)) {
            let mut growing = Growing::with_fields();
            let mut expected: Vec<FieldPart<'_>> = Vec::new();
            for (is_mark, text) in &pieces {
                if *is_mark {
                    growing.mark("{{@");
                    growing.literal("f}}");
                    expected.push(FieldPart::Field("f"));
                } else {
                    growing.literal(text);
                    expected.extend((!text.is_empty()).then_some(FieldPart::Text(text)));
                }
            }
            let template = growing.finish();
            prop_assert_eq!(merged(&field_parts(&template)), merged(&expected), "{}", template);
        }
    }
}
