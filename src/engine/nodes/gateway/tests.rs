use serde_json::json;

use super::*;
use crate::{
    domain::{ErrorClass as E, Simulation, parse_json},
    engine::nodes::testing::{Act, Call, Server},
};

const LONG: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

fn gateway(server: &Server, path: &str) -> Gateway {
    Gateway {
        client: HttpClient::trusted().unwrap(),
        url: server.url(path).parse().unwrap(),
        timeout: TIMEOUT,
    }
}

async fn run(server: &Server, path: &str) -> Result<NodeOutput, NodeError> {
    let call = Call::new("slack-post", json!({}));
    gateway(server, path).run(call.call()).await
}

async fn answered(status: &str, body: &str) -> Result<NodeOutput, NodeError> {
    let server = Server::start(vec![("/", Act::answer(status, "", body))]).await;
    run(&server, "/").await
}

#[tokio::test]
async fn a_call_says_who_asks_and_the_answer_is_exact() {
    let answer = format!(r#"{{"result":{{"z":{LONG},"a":1.50}}}}"#);
    let mut server = Server::start(vec![("/x", Act::answer("200 OK", "", answer))]).await;
    let payload: Value = serde_json::from_str(&format!(r#"{{"amount":{LONG}}}"#)).unwrap();
    let call = Call::new("slack-post", payload)
        .with_connector(json!({"type": "slack", "id": "c1"}))
        .with_simulation(Simulation {
            forks: Some(JsonText::trusted(r#"[{"b":1.50,"a":2}]"#)),
            mode: Some("fork".into()),
            is_simulation: true,
            is_dust_test: false,
        });
    let output = gateway(&server, "/x").run(call.call()).await.unwrap();
    assert_eq!(
        output.result.to_string(),
        format!(r#"{{"z":{LONG},"a":1.50}}"#)
    );
    let request = server.request().await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /x "), "{head}");
    assert!(
        head.contains("idempotency-key: run_a/loop[3].pay/1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    let expected = format!(
        concat!(
            r#"{{"type":"slack-post","payload":{{"amount":{}}},"#,
            r#""connector":{{"type":"slack","id":"c1"}},"nodeId":"pay","nodePath":"loop[3].pay","#,
            r#""runId":"run_b","rootRunId":"run_a","organizationId":"org_1","#,
            r#""effectKey":"run_a/loop[3].pay/1","attempt":2,"#,
            r#""simulation":{{"forks":[{{"b":1.50,"a":2}}],"mode":"fork","isSimulation":true,"#,
            r#""isDustTest":false}}}}"#,
        ),
        LONG
    );
    assert_eq!(body, expected);
    parse_json(body.as_bytes(), 64).unwrap();
}

#[tokio::test]
async fn only_a_result_is_a_success() {
    for (body, expected) in [
        (r#"{"result":null}"#, Some(json!(null))),
        (
            r#"{"result":[],"error":{"code":"ignored"}}"#,
            Some(json!([])),
        ),
        ("{}", None),
        ("", None),
        ("null", None),
        ("[]", None),
        (r#"{"result":1,"result":2}"#, None),
        (r#"{"result":"\u0000"}"#, None),
        ("<html>", None),
    ] {
        match (answered("200 OK", body).await, expected) {
            (Ok(output), Some(expected)) => assert_eq!(output.result, expected, "{body}"),
            (Err(error), None) => {
                assert_eq!(
                    (error.class, error.rejected),
                    (E::Permanent, false),
                    "{body}"
                );
                assert_eq!(error.code, "bad_gateway_answer");
            }
            (result, _) => panic!("{body}: {result:?}"),
        }
    }
    let deep = |depth: usize| format!(r#"{{"result":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(answered("200 OK", &deep(64)).await.is_ok());
    assert!(answered("200 OK", &deep(65)).await.is_err());
}

/// Status and body, and what they are: class, code, rejected.
type Failure = (&'static str, &'static str, ErrorClass, &'static str, bool);

const BY_STATUS: &[Failure] = &[
    ("400 X", "", E::Permanent, "http_400", true),
    ("302 X", "", E::Permanent, "http_302", false),
    ("503 X", "<html>", E::Transient, "http_503", false),
    ("429 X", "[]", E::RateLimited, "http_429", false),
    (
        "500 X",
        r#"{"error":"text"}"#,
        E::Transient,
        "http_500",
        false,
    ),
];

/// The body is the `error` alone.
const BY_WORD: &[Failure] = &[
    (
        "500 X",
        r#"{"class":"permanent","code":"no_channel"}"#,
        E::Permanent,
        "no_channel",
        false,
    ),
    (
        "500 X",
        r#"{"effect":"none"}"#,
        E::Transient,
        "http_500",
        true,
    ),
    (
        "500 X",
        r#"{"class":"in_doubt","effect":"none"}"#,
        E::Transient,
        "http_500",
        true,
    ),
    (
        "400 X",
        r#"{"class":"in_doubt"}"#,
        E::InDoubt,
        "http_400",
        false,
    ),
    (
        "400 X",
        r#"{"effect":"some"}"#,
        E::Permanent,
        "http_400",
        false,
    ),
    (
        "422 X",
        r#"{"class":"rate_limited"}"#,
        E::RateLimited,
        "http_422",
        false,
    ),
    (
        "500 X",
        r#"{"class":"cancelled","code":"","effect":5}"#,
        E::Transient,
        "http_500",
        false,
    ),
    (
        "500 X",
        r#"{"class":{"a":1},"code":7}"#,
        E::Transient,
        "http_500",
        false,
    ),
    (
        "200 OK",
        r#"{"class":"transient","code":"later"}"#,
        E::Transient,
        "later",
        false,
    ),
    (
        "200 OK",
        r#"{"effect":"none"}"#,
        E::Permanent,
        "bad_gateway_answer",
        true,
    ),
];

async fn assert_fails(failure: &Failure, body: &str) {
    let (status, _, class, code, rejected) = *failure;
    let error = answered(status, body).await.unwrap_err();
    let is = (error.class, error.code.as_str(), error.rejected);
    assert_eq!(is, (class, code, rejected), "{status} {body}");
}

#[tokio::test]
async fn failures_follow_the_status() {
    for failure in BY_STATUS {
        assert_fails(failure, failure.1).await;
    }
}

#[tokio::test]
async fn the_gateway_says_it_better() {
    for failure in BY_WORD {
        assert_fails(failure, &format!(r#"{{"error":{}}}"#, failure.1)).await;
    }
    let body = r#"{"error":{"message":"busy","retryAfterMs":1500}}"#;
    let error = answered("503 X", body).await.unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.retry_after_ms),
        ("busy", Some(1_500))
    );
    assert_eq!(error.details.unwrap()["body"], body);
    for (wait, expected) in [
        ("-1", None),
        ("1.5", None),
        ("1e30", None),
        ("1e15", Some(MAX_RETRY_AFTER_MS)),
    ] {
        let body = format!(r#"{{"error":{{"retryAfterMs":{wait}}}}}"#);
        assert_eq!(
            answered("503 X", &body).await.unwrap_err().retry_after_ms,
            expected,
            "{wait}"
        );
    }
}

#[tokio::test]
async fn silence_is_in_doubt_and_no_connection_is_not() {
    let server = Server::start(vec![("/hang", Act::Hang), ("/close", Act::Close)]).await;
    let error = run(&server, "/close").await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (E::InDoubt, "no_answer")
    );
    let hanging = Gateway {
        timeout: Duration::from_millis(100),
        ..gateway(&server, "/hang")
    };
    let call = Call::new("slack-post", json!({}));
    let error = hanging.run(call.call()).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (E::InDoubt, "timed_out")
    );
    let refused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = refused.local_addr().unwrap();
    drop(refused);
    let away = Gateway {
        url: format!("http://u:secret@{address}/").parse().unwrap(),
        ..gateway(&server, "/")
    };
    let error = away.run(call.call()).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (E::Transient, "connect_failed")
    );
    assert!(
        !error.rejected && !error.message.contains("secret"),
        "{error}"
    );
}
