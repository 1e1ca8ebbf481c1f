//! Calls that read and write several items at once. The items are independent: an item that DynamoDB refuses is tried
//! again alone, so that one bad item does not fail others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_dynamodb::types::{
    BatchStatementErrorCodeEnum as Code, BatchStatementRequest, PutRequest, ReturnConsumedCapacity, WriteRequest,
};
use futures::{StreamExt, future::join_all, stream};

use crate::{
    Error, Stored, Table,
    item::{self, Item, Key},
};
use retry::{CallError, Disposition};

/// The maximum number of puts in one BatchWriteItem, and of statements in one BatchExecuteStatement.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html>
const WRITES: usize = 25;

/// The maximum number of keys in one BatchGetItem.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const KEYS: usize = 100;

/// The number of concurrent calls. A function with 128 MB of memory gains nothing from more.
pub(crate) const CALLS_AT_A_TIME: usize = 16;

/// An error that several items share.
pub(crate) type Shared = Arc<Error>;

impl Table {
    /// The items of these keys, read consistently; a key without an item has no entry.
    pub(crate) async fn get_each(&self, keys: BTreeSet<Key>) -> BTreeMap<Key, Result<Item, Shared>> {
        let chunks = stream::iter(chunks(keys, KEYS)).map(|chunk| self.get_chunk(chunk));
        chunks.buffer_unordered(CALLS_AT_A_TIME).concat().await.into_iter().collect()
    }

    async fn get_chunk(&self, keys: Vec<Key>) -> Vec<(Key, Result<Item, Shared>)> {
        let error = match self.get_all(keys.clone()).await {
            Ok(items) => return items.into_iter().filter_map(keyed).collect(),
            Err(error) => error,
        };
        if error.disposition() == Disposition::Retry || keys.len() == 1 {
            let error = Arc::new(error);
            return keys.into_iter().map(|key| (key, Err(error.clone()))).collect();
        }
        let alone = keys.into_iter().map(async |key| match self.get_all(vec![key.clone()]).await {
            Ok(items) => items.into_iter().find_map(keyed),
            Err(error) => Some((key, Err(Arc::new(error)))),
        });
        join_all(alone).await.into_iter().flatten().collect()
    }

    /// Puts items, replacing existing ones. Results are in the order of the items, which must have different keys.
    pub(crate) async fn put_each(&self, items: Vec<Item>) -> Vec<Result<(), Shared>> {
        let chunks = stream::iter(chunks(items, WRITES)).map(|chunk| self.put_chunk(chunk));
        chunks.buffered(CALLS_AT_A_TIME).concat().await
    }

    async fn put_chunk(&self, items: Vec<Item>) -> Vec<Result<(), Shared>> {
        if items.len() == 1 {
            let alone = items.into_iter().map(async |item| self.put_always(item).await.map(drop).map_err(Arc::new));
            return join_all(alone).await;
        }
        let requests = items.iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        });
        let requests: Vec<_> = match requests.collect::<Result<_, _>>() {
            Ok(requests) => requests,
            Err(error) => return self.all_failed(&items, error.into()),
        };
        let call = self.client.batch_write_item().request_items(&self.name, requests);
        let left: BTreeSet<Key> = match call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
            Ok(output) => {
                output.consumed_capacity().iter().for_each(|consumed| self.wrote(Some(consumed)));
                let left = output.unprocessed_items.unwrap_or_default().into_values().flatten();
                left.filter_map(|request| item::key_of(&request.put_request?.item)).collect()
            }
            Err(error) => {
                let failure = CallError::from(error);
                if failure.disposition == Disposition::Retry {
                    return self.all_failed(&items, failure);
                }
                items.iter().filter_map(item::key_of).collect()
            }
        };
        if left.is_empty() {
            return items.iter().map(|_| Ok(())).collect();
        }
        // An item that was throttled, or refused together with others, is put alone, which the SDK retries with pauses.
        let alone = items.into_iter().map(async |item| match item::key_of(&item) {
            Some(key) if left.contains(&key) => self.put_always(item).await.map(drop).map_err(Arc::new),
            _ => Ok(()),
        });
        join_all(alone).await
    }

    /// Inserts items that should not exist yet; `Known` for an item that does. Results are in the order of the items,
    /// which must have different keys.
    pub(crate) async fn insert_each(&self, items: Vec<Item>) -> Vec<Result<Stored, Shared>> {
        let chunks = stream::iter(chunks(items, WRITES)).map(|chunk| self.insert_chunk(chunk));
        chunks.buffered(CALLS_AT_A_TIME).concat().await
    }

    async fn insert_chunk(&self, items: Vec<Item>) -> Vec<Result<Stored, Shared>> {
        if items.len() == 1 {
            return join_all(items.into_iter().map(async |item| self.put_new(item).await.map_err(Arc::new))).await;
        }
        let statements: Vec<_> = match items.iter().map(|item| self.insertion(item)).collect::<Result<_, _>>() {
            Ok(statements) => statements,
            Err(error) => return self.all_failed(&items, error),
        };
        let call = self.client.batch_execute_statement().set_statements(Some(statements));
        let answers = match call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
            Ok(output) => {
                // DynamoDB reports no capacity for a batch in which every statement failed. It costs one unit for each,
                // like a failed condition.
                output.consumed_capacity().iter().for_each(|consumed| self.wrote(Some(consumed)));
                if output.consumed_capacity().is_empty() {
                    output.responses().iter().for_each(|_| self.wrote_nothing());
                }
                output.responses.unwrap_or_default()
            }
            Err(error) => {
                let failure = CallError::from(error);
                if failure.disposition == Disposition::Retry {
                    return self.all_failed(&items, failure);
                }
                Vec::new()
            }
        };
        let mut answers = answers.into_iter();
        let each = items.into_iter().map(|item| (item, answers.next())).map(async |(item, answer)| {
            match answer.map(|answer| answer.error.and_then(|error| error.code)) {
                Some(None) => Ok(Stored::New),
                Some(Some(Code::DuplicateItem | Code::ConditionalCheckFailed)) => Ok(Stored::Known),
                // An item that was throttled, refused or not answered is put alone, which the SDK retries with pauses.
                Some(Some(_)) | None => self.put_new(item).await.map_err(Arc::new),
            }
        });
        join_all(each).await
    }

    /// The statement that inserts an item.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.insert.html>
    fn insertion(&self, item: &Item) -> Result<BatchStatementRequest, CallError> {
        let mut statement = format!("INSERT INTO \"{}\" VALUE {{", self.name);
        let mut values = Vec::with_capacity(item.len());
        // Sorted, so that the same attributes give the same statement.
        let attributes: BTreeMap<_, _> = item.iter().collect();
        for (name, value) in attributes {
            statement.push_str(if values.is_empty() { "'" } else { ", '" });
            statement.push_str(name);
            statement.push_str("': ?");
            values.push(value.clone());
        }
        statement.push('}');
        let request = BatchStatementRequest::builder().statement(statement).set_parameters(Some(values));
        request.build().map_err(CallError::from)
    }

    /// The same error for every item of a call.
    fn all_failed<T>(&self, items: &[Item], source: CallError) -> Vec<Result<T, Shared>> {
        let key = items.first().map(item::display_key).unwrap_or_default();
        let error = Arc::new(self.write_error(&key, source));
        items.iter().map(|_| Err(error.clone())).collect()
    }
}

/// An item with its key.
fn keyed<E>(item: Item) -> Option<(Key, Result<Item, E>)> {
    Some((item::key_of(&item)?, Ok(item)))
}

/// Splits a list into chunks of at most `size`.
fn chunks<T>(all: impl IntoIterator<Item = T>, size: usize) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    for one in all {
        match chunks.last_mut() {
            Some(last) if last.len() < size => last.push(one),
            _ => chunks.push(vec![one]),
        }
    }
    chunks
}
