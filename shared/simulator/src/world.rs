//! The state of all registries, and their pending tasks.
//!
//! All state that is saved across restarts is changed in this module, so that no change is left unsaved.

mod layers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use domain::image::{Digest, Registry, RepositoryName, Tag};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    api::{
        registry_settings::{PullTimeExclusions, SigningConfiguration},
        scanning::ScanningConfiguration,
    },
    backfill::Backfill,
    clock::later,
    creation_template::CreationTemplate,
    event::heartbeat,
    manifest::Manifest,
    pull_through::PullThroughCache,
    queue::{Message, Queue, notification},
    replication::{CopyTask, DeletionTask, ReplicationConfiguration},
    repository::{ImageState, Repository, StoredImage},
    settings::Settings,
    trouble::{CallFate, Chance},
};

/// A repository in a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RepositoryId {
    pub(crate) registry: Registry,
    pub(crate) repository: RepositoryName,
}

impl RepositoryId {
    /// The repository of the same name in another registry.
    pub(crate) fn in_registry(&self, registry: &Registry) -> Self {
        Self { registry: registry.clone(), repository: self.repository.clone() }
    }

    pub(crate) fn arn(&self) -> String {
        self.registry.arn("ecr", &format!("repository/{}", self.repository))
    }
}

/// The keys of saved entries, in the order in which they must be loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Key {
    Counters,
    Manifest(Digest),
    Content(Digest),
    Registry(Registry),
    Repository(RepositoryId),
    Image(RepositoryId, Digest),
    Layer(RepositoryId, Digest),
    Task(u64),
    Message(u64),
}

/// The state of a registry as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RegistryState {
    pub(crate) replication: ReplicationConfiguration,
    pub(crate) policy: Option<String>,
    pub(crate) backfills: BTreeMap<String, Backfill>,
    pub(crate) account_settings: BTreeMap<String, String>,
    pub(crate) scanning: ScanningConfiguration,
    pub(crate) signing: Option<SigningConfiguration>,
    pub(crate) pull_time_exclusions: PullTimeExclusions,
    /// The creation templates by prefix, which ends with no `/`.
    pub(crate) templates: BTreeMap<String, CreationTemplate>,
    pub(crate) pull_through: PullThroughCache,
}

/// A pending task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum PendingTask {
    /// A copy arrives or fails.
    Copy(CopyTask),
    /// A deletion that ECR replicates natively arrives.
    Deletion(DeletionTask),
    /// The restore of an image from the archive ends.
    Activation { place: RepositoryId, digest: Digest },
    /// The lifecycle policy of a repository is evaluated.
    Lifecycle(RepositoryId),
    /// The next step of a backfill.
    Backfill { registry: Registry, id: String },
}

/// Counters that only increase, and the times of the newest change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Counters {
    tasks: u64,
    events: u64,
    messages: u64,
    calls: u64,
    copies: u64,
    heartbeats: u64,
    ids: u64,
    /// The time of the newest change; with `seconds_apart` it may be ahead of the clock.
    moment: Timestamp,
    /// The latest time that the clock may have shown.
    now: Timestamp,
}

/// An emitted event.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// The number of the event, from 1.
    pub number: u64,
    /// The event, as EventBridge would deliver it.
    pub event: Value,
    /// The number of deliveries; 0 if the event is lost.
    pub deliveries: usize,
}

/// The number of emitted events that can be listed; the queue stores its own messages.
const REMEMBERED: usize = 10_000;

/// The CloudTrail records that the rule of a registry's stack matches: those of changed images and settings.
const WANTED_RECORDS: [&str; 13] = [
    "BatchDeleteImage",
    "DeleteRepository",
    "PolicyExecutionEvent",
    "PutImage",
    "UpdateImageStorageClass",
    "PutReplicationConfiguration",
    "PutRegistryPolicy",
    "DeleteRegistryPolicy",
    "SetRepositoryPolicy",
    "DeleteRepositoryPolicy",
    "PutLifecyclePolicy",
    "DeleteLifecyclePolicy",
    "PutImageTagMutability",
];

/// The CloudTrail records that the rule matches if the call failed.
const WANTED_FAILURES: [&str; 2] = ["ReplicateImage", "CreateRepository"];

pub(crate) struct World {
    pub(crate) settings: Settings,
    /// The time up to which all tasks were processed.
    now: Timestamp,
    registries: BTreeMap<Registry, RegistryState>,
    repositories: BTreeMap<RepositoryId, Repository>,
    manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// The layers whose content is stored.
    contents: BTreeMap<Digest, layers::Content>,
    /// Those of them that no repository has any more.
    unneeded_contents: BTreeSet<Digest>,
    tasks: BTreeMap<u64, (Timestamp, PendingTask)>,
    due: BTreeSet<(Timestamp, u64)>,
    queue: Queue,
    counters: Counters,
    emitted: VecDeque<Emitted>,
    changed: BTreeSet<Key>,
}

impl World {
    pub(crate) fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            settings,
            now,
            registries: BTreeMap::new(),
            repositories: BTreeMap::new(),
            manifests: BTreeMap::new(),
            contents: BTreeMap::new(),
            unneeded_contents: BTreeSet::new(),
            tasks: BTreeMap::new(),
            due: BTreeSet::new(),
            queue: Queue::default(),
            counters: Counters::default(),
            emitted: VecDeque::new(),
            changed: BTreeSet::new(),
        }
    }

    // Time

    /// The time of the current change, the same for all its parts.
    pub(crate) fn moment(&self) -> Timestamp {
        self.counters.moment
    }

    /// Starts a change.
    pub(crate) fn begin(&mut self) {
        let second = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
        let last = self.counters.moment;
        self.counters.moment = if self.settings.seconds_apart {
            second(self.now).max(later(second(last), SignedDuration::from_secs(1)))
        } else {
            self.now.max(last)
        };
        self.counters.now = self.counters.now.max(self.now);
        self.changed.insert(Key::Counters);
    }

    /// Processes all tasks that are due by a time.
    pub(crate) fn advance(&mut self, to: Timestamp) {
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= to) {
            self.due.remove(&(at, id));
            self.changed.insert(Key::Task(id));
            let Some((_, task)) = self.tasks.remove(&id) else { continue };
            self.now = self.now.max(at);
            self.begin();
            self.perform(task);
        }
        self.now = self.now.max(to);
    }

    fn perform(&mut self, task: PendingTask) {
        match task {
            PendingTask::Copy(copy) => self.arrive(&copy),
            PendingTask::Deletion(deletion) => self.delete_replica(&deletion),
            PendingTask::Activation { place, digest } => self.activate(&place, &digest),
            PendingTask::Lifecycle(place) => self.evaluate_lifecycle_policy(&place),
            PendingTask::Backfill { registry, id } => self.go_on_with_backfill(&registry, &id),
        }
    }

    /// Saves a time that the clock has shown, or may show before it is saved again.
    pub(crate) fn keep_time(&mut self, time: Timestamp) {
        self.counters.now = self.counters.now.max(time);
        self.changed.insert(Key::Counters);
    }

    /// Schedules a task.
    pub(crate) fn plan(&mut self, at: Timestamp, task: PendingTask) {
        self.counters.tasks += 1;
        let id = self.counters.tasks;
        self.put_task(id, at, task);
        self.changed.insert(Key::Task(id));
    }

    fn put_task(&mut self, id: u64, at: Timestamp, task: PendingTask) {
        self.due.insert((at, id));
        self.tasks.insert(id, (at, task));
    }

    /// When the next task is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether an evaluation of a repository's lifecycle policy is scheduled.
    pub(crate) fn plans_lifecycle(&self, place: &RepositoryId) -> bool {
        self.tasks.values().any(|(_, task)| matches!(task, PendingTask::Lifecycle(of) if of == place))
    }

    // Randomness

    /// What the simulated faults do to the next call.
    pub(crate) fn fate_of_call(&mut self) -> CallFate {
        self.counters.calls += 1;
        self.changed.insert(Key::Counters);
        self.settings.trouble.of_call(&mut Chance::of(self.settings.seed, "call", self.counters.calls))
    }

    pub(crate) fn chance_of_copy(&mut self) -> Chance {
        self.counters.copies += 1;
        Chance::of(self.settings.seed, "copy", self.counters.copies)
    }

    /// A new unique id.
    pub(crate) fn new_id(&mut self) -> String {
        self.counters.ids += 1;
        self.changed.insert(Key::Counters);
        Chance::of(self.settings.seed, "id", self.counters.ids).id()
    }

    // Registries, repositories and images

    pub(crate) fn registry(&self, registry: &Registry) -> Option<&RegistryState> {
        self.registries.get(registry)
    }

    pub(crate) fn registry_mut(&mut self, registry: &Registry) -> &mut RegistryState {
        self.changed.insert(Key::Registry(registry.clone()));
        self.registries.entry(registry.clone()).or_default()
    }

    pub(crate) fn repositories(&self) -> &BTreeMap<RepositoryId, Repository> {
        &self.repositories
    }

    pub(crate) fn repository(&self, place: &RepositoryId) -> Option<&Repository> {
        self.repositories.get(place)
    }

    /// A repository whose settings will be changed; use the functions below to change its images.
    pub(crate) fn repository_mut(&mut self, place: &RepositoryId) -> Option<&mut Repository> {
        self.changed.insert(Key::Repository(place.clone()));
        self.repositories.get_mut(place)
    }

    pub(crate) fn put_repository(&mut self, place: &RepositoryId, repository: Repository) {
        self.changed.insert(Key::Repository(place.clone()));
        self.repositories.insert(place.clone(), repository);
    }

    pub(crate) fn remove_repository(&mut self, place: &RepositoryId) -> Option<Repository> {
        let repository = self.repositories.remove(place)?;
        self.changed.insert(Key::Repository(place.clone()));
        self.changed.extend(repository.images().keys().map(|digest| Key::Image(place.clone(), digest.clone())));
        for layer in repository.layers() {
            self.count_removed_layer(place, layer);
        }
        Some(repository)
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.manifests.get(digest).cloned()
    }

    pub(crate) fn put_image(&mut self, place: &RepositoryId, image: StoredImage) {
        let digest = image.manifest.digest.clone();
        if self.manifests.insert(digest.clone(), image.manifest.clone()).is_none() {
            self.changed.insert(Key::Manifest(digest.clone()));
        }
        self.changed.insert(Key::Image(place.clone(), digest));
        if let Some(repository) = self.repositories.get_mut(place) {
            repository.put(image);
        }
    }

    pub(crate) fn image_mut(&mut self, place: &RepositoryId, digest: &Digest) -> Option<&mut ImageState> {
        let image = self.repositories.get_mut(place)?.state_mut(digest)?;
        self.changed.insert(Key::Image(place.clone(), digest.clone()));
        Some(image)
    }

    pub(crate) fn set_tag(&mut self, place: &RepositoryId, tag: &Tag, digest: &Digest) {
        let Some(repository) = self.repositories.get_mut(place) else { return };
        let loser = repository.set_tag(tag, digest);
        for digest in loser.into_iter().chain([digest.clone()]) {
            self.changed.insert(Key::Image(place.clone(), digest));
        }
    }

    /// Removes a tag. Returns the image if it has no tag left.
    pub(crate) fn remove_tag(&mut self, place: &RepositoryId, tag: &Tag) -> Option<Digest> {
        let repository = self.repositories.get_mut(place)?;
        let digest = repository.tagged(tag)?.clone();
        self.changed.insert(Key::Image(place.clone(), digest));
        repository.remove_tag(tag)
    }

    pub(crate) fn remove_image(&mut self, place: &RepositoryId, digest: &Digest) -> Option<StoredImage> {
        self.changed.insert(Key::Image(place.clone(), digest.clone()));
        let repository = self.repositories.get_mut(place)?;
        let image = repository.remove(digest)?;
        for layer in repository.remove_unnamed_layers(&image.manifest) {
            self.count_removed_layer(place, &layer);
        }
        Some(image)
    }

    // Events

    /// Emits an event: stores it for `emitted`, and delivers it as often and as late as the simulated faults determine
    /// (E4).
    pub(crate) fn emit(&mut self, event: impl FnOnce(String, Timestamp) -> Value) {
        self.counters.events += 1;
        let number = self.counters.events;
        let id = Chance::of(self.settings.seed, "event id", number).id();
        let event = event(id, self.moment());
        let deliveries = if is_wanted(&event) { self.deliver(&event, "event", number) } else { 0 };
        if self.emitted.len() >= REMEMBERED {
            self.emitted.pop_front();
        }
        self.emitted.push_back(Emitted { number, event, deliveries });
    }

    /// Sends an event through its registry's topic to the queue, as often and as late as the simulated faults determine.
    /// Returns the number of deliveries.
    fn deliver(&mut self, event: &Value, purpose: &str, number: u64) -> usize {
        let delays = self.settings.trouble.of_event(&mut Chance::of(self.settings.seed, purpose, number));
        let mut chance = Chance::of(self.settings.seed, &format!("hop of {purpose}"), number);
        let hops = self.settings.trouble.hops(&mut chance, delays.len());
        for (delay, hop) in delays.iter().zip(hops) {
            self.counters.messages += 1;
            let id = self.counters.messages;
            let visible_at = Some(later(self.now, *delay));
            let envelope = Chance::of(self.settings.seed, "message", if hop.is_some() { id } else { number }).id();
            let body = notification(event, &envelope, later(self.moment(), hop.unwrap_or_default()));
            self.queue.put(Message { id, body, receives: 0, visible_at });
            self.changed.insert(Key::Message(id));
        }
        delays.len()
    }

    /// Sends a heartbeat of each registry, as the schedule in its stack does. Every source and destination has a stack.
    pub(crate) fn send_heartbeats(&mut self) {
        self.begin();
        let mut registries: BTreeSet<Registry> = self.registries.keys().cloned().collect();
        registries.extend(self.repositories.keys().map(|place| place.registry.clone()));
        registries.extend(self.registries.values().flat_map(|registry| registry.replication.all_destinations()));
        for registry in registries {
            self.counters.heartbeats += 1;
            let number = self.counters.heartbeats;
            let id = Chance::of(self.settings.seed, "heartbeat id", number).id();
            let event = heartbeat(&registry, id, self.moment());
            self.deliver(&event, "heartbeat", number);
        }
    }

    pub(crate) fn emitted(&self) -> impl Iterator<Item = &Emitted> {
        self.emitted.iter()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn receive(&mut self, most: usize, hidden: SignedDuration) -> Vec<Message> {
        let (received, changed) = self.queue.receive(most, self.now, hidden);
        self.changed.extend(changed.into_iter().map(Key::Message));
        received
    }

    pub(crate) fn return_received(&mut self) {
        let returned = self.queue.return_received(self.now);
        self.changed.extend(returned.into_iter().map(Key::Message));
    }

    pub(crate) fn delete_message(&mut self, id: u64) {
        self.queue.delete(id);
        self.changed.insert(Key::Message(id));
    }

    // Persistence

    /// The changes since the last call: the new value of each key, or nothing if it was removed.
    pub(crate) fn take_changes(&mut self) -> Vec<(Key, Option<String>)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|key| {
                let value = self.value(&key);
                (key, value)
            })
            .collect()
    }

    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Discards the changes, if the state is not saved.
    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    fn value(&self, key: &Key) -> Option<String> {
        fn json(value: &impl Serialize) -> Option<String> {
            serde_json::to_string(value).ok()
        }
        match key {
            Key::Counters => json(&self.counters),
            Key::Manifest(digest) => {
                self.manifests.get(digest).and_then(|manifest| json(&(&manifest.text, &manifest.media_type)))
            }
            Key::Content(layer) => self.content_size(layer).and_then(|size| json(&size)),
            Key::Registry(registry) => self.registries.get(registry).and_then(json),
            Key::Repository(place) => self.repositories.get(place).and_then(json),
            Key::Image(place, digest) => {
                self.repositories.get(place)?.image(digest).and_then(|image| json(&image.state))
            }
            Key::Layer(place, layer) => self.layer_size(place, layer).and_then(|_| json(&())),
            Key::Task(id) => self.tasks.get(id).and_then(json),
            Key::Message(id) => self.queue.get(*id).and_then(json),
        }
    }

    /// Loads a saved entry, in the order of [`Key`]. It does not count as changed.
    pub(crate) fn restore(&mut self, key: Key, value: &str) -> Result<(), serde_json::Error> {
        fn of<T: DeserializeOwned>(value: &str) -> Result<T, serde_json::Error> {
            serde_json::from_str(value)
        }
        match key {
            Key::Counters => {
                self.counters = of(value)?;
                self.now = self.now.max(self.counters.now);
            }
            Key::Manifest(digest) => {
                let (text, media_type) = of(value)?;
                if let Ok(manifest) = Manifest::read(text, Some(media_type)) {
                    self.manifests.insert(digest, Arc::new(manifest));
                }
            }
            Key::Content(layer) => self.restore_content(layer, of(value)?),
            Key::Registry(registry) => _ = self.registries.insert(registry, of(value)?),
            Key::Repository(place) => _ = self.repositories.insert(place, of(value)?),
            Key::Image(place, digest) => {
                let state = of(value)?;
                if let (Some(repository), Some(manifest)) =
                    (self.repositories.get_mut(&place), self.manifests.get(&digest))
                {
                    repository.put(StoredImage { manifest: manifest.clone(), state });
                }
            }
            Key::Layer(place, layer) => self.restore_layer(&place, &layer),
            Key::Task(id) => {
                let (at, task) = of(value)?;
                self.put_task(id, at, task);
            }
            Key::Message(_) => self.queue.put(of(value)?),
        }
        Ok(())
    }

    /// Removes the manifests that no image and no copy in progress needs any more. The copy of an index needs its children.
    pub(crate) fn forget_manifests(&mut self) {
        let stored = self.repositories.values().flat_map(|repository| repository.images().keys());
        let under_way = self.tasks.values().filter_map(|(_, task)| match task {
            PendingTask::Copy(copy) => Some(&copy.digest),
            _ => None,
        });
        let (mut copied, mut open): (BTreeSet<&Digest>, Vec<_>) = (BTreeSet::new(), under_way.collect());
        while let Some(digest) = open.pop() {
            if let Some(manifest) = self.manifests.get(digest).filter(|_| copied.insert(digest)) {
                open.extend(&manifest.children);
            }
        }
        let needed: BTreeSet<Digest> = stored.chain(copied).cloned().collect();
        let unneeded: Vec<_> = self.manifests.keys().filter(|digest| !needed.contains(digest)).cloned().collect();
        for digest in unneeded {
            self.manifests.remove(&digest);
            self.changed.insert(Key::Manifest(digest));
        }
    }
}

/// Whether the rule of a registry's stack matches an event: every event of ECR's own, and the CloudTrail records above.
fn is_wanted(event: &Value) -> bool {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    match (text("/detail/eventName"), text("/detail/errorCode")) {
        (None, _) => true,
        (Some(name), Some(code)) if WANTED_FAILURES.contains(&name) => code != "RepositoryAlreadyExistsException",
        (Some(name), _) => WANTED_RECORDS.contains(&name),
    }
}
