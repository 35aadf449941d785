//! Tokens, scopes, ids, routes and methods.

use redrive::{
    api::auth::mint,
    domain::{Clock, SystemClock},
};

use super::{
    FORBIDDEN, INVALID_REQUEST, NO_METHOD, NO_RETRY, NO_ROUTE, NO_RUN, UNAUTHORIZED, World, failed,
    post, start,
};
use crate::support::{ledger::Ledger, on_both_engines, raw::Request};

on_both_engines![
    tokens_are_checked_before_anything_else,
    every_call_needs_its_scope,
    unknown_and_foreign_ids_look_alike,
    odd_ids_name_nothing,
    unknown_routes_and_wrong_methods,
    parameters_are_checked,
];

/// Every call that needs a token, with a good body, and the scope that it needs.
fn calls() -> Vec<(Request, &'static str)> {
    vec![
        (Request::new("GET", "/v1/runs"), "read"),
        (Request::new("GET", "/v1/runs/run_failed"), "read"),
        (Request::new("GET", "/v1/retries"), "read"),
        (Request::new("GET", "/v1/retries/rty_none"), "read"),
        (Request::new("GET", "/v1/dead-letters"), "operator"),
        (Request::new("GET", "/v1/dead-letters/dl_none"), "operator"),
        (
            Request::new("DELETE", "/v1/dead-letters/dl_none"),
            "operator",
        ),
        (post("/v1/runs", &start()), "write"),
        (post("/v1/runs/import", &failed("run_new")), "write"),
        (Request::new("POST", "/v1/runs/run_failed/cancel"), "write"),
        (Request::new("POST", "/v1/runs/run_failed/retry"), "retry"),
    ]
}

async fn tokens_are_checked_before_anything_else(ledger: Ledger) {
    let world = World::new(ledger).await;
    let good = world.app.token().to_owned();
    let scopes = "read retry write".parse().unwrap();
    let organization = "org_test".parse().unwrap();
    let now = SystemClock.now();
    let (token, revoked) = mint(&organization, None, &scopes, now).unwrap();
    world.app.ledger.store.insert_token(&token).await.unwrap();
    assert!(
        world
            .app
            .ledger
            .store
            .revoke_token(&token.id, now)
            .await
            .unwrap()
    );
    let last = if good.ends_with('0') { "1" } else { "0" };
    let headers = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(good.clone()),
        Some(format!("Basic {good}")),
        Some(format!("Token {good}")),
        Some(format!("Bearer {good}x")),
        Some(format!("Bearer {}{last}", &good[..good.len() - 1])),
        Some(format!("Bearer {}", good.to_uppercase())),
        Some(format!("Bearer {revoked}")),
        Some(format!("Bearer {}", "a".repeat(5_000))),
        Some("Bearer \u{e9}' or 1=1 --".to_owned()),
    ];
    for header in headers {
        for (request, _) in calls() {
            let what = format!("{header:?} {request}");
            let request = match &header {
                Some(header) => request.header("authorization", header),
                None => request,
            };
            let answer = request.send(&world.app).await;
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer"), "{what}");
            world.refused(answer, UNAUTHORIZED, "token", &what).await;
        }
    }
    // The token counts before the body, the id and the content type.
    let bad = Request::new("POST", "/v1/runs/none/retry").body("{");
    let answer = bad.bearer(&revoked).send(&world.app).await;
    world.refused(answer, UNAUTHORIZED, "token", "bad").await;
    world.still_works().await;
}

async fn every_call_needs_its_scope(ledger: Ledger) {
    let world = World::new(ledger).await;
    for (request, needed) in calls() {
        let others = ["read", "retry", "write", "operator"];
        let others: Vec<_> = others.into_iter().filter(|s| *s != needed).collect();
        let token = world.app.token_of("org_test", &others.join(" ")).await;
        let what = request.to_string();
        let answer = request.bearer(&token).send(&world.app).await;
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("insufficient_scope"), "{what}");
        world.refused(answer, FORBIDDEN, needed, &what).await;
    }
    world.still_works().await;
}

async fn unknown_and_foreign_ids_look_alike(ledger: Ledger) {
    let world = World::new(ledger).await;
    for (method, path) in [
        ("GET", "/v1/runs/{id}"),
        ("GET", "/v1/runs/{id}?summary=true"),
        ("POST", "/v1/runs/{id}/retry"),
        ("POST", "/v1/runs/{id}/cancel"),
    ] {
        let mut bodies = Vec::new();
        for id in ["run_missing", "run_other"] {
            let request = Request::new(method, &path.replace("{id}", id));
            let answer = world.refuses(request, NO_RUN, "no such run").await;
            assert!(!answer.body.to_string().contains(id), "{}", answer.body);
            bodies.push(answer.without_id());
        }
        assert_eq!(bodies[0], bodies[1], "{method} {path}");
    }
    // A retry of the other organisation, and one that nobody has.
    let path = "/v1/runs/run_other/retry";
    let (status, answer) = world.app.call_as(&world.other, "POST", path, None).await;
    assert_eq!(status, 200, "{answer}");
    let (run, retry) = (&answer["data"]["id"], &answer["data"]["retry"]["id"]);
    let mut bodies = Vec::new();
    for id in ["rty_missing", retry.as_str().unwrap()] {
        let request = Request::new("GET", &format!("/v1/retries/{id}"));
        let answer = request.send_authorized(&world.app).await;
        answer.assert_refusal(id);
        assert_eq!(answer.body["error"]["reason"], "retry_not_found");
        bodies.push(answer.without_id());
    }
    assert_eq!(bodies[0], bodies[1]);
    let path = format!("/v1/runs/{}", run.as_str().unwrap());
    let answer = Request::new("GET", &path).send_authorized(&world.app).await;
    assert_eq!(answer.status, 404);
    let list = world.app.get("/v1/retries").await;
    assert_eq!(list["items"], serde_json::json!([]));
    world.still_works().await;
}

async fn odd_ids_name_nothing(ledger: Ledger) {
    let world = World::new(ledger).await;
    let long = "x".repeat(129);
    let longer = "x".repeat(20_000);
    let accents = "%C3%A9".repeat(129);
    let ids = [
        "a%2Fb",
        "..%2f..%2fv1",
        "%2e%2e%2fruns",
        "%00",
        "run_failed%00",
        "run_failed%20",
        "run%0Afailed",
        "%ff",
        "%C3%28",
        "%ED%A0%80",
        "%",
        "%zz",
        "%F0%90%8D%88",
        "run_failed%E2%80%A8",
        "%27%3B%20drop%20table%20runs%3B--",
        "%25",
        "{id}",
        "run_faileD",
        "\u{10348}",
        "*",
        "null",
        "-1",
        long.as_str(),
        longer.as_str(),
        accents.as_str(),
    ];
    for id in ids {
        let run = format!("/v1/runs/{id}");
        world.refuses(Request::new("GET", &run), NO_RUN, "").await;
        for verb in ["retry", "cancel"] {
            let request = Request::new("POST", &format!("{run}/{verb}"));
            world.refuses(request, NO_RUN, "").await;
        }
        let retry = Request::new("GET", &format!("/v1/retries/{id}"));
        world.refuses(retry, NO_RETRY, "").await;
    }
    world.still_works().await;
}

async fn unknown_routes_and_wrong_methods(ledger: Ledger) {
    let world = World::new(ledger).await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/runs",
        "/v1/runs/",
        "/v1/run",
        "/V1/runs",
        "/v1/runs/run_failed/",
        "/v1/runs/run_failed/retry/",
        "/v1/runs/run_failed/retries",
        "/v1//runs",
        "/v1/retries/a/b",
        "/livez/",
        "/admin",
        "/%00",
        "/%ff",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            world
                .refuses(Request::new(method, path), NO_ROUTE, "route")
                .await;
        }
    }
    for (path, methods) in [
        (
            "/v1/runs",
            &["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"][..],
        ),
        ("/v1/runs/import", &["PUT", "DELETE"]),
        ("/v1/runs/run_failed", &["POST", "PUT", "PATCH", "DELETE"]),
        ("/v1/runs/run_failed/retry", &["GET", "PUT", "DELETE"]),
        ("/v1/runs/run_failed/cancel", &["GET", "DELETE"]),
        ("/v1/retries", &["POST", "DELETE"]),
        ("/v1/retries/rty_a", &["POST", "DELETE"]),
        ("/v1/dead-letters", &["POST", "DELETE"]),
        ("/v1/dead-letters/dl_a", &["POST", "PUT"]),
        ("/livez", &["POST"]),
        ("/readyz", &["DELETE"]),
        ("/metrics", &["POST"]),
    ] {
        for method in methods {
            let request = Request::new(method, path);
            let answer = world.refuses(request, NO_METHOD, "method").await;
            assert!(answer.headers.contains_key("allow"), "{method} {path}");
        }
    }
    // `import` is a call, so a run of that name can't be read: there is no such run.
    let import = Request::new("GET", "/v1/runs/import");
    world.refuses(import, NO_METHOD, "method").await;
    world.still_works().await;
}

async fn parameters_are_checked(ledger: Ledger) {
    let world = World::new(ledger).await;
    for query in [
        "runs?limit=0",
        "runs?limit=101",
        "runs?limit=-1",
        "runs?limit=1e1",
        "runs?limit=%2B5",
        "runs?limit=99999999999999999999",
        "runs?limit=1&limit=2",
        "runs?limit=%00",
        "runs?offset=-1",
        "runs?offset=9223372036854775808",
        "runs?offset=x",
        "runs?status=failed",
        "runs?status=%00",
        "runs?status=failure&status=success",
        "runs/run_failed?summary=yes",
        "runs/run_failed?nodeIds=%00",
        "runs/run_failed?nodeIds=a%20b",
        "retries?state=done",
        "retries?sourceRunId=a%20b",
        "retries?sourceRunId=%00",
        "retries?limit=x",
    ] {
        let request = Request::new("GET", &format!("/v1/{query}"));
        let answer = world.refuses(request, INVALID_REQUEST, "").await;
        let (_, parameter) = query.split_once('?').unwrap();
        let name = parameter.split('=').next().unwrap();
        assert_eq!(answer.body["details"][0]["field"], name, "{query}");
    }
    world.still_works().await;
}
