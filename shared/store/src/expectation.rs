//! The settings of registries, and the copies that pushes should cause.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnConsumedCapacity},
};
use domain::{
    alert::Incident,
    expectation::ReplicationExpectation,
    image::{Image, Registry},
    replication::ReplicationSettings,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Error, Stored, Table,
    batch::{CALLS_AT_A_TIME, Shared},
    item::{self, DueItem, Item, KnownRegistry, Queue, WorkItem},
    record::Expected,
};
use futures::{StreamExt, join, stream};

/// How long cached settings are used. It is the difference between the times of pushes, because `record` has no other
/// clock.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

/// Settings that were read longer than this before a push are not used for it.
const OUTDATED: SignedDuration = SignedDuration::from_hours(3);

/// The time of the push for which settings were cached, and the settings.
pub(super) type Remembered = Option<(Timestamp, Arc<BTreeMap<Registry, ReplicationSettings>>)>;

/// What `watch` has to process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToWatch {
    /// Images with due expectations, and their work items.
    pub images: BTreeMap<Image, BTreeSet<WorkItem>>,
    /// Registries whose replication settings are to be read.
    pub registries: BTreeSet<Registry>,
}

impl Table {
    /// The due items of `watch`, of at most `most` images.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn to_watch(&self, now: Timestamp, most: usize) -> Result<ToWatch, Error> {
        let mut due = ToWatch::default();
        let note = |item, has_capacity| {
            let (image, work_item) = match item {
                DueItem::WorkItem(image, work_item) => (image, Some(work_item)),
                DueItem::Expectation(image) => (image, None),
                DueItem::Settings(registry) => {
                    due.registries.insert(registry);
                    return due.images.len();
                }
                DueItem::Deletion(_) => return due.images.len(),
            };
            if has_capacity || due.images.contains_key(&image) {
                due.images.entry(image).or_default().extend(work_item);
            }
            due.images.len()
        };
        self.each_due(Queue::Watch, now, most, note).await?;
        Ok(due)
    }

    /// The expectations with a problem, of at most `most` images.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn expectations_with_problems(&self, most: usize) -> Result<Vec<ReplicationExpectation>, Error> {
        let lasting = |incident: &Incident| incident.open > 0;
        if !self.incidents().await?.iter().any(lasting) {
            return Ok(Vec::new());
        }
        // Every expectation with a problem is in the queue, because it is evaluated again within hours.
        let due = self.to_watch(Timestamp::MAX, most).await?;
        let mut with_problems = Vec::new();
        for image in due.images.into_keys() {
            let expectations = self.expectations(&image).await?.expectations;
            with_problems.extend(expectations.into_iter().filter(ReplicationExpectation::has_problem));
        }
        Ok(with_problems)
    }

    // Settings

    /// Every registry from which events came, with its replication settings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_registries(&self) -> Result<Vec<KnownRegistry>, Error> {
        let query = self.between(item::REGISTRIES, &item::everything());
        let items = self.all(item::REGISTRIES, query).await?;
        items.into_iter().map(|item| self.decode(item, item::read_registry)).collect()
    }

    /// Stores the replication settings of a registry, or keeps the known ones if they could not be read, and when to
    /// read them again. `Known` if another read was requested since `known` was read.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn put_settings(
        &self,
        known: &KnownRegistry,
        read: Option<&ReplicationSettings>,
        due: Timestamp,
    ) -> Result<Stored, Error> {
        let settings = read.or(known.settings.as_ref());
        let key = known.registry.to_string();
        let item = item::settings(&known.registry, settings, due).map_err(|error| self.decode_error(&key, error))?;
        let names = [("#due".to_owned(), "due".to_owned())].into();
        let values = [(":due".to_owned(), AttributeValue::S(known.due.clone()))].into();
        self.put(item, Some("#due = :due".into()), names, values).await
    }

    /// Requests that the settings of a registry are read immediately.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn request_settings(&self, registry: &Registry) -> Result<(), Error> {
        self.update(item::REGISTRIES.to_owned(), registry.to_string(), item::settings_requested(), None).await.map(drop)
    }

    // Copies

    /// Whether copies of a push are expected. They are not if the known settings replicate nothing from the registry of
    /// the push, and nothing to it.
    pub(super) async fn expects_replication(
        &self,
        image: &Image,
        source: &Registry,
        since: Timestamp,
    ) -> Result<bool, Error> {
        let settings = self.remembered(since).await?;
        let own = settings.get(source).filter(|settings| since.duration_since(settings.read_at) < OUTDATED);
        let copied_there = || settings.values().any(|other| other.destinations(&image.repository).contains_key(source));
        Ok(own.is_none_or(|own| !own.destinations(&image.repository).is_empty()) || copied_there())
    }

    /// Stores the expectations of pushes, unless a later push is stored. One result for each.
    pub(super) async fn expect_replication(&self, pushes: Vec<Expected>) -> Vec<(BTreeSet<usize>, Result<(), Shared>)> {
        let (again, first): (Vec<_>, Vec<_>) = pushes.into_iter().partition(|push| push.stored.is_some());
        let again: Vec<_> = again
            .into_iter()
            .filter(|push| push.stored.as_ref().is_none_or(|stored| item::is_newer(stored, push.since)))
            .collect();
        let items = first.iter().map(|push| item::first_pushed(push.key.clone(), &push.image, push.since)).collect();
        let inserted =
            stream::iter(first.into_iter().zip(self.insert_each(items).await)).map(async |(push, result)| {
                match result {
                    Ok(Stored::New) => (push.places, Ok(())),
                    // Another writer stored the expectation since it was read.
                    Ok(Stored::Known) => self.expect_again(push).await,
                    Err(error) => (push.places, Err(error)),
                }
            });
        let changed = stream::iter(again).map(|push| self.expect_again(push));
        let (inserted, changed) = join!(
            inserted.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>(),
            changed.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>()
        );
        inserted.into_iter().chain(changed).collect()
    }

    async fn expect_again(&self, push: Expected) -> (BTreeSet<usize>, Result<(), Shared>) {
        let Expected { key: (pk, sk), image, since, places, .. } = push;
        let newer = "attribute_not_exists(#since) OR #since < :since";
        let updated = self.update(pk, sk, item::pushed(&image, since), Some(newer)).await;
        (places, updated.map(drop).map_err(Arc::new))
    }

    /// The settings of all registries, at most [`REMEMBERED`] older than a time.
    async fn remembered(&self, time: Timestamp) -> Result<Arc<BTreeMap<Registry, ReplicationSettings>>, Error> {
        {
            let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, settings)) = &*remembered
                && time.duration_since(*at) < REMEMBERED
            {
                return Ok(settings.clone());
            }
        }
        let known = self.known_registries().await?.into_iter();
        let settings: BTreeMap<_, _> = known.filter_map(|known| Some((known.registry, known.settings?))).collect();
        let settings = Arc::new(settings);
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, settings.clone()));
        Ok(settings)
    }

    /// Sets attributes of an item, which need not exist, if a condition holds; `Known` if it does not.
    async fn update(&self, pk: String, sk: String, attributes: Item, condition: Option<&str>) -> Result<Stored, Error> {
        let update = self.client.update_item().table_name(&self.name);
        let mut update = update.key("pk", AttributeValue::S(pk.clone())).key("sk", AttributeValue::S(sk));
        let mut sets: Vec<_> = attributes.keys().map(|name| format!("#{name} = :{name}")).collect();
        sets.sort();
        for (name, value) in attributes {
            update = update.expression_attribute_values(format!(":{name}"), value);
            update = update.expression_attribute_names(format!("#{name}"), name);
        }
        update = update.update_expression(format!("SET {}", sets.join(", ")));
        update = update.set_condition_expression(condition.map(str::to_owned));
        match update.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
            Ok(output) => {
                self.wrote(output.consumed_capacity());
                Ok(Stored::New)
            }
            Err(error)
                if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                self.wrote_nothing();
                Ok(Stored::Known)
            }
            Err(error) => Err(self.write_error(&pk, error)),
        }
    }
}
