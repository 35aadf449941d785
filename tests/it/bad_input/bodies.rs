//! Bodies that are no JSON, no JSON that can be kept, too long, or of another kind.

use super::{INVALID_REQUEST, NOT_JSON, TOO_LARGE, World, failed, post, start, with};
use crate::support::{ledger::Ledger, on_both_engines, raw::Request};
use serde_json::{Value, json};

on_both_engines![
    malformed_json_is_refused,
    what_cannot_be_kept_is_refused,
    deep_nesting_is_refused,
    oversized_bodies_are_refused,
    other_content_types_are_refused,
];

const PATHS: [&str; 4] = [
    "/v1/runs",
    "/v1/runs/import",
    "/v1/runs/run_failed/retry",
    "/v1/runs/run_failed/cancel",
];

async fn malformed_json_is_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    let bodies: [&[u8]; 26] = [
        b"{",
        b"}",
        b"{]",
        b"{\"a\":}",
        b"{\"a\" 1}",
        b"{'a':1}",
        b"{a:1}",
        b"{\"a\":1,}",
        b"{\"a\":01}",
        b"{\"a\":1.}",
        b"{\"a\":+1}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\\x\"}",
        b"{\"a\":\"open",
        b"{} {}",
        b"// a\n{}",
        b"\xef\xbb\xbf{}",
        b" ",
        b"\0",
        b"{}\0",
        b"null",
        b"[]",
        b"\"{}\"",
        b"1e999999999",
        b"true",
    ];
    for path in PATHS {
        for body in bodies {
            let request = Request::json("POST", path, body);
            world.refuses(request, INVALID_REQUEST, "body").await;
        }
    }
    for path in ["/v1/runs", "/v1/runs/import"] {
        let empty = Request::json("POST", path, "");
        world.refuses(empty, INVALID_REQUEST, "body").await;
    }
    world.still_works().await;
}

async fn what_cannot_be_kept_is_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    let parts: [(&[u8], &str); 15] = [
        (b"\"a\\u0000b\"", "NUL"),
        (b"{\"a\\u0000b\":1}", "NUL"),
        (b"\"a\0b\"", "JSON"),
        (b"{\"k\":1,\"k\":2}", "twice"),
        (b"{\"k\":1,\"\\u006b\":2}", "twice"),
        (b"[{\"deep\":{\"k\":1,\"x\":[],\"k\":1}}]", "twice"),
        (b"{\"$serde_json::private::Number\":\"1\"}", "reserved"),
        (b"{\"$serde_json::private::RawValue\":\"1\"}", "reserved"),
        (b"{\"$serde_json::private::RawValue\":\"{\"}", "JSON"),
        (b"{\"\\u0024serde_json::private::New\":1}", "reserved"),
        (b"\"\\ud800\"", "JSON"),
        (b"\"\\udc00\\ud800\"", "JSON"),
        (b"{\"\\ud800x\":1}", "JSON"),
        (b"\"\xff\xfe\"", "JSON"),
        (b"\"\xed\xa0\x80\"", "JSON"),
    ];
    let bodies: [(&str, Value); 6] = [
        ("/v1/runs", with(start(), "/payload", json!("@"))),
        ("/v1/runs", with(start(), "/definition", json!("@"))),
        (
            "/v1/runs/import",
            with(failed("run_new"), "/executionState", json!("@")),
        ),
        (
            "/v1/runs/import",
            with(failed("run_new"), "/propValues", json!({ "a": "@" })),
        ),
        ("/v1/runs/run_failed/retry", json!({ "reason": "@" })),
        ("/v1/runs/run_failed/cancel", json!({ "reason": "@" })),
    ];
    for (path, body) in bodies {
        let text = body.to_string();
        let (before, after) = text.split_once("\"@\"").unwrap();
        for (part, words) in parts {
            let bytes = [before.as_bytes(), part, after.as_bytes()].concat();
            let request = Request::json("POST", path, bytes);
            world.refuses(request, INVALID_REQUEST, words).await;
        }
    }
    world.still_works().await;
}

async fn deep_nesting_is_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    let deep = |levels: usize| [vec!['['; levels], vec![']'; levels]].concat();
    let places = [
        (
            "/v1/runs",
            with(start(), "/payload", json!({ "a": "@" })),
            64,
        ),
        (
            "/v1/runs",
            with(start(), "/propValues", json!({ "a": "@" })),
            64,
        ),
        (
            "/v1/runs",
            with(start(), "/definition/nodes/a/payload", json!({ "a": "@" })),
            61,
        ),
        (
            "/v1/runs/import",
            with(failed("run_new"), "/executionState/a/result", json!("@")),
            65,
        ),
        (
            "/v1/runs/import",
            with(failed("run_new"), "/executionState/a/other", json!("@")),
            65,
        ),
        (
            "/v1/runs/import",
            with(failed("run_new"), "/simulationForks", json!(["@"])),
            64,
        ),
        (
            "/v1/runs/import",
            with(failed("run_new"), "/workflowDefinition/note", json!("@")),
            64,
        ),
        ("/v1/runs/run_failed/retry", json!({ "reason": "@" }), 65),
    ];
    for (path, body, least) in places {
        for levels in [least, 10_000] {
            let deep: String = deep(levels).into_iter().collect();
            let text = body.to_string().replace("\"@\"", &deep);
            let request = Request::json("POST", path, text);
            let answer = request.send_authorized(&world.app).await;
            assert_eq!(answer.status, 400, "{path} {body} {levels}");
            let code = &answer.body["code"];
            assert!(code == 400_000 || code == 400_228, "{}", answer.body);
            answer.assert_refusal(path);
            world.assert_nothing_stored(path).await;
        }
        let open = "[".repeat(900_000);
        let request = Request::json("POST", path, open);
        world.refuses(request, INVALID_REQUEST, "nested").await;
    }
    world.still_works().await;
}

async fn oversized_bodies_are_refused(ledger: Ledger) {
    const MIB: usize = 1024 * 1024;
    let world = World::new(ledger).await;
    for (path, limit) in [
        ("/v1/runs/import", 16 * MIB),
        ("/v1/runs/run_failed/retry", MIB),
        ("/v1/runs/run_failed/cancel", MIB),
    ] {
        for length in [limit + 1, limit + 5 * MIB] {
            let mut body = br#"{"reason":""#.to_vec();
            body.resize(length - 2, b'x');
            body.extend(br#""}"#);
            let request = Request::json("POST", path, body);
            world.refuses(request, TOO_LARGE, "bytes").await;
        }
    }
    let long = "x".repeat(17 * MIB);
    let body = with(start(), "/payload", json!({ "a": long }));
    world.refuses(post("/v1/runs", &body), TOO_LARGE, "").await;
    // What fits into a body may still be too long for a node.
    let body = with(
        start(),
        "/definition/nodes/a/payload",
        json!({ "a": "x".repeat(MIB) }),
    );
    let answer = post("/v1/runs", &body).send_authorized(&world.app).await;
    answer.assert_refusal("a long payload of a node");
    world
        .assert_nothing_stored("a long payload of a node")
        .await;
    world.still_works().await;
}

async fn other_content_types_are_refused(ledger: Ledger) {
    let world = World::new(ledger).await;
    for path in PATHS {
        for kind in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/json5",
            "json",
            "",
            "application/json, text/plain",
            "\u{e9}",
        ] {
            let request = Request::new("POST", path).body("{}");
            let request = request.header("content-type", kind);
            world.refuses(request, NOT_JSON, "application/json").await;
        }
        let none = Request::new("POST", path).body("{}");
        world.refuses(none, NOT_JSON, "application/json").await;
    }
    world.still_works().await;
}
