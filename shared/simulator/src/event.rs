//! The events that registries emit, in AWS's envelopes.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>,
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html>

use domain::{
    event::notification::{HEARTBEAT_DETAIL_TYPE, HEARTBEAT_SOURCE},
    image::{Digest, Registry, Tag},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiCaller, ApiError},
    manifest::Manifest,
    world::{RepositoryId, World},
};

/// The action types of `ECR Image Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Push,
    Delete,
    Archive,
    /// With the time of the restore.
    Restore(Timestamp),
}

impl World {
    /// Emits `ECR Image Action`, or `ECR Referrer Action` for an artifact about another image (E1, E2, U11).
    pub(crate) fn emit_image_action(
        &mut self,
        place: &RepositoryId,
        manifest: &Manifest,
        tag: Option<&Tag>,
        action: Action,
    ) {
        let storage = matches!(action, Action::Archive | Action::Restore(_));
        let mut detail = Map::new();
        let mut put = |name: &str, value: Value| _ = detail.insert(name.to_owned(), value);
        put("result", json!("SUCCESS"));
        put("repository-name", json!(place.repository));
        put("image-digest", json!(manifest.digest));
        match action {
            Action::Push => put("action-type", json!("PUSH")),
            Action::Delete => put("action-type", json!("DELETE")),
            Action::Archive => {
                put("action-type", json!("UPDATE_STORAGE_CLASS"));
                put("target-storage-class", json!("ARCHIVE"));
            }
            Action::Restore(activated) => {
                put("action-type", json!("UPDATE_STORAGE_CLASS"));
                put("target-storage-class", json!("STANDARD"));
                put("last-activated-at", json!(activated.to_string()));
            }
        }
        if storage || self.settings.unconfirmed.media_types_in_events {
            put("manifest-media-type", json!(manifest.media_type));
            if let Some(media_type) = &manifest.artifact_media_type {
                put("artifact-media-type", json!(media_type));
            }
        }
        if !storage {
            self.put_tag(&mut detail, tag);
        }
        let referrer = manifest.subject.is_some() && (storage || self.settings.unconfirmed.referrer_actions);
        let detail_type = if referrer { "ECR Referrer Action" } else { "ECR Image Action" };
        let registry = place.registry.clone();
        self.emit(|id, time| envelope(&registry, "aws.ecr", detail_type, id, time, &[], detail.into()));
    }

    /// Emits `ECR Replication Action` in the destination (E3, U12, U23).
    pub(crate) fn emit_replication(
        &mut self,
        place: &RepositoryId,
        source: &Registry,
        digest: &Digest,
        tag: Option<&Tag>,
        result: Result<(), &str>,
    ) {
        let mut detail = Map::new();
        self.put_tag(&mut detail, tag);
        for (name, value) in [
            ("result", if result.is_ok() { "SUCCESS" } else { "FAILED" }),
            ("repository-name", place.repository.as_str()),
            ("image-digest", digest.as_str()),
            ("source-account", source.account()),
            ("action-type", "REPLICATE"),
            ("source-region", source.region()),
        ] {
            detail.insert(name.to_owned(), json!(value));
        }
        if let Some(code) = result.err().filter(|_| self.settings.unconfirmed.failed_replication_has_code) {
            detail.insert("failure-code".to_owned(), json!(code));
        }
        let account = if self.settings.unconfirmed.replicate_in_destination_account { &place.registry } else { source };
        let Ok(registry) = Registry::new(account.account(), place.registry.region()) else { return };
        let arn = place.arn();
        self.emit(|id, time| {
            envelope(&registry, "aws.ecr", "ECR Replication Action", id, time, &[&arn], detail.into())
        });
    }

    /// Emits `ECR Pull Through Cache Action` of an image that the cache brought (K1).
    pub(crate) fn emit_pull_through(
        &mut self,
        place: &RepositoryId,
        prefix: &str,
        upstream: &str,
        digest: &Digest,
        tag: Option<&Tag>,
    ) {
        let mut detail = Map::new();
        self.put_tag(&mut detail, tag);
        for (name, value) in [
            ("rule-version", "1"),
            ("sync-status", "SUCCESS"),
            ("ecr-repository-prefix", prefix),
            ("repository-name", place.repository.as_str()),
            ("upstream-registry-url", upstream),
            ("image-digest", digest.as_str()),
        ] {
            detail.insert(name.to_owned(), json!(value));
        }
        let (registry, arn) = (place.registry.clone(), place.arn());
        let detail_type = "ECR Pull Through Cache Action";
        self.emit(|id, time| envelope(&registry, "aws.ecr", detail_type, id, time, &[&arn], detail.into()));
    }

    /// Emits the end of a backfill. AWS documents that there is an event, but not its content (U21).
    pub(crate) fn emit_backfill(&mut self, registry: &Registry, id: &str, status: &str) {
        let detail = json!({"action-type": "REPLICATION_BACKFILL", "result": status, "replication-backfill-id": id});
        let registry = registry.clone();
        self.emit(|id, time| envelope(&registry, "aws.ecr", "ECR Replication Backfill Action", id, time, &[], detail));
    }

    /// Emits CloudTrail's record of an API call (E5). A denied call has no parameters, and a failed one no response.
    pub(crate) fn emit_call(
        &mut self,
        caller: &ApiCaller,
        registry: &Registry,
        name: &str,
        request: Value,
        answer: Result<&Value, &ApiError>,
    ) {
        let identity = match caller.arn.split_once(":assumed-role/") {
            Some((_, role)) => json!({
                "type": "AssumedRole", "principalId": format!("AROA{}:{}", caller.account, role.rsplit('/').next().unwrap_or(role)),
                "arn": caller.arn, "accountId": caller.account,
            }),
            None => {
                json!({"type": "Root", "principalId": caller.account, "arn": caller.arn, "accountId": caller.account})
            }
        };
        let (event_id, request_id) = (self.new_id(), self.new_id());
        let registry = registry.clone();
        let account = caller.account.clone();
        let resources = request.get("repositoryName").and_then(Value::as_str).map(|name| {
            let arn = registry.arn("ecr", &format!("repository/{name}"));
            json!([{"ARN": arn, "accountId": registry.account()}])
        });
        let denied = answer.is_err_and(|error| error.code == "AccessDeniedException");
        let mut more = Map::new();
        more.insert("requestParameters".to_owned(), if denied { Value::Null } else { request });
        more.insert("responseElements".to_owned(), answer.cloned().unwrap_or_default());
        if let Err(error) = answer {
            more.insert("errorCode".to_owned(), json!(if denied { "AccessDenied" } else { error.code }));
            more.insert("errorMessage".to_owned(), json!(error.message));
        }
        more.extend(resources.map(|resources| ("resources".to_owned(), resources)));
        self.emit(|id, time| {
            let mut detail = json!({
                "eventVersion": "1.11", "userIdentity": identity, "eventTime": time_text(time),
                "eventSource": "ecr.amazonaws.com", "eventName": name, "awsRegion": registry.region(),
                "sourceIPAddress": "127.0.0.1", "userAgent": "simulator", "requestID": request_id,
                "eventID": event_id, "readOnly": false,
                "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": account,
                "eventCategory": "Management",
            });
            if let Some(fields) = detail.as_object_mut() {
                fields.extend(more);
            }
            // The event has the account of the caller's trail.
            let trail = Registry::new(&account, registry.region()).unwrap_or(registry);
            envelope(&trail, "aws.ecr", "AWS API Call via CloudTrail", id, time, &[], detail)
        });
    }

    /// Emits CloudTrail's record of a copy that the destination denied, in the destination: "Any failed CreateRepository
    /// or ReplicateImage API actions show up in CloudTrail" (R5). AWS documents no more of it.
    pub(crate) fn emit_denied_copy(&mut self, place: &RepositoryId, source: &Registry, action: &str) {
        let account = source.account();
        let arn = format!("arn:aws:sts::{account}:assumed-role/AWSServiceRoleForECRReplication/ecr-replication");
        let (event_id, place) = (self.new_id(), place.clone());
        self.emit(|id, time| {
            let (owner, region) = (place.registry.account(), place.registry.region());
            let detail = json!({
                "eventVersion": "1.11", "userIdentity": {"type": "AssumedRole", "arn": arn, "accountId": account},
                "eventTime": time_text(time), "eventSource": "ecr.amazonaws.com", "eventName": action,
                "awsRegion": region, "sourceIPAddress": "replication.ecr.amazonaws.com",
                "userAgent": "replication.ecr.amazonaws.com", "requestParameters": null, "responseElements": null,
                "errorCode": "AccessDenied",
                "errorMessage": format!("User: {arn} is not authorized to perform: ecr:{action} on resource: {}", place.arn()),
                "resources": [{"ARN": place.arn(), "accountId": owner}], "eventID": event_id, "readOnly": false,
                "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": owner,
                "eventCategory": "Management",
            });
            envelope(&place.registry, "aws.ecr", "AWS API Call via CloudTrail", id, time, &[], detail)
        });
    }

    /// Emits CloudTrail's record of a run of a lifecycle policy (E5).
    pub(crate) fn emit_policy_execution(
        &mut self,
        place: &RepositoryId,
        policy: Value,
        actions: &[Value],
        failures: &[Value],
    ) {
        let event_id = self.new_id();
        let place = place.clone();
        self.emit(|id, time| {
            let (account, region) = (place.registry.account(), place.registry.region());
            let detail = json!({
                "eventVersion": "1.11", "userIdentity": {"accountId": account, "invokedBy": "AWS Internal"},
                "eventTime": time_text(time), "eventSource": "ecr.amazonaws.com", "eventName": "PolicyExecutionEvent",
                "awsRegion": region, "sourceIPAddress": "AWS Internal", "userAgent": "AWS Internal",
                "requestParameters": null, "responseElements": null, "eventID": event_id, "readOnly": true,
                "resources": [{"ARN": place.arn(), "accountId": account, "type": "AWS::ECR::Repository"}],
                "eventType": "AwsServiceEvent", "managementEvent": true, "recipientAccountId": account,
                "eventCategory": "Management",
                "serviceEventDetails": {
                    "repositoryName": place.repository, "lifecycleEventPolicy": policy,
                    "lifecycleEventImageActions": actions, "lifecycleEventFailureDetails": failures,
                },
            });
            envelope(&place.registry, "aws.ecr", "AWS Service Event via CloudTrail", id, time, &[], detail)
        });
    }

    /// Adds the tag to an event. Without a tag, the field is empty or absent (U3).
    fn put_tag(&self, detail: &mut Map<String, Value>, tag: Option<&Tag>) {
        match tag {
            Some(tag) => _ = detail.insert("image-tag".to_owned(), json!(tag)),
            None if self.settings.unconfirmed.empty_tag_in_events => {
                _ = detail.insert("image-tag".to_owned(), json!(""));
            }
            None => {}
        }
    }
}

/// A heartbeat, as the schedule in a registry's stack sends it.
pub(crate) fn heartbeat(registry: &Registry, id: String, time: Timestamp) -> Value {
    envelope(registry, HEARTBEAT_SOURCE, HEARTBEAT_DETAIL_TYPE, id, time, &[], json!({}))
}

fn envelope(
    registry: &Registry,
    source: &str,
    detail_type: &str,
    id: String,
    time: Timestamp,
    resources: &[&str],
    detail: Value,
) -> Value {
    json!({
        "version": "0", "id": id, "detail-type": detail_type, "source": source, "account": registry.account(),
        "time": time_text(time), "region": registry.region(), "resources": resources, "detail": detail,
    })
}

/// A time in whole seconds, as in every sample of AWS.
fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
