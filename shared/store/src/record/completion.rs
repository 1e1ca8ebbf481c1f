//! Pushes that the facts of a batch complete: the last copy arrived, or the push is reported after its copies.
//!
//! The evidence and the expectations of the batch are stored before those of the other copies are read, consistently.
//! Of several writers that store the parts of it at the same time, the last one sees all.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    evidence::{Evidence, PlacementKey},
    expectation::{PushKey, push_concerned_by},
    image::Registry,
    lineage::Placement,
    replication::ReplicationSettings,
};
use futures::{StreamExt, stream};

use super::{Batch, PerSubjects, Places, want};
use crate::{
    Stored, Table,
    batch::{CALLS_AT_A_TIME, Shared},
    evidence::decode_evidence,
    expectation::decode_expectation,
    item::{self, Item, Key},
};

/// How often a push is read again whose expectation another writer changed since it was read.
const ROUNDS: usize = 5;

/// What is stored, by key.
type Read = BTreeMap<Key, Result<Item, Shared>>;

impl Table {
    /// Stores for each push that the facts concern that all its copies have arrived, if they have.
    pub(super) async fn complete_pushes(
        &self,
        batch: &Batch<'_>,
        known: &BTreeMap<PlacementKey, Evidence>,
    ) -> Vec<(Places, Result<(), Shared>)> {
        let mut pushes: PerSubjects<PushKey, ReplicationSettings> = BTreeMap::new();
        let mut results = Vec::new();
        for (place, fact) in batch.facts() {
            let Some(push) = push_concerned_by(fact) else { continue };
            match self.remembered_settings(fact.time).await {
                // Without settings it is not known which copies are expected: `watch` reads them, and decides.
                Ok(settings) => {
                    let own =
                        settings.get(&push.source).filter(|own| !own.destinations(&push.image.repository).is_empty());
                    if let Some(own) = own {
                        want(&mut pushes, push, || own.clone(), place);
                    }
                }
                Err(error) => results.push((Places::from([place]), Err(Arc::new(error)))),
            }
        }
        let keys = pushes.iter().flat_map(|(push, (settings, _))| {
            let evidence = evidence_of(push, settings).filter(|key| !known.contains_key(key));
            evidence.map(|key| item::key_of_placement(&key)).chain([key_of(push)])
        });
        let read = self.get_each(keys.collect()).await;
        let completed = stream::iter(pushes)
            .map(async |(push, (settings, places))| (places, self.complete_push(&push, &settings, known, &read).await));
        results.extend(completed.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>().await);
        results
    }

    async fn complete_push(
        &self,
        push: &PushKey,
        settings: &ReplicationSettings,
        known: &BTreeMap<PlacementKey, Evidence>,
        read: &Read,
    ) -> Result<(), Shared> {
        if self.complete_as_read(push, settings, known, read).await? == Stored::New {
            return Ok(());
        }
        for _ in 1..ROUNDS {
            let keys = evidence_of(push, settings).map(|key| item::key_of_placement(&key)).chain([key_of(push)]);
            let again = self.get_each(keys.collect()).await;
            if self.complete_as_read(push, settings, &BTreeMap::new(), &again).await? == Stored::New {
                return Ok(());
            }
        }
        let (pk, _) = key_of(push);
        Err(Arc::new(
            self.write_error(&pk, retry::CallError::unclear("the expectation changed whenever it was read".to_owned())),
        ))
    }

    /// `Known` if another writer changed the expectation since it was read.
    async fn complete_as_read(
        &self,
        push: &PushKey,
        settings: &ReplicationSettings,
        known: &BTreeMap<PlacementKey, Evidence>,
        read: &Read,
    ) -> Result<Stored, Shared> {
        let item = |key: &Key| read.get(key).cloned().transpose();
        // No event has reported the push yet.
        let Some(expectation) = item(&key_of(push))? else { return Ok(Stored::New) };
        let expectation = self.decode(expectation, decode_expectation)?;
        if expectation.state.completion.is_some() {
            return Ok(Stored::New);
        }
        let mut placements: BTreeMap<Registry, Placement> = BTreeMap::new();
        for key in evidence_of(push, settings) {
            let stored = item(&item::key_of_placement(&key))?;
            let stored =
                stored.map(|item| self.decode(item, decode_evidence)).transpose()?.map(|(_, evidence)| evidence);
            if let Some(evidence) = known.get(&key).cloned().or(stored) {
                placements.insert(key.registry, Placement::of([(key.tag, evidence)]));
            }
        }
        let arrived_at = |to: &Registry| expectation.arrived_at(placements.get(to));
        let Some(completion) = expectation.completion(settings, arrived_at) else { return Ok(Stored::New) };
        Ok(self.put_completion(&expectation, completion).await?)
    }
}

/// The evidence of the copies of a push, in each destination.
fn evidence_of<'a>(push: &'a PushKey, settings: &'a ReplicationSettings) -> impl Iterator<Item = PlacementKey> + 'a {
    let PushKey { image, tag, .. } = push;
    let destinations = settings.destinations(&image.repository).into_keys();
    destinations.map(move |to| PlacementKey { image: image.clone(), registry: to.clone(), tag: tag.clone() })
}

fn key_of(push: &PushKey) -> Key {
    item::key_of_expectation(&push.image, &push.source, push.tag.as_ref())
}
