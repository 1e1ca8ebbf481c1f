//! CloudTrail records: who deleted, pushed or archived an image, who changed a setting, and what AWS refused.
//!
//! ECR's own events name no caller. The records of API calls do, and so does the lifecycle policy's
//! `PolicyExecutionEvent` (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html>). The
//! preview of a lifecycle policy, `DryRunEvent`, has the same shape and deletes nothing.
//!
//! A call that failed as a whole has an `errorCode`. If it was denied, its `requestParameters` are `null`, and the
//! repository stands only in `resources`; if it was refused, they are what the caller sent, possible or not. CloudTrail
//! leaves out parameters and responses that are too large
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>). So
//! only what a fact needs is required, and only of calls that succeeded.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Event, EventError, id, optional, other, parse, registry, text, time, value};
use crate::{
    fact::{Cause, Fact, Setting, Subject, What},
    image::{Digest, Registry, RepositoryName, Tag},
};

/// The `eventSource` of ECR, and of the service with which it replicates.
const SOURCES: [&str; 2] = ["ecr.amazonaws.com", "replication.ecr.amazonaws.com"];

/// One fact per subject, because an event id identifies only one fact of a subject.
type Facts = BTreeMap<Subject, What>;

/// Reads one CloudTrail record: the `detail` of an EventBridge event, or an entry of a log file's `Records`.
///
/// A record that says nothing about any image (another service, a read, a dry run) becomes an event without facts.
///
/// # Errors
/// When a required field is missing or malformed.
pub fn read_record(record: &Value) -> Result<Event, EventError> {
    let id = record_id(record)?;
    let name = optional(record, "detail.eventName")?;
    let of_ecr = optional(record, "detail.eventSource")?.is_some_and(|source| SOURCES.contains(&source));
    let facts = match name.filter(|_| of_ecr) {
        Some("PolicyExecutionEvent") => policy_execution(record)?,
        Some(name) => Call::of(record, name).facts()?,
        None => Facts::new(),
    };
    if facts.is_empty() {
        return Ok(Event { id, facts: Vec::new() });
    }
    let (time, registry) = (time(record, "detail.eventTime")?, registry_of(record)?);
    let fact = |(subject, what)| Fact { time, registry: registry.clone(), event_id: id.clone(), subject, what };
    Ok(Event { facts: facts.into_iter().map(fact).collect(), id })
}

/// The id of a record. A call that names another account's registry has a record in the trails of both accounts, with
/// the same `sharedEventID`: it becomes the beginning of both ids.
fn record_id(record: &Value) -> Result<String, EventError> {
    let own = id(record, "detail.eventID")?;
    Ok(match id(record, "detail.sharedEventID") {
        Ok(shared) if shared.len() + own.len() < 128 => format!("{shared}{}{own}", Fact::SHARED),
        _ => own,
    })
}

/// The registry of a record. A call may name another account's registry; if it was denied, only `resources` names it.
fn registry_of(record: &Value) -> Result<Registry, EventError> {
    let region = optional(record, "detail.awsRegion")?;
    let named = part(part(record, "requestParameters"), "registryId").as_str();
    let accounts = named.into_iter().chain(arn_of_repository(record).map(|(account, _)| account));
    let found = accounts.filter_map(|account| Registry::new(account, region?).ok()).next();
    found.map_or_else(|| registry(record, "detail.recipientAccountId", "detail.awsRegion"), Ok)
}

/// The account and the name of the repository whose ARN the record names.
fn arn_of_repository(record: &Value) -> Option<(&str, &str)> {
    list(record, "/resources").find_map(|resource| {
        // Tools that pass records on write the name in small letters.
        let arn = resource.get("ARN").or_else(|| resource.get("arn"))?.as_str()?;
        let mut parts = arn.splitn(6, ':').skip(2);
        let (service, _, account) = (parts.next()?, parts.next()?, parts.next()?);
        (service == "ecr").then_some((account, parts.next()?.strip_prefix("repository/")?))
    })
}

/// One API call.
struct Call<'a> {
    record: &'a Value,
    name: &'a str,
    parameters: &'a Value,
    /// What ECR answered; `null` if CloudTrail left it out.
    answer: &'a Value,
    by: String,
}

impl<'a> Call<'a> {
    fn of(record: &'a Value, name: &'a str) -> Self {
        let given = |field| Some(part(record, field)).filter(|part| part.get("omitted").is_none());
        let (parameters, answer) = (given("requestParameters"), given("responseElements"));
        let [parameters, answer] = [parameters, answer].map(|part| part.unwrap_or(&Value::Null));
        Self { record, name, parameters, answer, by: caller(record) }
    }

    /// What the call did, or that it was refused; nothing if it concerns no image.
    fn facts(&self) -> Result<Facts, EventError> {
        let setting = self.setting();
        let known =
            matches!(self.name, "BatchDeleteImage" | "DeleteRepository" | "PutImage" | "UpdateImageStorageClass");
        // Only their failures say something: why a copy did not arrive. A success has an event of ECR's own.
        let copying = matches!(self.name, "ReplicateImage" | "CreateRepository");
        if let Some(code) = optional(self.record, "detail.errorCode")? {
            let created_before = code == "RepositoryAlreadyExistsException";
            return Ok(match known || setting.is_some() || (copying && !created_before) {
                true => self.refused(code),
                false => Facts::new(),
            });
        }
        // The record of the network, beside that of the call itself. It says neither what was asked nor what was done.
        if optional(self.record, "detail.eventType")? == Some("AwsVpceEvent") {
            return Ok(Facts::new());
        }
        match (self.name, setting) {
            ("DeleteRepository", _) => self.deleted_repository(),
            ("BatchDeleteImage" | "PutImage" | "UpdateImageStorageClass", _) if self.answer.is_null() => {
                Ok(self.without_answer())
            }
            ("BatchDeleteImage", _) => self.deleted_images(),
            ("PutImage", _) => self.pushed(),
            ("UpdateImageStorageClass", _) => self.moved(),
            (_, Some(setting @ (Setting::ReplicationRules | Setting::RegistryPolicy))) => {
                Ok([(Subject::Registry, What::Changed { setting, by: self.by.clone() })].into())
            }
            (_, Some(setting)) => {
                let subject = Subject::Repository(self.repository()?);
                Ok([(subject, What::Changed { setting, by: self.by.clone() })].into())
            }
            (_, None) => Ok(Facts::new()),
        }
    }

    /// The setting that the call changes.
    fn setting(&self) -> Option<Setting> {
        Some(match self.name {
            "PutReplicationConfiguration" => Setting::ReplicationRules,
            "PutRegistryPolicy" | "DeleteRegistryPolicy" => Setting::RegistryPolicy,
            "SetRepositoryPolicy" | "DeleteRepositoryPolicy" => Setting::RepositoryPolicy,
            "PutLifecyclePolicy" | "DeleteLifecyclePolicy" => Setting::LifecyclePolicy,
            "PutImageTagMutability" => Setting::TagMutability,
            _ => return None,
        })
    }

    /// The repository, from the parameters or else from `resources`.
    fn repository(&self) -> Result<RepositoryName, EventError> {
        let named = parse(self.parameters, "detail.requestParameters.repositoryName");
        named.or_else(|error| arn_of_repository(self.record).and_then(|(_, name)| name.parse().ok()).ok_or(error))
    }

    /// The digests that the call names.
    fn digests(&self) -> BTreeSet<Digest> {
        let ids = list(self.parameters, "/imageIds");
        let ids = ids.chain([self.parameters, part(self.parameters, "imageId")]);
        ids.filter_map(|id| id.get("imageDigest")?.as_str()?.parse().ok()).collect()
    }

    /// The narrowest subject that the call names: an image if it names just one.
    fn subject(&self) -> Subject {
        let Ok(repository) = self.repository() else { return Subject::Registry };
        let mut digests = self.digests().into_iter();
        match (digests.next(), digests.next()) {
            (Some(digest), None) => Subject::narrowest(repository, Some(digest)),
            _ => Subject::Repository(repository),
        }
    }

    fn attempted(&self, code: Option<&str>, reason: Option<&str>) -> What {
        let shortened = |text: &str| text.chars().take(Fact::REASON_CHARS).collect();
        What::Attempted {
            call: self.name.to_owned(),
            code: code.map(shortened),
            reason: reason.map(shortened),
            cause: Cause::Principal { by: self.by.clone() },
        }
    }

    /// A call that failed as a whole: one fact, because nothing happened to any image.
    fn refused(&self, code: &str) -> Facts {
        let reason = part(self.record, "errorMessage").as_str().filter(|reason| !reason.is_empty());
        [(self.subject(), self.attempted(Some(code), reason))].into()
    }

    /// A call without its response: who made it and when is known, and what it was about as far as the parameters say.
    fn without_answer(&self) -> Facts {
        let digests = self.digests();
        match self.repository() {
            Ok(repository) if !digests.is_empty() => {
                let subject = |digest| Subject::narrowest(repository.clone(), Some(digest));
                digests.into_iter().map(|digest| (subject(digest), self.attempted(None, None))).collect()
            }
            _ => [(self.subject(), self.attempted(None, None))].into(),
        }
    }

    /// `BatchDeleteImage`: the response lists what ECR deleted, one entry per tag; the request shows whether the caller
    /// named a digest or a tag. An entry with an impossible id loses only itself.
    fn deleted_images(&self) -> Result<Facts, EventError> {
        let repository = self.repository()?;
        let requested = list(self.parameters, "/imageIds").filter_map(image_id);
        let whole: BTreeSet<_> = requested.filter(|(_, tag)| tag.is_none()).filter_map(|(digest, _)| digest).collect();
        let mut facts = Facts::new();
        for failure in list(self.answer, "/failures") {
            let digest = image_id(part(failure, "imageId")).and_then(|(digest, _)| digest);
            let [code, reason] = ["failureCode", "failureReason"].map(|field| part(failure, field).as_str());
            let what = self.attempted(code.or(Some("unknown")), reason);
            facts.insert(Subject::narrowest(repository.clone(), digest), what);
        }
        for deleted in list(self.answer, "/imageIds").filter_map(image_id) {
            let (Some(digest), tag) = deleted else { continue };
            let named = tag.filter(|_| !whole.contains(&digest));
            let cause = Cause::Principal { by: self.by.clone() };
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

    /// `DeleteRepository`. Without `force`, ECR deletes only a repository without images.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepository.html>
    fn deleted_repository(&self) -> Result<Facts, EventError> {
        // If CloudTrail left out the parameters, `force` is not known.
        let empty = self.parameters.is_object() && part(self.parameters, "force").as_bool() != Some(true);
        let what = What::RepositoryDeleted { empty, listed_at: None, cause: Cause::Repository { by: self.by.clone() } };
        Ok([(Subject::Repository(self.repository()?), what)].into())
    }

    /// `PutImage`: a push by digest has no tag.
    fn pushed(&self) -> Result<Facts, EventError> {
        let Some((Some(digest), tag)) = image_id(part(part(self.answer, "image"), "imageId")) else {
            return Ok(self.without_answer());
        };
        let manifest = part(self.parameters, "imageManifest").as_str().unwrap_or_default();
        let what =
            What::Pushed { tag, artifact_media_type: None, platforms: platforms(manifest), by: Some(self.by.clone()) };
        Ok([(Subject::narrowest(self.repository()?, Some(digest)), what)].into())
    }

    /// `UpdateImageStorageClass`: the image is archived at once. A restore takes up to 20 minutes, and ends with an event
    /// of ECR's own.
    fn moved(&self) -> Result<Facts, EventError> {
        let Some((Some(digest), _)) = image_id(part(self.answer, "imageId")) else {
            return Ok(self.without_answer());
        };
        let archived = part(self.answer, "imageStatus").as_str() == Some("ARCHIVED");
        let what = match text(self.parameters, "detail.requestParameters.targetStorageClass")? {
            "ARCHIVE" if archived => What::Archived { cause: Cause::Principal { by: self.by.clone() } },
            _ => What::Changed { setting: Setting::StorageClass, by: self.by.clone() },
        };
        Ok([(Subject::narrowest(self.repository()?, Some(digest)), what)].into())
    }
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
        let failure = part(entry, "failureCode").as_str().filter(|code| !code.is_empty());
        let subject = Subject::narrowest(repository.clone(), Some(digest));
        let what = match (failure, rule.map(|(action, _)| *action)) {
            (Some(code), action) => What::Attempted {
                call: action.unwrap_or("PolicyExecutionEvent").to_owned(),
                code: Some(code.to_owned()),
                reason: part(entry, "failureReason").as_str().map(|why| why.chars().take(Fact::REASON_CHARS).collect()),
                cause,
            },
            (None, Some("expire")) => What::ImageDeleted { cause },
            (None, Some("transition" | "archive")) => What::Archived { cause },
            (None, _) => other("PolicyExecutionEvent", entry),
        };
        facts.insert(subject, what);
    }
    Ok(facts)
}

/// The caller as CloudTrail names it, by the most specific field that is present. A caller of another account is an
/// opaque id in the trail of the registry's account.
fn caller(record: &Value) -> String {
    let identity = part(record, "userIdentity");
    let named = |field| identity.get(field)?.as_str().filter(|text| !text.is_empty());
    match (named("arn").or_else(|| named("invokedBy")), named("principalId"), named("accountId")) {
        (Some(name), ..) => name.to_owned(),
        (None, Some(id), Some(account)) if id != account => format!("{id} of account {account}"),
        (None, Some(name), _) | (None, None, Some(name)) => name.to_owned(),
        (None, None, None) => named("type").unwrap_or("an unnamed caller").to_owned(),
    }
}

/// The most platforms that are kept of an index, and the longest name of one: with more, the fact would cost more.
const PLATFORMS: usize = 30;
const PLATFORM_CHARS: usize = 40;

/// The platforms that an index names; none of any other manifest, whose platform is in its configuration.
/// <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md>
fn platforms(manifest: &str) -> BTreeSet<String> {
    let index: Value = serde_json::from_str(manifest).unwrap_or_default();
    let named = list(&index, "/manifests").filter_map(|child| {
        let platform = part(child, "platform");
        let [os, architecture, variant] = ["os", "architecture", "variant"].map(|field| part(platform, field).as_str());
        let name = [os?, architecture?].into_iter().chain(variant).collect::<Vec<_>>().join("/");
        // BuildKit's attestations are children, too, of the platform `unknown/unknown`.
        (name != "unknown/unknown" && name.chars().count() <= PLATFORM_CHARS).then_some(name)
    });
    named.collect::<BTreeSet<_>>().into_iter().take(PLATFORMS).collect()
}

/// The digest and the tag of an image id; `None` if one of them is impossible. Callers send ids such as `<none>`, and an
/// entry that is read only in part would say something else.
fn image_id(id: &Value) -> Option<(Option<Digest>, Option<Tag>)> {
    let named = |field| part(id, field).as_str().filter(|text| !text.is_empty());
    let digest = named("imageDigest").map(str::parse).transpose().ok()?;
    Some((digest, named("imageTag").map(str::parse).transpose().ok()?))
}

/// A field of an object; `null` if it is missing. Every field of `null` is missing too.
fn part<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// The entries of a list, or none if the list is missing.
fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}
