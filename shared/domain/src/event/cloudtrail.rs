//! CloudTrail records: who deleted an image, and why.
//!
//! ECR's own events name no caller. Four records do: `BatchDeleteImage`, `DeleteRepository`,
//! `PutReplicationConfiguration` and the lifecycle policy's `PolicyExecutionEvent`
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html>). The preview of a lifecycle
//! policy, `DryRunEvent`, has the same shape as `PolicyExecutionEvent` and deletes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Event, EventError, id, optional, parse, parse_optional, registry, text, time, value};
use crate::{
    fact::{Cause, Fact, Subject, What},
    image::{Digest, RepositoryName, Tag},
};

/// Reads one CloudTrail record: the `detail` of an EventBridge event, or an entry of a log file's `Records`.
///
/// A record that says nothing about any image (another service, a read, a dry run) becomes an event without facts.
///
/// # Errors
/// When a required field is missing or malformed.
pub fn read_record(record: &Value) -> Result<Event, EventError> {
    let id = id(record, "detail.eventID")?;
    let facts = match (optional(record, "detail.eventSource")?, optional(record, "detail.eventName")?) {
        (Some("ecr.amazonaws.com"), Some("BatchDeleteImage")) => batch_delete(record)?,
        (Some("ecr.amazonaws.com"), Some("DeleteRepository")) => delete_repository(record)?,
        (Some("ecr.amazonaws.com"), Some("PolicyExecutionEvent")) => policy_execution(record)?,
        (Some("ecr.amazonaws.com"), Some("PutReplicationConfiguration")) => configured(record)?,
        _ => return Ok(Event { id, facts: Vec::new() }),
    };
    let time = time(record, "detail.eventTime")?;
    // A call may name another account's registry; the trails of both accounts then contain the record.
    let parameters = part(record, "requestParameters");
    let registry = match optional(parameters, "detail.requestParameters.registryId")? {
        Some(account) => registry_of(account, record)?,
        None => registry(record, "detail.recipientAccountId", "detail.awsRegion")?,
    };
    let fact = |(subject, what)| Fact { time, registry: registry.clone(), event_id: id.clone(), subject, what };
    Ok(Event { facts: facts.into_iter().map(fact).collect(), id })
}

fn registry_of(account: &str, record: &Value) -> Result<crate::image::Registry, EventError> {
    crate::image::Registry::new(account, text(record, "detail.awsRegion")?)
        .map_err(|source| EventError::Field { field: "detail.requestParameters.registryId", source })
}

/// One fact per subject, because an event id identifies only one fact of a subject.
type Facts = BTreeMap<Subject, What>;

/// `BatchDeleteImage`: the response lists what ECR deleted, one entry per tag; the request shows whether the caller
/// named a digest or a tag. Without a response, nothing is recorded as deleted.
fn batch_delete(record: &Value) -> Result<Facts, EventError> {
    let parameters = part(record, "requestParameters");
    let repository: RepositoryName = parse(parameters, "detail.requestParameters.repositoryName")?;
    let by = caller(record);
    if let Some(failed) = refused(record, &repository, &by)? {
        return Ok(failed);
    }
    let mut whole = BTreeSet::new();
    for requested in list(parameters, "/imageIds") {
        if let (Some(digest), None) = image_id(requested)? {
            whole.insert(digest);
        }
    }
    let mut facts = Facts::new();
    let answer = part(record, "responseElements");
    for failure in list(answer, "/failures") {
        let (digest, _) = image_id(part(failure, "imageId"))?;
        let code = optional(failure, "detail.responseElements.failures[].failureCode")?.unwrap_or("unknown").to_owned();
        let what = What::DeletionFailed { code, cause: Cause::Principal { by: by.clone() } };
        facts.insert(Subject::narrowest(repository.clone(), digest), what);
    }
    for deleted in list(answer, "/imageIds") {
        let (Some(digest), tag) = image_id(deleted)? else { continue };
        let named = tag.filter(|_| !whole.contains(&digest));
        let cause = Cause::Principal { by: by.clone() };
        let subject = Subject::narrowest(repository.clone(), Some(digest));
        match (facts.get_mut(&subject), named) {
            (_, None) => _ = facts.insert(subject, What::ImageDeleted { cause }),
            (Some(What::ImageDeleted { .. }), Some(_)) => {}
            (Some(What::TagsDeleted { tags, .. }), Some(tag)) => _ = tags.insert(tag),
            (_, Some(tag)) => _ = facts.insert(subject, What::TagsDeleted { tags: [tag].into(), cause }),
        }
    }
    Ok(facts)
}

fn delete_repository(record: &Value) -> Result<Facts, EventError> {
    let repository: RepositoryName =
        parse(part(record, "requestParameters"), "detail.requestParameters.repositoryName")?;
    let by = caller(record);
    if let Some(failed) = refused(record, &repository, &by)? {
        return Ok(failed);
    }
    let what = What::RepositoryDeleted { cause: Cause::Repository { by } };
    Ok([(Subject::Repository(repository), what)].into())
}

/// `PutReplicationConfiguration`, unless ECR refused the call.
fn configured(record: &Value) -> Result<Facts, EventError> {
    let refused = optional(record, "detail.errorCode")?.is_some();
    let by = caller(record);
    Ok((!refused).then_some((Subject::Registry, What::ReplicationConfigured { by })).into_iter().collect())
}

/// `PolicyExecutionEvent`: what a lifecycle policy did. One list reports expiries, moves to the archive and failures;
/// only the rule says which, so an entry without a known rule changes nothing.
fn policy_execution(record: &Value) -> Result<Facts, EventError> {
    let details = value(record, "detail.serviceEventDetails")
        .ok_or(EventError::Missing { field: "detail.serviceEventDetails" })?;
    let repository: RepositoryName = parse(details, "detail.serviceEventDetails.repositoryName")?;
    let rules: BTreeMap<i64, (&str, Option<&str>)> = list(details, "/lifecycleEventPolicy/lifecycleEventRules")
        .filter_map(|rule| {
            let action = rule.get("action")?.as_str()?;
            Some((rule.get("rulePriority")?.as_i64()?, (action, rule.get("description").and_then(Value::as_str))))
        })
        .collect();
    let mut facts = Facts::new();
    for entry in list(details, "/lifecycleEventImageActions") {
        let image = part(entry, "lifecycleEventImage");
        let digest: Digest =
            parse(image, "detail.serviceEventDetails.lifecycleEventImageActions[].lifecycleEventImage.digest")?;
        let priority = entry.get("rulePriority").and_then(Value::as_i64);
        let rule = priority.and_then(|priority| rules.get(&priority));
        let cause = match (priority, rule) {
            (Some(rule), Some((_, description))) => {
                Cause::Lifecycle { rule, description: description.filter(|text| !text.is_empty()).map(str::to_owned) }
            }
            _ => Cause::Unknown,
        };
        let failure = optional(entry, "detail.serviceEventDetails.lifecycleEventImageActions[].failureCode")?;
        let what = match (failure, rule.map(|(action, _)| *action)) {
            (Some(code), _) => What::DeletionFailed { code: code.to_owned(), cause },
            (None, Some("expire")) => What::ImageDeleted { cause },
            (None, Some("transition" | "archive")) => What::Archived { cause },
            (None, _) => {
                What::Other { detail_type: "PolicyExecutionEvent".to_owned(), detail: Some(entry.to_string()) }
            }
        };
        facts.insert(Subject::narrowest(repository.clone(), Some(digest)), what);
    }
    Ok(facts)
}

/// A call that failed as a whole: one fact about the repository, because nothing happened to any image.
fn refused(record: &Value, repository: &RepositoryName, by: &str) -> Result<Option<Facts>, EventError> {
    Ok(optional(record, "detail.errorCode")?.map(|code| {
        let what = What::DeletionFailed { code: code.to_owned(), cause: Cause::Principal { by: by.to_owned() } };
        [(Subject::Repository(repository.clone()), what)].into()
    }))
}

/// The caller as CloudTrail names it, by the most specific field that is present.
fn caller(record: &Value) -> String {
    let identity = part(record, "userIdentity");
    ["arn", "invokedBy", "principalId", "accountId", "type"]
        .into_iter()
        .find_map(|field| identity.get(field)?.as_str().filter(|text| !text.is_empty()))
        .unwrap_or("an unnamed caller")
        .to_owned()
}

fn image_id(id: &Value) -> Result<(Option<Digest>, Option<Tag>), EventError> {
    Ok((parse_optional(id, "detail.imageIds[].imageDigest")?, parse_optional(id, "detail.imageIds[].imageTag")?))
}

/// A field of an object; `null` if it is missing. Every field of `null` is missing too.
fn part<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// The entries of a list, or none if the list is missing.
fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}
