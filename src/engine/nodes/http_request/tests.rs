use serde_json::Map;

use super::*;
use crate::{
    domain::ErrorClass as E,
    engine::nodes::{
        guard::Guard,
        testing::{Act, Call, Server},
    },
};

mod redirects;

const LONG: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

fn kind(allowed: &[&str]) -> HttpRequest {
    let allowed: Vec<_> = allowed.iter().map(|net| net.parse().unwrap()).collect();
    HttpRequest(HttpClient::guarded(Guard::new(&allowed)).unwrap())
}

async fn run_call(call: &Call) -> Result<Value, NodeError> {
    let output = kind(&["127.0.0.0/8"]).run(call.call()).await?;
    Ok(output.result)
}

async fn run(payload: Value) -> Result<Value, NodeError> {
    run_call(&Call::new("http-request", payload)).await
}

/// Runs against one path of a server, with these members besides.
async fn run_at(server: &Server, path: &str, more: Value) -> Result<Value, NodeError> {
    let mut payload = Map::new();
    payload.insert("url".into(), server.url(path).into());
    payload.extend(more.as_object().unwrap().clone());
    run(Value::Object(payload)).await
}

#[tokio::test]
async fn a_success_is_told_in_full() {
    let body = format!(r#"{{"big":{LONG},"price":1.50,"nested":{{"z":1,"a":2}}}}"#);
    let headers = "Content-Type: application/json; charset=utf-8\nX-A: 1\nX-A: 2\n";
    let ok = Act::answer("200 OK", headers, &body);
    let mut server = Server::start(vec![("/pay?x=1", ok)]).await;
    let result = run_at(&server, "/pay?x=1", json!({})).await.unwrap();
    assert_eq!(result["status"], 200);
    assert_eq!(result["statusText"], "OK");
    assert_eq!(result["headers"]["x-a"], "1, 2");
    assert_eq!(result["contentType"], "application/json; charset=utf-8");
    assert_eq!(result["body"], body.as_str());
    assert_eq!(result["json"].to_string(), body);
    let request = server.request().await;
    assert!(
        request.starts_with("GET /pay?x=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("user-agent: redrive/"), "{request}");
    assert!(
        request.contains("idempotency-key: run_a/loop[3].pay/1\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn bodies_and_headers_go_out_as_given() {
    let mut server = Server::start(vec![("/", Act::answer("204 No Content", "", ""))]).await;
    let exact: Value = serde_json::from_str(&format!("[{LONG},1.50]")).unwrap();
    let posted = json!({
        "method": "post",
        "body": exact,
        "headers": {"X-N": 5, "X-Null": null, "Content-Length": "1", "Transfer-Encoding": "chunked"},
    });
    let result = run_at(&server, "/", posted).await.unwrap();
    assert_eq!(
        (&result["body"], &result["json"]),
        (&json!(""), &json!(null))
    );
    let request = server.request().await;
    assert!(request.starts_with("POST / "), "{request}");
    assert!(
        request.contains("content-type: application/json\r\n"),
        "{request}"
    );
    assert!(
        request.contains("x-n: 5\r\n") && !request.contains("x-null"),
        "{request}"
    );
    assert!(!request.contains("chunked"), "{request}");
    assert!(
        request.ends_with(&format!("\r\n\r\n[{LONG},1.50]")),
        "{request}"
    );

    let headers = json!({"Idempotency-Key": "mine", "content-type": "text/csv"});
    let put = json!({"method": "PUT", "body": "a,b", "headers": headers});
    run_at(&server, "/", put).await.unwrap();
    let request = server.request().await;
    assert!(request.contains("idempotency-key: mine\r\n"), "{request}");
    assert!(request.contains("content-type: text/csv\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\na,b"), "{request}");

    let call = Call::new("http-request", json!({"url": server.url("/"), "body": ""}));
    run_call(&call.without_key()).await.unwrap();
    assert!(!server.request().await.contains("idempotency-key"));
}

#[tokio::test]
async fn statuses_of_400_and_over_are_failures() {
    let server = Server::start(vec![
        ("/409", Act::answer("409 Conflict", "", "")),
        (
            "/429",
            Act::answer("429 Too Many Requests", "Retry-After: 7\n", "slow\0down"),
        ),
        (
            "/503",
            Act::answer(
                "503 Service Unavailable",
                "Retry-After: Fri, 02 Jan 2026 03:05:05 GMT\n",
                "",
            ),
        ),
        (
            "/500",
            Act::answer("500 Internal Server Error", "", "x".repeat(300_000)),
        ),
        (
            "/half",
            Act::Answer(b"HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\nhalf".to_vec()),
        ),
    ])
    .await;
    for (path, class, rejected, wait) in [
        ("/404", E::Permanent, true, None),
        ("/409", E::Permanent, false, None),
        ("/429", E::RateLimited, false, Some(7_000)),
        ("/503", E::Transient, false, Some(59_322)),
        ("/500", E::Transient, false, None),
    ] {
        let error = run_at(&server, path, json!({"method": "POST"}))
            .await
            .unwrap_err();
        assert_eq!((error.class, error.rejected), (class, rejected), "{path}");
        assert_eq!(error.retry_after_ms, wait, "{path}");
        assert_eq!(error.code, path.replace('/', "http_"));
    }
    let error = run_at(&server, "/429", json!({})).await.unwrap_err();
    let details = error.details.unwrap();
    assert_eq!(details["body"], "slow\u{fffd}down");
    assert_eq!(details["statusText"], "Too Many Requests");
    let error = run_at(&server, "/500", json!({"maxResponseSize": 10}))
        .await
        .unwrap_err();
    assert_eq!(error.details.unwrap()["body"].as_str().unwrap().len(), 4096);
    let error = run_at(&server, "/half", json!({})).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (E::Transient, "http_500")
    );
    assert_eq!(error.details.unwrap()["body"], "half");
}

#[tokio::test]
async fn accepted_statuses_are_successes() {
    let server = Server::start(vec![("/500", Act::answer("500 X", "", "why"))]).await;
    for (path, accept, expected) in [
        ("/404", json!([404]), Some(404)),
        ("/404", json!(["404"]), Some(404)),
        ("/404", json!([500, "4xx"]), Some(404)),
        ("/500", json!(["5xx"]), Some(500)),
        ("/500", json!(["4xx"]), None),
        ("/500", json!([]), None),
    ] {
        let result = run_at(&server, path, json!({ "acceptStatus": accept })).await;
        let status = result.ok().map(|result| result["status"].clone());
        assert_eq!(status, expected.map(Value::from), "{path} {accept}");
    }
}

#[tokio::test]
async fn no_answer_after_sending_is_in_doubt() {
    let server = Server::start(vec![
        ("/close", Act::Close),
        ("/reset", Act::Reset),
        ("/hang", Act::Hang),
        ("/garbage", Act::Answer(b"no http at all\r\n\r\n".to_vec())),
        (
            "/half",
            Act::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf".to_vec()),
        ),
    ])
    .await;
    for (path, code) in [
        ("/close", "no_answer"),
        ("/reset", "reset"),
        ("/hang", "timed_out"),
        ("/garbage", "no_answer"),
        ("/half", "no_answer"),
    ] {
        let timeout = if path == "/hang" { 100 } else { 30_000 };
        let payload = json!({"method": "POST", "timeout": timeout});
        let error = run_at(&server, path, payload).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (E::InDoubt, code),
            "{path}"
        );
        assert!(!error.rejected && !error.unsent);
    }
}

#[tokio::test]
async fn nothing_is_in_doubt_before_a_connection_stands() {
    let refused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for (url, code) in [
        (format!("http://{refused}/"), "connect_failed"),
        ("http://nowhere.invalid/".to_owned(), "dns_failed"),
    ] {
        let error = run(json!({"url": url, "method": "POST"}))
            .await
            .unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (E::Transient, code));
        assert!(
            error.unsent && !error.rejected && !error.message.contains("http://"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_stands_is_a_timeout() {
    // The server waits for a request line and never speaks TLS.
    let server = Server::start(vec![]).await;
    let url = format!("https://{}/", server.address);
    let error = run(json!({"url": url, "method": "POST"}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (E::Timeout, "connect_timeout")
    );
}

#[tokio::test]
async fn addresses_that_are_not_global_are_blocked() {
    let mut server = Server::start(vec![]).await;
    let closed = kind(&["10.9.8.0/24"]);
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "[::1]",
    ] {
        let payload = json!({"url": format!("http://{host}:{port}/")});
        let call = Call::new("http-request", payload);
        let error = closed.run(call.call()).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (E::Permanent, "blocked_address"),
            "{host}"
        );
    }
    assert!(server.is_quiet());
    let by_name = json!({"url": format!("http://localhost:{port}/x"), "acceptStatus": [404]});
    assert_eq!(run(by_name).await.unwrap()["status"], 404);
}

#[tokio::test]
async fn answers_are_bounded_and_can_be_kept() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
    let server = Server::start(vec![
        ("/10", Act::answer("200 OK", "", "0123456789")),
        ("/chunked", Act::Answer(chunked.to_vec())),
        (
            "/huge",
            Act::answer("200 OK", "", vec![b'x'; 6 * 1024 * 1024]),
        ),
        (
            "/nul",
            Act::answer("200 OK", "", b"{\"a\":\"\\u0000\"}\0\xff"),
        ),
        ("/twice", Act::answer("200 OK", "", r#"{"a":1,"a":2}"#)),
        (
            "/deep",
            Act::answer(
                "200 OK",
                "",
                format!("{}{}", "[".repeat(64), "]".repeat(64)),
            ),
        ),
    ])
    .await;
    for (path, size) in [("/10", 9), ("/chunked", 15), ("/huge", 5 * 1024 * 1024)] {
        let error = run_at(&server, path, json!({ "maxResponseSize": size }))
            .await
            .unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (E::Permanent, "response_too_large"),
            "{path}"
        );
        assert!(!error.rejected);
    }
    for (path, size) in [("/10", 10), ("/chunked", 16), ("/huge", 6 * 1024 * 1024)] {
        let result = run_at(&server, path, json!({ "maxResponseSize": size }))
            .await
            .unwrap();
        assert_eq!(result["body"].as_str().unwrap().len(), size, "{path}");
    }
    let error = run_at(&server, "/huge", json!({})).await.unwrap_err();
    assert_eq!(error.code, "response_too_large");
    let result = run_at(&server, "/nul", json!({})).await.unwrap();
    assert_eq!(result["body"], "{\"a\":\"\\u0000\"}\u{fffd}\u{fffd}");
    for path in ["/nul", "/twice", "/deep"] {
        let result = run_at(&server, path, json!({})).await.unwrap();
        assert_eq!(result["json"], json!(null), "{path}");
        assert!(crate::domain::nesting(&result) <= MAX_NESTING);
    }
}

#[tokio::test]
async fn wrong_payloads_are_refused() {
    let many: Map<_, _> = (0..101).map(|i| (format!("h{i}"), json!(""))).collect();
    for wrong in [
        json!({"url": 5}),
        json!({"method": "CONNECT"}),
        json!({"method": "GET / HTTP/1.1\r\nX: y"}),
        json!({"headers": []}),
        json!({"headers": {"a b": "c"}}),
        json!({"headers": {"a": "b\r\nc: d"}}),
        json!({"headers": {"a": ["b"]}}),
        json!({ "headers": many }),
        json!({"timeout": 60_001}),
        json!({"timeout": 0}),
        json!({"maxResponseSize": 10 * MIB + 1}),
        json!({"followRedirects": "no"}),
        json!({"acceptStatus": 404}),
        json!({"acceptStatus": ["abc"]}),
        json!({"acceptStatus": ["0xx"]}),
        json!({"acceptStatus": [99]}),
    ] {
        let mut payload = json!({"url": "http://127.0.0.1:1/"});
        let members = payload.as_object_mut().unwrap();
        members.extend(wrong.as_object().unwrap().clone());
        let error = run(payload).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (E::Definition, "invalid_payload"),
            "{wrong}"
        );
    }
    assert_eq!(run(json!({})).await.unwrap_err().code, "invalid_payload");
    for url in [
        "",
        "nowhere",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "data:,x",
        "http://a b/",
    ] {
        let error = run(json!({ "url": url })).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (E::Permanent, "invalid_url"),
            "{url}"
        );
    }
}
