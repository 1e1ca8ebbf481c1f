//! Records facts, and everything that they prove.
//!
//! Facts about several subjects are recorded together, step by step, so that each step reads or writes for all of them
//! in as few calls as possible. A subject that fails in one step is left out of the following ones and does not affect
//! the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    evidence::{self, Evidence, PlacementKey},
    fact::{Cause, Fact, Subject, What},
    image::{Image, Registry, Tag},
    tag::{self, TagAssignment, TagName},
};
use futures::{StreamExt, join, stream};
use jiff::Timestamp;

use super::{
    Error, Stored, Table, WorkItem,
    batch::{CALLS_AT_A_TIME, Key, Shared},
    item::{self, Item},
};

/// The result of recording facts about one subject.
#[derive(Debug)]
pub struct Recorded {
    /// For each fact, whether it was new.
    pub stored: Vec<Stored>,
    /// The merged evidence under the keys that the facts are about.
    pub known: BTreeMap<PlacementKey, Evidence>,
}

/// The result of recording facts about several subjects.
#[derive(Debug)]
pub struct RecordedAll {
    /// For each subject: whether each of its facts was new, or why not all of them could be recorded.
    pub subjects: Vec<Result<Vec<Stored>, Arc<Error>>>,
    /// The merged evidence under the keys that the facts are about, and under those that they were replicated from.
    pub known: BTreeMap<PlacementKey, Evidence>,
}

/// Indexes of subjects.
type Places = BTreeSet<usize>;

/// What a step reads or writes, once per key, with the subjects that need it.
type PerSubjects<K, V> = BTreeMap<K, (V, Places)>;

/// The facts about some subjects, and the failures so far.
struct Batch<'a> {
    subjects: &'a [Vec<&'a Fact>],
    failures: Vec<Option<Shared>>,
}

impl<'a> Batch<'a> {
    /// The facts of subjects without a failure, each with the index of its subject.
    fn facts(&self) -> impl Iterator<Item = (usize, &'a Fact)> {
        let sound = self.subjects.iter().zip(&self.failures).enumerate().filter(|(_, (_, failure))| failure.is_none());
        sound.flat_map(|(place, (facts, _))| facts.iter().map(move |fact| (place, *fact)))
    }

    /// Fails these subjects, unless they failed before.
    fn fail(&mut self, places: &Places, error: &Shared) {
        for place in places {
            if let Some(failure) = self.failures.get_mut(*place) {
                failure.get_or_insert_with(|| error.clone());
            }
        }
    }

    /// Fails these subjects if the result is an error.
    fn check<T>(&mut self, places: &Places, result: Result<T, Shared>) -> Option<T> {
        result.map_err(|error| self.fail(places, &error)).ok()
    }

    fn check_all(&mut self, results: impl IntoIterator<Item = (Places, Result<(), Shared>)>) {
        for (places, result) in results {
            self.check(&places, result);
        }
    }

    /// Whether at least one of these subjects has no failure.
    fn sound(&self, places: &Places) -> bool {
        places.iter().any(|place| self.failures.get(*place).is_some_and(Option::is_none))
    }
}

/// Adds a subject to those that need a key.
fn want<K: Ord, V>(wanted: &mut PerSubjects<K, V>, key: K, value: impl FnOnce() -> V, place: usize) -> &mut V {
    let (value, places) = wanted.entry(key).or_insert_with(|| (value(), Places::new()));
    places.insert(place);
    value
}

impl Table {
    /// Records the facts about one subject. The facts themselves are written last, so a fact in the table implies that
    /// everything it proves is in the table too.
    ///
    /// # Errors
    /// When something cannot be read or written. Part of it may be recorded then; recording the facts again completes
    /// it.
    pub async fn record(&self, facts: &[&Fact]) -> Result<Recorded, Error> {
        let RecordedAll { subjects, known } = self.record_all(&[facts.to_vec()]).await;
        let stored = subjects.into_iter().next().unwrap_or_else(|| Ok(Vec::new()));
        Ok(Recorded { stored: stored.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(Error::Shared))?, known })
    }

    /// Records the facts about several subjects, as [`Table::record`] does for one. A failure affects only its own
    /// subject.
    pub async fn record_all(&self, subjects: &[Vec<&Fact>]) -> RecordedAll {
        let mut batch = Batch { subjects, failures: subjects.iter().map(|_| None).collect() };
        self.register_registries(&mut batch).await;
        let facts: Vec<_> = batch.facts().collect();
        let (assignments, (expected, undecided)) = join!(self.put_assignments(&mut batch), self.expected(&facts));
        batch.check_all(undecided);
        // After the assignments are stored: see the invariant of `tag::displacements`.
        let displacements = self.displacements(&mut batch, assignments).await;
        let (known, mut expected) = self.prove(&mut batch, displacements, expected).await;
        self.put_repository_deletions(&mut batch).await;
        // After the evidence is stored, because the functions that process these items read it.
        let facts: Vec<_> = batch.facts().collect();
        expected.retain(|expected| batch.sound(&expected.places));
        let (woken, expecting, asked) = join!(
            self.enqueue_work_items(&facts),
            self.expect_replication(expected),
            self.request_all_settings(&facts)
        );
        batch.check_all(woken.into_iter().chain(expecting).chain(asked));
        let subjects = self.put_facts(batch).await;
        RecordedAll { subjects, known }
    }

    async fn register_registries(&self, batch: &mut Batch<'_>) {
        let mut registries: PerSubjects<&Registry, ()> = BTreeMap::new();
        for (place, fact) in batch.facts() {
            want(&mut registries, &fact.registry, || (), place);
        }
        let listed = stream::iter(registries)
            .map(async |(registry, (_, places))| (places, self.register_registry(registry).await.map_err(Arc::new)));
        batch.check_all(listed.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>().await);
    }

    /// Stores the tag assignments of the facts, and returns those that were stored.
    async fn put_assignments(&self, batch: &mut Batch<'_>) -> Vec<(TagName, TagAssignment, Places)> {
        let mut assignments: PerSubjects<(TagName, TagAssignment), ()> = BTreeMap::new();
        for (place, fact) in batch.facts() {
            for assignment in tag::assignments_of(fact) {
                want(&mut assignments, assignment, || (), place);
            }
        }
        let items = assignments.keys().map(|(name, assignment)| item::assignment(name, assignment)).collect();
        let put = self.put_each(items).await;
        let stored = assignments.into_iter().zip(put).filter_map(|(((name, assignment), (_, places)), result)| {
            batch.check(&places, result)?;
            Some((name, assignment, places))
        });
        stored.collect()
    }

    /// The evidence that settings of tags give about the adjacent assignments in the tag's history.
    async fn displacements(
        &self,
        batch: &mut Batch<'_>,
        assignments: Vec<(TagName, TagAssignment, Places)>,
    ) -> Vec<(PlacementKey, Evidence, Places)> {
        // One history for each tag in each registry.
        let mut histories: BTreeMap<(TagName, Registry), Vec<(TagAssignment, Places)>> = BTreeMap::new();
        for (name, assignment, places) in assignments {
            if assignment.set && batch.sound(&places) {
                histories.entry((name, assignment.registry.clone())).or_default().push((assignment, places));
            }
        }
        let read = stream::iter(histories).map(async |((name, registry), assignments)| {
            let settings: Vec<_> = assignments.iter().map(|(assignment, _)| assignment).collect();
            let adjacent_ranges = self.adjacent_assignments(&name, &registry, &settings).await;
            (name, assignments, adjacent_ranges)
        });
        let mut displacements = Vec::new();
        for (name, assignments, adjacent_ranges) in read.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>().await {
            for ((assignment, places), adjacent_ranges) in assignments.into_iter().zip(adjacent_ranges) {
                let Some((before, after)) = batch.check(&places, adjacent_ranges) else { continue };
                let moved = tag::displacements(&name, &assignment, &before, &after).into_iter();
                displacements.extend(moved.map(|(name, evidence)| (name, evidence, places.clone())));
            }
        }
        displacements
    }

    /// Merges the evidence of the facts with what is stored. One read gets everything that the remaining steps need:
    /// that evidence, the evidence at the sources of replications, and the stored expectations.
    async fn prove(
        &self,
        batch: &mut Batch<'_>,
        displacements: Vec<(PlacementKey, Evidence, Places)>,
        mut expected: Vec<Expected>,
    ) -> (BTreeMap<PlacementKey, Evidence>, Vec<Expected>) {
        let mut proved: PerSubjects<PlacementKey, Evidence> = BTreeMap::new();
        let mut sources: BTreeSet<PlacementKey> = BTreeSet::new();
        for (place, fact) in batch.facts() {
            for (name, evidence) in evidence::of(fact) {
                want(&mut proved, name, Evidence::default, place).merge(&evidence);
            }
            sources.extend(replicated_from(fact));
        }
        for (name, evidence, places) in displacements {
            for place in places.into_iter().filter(|place| matches!(batch.failures.get(*place), Some(None))) {
                want(&mut proved, name.clone(), Evidence::default, place).merge(&evidence);
            }
        }
        expected.retain(|expected| batch.sound(&expected.places));
        let names = proved.keys().chain(&sources).map(item::key_of_placement);
        let mut read = self.get_each(names.chain(expected.iter().map(|expected| expected.key.clone())).collect()).await;
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
        let mut known: BTreeMap<PlacementKey, Evidence> = BTreeMap::new();
        let (mut new, mut insertions, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (name, (evidence, places)) in proved {
            let stored = match read.remove(&item::key_of_placement(&name)) {
                None => Ok(None),
                Some(Ok(item)) => self.decode(item, item::read_evidence).map(|(_, evidence)| Some(evidence)),
                Some(Err(error)) => {
                    batch.fail(&places, &error);
                    continue;
                }
            };
            let Some(stored) = batch.check(&places, stored.map_err(Arc::new)) else { continue };
            // The caller repeats failed subjects as a whole, so nothing more is written for them.
            if !batch.sound(&places) {
                continue;
            }
            let Some(stored) = stored else {
                let item = item::evidence(&name, &evidence);
                let item =
                    item.map_err(|source| Arc::new(self.decode_error(&item::sort_key_of_placement(&name), source)));
                if let Some(item) = batch.check(&places, item) {
                    new.push((name, evidence, places));
                    insertions.push(item);
                }
                continue;
            };
            let mut merged = stored.clone();
            merged.merge(&evidence);
            if merged == stored {
                known.insert(name, merged);
            } else {
                changed.push((name, evidence, places, stored, merged));
            }
        }
        for name in sources {
            // Only the measurement of lag needs these. It reads again whatever cannot be read here, and reports the
            // error.
            match read.remove(&item::key_of_placement(&name)).transpose().map(|item| item.map(item::read_evidence)) {
                Ok(None) => _ = known.entry(name).or_default(),
                Ok(Some(Ok((name, evidence)))) => _ = known.entry(name).or_insert(evidence),
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
        let changes = stream::iter(changed).map(async |(name, evidence, places, stored, merged)| {
            let result = match self.replace(&name, &stored, &merged).await {
                Ok(Stored::New) => Ok(merged),
                Ok(Stored::Known) => self.merge_evidence(&name, &evidence).await,
                Err(error) => Err(error),
            };
            (name, places, result.map_err(Arc::new))
        });
        let (inserted, changed) =
            join!(self.insert_each(insertions), changes.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>());
        let inserted = stream::iter(new.into_iter().zip(inserted)).map(async |((name, evidence, places), result)| {
            let result = match result {
                Ok(Stored::New) => Ok(evidence),
                Ok(Stored::Known) => self.merge_evidence(&name, &evidence).await.map_err(Arc::new),
                Err(error) => Err(error),
            };
            (name, places, result)
        });
        let inserted: Vec<_> = inserted.buffer_unordered(CALLS_AT_A_TIME).collect().await;
        for (name, places, result) in inserted.into_iter().chain(changed) {
            if let Some(evidence) = batch.check(&places, result) {
                known.insert(name, evidence);
            }
        }
        (known, expected)
    }

    async fn put_repository_deletions(&self, batch: &mut Batch<'_>) {
        let facts: Vec<_> = batch.facts().collect();
        let deleted = facts.into_iter().filter_map(|(place, fact)| match (&fact.subject, &fact.what) {
            (Subject::Repository(repository), What::RepositoryDeleted { .. }) => Some((place, repository, fact)),
            _ => None,
        });
        let put = stream::iter(deleted).map(async |(place, repository, fact)| {
            (Places::from([place]), self.put_repository_deletion(repository, fact).await.map_err(Arc::new))
        });
        batch.check_all(put.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<_>>().await);
    }

    /// Enqueues the work items that result from some facts.
    async fn enqueue_work_items(&self, facts: &[(usize, &Fact)]) -> Vec<(Places, Result<(), Shared>)> {
        let (mut work_items, late, failed) =
            (work_items(facts, lost), work_items(facts, arrived), work_items(facts, failed));
        let late: Vec<_> = late.into_iter().filter(|(work_item, _)| !work_items.contains_key(work_item)).collect();
        work_items.extend(failed);
        let mut results = Vec::new();
        let key = |(image, work_item): &(&Image, WorkItem)| (item::pk_of_image(image), work_item.sort_key());
        let mut known = self.get_each(late.iter().map(|(work_item, _)| key(work_item)).collect()).await;
        for (work_item, wanted) in late {
            match known.remove(&key(&work_item)) {
                None => {}
                Some(Ok(_)) => _ = work_items.insert(work_item, wanted),
                Some(Err(error)) => results.push((wanted.1, Err(error))),
            }
        }
        let items = work_items.keys().map(|(image, work_item)| item::work_item(image, work_item)).collect();
        let put = self.put_each(items).await;
        results.extend(work_items.into_values().map(|(_, places)| places).zip(put));
        results
    }

    /// Requests a read of the settings of registries whose replication was configured.
    async fn request_all_settings(&self, facts: &[(usize, &Fact)]) -> Vec<(Places, Result<(), Shared>)> {
        let mut configured: PerSubjects<&Registry, ()> = BTreeMap::new();
        for (place, fact) in facts.iter().filter(|(_, fact)| matches!(fact.what, What::ReplicationConfigured { .. })) {
            want(&mut configured, &fact.registry, || (), *place);
        }
        let asked = stream::iter(configured)
            .map(async |(registry, (_, places))| (places, self.request_settings(registry).await.map_err(Arc::new)));
        asked.buffer_unordered(CALLS_AT_A_TIME).collect().await
    }

    /// Stores the facts, and returns the result for each subject.
    async fn put_facts(&self, mut batch: Batch<'_>) -> Vec<Result<Vec<Stored>, Shared>> {
        let facts: Vec<_> = batch.facts().collect();
        // The item of each key, because the same event may be in a batch twice.
        let mut keys: BTreeMap<Key, usize> = BTreeMap::new();
        let (mut items, mut stored_at) = (Vec::new(), Vec::new());
        for (place, fact) in facts {
            let item = item::fact(fact).map_err(|source| Arc::new(self.decode_error(&fact.event_id, source)));
            let Some(item) = batch.check(&Places::from([place]), item) else { continue };
            let at = item::key_of(&item).map_or(items.len(), |key| *keys.entry(key).or_insert(items.len()));
            stored_at.push((place, at));
            if at == items.len() {
                items.push(item);
            }
        }
        let mut stored: Vec<_> = self.insert_each(items).await.into_iter().map(|result| (result, false)).collect();
        let mut answers: Vec<Vec<Stored>> = batch.subjects.iter().map(|_| Vec::new()).collect();
        for (place, at) in stored_at {
            let Some((result, repeated)) = stored.get_mut(at) else { continue };
            let how = if *repeated { Stored::Known } else { Stored::New };
            *repeated = true;
            let result = result.clone().map(|stored| if how == Stored::Known { how } else { stored });
            if let (Some(stored), Some(answer)) = (batch.check(&Places::from([place]), result), answers.get_mut(place))
            {
                answer.push(stored);
            }
        }
        answers.into_iter().zip(batch.failures).map(|(stored, failure)| failure.map_or(Ok(stored), Err)).collect()
    }
}

/// The copies that a push should cause.
pub(super) struct Expected {
    pub(super) key: Key,
    pub(super) image: Image,
    /// The newest of the pushes.
    pub(super) since: Timestamp,
    /// The indexes of the subjects of the pushes.
    pub(super) places: Places,
    /// The expectation that is already stored.
    pub(super) stored: Option<Item>,
}

impl Table {
    /// The copies that the facts should cause, and the subjects for which that could not be determined.
    async fn expected(&self, facts: &[(usize, &Fact)]) -> (Vec<Expected>, Vec<(Places, Result<(), Shared>)>) {
        let (mut wanted, mut undecided) = (BTreeMap::new(), Vec::new());
        for (place, fact) in facts {
            let Some((image, tag)) = pushed(fact) else { continue };
            match self.expects_replication(image, &fact.registry, fact.time).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    undecided.push((Places::from([*place]), Err(Arc::new(error))));
                    continue;
                }
            }
            let key = item::key_of_expectation(image, &fact.registry, tag);
            let expected = wanted.entry(key.clone()).or_insert_with(|| Expected {
                key,
                image: image.clone(),
                since: fact.time,
                places: Places::new(),
                stored: None,
            });
            expected.since = expected.since.max(fact.time);
            expected.places.insert(*place);
        }
        (wanted.into_values().collect(), undecided)
    }
}

/// The work items that result from some facts about images.
fn work_items<'a>(
    facts: &[(usize, &'a Fact)],
    of: fn(&Fact) -> Option<WorkItem>,
) -> PerSubjects<(&'a Image, WorkItem), ()> {
    let mut work_items = BTreeMap::new();
    for (place, fact) in facts {
        if let (Subject::Image(image), Some(work_item)) = (&fact.subject, of(fact)) {
            want(&mut work_items, (image, work_item), || (), *place);
        }
    }
    work_items
}

/// The key of the image or tag at the source of a replication.
fn replicated_from(fact: &Fact) -> Option<PlacementKey> {
    match (&fact.subject, &fact.what) {
        (Subject::Image(image), What::Replicated { source, tag }) => {
            Some(PlacementKey { image: image.clone(), registry: source.clone(), tag: tag.clone() })
        }
        _ => None,
    }
}

/// The registry that lost an image or a tag by a fact. A deletion by ecr-lineage itself has no consequences.
fn lost(fact: &Fact) -> Option<WorkItem> {
    let lost = match &fact.what {
        What::ImageDeleted { cause } | What::TagsDeleted { cause, .. } => !matches!(cause, Cause::Mirror { .. }),
        What::Observed { storage, without, .. } => storage.is_none() || !without.is_empty(),
        _ => false,
    };
    lost.then(|| WorkItem::SourceLost(fact.registry.clone()))
}

/// The source of a replica that arrived. If the source lost the image meanwhile, the replica arrived after the loss.
fn arrived(fact: &Fact) -> Option<WorkItem> {
    match &fact.what {
        What::Replicated { source, .. } | What::Observed { source: Some(source), .. } => {
            Some(WorkItem::SourceLost(source.clone()))
        }
        _ => None,
    }
}

/// The source of a copy that failed.
fn failed(fact: &Fact) -> Option<WorkItem> {
    match &fact.what {
        What::ReplicationFailed { source, tag } => Some(WorkItem::ReplicationFailed(source.clone(), tag.clone())),
        _ => None,
    }
}

/// The push or restore that ECR replicates, if a rule applies: "only repository content pushed or restored".
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>
fn pushed(fact: &Fact) -> Option<(&Image, Option<&Tag>)> {
    match (&fact.subject, &fact.what) {
        (Subject::Image(image), What::Pushed { tag, .. }) => Some((image, tag.as_ref())),
        (Subject::Image(image), What::Restored) => Some((image, None)),
        _ => None,
    }
}
