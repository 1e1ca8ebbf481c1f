#![doc = include_str!("../README.md")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aws::{
    registry::{ExpectedPresence, Registries},
    usage::{UsageReader, UsageReads},
};
use domain::{
    breaker::{Breaker, BreakerLimits, CountKey},
    deletion::{Deletion, ImageOrTag, registries_to_observe},
    image::{Digest, Image, Registry, RepositoryName, Tag},
    observation::{Candidate, Observation, Observations, ObservedImage, ObservedRepository},
    plan::{self, Mode, Plan},
    policy::ManifestKind,
    replication::ReplicationRules,
    settings::MirrorSettings,
    usage::{Usage, UsageObservations},
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

/// Plans deletions from the table, the registries and the policy. It only reads.
#[derive(Debug, Clone, Copy)]
pub struct Planner<'a> {
    /// The table.
    pub table: &'a Table,
    /// The registries, accessed through the roles.
    pub registries: &'a Registries,
    /// The policy.
    pub policy: &'a Policy,
    /// Whether permitted deletions are planned to be executed, or only to be recorded.
    pub mode: Mode,
    /// The limits of the circuit breakers.
    pub limits: BreakerLimits,
    /// Configured registries, which may replicate even if no event ever came from them.
    pub known: &'a BTreeSet<Registry>,
    /// What services run, as this run reads it; `None` if that is not to be read.
    pub usage_reads: Option<&'a UsageReads>,
}

/// What to read of each repository.
type Reads = BTreeMap<(Registry, RepositoryName), Read>;

/// What to read of a repository.
#[derive(Debug, Default)]
struct Read {
    digests: BTreeSet<Digest>,
    /// Whether the repository has at least this number of images matters, too.
    at_least: Option<u32>,
}

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

/// Reads what services run for one question, as `mirror` reads it.
#[must_use]
pub fn usage_reads(registries: &Registries, MirrorSettings { usage, revisions, .. }: &MirrorSettings) -> UsageReads {
    UsageReader::new(registries.clone(), usage.clone(), *revisions).begin()
}

impl<'a> Planner<'a> {
    /// A planner with this policy in enforce mode, the default limits and no configured registries.
    #[must_use]
    pub fn new(table: &'a Table, registries: &'a Registries, policy: &'a Policy) -> Self {
        let (mode, limits) = (Mode::Enforce, BreakerLimits::default());
        Self { table, registries, policy, mode, limits, known: &NONE, usage_reads: None }
    }

    /// The same planner with the limits and the configured registries that `mirror` has.
    #[must_use]
    pub fn limited_as(self, mirror: &'a MirrorSettings) -> Self {
        Self { limits: mirror.limits, known: &mirror.known, ..self }
    }

    /// The same planner, which reads what services run, too.
    #[must_use]
    pub fn reading(self, usage_reads: Option<&'a UsageReads>) -> Self {
        Self { usage_reads, ..self }
    }

    /// Plans from fresh reads of every registry that matters.
    ///
    /// # Errors
    /// When the table cannot be read. A registry that cannot be read keeps the replicas that depend on it.
    pub async fn plan(&self, candidates: Vec<Candidate>, now: Timestamp) -> Result<Plan, store::Error> {
        Ok(self.plan_from(&self.observe(candidates, now).await?, now))
    }

    /// Plans from what was read.
    #[must_use]
    pub fn plan_from(&self, observations: &Observations, now: Timestamp) -> Plan {
        let ask = |action, question: &domain::policy::PolicyQuestion<'_>| self.policy.ask(action, question);
        plan::plan(observations, &ask, self.mode, &self.limits, now)
    }

    /// Reads everything that a plan depends on. Replicas are read first and sources last, so that no observation is
    /// older than the one that shows the source without the image.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn observe(&self, candidates: Vec<Candidate>, now: Timestamp) -> Result<Observations, store::Error> {
        let mut observations = Observations { candidates, ..Observations::default() };
        observations.breakers = self.breakers(&observations.candidates).await?;
        observations.controls = Some(self.table.controls().await?);
        observations.rules = self.rules(&observations.candidates).await?;
        let (replicas, sources) = self.reads(&observations, now);
        self.describe(&mut observations, replicas, ExpectedPresence::Present).await;
        self.describe(&mut observations, sources, ExpectedPresence::Absent).await;
        let subjects = subjects(&observations);
        self.describe(&mut observations, subjects, ExpectedPresence::Absent).await;
        self.usage(&mut observations, now).await?;
        Ok(observations)
    }

    /// What lists name, and what services run in the registries of the replicas that are there. Where anything in a
    /// repository is in use, it is listed, and the manifests of its indexes are read that are in use or are to be deleted.
    async fn usage(&self, observations: &mut Observations, now: Timestamp) -> Result<(), store::Error> {
        let Some(usage_reads) = self.usage_reads else { return Ok(()) };
        let (lists, mut listed) = (self.table.usage_lists().await?, Usage::default());
        if lists.is_empty() && !usage_reads.is_configured() {
            return Ok(());
        }
        lists.iter().for_each(|list| list.add_to(&mut listed, now));
        let mut usage = UsageObservations { lists: listed.into(), ..UsageObservations::default() };
        let mut repositories: BTreeMap<_, BTreeSet<Digest>> = BTreeMap::new();
        for Candidate { deletion: Deletion { registry, image, .. }, .. } in &observations.candidates {
            if observations.image(registry, image).seen().is_some() {
                let repository = (registry.clone(), image.repository.clone());
                repositories.entry(repository).or_default().insert(image.digest.clone());
            }
        }
        for (registry, _) in repositories.keys() {
            usage.services.insert(registry.clone(), usage_reads.running(registry).await);
        }
        for ((registry, repository), digests) in repositories {
            let used: BTreeSet<_> = usage.used_in(&registry, &repository).into_iter().cloned().collect();
            if used.is_empty() {
                continue;
            }
            // A replica was there a moment ago, so a repository that is not there now is in doubt.
            let listed = match self.registries.contents(&registry, &repository).await {
                Ok(found) => found.ok_or_else(|| "it was not there any more".to_owned()),
                Err(failure) => Err(chain(&failure)),
            };
            let found = match listed {
                Ok(found) => found,
                Err(why) => {
                    usage.unlisted.insert((registry, repository), why);
                    continue;
                }
            };
            let is_concerned = |(digest, tags): (&Digest, &BTreeSet<Tag>)| {
                let by_tag = tags.iter().any(|tag| used.contains(&ImageOrTag::Tag(tag.clone())));
                by_tag || digests.contains(digest) || used.contains(&ImageOrTag::Image(digest.clone()))
            };
            let concerned = found.iter().filter(|(digest, seen)| is_concerned((digest, &seen.tags)));
            let concerned = concerned.map(|(digest, _)| digest.clone()).collect();
            for (digest, children) in self.indexes(&registry, &repository, &found, concerned).await {
                usage.children.insert((registry.clone(), Image { repository: repository.clone(), digest }), children);
            }
            let known = observations.repositories.entry(registry).or_default().entry(repository).or_default();
            for (digest, seen) in found {
                known.images.entry(digest).or_insert(Observation::Present(seen));
            }
        }
        observations.usage = Some(usage);
        Ok(())
    }

    /// The manifests of those images that are indexes, and of the indexes in them.
    async fn indexes(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        found: &BTreeMap<Digest, ObservedImage>,
        mut open: BTreeSet<Digest>,
    ) -> BTreeMap<Digest, Result<BTreeSet<Digest>, String>> {
        let mut read = BTreeMap::new();
        while let Some(digest) = open.pop_first() {
            let is_index = found.get(&digest).is_some_and(|seen| seen.kind == ManifestKind::Index);
            if is_index && !read.contains_key(&digest) {
                let index = Image { repository: repository.clone(), digest };
                let children = self.children(registry, &index).await;
                open.extend(children.iter().flatten().cloned());
                read.insert(index.digest, children);
            }
        }
        read
    }

    /// The manifests of an index. ECR counts this as a pull of the index.
    async fn children(&self, registry: &Registry, index: &Image) -> Result<BTreeSet<Digest>, String> {
        match self.registries.manifest(registry, index).await {
            Ok(Some(manifest)) => Ok(manifest.children),
            Ok(None) => Err("ECR listed the index, and has no manifest of it".to_owned()),
            Err(failure) => Err(chain(&failure)),
        }
    }

    /// The breakers of the sources.
    async fn breakers(&self, candidates: &[Candidate]) -> Result<BTreeMap<Registry, Breaker>, store::Error> {
        let sources: BTreeSet<_> = candidates.iter().map(|candidate| candidate.deletion.source.clone()).collect();
        let read = stream::iter(sources)
            .map(|source| async move { self.table.breaker(&source).await.map(|breaker| (source, breaker)) });
        read.buffer_unordered(AT_A_TIME).try_collect().await
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

    /// What to read of the replicas' registries, and of the sources.
    fn reads(&self, observations: &Observations, now: Timestamp) -> (Reads, Reads) {
        let sources: BTreeSet<_> = observations.breakers.keys().collect();
        let (mut first, mut last) = (Reads::new(), Reads::new());
        let mut planned: BTreeMap<(&Registry, CountKey), u32> = BTreeMap::new();
        for candidate in &observations.candidates {
            let image = &candidate.deletion.image;
            for registry in registries_to_observe(candidate, &observations.rules) {
                let reads = if sources.contains(registry) { &mut last } else { &mut first };
                let read = reads.entry((registry.clone(), image.repository.clone())).or_default();
                read.digests.insert(image.digest.clone());
            }
            *planned.entry((&candidate.deletion.source, candidate.count_key())).or_default() += 1;
        }
        // The size of a repository matters only as far as the share of the planned deletions depends on it.
        for ((source, key), images) in planned {
            let Some(breaker) = observations.breakers.get(source) else { continue };
            let read = last.entry((source.clone(), key.repository.clone())).or_default();
            read.at_least = read.at_least.max(breaker.needed_left(&key, images, &self.limits, now));
        }
        (first, last)
    }

    /// Reads images. An image that was read before is not replaced.
    async fn describe(&self, observations: &mut Observations, reads: Reads, expect: ExpectedPresence) {
        let mut found = stream::iter(reads)
            .map(|((registry, repository), Read { digests, at_least })| async move {
                let found = self.registries.describe(&registry, &repository, &digests, expect, at_least).await;
                let unreadable = |failure| ObservedRepository::all(&digests, &Observation::Unreadable(chain(&failure)));
                (registry, repository, found.unwrap_or_else(unreadable))
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((registry, repository, mut found)) = found.next().await {
            let known = observations.repositories.entry(registry).or_default().entry(repository).or_default();
            known.listed = known.listed.or(found.listed);
            found.images.append(&mut known.images);
            known.images = found.images;
        }
    }
}

/// The subjects of referrers that were not read yet.
fn subjects(observations: &Observations) -> Reads {
    let mut reads = Reads::new();
    for Candidate { deletion, .. } in &observations.candidates {
        let Some(found) = observations.repository(&deletion.registry, &deletion.image.repository) else { continue };
        let Some(Observation::Present(seen)) = found.images.get(&deletion.image.digest) else { continue };
        if let Some(subject) = seen.subject.as_ref().filter(|subject| !found.images.contains_key(*subject)) {
            let repository = (deletion.registry.clone(), deletion.image.repository.clone());
            reads.entry(repository).or_default().digests.insert(subject.clone());
        }
    }
    reads
}
