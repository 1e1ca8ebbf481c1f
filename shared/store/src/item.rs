//! The keys of all items: the only module that knows the layout of the table. Each module encodes and decodes the
//! attributes of its own items.
//!
//! | what | pk | sk |
//! |---|---|---|
//! | evidence | `image#<repository>@<digest>` | `placement#<registry>#<tag, or nothing>` |
//! | fact | `image#…`, or `repository#<repository>`, or `registry#<registry>` | `fact#<time>#<registry>#<event id>` |
//! | tag assignment | `tag#<repository>:<tag>` | `<registry>#set#<time>#<digest>` or `<registry>#removed#…` |
//! | deletion of a repository | `repository#<repository>` | `deleted#<registry>` |
//! | registry, and its replication settings as last read | `registries` | `<registry>` |
//! | work item: the source lost the image or a tag, or a replica arrived after that | `image#…` | `loss#<source>` |
//! | work item: a copy from the source failed | `image#…` | `failure#<source>#<tag, or nothing>` |
//! | work item: a replica was deleted whose source has the image | `image#…` | `replica-deleted#<registry>` |
//! | expectation: the copies that a push should cause | `image#…` | `expect#<source>#<tag, or nothing>` |
//! | deletion | `image#…` | `deletion#<registry of the replica>#<tag, or nothing>` |
//! | breaker | `breaker#<source>` | `state` |
//! | count of a breaker | `breaker#<source>` | `count#<class>#<registry of the replicas>#<repository>` |
//! | pause of a source, or of all | `controls` | `pause#<source, or nothing>` |
//! | hold | `controls` | `hold#<id>` |
//! | list of images in use | `usage` | `list#<name>` |
//! | act of an operator | `act#<day>` | `<time>#<action>#<hash>` |
//! | alert | `alert#<day>` | the id of the alert |
//! | incident: a problem that lasts, or occurrences that are counted | `incidents` | `<kind>#<source>#<destination>` |
//! | what operators said about an incident | `incidents` | `response#<id of the incident>` |
//! | heartbeat: when the last heartbeat and event of a registry arrived | `heartbeats` | `<registry>` |
//! | the last restore drill | `drills` | `restore` |
//! | run of `reconcile` through a registry | `runs` | `<registry>` |
//! | the last result of `reconcile` for a repository | `tasks#<registry>` | `<repository>` |
//! | what the last listing saw of a repository, in parts | `inventory#<registry>` | `<repository>#<first digits of the digests>` |
//! | lease: one `mirror`, one `watch`, one `reconcile` at a time | `mirror`, `watch` or `reconcile` | `lease` |
//! | with what `mirror` runs | `mirror` | `settings` |
//!
//! Names contain no `#`. Times are RFC 3339 in UTC and whole seconds, so they sort as text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    activity::{ActivityKind, OperatorAct},
    alert::{self, AlertKind},
    breaker::{BreakerClass, CountKey},
    deletion::DeletionStatus,
    evidence::PlacementKey,
    fact::{Fact, Subject, What, WorkItem},
    image::{Image, MalformedError, Registry, RepositoryName, Tag},
    tag::{TagAssignment, TagName},
    time::whole_seconds,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Queue;

/// An item in the SDK's form.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Partition key and sort key.
pub(super) type Key = (String, String);

/// Why an item cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// The key has a form that this version does not write.
    #[error("the key has another form")]
    Key,
    /// A name in the key violates its grammar.
    #[error("a name in the key is malformed")]
    Name(#[from] MalformedError),
    /// An attribute is missing or of another type.
    #[error("an attribute is missing or of another type")]
    Attribute(#[from] serde_dynamo::Error),
    /// A line of an inventory has another form.
    #[error("line `{0}` has another form")]
    Line(String),
}

// Any item

/// An item with its key.
pub(super) fn with_key(mut item: Item, (pk, sk): Key) -> Item {
    item.insert("pk".into(), AttributeValue::S(pk));
    item.insert("sk".into(), AttributeValue::S(sk));
    item
}

/// The key of an item.
pub(super) fn key_of(item: &Item) -> Option<Key> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    Some((text("pk")?, text("sk")?))
}

/// Both keys of an item, for a message.
pub(super) fn display_key(item: &Item) -> String {
    let part = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    format!("{} {}", part("pk"), part("sk"))
}

/// Removes an attribute whose value is text from an item.
pub(super) fn take(item: &mut Item, attribute: &str) -> Result<String, ItemError> {
    match item.remove(attribute) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(ItemError::Key),
    }
}

/// Removes an attribute whose value is a time from an item.
pub(super) fn take_time(item: &mut Item, attribute: &str) -> Result<Timestamp, ItemError> {
    time_of(&take(item, attribute)?)
}

pub(super) fn time_of(text: &str) -> Result<Timestamp, ItemError> {
    text.parse().map_err(|_| ItemError::Key)
}

/// A time as a sort key: rounded up to whole seconds, so that nothing is due too early.
pub(super) fn sort_key_of_time(time: Timestamp) -> String {
    let seconds = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(seconds).unwrap_or(time).to_string()
}

/// A tag as a part of a key: nothing if the item is about the image itself.
fn tag_text(tag: Option<&Tag>) -> &str {
    tag.map_or("", Tag::as_str)
}

fn tag_of(text: &str) -> Result<Option<Tag>, ItemError> {
    Ok(if text.is_empty() { None } else { Some(text.parse()?) })
}

/// All of a partition, as a range of sort keys.
pub(super) const EVERYTHING: (&str, &str) = (" ", "~");

// The partition of an image

/// The evidence in an image's partition, as a range of sort keys.
pub(super) const PLACEMENTS: (&str, &str) = ("placement#", "placement#~");

/// The expectations in an image's partition, as a range of sort keys.
pub(super) const EXPECTATIONS: (&str, &str) = ("expect#", "expect#~");

pub(super) fn pk_of_image(image: &Image) -> String {
    format!("image#{image}")
}

pub(super) fn image_of(pk: &str) -> Result<Image, ItemError> {
    Ok(pk.strip_prefix("image#").ok_or(ItemError::Key)?.parse()?)
}

/// The kind of an item in the partition of an image.
pub(super) enum ImageItemKind {
    Evidence,
    Fact,
    WorkItem,
    Deletion,
    Expectation,
}

pub(super) fn image_item_kind(item: &Item) -> Option<ImageItemKind> {
    let (kind, _) = item.get("sk")?.as_s().ok()?.split_once('#')?;
    match kind {
        "placement" => Some(ImageItemKind::Evidence),
        "fact" => Some(ImageItemKind::Fact),
        "loss" | "failure" | "replica-deleted" => Some(ImageItemKind::WorkItem),
        "deletion" => Some(ImageItemKind::Deletion),
        "expect" => Some(ImageItemKind::Expectation),
        _ => None,
    }
}

pub(super) fn key_of_placement(name: &PlacementKey) -> Key {
    (pk_of_image(&name.image), sort_key_of_placement(name))
}

pub(super) fn sort_key_of_placement(name: &PlacementKey) -> String {
    format!("placement#{}#{}", name.registry, tag_text(name.tag.as_ref()))
}

/// The name of evidence in the registry index.
pub(super) fn index_name(name: &PlacementKey) -> String {
    format!("{}{}", index_prefix(&name.image), tag_text(name.tag.as_ref()))
}

/// The prefix of the names of one image's entries in the registry index. No other image's entries have it.
pub(super) fn index_prefix(image: &Image) -> String {
    format!("{image}#")
}

/// The key of the evidence with a name in the registry index.
pub(super) fn placement_of(registry: Registry, index_name: &str) -> Result<PlacementKey, ItemError> {
    let (image, tag) = index_name.split_once('#').ok_or(ItemError::Key)?;
    let tag = tag_of(tag)?;
    Ok(PlacementKey { image: image.parse()?, registry, tag })
}

pub(super) fn key_of_work_item(image: &Image, work_item: &WorkItem) -> Key {
    let sk = match work_item {
        WorkItem::SourceLost(source) => format!("loss#{source}"),
        WorkItem::ReplicationFailed(source, tag) => format!("failure#{source}#{}", tag_text(tag.as_ref())),
        WorkItem::ReplicaDeleted(registry) => format!("replica-deleted#{registry}"),
    };
    (pk_of_image(image), sk)
}

pub(super) fn work_item_of(sk: &str) -> Result<WorkItem, ItemError> {
    let mut parts = sk.splitn(3, '#');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("loss"), Some(source), None) => Ok(WorkItem::SourceLost(source.parse()?)),
        (Some("replica-deleted"), Some(registry), None) => Ok(WorkItem::ReplicaDeleted(registry.parse()?)),
        (Some("failure"), Some(source), Some(tag)) => Ok(WorkItem::ReplicationFailed(source.parse()?, tag_of(tag)?)),
        _ => Err(ItemError::Key),
    }
}

/// The key of the expectation of a push to a source.
pub(super) fn key_of_expectation(image: &Image, source: &Registry, tag: Option<&Tag>) -> Key {
    (pk_of_image(image), format!("expect#{source}#{}", tag_text(tag)))
}

/// The source and the tag of the push of an expectation.
pub(super) fn expectation_of(sk: &str) -> Result<(Registry, Option<Tag>), ItemError> {
    let (source, tag) = sk.strip_prefix("expect#").and_then(|names| names.split_once('#')).ok_or(ItemError::Key)?;
    Ok((source.parse()?, tag_of(tag)?))
}

/// The key of the deletion of an image, or of a tag of it, in the registry of a replica.
pub(super) fn key_of_deletion(image: &Image, registry: &Registry, tag: Option<&Tag>) -> Key {
    (pk_of_image(image), format!("deletion#{registry}#{}", tag_text(tag)))
}

/// The registry of the replica and the tag of a deletion.
pub(super) fn deletion_of(sk: &str) -> Result<(Registry, Option<Tag>), ItemError> {
    let mut parts = sk.split('#').skip(1);
    let registry = parts.next().ok_or(ItemError::Key)?.parse()?;
    Ok((registry, tag_of(parts.next().unwrap_or_default())?))
}

/// The partition key of deletions in the deletion index.
pub(super) fn status_key(status: DeletionStatus, source: &Registry) -> String {
    format!("{}#{source}", status.as_str())
}

// Facts, and deletions of repositories

pub(super) fn key_of_fact(fact: &Fact) -> Key {
    let Fact { time, registry, event_id, .. } = fact;
    // The deletions of a repository are read with each of its images.
    let sk = match &fact.what {
        What::RepositoryDeleted { .. } => format!("deleted#{registry}#{time}#{event_id}"),
        _ => format!("fact#{time}#{registry}#{event_id}"),
    };
    (pk_of_facts(&fact.subject, registry), sk)
}

pub(super) fn pk_of_facts(subject: &Subject, registry: &Registry) -> String {
    match subject {
        Subject::Image(image) => pk_of_image(image),
        Subject::Repository(repository) => pk_of_repository(repository),
        Subject::Registry => format!("registry#{registry}"),
    }
}

pub(super) fn pk_of_repository(repository: &RepositoryName) -> String {
    format!("repository#{repository}")
}

/// The deletions in a repository's partition, as a range of sort keys.
pub(super) const DELETIONS_OF_REPOSITORY: (&str, &str) = ("deleted#", "deleted#~");

/// The facts of a partition since a time, deletions of repositories excepted, as a range of sort keys.
pub(super) fn facts_since(time: Timestamp) -> (String, &'static str) {
    (format!("fact#{time}"), "fact#~")
}

pub(super) fn subject_of(pk: &str) -> Result<Subject, ItemError> {
    match pk.split_once('#') {
        Some(("image", image)) => Ok(Subject::Image(image.parse()?)),
        Some(("repository", repository)) => Ok(Subject::Repository(repository.parse()?)),
        Some(("registry", _)) => Ok(Subject::Registry),
        _ => Err(ItemError::Key),
    }
}

// Tag assignments

pub(super) fn pk_of_tag(name: &TagName) -> String {
    format!("tag#{}:{}", name.repository, name.tag)
}

pub(super) fn key_of_assignment(name: &TagName, assignment: &TagAssignment) -> Key {
    let what = if assignment.set { "set" } else { "removed" };
    (pk_of_tag(name), format!("{}#{what}#{}#{}", assignment.registry, assignment.time, assignment.digest))
}

pub(super) fn assignment_of(sk: &str) -> Result<TagAssignment, ItemError> {
    let mut parts = sk.splitn(4, '#');
    let (Some(registry), Some(what), Some(time), Some(digest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ItemError::Key);
    };
    let time = time_of(time)?;
    Ok(TagAssignment { registry: registry.parse()?, time, digest: digest.parse()?, set: what == "set" })
}

/// All settings of a tag in a registry, as a range of sort keys.
pub(super) fn settings_of_tag(registry: &Registry) -> (String, String) {
    (format!("{registry}#set#"), format!("{registry}#set#~"))
}

/// The settings of a tag before and after the second of an assignment, as two ranges of sort keys. `#` sorts before,
/// and `~` after, every character of a name.
pub(super) fn adjacent_ranges(assignment: &TagAssignment) -> ((String, String), (String, String)) {
    let (set, end) = settings_of_tag(&assignment.registry);
    let before = (set.clone(), format!("{set}{}", assignment.time));
    let after = (format!("{set}{}~", assignment.time), end);
    (before, after)
}

// Breakers

/// The sort key of the state of a breaker.
pub(super) const BREAKER_STATE: &str = "state";

pub(super) fn pk_of_breaker(source: &Registry) -> String {
    format!("breaker#{source}")
}

pub(super) fn sort_key_of_count(place: &CountKey) -> String {
    format!("count#{}#{}#{}", place.class.as_str(), place.registry, place.repository)
}

pub(super) fn count_of(sk: &str) -> Result<CountKey, ItemError> {
    let mut parts = sk.splitn(4, '#');
    let (Some("count"), Some(class), Some(registry), Some(repository)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ItemError::Key);
    };
    let class = BreakerClass::ALL.into_iter().find(|known| known.as_str() == class).ok_or(ItemError::Key)?;
    Ok(CountKey { class, registry: registry.parse()?, repository: repository.parse()? })
}

// Pauses and holds

/// The partition key of all pauses and holds.
const CONTROLS: &str = "controls";

/// All pauses and holds, as a partition key.
pub(super) fn pk_of_controls() -> String {
    CONTROLS.to_owned()
}

/// The beginning of the sort keys of pauses.
const PAUSE: &str = "pause#";

pub(super) fn key_of_pause(source: Option<&Registry>) -> Key {
    (pk_of_controls(), format!("{PAUSE}{}", source.map(Registry::as_str).unwrap_or_default()))
}

/// Whether a sort key is that of a pause, and not of a hold.
pub(super) fn is_pause(sk: &str) -> bool {
    sk.starts_with(PAUSE)
}

pub(super) fn key_of_hold(id: &str) -> Key {
    (pk_of_controls(), format!("hold#{id}"))
}

// Images in use

/// All lists of images in use, as a partition key.
pub(super) fn pk_of_usage_lists() -> String {
    "usage".to_owned()
}

pub(super) fn key_of_usage_list(name: &str) -> Key {
    (pk_of_usage_lists(), format!("list#{name}"))
}

// Activity

/// The number of shards of a kind in the activity index: 5,000 pushes a second are 313 writes to each of theirs, and 4,000
/// deletions 500; a partition takes 1,000.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>
pub(super) fn activity_shards(kind: ActivityKind) -> u8 {
    match kind {
        ActivityKind::Pushed => 16,
        ActivityKind::ImageDeleted | ActivityKind::TagsDeleted | ActivityKind::Archived => 8,
        ActivityKind::RepositoryDeleted
        | ActivityKind::Attempted
        | ActivityKind::Restored
        | ActivityKind::Changed
        | ActivityKind::Observed
        | ActivityKind::Operator => 4,
    }
}

/// The number of bytes of the hash in a sort key: it keeps apart what happened in the same second.
const HASH_BYTES: usize = 8;

/// The partition key in the activity index.
pub(super) fn activity_key(kind: ActivityKind, shard: u8) -> String {
    format!("{}#{shard}", kind.as_str())
}

/// An item with the keys of the activity index: its shard and its place among what happened in the same second follow
/// from its own key.
pub(super) fn in_activity_index(mut item: Item, kind: ActivityKind, time: Timestamp) -> Item {
    let hash = Sha256::digest(display_key(&item));
    let shard = hash.first().copied().unwrap_or_default() % activity_shards(kind);
    let hash: String = hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    item.insert("activity".into(), AttributeValue::S(activity_key(kind, shard)));
    item.insert("happened".into(), AttributeValue::S(format!("{}#{hash}", whole_seconds(time))));
    item
}

/// The bounds of a period in the activity index: what happened at `since` is in it, what happened at `until` is not.
pub(super) fn period(since: Timestamp, until: Option<Timestamp>) -> (String, String) {
    (whole_seconds(since).to_string(), until.map_or_else(|| "~".to_owned(), sort_key_of_time))
}

/// The beginning of the partition keys of acts. No other partition key has it.
const ACTS: &str = "act#";

pub(super) fn key_of_act(act: &OperatorAct) -> Key {
    let OperatorAct { time, action, by, registry, pattern, tag, incident, .. } = act;
    let about = [
        registry.as_ref().map(ToString::to_string),
        pattern.as_ref().map(ToString::to_string),
        tag.as_ref().map(ToString::to_string),
        incident.clone(),
    ];
    let hash = Sha256::digest(format!("{by}\n{about:?}"));
    let hash: String = hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    (format!("{ACTS}{}", alert::day(*time)), format!("{time}#{}#{hash}", action.as_str()))
}

/// Whether an item is an act of an operator.
pub(super) fn is_act(item: &Item) -> bool {
    item.get("pk").and_then(|pk| pk.as_s().ok()).is_some_and(|pk| pk.starts_with(ACTS))
}

// Alerts and incidents

/// The prefix of the partition keys of alerts. No other partition key has it.
const ALERTS: &str = "alert#";

pub(super) fn pk_of_alerts(time: Timestamp) -> String {
    format!("{ALERTS}{}", alert::day(time))
}

/// Whether an item, or its key alone, is that of an alert.
pub(super) fn is_alert(item: &Item) -> bool {
    item.get("pk").and_then(|pk| pk.as_s().ok()).is_some_and(|pk| pk.starts_with(ALERTS))
}

/// The partition key of all incidents.
pub(super) const INCIDENTS: &str = "incidents";

/// The beginning of the sort keys of what operators said about incidents, beside these.
const RESPONSE: &str = "response#";

pub(super) fn key_of_response(incident: &str) -> Key {
    (INCIDENTS.to_owned(), format!("{RESPONSE}{incident}"))
}

/// The ID of the incident, if the item is what operators said about it.
pub(super) fn response_of(item: &Item) -> Option<String> {
    item.get("sk")?.as_s().ok()?.strip_prefix(RESPONSE).map(str::to_owned)
}

pub(super) fn sort_key_of_incident(kind: AlertKind, source: &Registry, destination: &Registry) -> String {
    format!("{}#{source}#{destination}", kind.as_str())
}

// Registries, and runs of `reconcile`

/// The partition key of all registries.
pub(super) const REGISTRIES: &str = "registries";

/// The partition key of all runs.
pub(super) const RUNS: &str = "runs";

pub(super) fn pk_of_tasks(registry: &Registry) -> String {
    format!("tasks#{registry}")
}

pub(super) fn pk_of_inventory(registry: &Registry) -> String {
    format!("inventory#{registry}")
}

/// The key of the part of an inventory with the images whose digests begin with these digits.
pub(super) fn key_of_inventory(registry: &Registry, repository: &RepositoryName, digits: &str) -> Key {
    (pk_of_inventory(registry), format!("{repository}#{digits}"))
}

/// The repository of a part of an inventory, and the first digits of its digests.
pub(super) fn inventory_of(sk: &str) -> Result<(RepositoryName, &str), ItemError> {
    let (repository, digits) = sk.split_once('#').ok_or(ItemError::Key)?;
    Ok((repository.parse()?, digits))
}

// Functions

/// The sort key of the lease in the partition of a function.
pub(super) const LEASE: &str = "lease";

/// The sort key of what a function runs with, in the partition of the function.
pub(super) const SETTINGS: &str = "settings";

pub(super) fn key_of_mirror_settings() -> Key {
    (Queue::Mirror.as_str().to_owned(), SETTINGS.to_owned())
}
