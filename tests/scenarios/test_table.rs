//! A fresh table for each test, and helpers that use it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use aws::start;
use aws_config::Region;
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, retry::RetryConfig},
    types::{AttributeValue, TableDescription},
};
use domain::{
    event::notification::Senders,
    image::Image,
    lineage::{Lineage, Whereabouts},
};
use jiff::Timestamp;
use record::{Handled, Record, proof::Proofs};
use sandbox::embedded::Embedded;
use serde_json::Value;
use simulator::queue::{TOPIC_NAME, notification};
use store::Table;

use crate::logs;

/// A table, and the client that it uses.
pub(crate) struct Store {
    pub(crate) table: Table,
    pub(crate) client: Client,
    name: String,
    _embedded: Option<Embedded>,
}

impl Store {
    /// A table that no other test uses: embedded, or at `TEST_DYNAMODB_ENDPOINT`.
    pub(crate) async fn new() -> Self {
        logs::check();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lineage-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (client, embedded) = match std::env::var("TEST_DYNAMODB_ENDPOINT") {
            Ok(endpoint) => (client(&endpoint).await, None),
            Err(_) => {
                let embedded = Embedded::open(None).await.unwrap();
                (embedded.client().await, Some(embedded))
            }
        };
        let table = Table::new(client.clone(), &name);
        table.create().await.unwrap();
        Self { table, client, name, _embedded: embedded }
    }

    /// The same table through another client.
    pub(crate) fn through(&self, config: aws_sdk_dynamodb::config::Builder) -> Table {
        Table::new(Client::from_conf(config.build()), &self.name)
    }

    /// Delivers events to the function as one batch of messages, and returns the IDs of those that failed: their
    /// positions in the batch.
    pub(crate) async fn deliver(&self, events: &[Value]) -> Vec<String> {
        deliver(&self.table, events.iter().map(Value::to_string)).await
    }

    /// Every item of the table, by key.
    pub(crate) async fn dump(&self) -> BTreeMap<(String, String), BTreeMap<String, AttributeValueText>> {
        let mut items = BTreeMap::new();
        let mut pages = self.client.scan().table_name(&self.name).consistent_read(true).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.unwrap();
            let key = |name: &str| item[name].as_s().unwrap().clone();
            let rest = item.iter().map(|(name, value)| (name.clone(), attribute_text(value))).collect();
            items.insert((key("pk"), key("sk")), rest);
        }
        items
    }

    /// DynamoDB's description of the table.
    pub(crate) async fn describe(&self) -> TableDescription {
        self.client.describe_table().table_name(&self.name).send().await.unwrap().table.unwrap()
    }

    /// Writes an item without the table's own code.
    pub(crate) async fn put_raw(&self, pk: &str, sk: &str, attributes: &[(&str, &str)]) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut put = self.client.put_item().table_name(&self.name).item("pk", text(pk)).item("sk", text(sk));
        for (name, value) in attributes {
            put = put.item(*name, text(value));
        }
        put.send().await.unwrap();
    }

    pub(crate) async fn lineage(&self, image: &str) -> Lineage {
        self.table.lineage(&image.parse::<Image>().unwrap()).await.unwrap()
    }

    /// Where an image is, by registry.
    pub(crate) async fn whereabouts(&self, image: &str) -> BTreeMap<String, Whereabouts> {
        let lineage = self.lineage(image).await;
        lineage.whereabouts().into_iter().map(|place| (place.registry.to_string(), place)).collect()
    }
}

/// An attribute as text, with the keys of maps sorted.
pub(crate) type AttributeValueText = String;

pub(crate) fn attribute_text(value: &AttributeValue) -> AttributeValueText {
    match value {
        AttributeValue::M(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().map(|(name, value)| (name, attribute_text(value))).collect();
            format!("{fields:?}")
        }
        AttributeValue::L(items) => format!("{:?}", items.iter().map(attribute_text).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

/// A client that does not retry: every failure reaches the code under test.
pub(crate) async fn client(endpoint: &str) -> Client {
    // Implementations with several accounts take a 12-digit access key as the account ID.
    let credentials = Credentials::new("111122223333", "secret", None, None, "test");
    let config = start::loader()
        .endpoint_url(endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled());
    Client::new(&config.load().await)
}

/// Delivers events to the function as one batch, each in a message of its registry's topic, and returns the positions of
/// those that failed. What is not JSON is delivered as it is.
pub(crate) async fn deliver(table: &Table, events: impl IntoIterator<Item = String>) -> Vec<String> {
    let message = |text: String| match serde_json::from_str::<Value>(&text) {
        // SNS receives an event when it happens, and later than any event whose time cannot be read.
        Ok(event) => {
            let time = event["time"].as_str().and_then(|time| time.parse().ok()).unwrap_or(Timestamp::MAX);
            notification(&event, "dc1e94d9-56c5-5e96-808d-cc7f68faa162", time)
        }
        Err(_) => text,
    };
    handle(table, events.into_iter().map(message)).await.failed
}

/// Hands messages to the function as one batch. The id of each is its position.
pub(crate) async fn handle(table: &Table, bodies: impl IntoIterator<Item = String>) -> Handled {
    handle_batch(table, messages(bodies)).await
}

/// Hands a batch to the function.
pub(crate) async fn handle_batch(table: &Table, batch: SqsEvent) -> Handled {
    let senders = Senders { topic_name: TOPIC_NAME.to_owned(), accounts: BTreeSet::new(), organization: true };
    let mut handled = Record { table: table.clone(), senders, proofs: Proofs::simulated() }.handle(batch).await;
    handled.failed.sort();
    handled
}

/// A batch of messages with these bodies. The id of each is its position.
pub(crate) fn messages(bodies: impl IntoIterator<Item = String>) -> SqsEvent {
    let message = |(place, body): (usize, String)| {
        let mut message = SqsMessage::default();
        message.message_id = Some(place.to_string());
        message.body = Some(body);
        message
    };
    let mut batch = SqsEvent::default();
    batch.records = bodies.into_iter().enumerate().map(message).collect();
    batch
}
