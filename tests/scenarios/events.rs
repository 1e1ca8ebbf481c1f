//! Events in the format of ECR and CloudTrail, made from the few values in which they differ.

use serde_json::{Value, json};

pub(crate) const IRELAND: &str = "111122223333/eu-west-1";
pub(crate) const VIRGINIA: &str = "111122223333/us-east-1";
pub(crate) const TOKYO: &str = "444455556666/ap-northeast-1";

/// A valid digest made of a letter.
pub(crate) fn digest(letter: char) -> String {
    format!("sha256:{}", String::from(letter).repeat(64))
}

/// An image of the only repository used here.
pub(crate) fn image(letter: char) -> String {
    format!("team/app@{}", digest(letter))
}

/// A time on the day of the tests, in seconds after noon.
pub(crate) fn at(second: u32) -> String {
    format!("2026-11-16T12:{:02}:{:02}Z", second / 60, second % 60)
}

fn envelope(id: &str, detail_type: &str, registry: &str, second: u32, detail: Value) -> Value {
    let (account, region) = registry.split_once('/').unwrap();
    json!({
        "version": "0", "id": id, "detail-type": detail_type, "source": "aws.ecr", "account": account,
        "time": at(second), "region": region, "resources": [], "detail": detail,
    })
}

fn id(what: &str, registry: &str, letter: char, tag: Option<&str>, second: u32) -> String {
    format!("{what}-{}-{letter}-{}-{second}", registry.replace('/', "-"), tag.unwrap_or("none"))
}

fn image_action(action: &str, registry: &str, letter: char, tag: Option<&str>, second: u32) -> Value {
    let detail = json!({
        "result": "SUCCESS", "repository-name": "team/app", "image-digest": digest(letter), "action-type": action,
        "image-tag": tag.unwrap_or_default(),
    });
    envelope(&id(action, registry, letter, tag, second), "ECR Image Action", registry, second, detail)
}

pub(crate) fn push(registry: &str, letter: char, tag: Option<&str>, second: u32) -> Value {
    image_action("PUSH", registry, letter, tag, second)
}

pub(crate) fn delete(registry: &str, letter: char, tag: Option<&str>, second: u32) -> Value {
    image_action("DELETE", registry, letter, tag, second)
}

pub(crate) fn storage_class(registry: &str, letter: char, class: &str, second: u32) -> Value {
    let mut event = image_action("UPDATE_STORAGE_CLASS", registry, letter, None, second);
    event["detail"]["target-storage-class"] = class.into();
    event
}

pub(crate) fn replicate(source: &str, registry: &str, letter: char, tag: Option<&str>, second: u32) -> Value {
    let (account, region) = source.split_once('/').unwrap();
    let detail = json!({
        "result": "SUCCESS", "repository-name": "team/app", "image-digest": digest(letter), "action-type": "REPLICATE",
        "source-account": account, "source-region": region, "image-tag": tag,
    });
    let id = id(&format!("replicate-{region}"), registry, letter, tag, second);
    envelope(&id, "ECR Replication Action", registry, second, detail)
}

pub(crate) fn scan(registry: &str, letter: char, second: u32) -> Value {
    let detail = json!({
        "scan-status": "COMPLETE", "repository-name": "team/app", "finding-severity-counts": {"HIGH": 2},
        "image-digest": digest(letter), "image-tags": [],
    });
    envelope(&id("scan", registry, letter, None, second), "ECR Image Scan", registry, second, detail)
}

/// A CloudTrail record as EventBridge delivers it.
fn cloudtrail(detail_type: &str, registry: &str, name: &str, second: u32, more: Value) -> Value {
    let (account, region) = registry.split_once('/').unwrap();
    let mut record = json!({
        "eventVersion": "1.11", "eventTime": at(second), "eventSource": "ecr.amazonaws.com", "eventName": name,
        "awsRegion": region, "eventID": format!("{name}-{}-{second}", registry.replace('/', "-")),
        "recipientAccountId": account, "requestParameters": null, "responseElements": null,
    });
    for (field, value) in more.as_object().unwrap() {
        record[field] = value.clone();
    }
    envelope("unrelated-to-the-record", detail_type, registry, second, record)
}

pub(crate) const DANA: &str = "arn:aws:sts::111122223333:assumed-role/platform/dana";

/// An API call by an IAM principal.
pub(crate) fn call(registry: &str, name: &str, second: u32, request: Value, response: Value) -> Value {
    let identity = json!({"type": "AssumedRole", "arn": DANA});
    let more = json!({"userIdentity": identity, "requestParameters": request, "responseElements": response});
    cloudtrail("AWS API Call via CloudTrail", registry, name, second, more)
}

/// A run of a lifecycle policy: one rule with one action, on some images.
pub(crate) fn lifecycle(registry: &str, name: &str, action: &str, letters: &[char], second: u32) -> Value {
    let entry = |letter: &char| json!({"lifecycleEventImage": {"digest": digest(*letter)}, "rulePriority": 7});
    let more = json!({
        "userIdentity": {"invokedBy": "AWS Internal"},
        "serviceEventDetails": {
            "repositoryName": "team/app",
            "lifecycleEventPolicy": {"lifecycleEventRules": [
                {"rulePriority": 7, "description": "keep three", "action": action},
            ]},
            "lifecycleEventImageActions": letters.iter().map(entry).collect::<Vec<_>>(),
        },
    });
    cloudtrail("AWS Service Event via CloudTrail", registry, name, second, more)
}
