//! What the demo prints. No line is over 80 columns.

use std::time::Duration;

use super::{
    checks::{Evidence, calls_of},
    seen::Seen,
    story::{EFFECTS, FAILING, Fate, NODES},
};
use crate::cli::{
    table::{cut, printable, table, wrap},
    view,
};

const WIDTH: usize = 80;
const INDENT: usize = 3;

/// What runs where.
pub(super) fn opening(redrive: &str, shop: &str) -> String {
    format!(
        "redrive demo: an order fails half way and is retried from its failure point\n\n\
         1. One process, nothing to install\n{}\n{}",
        indent(&format!(
            "redrive  {redrive}  (SQLite in a temporary folder)"
        )),
        indent(&format!("a shop   {shop}  (its shipping desk answers 503)")),
    )
}

/// How the first run failed.
pub(super) fn failed(run: &Seen) -> String {
    let error = view::text(&run.node(FAILING)["error"], "message").unwrap_or_default();
    // The words line up behind those of the lines above.
    let error = wrap(&printable(&cut(&error, 300)), 8, WIDTH - INDENT);
    format!(
        "\n2. POST /v1/runs starts an order\n{}\n{}\n{}",
        indent(&format!("run     {}", run.text("id"))),
        indent(&format!(
            "status  {}, at node {FAILING}",
            run.text("status")
        )),
        indent(&format!("error   {}", error.trim_start())),
    )
}

/// How the retry ended, node by node.
pub(super) fn retried(source: &Seen, retry: &Seen) -> String {
    let done = |word| {
        NODES
            .iter()
            .filter(|(id, _)| fate(retry, id) == word)
            .count()
    };
    format!(
        "\n3. The shipping desk is repaired; POST /v1/runs/{{id}}/retry\n{}\n{}\n\n{}\n\n{}",
        indent(&format!("run     {}", retry.text("id"))),
        indent(&format!("status  {}", retry.text("status"))),
        indent(&nodes(source, retry)),
        indent(&format!(
            "{} reused from the first run, {} executed now, {} skipped",
            done("reused"),
            done("executed now"),
            done("skipped"),
        )),
    )
}

fn nodes(source: &Seen, retry: &Seen) -> String {
    let row = |(id, _): &(&str, Fate)| {
        let kind = view::text(retry.node(id), "type").unwrap_or_default();
        let fate = fate(retry, id);
        let now = if fate == "executed now" {
            millis(retry, id)
        } else {
            String::new()
        };
        [
            (*id).to_owned(),
            cut(&kind, 14),
            source.status(id),
            millis(source, id),
            fate,
            now,
        ]
    };
    let rows: Vec<_> = NODES.iter().map(row).collect();
    table(["NODE", "TYPE", "FIRST RUN", "MS", "RETRY", "MS"], &rows)
}

fn millis(run: &Seen, id: &str) -> String {
    run.millis(id).map(|ms| ms.to_string()).unwrap_or_default()
}

/// What the retry shows to have become of a node.
fn fate(retry: &Seen, id: &str) -> String {
    let status = retry.status(id);
    match status.as_str() {
        "success" if retry.origin(id).is_some() => "reused".to_owned(),
        "success" => "executed now".to_owned(),
        _ => status,
    }
}

/// How often the service saw each effect key.
pub(super) fn effects(evidence: &Evidence) -> String {
    let row = |(node, _): &(&str, &[u16])| {
        let calls = calls_of(&evidence.calls, node);
        let answers: Vec<_> = calls.iter().map(|call| call.status.to_string()).collect();
        let key = calls.first().map(|call| short_key(&call.key));
        [
            key.unwrap_or_default(),
            calls.len().to_string(),
            answers.join(", then "),
        ]
    };
    let rows: Vec<_> = EFFECTS.iter().map(row).collect();
    format!(
        "\n4. What the shop saw: calls by effect key (sent as Idempotency-Key)\n\n{}",
        indent(&table(["EFFECT KEY", "CALLS", "ANSWERS"], &rows)),
    )
}

/// What that means; said once it is known to be true.
pub(super) fn meaning() -> String {
    let point = "Stock was reserved once and the card charged once, over both runs. The \
                 shipping desk was called twice with the same key, and that is the point: a 503 \
                 may have had an effect, so the key is kept, and the target can tell a repeat \
                 from a new call.";
    let variable = "$vars.reservation was set by a node that the retry reuses; the repeated \
                    call carried its value.";
    let [point, variable] = [point, variable].map(|text| wrap(text, INDENT, WIDTH));
    format!("\n{point}\n\n{variable}")
}

/// The key with its run shortened to its end: ids made together differ there.
fn short_key(key: &str) -> String {
    let (run, rest) = key.split_once('/').unwrap_or(("", key));
    let end = run
        .char_indices()
        .nth_back(5)
        .map_or(run, |(at, _)| &run[at..]);
    cut(&format!("…{end}/{rest}"), 48)
}

/// The outcome, and what to try next.
pub(super) fn closing(retry: &Seen, took: Duration) -> String {
    format!(
        "\nRun {} ended {}.\n\
         Everything above was checked and is true ({:.1} s).\n\n\
         Try next\n\
         \x20  cargo run --release -- dev   your own server: prints a token and a curl line\n\
         \x20                               that starts a run\n\
         \x20  README.md                    the API by example: import, retry, cancel",
        retry.text("id"),
        retry.text("status"),
        took.as_secs_f64(),
    )
}

fn indent(text: &str) -> String {
    let lines = text.lines().map(|line| format!("{:INDENT$}{line}", ""));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{super::checks::tests::evidence, *};

    fn everything() -> String {
        let evidence = evidence();
        let url = "http://127.0.0.1:65535";
        [
            opening(url, url),
            failed(&evidence.source),
            retried(&evidence.source, &evidence.retry),
            effects(&evidence),
            meaning(),
            closing(&evidence.retry, Duration::from_secs(9)),
        ]
        .join("\n")
    }

    #[test]
    fn no_line_is_over_80_columns() {
        for line in everything().lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }

    #[test]
    fn the_tables_say_what_became_of_nodes_and_effects() {
        let text = everything();
        for words in [
            "charge_card       http-request  success    31  reused\n",
            "ask_for_review    http-request  skipped    31  skipped\n",
            "notify_shipping   http-request  failure    31  executed now  31\n",
            "log_receipt       http-request  pending        executed now  31\n",
            "…f5a6b7/charge_card/1      1      200\n",
            "…f5a6b7/notify_shipping/1  2      503, then 200\n",
            "5 reused from the first run, 3 executed now, 1 skipped",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }

    #[test]
    fn keys_of_any_form_are_shown_short() {
        assert_eq!(short_key("run_123456789/pay/2"), "…456789/pay/2");
        assert_eq!(short_key("r/pay/1"), "…r/pay/1");
        assert_eq!(short_key("nonsense"), "…/nonsense");
        assert!(short_key(&"x/".repeat(100)).chars().count() <= 48);
    }
}
