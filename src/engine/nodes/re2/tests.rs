//! What RE2 makes of a pattern, from its own syntax page and Go's `regexp/syntax`.

use proptest::prelude::*;
use regex::Regex;

use super::translate;

fn found(pattern: &str, text: &str) -> Option<String> {
    let translated = translate(pattern).unwrap();
    let regex = Regex::new(&translated).unwrap_or_else(|e| panic!("{pattern}: {e}"));
    regex.find(text).map(|found| found.as_str().to_owned())
}

#[test]
fn perl_classes_are_about_ascii() {
    for (pattern, text, expected) in [
        (r"\w+", "né", Some("n")),
        (r"\W+", "né_", Some("é")),
        (r"[\w-]+", "a-bé", Some("a-b")),
        (r"[^\w]+", "aé b", Some("é ")),
        (r"[\W\d]+", "né1", Some("é1")),
        (r"\d+", "٣4", Some("4")),
        (r"\D+", "٣4", Some("٣")),
        (r"a\sb", "a\u{a0}b", None),
        (r"a\sb", "a\x0Bb", None),
        (r"a\Sb", "a\u{a0}b", Some("a\u{a0}b")),
        (r"\bn\b", "né", Some("n")),
        (r"é\b", "né", None),
        (r"é\B", "né", Some("é")),
        (r"(?i)\w+", "AB_9-", Some("AB_9")),
    ] {
        assert_eq!(found(pattern, text).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn a_brace_that_opens_no_repetition_is_a_character() {
    for (pattern, text) in [
        ("{", "{"),
        ("}", "}"),
        ("a{", "a{"),
        ("a{,2}", "a{,2}"),
        ("a{x}", "a{x}"),
        ("a{2", "a{2"),
        ("a{1 }", "a{1 }"),
        ("a{01}", "a{01}"),
        ("a{}", "a{}"),
        ("{{.*}}", "{{x}}"),
        (r"\b{start}", ""),
        ("a{2}", "aa"),
        ("a{1,}", "aaa"),
        ("a{0,2}?$", "aa"),
    ] {
        let expected = (pattern != r"\b{start}").then_some(text);
        assert_eq!(found(pattern, text).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn quoted_text_is_text() {
    for (pattern, text, expected) in [
        (r"\Qa.b*\E+", "a.b**", Some("a.b**")),
        (r"\Q(?i)[\w", r"(?i)[\w", Some(r"(?i)[\w")),
        (r"\Q\E", "x", Some("")),
        (r"x\Qé\E?", "xé", Some("xé")),
        (r"\_\-\<\>\ \/", "_-<> /", Some("_-<> /")),
        (r"\x41\x{e9}\101\0", "AéA\0", Some("AéA\0")),
        (
            r"\a\f\n\r\t\v",
            "\x07\x0C\n\r\t\x0B",
            Some("\x07\x0C\n\r\t\x0B"),
        ),
    ] {
        assert_eq!(found(pattern, text).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn in_a_class_there_are_characters_ranges_and_named_classes() {
    for (pattern, text, expected) in [
        ("[a&&b]+", "a&b", Some("a&b")),
        ("[~~a]+", "~a~", Some("~a~")),
        ("[--a]+", "-Aa", Some("-Aa")),
        ("[a-]+", "a-b", Some("a-")),
        ("[[]+", "[[", Some("[[")),
        ("[[a]]", "a]", Some("a]")),
        ("[]a]+", "]a", Some("]a")),
        ("[^]a]+", "]ab", Some("b")),
        ("[[:alpha:]_]+", "ab_1", Some("ab_")),
        ("[[:^alpha:]]+", "ab1", Some("1")),
        ("[[:a]+", "[:a", Some("[:a")),
        ("[:a:]+", "a:b", Some("a:")),
        (r"[\]\\]+", r"]\", Some(r"]\")),
        (r"[\d-z]+", "4-z", Some("4-z")),
        (r"[\x30-\x{39}\101]+", "5A", Some("5A")),
        (r"[\p{Greek}\PL]+", "α1a", Some("α1")),
        ("[.*{}()#]+", "{#}", Some("{#}")),
        ("[é-ü]", "ö", Some("ö")),
        ("[^a]", "\n", Some("\n")),
    ] {
        assert_eq!(found(pattern, text).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn the_rest_is_the_same_in_both() {
    for (pattern, text, expected) in [
        (r"(?P<id>\d+)-(?<n>x)", "42-x", Some("42-x")),
        ("(?i:ä)B", "ÄB", Some("ÄB")),
        ("(?s).+", "a\nb", Some("a\nb")),
        ("(?ms-i)^b.$", "a\nbc", Some("bc")),
        ("(?U)a+", "aaa", Some("a")),
        ("a|bc", "bc", Some("bc")),
        (r"\pN\p{Nd}\p{^L}", "12-", Some("12-")),
        (r"\P{^L}+", "1ab", Some("ab")),
        (r"\Aa.?b*?\z", "ab", Some("ab")),
        ("^*", "a", Some("")),
        ("", "a", Some("")),
    ] {
        assert_eq!(found(pattern, text).as_deref(), expected, "{pattern}");
    }
}

#[test]
fn what_re2_does_not_have_is_refused() {
    for pattern in [
        "a**",
        "a+?+",
        "a{2}{3}",
        "a{1001}",
        "a{1,9999999999}",
        "a{1001,}",
        r"\",
        r"\q",
        r"\é",
        r"\<\u0041",
        r"\Z",
        r"\C",
        r"\E",
        r"\1",
        r"\8",
        r"\x1",
        r"\x{}",
        r"\x{g}",
        r"\p{L",
        "(?x)a",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?P=n)",
        "(?#c)",
        "(?i",
        "(?P<n",
        "[a",
        "[]",
        "[^]",
        r"[\b]",
        r"[\Qa\E]",
        r"[a-\d]",
        "[[:nope:]]",
        r"[\",
    ] {
        assert!(translate(pattern).is_err(), "{pattern}");
    }
    for pattern in [
        "(",
        ")",
        "*",
        "a|*",
        "a{2,1}",
        "[b-a]",
        r"\pé",
        r"\p{Nope}",
        "(?P<>a)",
    ] {
        let translated = translate(pattern).unwrap();
        assert!(Regex::new(&translated).is_err(), "{pattern}");
    }
}

#[test]
fn work_is_linear_in_the_pattern() {
    let began = std::time::Instant::now();
    for piece in ["{", "{1", "[[:", "[", "(", r"\p", "(?P<", r"\Q", r"\\"] {
        let _ = translate(&piece.repeat(300_000));
    }
    // Quadratic, it would be minutes.
    assert!(began.elapsed().as_secs() < 10);
}

proptest! {
    #[test]
    fn quoting_makes_any_text_match_itself(text in "[^\\\\]{0,20}") {
        prop_assert_eq!(found(&format!(r"^\Q{text}\E$"), &text), Some(text.clone()));
        let class: String = text.chars().filter(|c| !c.is_ascii_alphanumeric()).collect();
        for c in class.chars().filter(|&c| c != '^' && c != ']' && c != '-') {
            prop_assert_eq!(found(&format!("[{c}]"), &c.to_string()), Some(c.to_string()));
        }
    }

    #[test]
    fn no_pattern_makes_the_translation_panic(pattern in r"[\\\[\](){}?*+a-c^:,1-9pPQEwdsb<>&~ -]{0,20}") {
        let _ = translate(&pattern).map(|translated| Regex::new(&translated));
    }
}
