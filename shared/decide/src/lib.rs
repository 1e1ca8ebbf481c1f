#![doc = include_str!("../README.md")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aws::registry::{DescribedImages, ExpectedPresence, Registries};
use domain::{
    breaker::{Breaker, BreakerClass, BreakerLimits, CountKey, Opened, Planned},
    deletion::{
        Check, CheckName, Decision, Deletion, DeletionContext, PeerRegistry, SubjectState, Verdict, judge,
        registries_to_observe,
    },
    image::{Digest, Registry, RepositoryName},
    lineage::{Lineage, PlacementStatus},
    observation::Observation,
    policy::ManifestKind,
    replication::ReplicationRules,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use policy::{InvalidPolicyError, Policy, PolicyProblem};
use retry::chain;
use store::Table;

/// No registries.
static NONE: BTreeSet<Registry> = BTreeSet::new();

/// The number of partitions or registries that are read concurrently.
const AT_A_TIME: usize = 16;

/// Takes decisions from the table, the registries and the policy. It only reads.
#[derive(Debug, Clone, Copy)]
pub struct Decider<'a> {
    /// The table.
    pub table: &'a Table,
    /// The registries, accessed through the roles.
    pub registries: &'a Registries,
    /// The policy, or why it is invalid. While it is invalid, every replica is kept.
    pub policy: Result<&'a Policy, &'a InvalidPolicyError>,
    /// The limits of the circuit breakers.
    pub limits: BreakerLimits,
    /// Configured registries, which may replicate even if no event ever came from them.
    pub known: &'a BTreeSet<Registry>,
}

/// A deletion, and what is recorded about its image.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The deletion.
    pub deletion: Deletion,
    /// What is recorded about the image.
    pub lineage: Lineage,
}

/// A deletion and the decision about it.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The deletion.
    pub deletion: Deletion,
    /// The verdict and its reasons.
    pub decision: Decision,
    /// The observation of the image in the replica's registry.
    pub replica: Observation,
    /// The observation of the image at the source.
    pub source: Observation,
    /// Whether the table records that the source has the image.
    pub known_at_source: bool,
    /// The class in which the breaker counts the deletion.
    pub class: BreakerClass,
}

/// The decisions about all candidates.
#[derive(Debug, Default)]
pub struct Decisions {
    /// One entry per candidate.
    pub all: Vec<Decided>,
    /// The breakers of the sources, with the deletions to be executed already counted.
    pub breakers: BTreeMap<Registry, Breaker>,
    /// The breakers that opened because of these deletions.
    pub opened: BTreeMap<Registry, Opened>,
}

/// The repository in which images were read.
type RepositoryKey = (Registry, RepositoryName);

/// The digests that were read in each repository, and the result or why it could not be read.
type Observations = BTreeMap<RepositoryKey, (BTreeSet<Digest>, Result<DescribedImages, String>)>;

/// Loads the policy of a file; without a file, the policy that keeps everything.
///
/// # Errors
/// When the file cannot be read, or its policy is invalid.
pub fn load_policy(file: Option<&Path>) -> Result<Policy, InvalidPolicyError> {
    let Some(file) = file else { return Policy::load("keep-everything.cedar", policy::KEEP_EVERYTHING) };
    let name = file.display().to_string();
    match std::fs::read_to_string(file) {
        Ok(text) => Policy::load(&name, &text),
        Err(error) => {
            let problem =
                PolicyProblem { line: 1, column: 1, message: format!("cannot be read: {error}"), suggestion: None };
            Err(InvalidPolicyError { name, problems: vec![problem] })
        }
    }
}

impl<'a> Decider<'a> {
    /// A decider with this policy, the default limits and no configured registries.
    #[must_use]
    pub fn new(table: &'a Table, registries: &'a Registries, policy: &'a Policy) -> Self {
        Self { table, registries, policy: Ok(policy), limits: BreakerLimits::default(), known: &NONE }
    }

    /// Decides from fresh reads of every registry that matters.
    ///
    /// # Errors
    /// When the table cannot be read. A registry that cannot be read keeps the replicas that depend on it.
    pub async fn decide(&self, mut candidates: Vec<Candidate>, now: Timestamp) -> Result<Decisions, store::Error> {
        candidates.sort_by(|a, b| {
            (&a.deletion.image, a.deletion.replica_key()).cmp(&(&b.deletion.image, b.deletion.replica_key()))
        });
        let sources: BTreeSet<_> = candidates.iter().map(|candidate| candidate.deletion.source.clone()).collect();
        let breakers = stream::iter(sources)
            .map(|source| async move { self.table.breaker(&source).await.map(|breaker| (source, breaker)) })
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        let rules = self.rules(&candidates).await?;
        let observations = self.observe_all(&candidates, &rules, &breakers, now).await;
        let mut decisions = Decisions { all: Vec::new(), breakers, opened: BTreeMap::new() };
        self.judge_all(candidates, &rules, &observations, &mut decisions, now);
        count(&mut decisions, &observations, &self.limits, now);
        Ok(decisions)
    }

    /// The replication rules of every known registry.
    async fn rules(
        &self,
        candidates: &[Candidate],
    ) -> Result<BTreeMap<Registry, Result<ReplicationRules, String>>, store::Error> {
        let mut registries = self.table.registries().await?;
        registries.extend(self.known.iter().cloned());
        for Candidate { deletion, lineage } in candidates {
            registries.extend([deletion.source.clone(), deletion.registry.clone()]);
            let sources = lineage.placements.values().flat_map(|placement| placement.replicated().into_keys());
            registries.extend(sources.cloned());
        }
        let read = stream::iter(registries).map(|registry| async move {
            let rules = self.registries.rules(&registry).await.map_err(|failure| chain(&failure));
            (registry, rules)
        });
        Ok(read.buffer_unordered(AT_A_TIME).collect().await)
    }

    /// Reads every image in every registry that matters. Replicas are read first and sources last, so that no
    /// observation is older than the one that shows the source without the image.
    async fn observe_all(
        &self,
        candidates: &[Candidate],
        rules: &BTreeMap<Registry, Result<ReplicationRules, String>>,
        breakers: &BTreeMap<Registry, Breaker>,
        now: Timestamp,
    ) -> Observations {
        let sources: BTreeSet<_> = candidates.iter().map(|candidate| candidate.deletion.source.clone()).collect();
        let (mut first, mut last) =
            (BTreeMap::<RepositoryKey, BTreeSet<Digest>>::new(), BTreeMap::<RepositoryKey, BTreeSet<Digest>>::new());
        let mut going: BTreeMap<(&Registry, CountKey), u32> = BTreeMap::new();
        for Candidate { deletion, lineage } in candidates {
            let image = &deletion.image;
            for registry in registries_to_observe(deletion, lineage, rules) {
                let repositories = if sources.contains(registry) { &mut last } else { &mut first };
                repositories
                    .entry((registry.clone(), image.repository.clone()))
                    .or_default()
                    .insert(image.digest.clone());
            }
            let place = place(deletion, BreakerClass::of(&cause(deletion, lineage)));
            *going.entry((&deletion.source, place)).or_default() += 1;
        }
        // The size of a repository matters only as far as the share of the planned deletions depends on it.
        let mut at_least: BTreeMap<RepositoryKey, u32> = BTreeMap::new();
        for ((source, place), more) in going {
            let breaker = breakers.get(source).cloned().unwrap_or_default();
            if let Some(needed) = breaker.needed_left(&place, more, &self.limits, now) {
                let known = at_least.entry((source.clone(), place.repository)).or_default();
                *known = needed.max(*known);
            }
        }
        let mut observations = self.observe(first, ExpectedPresence::Present, &BTreeMap::new()).await;
        observations.extend(self.observe(last, ExpectedPresence::Absent, &at_least).await);
        let more = self.observe(subjects(candidates, &observations), ExpectedPresence::Absent, &BTreeMap::new()).await;
        for (repository_key, (digests, found)) in more {
            merge(&mut observations, repository_key, digests, found);
        }
        observations
    }

    async fn observe(
        &self,
        repositories: BTreeMap<RepositoryKey, BTreeSet<Digest>>,
        expect: ExpectedPresence,
        at_least: &BTreeMap<RepositoryKey, u32>,
    ) -> Observations {
        let observation = stream::iter(repositories).map(|(repository_key, digests)| async move {
            let at_least = at_least.get(&repository_key).copied();
            let found =
                self.registries.describe(&repository_key.0, &repository_key.1, &digests, expect, at_least).await;
            (repository_key, (digests, found.map_err(|failure| chain(&failure))))
        });
        observation.buffer_unordered(AT_A_TIME).collect().await
    }

    /// Evaluates each deletion. Referrers come last, because they depend on their subjects.
    fn judge_all(
        &self,
        candidates: Vec<Candidate>,
        rules: &BTreeMap<Registry, Result<ReplicationRules, String>>,
        observations: &Observations,
        decisions: &mut Decisions,
        now: Timestamp,
    ) {
        let kind = |deletion: &Deletion| match at(
            observations,
            &deletion.registry,
            &deletion.image.repository,
            &deletion.image.digest,
        ) {
            Observation::Present(seen) => seen.kind,
            _ => ManifestKind::Image,
        };
        let (referrers, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| kind(&candidate.deletion) == ManifestKind::Referrer);
        // The registries in which an image is deleted as a whole: these copies do not count, and these subjects do not
        // stay.
        let mut going: BTreeMap<Digest, BTreeSet<Registry>> = BTreeMap::new();
        for Candidate { deletion, lineage } in others.into_iter().chain(referrers) {
            let image = &deletion.image;
            let observation = |registry: &Registry| at(observations, registry, &image.repository, &image.digest);
            let replica = observation(&deletion.registry);
            let subject = if let Observation::Present(seen) = &replica { seen.subject.as_ref() } else { None };
            let subject = match subject {
                None => SubjectState::NotThere,
                Some(subject) => {
                    let goes = going.get(subject).is_some_and(|registries| registries.contains(&deletion.registry));
                    match at(observations, &deletion.registry, &image.repository, subject) {
                        // A referrer of a referrer waits for the next run, because this run deletes all referrers at
                        // once.
                        Observation::Present(subject) if goes && subject.kind != ManifestKind::Referrer => {
                            SubjectState::DeletedFirst
                        }
                        Observation::Present(_) => SubjectState::Stays,
                        Observation::Missing | Observation::NoRepository => SubjectState::NotThere,
                        Observation::Unreadable(why) => SubjectState::Unknown(why),
                        Observation::NotAsked => SubjectState::Unknown("not read".to_owned()),
                    }
                }
            };
            let other = |(registry, rules)| {
                (registry != &deletion.registry)
                    .then(|| (registry, PeerRegistry { rules, observation: observation(registry) }))
            };
            let unknown = Err("not read".to_owned());
            let closed = Breaker::default();
            let nowhere = BTreeSet::new();
            let context = DeletionContext {
                lineage: &lineage,
                now,
                replica: replica.clone(),
                onwards: rules.get(&deletion.registry).unwrap_or(&unknown),
                others: rules.iter().filter_map(other).collect(),
                going: going.get(&image.digest).unwrap_or(&nowhere),
                subject,
                breaker: decisions.breakers.get(&deletion.source).unwrap_or(&closed),
                deletion: &deletion,
            };
            let decision = match &self.policy {
                Ok(policy) => judge(&context, |action, question| policy.ask(action, question)),
                Err(invalid) => refuse(invalid),
            };
            let source =
                context.others.get(&deletion.source).map(|other| other.observation.clone()).unwrap_or_default();
            let class = BreakerClass::of(&cause(&deletion, &lineage));
            let known_at_source = lineage
                .placements
                .get(&deletion.source)
                .is_some_and(|source| matches!(source.status(), PlacementStatus::Present | PlacementStatus::Archived));
            if matches!(decision.verdict, Verdict::Execute(_)) && deletion.tag.is_none() {
                going.entry(image.digest.clone()).or_default().insert(deletion.registry.clone());
            }
            decisions.all.push(Decided { decision, replica, source, known_at_source, class, deletion });
        }
    }
}

/// The subjects of referrers that were not read yet.
fn subjects(candidates: &[Candidate], observations: &Observations) -> BTreeMap<RepositoryKey, BTreeSet<Digest>> {
    let mut repositories: BTreeMap<RepositoryKey, BTreeSet<Digest>> = BTreeMap::new();
    for Candidate { deletion, .. } in candidates {
        let repository_key = (deletion.registry.clone(), deletion.image.repository.clone());
        let Some((asked, Ok(found))) = observations.get(&repository_key) else { continue };
        let subject = found.images.get(&deletion.image.digest).and_then(|seen| seen.subject.as_ref());
        if let Some(subject) = subject.filter(|subject| !asked.contains(*subject)) {
            repositories.entry(repository_key).or_default().insert(subject.clone());
        }
    }
    repositories
}

fn refuse(invalid: &InvalidPolicyError) -> Decision {
    Decision {
        verdict: Verdict::Keep,
        checks: vec![Check::stopped(CheckName::Policy, invalid.to_string())],
        action: None,
        policies: BTreeSet::new(),
        size_bytes: None,
    }
}

fn cause(deletion: &Deletion, lineage: &Lineage) -> domain::fact::Cause {
    match deletion.tag {
        None => lineage.cause_of_loss(&deletion.source),
        Some(_) => lineage.cause(&deletion.source, deletion.since),
    }
}

/// The key under which a breaker counts a deletion.
#[must_use]
pub fn place(deletion: &Deletion, class: BreakerClass) -> CountKey {
    CountKey { class, registry: deletion.registry.clone(), repository: deletion.image.repository.clone() }
}

/// The observation of an image, from the results of reading its repository.
fn at(observations: &Observations, registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Observation {
    match observations.get(&(registry.clone(), repository.clone())) {
        Some((asked, _)) if !asked.contains(digest) => Observation::NotAsked,
        Some((_, Err(why))) => Observation::Unreadable(why.clone()),
        Some((_, Ok(found))) if !found.repository => Observation::NoRepository,
        Some((_, Ok(found))) => {
            found.images.get(digest).map_or(Observation::Missing, |seen| Observation::Present(seen.clone()))
        }
        None => Observation::NotAsked,
    }
}

/// Merges a second read of the same repository into the first.
fn merge(
    observations: &mut Observations,
    repository_key: RepositoryKey,
    digests: BTreeSet<Digest>,
    found: Result<DescribedImages, String>,
) {
    match (observations.get_mut(&repository_key), found) {
        (Some((asked, Ok(known))), Ok(found)) => {
            asked.extend(digests);
            known.images.extend(found.images);
            known.repository &= found.repository;
        }
        // Images that could not be read the second time remain `Observation::NotAsked`.
        (Some(_), _) => {}
        (None, found) => _ = observations.insert(repository_key, (digests, found)),
    }
}

/// Counts the deletions to be executed, source by source. A breaker that opens puts all deletions of its source on
/// hold.
fn count(decisions: &mut Decisions, observations: &Observations, limits: &BreakerLimits, now: Timestamp) {
    let mut planned: BTreeMap<Registry, BTreeMap<CountKey, Planned>> = BTreeMap::new();
    for decided in decisions.all.iter().filter(|decided| matches!(decided.decision.verdict, Verdict::Execute(_))) {
        let Decided { deletion, class, .. } = decided;
        let repository_key = (deletion.source.clone(), deletion.image.repository.clone());
        let left = observations.get(&repository_key).and_then(|(_, found)| found.as_ref().ok()?.listed);
        let places = planned.entry(deletion.source.clone()).or_default();
        let planned = places.entry(place(deletion, *class)).or_insert(Planned { images: 0, left });
        planned.images += u32::from(!deletion.counted);
    }
    for (source, planned) in planned {
        let Some(breaker) = decisions.breakers.get_mut(&source) else { continue };
        if let Err(opened) = breaker.count(&planned, limits, now) {
            decisions.opened.insert(source, opened);
        }
    }
    for decided in &mut decisions.all {
        let Some(opened) = decisions.opened.get(&decided.deletion.source) else { continue };
        if matches!(decided.decision.verdict, Verdict::Execute(_)) {
            let why = format!("the breaker of {} opened: {}", decided.deletion.source, opened.why);
            decided.decision.checks.push(Check::stopped(CheckName::Breaker, why));
            decided.decision.verdict = Verdict::Hold;
        }
    }
}
