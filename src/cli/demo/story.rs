//! What the demo tells: an order that is fulfilled step by step, and what must become of each
//! step.

use serde_json::{Value, json};

/// What becomes of a node in the retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its recorded success is used; it does not run.
    Reused,
    /// It runs.
    Executed,
    /// Its branch was not taken.
    Skipped,
}

/// The node that fails in the first run.
pub(super) const FAILING: &str = "notify_shipping";

/// Every node in its order, with its fate in the retry.
pub(super) const NODES: [(&str, Fate); 9] = [
    ("root", Fate::Reused),
    ("check_amount", Fate::Reused),
    ("ask_for_review", Fate::Skipped),
    ("reserve_stock", Fate::Reused),
    ("keep_reservation", Fate::Reused),
    ("charge_card", Fate::Reused),
    (FAILING, Fate::Executed),
    ("format_receipt", Fate::Executed),
    ("log_receipt", Fate::Executed),
];

/// The answers that the service must have given to each effect, over both runs.
pub(super) const EFFECTS: [(&str, &[u16]); 3] = [
    ("reserve_stock", &[200]),
    ("charge_card", &[200]),
    (FAILING, &[503, 200]),
];

/// The order in the trigger's payload.
pub(super) const ORDER: &str = "A-1042";
/// What the stock desk answers.
pub(super) const RESERVATION: &str = "res-7041";
/// What the shipping desk answers.
pub(super) const PARCEL: &str = "pc-3318";

/// The body of `POST /v1/runs` for a shop at `shop`.
pub(super) fn start(shop: &str) -> Value {
    json!({
        "definition": { "triggerNodeIds": ["root"], "variableDefs": variables(), "nodes": nodes() },
        "payload": {
            "order": { "id": ORDER, "total": 249.5, "customer": "cus_81", "items": ["lamp", "desk"] },
        },
        "propValues": { "shop": shop },
    })
}

fn variables() -> Value {
    json!([
        { "name": "currency", "type": "text", "lifetime": "reset", "default": "EUR" },
        { "name": "reviewAbove", "type": "number", "lifetime": "reset", "default": 500 },
        { "name": "reservation", "type": "text", "lifetime": "reset", "default": "" },
    ])
}

fn nodes() -> Value {
    json!({
        "root": { "type": "manual", "payload": {}, "children": ["check_amount"] },
        "check_amount": {
            "type": "if",
            "payload": { "condition": { "$and": [small_enough()] } },
            "children": ["ask_for_review", "reserve_stock"],
        },
        "ask_for_review": post("reviews", &json!({ "order": "{{root.order.id}}" }), "else", &[]),
        "reserve_stock": post(
            "stock",
            &json!({ "order": "{{root.order.id}}", "items": "{{root.order.items}}" }),
            "then",
            &["keep_reservation"],
        ),
        "keep_reservation": {
            "type": "set-variable",
            "payload": {
                "name": "reservation",
                "value": "{{reserve_stock.result.json.reservation}}",
            },
            "children": ["charge_card"],
        },
        "charge_card": post(
            "charges",
            &json!({
                "customer": "{{root.order.customer}}",
                "amount": "{{root.order.total}}",
                "currency": "{{$vars.currency}}",
            }),
            "",
            &[FAILING],
        ),
        FAILING: post(
            "shipping",
            &json!({ "order": "{{root.order.id}}", "reservation": "{{$vars.reservation}}" }),
            "",
            &["format_receipt"],
        ),
        "format_receipt": {
            "type": "format",
            "payload": {
                "data": {
                    "order": "{{root.order.id}}",
                    "total": "{{root.order.total}}",
                    "currency": "{{$vars.currency}}",
                    "parcel": "{{notify_shipping.result.json.parcel}}",
                },
                "template": "order {{@order}}: {{@total}} {{@currency}}, parcel {{@parcel}}",
            },
            "children": ["log_receipt"],
        },
        "log_receipt": {
            "type": "log",
            "payload": { "message": "{{format_receipt.result.formatted}}" },
            "children": [],
        },
    })
}

fn small_enough() -> Value {
    json!({ "{{root.order.total}}": { "$lte": "{{$vars.reviewAbove}}" } })
}

/// A node that sends `body` to a desk of the shop.
fn post(desk: &str, body: &Value, branch: &str, children: &[&str]) -> Value {
    let mut node = json!({
        "type": "http-request",
        "payload": { "url": format!("{{{{$props.shop}}}}/{desk}"), "method": "POST", "body": body },
        "children": children,
    });
    if !branch.is_empty() {
        node["branch"] = branch.into();
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_names_every_node_of_the_definition() {
        let body = start("http://127.0.0.1:1");
        let nodes = body["definition"]["nodes"].as_object().unwrap();
        assert_eq!(nodes.len(), NODES.len());
        assert!(NODES.iter().all(|(id, _)| nodes.contains_key(*id)));
        let children = nodes
            .values()
            .flat_map(|node| node["children"].as_array().unwrap());
        assert!(
            children
                .clone()
                .all(|id| nodes.contains_key(id.as_str().unwrap()))
        );
        assert_eq!(children.count(), NODES.len() - 1);
        assert_eq!(
            nodes["charge_card"]["payload"]["url"],
            "{{$props.shop}}/charges"
        );
    }
}
