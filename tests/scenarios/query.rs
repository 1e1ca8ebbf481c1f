//! The HTTP API: the pages of its lists; the requests that it refuses, and that those change nothing.

mod document;
mod lists;
mod people;
mod presence;
mod site;

use std::collections::BTreeSet;

use aws::registry::{Registries, Roles};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use domain::{
    alert::AlertKind,
    deletion::{Deletion, DeletionIntent, DeletionStatus, OperatorAction},
    expectation::{ExpectationState, ProblemChange, ReplicationExpectation},
    image::{Image, Registry},
    lineage::PlacementStatus,
};
use jiff::Timestamp;
use query::{
    api::{self, Query, caller::Caller},
    page,
};
use serde_json::{Value, json};
use store::PageBounds;
use tower::ServiceExt;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, at, delete, digest, image, push, replicate},
    test_table::Store,
};

/// A table, and an API with a fixed caller.
pub(crate) struct Asking {
    pub(crate) store: Store,
    router: Router,
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

pub(crate) const ANONYMOUS: Caller = Caller { name: None, may_change: false };

pub(crate) fn operator() -> Caller {
    Caller { name: Some("arn:aws:sts::111122223333:assumed-role/platform/dana".to_owned()), may_change: true }
}

impl Asking {
    pub(crate) async fn new(caller: Caller) -> Self {
        Self::behind(|router| router.layer(axum::Extension(caller))).await
    }

    /// An API behind something that says who the caller is.
    async fn behind(layer: impl FnOnce(Router) -> Router) -> Self {
        let store = Store::new().await;
        let table = store.through(store.client.config().to_builder());
        let sdk = aws_config::SdkConfig::builder().build();
        let query = Query {
            table,
            registries: Registries::new(sdk, Roles::default()),
            // A real clock has fractions of seconds; answers have none.
            clock: Box::new(|| at(3_599).replace('Z', ".123456789Z").parse().unwrap()),
        };
        Self { store, router: layer(api::router(query)) }
    }

    async fn ask(&self, request: Request<Body>) -> Answered {
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answered { status: head.status, headers: head.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answered {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.ask(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// All entries of a list, from all its pages.
    pub(crate) async fn all(&self, path: &str, list: &str) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = self.get(&format!("{path}{cursor}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            let mut answer = answer.json();
            entries.append(answer[list].as_array_mut().unwrap());
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return entries,
            }
        }
    }

    /// A deletion that is pending.
    pub(crate) async fn deletion(&self, letter: char, registry: &str, since: u32) -> Deletion {
        self.deletion_of(letter, None, registry, since).await
    }

    async fn deletion_of(&self, letter: char, tag: Option<&str>, registry: &str, since: u32) -> Deletion {
        let tag = tag.map(|tag| tag.parse().unwrap());
        let intent = DeletionIntent { registry: registry.parse().unwrap(), tag, since: at(since).parse().unwrap() };
        let source: Registry = IRELAND.parse().unwrap();
        let image: Image = image(letter).parse().unwrap();
        let mut deletion = Deletion::open(None, &image, &source, intent, at(since).parse().unwrap()).unwrap();
        self.store.table.put_deletion(&mut deletion).await.unwrap();
        deletion
    }
}

/// A request that names the version of a deletion that the caller saw.
fn seen(letter: char, registry: &str, version: u64) -> Value {
    json!({"image": image(letter), "registry": registry, "version": version})
}

/// The letters of which the digests are made.
const LETTERS: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

#[tokio::test]
async fn the_parts_of_a_list_together_are_the_whole_list() {
    let asking = Asking::new(ANONYMOUS).await;
    let mut events = Vec::new();
    for (place, letter) in (0..).zip(LETTERS) {
        events.push(push(IRELAND, letter, Some(&format!("v{place}")), place));
        // Half of the images are in one registry only, and one of them is only at its destination.
        if place % 2 == 0 {
            events.push(replicate(IRELAND, TOKYO, letter, Some(&format!("v{place}")), 60 + place));
        }
    }
    events.push(replicate(IRELAND, VIRGINIA, '9', Some("elsewhere"), 10));
    for letter in ['a', 'c', 'e'] {
        events.push(delete(IRELAND, letter, None, 600));
    }
    assert!(asking.store.deliver(&events).await.is_empty());
    for limit in 1..9 {
        let images = asking.all(&format!("/v1/images?repository=team/app&limit={limit}"), "images").await;
        let digests: Vec<_> = images.iter().map(|image| image["digest"].as_str().unwrap().to_owned()).collect();
        let mut expected: Vec<_> = LETTERS.into_iter().chain(['9']).map(digest).collect();
        expected.sort();
        assert_eq!(BTreeSet::from_iter(&digests), BTreeSet::from_iter(&expected), "by {limit}");
        assert_eq!(digests.len(), expected.len(), "by {limit}");
        let found = asking.all(&format!("/v1/repositories?prefix=team&limit={limit}"), "repositories").await;
        assert_eq!(found, [json!({"repository": "team/app", "registries": [IRELAND, VIRGINIA, TOKYO]})]);
    }
    let orphans = asking.all("/v1/orphans?repository=team/app", "orphans").await;
    let digests: Vec<_> = orphans.iter().map(|orphan| orphan["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, ['a', 'c', 'e'].map(digest));
    // `images` counts the images that a page examined, even if few of them are orphans.
    let (tokyo, mut after, mut parts) = (TOKYO.parse().unwrap(), None, Vec::new());
    loop {
        let part = PageBounds { repository: None, after: after.as_ref(), most: 1 };
        let (orphans, walked) = asking.store.table.orphans(&tokyo, part).await.unwrap();
        assert_eq!(walked.images, usize::from(walked.next.is_some()));
        parts.extend(orphans.into_iter().map(|lineage| lineage.image.digest.to_string()));
        after = walked.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(parts, ['a', 'c', 'e'].map(digest));
}

#[tokio::test]
async fn deletions_are_listed_once_and_the_newest_is_first() {
    let asking = Asking::new(ANONYMOUS).await;
    assert!(asking.store.deliver(&[push(IRELAND, 'a', None, 0)]).await.is_empty());
    for (place, letter) in (0..).zip(LETTERS) {
        // Groups of three changed at the same time.
        let mut deletion = asking.deletion(letter, TOKYO, 100 + place / 3).await;
        if place % 2 == 0 {
            deletion.status = DeletionStatus::Done;
            assert_eq!(asking.store.table.put_deletion(&mut deletion).await.unwrap(), store::Stored::New);
        }
    }
    let whole = ['d', 'e', 'f', 'a', 'b', 'c'].map(digest);
    for limit in 1..8 {
        let all = asking.all(&format!("/v1/deletions?limit={limit}&status=done,pending"), "deletions").await;
        let digests: Vec<_> = all.iter().map(|one| one["digest"].as_str().unwrap()).collect();
        assert_eq!(digests, whole, "by {limit}");
    }
}

#[tokio::test]
async fn an_image_is_found_by_its_repository_tag_and_digest() {
    let asking = Asking::new(ANONYMOUS).await;
    let events = [push(IRELAND, 'a', Some("v1"), 0), replicate(IRELAND, TOKYO, 'a', Some("v1"), 42)];
    assert!(asking.store.deliver(&events).await.is_empty());
    let found = async |text: &str| asking.get(&format!("/v1/search?q={text}")).await.json();
    let image = json!([{"repository": "team/app", "digest": digest('a')}]);
    assert_eq!(found("team").await["repositories"], json!(["team/app"]));
    assert_eq!(found("team/app:v1").await["tags"], json!(["team/app:v1"]));
    assert_eq!(found("team/app:v2").await["tags"], json!([]));
    for text in ["aaaa", "sha256:aaaa", "team/app@sha256:aaaa", &digest('a'), &format!("team/app@{}", digest('a'))] {
        assert_eq!(found(text).await["images"], image, "{text}");
    }
    assert_eq!(found("other@sha256:aaaa").await["images"], json!([]));
    assert_eq!(asking.get("/v1/repositories?prefix=team/app@sha256").await.json()["repositories"], json!([]));
    let lineage = asking.get("/v1/lineage?image=team/app:v1").await.json();
    assert_eq!(lineage["images"][0]["registries"][1]["replicated_from"][0]["lag_seconds"], 42);
    let graph = async |format: &str| asking.get(&format!("/v1/graph?image=team/app:v1&format={format}")).await;
    let edges = graph("json").await.json()["edges"].clone();
    assert_eq!(edges[0]["kind"], "pushed");
    assert_eq!((&edges[1]["kind"], &edges[1]["lag_seconds"]), (&json!("replicated"), &json!(42)));
    insta::assert_snapshot!("dot", graph("dot").await.text);
    insta::assert_snapshot!("mermaid", graph("mermaid").await.text);
    let lag = asking.get("/v1/lag?from=30d").await.json();
    assert_eq!((&lag["lanes"][0]["p50_seconds"], &lag["days"][0]["worst_seconds"]), (&json!(42), &json!(42)));
}

#[tokio::test]
async fn an_invalid_request_is_a_problem_document_and_changes_nothing() {
    let asking = Asking::new(operator()).await;
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
    asking.deletion('a', TOKYO, 100).await;
    let before = asking.store.dump().await;
    let long = "x".repeat(10_000);
    let forged = ["zzz", "e30", "bnVsbA", "eyJyZWdpc3RyeSI6IngifQ", &long];
    let mut wrong = vec![
        ("/v1/images?repository=no/such".to_owned(), 404),
        ("/v1/lineage?image=no/such:v1".to_owned(), 404),
        ("/v1/lineage?image=team/app@sha256:0".to_owned(), 400),
        ("/v1/lineage?image=aaaaaaaa".to_owned(), 400),
        ("/v1/lineage?image=team%2Fapp%00:v1".to_owned(), 400),
        ("/v1/lineage".to_owned(), 400),
        ("/v1/images?repository=UPPER".to_owned(), 400),
        ("/v1/images?repository=team/app&limit=0".to_owned(), 400),
        ("/v1/images?repository=team/app&limit=1001".to_owned(), 400),
        ("/v1/images?repository=team/app&limit=-1".to_owned(), 400),
        ("/v1/alerts?from=1000d".to_owned(), 400),
        ("/v1/alerts?from=yesterday".to_owned(), 400),
        ("/v1/alerts?to=1h&from=1h".to_owned(), 400),
        ("/v1/presence?image=team/app:v1&wait=21s".to_owned(), 400),
        ("/v1/presence?image=team/app:v1&in=".to_owned(), 400),
        ("/v1/presence?image=team/app:v2".to_owned(), 404),
        ("/v1/deletions?status=deleted".to_owned(), 400),
        ("/v1/graph?image=team/app:v1&format=svg".to_owned(), 400),
        ("/v1/orphans?registry=somewhere".to_owned(), 400),
        ("/v1/breakers/reset".to_owned(), 400),
        (format!("/v1/breakers/reset?source={IRELAND}&allow=0"), 400),
        (format!("/v1/breakers/reset?source={VIRGINIA}"), 404),
        ("/v2/images".to_owned(), 404),
        ("/v1/images/".to_owned(), 404),
        ("/../etc/passwd".to_owned(), 404),
    ];
    for cursor in forged {
        for list in
            ["images?repository=team/app&", "alerts?", "orphans?", "drift?", "deletions?", "lag?", "repositories?"]
        {
            wrong.push((format!("/v1/{list}cursor={cursor}"), 400));
        }
    }
    for (path, status) in &wrong {
        problem(&asking.get(path).await, *status, path);
    }
    let exact = image('a');
    let posts = [
        ("/v1/deletions/approve", json!({}), 422),
        ("/v1/deletions/approve", json!([]), 422),
        ("/v1/deletions/approve", json!({"image": "aaaaaaaa", "registry": TOKYO, "version": 1}), 422),
        ("/v1/deletions/approve", json!({"image": exact}), 422),
        ("/v1/deletions/approve", json!({"image": exact, "registry": TOKYO}), 422),
        ("/v1/deletions/approve", json!({"image": exact, "registry": TOKYO, "version": 1, "everything": true}), 422),
        ("/v1/deletions/approve", seen('a', VIRGINIA, 1), 404),
        ("/v1/pauses", json!({"reason": "x".repeat(1_001)}), 422),
        ("/v1/holds", json!({"hold": "team/*", "reason": "x".repeat(1_001)}), 422),
        ("/v1/deletions/retry", seen('a', TOKYO, 1), 409),
        ("/v1/breakers/reset", json!({"source": "somewhere", "version": 0}), 422),
        ("/v1/breakers/reset", json!({"source": IRELAND, "version": 0, "allow": -1}), 422),
        ("/v1/breakers/reset", json!({"source": IRELAND, "version": 0, "allow": 0}), 422),
        ("/v1/breakers/reset", json!({"source": IRELAND}), 422),
        ("/v1/breakers/reset", json!({"source": IRELAND, "version": 7}), 409),
        ("/v1/breakers/reset", json!({"source": VIRGINIA, "version": 0}), 404),
        ("/v1/policy/preview", json!({"policy": "permit"}), 422),
        ("/v1/deletions", json!({}), 405),
        ("/v1/deletions/delete", json!({}), 404),
    ];
    for (path, body, status) in &posts {
        problem(&asking.post(path, body).await, *status, &format!("{path} {body}"));
    }
    let policy = asking.post("/v1/policy/preview", &json!({"policy": "permit(principal)"})).await.json();
    assert_eq!(policy["problems"][0]["line"], 1, "{policy}");
    for verb in ["PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let request = Request::builder().method(verb).uri("/v1/deletions").body(Body::empty()).unwrap();
        problem(&asking.ask(request).await, 405, verb);
    }
    let json = |request: axum::http::request::Builder, body: Vec<u8>| {
        request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()
    };
    let approve = || Request::post("/v1/deletions/approve");
    problem(&asking.ask(json(approve(), vec![b'['; 10_000_000])).await, 413, "10 MB");
    problem(&asking.ask(json(approve(), vec![b'['; 200_000])).await, 422, "200 kB of brackets");
    problem(&asking.ask(json(approve(), vec![0xff; 10])).await, 400, "no text");
    let form = approve().header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    problem(&asking.ask(form.body(Body::from("image=x")).unwrap()).await, 415, "a form");
    assert_eq!(asking.store.dump().await, before);
}

#[tokio::test]
async fn a_cursor_of_another_list_returns_only_what_was_requested() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let asking = Asking::new(ANONYMOUS).await;
    let mut other = push(IRELAND, 'b', Some("v1"), 0);
    other["detail"]["repository-name"] = "team/other".into();
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0), other]).await.is_empty());
    asking.deletion('a', TOKYO, 100).await;
    let cursor = |place: Value| BASE64_URL_SAFE_NO_PAD.encode(place.to_string());
    let earlier = json!({"repository": "aaa", "digest": digest('0')});
    let later = json!({"repository": "zzz", "digest": digest('0')});
    for image in [&earlier, &later] {
        let place = cursor(json!({"registry": IRELAND, "after": image}));
        for list in ["orphans", "drift", "lag"] {
            let answer = asking.get(&format!("/v1/{list}?repository=team/app&cursor={place}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{list}: {}", answer.text);
            assert!(!answer.text.contains("team/other"), "{list}: {}", answer.text);
        }
        let deleted = json!({"image": image, "registry": TOKYO, "tag": null, "changed_at": "1999-01-01T00:00:00Z"});
        let answer = asking.get(&format!("/v1/deletions?cursor={}", cursor(deleted))).await;
        assert_eq!((answer.status, answer.json()["deletions"].clone()), (StatusCode::OK, json!([])), "{}", answer.text);
    }
    for (prefix, after) in [("team", "zzz"), ("zzz", "aaa")] {
        let answer = asking.get(&format!("/v1/repositories?prefix={prefix}&cursor={}", cursor(json!(after)))).await;
        assert_eq!((answer.status, answer.json()["repositories"].clone()), (StatusCode::OK, json!([])));
    }
}

pub(crate) fn problem(answer: &Answered, status: u16, asked: &str) {
    let asked = asked.chars().take(200).collect::<String>();
    assert_eq!(answer.status, status, "{asked}: {}", answer.text);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{asked}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{asked}");
    assert_eq!(problem["type"], format!("/v1/problems#{}", problem["code"].as_str().unwrap()), "{asked}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.is_empty() && !detail.contains('\n') && detail.len() <= 2_000, "{asked}: {detail}");
}

#[tokio::test]
async fn an_act_on_a_list_has_a_result_for_each_deletion() {
    let asking = Asking::new(operator()).await;
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
    asking.deletion('a', TOKYO, 100).await;
    asking.deletion_of('a', Some("v1"), TOKYO, 100).await;
    asking.deletion('b', TOKYO, 100).await;
    let mut of_tag = seen('a', TOKYO, 1);
    of_tag["tag"] = json!("v1");
    let deletions = [seen('a', TOKYO, 1), of_tag, seen('b', TOKYO, 7), seen('c', TOKYO, 1)];
    let act = |action: &str, deletions: &[Value]| json!({"action": action, "deletions": deletions, "reason": "audit"});
    let answer = asking.post("/v1/deletions/act", &act("cancel", &deletions)).await.json();
    assert_eq!(answer["done"], 2);
    let results = answer["results"].as_array().unwrap();
    assert!(results[0]["summary"].as_str().unwrap().starts_with("1 deletion cancelled"), "{answer}");
    assert_eq!((&results[1]["tag"], &results[1]["problem"]), (&json!("v1"), &Value::Null));
    assert_eq!(results[2]["problem"]["code"], "changed");
    assert_eq!(results[3]["problem"]["code"], "unknown_deletion");
    let kept = asking.get("/v1/deletions?status=kept&from=2026-01-01").await.json();
    assert_eq!(kept["deletions"].as_array().unwrap().len(), 2);
    problem(&asking.post("/v1/deletions/act", &act("cancel", &[])).await, 422, "nothing");
    let many = vec![seen('a', TOKYO, 1); 101];
    problem(&asking.post("/v1/deletions/act", &act("cancel", &many)).await, 422, "101");
    problem(&asking.post("/v1/deletions/act", &act("hold", &deletions)).await, 422, "another action");
}

#[tokio::test]
async fn a_search_finds_parts_of_names() {
    let asking = Asking::new(ANONYMOUS).await;
    let events = [
        push(IRELAND, 'a', Some("v1.4.2-rc1"), 0),
        replicate(IRELAND, TOKYO, 'a', Some("v1.4.2-rc1"), 42),
        push(IRELAND, 'b', Some("stable"), 60),
    ];
    assert!(asking.store.deliver(&events).await.is_empty());
    let found = async |text: &str| asking.get(&format!("/v1/search?q={text}")).await.json();
    for text in ["am/ap", "APP", "app%20team", "444455556666.dkr.ecr.ap-northeast-1.amazonaws.com/team/app"] {
        assert_eq!(found(text).await["repositories"], json!(["team/app"]), "{text}");
    }
    // A part of a tag, an exact tag in any repository, and parts of both.
    for text in ["rc1", "1.4.2", "v1.4.2-rc1", "app:v1.4", "am/app%20rc1"] {
        assert_eq!(found(text).await["tags"], json!(["team/app:v1.4.2-rc1"]), "{text}");
    }
    assert_eq!(found("rc1").await["repositories"], json!([]));
    for (text, registries) in [("4444", json!([TOKYO])), ("eu-west", json!([IRELAND])), ("eu-north", json!([]))] {
        assert_eq!(found(text).await["registries"], registries, "{text}");
    }
    assert_eq!(found("bbbbbb").await["images"], json!([{"repository": "team/app", "digest": digest('b')}]));
    let nothing = found("%20").await;
    for kind in ["repositories", "tags", "images", "registries", "actors"] {
        assert_eq!(nothing[kind], json!([]), "{kind}");
    }
    // A person who did something.
    let by = json!({"hold": "team/*", "reason": "audit"});
    let operating = Asking::new(operator()).await;
    assert!(operating.store.deliver(&events).await.is_empty());
    assert_eq!(operating.post("/v1/holds", &by).await.status, StatusCode::OK);
    let people = operating.get("/v1/search?q=dana").await.json();
    assert_eq!(people["actors"], json!([operator().name.unwrap()]));
}

#[tokio::test]
async fn a_caller_without_permission_changes_nothing() {
    let unnamed = Caller { name: None, may_change: true };
    let reader = Caller { may_change: false, ..operator() };
    for caller in [ANONYMOUS, unnamed, reader] {
        let asking = Asking::new(caller).await;
        assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
        asking.deletion('a', TOKYO, 100).await;
        let before = asking.store.dump().await;
        let each = json!({"action": "cancel", "deletions": [seen('a', TOKYO, 1)]});
        problem(&asking.post("/v1/deletions/act", &each).await, 403, "act");
        for did in ["retry", "approve", "cancel"] {
            problem(&asking.post(&format!("/v1/deletions/{did}"), &seen('a', TOKYO, 1)).await, 403, did);
        }
        for did in ["pauses", "pauses/resume", "holds", "holds/release"] {
            problem(&asking.post(&format!("/v1/{did}"), &json!({"hold": "*", "reason": "audit"})).await, 403, did);
        }
        problem(&asking.post("/v1/breakers/reset", &json!({"source": IRELAND, "version": 0})).await, 403, "reset");
        problem(&asking.post("/v1/alerts/acknowledge", &json!({"alert": "1"})).await, 403, "acknowledge");
        let snooze = json!({"alert": "1", "until": "2026-11-17T12:00:00Z", "reason": "audit"});
        problem(&asking.post("/v1/alerts/snooze", &snooze).await, 403, "snooze");
        assert_eq!(asking.get("/v1/overview").await.json()["may_change"], false);
        assert_eq!(asking.store.dump().await, before);
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let asking = Asking::new(operator()).await;
    asking.deletion('a', TOKYO, 100).await;
    let before = asking.store.dump().await;
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let request = Request::post("/v1/deletions/cancel").header(name, value).header(header::HOST, "127.0.0.1:4568");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = Body::from(seen('a', TOKYO, 1).to_string());
        problem(&asking.ask(request.body(body).unwrap()).await, 403, value);
    }
    assert_eq!(asking.store.dump().await, before);
}

#[tokio::test]
async fn the_actions_of_an_operator_are_recorded_with_their_name() {
    let asking = Asking::new(operator()).await;
    asking.deletion('a', TOKYO, 100).await;
    asking.deletion('a', VIRGINIA, 100).await;
    let mut request = seen('a', TOKYO, 1);
    request["reason"] = json!(" a mistake ");
    let cancelled = asking.post("/v1/deletions/cancel", &request).await;
    assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text);
    let stored = asking.store.table.image_record(&image('a').parse().unwrap()).await.unwrap().deletions;
    let stands = |registry: &str| stored.iter().find(|one| one.registry.to_string() == registry).unwrap();
    assert_eq!((stands(TOKYO).status, stands(VIRGINIA).status), (DeletionStatus::Kept, DeletionStatus::Pending));
    let act = &stands(TOKYO).actions[0];
    let second = domain::time::whole_seconds(act.at);
    assert_eq!((act.by.as_str(), second), (operator().name.unwrap().as_str(), at(3_599).parse::<Timestamp>().unwrap()));
    assert_eq!(act.reason.as_deref(), Some("a mistake"));
    problem(&asking.post("/v1/deletions/retry", &seen('a', TOKYO, 2)).await, 409, "cancelled");
}

#[tokio::test]
async fn an_operator_pauses_and_holds_and_every_reader_sees_it() {
    let asking = Asking::new(operator()).await;
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
    asking.deletion('a', TOKYO, 100).await;
    let pause = json!({"source": IRELAND, "reason": "incident 7"});
    let paused = asking.post("/v1/pauses", &pause).await.json();
    assert_eq!((&paused["reason"], &paused["source"]), (&json!("incident 7"), &json!(IRELAND)));
    let summary = paused["summary"].as_str().unwrap();
    assert_eq!(asking.get("/v1/overview").await.json()["pauses"][0]["summary"], summary);
    let listed = asking.get("/v1/deletions").await.json();
    assert_eq!(listed["deletions"][0]["summary"], summary);
    assert_eq!(listed["deletions"][0]["version"], 1, "it is shown, and not stored");
    problem(&asking.post("/v1/pauses/resume", &json!({})).await, 409, "another pause");
    let resumed = asking.post("/v1/pauses/resume", &json!({"source": IRELAND})).await.json();
    assert_eq!(resumed["pauses"], json!([]));
    // A hold.
    problem(&asking.post("/v1/holds", &json!({"hold": "team/*", "reason": " "})).await, 422, "no reason");
    problem(&asking.post("/v1/holds", &json!({"hold": "Team/*", "reason": "audit"})).await, 422, "no pattern");
    let over = json!({"hold": "team/*", "reason": "audit", "until": at(3_599)});
    problem(&asking.post("/v1/holds", &over).await, 422, "an end that is over");
    let held = asking.post("/v1/holds", &json!({"hold": "team/app:v1", "reason": "audit"})).await.json();
    assert_eq!((&held["deletions"], &held["holds"][0]["pattern"]), (&json!(1), &json!(image('a'))));
    let listed = asking.get("/v1/deletions?status=held").await.json();
    assert_eq!(listed["deletions"][0]["actions"][0]["action_text"], "put on hold");
    let holds = asking.get("/v1/holds").await.json();
    assert_eq!(holds["holds"], held["holds"]);
    problem(&asking.post("/v1/holds/release", &json!({"hold": "team/other"})).await, 404, "no hold");
    let released = asking.post("/v1/holds/release", &json!({"hold": holds["holds"][0]["id"]})).await.json();
    assert_eq!((&released["deletions"], &released["holds"]), (&json!(1), &held["holds"]));
    assert_eq!(asking.get("/v1/deletions").await.json()["deletions"][0]["status"], "pending");
}

#[tokio::test]
async fn an_operator_acknowledges_and_snoozes_and_every_reader_sees_it() {
    let asking = Asking::new(operator()).await;
    let unknown = json!({"alert": "00000000", "reason": "audit"});
    problem(&asking.post("/v1/alerts/acknowledge", &unknown).await, 404, "no incident");
    let expectation = ReplicationExpectation {
        image: image('a').parse().unwrap(),
        source: IRELAND.parse().unwrap(),
        tag: None,
        since: at(0).parse().unwrap(),
        due: None,
        state: ExpectationState::default(),
    };
    let (kind, destination, why) = (AlertKind::ReplicationLate, TOKYO.parse().unwrap(), "team/app:v1 is late".into());
    let late = ProblemChange { kind, destination, end: None, why };
    asking.store.table.put_expectation(&expectation, &[late], at(1_800).parse().unwrap()).await.unwrap();
    let listed = asking.get("/v1/alerts").await.json();
    let (id, short) = (&listed["open"][0]["id"], &listed["open"][0]["short_id"]);
    assert_eq!(listed["open"][0]["is_snoozed"], false);
    let acknowledged = asking.post("/v1/alerts/acknowledge", &json!({"alert": short, "reason": "on it"})).await.json();
    assert_eq!(&acknowledged["incident"], id);
    let name = operator().name.unwrap();
    assert_eq!(acknowledged["acknowledged"], json!({"by": name, "at": at(3_599), "reason": "on it"}));
    let later = "2026-11-17T12:00:00Z";
    for (until, reason) in [(&*at(3_599), "audit"), (later, " ")] {
        let request = json!({"alert": short, "until": until, "reason": reason});
        problem(&asking.post("/v1/alerts/snooze", &request).await, 422, reason);
    }
    problem(&asking.post("/v1/alerts/snooze", &json!({"alert": short, "reason": "audit"})).await, 422, "no end");
    let snooze = json!({"alert": id, "until": later, "reason": "audit"});
    let snoozed = asking.post("/v1/alerts/snooze", &snooze).await.json();
    assert_eq!(
        (&snoozed["snoozed"]["until"], &snoozed["acknowledged"]),
        (&json!(later), &acknowledged["acknowledged"])
    );
    let listed = asking.get("/v1/alerts").await.json();
    assert_eq!(
        (&listed["open"][0]["is_snoozed"], listed["open"][0]["responses"].as_array().unwrap().len()),
        (&json!(true), 2)
    );
    assert_eq!(asking.get("/v1/overview").await.json()["open"], listed["open"]);
}

#[tokio::test]
async fn an_approval_applies_to_one_deletion_in_one_version() {
    let asking = Asking::new(operator()).await;
    let mut whole = asking.deletion('a', TOKYO, 100).await;
    asking.deletion_of('a', Some("v1"), TOKYO, 100).await;
    let approved = async || {
        let all = asking.store.table.image_record(&image('a').parse().unwrap()).await.unwrap().deletions;
        let approved = all.into_iter().filter(|deletion| deletion.approved().is_some());
        approved.map(|deletion| deletion.tag.map(|tag| tag.to_string())).collect::<Vec<_>>()
    };
    // The deletion changes after the caller saw it.
    assert_eq!(asking.store.table.put_deletion(&mut whole).await.unwrap(), store::Stored::New);
    problem(&asking.post("/v1/deletions/approve", &seen('a', TOKYO, 1)).await, 409, "an older version");
    assert_eq!(approved().await, []);
    assert_eq!(asking.post("/v1/deletions/approve", &seen('a', TOKYO, 2)).await.status, StatusCode::OK);
    let again = asking.post("/v1/deletions/approve", &seen('a', TOKYO, 3)).await.json();
    assert!(again["summary"].as_str().unwrap().starts_with("1 deletion approved before, by arn:"), "{again}");
    assert_eq!(approved().await, [None]);
    let mut tag = seen('a', TOKYO, 1);
    tag["tag"] = json!("v1");
    assert_eq!(asking.post("/v1/deletions/approve", &tag).await.status, StatusCode::OK);
    assert_eq!(approved().await.len(), 2);
}

#[tokio::test]
async fn an_unchanged_response_is_not_sent_again_and_every_response_has_security_headers() {
    let asking = Asking::new(ANONYMOUS).await;
    let pages = page::paths();
    let answers = ["/v1/openapi.json", "/v1/overview", "/v1/search?q=x"];
    for path in pages.iter().map(String::as_str).chain(answers) {
        let first = asking.get(path).await;
        assert_eq!(first.status, StatusCode::OK, "{path}");
        // A file of the page has its content in its address; everything else may be another one the next time.
        let kept =
            if path == "/" || answers.contains(&path) { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!(first.headers[header::CACHE_CONTROL], kept, "{path}");
        assert!(first.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        assert_eq!(first.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let tag = first.headers[header::ETAG].to_str().unwrap();
        for known in [tag.to_owned(), tag.replace("W/", ""), format!("\"x\", {tag}"), "*".to_owned()] {
            let again =
                asking.ask(Request::get(path).header("if-none-match", &known).body(Body::empty()).unwrap()).await;
            assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path} {known}");
            assert_eq!(again.headers[header::CACHE_CONTROL], kept, "{path}");
            assert_eq!(again.headers[header::ETAG], tag);
        }
        let other = asking.ask(Request::get(path).header("if-none-match", "\"x\"").body(Body::empty()).unwrap()).await;
        assert_eq!(other.status, StatusCode::OK, "{path}");
    }
}

/// Adds the values of all enums in an OpenAPI document.
fn enum_values(schema: &Value, values: &mut BTreeSet<String>) {
    match schema {
        Value::Array(parts) => parts.iter().for_each(|part| enum_values(part, values)),
        Value::Object(fields) => {
            let listed = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
            values.extend(listed.filter_map(Value::as_str).map(str::to_owned));
            fields.values().for_each(|part| enum_values(part, values));
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_page_has_no_texts_of_its_own_for_what_the_api_names() {
    let asking = Asking::new(ANONYMOUS).await;
    let mut page = String::new();
    for path in page::paths().iter().filter(|path| path.ends_with(".js") && !path.contains("/vendor/")) {
        page += &asking.get(path).await.text;
    }
    let mut names = BTreeSet::new();
    enum_values(&asking.get("/v1/openapi.json").await.json(), &mut names);
    for name in ["probably_absent", "held", "hold", "replication_late", "image_deleted", "moved", "lifecycle"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    // The colours of signs are the one table of the page with a text for each name.
    let (before, rest) = page.split_once("export const TONES = {\n").unwrap();
    let (tones, after) = rest.split_once("\n};").unwrap();
    let colours = tones.lines().map(|line| line.trim().trim_end_matches(',').split_once(": ").unwrap().1);
    let known = BTreeSet::from(["'good'", "'info'", "'warn'", "'stop'", "'bad'"]);
    assert_eq!(colours.collect::<BTreeSet<_>>(), known);
    let entries = before.split(['{', ',', '\n']).chain(after.split(['{', ',', '\n'])).map(str::trim);
    for entry in entries {
        let key = match entry.strip_prefix("case ") {
            Some(case) => case.split(':').next().unwrap_or_default(),
            None => match entry.split_once(':') {
                Some((key, value)) if value.trim().starts_with(['\'', '"']) => key,
                _ => continue,
            },
        };
        let key = key.trim_matches(['\'', '"']);
        assert!(!names.contains(key), "the page has a text of its own for `{key}`: {entry}");
    }
    let texts = PlacementStatus::ALL.map(PlacementStatus::words).into_iter();
    let texts = texts.chain(DeletionStatus::ALL.map(DeletionStatus::words));
    let texts = texts.chain(OperatorAction::ALL.map(OperatorAction::past_tense)).map(str::to_owned);
    // A text of one word may be a name, too.
    for text in texts.chain(AlertKind::ALL.map(AlertKind::words)).filter(|text| text.contains(' ')) {
        for quote in ['\'', '"', '`'] {
            assert!(!page.contains(&format!("{quote}{text}{quote}")), "the page has a text of the API: {text}");
        }
    }
}
