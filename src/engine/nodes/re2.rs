//! Writes a pattern of RE2 as one of the `regex` crate.
//!
//! The two agree on most of their syntax. Where they do not, the pattern is written so that it
//! means what it means to RE2 as Go's `regexp` has it: `\w \d \s \b` are about ASCII, a `{` that
//! opens no repetition is a character, `\Q..\E` quotes, and in a class `&&`, `--`, `~~` and `[` are
//! characters. What RE2 does not have (`(?x)`, `\u`, `\<`, `a**`) is refused; what is wrong in both is
//! left for the crate to refuse.

use std::fmt::Write;

/// The most that RE2 repeats.
const MAX_REPEAT: u32 = 1_000;

/// The pattern in the syntax of the `regex` crate. The error says what RE2 does not take.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut writer = Writer {
        rest: pattern,
        out: String::with_capacity(pattern.len()),
        repeated: false,
    };
    while !writer.rest.is_empty() {
        writer.step()?;
    }
    Ok(writer.out)
}

struct Writer<'a> {
    rest: &'a str,
    out: String,
    /// Whether what was read last is a repetition.
    repeated: bool,
}

impl<'a> Writer<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn copy(&mut self, bytes: usize) {
        let copied = self.take(bytes);
        self.out.push_str(copied);
    }

    fn take_char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.take(c.len_utf8());
        Some(c)
    }

    fn step(&mut self) -> Result<(), String> {
        let repeats = match self.rest.as_bytes().first() {
            Some(b'*' | b'+' | b'?') => Some(1),
            Some(b'{') => repetition(self.rest)?,
            _ => None,
        };
        if let Some(bytes) = repeats {
            return self.repeat(bytes);
        }
        self.repeated = false;
        match self.take_char() {
            Some('\\') => self.escape(),
            Some('[') => self.class(),
            Some('(') => self.group(),
            Some(c @ ('{' | '}' | ']')) => {
                self.literal(c);
                Ok(())
            }
            Some(c) => {
                self.out.push(c);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn repeat(&mut self, bytes: usize) -> Result<(), String> {
        let lazy = usize::from(self.rest[bytes..].starts_with('?'));
        let operator = self.take(bytes + lazy);
        if self.repeated {
            return Err(format!("`{operator}` repeats a repetition"));
        }
        self.repeated = true;
        self.out.push_str(operator);
        Ok(())
    }

    /// A character that is nothing else, in a class or out of one.
    fn literal(&mut self, c: char) {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            // Writing to a text never fails.
            let _ = write!(self.out, "\\x{:02X}", u32::from(c));
        } else {
            self.out.push(c);
        }
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let word = match self.rest.chars().next() {
            Some('b') => r"(?-u:\b)",
            Some('B') => r"(?-u:\B)",
            Some('A') => r"\A",
            Some('z') => r"\z",
            Some('Q') => {
                self.take(1);
                self.quoted();
                return Ok(());
            }
            _ => return self.escape_of_both(),
        };
        self.take(1);
        self.out.push_str(word);
        Ok(())
    }

    /// `\Q..\E`, or up to the end.
    fn quoted(&mut self) {
        let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
        text.chars().for_each(|c| self.literal(c));
        self.rest = rest;
    }

    /// What follows a backslash in a class or outside: a set of characters or one.
    fn escape_of_both(&mut self) -> Result<(), String> {
        let set = match self.rest.chars().next() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            Some('s') => r"[\t\n\f\r\x20]",
            Some('S') => r"[^\t\n\f\r\x20]",
            Some('p' | 'P') => return self.unicode_class(),
            _ => return self.escaped_char(),
        };
        self.take(1);
        self.out.push_str(set);
        Ok(())
    }

    /// `\pN`, `\p{Greek}`, and `\p{^Greek}`, which the crate writes `\P{Greek}`.
    fn unicode_class(&mut self) -> Result<(), String> {
        let mut negated = self.take(1) == "P";
        let mut name = self.take_char().map(String::from).unwrap_or_default();
        if name == "{" {
            let end = self.rest.find('}').ok_or(r"`\p{` has no `}`")?;
            name = self.take(end).to_owned();
            self.take(1);
        }
        if let Some(positive) = name.strip_prefix('^') {
            negated = !negated;
            name = positive.to_owned();
        }
        let letter = if negated { 'P' } else { 'p' };
        let _ = write!(self.out, "\\{letter}{{{name}}}");
        Ok(())
    }

    /// An escape that stands for one character.
    fn escaped_char(&mut self) -> Result<(), String> {
        let c = self.take_char().ok_or(r"ends with a single `\`")?;
        match c {
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => self.out.extend(['\\', c]),
            'x' => self.hexadecimal()?,
            '0'..='7' => self.octal(c)?,
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => self.literal(c),
            c => return Err(format!(r"RE2 has no `\{c}` here")),
        }
        Ok(())
    }

    /// `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<(), String> {
        let fault = r"`\x` takes two hexadecimal digits, or any number in `{}`";
        let braced = self.rest.starts_with('{');
        let digits = if braced {
            let end = self.rest.find('}').ok_or(fault)?;
            &self.take(end + 1)[1..end]
        } else {
            let two = self.rest.get(..2).ok_or(fault)?;
            self.take(2);
            two
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(fault.to_owned());
        }
        let _ = write!(self.out, r"\x{{{digits}}}");
        Ok(())
    }

    /// `\0` and up to two digits more, or `\1` to `\7` and one or two digits more: a single digit
    /// would refer to a group.
    fn octal(&mut self, first: char) -> Result<(), String> {
        let is_octal = |c: &char| ('0'..='7').contains(c);
        let more: String = self.rest.chars().take_while(is_octal).take(2).collect();
        if first != '0' && more.is_empty() {
            return Err(format!(r"`\{first}` refers to a group, which RE2 can't do"));
        }
        self.take(more.len());
        let digits = format!("{first}{more}");
        let code = u32::from_str_radix(&digits, 8).map_err(|error| error.to_string())?;
        let _ = write!(self.out, r"\x{{{code:X}}}");
        Ok(())
    }

    /// What follows a `(`: a group, one with a name, or flags.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if !self.rest.starts_with('?') {
            return Ok(());
        }
        let looks_behind = self.rest.starts_with("?<=") || self.rest.starts_with("?<!");
        let is_named = self.rest.starts_with("?P<") || self.rest.starts_with("?<");
        let ends: &[char] = if is_named && !looks_behind {
            &['>']
        } else {
            &[')', ':']
        };
        let end = self.rest.find(ends).ok_or("a group is not closed")?;
        let flags = &self.rest[1..end];
        if ends != ['>'] && !flags.chars().all(|flag| "imsU-".contains(flag)) {
            let shown: String = flags.chars().take(10).collect();
            return Err(format!(
                "RE2 has no `(?{shown}`: only names, `(?:` and the flags i, m, s, U"
            ));
        }
        let opening = self.take(end + 1);
        self.out.push_str(opening);
        Ok(())
    }

    /// What follows a `[`. A `]` that comes first is a character.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            self.class_item()?;
        }
        self.copy(1);
        Ok(())
    }

    fn class_item(&mut self) -> Result<(), String> {
        if let Some(bytes) = named_class(self.rest)? {
            self.copy(bytes);
            return Ok(());
        }
        let set = self.rest.strip_prefix('\\');
        if set.is_some_and(|set| set.starts_with(['d', 'D', 'w', 'W', 's', 'S', 'p', 'P'])) {
            self.take(1);
            return self.escape_of_both();
        }
        self.class_char()?;
        let range = self.rest.strip_prefix('-');
        if range.is_some_and(|range| !range.starts_with(']')) {
            self.copy(1);
            self.class_char()?;
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<(), String> {
        match self.take_char().ok_or("a class has no `]`")? {
            '\\' => self.escaped_char(),
            c => {
                self.literal(c);
                Ok(())
            }
        }
    }
}

/// The bytes of a repetition like `{2}`, `{2,}` or `{2,5}`; none for a `{` that opens none.
fn repetition(rest: &str) -> Result<Option<usize>, String> {
    let is_inner = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
    let end = 1 + rest.bytes().skip(1).take_while(is_inner).count();
    if !rest[end..].starts_with('}') {
        return Ok(None);
    }
    let inner = &rest[1..end];
    let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
    if !is_count(least) || !(most.is_empty() || is_count(most)) {
        return Ok(None);
    }
    let too_many = |count: &str| {
        count
            .parse::<u32>()
            .map_or(true, |count| count > MAX_REPEAT)
    };
    if too_many(least) || (!most.is_empty() && too_many(most)) {
        return Err(format!("RE2 repeats at most {MAX_REPEAT} times"));
    }
    Ok(Some(end + 1))
}

/// A number without leading zeros.
fn is_count(text: &str) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number && (text == "0" || !text.starts_with('0'))
}

/// The bytes of a class like `[:alpha:]` or `[:^alpha:]`; none for a `[` that opens none.
fn named_class(rest: &str) -> Result<Option<usize>, String> {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
        "space", "upper", "word", "xdigit",
    ];
    let Some(inner) = rest.strip_prefix("[:") else {
        return Ok(None);
    };
    let inner = inner.strip_prefix('^').unwrap_or(inner);
    let is_letter = |c: char| c.is_ascii_alphabetic();
    let after = inner.trim_start_matches(is_letter);
    if !after.starts_with(":]") {
        return Ok(None);
    }
    let name = &inner[..inner.len() - after.len()];
    if !NAMES.contains(&name) {
        return Err(format!("RE2 has no class `[:{name}:]`"));
    }
    Ok(Some(rest.len() - after.len() + 2))
}

#[cfg(test)]
mod tests;
