//! What is to become of some deletions: everything is read afresh, then judged. Nothing is written.
//!
//! `mirror` carries out what is decided here; `answers` only shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aws::registry::{Described, Expect, Registries};
use domain::{
    breaker::{Breaker, Class, Limits, Opened, Place, Planned},
    deletion::{Case, Check, CheckName, Decision, Deletion, Look, Other, Stays, Verdict, judge, to_look_at},
    image::{Digest, Registry, RepositoryName},
    lineage::{Lineage, Status},
    policy::Kind,
    replication::Rules,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use policy::{Invalid, Policy, Problem};
use retry::chain;
use store::Table;

/// No registry.
static NONE: BTreeSet<Registry> = BTreeSet::new();

/// How many partitions or registries are read at a time.
const AT_A_TIME: usize = 16;

/// What decides: it reads, and touches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Decider<'a> {
    /// The table.
    pub table: &'a Table,
    /// The registries, entered by role.
    pub registries: &'a Registries,
    /// The policy, or why it cannot be used: then everything is kept.
    pub policy: Result<&'a Policy, &'a Invalid>,
    /// How much may go at once.
    pub limits: Limits,
    /// Registries that may replicate although no event ever came from them.
    pub known: &'a BTreeSet<Registry>,
}

/// A deletion, and what is recorded of its image.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The deletion.
    pub deletion: Deletion,
    /// The image.
    pub lineage: Lineage,
}

/// A deletion and what is to become of it.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The deletion.
    pub deletion: Deletion,
    /// What to do about it, and why.
    pub decision: Decision,
    /// What the replica looked like.
    pub replica: Look,
    /// What the source looked like.
    pub source: Look,
    /// Whether the table knows that the source has it.
    pub known_at_source: bool,
    /// For the breaker.
    pub class: Class,
}

/// What is to become of all of them.
#[derive(Debug, Default)]
pub struct Decisions {
    /// Each.
    pub all: Vec<Decided>,
    /// The breakers of their sources, with what is about to go already counted.
    pub breakers: BTreeMap<Registry, Breaker>,
    /// The breakers that open by that.
    pub opened: BTreeMap<Registry, Opened>,
}

/// Where something was looked for.
type Room = (Registry, RepositoryName);

/// What was looked for, and what was found or why not.
type Looks = BTreeMap<Room, (BTreeSet<Digest>, Result<Described, String>)>;

/// Loads the policy of a file; without one the policy that keeps everything.
///
/// # Errors
/// When the file cannot be read, or its policy cannot be used.
pub fn load_policy(file: Option<&Path>) -> Result<Policy, Invalid> {
    let Some(file) = file else { return Policy::load("keep-everything.cedar", policy::KEEP_EVERYTHING) };
    let name = file.display().to_string();
    match std::fs::read_to_string(file) {
        Ok(text) => Policy::load(&name, &text),
        Err(error) => {
            let problem = Problem { line: 1, column: 1, message: format!("cannot be read: {error}"), suggestion: None };
            Err(Invalid { name, problems: vec![problem] })
        }
    }
}

impl<'a> Decider<'a> {
    /// What would be decided by a policy, within the usual limits.
    #[must_use]
    pub fn new(table: &'a Table, registries: &'a Registries, policy: &'a Policy) -> Self {
        Self { table, registries, policy: Ok(policy), limits: Limits::default(), known: &NONE }
    }

    /// Decides, from fresh reads of every registry that matters.
    ///
    /// # Errors
    /// When the table cannot be read. A registry that cannot be read keeps what depends on it.
    pub async fn decide(&self, mut candidates: Vec<Candidate>, now: Timestamp) -> Result<Decisions, store::Error> {
        candidates
            .sort_by(|a, b| (&a.deletion.image, a.deletion.place()).cmp(&(&b.deletion.image, b.deletion.place())));
        let sources: BTreeSet<_> = candidates.iter().map(|candidate| candidate.deletion.source.clone()).collect();
        let breakers = stream::iter(sources)
            .map(|source| async move { self.table.breaker(&source).await.map(|breaker| (source, breaker)) })
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        let rules = self.rules(&candidates).await?;
        let looks = self.look(&candidates, &rules, &breakers, now).await;
        let mut decisions = Decisions { all: Vec::new(), breakers, opened: BTreeMap::new() };
        self.judge_all(candidates, &rules, &looks, &mut decisions, now);
        count(&mut decisions, &looks, &self.limits, now);
        Ok(decisions)
    }

    /// The replication rules of every registry that is known.
    async fn rules(&self, candidates: &[Candidate]) -> Result<BTreeMap<Registry, Result<Rules, String>>, store::Error> {
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

    /// Looks for every image wherever it matters: replicas first, sources last, so that nothing is older than what says
    /// that the source lacks it.
    async fn look(
        &self,
        candidates: &[Candidate],
        rules: &BTreeMap<Registry, Result<Rules, String>>,
        breakers: &BTreeMap<Registry, Breaker>,
        now: Timestamp,
    ) -> Looks {
        let sources: BTreeSet<_> = candidates.iter().map(|candidate| candidate.deletion.source.clone()).collect();
        let (mut first, mut last) =
            (BTreeMap::<Room, BTreeSet<Digest>>::new(), BTreeMap::<Room, BTreeSet<Digest>>::new());
        let mut going: BTreeMap<(&Registry, Place), u32> = BTreeMap::new();
        for Candidate { deletion, lineage } in candidates {
            let image = &deletion.image;
            for registry in to_look_at(deletion, lineage, rules) {
                let rooms = if sources.contains(registry) { &mut last } else { &mut first };
                rooms.entry((registry.clone(), image.repository.clone())).or_default().insert(image.digest.clone());
            }
            let place = place(deletion, Class::of(&cause(deletion, lineage)));
            *going.entry((&deletion.source, place)).or_default() += 1;
        }
        // How large a repository is matters only as far as the share of what goes depends on it.
        let mut at_least: BTreeMap<Room, u32> = BTreeMap::new();
        for ((source, place), more) in going {
            let breaker = breakers.get(source).cloned().unwrap_or_default();
            if let Some(needed) = breaker.needed_left(&place, more, &self.limits, now) {
                let known = at_least.entry((source.clone(), place.repository)).or_default();
                *known = needed.max(*known);
            }
        }
        let mut looks = self.look_into(first, Expect::Present, &BTreeMap::new()).await;
        looks.extend(self.look_into(last, Expect::Absent, &at_least).await);
        let more = self.look_into(subjects(candidates, &looks), Expect::Absent, &BTreeMap::new()).await;
        for (room, (digests, found)) in more {
            join(&mut looks, room, digests, found);
        }
        looks
    }

    async fn look_into(
        &self,
        rooms: BTreeMap<Room, BTreeSet<Digest>>,
        expect: Expect,
        at_least: &BTreeMap<Room, u32>,
    ) -> Looks {
        let look = stream::iter(rooms).map(|(room, digests)| async move {
            let at_least = at_least.get(&room).copied();
            let found = self.registries.describe(&room.0, &room.1, &digests, expect, at_least).await;
            (room, (digests, found.map_err(|failure| chain(&failure))))
        });
        look.buffer_unordered(AT_A_TIME).collect().await
    }

    /// Judges each; referrers last, because they follow their subjects.
    fn judge_all(
        &self,
        candidates: Vec<Candidate>,
        rules: &BTreeMap<Registry, Result<Rules, String>>,
        looks: &Looks,
        decisions: &mut Decisions,
        now: Timestamp,
    ) {
        let kind = |deletion: &Deletion| match at(
            looks,
            &deletion.registry,
            &deletion.image.repository,
            &deletion.image.digest,
        ) {
            Look::There(seen) => seen.kind,
            _ => Kind::Image,
        };
        let (referrers, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| kind(&candidate.deletion) == Kind::Referrer);
        // Whole images that go, by registry: copies that do not count, subjects that do not stay.
        let mut going: BTreeMap<Digest, BTreeSet<Registry>> = BTreeMap::new();
        for Candidate { deletion, lineage } in others.into_iter().chain(referrers) {
            let image = &deletion.image;
            let look = |registry: &Registry| at(looks, registry, &image.repository, &image.digest);
            let replica = look(&deletion.registry);
            let subject = if let Look::There(seen) = &replica { seen.subject.as_ref() } else { None };
            let subject = match subject {
                None => Stays::No,
                Some(subject) => {
                    let goes = going.get(subject).is_some_and(|registries| registries.contains(&deletion.registry));
                    match at(looks, &deletion.registry, &image.repository, subject) {
                        // A referrer of a referrer waits for the next run: this one deletes all referrers at once.
                        Look::There(subject) if goes && subject.kind != Kind::Referrer => Stays::Goes,
                        Look::There(_) => Stays::Yes,
                        Look::Missing | Look::NoRepository => Stays::No,
                        Look::Unreadable(why) => Stays::Unknown(why),
                        Look::NotAsked => Stays::Unknown("nobody asked".to_owned()),
                    }
                }
            };
            let other = |(registry, rules)| {
                (registry != &deletion.registry).then(|| (registry, Other { rules, look: look(registry) }))
            };
            let unknown = Err("nobody asked".to_owned());
            let closed = Breaker::default();
            let nowhere = BTreeSet::new();
            let case = Case {
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
                Ok(policy) => judge(&case, |action, question| policy.ask(action, question)),
                Err(invalid) => refuse(invalid),
            };
            let source = case.others.get(&deletion.source).map(|other| other.look.clone()).unwrap_or_default();
            let class = Class::of(&cause(&deletion, &lineage));
            let known_at_source = lineage
                .placements
                .get(&deletion.source)
                .is_some_and(|source| matches!(source.status(), Status::Present | Status::Archived));
            if matches!(decision.verdict, Verdict::Go(_)) && deletion.tag.is_none() {
                going.entry(image.digest.clone()).or_default().insert(deletion.registry.clone());
            }
            decisions.all.push(Decided { decision, replica, source, known_at_source, class, deletion });
        }
    }
}

/// The subjects of referrers that were not looked for yet.
fn subjects(candidates: &[Candidate], looks: &Looks) -> BTreeMap<Room, BTreeSet<Digest>> {
    let mut rooms: BTreeMap<Room, BTreeSet<Digest>> = BTreeMap::new();
    for Candidate { deletion, .. } in candidates {
        let room = (deletion.registry.clone(), deletion.image.repository.clone());
        let Some((asked, Ok(found))) = looks.get(&room) else { continue };
        let subject = found.images.get(&deletion.image.digest).and_then(|seen| seen.subject.as_ref());
        if let Some(subject) = subject.filter(|subject| !asked.contains(*subject)) {
            rooms.entry(room).or_default().insert(subject.clone());
        }
    }
    rooms
}

fn refuse(invalid: &Invalid) -> Decision {
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

/// Where a breaker counts a deletion.
#[must_use]
pub fn place(deletion: &Deletion, class: Class) -> Place {
    Place { class, registry: deletion.registry.clone(), repository: deletion.image.repository.clone() }
}

/// What a look into a repository showed of an image.
fn at(looks: &Looks, registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Look {
    match looks.get(&(registry.clone(), repository.clone())) {
        Some((asked, _)) if !asked.contains(digest) => Look::NotAsked,
        Some((_, Err(why))) => Look::Unreadable(why.clone()),
        Some((_, Ok(found))) if !found.repository => Look::NoRepository,
        Some((_, Ok(found))) => found.images.get(digest).map_or(Look::Missing, |seen| Look::There(seen.clone())),
        None => Look::NotAsked,
    }
}

/// Adds a second look to a first one into the same repository.
fn join(looks: &mut Looks, room: Room, digests: BTreeSet<Digest>, found: Result<Described, String>) {
    match (looks.get_mut(&room), found) {
        (Some((asked, Ok(known))), Ok(found)) => {
            asked.extend(digests);
            known.images.extend(found.images);
            known.repository &= found.repository;
        }
        // What could not be read the second time stays what nobody asked.
        (Some(_), _) => {}
        (None, found) => _ = looks.insert(room, (digests, found)),
    }
}

/// Counts what is about to go, source by source. A breaker that opens stops all of it.
fn count(decisions: &mut Decisions, looks: &Looks, limits: &Limits, now: Timestamp) {
    let mut planned: BTreeMap<Registry, BTreeMap<Place, Planned>> = BTreeMap::new();
    for decided in decisions.all.iter().filter(|decided| matches!(decided.decision.verdict, Verdict::Go(_))) {
        let Decided { deletion, class, .. } = decided;
        let room = (deletion.source.clone(), deletion.image.repository.clone());
        let left = looks.get(&room).and_then(|(_, found)| found.as_ref().ok()?.listed);
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
        if matches!(decided.decision.verdict, Verdict::Go(_)) {
            let why = format!("the breaker of {} opened: {}", decided.deletion.source, opened.why);
            decided.decision.checks.push(Check::stopped(CheckName::Breaker, why));
            decided.decision.verdict = Verdict::Hold;
        }
    }
}
