//! Activity as events of the Open Cybersecurity Schema Framework, one a line: class API Activity of version 1.1.0, the
//! version that Amazon Security Lake takes from custom sources.
//! <https://schema.ocsf.io/1.1.0/classes/api_activity>,
//! <https://docs.aws.amazon.com/security-lake/latest/userguide/custom-sources.html>

use answers::activity::{ActivityEntry, ActivityReport};
use domain::activity::{ActName, ActivityKind};
use serde_json::{Value, json};

/// The version of the schema.
const VERSION: &str = "1.1.0";

/// Category Application Activity, class API Activity.
const CLASS: (u32, u32) = (6, 6003);

/// What OCSF calls an activity. `type_uid` is the class and this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OcsfActivity {
    Create = 1,
    Update = 3,
    Delete = 4,
    Other = 99,
}

impl OcsfActivity {
    fn of(entry: &ActivityEntry) -> Self {
        match entry.kind {
            ActivityKind::Pushed => Self::Create,
            ActivityKind::ImageDeleted | ActivityKind::TagsDeleted | ActivityKind::RepositoryDeleted => Self::Delete,
            ActivityKind::Archived | ActivityKind::Restored | ActivityKind::Changed | ActivityKind::Operator => {
                Self::Update
            }
            ActivityKind::Attempted => match entry.call.as_deref().unwrap_or_default() {
                call if call.contains("Delete") || call == "expire" => Self::Delete,
                call if call.starts_with("Put") || call.starts_with("Create") => Self::Create,
                "ReplicateImage" | "PullThroughCache" => Self::Create,
                _ => Self::Update,
            },
            ActivityKind::Observed => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Other => "Found missing",
        }
    }
}

/// The events, one a line.
pub(crate) fn events(report: &ActivityReport) -> String {
    report.activity.iter().map(|entry| format!("{}\n", event(entry))).collect()
}

fn event(entry: &ActivityEntry) -> Value {
    let activity = OcsfActivity::of(entry);
    let (category, class) = CLASS;
    let mut event = json!({
        "activity_id": activity as u32, "activity_name": activity.name(),
        "category_uid": category, "category_name": "Application Activity",
        "class_uid": class, "class_name": "API Activity",
        "type_uid": class * 100 + activity as u32,
        "severity_id": 1, "severity": "Informational",
        "time": entry.time.as_millisecond(),
        "message": entry.summary,
        "metadata": metadata(entry),
        "actor": actor(entry),
        "api": api(entry),
        "cloud": cloud(entry),
        "src_endpoint": source(entry),
        "resources": [resource(entry)],
    });
    if let Some(fields) = event.as_object_mut() {
        let (id, name) = status(entry);
        fields.insert("status_id".into(), id.into());
        fields.insert("status".into(), name.into());
        fields.extend(entry.code.iter().map(|code| ("status_code".into(), code.clone().into())));
        fields.extend(entry.reason.iter().map(|reason| ("status_detail".into(), reason.clone().into())));
    }
    event
}

/// Success or failure; unknown if CloudTrail left out the response.
fn status(entry: &ActivityEntry) -> (u32, &'static str) {
    match (entry.kind, &entry.code, &entry.reason) {
        (ActivityKind::Attempted, None, None) => (0, "Unknown"),
        (ActivityKind::Attempted, ..) => (2, "Failure"),
        _ => (1, "Success"),
    }
}

fn metadata(entry: &ActivityEntry) -> Value {
    let about = [
        entry.event_id.clone(),
        entry.action.map(|action| format!("{} {}", action.as_str(), entry.time)),
        entry.registry.as_ref().map(ToString::to_string),
        entry.repository.clone(),
        entry.digest.as_ref().map(ToString::to_string),
        entry.incident.clone(),
    ];
    let mut metadata = json!({
        "version": VERSION,
        "profiles": ["cloud"],
        "product": {"name": "ecr-lineage", "vendor_name": "ecr-lineage", "version": env!("CARGO_PKG_VERSION")},
        // One event can be about many images.
        "uid": about.into_iter().flatten().collect::<Vec<_>>().join("/"),
        "event_code": entry.kind.as_str(),
        "original_time": entry.time.to_string(),
    });
    if let (Some(fields), Some(id)) = (metadata.as_object_mut(), &entry.event_id) {
        fields.insert("correlation_uid".into(), id.clone().into());
    }
    metadata
}

/// The caller; the service, if ECR or ecr-lineage acted.
fn actor(entry: &ActivityEntry) -> Value {
    match entry.actor.as_deref() {
        Some("lifecycle") => json!({"invoked_by": "ecr.amazonaws.com"}),
        Some("ecr-lineage") => json!({"invoked_by": "ecr-lineage"}),
        Some(name) if name.starts_with("arn:") => {
            let mut parts = name.splitn(6, ':').skip(4);
            let (account, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let mut user = json!({"uid": name, "name": resource.rsplit('/').next().unwrap_or(resource)});
            if let (Some(user), false) = (user.as_object_mut(), account.is_empty()) {
                user.insert("account".into(), json!({"uid": account, "type": "AWS Account", "type_id": 10}));
            }
            json!({"user": user})
        }
        Some(name) => json!({"user": {"uid": name, "name": name}}),
        None if entry.kind == ActivityKind::Observed => json!({"invoked_by": "ecr-lineage"}),
        None => json!({"user": {"name": "Unknown", "type": "Unknown", "type_id": 0}}),
    }
}

/// The API action. ECR's own events do not name it: then it is the one that has this effect.
fn operation(entry: &ActivityEntry) -> String {
    if let Some(call) = &entry.call {
        return call.clone();
    }
    let of_setting = |setting: &str| match setting {
        "replication_rules" => "PutReplicationConfiguration",
        "registry_policy" => "PutRegistryPolicy",
        "repository_policy" => "SetRepositoryPolicy",
        "lifecycle_policy" => "PutLifecyclePolicy",
        "tag_mutability" => "PutImageTagMutability",
        _ => "UpdateImageStorageClass",
    };
    let operation = match entry.kind {
        ActivityKind::Pushed => "PutImage",
        _ if entry.cause == Some("lifecycle") => "PolicyExecutionEvent",
        ActivityKind::ImageDeleted | ActivityKind::TagsDeleted | ActivityKind::Attempted => "BatchDeleteImage",
        ActivityKind::RepositoryDeleted => "DeleteRepository",
        ActivityKind::Archived | ActivityKind::Restored => "UpdateImageStorageClass",
        ActivityKind::Changed => of_setting(entry.setting.unwrap_or_default()),
        ActivityKind::Observed => "DescribeImages",
        ActivityKind::Operator => entry.action.map_or("operator", ActName::as_str),
    };
    operation.to_owned()
}

fn api(entry: &ActivityEntry) -> Value {
    let service = if entry.kind == ActivityKind::Operator { "ecr-lineage" } else { "ecr.amazonaws.com" };
    let mut api = json!({"operation": operation(entry), "service": {"name": service}});
    if entry.kind == ActivityKind::Attempted
        && let Some(fields) = api.as_object_mut()
    {
        let mut response = serde_json::Map::new();
        response.extend(entry.code.iter().map(|code| ("error".to_owned(), code.clone().into())));
        response.extend(entry.reason.iter().map(|reason| ("error_message".to_owned(), reason.clone().into())));
        fields.insert("response".into(), Value::Object(response));
    }
    api
}

fn cloud(entry: &ActivityEntry) -> Value {
    match &entry.registry {
        None => json!({"provider": "AWS"}),
        Some(registry) => json!({
            "provider": "AWS", "region": registry.region(),
            "account": {"uid": registry.account(), "type": "AWS Account", "type_id": 10},
        }),
    }
}

/// Where the call came from. Its address is not recorded.
fn source(entry: &ActivityEntry) -> Value {
    match entry.actor.as_deref() {
        Some("lifecycle") => json!({"svc_name": "ecr.amazonaws.com"}),
        Some("ecr-lineage") => json!({"svc_name": "ecr-lineage"}),
        _ => json!({"name": "Unknown"}),
    }
}

/// The image, the repository, the incident or the registry.
fn resource(entry: &ActivityEntry) -> Value {
    let kind = match (&entry.repository, &entry.digest, &entry.incident) {
        (Some(_), Some(_), _) => "Image",
        (Some(_), None, _) => "Repository",
        (None, _, Some(_)) => "Incident",
        (None, _, None) => "Registry",
    };
    let about = |repository: &String| match &entry.digest {
        Some(digest) => format!("{repository}@{digest}"),
        None => repository.clone(),
    };
    let registry = entry.registry.as_ref().map_or_else(|| "every source".to_owned(), ToString::to_string);
    let name = entry.repository.as_ref().map(about).or_else(|| entry.incident.clone()).unwrap_or(registry);
    let mut resource = json!({"type": kind, "name": name});
    if let Some(fields) = resource.as_object_mut() {
        if let Some(registry) = &entry.registry {
            let of_repository = |repository: &String| {
                let (partition, account, region) = (registry.partition().name, registry.account(), registry.region());
                format!("arn:{partition}:ecr:{region}:{account}:repository/{repository}")
            };
            fields.extend(entry.repository.as_ref().map(|repository| ("uid".into(), of_repository(repository).into())));
            fields.insert("region".into(), registry.region().into());
        }
        if !entry.tags.is_empty() {
            let tags: Vec<_> = entry.tags.iter().map(ToString::to_string).collect();
            fields.insert("labels".into(), tags.into());
        }
    }
    resource
}
