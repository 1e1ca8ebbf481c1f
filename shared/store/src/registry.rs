//! The known registries, and their replication settings as last read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{image::Registry, replication::ReplicationSettings};
use jiff::{SignedDuration, Timestamp};

use super::{
    Error, Stored, Table,
    calls::Condition,
    item::{self, Item, ItemError, sort_key_of_time, take},
    queue::{DUE_IMMEDIATELY, queued_for_watch},
};

/// How long cached settings are used. It is the difference between the times of pushes, because `record` has no other
/// clock.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

/// The time of the push for which settings were cached, and the settings.
pub(super) type Remembered = Option<(Timestamp, Arc<BTreeMap<Registry, ReplicationSettings>>)>;

/// A registry from which events came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRegistry {
    /// The registry.
    pub registry: Registry,
    /// Its replication settings; `None` if they were never read.
    pub settings: Option<ReplicationSettings>,
    /// When the settings are to be read again, as stored.
    due: String,
}

impl KnownRegistry {
    /// Whether no read of the settings was attempted since the last request.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.due == DUE_IMMEDIATELY
    }
}

impl Table {
    /// Adds a registry to the known ones, unless it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn register_registry(&self, registry: &Registry) -> Result<(), Error> {
        if self.registered.lock().unwrap_or_else(PoisonError::into_inner).contains(registry) {
            return Ok(());
        }
        self.put_new(encode_new_registry(registry)).await?;
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.clone());
        Ok(())
    }

    /// Every registry from which events came.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn registries(&self) -> Result<BTreeSet<Registry>, Error> {
        Ok(self.known_registries().await?.into_iter().map(|known| known.registry).collect())
    }

    /// Every registry from which events came, with its replication settings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_registries(&self) -> Result<Vec<KnownRegistry>, Error> {
        self.partition(item::REGISTRIES, decode_registry).await
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
        let item = encode_registry(&known.registry, settings, due).map_err(|error| self.decode_error(&key, error))?;
        let due = [("due", AttributeValue::S(known.due.clone()))];
        self.put_if(item, Condition::new("#due = :due", ["due"], due)).await
    }

    /// Requests that the settings of a registry are read immediately.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn request_settings(&self, registry: &Registry) -> Result<(), Error> {
        let key = (item::REGISTRIES.to_owned(), registry.to_string());
        self.update(key, encode_request(), None).await.map(drop)
    }

    /// The settings of all registries, at most [`REMEMBERED`] older than a time.
    pub(super) async fn remembered_settings(
        &self,
        time: Timestamp,
    ) -> Result<Arc<BTreeMap<Registry, ReplicationSettings>>, Error> {
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
}

/// A registry whose settings were never read: they are to be read immediately.
fn encode_new_registry(registry: &Registry) -> Item {
    item::with_key(encode_request(), (item::REGISTRIES.into(), registry.to_string()))
}

/// The attributes of a registry whose settings are to be read immediately.
fn encode_request() -> Item {
    queued_for_watch(Item::new(), DUE_IMMEDIATELY.into())
}

/// A registry whose settings were read, and when they are to be read again.
fn encode_registry(
    registry: &Registry,
    settings: Option<&ReplicationSettings>,
    due: Timestamp,
) -> Result<Item, ItemError> {
    let item = settings.map(serde_dynamo::to_item).transpose()?.unwrap_or_default();
    let item = item::with_key(item, (item::REGISTRIES.into(), registry.to_string()));
    Ok(queued_for_watch(item, sort_key_of_time(due)))
}

fn decode_registry(mut item: Item) -> Result<KnownRegistry, ItemError> {
    let registry = take(&mut item, "sk")?.parse()?;
    let due = take(&mut item, "due").unwrap_or_default();
    let settings = item.contains_key("routes").then(|| serde_dynamo::from_item(item)).transpose()?;
    Ok(KnownRegistry { registry, settings, due })
}
