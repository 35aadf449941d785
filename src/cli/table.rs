//! Tables as plain columns: no borders, no colour, two spaces between columns.

use comfy_table::{Table, presets};

/// Lays rows out below headers.
#[must_use]
pub(super) fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headers);
    for row in rows {
        table.add_row(row.each_ref().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Lays out names and values, leaving out what has no value.
#[must_use]
pub(super) fn record(members: &[(&str, Option<String>)]) -> String {
    let width = members.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let lines = members.iter().filter_map(|(name, value)| {
        let value = printable(value.as_deref()?);
        Some(format!("{name:width$}  {value}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text on one line, without what would steer a terminal.
#[must_use]
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(safe).collect()
}

/// The text cut to `width` characters, with an ellipsis where something is missing.
#[must_use]
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// The text in lines of at most `width` characters, each after `indent` spaces; words that are
/// longer are broken.
#[must_use]
pub(super) fn wrap(text: &str, indent: usize, width: usize) -> String {
    let room = width.saturating_sub(indent).max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace().flat_map(|word| pieces(word, room)) {
        let taken = line.chars().count();
        if taken > 0 && taken + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    let indented = lines.iter().map(|line| format!("{:indent$}{line}", ""));
    indented.collect::<Vec<_>>().join("\n")
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    chars
        .chunks(room)
        .map(|piece| piece.iter().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_spaces() {
        let rows = [
            ["run_1".to_owned(), "failure".to_owned()],
            ["run_12345".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["ID", "STATUS"], &rows),
            "ID         STATUS\nrun_1      failure\nrun_12345"
        );
        assert_eq!(table(["ID"], &[]), "ID");
    }

    #[test]
    fn cells_can_neither_break_lines_nor_steer_the_terminal() {
        let rows = [["a\nb\u{1b}[31m".to_owned()]];
        assert_eq!(table(["X"], &rows), "X\na b [31m");
    }

    #[test]
    fn records_leave_out_what_is_missing() {
        let text = record(&[
            ("id", Some("a".into())),
            ("status", None),
            ("why", Some("b".into())),
        ]);
        assert_eq!(text, "id      a\nwhy     b");
    }

    #[test]
    fn wrapped_lines_never_exceed_their_width() {
        let text = format!("one two {} three", "x".repeat(200));
        for width in [5, 20, 80] {
            let wrapped = wrap(&text, 3, width);
            assert!(wrapped.lines().all(|line| line.chars().count() <= width));
        }
        assert_eq!(wrap("a b c", 2, 5), "  a b\n  c");
    }

    #[test]
    fn cut_text_shows_that_it_is_cut() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
    }
}
