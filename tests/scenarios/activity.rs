//! What was done, across images: which kinds are in it, its order, its pages, and that each filter filters everything.

use std::collections::BTreeSet;

use answers::{
    activity::{ActivityEntry, ActivityRequest, activity},
    controls,
    error::Error,
};
use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, interceptors::BeforeSerializationInterceptorContextRef},
    error::BoxError,
    operation::put_item::PutItemInput,
};
use domain::{
    activity::{ActivityFilter, ActivityKind},
    controls::Instruction,
    image::Registry,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    events::{DANA, IRELAND, TOKYO, call, delete, digest, image, lifecycle, push, replicate, scan, storage_class},
    query::{ANONYMOUS, Asking, operator, problem},
    test_table::Store,
};

fn batch_delete(registry: &str, letters: &[char], second: u32) -> Value {
    let ids: Vec<_> = letters.iter().map(|letter| json!({"imageDigest": digest(*letter)})).collect();
    let request = json!({"repositoryName": "team/app", "imageIds": ids});
    call(registry, "BatchDeleteImage", second, request, json!({"imageIds": ids, "failures": []}))
}

/// An event about an image of another repository.
fn elsewhere(mut event: Value) -> Value {
    event["id"] = format!("{}-elsewhere", event["id"]).into();
    event["detail"]["repository-name"] = "prod/web".into();
    event
}

/// Something of each kind, in two registries and two repositories.
fn events() -> Vec<Value> {
    let denied = json!({"repositoryName": "team/app", "imageIds": [{"imageDigest": digest('b')}]});
    let mut denied = call(IRELAND, "BatchDeleteImage", 90, denied, Value::Null);
    denied["detail"]["errorCode"] = "AccessDeniedException".into();
    denied["detail"]["errorMessage"] = "not authorized".into();
    let policy = json!({"repositoryName": "team/app", "lifecyclePolicyText": "{}"});
    vec![
        push(IRELAND, 'a', Some("v1"), 0),
        push(IRELAND, 'b', Some("v2"), 1),
        push(IRELAND, 'c', None, 2),
        elsewhere(push(TOKYO, 'd', Some("v3"), 3)),
        replicate(IRELAND, TOKYO, 'a', Some("v1"), 30),
        scan(IRELAND, 'a', 40),
        // ECR's event and CloudTrail's record of the same deletion.
        delete(IRELAND, 'a', None, 60),
        batch_delete(IRELAND, &['a'], 60),
        storage_class(IRELAND, 'b', "ARCHIVE", 70),
        delete(TOKYO, 'a', Some("v1"), 80),
        denied,
        lifecycle(IRELAND, "PolicyExecutionEvent", "expire", &['c'], 100),
        call(IRELAND, "PutLifecyclePolicy", 110, policy, json!({})),
    ]
}

fn request(filter: ActivityFilter) -> ActivityRequest {
    ActivityRequest { filter, since: Timestamp::UNIX_EPOCH, until: None, from: None, most: None }
}

async fn found(store: &Store, request: &ActivityRequest) -> Vec<ActivityEntry> {
    activity(&store.table, request).await.unwrap().activity
}

fn kinds(entries: &[ActivityEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.kind.as_str()).collect()
}

#[tokio::test]
async fn what_was_done_is_listed_newest_first_and_each_thing_once() {
    let store = Store::new().await;
    assert_eq!(store.deliver(&events()).await, Vec::<String>::new());
    let all = found(&store, &request(ActivityFilter::default())).await;
    let expected = [
        "changed",
        "image_deleted",
        "attempted",
        "tags_deleted",
        "archived",
        "image_deleted",
        "pushed",
        "pushed",
        "pushed",
        "pushed",
    ];
    assert_eq!(kinds(&all), expected, "{all:?}");
    // No caller replicates or scans.
    let deletion = &all[5];
    assert_eq!((deletion.actor.as_deref(), deletion.cause), (Some(DANA), Some("principal")));
    assert_eq!(all[1].actor.as_deref(), Some("lifecycle"));
    let attempt = &all[2];
    assert_eq!(
        (attempt.call.as_deref(), attempt.code.as_deref()),
        (Some("BatchDeleteImage"), Some("AccessDeniedException"))
    );
    assert_eq!(all[0].setting, Some("lifecycle_policy"));
}

#[tokio::test]
async fn each_filter_filters_everything() {
    let store = Store::new().await;
    assert_eq!(store.deliver(&events()).await, Vec::<String>::new());
    let by = |actor: &str| ActivityFilter { actor: Some(actor.parse().unwrap()), ..ActivityFilter::default() };
    for actor in [DANA, "arn:aws:iam::111122223333:role/platform", "platform", "role/*/dana"] {
        let entries = found(&store, &request(by(actor))).await;
        assert_eq!(kinds(&entries), ["changed", "attempted", "image_deleted"], "{actor}");
        assert!(entries.iter().all(|entry| entry.actor.as_deref() == Some(DANA)), "{actor}");
    }
    assert_eq!(kinds(&found(&store, &request(by("lifecycle"))).await), ["image_deleted"]);
    assert_eq!(kinds(&found(&store, &request(by("role/other"))).await), [""; 0]);
    let tokyo = ActivityFilter { registry: Some(TOKYO.parse().unwrap()), ..ActivityFilter::default() };
    assert_eq!(kinds(&found(&store, &request(tokyo)).await), ["tags_deleted", "pushed"]);
    let prod = ActivityFilter { repository: Some("prod/*".parse().unwrap()), ..ActivityFilter::default() };
    assert_eq!(kinds(&found(&store, &request(prod)).await), ["pushed"]);
    let one = ActivityFilter { repository: Some(image('b').parse().unwrap()), ..ActivityFilter::default() };
    // A change of its repository is about the image, too.
    assert_eq!(kinds(&found(&store, &request(one)).await), ["changed", "attempted", "archived", "pushed"]);
    let deleted = BTreeSet::from([ActivityKind::ImageDeleted, ActivityKind::TagsDeleted]);
    let deleted = ActivityFilter { kinds: deleted, ..by("platform") };
    assert_eq!(kinds(&found(&store, &request(deleted)).await), ["image_deleted"]);
    let second = |second: u32| crate::events::at(second).parse::<Timestamp>().unwrap();
    let period = ActivityRequest { since: second(60), until: Some(second(90)), ..request(ActivityFilter::default()) };
    // The end itself is not in the period.
    assert_eq!(kinds(&found(&store, &period).await), ["tags_deleted", "archived", "image_deleted"]);
}

/// Fails the writes of what operators did.
#[derive(Debug)]
struct ActsFail;

impl Intercept for ActsFail {
    fn name(&self) -> &'static str {
        "ActsFail"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let put = context.input().downcast_ref::<PutItemInput>();
        let pk = put.and_then(|put| put.item()?.get("pk")?.as_s().ok());
        if pk.is_some_and(|pk| pk.starts_with("act#")) { Err("no act is written".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn an_act_that_cannot_be_recorded_says_that_it_took_effect() {
    let asking = Asking::new(ANONYMOUS).await;
    assert_eq!(asking.store.deliver(&events()).await, Vec::<String>::new());
    asking.deletion('a', TOKYO, 60).await;
    let table = asking.store.through(asking.store.client.config().to_builder().interceptor(ActsFail));
    let (ireland, at): (Registry, Timestamp) = (IRELAND.parse().unwrap(), crate::events::at(120).parse().unwrap());
    let instruction = || Instruction { by: "dana".to_owned(), at, until: None, reason: Some("incident 7".to_owned()) };
    let failed = controls::pause(&table, Some(&ireland), instruction()).await.unwrap_err();
    let says = "deletions of 111122223333/eu-west-1 are paused by dana since 2026-11-16 12:02:00: incident 7: this took \
                effect, but it is missing in the list of activity";
    assert_eq!(failed.to_string(), says);
    assert_eq!(asking.store.table.controls().await.unwrap().pauses.len(), 1);
    // The act goes on to its end: the deletion is on hold, too.
    let failed = controls::hold(&table, &"team/*".parse().unwrap(), None, instruction()).await.unwrap_err();
    assert!(matches!(&failed, Error::ActNotRecorded { done, .. } if done.starts_with("team/* is on hold")), "{failed}");
    let held = asking.get("/v1/deletions?status=held").await.json();
    assert_eq!(held["deletions"].as_array().unwrap().len(), 1, "{held}");
    assert!(found(&asking.store, &request(ActivityFilter::default())).await.iter().all(|one| one.action.is_none()));
}

#[tokio::test]
async fn its_pages_together_are_the_whole() {
    let asking = Asking::new(ANONYMOUS).await;
    // All in a few seconds, so that pages end within a second.
    let pushes =
        (0..40u32).map(|n| push(IRELAND, char::from_digit(n % 16, 16).unwrap(), Some(&format!("v{n}")), n / 15));
    let events: Vec<_> = pushes.chain(events()).collect();
    for batch in events.chunks(10) {
        assert_eq!(asking.store.deliver(batch).await, Vec::<String>::new());
    }
    let whole = asking.all("/v1/activity?from=2026-11-01&limit=1000", "activity").await;
    assert_eq!(whole.len(), 50);
    for limit in [1, 2, 7, 49] {
        let mut parts = asking.all(&format!("/v1/activity?from=2026-11-01&limit={limit}"), "activity").await;
        let times: Vec<_> = parts.iter().map(|entry| entry["time"].as_str().unwrap().to_owned()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        // At the end of a page, what two events reported is two entries.
        parts.retain(|entry| entry["kind"] != "image_deleted" || entry["actor"].is_string());
        let texts = |entries: &[Value]| entries.iter().map(Value::to_string).collect::<BTreeSet<_>>();
        assert_eq!(texts(&parts), texts(&whole), "{limit}");
        assert_eq!(parts.len(), whole.len(), "{limit}");
    }
    let dana = asking.all("/v1/activity?from=2026-11-01&actor=platform&limit=1", "activity").await;
    assert_eq!(dana.len(), 3);
}

#[tokio::test]
async fn operators_actions_are_activity() {
    let asking = Asking::new(operator()).await;
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
    asking.deletion('a', TOKYO, 100).await;
    let approve = json!({"image": image('a'), "registry": TOKYO, "version": 1, "reason": "ticket 7"});
    for (path, body) in [
        ("/v1/pauses", json!({"source": IRELAND, "reason": "incident 7"})),
        ("/v1/pauses/resume", json!({"source": IRELAND})),
        ("/v1/deletions/approve", approve),
        ("/v1/holds", json!({"hold": "team/*", "reason": "audit"})),
        ("/v1/holds/release", json!({"hold": "team/*"})),
        ("/v1/breakers/reset", json!({"source": IRELAND, "version": 0})),
        ("/v1/registries/forget", json!({"registry": IRELAND})),
    ] {
        let answer = asking.post(path, &body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    }
    // What is refused did not happen.
    problem(&asking.post("/v1/pauses/resume", &json!({})).await, 409, "nothing is paused");
    let acts = asking.all("/v1/activity?from=2026-11-01&kind=operator&limit=2", "activity").await;
    let names: BTreeSet<_> = acts.iter().map(|act| act["action"].as_str().unwrap()).collect();
    let expected = ["approve", "forget_registry", "hold", "pause", "release", "reset_breaker", "resume"];
    assert_eq!(names, expected.into());
    assert_eq!(acts.len(), expected.len());
    assert!(acts.iter().all(|act| act["actor"].as_str().unwrap().ends_with("/dana")), "{acts:?}");
    let approved = acts.iter().find(|act| act["action"] == "approve").unwrap();
    assert_eq!((&approved["digest"], &approved["reason"]), (&json!(digest('a')), &json!("ticket 7")));
    assert_eq!(approved["registry"], TOKYO);
    let of_image = asking.all("/v1/activity?from=2026-11-01&repository=team/app&kind=operator", "activity").await;
    assert_eq!(of_image.len(), 3, "the approval, the hold and its release: {of_image:?}");
}

#[tokio::test]
async fn nothing_is_said_about_what_is_not_known() {
    let asking = Asking::new(ANONYMOUS).await;
    let empty = asking.get("/v1/activity").await.json();
    assert_eq!(empty["basis"]["registries"], json!({}), "nothing is recorded");
    assert!(asking.store.deliver(&[push(IRELAND, 'a', Some("v1"), 0)]).await.is_empty());
    let old = asking.get("/v1/activity?to=2026-11-01").await.json();
    assert_eq!((&old["activity"], old["basis"]["registries"].get(IRELAND).is_some()), (&json!([]), true));
    problem(&asking.get("/v1/activity?registry=999999999999/eu-west-1").await, 404, "an unknown registry");
    problem(&asking.get("/v1/activity?repository=no/such").await, 404, "an unknown repository");
    problem(&asking.get("/v1/activity?kind=deleted").await, 400, "an unknown kind");
    problem(&asking.get("/v1/activity?from=yesterday").await, 400, "no time");
    problem(&asking.get("/v1/activity?actor=").await, 400, "no actor");
    let detail = asking.get("/v1/activity?kind=deleted").await.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("image_deleted"), "{detail}");
}
