//! Leases: one `mirror`, one `watch` and one `reconcile` at a time.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, Queue, Stored, Table,
    calls::Condition,
    item::{self, Item, sort_key_of_time},
};

impl Table {
    /// Takes the lease of a queue until a time, unless another owner holds it now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn take_lease(&self, queue: Queue, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, Error> {
        let condition = Condition::new(
            "attribute_not_exists(pk) OR #until <= :now OR #owner = :owner",
            ["until", "owner"],
            [("now", AttributeValue::S(sort_key_of_time(now))), ("owner", AttributeValue::S(owner.to_owned()))],
        );
        let put = self.put_if(encode_lease(queue, owner, until), condition);
        Ok(put.await? == Stored::New)
    }

    /// Gives back the lease of a queue, unless another owner holds it now: it ends in the past.
    ///
    /// # Errors
    /// When it cannot be written. The lease ends at its time then.
    pub async fn give_back_lease(&self, queue: Queue, owner: &str, now: Timestamp) -> Result<(), Error> {
        self.take_lease(queue, owner, now, Timestamp::UNIX_EPOCH).await.map(drop)
    }
}

fn encode_lease(queue: Queue, owner: &str, until: Timestamp) -> Item {
    let mut item = item::with_key(Item::new(), (queue.as_str().to_owned(), item::LEASE.to_owned()));
    item.insert("owner".into(), AttributeValue::S(owner.to_owned()));
    item.insert("until".into(), AttributeValue::S(sort_key_of_time(until)));
    item
}
