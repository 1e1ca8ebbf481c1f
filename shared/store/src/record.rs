//! Records facts, and everything that they prove.
//!
//! Facts about several subjects are recorded together, step by step, so that each step reads or writes for all of them
//! in as few calls as possible. A subject that fails in one step is left out of the following ones and does not affect
//! the others.

mod completion;
mod late;
mod proof;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    evidence::{Evidence, PlacementKey},
    expectation,
    fact::{Fact, StartedWork, WorkItem, work_started_by},
    image::{Image, Registry},
    tag::{self, TagAssignment, TagName},
};
use futures::{StreamExt, join, stream};

use self::{late::Listings, proof::ForProof};
use super::{
    Error, Stored, Table,
    batch::{CALLS_AT_A_TIME, Shared},
    expectation::Expected,
    fact::encode_fact,
    item::{self, Key},
    queue::encode_work_item,
    tag::encode_assignment,
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
    /// When the registries of the facts were listed.
    listings: Listings,
}

impl<'a> Batch<'a> {
    fn new(subjects: &'a [Vec<&'a Fact>]) -> Self {
        Self { subjects, failures: subjects.iter().map(|_| None).collect(), listings: Listings::new() }
    }

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
        let mut batch = Batch::new(subjects);
        let mut read = self.prepare(&mut batch).await;
        self.record_listed(&mut batch, &mut read).await;
        self.finish(batch, read).await
    }

    /// Stores the tag assignments of the facts, and reads everything that the remaining steps need.
    async fn prepare(&self, batch: &mut Batch<'_>) -> ForProof {
        self.register_registries(batch).await;
        let facts: Vec<_> = batch.facts().collect();
        let (assignments, (expected, undecided)) = join!(self.put_assignments(batch), self.expected(&facts));
        batch.check_all(undecided);
        // After the assignments are stored: see the invariant of `tag::displacements`.
        let displacements = self.displacements(batch, assignments).await;
        self.read_for_proof(batch, displacements, expected).await
    }

    /// Writes what the facts prove, and then the facts.
    async fn finish(&self, mut batch: Batch<'_>, read: ForProof) -> RecordedAll {
        let (known, mut expected) = self.prove(&mut batch, read).await;
        // After the evidence is stored, because the functions that process these items read it.
        let facts: Vec<_> = batch.facts().collect();
        expected.retain(|expected| batch.sound(&expected.places));
        let (started, expecting) = join!(self.start_work(&facts), self.expect_replication(expected));
        batch.check_all(started.into_iter().chain(expecting));
        let completed = self.complete_pushes(&batch, &known).await;
        batch.check_all(completed);
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
        let items = assignments.keys().map(|(name, assignment)| encode_assignment(name, assignment)).collect();
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

    /// Starts the work of some facts.
    async fn start_work(&self, facts: &[(usize, &Fact)]) -> Vec<(Places, Result<(), Shared>)> {
        let (mut due, mut due_again) = (PerSubjects::new(), PerSubjects::new());
        let mut settings: PerSubjects<&Registry, ()> = BTreeMap::new();
        for (place, fact) in facts {
            for started in work_started_by(fact) {
                _ = match started {
                    StartedWork::Enqueue(image, work_item) => want(&mut due, (image, work_item), || (), *place),
                    StartedWork::EnqueueAgain(image, work_item) => {
                        want(&mut due_again, (image, work_item), || (), *place)
                    }
                    StartedWork::ReadSettings(registry) => want(&mut settings, registry, || (), *place),
                };
            }
        }
        let (mut enqueued, requested) = join!(self.enqueue_all(due, due_again), self.request_all_settings(settings));
        enqueued.extend(requested);
        enqueued
    }

    /// Enqueues work items; those of `due_again` only if they were ever enqueued.
    async fn enqueue_all<'a>(
        &self,
        mut due: PerSubjects<(&'a Image, WorkItem), ()>,
        due_again: PerSubjects<(&'a Image, WorkItem), ()>,
    ) -> Vec<(Places, Result<(), Shared>)> {
        let due_again: Vec<_> = due_again.into_iter().filter(|(work_item, _)| !due.contains_key(work_item)).collect();
        let mut results = Vec::new();
        let key = |(image, work_item): &(&Image, WorkItem)| item::key_of_work_item(image, work_item);
        let mut known = self.get_each(due_again.iter().map(|(work_item, _)| key(work_item)).collect()).await;
        for (work_item, wanted) in due_again {
            match known.remove(&key(&work_item)) {
                None => {}
                Some(Ok(_)) => _ = due.insert(work_item, wanted),
                Some(Err(error)) => results.push((wanted.1, Err(error))),
            }
        }
        let items = due.keys().map(|(image, work_item)| encode_work_item(image, work_item)).collect();
        let put = self.put_each(items).await;
        results.extend(due.into_values().map(|(_, places)| places).zip(put));
        results
    }

    /// Requests reads of the settings of some registries.
    async fn request_all_settings(&self, registries: PerSubjects<&Registry, ()>) -> Vec<(Places, Result<(), Shared>)> {
        let requested = stream::iter(registries)
            .map(async |(registry, (_, places))| (places, self.request_settings(registry).await.map_err(Arc::new)));
        requested.buffer_unordered(CALLS_AT_A_TIME).collect().await
    }

    /// The copies that the facts should cause, and the subjects for which that could not be determined.
    async fn expected(&self, facts: &[(usize, &Fact)]) -> (Vec<Expected>, Vec<(Places, Result<(), Shared>)>) {
        let (mut wanted, mut undecided) = (BTreeMap::new(), Vec::new());
        for (place, fact) in facts {
            let Some((image, tag)) = expectation::pushed_by(fact) else { continue };
            let settings = match self.remembered_settings(fact.time).await {
                Ok(settings) => settings,
                Err(error) => {
                    undecided.push((Places::from([*place]), Err(Arc::new(error))));
                    continue;
                }
            };
            if !expectation::is_replicated(&settings, image, &fact.registry, fact.time) {
                continue;
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

    /// Stores the facts, and returns the result for each subject.
    async fn put_facts(&self, mut batch: Batch<'_>) -> Vec<Result<Vec<Stored>, Shared>> {
        let facts: Vec<_> = batch.facts().collect();
        // The item of each key, because the same event may be in a batch twice.
        let mut keys: BTreeMap<Key, usize> = BTreeMap::new();
        let (mut items, mut stored_at) = (Vec::new(), Vec::new());
        for (place, fact) in facts {
            let item = encode_fact(&late::as_listed(fact, &batch.listings))
                .map_err(|source| Arc::new(self.decode_error(&fact.event_id, source)));
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
