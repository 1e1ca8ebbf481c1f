#![doc = include_str!("../README.md")]

mod alert;
mod batch;
mod breaker;
pub mod definition;
mod deletion;
mod expectation;
mod item;
mod list;
mod reconcile;
mod record;

pub use alert::alert_of;
pub use deletion::{Due, ImageRecord, Listed};
pub use expectation::ToWatch;
pub use item::{ItemError, KnownRegistry, Queue, WorkItem};
pub use list::{Arrival, PageBounds, PageEnd};
pub use reconcile::{ReconcileCounts, ReconcileRun, RepositoryTask};
pub use record::{Recorded, RecordedAll};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    operation::{create_table::CreateTableError, put_item::PutItemError, query::builders::QueryFluentBuilder},
    types::{AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity},
};
use batch::Shared;
use definition::Index;
use domain::{
    evidence::{Evidence, PlacementKey},
    fact::Fact,
    image::{Image, Registry, RepositoryName},
    lineage::Lineage,
    tag::{self, TagAssignment, TagInterval, TagName},
};
use futures::future::join_all;
use item::Item;
use retry::{CallError, Disposition};

/// The maximum number of attempts to read, merge and write evidence while other writers change it. Each lost attempt is
/// a success of another writer, so this is the number of writers that can meet on one tag in one registry.
const ROUNDS: usize = 16;

/// The pause after a batch read that was throttled as a whole; each further pause is twice as long, 6.3 s in total.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(3_200);

/// The table, through a DynamoDB client. Clones share the unit counters and the caches.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
    units: Arc<Units>,
    /// Registries that this process has registered or found registered.
    listed: Arc<Mutex<HashSet<Registry>>>,
    /// The settings of registries that this process has cached.
    remembered: Arc<Mutex<expectation::Remembered>>,
}

/// The settings of a tag at the nearest earlier second, and those at the nearest later second.
type Adjacent = (Vec<TagAssignment>, Vec<TagAssignment>);

/// Request units consumed so far, indexes included.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
#[derive(Debug, Default)]
struct Units {
    /// In halves: an eventually consistent read costs half a unit.
    halves_read: AtomicU64,
    written: AtomicU64,
}

/// Why the table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be created.
    #[error("cannot create table `{table}`")]
    Create {
        /// The name of the table.
        table: String,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// Items could not be read.
    #[error("cannot read `{key}` from table `{table}`")]
    Read {
        /// The name of the table.
        table: String,
        /// The partition key.
        key: String,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// An item could not be written.
    #[error("cannot write `{key}` to table `{table}`")]
    Write {
        /// The name of the table.
        table: String,
        /// The partition key, or another name of the item.
        key: String,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// An item could not be encoded or decoded.
    #[error("item `{key}` of table `{table}` does not hold what its key says")]
    Item {
        /// The name of the table.
        table: String,
        /// The key of the item.
        key: String,
        /// Why the item could not be encoded or decoded.
        #[source]
        source: item::ItemError,
    },
    /// Other writers kept changing the same item.
    #[error("item `{key}` of table `{table}` was changed by others {ROUNDS} times in a row")]
    Contended {
        /// The name of the table.
        table: String,
        /// The key of the item.
        key: String,
    },
    /// An error that several items share.
    #[error(transparent)]
    Shared(Arc<Self>),
}

impl Error {
    /// Whether a retry of the same step may succeed.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Create { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => source.disposition,
            Self::Contended { .. } => Disposition::Retry,
            Self::Item { .. } => Disposition::Reject,
            Self::Shared(error) => error.disposition(),
        }
    }

    /// The service's error code, if it answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Create { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => {
                source.code.as_deref()
            }
            Self::Contended { .. } | Self::Item { .. } => None,
            Self::Shared(error) => error.code(),
        }
    }
}

/// The result of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The item was written.
    New,
    /// The condition did not hold: the item existed, or another writer changed it.
    Known,
}

impl Table {
    /// The table with this name, which [`Table::create`] may have to create first.
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into(), units: Arc::default(), listed: Arc::default(), remembered: Arc::default() }
    }

    /// Creates the table and its indexes, unless it exists.
    ///
    /// # Errors
    /// When DynamoDB refuses or cannot be reached.
    pub async fn create(&self) -> Result<(), Error> {
        match definition::create(&self.client, &self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {
                Ok(())
            }
            Err(error) => Err(Error::Create { table: self.name.clone(), source: error.into() }),
        }
    }

    /// Request units consumed through this value and its clones so far, read and written, indexes included.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 units")]
    pub fn units(&self) -> (f64, f64) {
        (self.units.halves_read.load(Relaxed) as f64 / 2.0, self.units.written.load(Relaxed) as f64)
    }

    // Writing

    /// Stores the deletion of a repository, unless a later deletion is stored.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_repository_deletion(&self, repository: &RepositoryName, fact: &Fact) -> Result<(), Error> {
        let item =
            item::repository_deletion(repository, fact).map_err(|source| self.decode_error(&fact.event_id, source))?;
        let time = item.get("time").cloned().into_iter().map(|time| (":time".to_owned(), time)).collect();
        let names = [("#time".to_owned(), "time".to_owned())].into();
        self.put(item, Some("attribute_not_exists(pk) OR #time < :time".into()), names, time).await.map(drop)
    }

    /// Merges evidence with what is stored under the same key, and returns the result. Writes nothing if the evidence
    /// adds nothing.
    ///
    /// # Errors
    /// When it cannot be read or written, or other writers kept changing it.
    pub async fn merge_evidence(&self, name: &PlacementKey, evidence: &Evidence) -> Result<Evidence, Error> {
        for _ in 0..ROUNDS {
            let stored = self.evidence(name).await?;
            let mut merged = stored.clone();
            merged.merge(evidence);
            if merged == stored {
                return Ok(merged);
            }
            if self.replace(name, &stored, &merged).await? == Stored::New {
                return Ok(merged);
            }
        }
        Err(Error::Contended { table: self.name.clone(), key: item::sort_key_of_placement(name) })
    }

    /// Replaces evidence if it has not changed since it was read; `Known` if it has.
    async fn replace(&self, name: &PlacementKey, stored: &Evidence, merged: &Evidence) -> Result<Stored, Error> {
        let unreadable = |source| self.decode_error(&item::sort_key_of_placement(name), source);
        let item = item::evidence(name, merged).map_err(unreadable)?;
        let condition = item::unchanged(stored).map_err(unreadable)?;
        self.put(item, Some(condition.expression), condition.names, condition.values).await
    }

    /// Adds a registry to the known ones, unless it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn register_registry(&self, registry: &Registry) -> Result<(), Error> {
        if self.listed.lock().unwrap_or_else(PoisonError::into_inner).contains(registry) {
            return Ok(());
        }
        let item = item::registry(registry);
        self.put(item, Some("attribute_not_exists(pk)".into()), HashMap::new(), HashMap::new()).await?;
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.clone());
        Ok(())
    }

    /// Writes an item if the condition holds; `Known` if it does not.
    async fn put(
        &self,
        item: Item,
        condition: Option<String>,
        names: HashMap<String, String>,
        values: HashMap<String, AttributeValue>,
    ) -> Result<Stored, Error> {
        let key = item::display_key(&item);
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .set_condition_expression(condition)
            .set_expression_attribute_names((!names.is_empty()).then_some(names))
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match put.send().await {
            Ok(output) => {
                self.wrote(output.consumed_capacity());
                Ok(Stored::New)
            }
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                self.wrote_nothing();
                Ok(Stored::Known)
            }
            Err(error) => Err(Error::Write { table: self.name.clone(), key, source: error.into() }),
        }
    }

    // Reading one thing

    /// The evidence stored under one key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn evidence(&self, name: &PlacementKey) -> Result<Evidence, Error> {
        let (pk, sk) = item::key_of_placement(name);
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(pk.clone()))
            .key("sk", AttributeValue::S(sk))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| self.read_error(&pk, error))?;
        self.read(output.consumed_capacity());
        match output.item {
            None => Ok(Evidence::default()),
            Some(item) => Ok(self.decode(item, item::read_evidence)?.1),
        }
    }

    /// The adjacent assignments of some settings of a tag in one registry: for each, the settings of the nearest
    /// earlier second and those of the nearest later one. Most settings are among the newest, so one Query of the
    /// newest usually finds the adjacent assignments of all of them.
    async fn adjacent_assignments(
        &self,
        name: &TagName,
        registry: &Registry,
        assignments: &[&TagAssignment],
    ) -> Vec<Result<Adjacent, Shared>> {
        let (newest, all) = match self.newest(name, registry, assignments.len()).await {
            Ok(read) => read,
            Err(error) => {
                let error = Arc::new(error);
                return assignments.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let each = assignments.iter().map(async |assignment| {
            if let Some(adjacent_assignments) = tag::adjacent_assignments(assignment, &newest, all) {
                return Ok(adjacent_assignments);
            }
            let (before, after) = item::adjacent_ranges(assignment);
            let read = futures::try_join!(self.nearest(name, before, false), self.nearest(name, after, true));
            read.map_err(Arc::new)
        });
        join_all(each).await
    }

    /// The newest settings of a tag in a registry, newest first, and whether these are all: enough of them for the
    /// adjacent assignments of `assignments` settings.
    async fn newest(
        &self,
        name: &TagName,
        registry: &Registry,
        assignments: usize,
    ) -> Result<(Vec<TagAssignment>, bool), Error> {
        let pk = item::pk_of_tag(name);
        let range = item::settings_of_tag(registry);
        // One for the setting before them, one before that to prove that its second is complete, and one that came
        // later.
        let limit = i32::try_from(assignments).unwrap_or(i32::MAX).saturating_add(3);
        let query = self.between(&pk, &range).scan_index_forward(false).limit(limit);
        let output = query.send().await.map_err(|error| self.read_error(&pk, error))?;
        self.read(output.consumed_capacity());
        let (items, more) = (output.items.unwrap_or_default(), output.last_evaluated_key.is_some());
        let read = items.len();
        // An item that cannot be decoded ends the list. A setting next to it is then read on its own, which returns the
        // error.
        let newest: Vec<_> = items.into_iter().map_while(|item| item::read_assignment(item).ok()).collect();
        let all = !more && newest.len() == read;
        Ok((newest, all))
    }

    /// The assignments of the first second in a range of a tag's history, read forwards or backwards.
    async fn nearest(
        &self,
        name: &TagName,
        range: (String, String),
        forward: bool,
    ) -> Result<Vec<TagAssignment>, Error> {
        let pk = item::pk_of_tag(name);
        let mut nearest: Vec<TagAssignment> = Vec::new();
        let mut start = None;
        loop {
            // Two images rarely get the same tag within a second: one page nearly always contains the whole second.
            let query = self.between(&pk, &range).scan_index_forward(forward).limit(4).set_exclusive_start_key(start);
            let output = query.send().await.map_err(|error| self.read_error(&pk, error))?;
            self.read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                let assignment = self.decode(item, item::read_assignment)?;
                if nearest.first().is_some_and(|first| first.time != assignment.time) {
                    return Ok(nearest);
                }
                nearest.push(assignment);
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(nearest);
            }
        }
    }

    /// Everything recorded about one image: one Query of its partition, and one BatchGetItem for deletions of its whole
    /// repository.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn lineage(&self, image: &Image) -> Result<Lineage, Error> {
        self.lineage_from(image, item::EVERYTHING).await
    }

    /// The placements of one image: its lineage without the facts, whose number is not bounded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn placements(&self, image: &Image) -> Result<Lineage, Error> {
        self.lineage_from(image, item::PLACEMENTS).await
    }

    async fn lineage_from(&self, image: &Image, range: (&str, &str)) -> Result<Lineage, Error> {
        Ok(self.image_record_from(image, range).await?.lineage)
    }

    /// The newest deletion of a repository in each of some registries.
    async fn repository_deletions(
        &self,
        repository: &RepositoryName,
        registries: &BTreeSet<Registry>,
    ) -> Result<Vec<Fact>, Error> {
        let keys = registries.iter().map(|registry| item::key_of_repository_deletion(repository, registry)).collect();
        self.get_all(keys).await?.into_iter().map(|item| self.decode(item, item::read_fact)).collect()
    }

    async fn assignments(&self, name: &TagName) -> Result<Vec<TagAssignment>, Error> {
        let pk = item::pk_of_tag(name);
        let query = self.between(&pk, &(String::from(" "), String::from("~")));
        self.all(&pk, query).await?.into_iter().map(|item| self.decode(item, item::read_assignment)).collect()
    }

    /// The history of a tag in every registry, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn tag_history(&self, name: &TagName) -> Result<Vec<TagInterval>, Error> {
        let assignments = self.assignments(name).await?;
        // A deletion by digest removes all tags but names none, so it is in the evidence of the images.
        let images: BTreeSet<_> =
            assignments.iter().map(|assignment| (assignment.registry.clone(), assignment.digest.clone())).collect();
        let names = images.into_iter().map(|(registry, digest)| {
            let image = Image { repository: name.repository.clone(), digest };
            item::key_of_placement(&PlacementKey { image, registry, tag: None })
        });
        let mut gone = BTreeMap::new();
        for item in self.get_all(names.collect()).await? {
            let (name, evidence) = self.decode(item, item::read_evidence)?;
            gone.insert((name.registry, name.image.digest), evidence.removed);
        }
        let registries: BTreeSet<_> = assignments.iter().map(|assignment| assignment.registry.clone()).collect();
        let repository: BTreeMap<_, _> = self
            .repository_deletions(&name.repository, &registries)
            .await?
            .into_iter()
            .map(|fact| (fact.registry, fact.time))
            .collect();
        Ok(tag::intervals(assignments, |registry, digest| {
            let image = gone.get(&(registry.clone(), digest.clone())).copied().flatten();
            image.max(repository.get(registry).copied())
        }))
    }

    // The calls

    /// A consistent Query of one partition between two sort keys.
    fn between(&self, pk: &str, (from, to): &(String, String)) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":from", AttributeValue::S(from.clone()))
            .expression_attribute_values(":to", AttributeValue::S(to.clone()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// A Query of an index between two sort keys.
    fn index(&self, index: &Index, pk: &str, from: &str, to: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .index_name(index.name)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .expression_attribute_names("#pk", index.key.0)
            .expression_attribute_names("#sk", index.key.1)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
            .expression_attribute_values(":to", AttributeValue::S(to.to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// All pages of a query.
    async fn all(&self, key: &str, query: QueryFluentBuilder) -> Result<Vec<Item>, Error> {
        let mut pages = query.into_paginator().send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.read_error(key, error))?;
            self.read(page.consumed_capacity());
            items.extend(page.items.unwrap_or_default());
        }
        Ok(items)
    }

    /// The items of these keys that exist, read consistently, 100 per call.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
    async fn get_all(&self, keys: Vec<(String, String)>) -> Result<Vec<Item>, Error> {
        let key = |(pk, sk)| [("pk".into(), AttributeValue::S(pk)), ("sk".into(), AttributeValue::S(sk))].into();
        let mut wanted: Vec<Item> = keys.into_iter().map(key).collect();
        let mut found = Vec::new();
        let mut pause = FIRST_PAUSE;
        while let Some(first) = wanted.first() {
            let first = item::display_key(first);
            let rest = wanted.split_off(wanted.len().min(100));
            let asked = wanted.len();
            let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.name, keys.map_err(|error| self.read_error(&first, error))?)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| self.read_error(&first, error))?;
            output.consumed_capacity().iter().for_each(|capacity| self.read(Some(capacity)));
            found.extend(output.responses.unwrap_or_default().into_values().flatten());
            // Keys that did not fit into a response of 16 MB, or were throttled, are requested again.
            let left = output.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys);
            wanted = left.collect();
            if wanted.len() == asked {
                if pause > LAST_PAUSE {
                    return Err(self.read_error(&first, CallError::throttled()));
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            wanted.extend(rest);
        }
        Ok(found)
    }

    fn read(&self, consumed: Option<&ConsumedCapacity>) {
        self.units.halves_read.fetch_add(whole(consumed, 2.0), Relaxed);
    }

    /// A failed condition costs the write of an item of this size, at least one unit.
    fn wrote_nothing(&self) {
        self.units.written.fetch_add(1, Relaxed);
    }

    fn wrote(&self, consumed: Option<&ConsumedCapacity>) {
        self.units.written.fetch_add(whole(consumed, 1.0), Relaxed);
    }

    fn decode<T>(&self, item: Item, read: fn(Item) -> Result<T, item::ItemError>) -> Result<T, Error> {
        let key = item::display_key(&item);
        read(item).map_err(|source| self.decode_error(&key, source))
    }

    fn read_error(&self, key: &str, error: impl Into<CallError>) -> Error {
        Error::Read { table: self.name.clone(), key: key.to_owned(), source: error.into() }
    }

    fn decode_error(&self, key: &str, source: item::ItemError) -> Error {
        Error::Item { table: self.name.clone(), key: key.to_owned(), source }
    }
}

/// Consumed units as a whole number of parts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive and whole by definition")]
fn whole(consumed: Option<&ConsumedCapacity>, parts: f64) -> u64 {
    (consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default() * parts).round() as u64
}
