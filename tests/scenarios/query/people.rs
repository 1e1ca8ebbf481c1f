//! People who signed in to the page, as API Gateway's events describe them; callers of function URLs beside them.

use std::future::ready;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
    middleware::map_request,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use query::api::caller;
use serde_json::{Value, json};

use super::{Answered, Asking, problem, seen};
use crate::events::{IRELAND, TOKYO, image, push};

const ISSUER: &str = "https://id.example.com/realms/main";

/// A request that changes nothing, and one that changes something.
const READ: (&str, &str) = ("GET", "/v1/overview");
const CHANGE: (&str, &str) = ("POST", "/v1/pauses");

/// The API as Lambda serves it, with a deletion.
async fn deployed(may_change: bool) -> Asking {
    let asking =
        Asking::behind(|router| router.layer(map_request(move |request| ready(caller::identify(request, may_change)))));
    let asking = asking.await;
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
    asking.deletion('a', TOKYO, 100).await;
    asking
}

/// The claims of a token.
fn person(groups: &Value) -> Value {
    json!({
        "iss": ISSUER,
        "aud": "page",
        "sub": "8f2c",
        "email": "dana@example.com",
        "email_verified": true,
        "exp": 1_793_448_000,
        "groups": groups,
    })
}

/// A claim, as an event has it.
fn text(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{}]", all.iter().map(text).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

/// An event of the HTTP API, for a person with this token.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
fn event((method, path): (&str, &str), body: &Value, token: &Value) -> Value {
    let claims = token.as_object().unwrap().iter().map(|(name, claim)| (name.clone(), json!(text(claim))));
    let payload = BASE64_URL_SAFE_NO_PAD.encode(token.to_string());
    json!({
        "version": "2.0",
        "routeKey": "GET /v1/{proxy+}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "authorization": format!("Bearer e30.{payload}.c2lnbmF0dXJl"),
            "content-type": "application/json",
            "host": "a1b2c3.execute-api.eu-central-1.amazonaws.com",
        },
        "requestContext": {
            "accountId": "999988887777",
            "apiId": "a1b2c3",
            "authorizer": {"jwt": {"claims": claims.collect::<serde_json::Map<_, _>>(), "scopes": null}},
            "domainName": "a1b2c3.execute-api.eu-central-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"},
            "requestId": "id",
            "stage": "$default",
            "time": "30/Nov/2026:23:00:00 +0000",
            "timeEpoch": 1_796_079_600_000_u64,
        },
        "stageVariables": {
            "SIGN_IN_ISSUER": ISSUER,
            "SIGN_IN_CLIENT_ID": "page",
            "SIGN_IN_SCOPES": "openid,email",
            "GROUPS_CLAIM": "groups",
            "READER_GROUP": "reader",
            "OPERATOR_GROUP": "operator",
        },
        "body": (method == "POST").then(|| body.to_string()),
        "isBase64Encoded": false,
    })
}

/// The answer to an event.
async fn answer(asking: &Asking, event: &Value) -> Answered {
    let (head, body) = lambda_http::request::from_str(&event.to_string()).unwrap().into_parts();
    asking.ask(Request::from_parts(head, Body::from(body.to_vec()))).await
}

async fn ask(asking: &Asking, request: (&str, &str), body: &Value, token: &Value) -> Answered {
    answer(asking, &event(request, body, token)).await
}

#[tokio::test]
async fn an_operator_acts_with_their_name() {
    let (query, operate) = (deployed(false).await, deployed(true).await);
    for groups in [json!(["operator"]), json!(["developers", "operator"]), json!("operator")] {
        let read = ask(&query, READ, &json!({}), &person(&groups)).await;
        let expected = json!("dana@example.com (sub 8f2c at https://id.example.com/realms/main)");
        assert_eq!((&read.json()["caller"], &read.json()["may_change"]), (&expected, &json!(true)), "{groups}");
        let paused = ask(&operate, CHANGE, &json!({"reason": "audit"}), &person(&groups)).await;
        assert_eq!(paused.status, StatusCode::OK, "{}", paused.text);
        assert_eq!(operate.get("/v1/overview").await.json()["pauses"][0]["by"], expected, "{groups}");
        // The function for reading changes nothing for an operator, either.
        let refused = ask(&query, CHANGE, &json!({}), &person(&groups)).await;
        problem(&refused, 403, "query");
        assert_eq!(refused.json()["code"], "read_only");
    }
    let cancel = ("POST", "/v1/deletions/cancel");
    let done = ask(&operate, cancel, &seen('a', TOKYO, 1), &person(&json!(["operator"]))).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let record = operate.store.table.image_record(&image('a').parse().unwrap()).await.unwrap();
    assert_eq!(record.deletions[0].actions[0].by, "dana@example.com (sub 8f2c at https://id.example.com/realms/main)");
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let (query, operate) = (deployed(false).await, deployed(true).await);
    let before = operate.store.dump().await;
    let reader = person(&json!(["reader"]));
    let read = ask(&query, READ, &json!({}), &reader).await;
    assert_eq!((read.status, &read.json()["may_change"]), (StatusCode::OK, &json!(false)));
    for path in ["deletions/cancel", "pauses", "holds", "holds/release", "breakers/reset", "registries/forget"] {
        let refused = ask(&operate, ("POST", &format!("/v1/{path}")), &seen('a', TOKYO, 1), &reader).await;
        problem(&refused, 403, path);
        assert_eq!(refused.json()["code"], "not_operator", "{path}");
    }
    // A reader may preview a policy. This one is none.
    let preview = ask(&query, ("POST", "/v1/policy/preview"), &json!({"policy": "permit"}), &reader).await;
    assert_eq!(preview.json()["code"], "invalid_policy", "{}", preview.text);
    assert_eq!(operate.store.dump().await, before);
}

/// A change of an event, and the status and the code of the answer to it.
type Doubt = (&'static str, fn(&mut Value), u16, &'static str);

/// The same claim in the event and in the token.
fn in_both(event: &mut Value, name: &str, claim: &Value) {
    event["requestContext"]["authorizer"]["jwt"]["claims"][name] = json!(text(claim));
    in_token(event, name, claim);
}

fn in_token(event: &mut Value, name: &str, claim: &Value) {
    let header = event["headers"]["authorization"].as_str().unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(header.split('.').nth(1).unwrap()).unwrap();
    let mut token: Value = serde_json::from_slice(&payload).unwrap();
    token[name] = claim.clone();
    let payload = BASE64_URL_SAFE_NO_PAD.encode(token.to_string());
    event["headers"]["authorization"] = json!(format!("Bearer e30.{payload}.c2lnbmF0dXJl"));
}

const DOUBTS: &[Doubt] = &[
    ("no authorizer", |event| event["requestContext"]["authorizer"] = json!(null), 401, "not_signed_in"),
    (
        "only IAM",
        |event| {
            event["requestContext"]["authorizer"] = json!({"iam": {"userArn": "arn:aws:iam::111122223333:user/dana"}});
        },
        401,
        "not_signed_in",
    ),
    ("no claims", |event| event["requestContext"]["authorizer"]["jwt"]["claims"] = json!({}), 401, "not_signed_in"),
    ("no header", |event| event["headers"]["authorization"] = json!(""), 401, "not_signed_in"),
    ("no JSON", |event| event["headers"]["authorization"] = json!("Bearer a.b.c"), 401, "not_signed_in"),
    (
        "two tokens",
        |event| {
            let header = event["headers"]["authorization"].as_str().unwrap().to_owned();
            event["headers"]["authorization"] = json!(format!("{header},{header}"));
        },
        401,
        "not_signed_in",
    ),
    ("another issuer", |event| in_both(event, "iss", &json!("https://evil.example")), 401, "not_signed_in"),
    ("another issuer's token", |event| in_token(event, "iss", &json!("https://evil.example")), 401, "not_signed_in"),
    ("another client", |event| in_both(event, "aud", &json!("other")), 401, "not_signed_in"),
    ("another client's token", |event| in_token(event, "aud", &json!(["page2"])), 401, "not_signed_in"),
    ("no client", |event| in_token(event, "aud", &json!(null)), 401, "not_signed_in"),
    ("another person's token", |event| in_token(event, "sub", &json!("other")), 401, "not_signed_in"),
    ("no name", |event| in_both(event, "sub", &json!("")), 401, "not_signed_in"),
    ("a name in a name", |event| in_both(event, "sub", &json!("x) (y")), 401, "not_signed_in"),
    ("an endless name", |event| in_both(event, "sub", &json!("x".repeat(256))), 401, "not_signed_in"),
    (
        "a group that was not verified",
        |event| {
            event["requestContext"]["authorizer"]["jwt"]["claims"]["groups"] = json!("[developers]");
        },
        403,
        "no_group",
    ),
    ("a group with a space", |event| in_both(event, "groups", &json!(["payments operator"])), 403, "no_group"),
    ("a list as a text", |event| in_both(event, "groups", &json!("[operator]")), 403, "no_group"),
    ("part of a name", |event| in_both(event, "groups", &json!(["operators", "the-reader"])), 403, "no_group"),
    ("groups by name", |event| in_both(event, "groups", &json!({"operator": true})), 403, "no_group"),
    ("no groups", |event| in_both(event, "groups", &json!([])), 403, "no_group"),
    ("nothing about groups", |event| event["stageVariables"] = json!(null), 500, "sign_in_unusable"),
    ("no group's name", |event| event["stageVariables"]["READER_GROUP"] = json!(""), 500, "sign_in_unusable"),
];

#[tokio::test]
async fn whatever_is_in_doubt_is_refused() {
    let operate = deployed(true).await;
    let before = operate.store.dump().await;
    for request in [READ, CHANGE, ("GET", "/v1/openapi.json")] {
        for (what, change, status, code) in DOUBTS {
            let mut event = event(request, &json!({}), &person(&json!(["operator"])));
            change(&mut event);
            let refused = answer(&operate, &event).await;
            problem(&refused, *status, what);
            assert_eq!(refused.json()["code"], *code, "{what}");
            assert!(refused.headers.contains_key(header::CONTENT_SECURITY_POLICY), "{what}");
        }
    }
    assert_eq!(operate.store.dump().await, before);
}

#[tokio::test]
async fn an_address_that_the_issuer_did_not_verify_is_no_name() {
    let query = deployed(false).await;
    for change in [
        |event: &mut Value| in_both(event, "email_verified", &json!(false)),
        |event: &mut Value| in_both(event, "email_verified", &json!(null)),
        |event: &mut Value| in_both(event, "email", &json!("dana@example.com (sub 1 at https://id.example.com)")),
        |event: &mut Value| in_both(event, "email", &json!("dana")),
    ] {
        let mut event = event(READ, &json!({}), &person(&json!(["reader"])));
        change(&mut event);
        let caller = answer(&query, &event).await.json()["caller"].clone();
        assert_eq!(caller, "sub 8f2c at https://id.example.com/realms/main");
    }
}

#[tokio::test]
async fn the_page_loads_before_anybody_signs_in_and_says_where() {
    let query = deployed(false).await;
    let mut event = event(("GET", "/"), &json!({}), &person(&json!([])));
    event["requestContext"]["authorizer"] = json!(null);
    let page = answer(&query, &event).await;
    assert_eq!(page.status, StatusCode::OK);
    let meta = "<meta name=\"sign-in\" content=\"https://id.example.com/realms/main page openid email\">";
    assert!(page.text.contains(meta), "{}", page.text);
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("connect-src 'self' https://id.example.com;"), "{policy}");
    // A browser takes the headers of a 304 for those of the page that it has.
    event["headers"]["if-none-match"] = json!(page.headers[header::ETAG].to_str().unwrap());
    let again = answer(&query, &event).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers[header::CONTENT_SECURITY_POLICY], policy);
    // There is no sign-in at the function URL.
    let page = query.get("/").await;
    assert!(!page.text.contains("sign-in") && page.text.contains("<title>"), "{}", page.text);
}

#[tokio::test]
async fn a_caller_of_a_function_url_is_whom_iam_authenticated() {
    let operate = deployed(true).await;
    let arn = "arn:aws:sts::111122223333:assumed-role/platform/dana";
    // The headers say something else, and are not believed.
    let mut event = event(CHANGE, &json!({"reason": "audit"}), &person(&json!(["operator"])));
    event["stageVariables"] = json!(null);
    event["requestContext"]["authorizer"] = json!({"iam": {"userArn": arn}});
    assert_eq!(answer(&operate, &event).await.status, StatusCode::OK);
    assert_eq!(operate.get("/v1/overview").await.json()["pauses"][0]["by"], arn);
    event["requestContext"]["authorizer"] = json!(null);
    problem(&answer(&operate, &event).await, 403, "anonymous");
}
