//! Reading templates and printing them back.

use proptest::prelude::*;

use crate::workflow::expression::{
    Expression, ExpressionError, ExpressionLimits, Fault, Head, LoopValue, Marks, Operand, Part,
    Path, Segment, Template,
};

fn is_node(id: &str) -> bool {
    matches!(id, "b" | "pay" | "action-1" | "3f2a-11" | "日本")
}

fn parse(text: &str) -> Result<Template, ExpressionError> {
    Template::parse(text, &is_node, &ExpressionLimits::default())
}

/// The canonical form of a text that is one expression.
fn canonical(text: &str) -> String {
    let template = parse(text).unwrap();
    assert!(template.as_expression().is_some(), "{text}");
    template.to_string()
}

fn is_plain(text: &str) -> bool {
    matches!(parse(text).unwrap().parts(), [] | [Part::Text(_)])
}

/// Expressions and their canonical form.
const FORMS: &[(&str, &str)] = &[
    ("{{pay.result.id}}", "{{ pay.result.id }}"),
    ("{{  pay  }}", "{{ pay }}"),
    ("{{action-1.result.x_y-z}}", "{{ action-1.result.x_y-z }}"),
    ("{{3f2a-11.result}}", "{{ 3f2a-11.result }}"),
    ("{{日本.result}}", "{{ 日本.result }}"),
    ("{{unknown.result}}", "{{ unknown.result }}"),
    ("{{$nodes.pay.error}}", "{{ $nodes.pay.error }}"),
    (
        r#"{{$nodes["a.b"].result}}"#,
        r#"{{ $nodes["a.b"].result }}"#,
    ),
    (r#"{{$nodes["pay"].result}}"#, "{{ $nodes.pay.result }}"),
    ("{{root}}", "{{ root }}"),
    ("{{root.x[0].y.1}}", "{{ root.x[0].y[1] }}"),
    (
        r#"{{root["any } }} key"]["0"]}}"#,
        r#"{{ root["any } }} key"]["0"] }}"#,
    ),
    (r#"{{root["plain"].007}}"#, "{{ root.plain.007 }}"),
    ("{{ $trigger.body.message }}", "{{ $trigger.body.message }}"),
    ("{{$vars.x}}", "{{ $vars.x }}"),
    ("{{$props.x}}", "{{ $props.x }}"),
    ("{{$inputs.x}}", "{{ $inputs.x }}"),
    ("{{$item.x}}", "{{ $item.x }}"),
    ("{{$index}}", "{{ $index }}"),
    ("{{$parent_item}}", "{{ $parent_item }}"),
    ("{{$parent_index}}", "{{ $parent_index }}"),
    ("{{$for.loop-1.item.x}}", "{{ $for.loop-1.item.x }}"),
    (r#"{{$for["a.b"].index}}"#, r#"{{ $for["a.b"].index }}"#),
    ("{{$workflowId}}", "{{ $workflowId }}"),
    ("{{$workflow.id}}", "{{ $workflowId }}"),
    ("{{$run.id}}", "{{ $run.id }}"),
    ("{{a.b||0}}", "{{ a.b || 0 }}"),
    ("{{a || b.c || null}}", "{{ a || b.c || null }}"),
    (r#"{{a||{"x":{"y":[1]}}}}"#, r#"{{ a || {"x":{"y":[1]}} }}"#),
    (r#"{{a || "}} || {{"}}"#, r#"{{ a || "}} || {{" }}"#),
    ("{{a || -1.50e3}}", "{{ a || -1.50e+3 }}"),
    ("{{a || 1e+5}}", "{{ a || 1e+5 }}"),
    (
        "{{a || 123456789012345678901234567890.10}}",
        "{{ a || 123456789012345678901234567890.10 }}",
    ),
    ("{{a || true}}", "{{ a || true }}"),
    ("{{a || 3f2a-11.x}}", "{{ a || 3f2a-11.x }}"),
    ("{{a || true.x}}", "{{ a || true.x }}"),
    ("{{a || $vars.x[0]}}", "{{ a || $vars.x[0] }}"),
    ("{{\n\ta.b\n}}", "{{ a.b }}"),
    ("<< $vars.x >>", "<< $vars.x >>"),
    ("<<root.x>>", "<< root.x >>"),
    ("<<pay.result||1>>", "<< pay.result || 1 >>"),
    (
        r#"<<$nodes["nobody"].x || ">>">>"#,
        r#"<< $nodes.nobody.x || ">>" >>"#,
    ),
];

#[test]
fn every_head_and_segment_is_read() {
    for (text, printed) in FORMS {
        assert_eq!(canonical(text), *printed);
        assert_eq!(canonical(printed), *printed);
    }
    let template = parse("{{$for.l.index}}").unwrap();
    let expected = Path {
        head: Head::For {
            node: "l".into(),
            value: LoopValue::Index,
        },
        segments: vec![],
    };
    assert_eq!(
        template.as_expression().unwrap().operands,
        [Operand::Path(expected)]
    );
}

#[test]
fn other_marks_are_text() {
    for text in [
        "",
        "plain",
        "{",
        "}}",
        "a } b { c",
        "1 << 2 >> 3",
        "a << nobody >> b",
        "<< nobody.x >>",
        "<< >>",
        "<<",
        "<< $nope >>",
        "<< $vars.x",
        "<< pay. >>",
        "<< pay || >>",
        "cat <<EOF",
        "<<<<>>>>",
        "\\",
        "\\{ x",
        "<< @field >>",
        "<< 1 >>",
        "<<\"x\">>",
    ] {
        assert!(is_plain(text), "{text}");
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    // Between such marks a node of the definition is an expression, whatever was meant.
    assert_eq!(parse("a << b >> c").unwrap().to_string(), "a << b >> c");
    assert_eq!(parse("a << b >> c").unwrap().expressions().count(), 1);
    assert_eq!(parse("<<< b >>>").unwrap().parts().len(), 3);
}

#[test]
fn escapes_and_the_marks_of_others_stay() {
    assert_eq!(
        parse("\\{{ a }}").unwrap().parts(),
        [Part::Text("{{ a }}".into())]
    );
    assert_eq!(parse("\\{{ a }}").unwrap().to_string(), "\\{{ a }}");
    for text in [
        "{{@name}} is {{ @age }}",
        "{{ask.x}}",
        "{{ ask[\"x\"] }}",
        "{{@a{{@b",
        "{{@",
    ] {
        let template = parse(text).unwrap();
        assert_eq!(template.expressions().count(), 0, "{text}");
        assert_eq!(template.to_string(), text);
    }
    for text in ["{{asked.x}}", "{{ask-me.x}}", "{{pay.ask}}"] {
        assert_eq!(parse(text).unwrap().expressions().count(), 1, "{text}");
    }
    // The innermost two of many braces are the marks.
    let template = parse(r#"{"a":{{{pay}}}}"#).unwrap();
    assert_eq!(template.to_string(), r#"{"a":{{{ pay }}}}"#);
    assert_eq!(parse("{{{{ pay }}}}").unwrap().parts().len(), 3);
}

#[test]
fn broken_expressions_say_what_is_wrong() {
    let table = [
        ("{{", "expected a name, but the text ends"),
        ("{{ }}", "expected a name, found '}'"),
        ("{{ pay", "expected `||` or `}}`, but the text ends"),
        ("{{ pay }", "expected `||` or `}}`, found '}'"),
        ("{{ pay..x }}", "expected a name, found '.'"),
        ("{{ pay x }}", "expected `||` or `}}`, found 'x'"),
        ("{{ pay[x] }}", "expected a number or a \"key\" in brackets"),
        ("{{ pay[01] }}", "expected a number"),
        ("{{ pay[-1] }}", "expected a number"),
        ("{{ pay[0 }}", "expected `]`"),
        ("{{ pay[\"x] }}", "not a JSON value"),
        ("{{ \"x\" }}", "expected a name"),
        ("{{ pay || }}", "expected a name"),
        ("{{ pay || [1,] }}", "not a JSON value"),
        ("{{ pay || {\"a\":1,\"a\":2} }}", "stands twice"),
        ("{{ pay | x }}", "expected `||`"),
        ("{{ $ }}", "expected a name"),
        ("{{ $nodes }}", "expected a node id after `$nodes`"),
        ("{{ $for.a }}", "expected `.item` or `.index`"),
        ("{{ $for.a.b }}", "expected `.item` or `.index`"),
        ("{{ $workflow.name }}", "`$workflow` has only `.id`"),
        ("{{ $run }}", "`$run` has only `.id`"),
        ("{{ $other }}", "there is no `$other`"),
        ("{{ a {{ b }} }}", "expected `||`"),
    ];
    for (text, expected) in table {
        let error = parse(text).unwrap_err();
        assert_eq!(error.fault, Fault::Syntax, "{text}");
        assert!(error.message.contains(expected), "{text}: {error}");
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = ExpressionLimits {
        expression_bytes: 10,
        per_string: 2,
        ..ExpressionLimits::default()
    };
    let fault = |text: &str| {
        Template::parse(text, &is_node, &limits)
            .map(drop)
            .map_err(|e| e.fault)
    };
    assert_eq!(fault("{{ pay.abcd }}"), Ok(()));
    assert_eq!(fault("{{ pay.abcde }}"), Err(Fault::Limit));
    assert_eq!(fault("{{ pay.éééééé }}"), Err(Fault::Limit));
    assert_eq!(fault("{{ pay }}{{ pay }} << pa >>"), Ok(()));
    assert_eq!(fault("{{ pay }}{{ pay }}{{ pay }}"), Err(Fault::Limit));
    assert_eq!(fault("{{ pay }}{{ pay }}<< pay >>"), Err(Fault::Limit));
    // Too long to be one of ours, so it is text.
    assert_eq!(fault("<< pay.abcdefgh >>"), Ok(()));
    let error = parse(&format!("{{{{ {} }}}}", "x".repeat(5_000))).unwrap_err();
    assert_eq!(error.fault, Fault::Limit);
    assert!(error.expression.len() < 100);
}

#[test]
fn hostile_text_is_read_in_linear_time() {
    const MANY: usize = 200_000;
    for unit in [
        "{",
        "}",
        "<",
        ">",
        "<<",
        "{{@",
        "\\{{",
        "\\",
        "<<$vars",
        "<<$vars.",
        "<<$vars||\"",
        "<<$vars||[[",
        "<<pay||{\"a\":",
        "<< ",
        "{{ask.",
        "<<\u{10348}",
        "é",
        "<<$vars||\"\\\"",
    ] {
        let text = unit.repeat(MANY / unit.len());
        if let Ok(template) = parse(&text) {
            assert_eq!(parse(&template.to_string()).unwrap(), template);
        }
    }
    assert_eq!(parse(&"{".repeat(10_000)).unwrap_err().fault, Fault::Syntax);
    let deep = format!(
        "{{{{ pay || {}{} }}}}",
        "[".repeat(2_000),
        "]".repeat(2_000)
    );
    assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_-]{1,4}",
        "[0-9]{1,3}",
        "[ -~é日\u{10348}]{1,5}",
        Just("root".to_owned()),
        Just("pay".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    let head = prop_oneof![
        prop_oneof![
            Just("pay"),
            Just("b"),
            Just("nobody"),
            Just("true"),
            Just("0")
        ]
        .prop_map(|id| Head::Node(id.into())),
        name().prop_map(Head::Nodes),
        Just(Head::Root),
        Just(Head::Trigger),
        Just(Head::Vars),
        Just(Head::RunId),
        Just(Head::WorkflowId),
        name().prop_map(|node| Head::For {
            node,
            value: LoopValue::Item
        }),
    ];
    let segment = prop_oneof![
        name().prop_map(Segment::Key),
        any::<usize>().prop_map(Segment::Index)
    ];
    (head, prop::collection::vec(segment, 0..4))
        .prop_map(|(head, segments)| Path { head, segments })
}

fn expression() -> impl Strategy<Value = Expression> {
    let literal = prop_oneof![
        "[ -~]{0,6}".prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        Just(serde_json::json!({"a": [{"}}": ">>"}], "b": 1.5})),
    ];
    // `true` and `0` alone are literals, and read as such where a fallback may be one.
    let is_path =
        |path: &Path| !matches!(&path.head, Head::Node(id) if matches!(id.as_str(), "true" | "0"));
    let fallback = prop_oneof![
        path()
            .prop_filter("a literal", is_path)
            .prop_map(Operand::Path),
        literal.prop_map(Operand::Literal)
    ];
    (path(), prop::collection::vec(fallback, 0..3), any::<bool>()).prop_map(
        |(first, fallbacks, braces)| Expression {
            marks: if braces { Marks::Braces } else { Marks::Angles },
            operands: std::iter::once(Operand::Path(first))
                .chain(fallbacks)
                .collect(),
        },
    )
}

proptest! {
    #[test]
    fn a_printed_expression_is_read_as_it_was(expression in expression()) {
        let printed = expression.to_string();
        let template = parse(&printed).unwrap();
        let is_ours = match &expression.operands[0] {
            Operand::Path(Path { head: Head::Node(id), .. }) => is_node(id) || expression.marks == Marks::Braces,
            Operand::Path(_) | Operand::Literal(_) => true,
        };
        if is_ours {
            prop_assert_eq!(template.as_expression(), Some(&expression));
        } else {
            prop_assert_eq!(template.parts(), [Part::Text(printed)]);
        }
    }

    #[test]
    fn what_is_read_is_printed_and_read_again_as_the_same(
        pieces in prop::collection::vec(prop_oneof![
            "[{}<>\\\\ a-c.$@|\"0é]{0,4}",
            Just("{{pay}}".to_owned()), Just("{{ pay.x||1 }}".to_owned()), Just("<<$vars.x>>".to_owned()),
            Just("<<b>>".to_owned()), Just("{{@f}}".to_owned()), Just("{{ask.x}}".to_owned()), Just("\\{{".to_owned()),
            Just("\\".to_owned()), Just("{".to_owned()), Just("<".to_owned()), Just("<< b || \"".to_owned()),
        ], 0..8)
    ) {
        let text = pieces.concat();
        if let Ok(template) = parse(&text) {
            let printed = template.to_string();
            let again = parse(&printed);
            prop_assert_eq!(again.as_ref(), Ok(&template), "{} -> {}", text, printed);
            prop_assert_eq!(again.unwrap().to_string(), printed);
        }
    }
}
