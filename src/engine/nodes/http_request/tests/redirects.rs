use super::*;

#[tokio::test]
async fn redirects_are_checked_like_the_first_hop() {
    let to = |status: &str, location: &str| {
        Act::answer(status, &format!("Location: {location}\n"), "moved")
    };
    let mut server = Server::start(vec![
        (
            "/metadata",
            to("302 Found", "http://169.254.169.254/latest"),
        ),
        ("/file", to("302 Found", "file:///etc/passwd")),
        ("/bad", to("302 Found", "http://[")),
        ("/loop", to("302 Found", "/loop")),
        ("/seen", to("303 See Other", "/end?x")),
        ("/gone", to("303 See Other", "/missing")),
        ("/kept", to("307 Temporary Redirect", "end?x")),
        ("/nowhere", Act::answer("302 Found", "", "stay")),
        ("/end?x", Act::answer("200 OK", "", "end")),
    ])
    .await;
    for (path, code) in [
        ("/metadata", "blocked_address"),
        ("/file", "invalid_url"),
        ("/bad", "invalid_redirect"),
        ("/loop", "too_many_redirects"),
    ] {
        let error = run_at(&server, path, json!({})).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (E::Permanent, code),
            "{path}"
        );
    }
    while !server.is_quiet() {}
    let post = json!({"method": "POST", "body": {"a": 1}});
    for (path, expected) in [("/seen", "GET /end?x "), ("/kept", "POST /end?x ")] {
        let result = run_at(&server, path, post.clone()).await.unwrap();
        assert_eq!(result["body"], "end");
        server.request().await;
        let request = server.request().await;
        assert!(request.starts_with(expected), "{request}");
        assert_eq!(request.contains(r#"{"a":1}"#), path == "/kept", "{request}");
    }
    // The POST was answered: what the next hop says is no rejection of it.
    let error = run_at(&server, "/gone", post).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.rejected), ("http_404", false));
    let stay = json!({"followRedirects": false});
    let result = run_at(&server, "/seen", stay).await.unwrap();
    assert_eq!(
        (&result["status"], &result["body"]),
        (&json!(303), &json!("moved"))
    );
    let result = run_at(&server, "/nowhere", json!({})).await.unwrap();
    assert_eq!(result["status"], 302);
}

#[tokio::test]
async fn secrets_stay_with_their_origin() {
    let mut other = Server::start(vec![("/", Act::answer("200 OK", "", ""))]).await;
    let location = format!("Location: {}\n", other.url("/"));
    let mut server = Server::start(vec![
        ("/here", Act::answer("302 Found", "Location: /there\n", "")),
        ("/there", Act::answer("302 Found", &location, "")),
    ])
    .await;
    let headers =
        json!({"Authorization": "Bearer s", "Cookie": "a=b", "X-Api-Key": "k", "X-B": "c"});
    run_at(&server, "/here", json!({ "headers": headers }))
        .await
        .unwrap();
    for _ in 0..2 {
        assert!(
            server
                .request()
                .await
                .contains("authorization: Bearer s\r\n")
        );
    }
    let request = other.request().await;
    for secret in ["authorization", "cookie", "x-api-key"] {
        assert!(!request.contains(secret), "{request}");
    }
    assert!(request.contains("x-b: c\r\n"), "{request}");
}

#[tokio::test]
async fn a_lost_hop_after_an_effect_is_in_doubt() {
    let refused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let location = format!("Location: http://{refused}/\n");
    let server = Server::start(vec![
        ("/seen", Act::answer("303 See Other", &location, "")),
        (
            "/kept",
            Act::answer("307 Temporary Redirect", &location, ""),
        ),
    ])
    .await;
    for (path, method, class) in [
        ("/seen", "POST", E::InDoubt),
        ("/seen", "GET", E::Transient),
        ("/kept", "POST", E::Transient),
    ] {
        let error = run_at(&server, path, json!({ "method": method }))
            .await
            .unwrap_err();
        assert_eq!(error.class, class, "{path} {method}");
        assert!(!error.unsent, "the first hop got the key: {path} {method}");
    }
}
