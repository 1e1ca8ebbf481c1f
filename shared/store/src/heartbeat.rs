//! Heartbeats: whether the events of each registry reach the hub.

use std::{collections::BTreeMap, sync::PoisonError};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    heartbeat::{Forgotten, Heartbeat},
    image::Registry,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Error, Table,
    item::{self, Item, ItemError},
};

/// The partition key of the heartbeats of all registries; the sort key is the registry.
const HEARTBEATS: &str = "heartbeats";

/// The resolution of the time of a registry's last event: it costs 12 writes an hour at most. Rounded down, so that the
/// stored time does not depend on the order of events.
const RESOLUTION: SignedDuration = SignedDuration::from_mins(5);

impl Table {
    /// Stores a heartbeat, unless a later one is stored.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_heartbeat(&self, registry: &Registry, sent_at: Timestamp) -> Result<(), Error> {
        self.put_later(registry, "heartbeat_at", sent_at).await
    }

    /// Stores when the last event of a registry happened, rounded down to five minutes, unless a later time is stored.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_last_event(&self, registry: &Registry, happened_at: Timestamp) -> Result<(), Error> {
        let seconds = happened_at.as_second();
        let rounded = Timestamp::from_second(seconds - seconds.rem_euclid(RESOLUTION.as_secs())).unwrap_or(happened_at);
        let stored = self.last_events.lock().unwrap_or_else(PoisonError::into_inner).get(registry).copied();
        if stored.is_some_and(|stored| rounded <= stored) {
            return Ok(());
        }
        self.put_later(registry, "event_at", rounded).await?;
        self.last_events.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.clone(), rounded);
        Ok(())
    }

    /// Stores since when heartbeats of a registry are expected.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn expect_heartbeat(&self, registry: &Registry, since: Timestamp) -> Result<(), Error> {
        let condition = "attribute_not_exists(#expected_since)";
        let attributes = time_attribute("expected_since", since);
        self.update((HEARTBEATS.to_owned(), registry.to_string()), attributes, Some(condition)).await.map(drop)
    }

    /// Stores that an operator forgot a registry: no heartbeat is expected until the next heartbeat or event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn forget_registry(&self, registry: &Registry, forgotten: &Forgotten) -> Result<(), Error> {
        let texts = [
            ("at", Some(forgotten.at.to_string())),
            ("by", Some(forgotten.by.clone())),
            ("reason", forgotten.reason.clone()),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), AttributeValue::S(text?))));
        self.put_attribute(registry, "forgotten", AttributeValue::M(texts.collect())).await
    }

    /// Stores the open incident about missing heartbeats of a registry, or that there is none any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_heartbeat_incident(&self, registry: &Registry, incident: Option<&str>) -> Result<(), Error> {
        let incident = incident.map_or(AttributeValue::Null(true), |incident| AttributeValue::S(incident.to_owned()));
        self.put_attribute(registry, "incident", incident).await
    }

    /// What is known of the path from each registry.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn heartbeats(&self) -> Result<BTreeMap<Registry, Heartbeat>, Error> {
        self.partition(HEARTBEATS, decode_heartbeat).await
    }

    async fn put_attribute(&self, registry: &Registry, name: &str, value: AttributeValue) -> Result<(), Error> {
        let attributes = [(name.to_owned(), value)].into();
        self.update((HEARTBEATS.to_owned(), registry.to_string()), attributes, None).await.map(drop)
    }

    async fn put_later(&self, registry: &Registry, attribute: &str, time: Timestamp) -> Result<(), Error> {
        let condition = format!("attribute_not_exists(#{attribute}) OR #{attribute} < :{attribute}");
        let attributes = time_attribute(attribute, time);
        self.update((HEARTBEATS.to_owned(), registry.to_string()), attributes, Some(&condition)).await.map(drop)
    }
}

fn time_attribute(name: &str, time: Timestamp) -> Item {
    [(name.to_owned(), AttributeValue::S(time.to_string()))].into()
}

fn decode_heartbeat(mut item: Item) -> Result<(Registry, Heartbeat), ItemError> {
    let registry = item::take(&mut item, "sk")?.parse()?;
    Ok((registry, serde_dynamo::from_item(item)?))
}
