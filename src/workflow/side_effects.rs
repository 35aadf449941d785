//! What repeating a node means, as far as its definition tells.

use serde_json::Value;

use super::Node;
use crate::domain::SideEffects;

/// Kinds that never leave the process.
const INNER: &[&str] = &[
    "if",
    "filter",
    "pluck",
    "format",
    "log",
    "regex",
    "set-variable",
    "delay",
    "for-each",
    "list-max",
    "list-min",
    "convert-to-wei",
    "convert-from-wei",
    "wait",
    "trigger-workflow",
    "manual",
];

/// What repeating `node` means: what it declares, else what its kind says. Triggers are never
/// executed, so nothing leaves the process on their account.
#[must_use]
pub fn side_effects_of(node: &Node) -> SideEffects {
    if node.is_trigger {
        return SideEffects::None;
    }
    side_effects_by_kind(&node.kind, &node.payload, node.side_effects)
}

/// What repeating a node of `kind` means. What is `declared` wins; an `http-request` goes by its
/// method, and one whose method is an expression counts as a POST.
#[must_use]
pub fn side_effects_by_kind(
    kind: &str,
    payload: &Value,
    declared: Option<SideEffects>,
) -> SideEffects {
    match (declared, kind) {
        (Some(declared), _) => declared,
        (None, "http-request") => by_method(payload.get("method")),
        (None, kind) if INNER.contains(&kind) => SideEffects::None,
        (None, _) => SideEffects::Assumed,
    }
}

fn by_method(method: Option<&Value>) -> SideEffects {
    const IDEMPOTENT: &[&str] = &["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];
    let method = match method {
        None | Some(Value::Null) => Some("GET"),
        Some(method) => method.as_str(),
    };
    let idempotent =
        method.is_some_and(|method| IDEMPOTENT.iter().any(|m| m.eq_ignore_ascii_case(method)));
    if idempotent {
        SideEffects::Idempotent
    } else {
        SideEffects::Assumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_say_what_repeating_them_means() {
        use SideEffects as E;
        for kind in [
            "if",
            "filter",
            "pluck",
            "format",
            "log",
            "regex",
            "set-variable",
            "delay",
        ] {
            assert_eq!(
                side_effects_by_kind(kind, &json!({}), None),
                E::None,
                "{kind}"
            );
        }
        for kind in [
            "send-telegram-message",
            "webhook",
            "coingecko:get-coin-info",
        ] {
            assert_eq!(
                side_effects_by_kind(kind, &json!({}), None),
                E::Assumed,
                "{kind}"
            );
        }
        assert_eq!(
            side_effects_by_kind("log", &json!({}), Some(E::Unsafe)),
            E::Unsafe
        );
        assert_eq!(
            side_effects_by_kind("pay", &json!({}), Some(E::Idempotent)),
            E::Idempotent
        );
    }

    #[test]
    fn http_goes_by_its_method() {
        use SideEffects as E;
        let http = |payload: Value| side_effects_by_kind("http-request", &payload, None);
        assert_eq!(http(json!({})), E::Idempotent);
        for method in ["GET", "head", "Put", "DELETE", "OPTIONS"] {
            assert_eq!(http(json!({"method": method})), E::Idempotent, "{method}");
        }
        for method in [
            "POST",
            "PATCH",
            "{{root.method}}",
            "<< root.method >>",
            "",
            "SEND",
        ] {
            assert_eq!(http(json!({"method": method})), E::Assumed, "{method}");
        }
        assert_eq!(http(json!({"method": null})), E::Idempotent);
        assert_eq!(http(json!({"method": 1})), E::Assumed);
    }
}
