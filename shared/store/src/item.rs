//! Items and their keys: the only module that knows the layout of the table.
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
//! | alert | `alert#<day>` | the id of the alert |
//! | incident: a problem that lasts, or occurrences that are counted | `incidents` | `<kind>#<source>#<destination>` |
//! | run of `reconcile` through a registry | `runs` | `<registry>` |
//! | the last result of `reconcile` for a repository | `tasks#<registry>` | `<repository>` |
//! | lease: one `mirror`, one `watch`, one `reconcile` at a time | `mirror`, `watch` or `reconcile` | `lease` |
//!
//! Names contain no `#`. Times are RFC 3339 in UTC and whole seconds, so they sort as text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    alert::{self, Alert, AlertKind, Incident},
    breaker::{Breaker, BreakerClass, Count, CountKey},
    deletion::{Deletion, DeletionStatus},
    evidence::{Evidence, PlacementKey},
    expectation::{self, ReplicationExpectation},
    fact::{Fact, Subject},
    image::{Image, MalformedError, Registry, RepositoryName, Tag},
    replication::ReplicationSettings,
    tag::{TagAssignment, TagName},
};
use jiff::Timestamp;

use super::{
    deletion::Listed,
    reconcile::{ReconcileRun, RepositoryTask},
};

/// An item in the SDK's form.
pub(super) type Item = HashMap<String, AttributeValue>;

/// All of an image's partition, as a range of sort keys.
pub(super) const EVERYTHING: (&str, &str) = (" ", "~");

/// All of a partition, as a range of sort keys.
pub(super) fn everything() -> (String, String) {
    (EVERYTHING.0.to_owned(), EVERYTHING.1.to_owned())
}

/// The evidence in an image's partition, as a range of sort keys.
pub(super) const PLACEMENTS: (&str, &str) = ("placement#", "placement#~");

/// The expectations in an image's partition, as a range of sort keys.
pub(super) const EXPECTATIONS: (&str, &str) = ("expect#", "expect#~");

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
}

pub(super) fn pk_of_image(image: &Image) -> String {
    format!("image#{image}")
}

pub(super) fn pk_of_tag(name: &TagName) -> String {
    format!("tag#{}:{}", name.repository, name.tag)
}

pub(super) fn key_of_placement(name: &PlacementKey) -> (String, String) {
    (pk_of_image(&name.image), sort_key_of_placement(name))
}

pub(super) fn sort_key_of_placement(name: &PlacementKey) -> String {
    format!("placement#{}#{}", name.registry, name.tag.as_ref().map_or("", |tag| tag.as_str()))
}

pub(super) fn key_of_repository_deletion(repository: &RepositoryName, registry: &Registry) -> (String, String) {
    (format!("repository#{repository}"), format!("deleted#{registry}"))
}

/// Both keys of an item, for a message.
pub(super) fn display_key(item: &Item) -> String {
    let part = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    format!("{} {}", part("pk"), part("sk"))
}

fn with_key(mut item: Item, pk: String, sk: String) -> Item {
    item.insert("pk".into(), AttributeValue::S(pk));
    item.insert("sk".into(), AttributeValue::S(sk));
    item
}

// Facts

pub(super) fn fact(fact: &Fact) -> Result<Item, ItemError> {
    let pk = match &fact.subject {
        Subject::Image(image) => pk_of_image(image),
        Subject::Repository(repository) => format!("repository#{repository}"),
        Subject::Registry => format!("registry#{}", fact.registry),
    };
    let sk = format!("fact#{}#{}#{}", fact.time, fact.registry, fact.event_id);
    Ok(with_key(serde_dynamo::to_item(fact)?, pk, sk))
}

/// The newest deletion of a repository in a registry: the fact itself, under a key that the read of an image uses.
pub(super) fn repository_deletion(repository: &RepositoryName, fact: &Fact) -> Result<Item, ItemError> {
    let (pk, sk) = key_of_repository_deletion(repository, &fact.registry);
    Ok(with_key(serde_dynamo::to_item(fact)?, pk, sk))
}

pub(super) fn read_fact(mut item: Item) -> Result<Fact, ItemError> {
    let subject = match take(&mut item, "pk")?.split_once('#') {
        Some(("image", image)) => Subject::Image(image.parse()?),
        Some(("repository", repository)) => Subject::Repository(repository.parse()?),
        Some(("registry", _)) => Subject::Registry,
        _ => return Err(ItemError::Key),
    };
    item.remove("sk");
    let fact: Fact = serde_dynamo::from_item(item)?;
    Ok(Fact { subject, ..fact })
}

// Evidence

pub(super) fn evidence(name: &PlacementKey, evidence: &Evidence) -> Result<Item, ItemError> {
    let (pk, sk) = key_of_placement(name);
    let mut item = with_key(serde_dynamo::to_item(evidence)?, pk, sk);
    item.insert("registry".into(), AttributeValue::S(name.registry.to_string()));
    item.insert("name".into(), AttributeValue::S(index_name(name)));
    Ok(item)
}

fn index_name(name: &PlacementKey) -> String {
    format!("{}{}", index_prefix(&name.image), name.tag.as_ref().map_or("", |tag| tag.as_str()))
}

/// The prefix of the names of one image's entries in the registry index. No other image's entries have it.
pub(super) fn index_prefix(image: &Image) -> String {
    format!("{image}#")
}

/// Reads evidence from the table or from the registry index, which has the same attributes except `moved`.
pub(super) fn read_evidence(mut item: Item) -> Result<(PlacementKey, Evidence), ItemError> {
    let registry = take(&mut item, "registry")?.parse()?;
    let name = take(&mut item, "name")?;
    let (image, tag) = name.split_once('#').ok_or(ItemError::Key)?;
    let tag = if tag.is_empty() { None } else { Some(tag.parse()?) };
    let name = PlacementKey { image: image.parse()?, registry, tag };
    item.remove("pk");
    item.remove("sk");
    Ok((name, serde_dynamo::from_item(item)?))
}

/// A condition that holds while an item is as it was read.
pub(super) struct Condition {
    pub(super) expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// The condition that stored evidence has not changed. Evidence needs no version number: equal evidence is as good.
pub(super) fn unchanged(stored: &Evidence) -> Result<Condition, ItemError> {
    if *stored == Evidence::default() {
        let expression = "attribute_not_exists(pk)".to_owned();
        return Ok(Condition { expression, names: HashMap::new(), values: Item::new() });
    }
    let mut stored: Item = serde_dynamo::to_item(stored)?;
    let mut condition = Condition { expression: String::new(), names: HashMap::new(), values: Item::new() };
    for attribute in ["pushed", "replicated", "seen", "removed", "archived", "moved"] {
        let clause = match stored.remove(attribute) {
            Some(value) => {
                condition.values.insert(format!(":{attribute}"), value);
                format!("#{attribute} = :{attribute}")
            }
            None => format!("attribute_not_exists(#{attribute})"),
        };
        condition.names.insert(format!("#{attribute}"), attribute.to_owned());
        if !condition.expression.is_empty() {
            condition.expression.push_str(" AND ");
        }
        condition.expression.push_str(&clause);
    }
    debug_assert!(stored.is_empty(), "an attribute of evidence that no condition guards: {stored:?}");
    Ok(condition)
}

// Tag assignments

pub(super) fn assignment(name: &TagName, assignment: &TagAssignment) -> Item {
    let what = if assignment.set { "set" } else { "removed" };
    let sk = format!("{}#{what}#{}#{}", assignment.registry, assignment.time, assignment.digest);
    with_key(Item::new(), pk_of_tag(name), sk)
}

pub(super) fn read_assignment(mut item: Item) -> Result<TagAssignment, ItemError> {
    let sk = take(&mut item, "sk")?;
    let mut parts = sk.splitn(4, '#');
    let (Some(registry), Some(what), Some(time), Some(digest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ItemError::Key);
    };
    let time = time.parse().map_err(|_| ItemError::Key)?;
    Ok(TagAssignment { registry: registry.parse()?, time, digest: digest.parse()?, set: what == "set" })
}

/// The settings of a tag before and after the second of an assignment, as two ranges of sort keys. `#` sorts before,
/// and `~` after, every character of a name.
pub(super) fn adjacent_ranges(assignment: &TagAssignment) -> ((String, String), (String, String)) {
    let (set, end) = settings_of_tag(&assignment.registry);
    let before = (set.clone(), format!("{set}{}", assignment.time));
    let after = (format!("{set}{}~", assignment.time), end);
    (before, after)
}

/// All settings of a tag in a registry, as a range of sort keys.
pub(super) fn settings_of_tag(registry: &Registry) -> (String, String) {
    (format!("{registry}#set#"), format!("{registry}#set#~"))
}

// Work

/// The queues of due items, one for each function that processes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Deletions, and the losses that cause them.
    Mirror,
    /// Expected copies, failed copies, deleted replicas, and the replication settings of registries.
    Watch,
    /// Reconciliation of registries. It has only a lease, no items.
    Reconcile,
}

impl Queue {
    /// The name of the queue: the function whose work it holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Watch => "watch",
            Self::Reconcile => "reconcile",
        }
    }
}

/// The number of shards of a queue in the due index. An image's shard depends on its digest, so that many items that
/// are due at once are not in one partition.
pub(super) const SHARDS: u32 = 4;

/// The due time of a new work item: immediately. It is a constant, so that the order in which events arrive has no
/// effect on the item.
const DUE_IMMEDIATELY: &str = "1970-01-01T00:00:00Z";

pub(super) fn queue_shard(queue: Queue, shard: u32) -> String {
    format!("{}#{shard}", queue.as_str())
}

fn queue_of(queue: Queue, image: &Image) -> String {
    let sum: u32 = image.digest.as_str().bytes().map(u32::from).sum();
    queue_shard(queue, sum % SHARDS)
}

/// A time as a sort key: rounded up to whole seconds, so that nothing is due too early.
pub(super) fn sort_key_of_time(time: Timestamp) -> String {
    let seconds = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(seconds).unwrap_or(time).to_string()
}

/// Something about an image that a function has to process immediately.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkItem {
    /// A source lost the image or a tag of it, or a replica arrived after that.
    SourceLost(Registry),
    /// A copy from a source failed.
    ReplicationFailed(Registry, Option<Tag>),
    /// A replica was deleted although its source is recorded as having the image.
    ReplicaDeleted(Registry),
}

impl WorkItem {
    fn queue(&self) -> Queue {
        match self {
            Self::SourceLost(_) => Queue::Mirror,
            Self::ReplicationFailed(..) | Self::ReplicaDeleted(_) => Queue::Watch,
        }
    }

    pub(super) fn sort_key(&self) -> String {
        match self {
            Self::SourceLost(source) => format!("loss#{source}"),
            Self::ReplicationFailed(source, tag) => format!("failure#{source}#{}", tag_text(tag.as_ref())),
            Self::ReplicaDeleted(registry) => format!("replica-deleted#{registry}"),
        }
    }
}

fn tag_text(tag: Option<&Tag>) -> &str {
    tag.map_or("", Tag::as_str)
}

fn read_tag(text: &str) -> Result<Option<Tag>, ItemError> {
    Ok(if text.is_empty() { None } else { Some(text.parse()?) })
}

/// Puts an item into a queue, due at a time.
fn queued(mut item: Item, queue: String, due: String) -> Item {
    item.insert("queue".into(), AttributeValue::S(queue));
    item.insert("due".into(), AttributeValue::S(due));
    item
}

pub(super) fn work_item(image: &Image, work_item: &WorkItem) -> Item {
    queued(work_item_completed(image, work_item), queue_of(work_item.queue(), image), DUE_IMMEDIATELY.into())
}

/// A work item that a function has claimed: due again at the time by which it should be completed.
pub(super) fn work_item_claimed(image: &Image, work_item: &WorkItem, until: Timestamp) -> Item {
    queued(work_item_completed(image, work_item), queue_of(work_item.queue(), image), sort_key_of_time(until))
}

/// A work item that is completed: it is in no queue.
pub(super) fn work_item_completed(image: &Image, work_item: &WorkItem) -> Item {
    with_key(Item::new(), pk_of_image(image), work_item.sort_key())
}

pub(super) fn lease(queue: Queue, owner: &str, until: Timestamp) -> Item {
    let mut item = with_key(Item::new(), queue.as_str().into(), "lease".into());
    item.insert("owner".into(), AttributeValue::S(owner.to_owned()));
    item.insert("until".into(), AttributeValue::S(sort_key_of_time(until)));
    item
}

// Deletions

/// The key of an item that an index returned.
pub(super) fn key(mut item: Item) -> Option<(String, String)> {
    Some((take(&mut item, "pk").ok()?, take(&mut item, "sk").ok()?))
}

/// The key of an item, without consuming it.
pub(super) fn key_of(item: &Item) -> Option<(String, String)> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    Some((text("pk")?, text("sk")?))
}

pub(super) fn key_of_deletion(deletion: &Deletion) -> (String, String) {
    (pk_of_image(&deletion.image), sort_key_of_deletion(&deletion.registry, deletion.tag.as_ref()))
}

fn sort_key_of_deletion(registry: &Registry, tag: Option<&Tag>) -> String {
    format!("deletion#{registry}#{}", tag_text(tag))
}

/// The start key of the list of deletions after one of them.
pub(super) fn start_of_deletions(listed: &Listed, status_key: &str) -> Item {
    let key = Item::from([
        ("status_key".into(), AttributeValue::S(status_key.to_owned())),
        ("changed_at".into(), AttributeValue::S(listed.changed_at.to_string())),
    ]);
    let sk = sort_key_of_deletion(&listed.registry, listed.tag.as_ref());
    with_key(key, pk_of_image(&listed.image), sk)
}

/// Reads the index entry of a deletion.
pub(super) fn read_listed(mut item: Item) -> Result<Listed, ItemError> {
    let (pk, sk) = (take(&mut item, "pk")?, take(&mut item, "sk")?);
    let image = pk.strip_prefix("image#").ok_or(ItemError::Key)?.parse()?;
    let mut parts = sk.split('#').skip(1);
    let registry = parts.next().ok_or(ItemError::Key)?.parse()?;
    let tag = read_tag(parts.next().unwrap_or_default())?;
    let changed_at = take(&mut item, "changed_at")?.parse().map_err(|_| ItemError::Key)?;
    Ok(Listed { image, registry, tag, changed_at })
}

pub(super) fn status_key(status: DeletionStatus, source: &Registry) -> String {
    format!("{}#{source}", status.as_str())
}

pub(super) fn deletion(deletion: &Deletion) -> Result<Item, ItemError> {
    let (pk, sk) = key_of_deletion(deletion);
    let mut item = with_key(serde_dynamo::to_item(deletion)?, pk, sk);
    item.insert("status_key".into(), AttributeValue::S(status_key(deletion.status, &deletion.source)));
    Ok(match deletion.due {
        Some(due) => queued(item, queue_of(Queue::Mirror, &deletion.image), sort_key_of_time(due)),
        None => item,
    })
}

pub(super) fn read_deletion(item: Item) -> Result<Deletion, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
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

/// The due time of an item in a queue.
pub(super) fn read_due_time(mut item: Item) -> Result<Timestamp, ItemError> {
    take(&mut item, "due")?.parse().map_err(|_| ItemError::Key)
}

/// A due item in a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DueItem {
    WorkItem(Image, WorkItem),
    Deletion(Image),
    Expectation(Image),
    Settings(Registry),
}

pub(super) fn read_due(mut item: Item) -> Result<DueItem, ItemError> {
    let (pk, sk) = (take(&mut item, "pk")?, take(&mut item, "sk")?);
    if pk == REGISTRIES {
        return Ok(DueItem::Settings(sk.parse()?));
    }
    let image: Image = pk.strip_prefix("image#").ok_or(ItemError::Key)?.parse()?;
    match sk.split_once('#') {
        Some(("loss" | "failure" | "replica-deleted", _)) => Ok(DueItem::WorkItem(image, work_item_of(&sk)?)),
        Some(("deletion", _)) => Ok(DueItem::Deletion(image)),
        Some(("expect", _)) => Ok(DueItem::Expectation(image)),
        _ => Err(ItemError::Key),
    }
}

pub(super) fn read_work_item(mut item: Item) -> Result<WorkItem, ItemError> {
    work_item_of(&take(&mut item, "sk")?)
}

fn work_item_of(sort_key: &str) -> Result<WorkItem, ItemError> {
    let mut parts = sort_key.splitn(3, '#');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("loss"), Some(source), None) => Ok(WorkItem::SourceLost(source.parse()?)),
        (Some("replica-deleted"), Some(registry), None) => Ok(WorkItem::ReplicaDeleted(registry.parse()?)),
        (Some("failure"), Some(source), Some(tag)) => Ok(WorkItem::ReplicationFailed(source.parse()?, read_tag(tag)?)),
        _ => Err(ItemError::Key),
    }
}

// Expectations

pub(super) fn key_of_expectation(image: &Image, source: &Registry, tag: Option<&Tag>) -> (String, String) {
    (pk_of_image(image), format!("expect#{source}#{}", tag_text(tag)))
}

/// The item of an expectation that did not exist before the push.
pub(super) fn first_pushed((pk, sk): (String, String), image: &Image, since: Timestamp) -> Item {
    with_key(pushed(image, since), pk, sk)
}

/// Whether a push is newer than the one of a stored expectation: the condition under which [`pushed`] is written.
pub(super) fn is_newer(expectation: &Item, since: Timestamp) -> bool {
    let known = expectation.get("since").and_then(|since| since.as_s().ok());
    known.is_none_or(|known| *known < since.to_string())
}

/// The attributes that a push changes. All others are kept.
pub(super) fn pushed(image: &Image, since: Timestamp) -> Item {
    let due = since.saturating_add(expectation::EXPECTED_REPLICATION_TIME).unwrap_or(Timestamp::MAX);
    let item = Item::from([("since".to_owned(), AttributeValue::S(since.to_string()))]);
    queued(item, queue_of(Queue::Watch, image), sort_key_of_time(due))
}

pub(super) fn expectation(expectation: &ReplicationExpectation) -> Result<Item, ItemError> {
    let ReplicationExpectation { image, source, tag, since, due, state } = expectation;
    let (pk, sk) = key_of_expectation(image, source, tag.as_ref());
    let mut item = with_key(serde_dynamo::to_item(state)?, pk, sk);
    item.insert("since".into(), AttributeValue::S(since.to_string()));
    Ok(match due {
        Some(due) => queued(item, queue_of(Queue::Watch, image), sort_key_of_time(*due)),
        None => item,
    })
}

pub(super) fn read_expectation(mut item: Item) -> Result<ReplicationExpectation, ItemError> {
    let (pk, sk) = (take(&mut item, "pk")?, take(&mut item, "sk")?);
    let image = pk.strip_prefix("image#").ok_or(ItemError::Key)?.parse()?;
    let (source, tag) = sk.strip_prefix("expect#").and_then(|names| names.split_once('#')).ok_or(ItemError::Key)?;
    let time = |text: String| text.parse().map_err(|_| ItemError::Key);
    let since = time(take(&mut item, "since")?)?;
    let due = take(&mut item, "due").ok().map(time).transpose()?;
    item.remove("queue");
    Ok(ReplicationExpectation {
        image,
        source: source.parse()?,
        tag: read_tag(tag)?,
        since,
        due,
        state: serde_dynamo::from_item(item)?,
    })
}

// Breakers and alerts

pub(super) fn pk_of_breaker(source: &Registry) -> String {
    format!("breaker#{source}")
}

pub(super) fn breaker(source: &Registry, breaker: &Breaker) -> Result<Item, ItemError> {
    Ok(with_key(serde_dynamo::to_item(breaker)?, pk_of_breaker(source), "state".into()))
}

pub(super) fn sort_key_of_count(place: &CountKey) -> String {
    format!("count#{}#{}#{}", place.class.as_str(), place.registry, place.repository)
}

pub(super) fn count(source: &Registry, place: &CountKey, count: &Count) -> Result<Item, ItemError> {
    Ok(with_key(serde_dynamo::to_item(count)?, pk_of_breaker(source), sort_key_of_count(place)))
}

/// The state of a breaker, or one of its counts.
pub(super) enum BreakerPart {
    State(Breaker),
    Count(CountKey, Count),
}

pub(super) fn read_breaker(mut item: Item) -> Result<BreakerPart, ItemError> {
    let sk = take(&mut item, "sk")?;
    if sk == "state" {
        return Ok(BreakerPart::State(serde_dynamo::from_item(item)?));
    }
    let mut parts = sk.splitn(4, '#');
    let (Some("count"), Some(class), Some(registry), Some(repository)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ItemError::Key);
    };
    let class = [BreakerClass::Lifecycle, BreakerClass::Principals].into_iter().find(|known| known.as_str() == class);
    let place =
        CountKey { class: class.ok_or(ItemError::Key)?, registry: registry.parse()?, repository: repository.parse()? };
    Ok(BreakerPart::Count(place, serde_dynamo::from_item(item)?))
}

/// The prefix of the partition keys of alerts. No other partition key has it.
const ALERTS: &str = "alert#";

pub(super) fn pk_of_alerts(time: Timestamp) -> String {
    format!("{ALERTS}{}", alert::day(time))
}

/// Whether an item, or its key alone, is that of an alert.
pub(super) fn is_alert(item: &Item) -> bool {
    item.get("pk").and_then(|pk| pk.as_s().ok()).is_some_and(|pk| pk.starts_with(ALERTS))
}

pub(super) fn alert(alert: &Alert) -> Result<Item, ItemError> {
    Ok(with_key(serde_dynamo::to_item(alert)?, pk_of_alerts(alert.time), alert.id.clone()))
}

pub(super) fn read_alert(item: Item) -> Result<Alert, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}

/// The partition key of all incidents.
pub(super) const INCIDENTS: &str = "incidents";

pub(super) fn sort_key_of_incident(kind: AlertKind, source: &Registry, destination: &Registry) -> String {
    format!("{}#{source}#{destination}", kind.as_str())
}

pub(super) fn read_incident(item: Item) -> Result<Incident, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}

// Registries

/// The partition key of all registries.
pub(super) const REGISTRIES: &str = "registries";

/// A registry whose settings were never read: they are to be read immediately.
pub(super) fn registry(registry: &Registry) -> Item {
    with_key(settings_requested(), REGISTRIES.into(), registry.to_string())
}

/// The attributes of a registry whose settings are to be read immediately.
pub(super) fn settings_requested() -> Item {
    queued(Item::new(), queue_shard(Queue::Watch, 0), DUE_IMMEDIATELY.into())
}

/// A registry whose settings were read, and when they are to be read again.
pub(super) fn settings(
    registry: &Registry,
    settings: Option<&ReplicationSettings>,
    due: Timestamp,
) -> Result<Item, ItemError> {
    let item = settings.map(serde_dynamo::to_item).transpose()?.unwrap_or_default();
    let item = with_key(item, REGISTRIES.into(), registry.to_string());
    Ok(queued(item, queue_shard(Queue::Watch, 0), sort_key_of_time(due)))
}

/// A registry, its settings if they were ever read, and when they are due.
pub(super) fn read_registry(mut item: Item) -> Result<KnownRegistry, ItemError> {
    let registry = take(&mut item, "sk")?.parse()?;
    let due = take(&mut item, "due").unwrap_or_default();
    let settings = item.contains_key("routes").then(|| serde_dynamo::from_item(item)).transpose()?;
    Ok(KnownRegistry { registry, settings, due })
}

/// A registry from which events came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRegistry {
    /// The registry.
    pub registry: Registry,
    /// Its replication settings; `None` if they were never read.
    pub settings: Option<ReplicationSettings>,
    /// When the settings are to be read again, as stored.
    pub(super) due: String,
}

impl KnownRegistry {
    /// Whether no read of the settings was attempted since the last request.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.due == DUE_IMMEDIATELY
    }
}

// Runs of `reconcile`

/// The partition key of all runs.
pub(super) const RUNS: &str = "runs";

pub(super) fn run(registry: &Registry, run: &ReconcileRun) -> Result<Item, ItemError> {
    Ok(with_key(serde_dynamo::to_item(run)?, RUNS.into(), registry.to_string()))
}

pub(super) fn read_run(mut item: Item) -> Result<(Registry, ReconcileRun), ItemError> {
    let registry = take(&mut item, "sk")?.parse()?;
    Ok((registry, serde_dynamo::from_item(item)?))
}

pub(super) fn pk_of_tasks(registry: &Registry) -> String {
    format!("tasks#{registry}")
}

pub(super) fn task(registry: &Registry, repository: &RepositoryName, task: &RepositoryTask) -> Result<Item, ItemError> {
    Ok(with_key(serde_dynamo::to_item(task)?, pk_of_tasks(registry), repository.to_string()))
}

pub(super) fn read_task(mut item: Item) -> Result<(RepositoryName, RepositoryTask), ItemError> {
    let repository = take(&mut item, "sk")?.parse()?;
    Ok((repository, serde_dynamo::from_item(item)?))
}

fn take(item: &mut Item, attribute: &str) -> Result<String, ItemError> {
    match item.remove(attribute) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(ItemError::Key),
    }
}
