//! What facts prove: their evidence, merged with what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    evidence::{self, Evidence, PlacementKey},
    lag,
};
use futures::{StreamExt, join, stream};

use super::{Batch, PerSubjects, Places, late, want};
use crate::{
    Stored, Table,
    batch::{CALLS_AT_A_TIME, Shared},
    evidence::{decode_evidence, encode_evidence},
    expectation::Expected,
    item::{self, Item, Key},
};

/// What the remaining steps of recording need.
pub(super) struct ForProof {
    /// The evidence about the images that lost a tag by the facts.
    pub(super) displacements: Vec<(PlacementKey, Evidence, Places)>,
    /// The copies that the facts should cause.
    expected: Vec<Expected>,
    /// Where the replications came from.
    sources: BTreeSet<PlacementKey>,
    /// What is stored.
    pub(super) items: Read,
}

/// Items that were read together, by their keys.
type Read = BTreeMap<Key, Result<Item, Shared>>;

/// Evidence that facts prove, and the subjects of the facts.
struct Proved {
    name: PlacementKey,
    evidence: Evidence,
    places: Places,
}

/// Evidence that facts prove, compared with what is stored.
#[derive(Default)]
struct Compared {
    /// Stored evidence to which the facts add nothing.
    known: BTreeMap<PlacementKey, Evidence>,
    /// Evidence under keys that are not stored yet, and its item.
    new: Vec<(Proved, Item)>,
    /// Evidence that changes what is stored, what is stored, and both merged.
    changed: Vec<(Proved, Evidence, Evidence)>,
}

/// Evidence that was written, or why it was not.
type Written = (PlacementKey, Places, Result<Evidence, Shared>);

impl Table {
    /// Reads, in one call, everything that the remaining steps need: the evidence under the keys that the facts and the
    /// moves of tags are about, the evidence at the sources of replications, the stored expectations, and when the
    /// registries were listed.
    pub(super) async fn read_for_proof(
        &self,
        batch: &Batch<'_>,
        displacements: Vec<(PlacementKey, Evidence, Places)>,
        mut expected: Vec<Expected>,
    ) -> ForProof {
        let proved = proved_by(batch, &displacements);
        let sources: BTreeSet<_> = batch.facts().filter_map(|(_, fact)| lag::measured_from(fact)).collect();
        expected.retain(|expected| batch.sound(&expected.places));
        let names = proved.keys().chain(&sources).map(item::key_of_placement);
        let keys = names.chain(expected.iter().map(|expected| expected.key.clone()));
        let items = self.get_each(keys.chain(late::keys_of_listings(batch)).collect()).await;
        ForProof { displacements, expected, sources, items }
    }

    /// Merges the evidence of the facts with what is stored.
    ///
    /// Returns the merged evidence, also that at the sources of replications; and the expectations as they are stored.
    pub(super) async fn prove(
        &self,
        batch: &mut Batch<'_>,
        read: ForProof,
    ) -> (BTreeMap<PlacementKey, Evidence>, Vec<Expected>) {
        let ForProof { displacements, mut expected, sources, items: mut read } = read;
        let proved = proved_by(batch, &displacements);
        expected.retain(|expected| batch.sound(&expected.places));
        let expected = with_stored(batch, expected, &mut read);
        let Compared { mut known, new, changed } = self.compare(batch, proved, &mut read);
        for name in sources {
            // Only the measurement of lag needs these. It reads again whatever cannot be read here, and reports the
            // error.
            match read.remove(&item::key_of_placement(&name)).transpose().map(|item| item.map(decode_evidence)) {
                Ok(None) => _ = known.entry(name).or_default(),
                Ok(Some(Ok((name, evidence)))) => _ = known.entry(name).or_insert(evidence),
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
        for (name, places, written) in self.write_evidence(new, changed).await {
            if let Some(evidence) = batch.check(&places, written) {
                known.insert(name, evidence);
            }
        }
        (known, expected)
    }

    /// Compares the evidence that facts prove with what is stored.
    fn compare(&self, batch: &mut Batch<'_>, proved: PerSubjects<PlacementKey, Evidence>, read: &mut Read) -> Compared {
        let mut compared = Compared::default();
        for (name, (evidence, places)) in proved {
            let stored = read.remove(&item::key_of_placement(&name)).transpose().and_then(|item| {
                let stored = item.map(|item| self.decode(item, decode_evidence)).transpose().map_err(Arc::new)?;
                Ok(stored.map(|(_, evidence)| evidence))
            });
            let Some(stored) = batch.check(&places, stored) else { continue };
            // The caller repeats failed subjects as a whole, so nothing more is written for them.
            if !batch.sound(&places) {
                continue;
            }
            let Some(stored) = stored else {
                let item = encode_evidence(&name, &evidence)
                    .map_err(|source| Arc::new(self.decode_error(&item::sort_key_of_placement(&name), source)));
                if let Some(item) = batch.check(&places, item) {
                    compared.new.push((Proved { name, evidence, places }, item));
                }
                continue;
            };
            let mut merged = stored.clone();
            merged.merge(&evidence);
            if merged == stored {
                compared.known.insert(name, merged);
            } else {
                compared.changed.push((Proved { name, evidence, places }, stored, merged));
            }
        }
        compared
    }

    /// Writes new evidence and changed evidence. What another writer changed meanwhile is read and merged again.
    async fn write_evidence(
        &self,
        new: Vec<(Proved, Item)>,
        changed: Vec<(Proved, Evidence, Evidence)>,
    ) -> Vec<Written> {
        let (new, insertions): (Vec<_>, Vec<_>) = new.into_iter().unzip();
        let changes = stream::iter(changed).map(async |(proved, stored, merged)| {
            let Proved { name, evidence, places } = proved;
            let result = match self.replace_evidence(&name, &stored, &merged).await {
                Ok(Stored::New) => Ok(merged),
                Ok(Stored::Known) => self.merge_evidence(&name, &evidence).await,
                Err(error) => Err(error),
            };
            (name, places, result.map_err(Arc::new))
        });
        let (inserted, changed) =
            join!(self.insert_each(insertions), changes.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>());
        let inserted = stream::iter(new.into_iter().zip(inserted)).map(async |(proved, result)| {
            let Proved { name, evidence, places } = proved;
            let result = match result {
                Ok(Stored::New) => Ok(evidence),
                Ok(Stored::Known) => self.merge_evidence(&name, &evidence).await.map_err(Arc::new),
                Err(error) => Err(error),
            };
            (name, places, result)
        });
        let inserted: Vec<_> = inserted.buffer_unordered(CALLS_AT_A_TIME).collect().await;
        inserted.into_iter().chain(changed).collect()
    }
}

/// The evidence of the facts and of the tags that they moved, merged for each key.
fn proved_by(
    batch: &Batch<'_>,
    displacements: &[(PlacementKey, Evidence, Places)],
) -> PerSubjects<PlacementKey, Evidence> {
    let mut proved: PerSubjects<PlacementKey, Evidence> = BTreeMap::new();
    for (place, fact) in batch.facts() {
        for (name, evidence) in evidence::of(fact) {
            want(&mut proved, name, Evidence::default, place).merge(&evidence);
        }
    }
    for (name, evidence, places) in displacements {
        for place in places.iter().filter(|place| matches!(batch.failures.get(**place), Some(None))) {
            want(&mut proved, name.clone(), Evidence::default, *place).merge(evidence);
        }
    }
    proved
}

/// The expected copies with the expectations that are stored, without those that could not be read.
fn with_stored(batch: &mut Batch<'_>, mut expected: Vec<Expected>, read: &mut Read) -> Vec<Expected> {
    expected.retain_mut(|expected| match read.remove(&expected.key).transpose() {
        Ok(stored) => {
            expected.stored = stored;
            true
        }
        Err(error) => {
            batch.fail(&expected.places, &error);
            false
        }
    });
    expected
}
