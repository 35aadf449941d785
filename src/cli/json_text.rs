//! JSON as text, laid out without touching a token: numbers keep every digit and their spelling.

/// The same JSON on one line, without whitespace between tokens.
#[must_use]
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for token in Tokens(json) {
        out.push_str(token);
    }
    out
}

/// The same JSON with one member a line, indented by two spaces.
#[must_use]
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut tokens = Tokens(json).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                if let Some(close) = tokens.next_if(|next| matches!(*next, "}" | "]")) {
                    out.push_str(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push_str(token);
                new_line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            _ => out.push_str(token),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// The tokens of a JSON text, strings whole, whitespace left out.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        let length = match rest.as_bytes().first()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_length(rest),
            _ => rest
                .find(|c| {
                    matches!(
                        c,
                        '{' | '}' | '[' | ']' | ',' | ':' | '"' | ' ' | '\t' | '\n' | '\r'
                    )
                })
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        self.0 = after;
        Some(token)
    }
}

/// The length of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_and_tokens_do_not() {
        let json = "{ \"a b\" : [ 1E5 , 1.50,\n 115792089237316195423570985008687907853 ],\
                    \"q\\\" {\" : {}, \"e\": [ ], \"n\":null }";
        let line = r#"{"a b":[1E5,1.50,115792089237316195423570985008687907853],"q\" {":{},"e":[],"n":null}"#;
        assert_eq!(compact(json), line);
        assert_eq!(compact(&pretty(json)), line);
        assert_eq!(
            pretty(r#"{"a":[1,{}],"b":2}"#),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": 2\n}"
        );
    }

    #[test]
    fn text_that_is_no_json_ends() {
        for text in ["", "\"open", "}}", "{\"a\\", "é,\u{a0}"] {
            assert!(compact(text).len() <= text.len());
            let _ = pretty(text);
        }
    }
}
