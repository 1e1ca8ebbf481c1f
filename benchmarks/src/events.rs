//! Events in the format in which ECR sends them.

use jiff::Timestamp;
use serde_json::{Value, json};
use simulator::queue::notification;

pub(crate) const SOURCE: &str = "111122223333/eu-west-1";
pub(crate) const REPLICAS: [&str; 2] = ["111122223333/us-east-1", "444455556666/ap-northeast-1"];

/// A digest that contains `number`.
pub(crate) fn digest(number: u32) -> String {
    format!("sha256:{number:064x}")
}

/// The time `second` seconds after the start of October 2026; wraps after 28 days.
fn time(second: u32) -> String {
    let (day, hour) = (second / 86_400 % 28 + 1, second / 3_600 % 24);
    format!("2026-10-{day:02}T{hour:02}:{:02}:{:02}Z", second / 60 % 60, second % 60)
}

/// An event about one image; `more` has the fields that are specific to the kind of event.
pub(crate) fn event(detail_type: &str, registry: &str, number: u32, second: u32, more: Value) -> Value {
    let (account, region) = registry.split_once('/').unwrap_or_default();
    let mut detail = json!({"result": "SUCCESS", "repository-name": "team/app", "image-digest": digest(number)});
    if let (Some(detail), Value::Object(more)) = (detail.as_object_mut(), more) {
        detail.extend(more);
    }
    let id = format!("{second:08x}-0000-4000-8000-{:04x}{number:08x}", detail_type.len() + region.len());
    json!({
        "version": "0", "id": id, "detail-type": detail_type, "source": "aws.ecr", "account": account,
        "time": time(second), "region": region, "resources": [], "detail": detail,
    })
}

pub(crate) fn push(number: u32, tag: &str, second: u32) -> Value {
    let more = json!({
        "action-type": "PUSH", "image-tag": tag, "artifact-media-type": "application/vnd.oci.image.config.v1+json",
        "manifest-media-type": "application/vnd.oci.image.manifest.v1+json",
    });
    event("ECR Image Action", SOURCE, number, second, more)
}

/// The repository of an image in tables with a thousand images in each.
pub(crate) fn repository(number: u32) -> String {
    if number < 1_000 { "team/app".to_owned() } else { format!("team/app-{}", number / 1_000) }
}

/// The same event in another repository.
pub(crate) fn in_repository(mut event: Value, repository: &str) -> Value {
    if let Some(name) = event.pointer_mut("/detail/repository-name") {
        *name = repository.into();
    }
    event
}

pub(crate) fn delete(registry: &str, number: u32, tag: &str, second: u32) -> Value {
    event("ECR Image Action", registry, number, second, json!({"action-type": "DELETE", "image-tag": tag}))
}

/// CloudTrail's record of a deletion of an image at its source by a session of a role.
pub(crate) fn delete_by(role: &str, number: u32, second: u32) -> Value {
    let (account, region) = SOURCE.split_once('/').unwrap_or_default();
    let ids = json!([{"imageDigest": digest(number)}]);
    let record = json!({
        "eventVersion": "1.11", "eventTime": time(second), "eventSource": "ecr.amazonaws.com",
        "eventName": "BatchDeleteImage", "awsRegion": region, "eventID": format!("delete-{number}-{second}"),
        "recipientAccountId": account,
        "userIdentity": {"type": "AssumedRole", "arn": format!("arn:aws:sts::{account}:assumed-role/{role}/session")},
        "requestParameters": {"repositoryName": "team/app", "imageIds": ids},
        "responseElements": {"imageIds": ids, "failures": []},
    });
    json!({
        "version": "0", "id": format!("call-{number}-{second}"), "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.ecr", "account": account, "time": time(second), "region": region, "resources": [], "detail": record,
    })
}

pub(crate) fn archive(number: u32, second: u32) -> Value {
    let more = json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"});
    event("ECR Image Action", SOURCE, number, second, more)
}

pub(crate) fn scan(number: u32, second: u32) -> Value {
    event("ECR Image Scan", SOURCE, number, second, json!({"scan-status": "COMPLETE", "image-tags": []}))
}

pub(crate) fn replicate(registry: &str, number: u32, tag: &str, second: u32) -> Value {
    let (account, region) = SOURCE.split_once('/').unwrap_or_default();
    let more = json!({
        "action-type": "REPLICATE", "source-account": account, "source-region": region, "image-tag": tag,
    });
    event("ECR Replication Action", registry, number, second, more)
}

/// The events of a typical release: the push of a version, `latest` moved to it, and both replicated to two registries.
pub(crate) fn release(number: u32) -> Vec<Value> {
    let second = number * 300;
    let version = format!("v1.{number}");
    let mut events = vec![push(number, &version, second), push(number, "latest", second + 1)];
    for (place, registry) in (0..).zip(REPLICAS) {
        events.push(replicate(registry, number, &version, second + 30 + place));
        events.push(replicate(registry, number, "latest", second + 40 + place));
    }
    events
}

/// The events of a deletion of that release at its source: first the tag of its version, then the image.
pub(crate) fn lose(number: u32) -> [Value; 2] {
    let second = number * 300 + 100;
    [delete(SOURCE, number, &format!("v1.{number}"), second), delete(SOURCE, number, "", second + 1)]
}

/// A replication event of the image that arrives after its deletion at the source.
pub(crate) fn late(number: u32) -> Value {
    let [replica, _] = REPLICAS;
    replicate(replica, number, "", number * 300 + 200)
}

/// An event in a message of its registry's topic.
fn message(event: &Value) -> String {
    let time = event["time"].as_str().and_then(|time| time.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    notification(event, "dc1e94d9-56c5-5e96-808d-cc7f68faa162", time)
}

/// One batch of SQS messages in the format in which Lambda passes it to the function.
pub(crate) fn batch(events: &[Value]) -> String {
    let record = |(place, event): (usize, &Value)| {
        json!({
            "messageId": format!("message-{place}"), "receiptHandle": "handle", "body": message(event),
            "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {}, "md5OfBody": "",
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:events",
            "awsRegion": "eu-west-1",
        })
    };
    json!({"Records": events.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}
