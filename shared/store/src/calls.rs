//! Calls to DynamoDB that read or write one thing, and the request units that they consume. The calls for many
//! independent items are in `batch`.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use aws_sdk_dynamodb::{
    operation::{
        put_item::PutItemError, query::builders::QueryFluentBuilder, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{
        AttributeValue, CancellationReason, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity,
        TransactWriteItem,
    },
};
use retry::CallError;

use super::{
    Error, Stored, Table,
    definition::Index,
    item::{self, EVERYTHING, Item, ItemError, Key},
    words::words,
};

/// The pause after a call that was throttled as a whole or lost a conflict; each further pause is twice as long, 6.3 s
/// in total.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(3_200);

/// Request units consumed so far, indexes included.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
#[derive(Debug, Default)]
pub(super) struct Units {
    /// In halves: an eventually consistent read costs half a unit.
    halves_read: AtomicU64,
    written: AtomicU64,
}

/// A condition on the stored item, under which a write happens.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Condition {
    /// A condition whose expression has `#name` for each of these names of attributes, and `:name` for each of these
    /// values.
    pub(super) fn new<const NAMES: usize, const VALUES: usize>(
        expression: &str,
        names: [&str; NAMES],
        values: [(&str, AttributeValue); VALUES],
    ) -> Self {
        Self {
            expression: expression.to_owned(),
            names: names.map(|name| (format!("#{name}"), name.to_owned())).into(),
            values: values.map(|(name, value)| (format!(":{name}"), value)).into(),
        }
    }

    /// The item does not exist.
    pub(super) fn absent() -> Self {
        Self::new("attribute_not_exists(pk)", [], [])
    }
}

impl Table {
    /// Request units consumed through this value and its clones so far, read and written, indexes included.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 units")]
    pub fn units(&self) -> (f64, f64) {
        (self.units.halves_read.load(Relaxed) as f64 / 2.0, self.units.written.load(Relaxed) as f64)
    }

    // Reading

    /// A consistent Query of one partition between two sort keys.
    pub(super) fn between(&self, pk: &str, (from, to): (&str, &str)) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
            .expression_attribute_values(":to", AttributeValue::S(to.to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// A Query of an index between two sort keys.
    pub(super) fn index(&self, index: &Index, pk: &str, from: &str, to: &str) -> QueryFluentBuilder {
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
    pub(super) async fn all(&self, key: &str, query: QueryFluentBuilder) -> Result<Vec<Item>, Error> {
        let mut pages = query.into_paginator().send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.read_error(key, error))?;
            self.read(page.consumed_capacity());
            items.extend(page.items.unwrap_or_default());
        }
        Ok(items)
    }

    /// Everything in a partition whose items are all of one kind.
    pub(super) async fn partition<T, C: FromIterator<T>>(
        &self,
        pk: &str,
        decode: fn(Item) -> Result<T, ItemError>,
    ) -> Result<C, Error> {
        let items = self.all(pk, self.between(pk, EVERYTHING)).await?;
        items.into_iter().map(|item| self.decode(item, decode)).collect()
    }

    /// The items of these keys that exist, read consistently, 100 per call.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
    pub(super) async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, Error> {
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

    // Writing

    // The first three return the future of `put` itself: each `async` around it would nest the futures of all callers
    // more deeply, and the compiler limits their depth.

    /// Writes an item, whether or not it exists.
    pub(super) fn put_always(&self, item: Item) -> impl Future<Output = Result<Stored, Error>> {
        self.put(item, None)
    }

    /// Writes an item that must not exist yet; `Known` if it does.
    pub(super) fn put_new(&self, item: Item) -> impl Future<Output = Result<Stored, Error>> {
        self.put(item, Some(Condition::absent()))
    }

    /// Writes an item if the condition holds; `Known` if it does not.
    pub(super) fn put_if(&self, item: Item, condition: Condition) -> impl Future<Output = Result<Stored, Error>> {
        self.put(item, Some(condition))
    }

    /// Writes an item with a version, if the stored version is still the one that was read.
    pub(super) async fn put_version(&self, item: Item, read: u64) -> Result<Stored, Error> {
        if read == 0 {
            return self.put_new(item).await;
        }
        let version = [("version", AttributeValue::N(read.to_string()))];
        self.put_if(item, Condition::new("#version = :version", ["version"], version)).await
    }

    async fn put(&self, item: Item, condition: Option<Condition>) -> Result<Stored, Error> {
        let key = item::display_key(&item);
        let (expression, names, values) = match condition {
            Some(Condition { expression, names, values }) => (Some(expression), names, values),
            None => (None, HashMap::new(), HashMap::new()),
        };
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .set_condition_expression(expression)
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
            Err(error) => Err(self.write_error(&key, error)),
        }
    }

    /// Deletes an item, whether or not it exists.
    pub(super) async fn delete(&self, (pk, sk): Key) -> Result<(), Error> {
        let delete = self.client.delete_item().table_name(&self.name).key("pk", AttributeValue::S(pk.clone()));
        let delete = delete.key("sk", AttributeValue::S(sk));
        delete.send().await.map_err(|error| self.write_error(&pk, error))?;
        Ok(())
    }

    /// Sets attributes of an item, which need not exist, if a condition holds; `Known` if it does not.
    pub(super) async fn update(&self, key: Key, attributes: Item, condition: Option<&str>) -> Result<Stored, Error> {
        self.set_and_remove(key, attributes, &[], condition).await
    }

    /// Sets attributes of an item, and removes others of these names; `Known` if the condition does not hold.
    pub(super) async fn set_and_remove(
        &self,
        (pk, sk): Key,
        attributes: Item,
        removed: &[&str],
        condition: Option<&str>,
    ) -> Result<Stored, Error> {
        let update = self.client.update_item().table_name(&self.name);
        let mut update = update.key("pk", AttributeValue::S(pk.clone())).key("sk", AttributeValue::S(sk));
        let mut sets: Vec<_> = attributes.keys().map(|name| format!("#{name} = :{name}")).collect();
        sets.sort();
        for (name, value) in attributes {
            update = update.expression_attribute_values(format!(":{name}"), value);
            update = update.expression_attribute_names(format!("#{name}"), name);
        }
        let mut expression = format!("SET {}", sets.join(", "));
        for name in removed {
            let separator = if expression.contains(" REMOVE ") { ", " } else { " REMOVE " };
            expression.push_str(&format!("{separator}#{name}"));
            update = update.expression_attribute_names(format!("#{name}"), *name);
        }
        update = update.update_expression(expression);
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

    /// Executes writes in one transaction: `Known` if a condition does not hold. A conflict with another transaction is
    /// retried with growing pauses.
    pub(super) async fn transact(&self, key: &str, steps: Vec<TransactWriteItem>) -> Result<Stored, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let transact = self.client.transact_write_items().set_transact_items(Some(steps.clone()));
            match transact.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
                Ok(output) => {
                    output.consumed_capacity().iter().for_each(|capacity| self.wrote(Some(capacity)));
                    return Ok(Stored::New);
                }
                Err(error) => match error.as_service_error().map(reasons) {
                    Some(reasons) if reasons.contains(&"ConditionalCheckFailed") => return Ok(Stored::Known),
                    Some(reasons) if reasons.contains(&"TransactionConflict") && pause <= LAST_PAUSE => {
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                    _ => return Err(self.write_error(key, error)),
                },
            }
        }
    }

    // Consumed units

    pub(super) fn read(&self, consumed: Option<&ConsumedCapacity>) {
        self.units.halves_read.fetch_add(whole(consumed, 2.0), Relaxed);
    }

    /// A failed condition costs the write of an item of this size, at least one unit.
    pub(super) fn wrote_nothing(&self) {
        self.units.written.fetch_add(1, Relaxed);
    }

    pub(super) fn wrote(&self, consumed: Option<&ConsumedCapacity>) {
        self.units.written.fetch_add(whole(consumed, 1.0), Relaxed);
    }

    // Decoding and errors

    pub(super) fn decode<T>(&self, item: Item, decode: fn(Item) -> Result<T, ItemError>) -> Result<T, Error> {
        let key = item::display_key(&item);
        decode(item).map_err(|source| self.decode_error(&key, source))
    }

    pub(super) fn read_error(&self, key: &str, error: impl Into<CallError>) -> Error {
        Error::Read { table: self.name.clone(), what: words(key), source: error.into() }
    }

    pub(super) fn write_error(&self, key: &str, error: impl Into<CallError>) -> Error {
        Error::Write { table: self.name.clone(), what: words(key), source: error.into() }
    }

    /// The error of an item that cannot be encoded or decoded.
    pub(super) fn decode_error(&self, key: &str, source: ItemError) -> Error {
        Error::Item { table: self.name.clone(), what: words(key), source }
    }
}

/// Consumed units as a whole number of parts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive and whole by definition")]
fn whole(consumed: Option<&ConsumedCapacity>, parts: f64) -> u64 {
    (consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default() * parts).round() as u64
}

/// The reasons of a cancelled transaction, step by step.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn reasons(error: &TransactWriteItemsError) -> Vec<&str> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return Vec::new() };
    cancelled.cancellation_reasons().iter().filter_map(CancellationReason::code).collect()
}
