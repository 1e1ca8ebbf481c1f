//! The copies that pushes should cause.

use std::{collections::BTreeSet, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    alert::Incident,
    expectation::{self, Completion, ReplicationExpectation},
    image::{Image, RepositoryName},
};
use futures::{StreamExt, TryStreamExt, join, stream};
use jiff::Timestamp;

use super::{
    Error, Queue, Stored, Table,
    batch::{CALLS_AT_A_TIME, Shared},
    item::{self, Item, ItemError, Key, take, take_time},
    list::READS_AT_A_TIME,
    queue::{DUE_IMMEDIATELY, queued_until},
};

/// The copies that a push should cause.
pub(super) struct Expected {
    pub(super) key: Key,
    pub(super) image: Image,
    /// The newest of the pushes.
    pub(super) since: Timestamp,
    /// The indexes of the subjects of the pushes.
    pub(super) places: BTreeSet<usize>,
    /// The expectation that is already stored.
    pub(super) stored: Option<Item>,
}

impl Table {
    /// The expectations with a problem of one repository or of all, of at most `most` images.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn expectations_with_problems(
        &self,
        repository: Option<&RepositoryName>,
        most: usize,
    ) -> Result<Vec<ReplicationExpectation>, Error> {
        let lasting = |incident: &Incident| incident.open > 0;
        if !self.incidents().await?.iter().any(lasting) {
            return Ok(Vec::new());
        }
        // Every expectation with a problem is in the queue, because it is evaluated again within hours.
        let queued = if repository.is_some() { usize::MAX } else { most };
        let due = self.to_watch(Timestamp::MAX, queued).await?;
        let images = due.images.into_keys().filter(|image| repository.is_none_or(|only| image.repository == *only));
        let read = stream::iter(images.take(most)).map(|image| async move { self.expectations(&image).await });
        let mut read = read.buffered(READS_AT_A_TIME);
        let mut with_problems = Vec::new();
        while let Some(record) = read.try_next().await? {
            with_problems.extend(record.expectations.into_iter().filter(ReplicationExpectation::has_problem));
        }
        Ok(with_problems)
    }

    /// Stores the expectations of pushes, unless a later push is stored. One result for each.
    pub(super) async fn expect_replication(&self, pushes: Vec<Expected>) -> Vec<(BTreeSet<usize>, Result<(), Shared>)> {
        let (again, first): (Vec<_>, Vec<_>) = pushes.into_iter().partition(|push| push.stored.is_some());
        let again: Vec<_> = again
            .into_iter()
            .filter(|push| push.stored.as_ref().is_none_or(|stored| is_newer(stored, push.since)))
            .collect();
        let items = first.iter().map(|push| item::with_key(encode_push(&push.image, push.since), push.key.clone()));
        let inserted = self.insert_each(items.collect()).await;
        let inserted = stream::iter(first.into_iter().zip(inserted)).map(async |(push, result)| {
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
        let Expected { key, image, since, places, .. } = push;
        let newer = "attribute_not_exists(#since) OR #since < :since";
        // The copies of the earlier push may be complete, and those of this one are not.
        let updated = self.set_and_remove(key, encode_push(&image, since), &["completion"], Some(newer)).await;
        (places, updated.map(drop).map_err(Arc::new))
    }

    /// Stores that all copies of a push have arrived, once; `Known` if the expectation changed since it was read. If a
    /// copy had a problem, `watch` stores that at once, in the step that ends the problem.
    pub(super) async fn put_completion(
        &self,
        expectation: &ReplicationExpectation,
        completion: Completion,
    ) -> Result<Stored, Error> {
        let ReplicationExpectation { image, source, tag, since, state, .. } = expectation;
        let key = item::key_of_expectation(image, source, tag.as_ref());
        let mut attributes = Item::from([
            ("since".to_owned(), AttributeValue::S(since.to_string())),
            ("version".to_owned(), AttributeValue::N(state.version.to_string())),
        ]);
        let unchanged = "#since = :since AND attribute_not_exists(#completion)";
        if expectation.has_problem() {
            if expectation.due.is_some_and(|due| due < *since) {
                return Ok(Stored::New);
            }
            attributes.insert("due".to_owned(), AttributeValue::S(DUE_IMMEDIATELY.to_owned()));
            let unchanged = format!("{unchanged} AND #version = :version");
            return self.set_and_remove(key, attributes, &["completion"], Some(&unchanged)).await;
        }
        let error = |error: serde_dynamo::Error| self.decode_error(&key.1, error.into());
        attributes.insert("completion".to_owned(), serde_dynamo::to_attribute_value(completion).map_err(error)?);
        if state.version > 0 {
            let unchanged = format!("{unchanged} AND #version = :version");
            return self.set_and_remove(key, attributes, &["queue", "due"], Some(&unchanged)).await;
        }
        // `watch` has stored nothing yet. What an expression names has to be in it: there is nothing to remove.
        attributes.remove("version");
        let unchanged = format!("{unchanged} AND attribute_not_exists(#version)");
        self.set_and_remove(key, attributes, &["queue", "due", "version"], Some(&unchanged)).await
    }
}

/// The attributes that a push changes. All others are kept.
fn encode_push(image: &Image, since: Timestamp) -> Item {
    let item = Item::from([("since".to_owned(), AttributeValue::S(since.to_string()))]);
    queued_until(item, Queue::Watch, image, expectation::first_due(since))
}

/// Whether a push is newer than the one of a stored expectation.
fn is_newer(expectation: &Item, since: Timestamp) -> bool {
    let known = expectation.get("since").and_then(|since| since.as_s().ok());
    known.is_none_or(|known| *known < since.to_string())
}

pub(super) fn encode_expectation(expectation: &ReplicationExpectation) -> Result<Item, ItemError> {
    let ReplicationExpectation { image, source, tag, since, due, state } = expectation;
    let key = item::key_of_expectation(image, source, tag.as_ref());
    let mut item = item::with_key(serde_dynamo::to_item(state)?, key);
    item.insert("since".into(), AttributeValue::S(since.to_string()));
    Ok(match due {
        Some(due) => queued_until(item, Queue::Watch, image, *due),
        None => item,
    })
}

pub(super) fn decode_expectation(mut item: Item) -> Result<ReplicationExpectation, ItemError> {
    let (pk, sk) = (take(&mut item, "pk")?, take(&mut item, "sk")?);
    let (image, (source, tag)) = (item::image_of(&pk)?, item::expectation_of(&sk)?);
    let since = take_time(&mut item, "since")?;
    let due = take(&mut item, "due").ok().map(|due| item::time_of(&due)).transpose()?;
    item.remove("queue");
    Ok(ReplicationExpectation { image, source, tag, since, due, state: serde_dynamo::from_item(item)? })
}
