//! The checks that decide whether a deletion is mirrored to a replica, in their order, from what was just read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Check, CheckName, Deletion, DeletionStatus, MAX_REFERENCE_WAIT, question::ReplicaFacts};
use crate::{
    breaker::Breaker,
    fact::Cause,
    image::{Digest, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::{Observation, ObservedImage},
    policy::{Action, PolicyAnswer, PolicyQuestion},
    replication::ReplicationRules,
};

/// A registry other than the replica's.
#[derive(Debug, Clone)]
pub struct PeerRegistry<'a> {
    /// Its replication rules, or why they could not be read.
    pub rules: &'a Result<ReplicationRules, String>,
    /// The observation of the image in this registry.
    pub observation: Observation,
}

/// Whether the subject of a referrer stays in the replica's registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SubjectState {
    /// The image has no subject, or its subject is not there.
    #[default]
    NotThere,
    /// The same run deletes its subject first.
    DeletedFirst,
    /// Its subject is there, and the same run does not delete it first.
    Stays,
    /// The registry could not be read, for this reason.
    Unknown(String),
}

/// Everything that decides about one deletion.
#[derive(Debug)]
pub struct DeletionContext<'a> {
    /// The deletion.
    pub deletion: &'a Deletion,
    /// What is recorded about the image.
    pub lineage: &'a Lineage,
    /// The time of the evaluation.
    pub now: Timestamp,
    /// The observation of the image in the replica's registry.
    pub replica: Observation,
    /// The replication rules of the replica's registry, or why they could not be read.
    pub onwards: &'a Result<ReplicationRules, String>,
    /// Every other known registry.
    pub others: BTreeMap<&'a Registry, PeerRegistry<'a>>,
    /// Registries whose copy of this image is deleted in the same run.
    pub going: &'a BTreeSet<Registry>,
    /// Whether the subject of the replica stays.
    pub subject: SubjectState,
    /// The breaker of the source.
    pub breaker: &'a Breaker,
}

/// What to do about a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All checks passed: execute this action now.
    Execute(Action),
    /// There is nothing left to do.
    AlreadyGone,
    /// Keep the replica.
    Keep,
    /// Keep the replica because its source has the image after all: what is recorded about the source is wrong.
    SourceHasImage,
    /// Evaluate again at this time.
    Wait(Timestamp),
    /// Something could not be read, or something else must be deleted first: evaluate again later.
    Retry,
    /// The breaker is open.
    Hold,
    /// An operator must approve.
    NeedsApproval,
}

/// A verdict and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// The checks, in order; the last one decided.
    pub checks: Vec<Check>,
    /// What the policy permits; `None` if it was not evaluated or permits nothing.
    pub action: Option<Action>,
    /// The names of the policies that decided.
    pub policies: BTreeSet<String>,
    /// The size of the replica in bytes.
    pub size_bytes: Option<u64>,
}

type Checked = Result<String, (Verdict, String)>;
type CheckOf = fn(&DeletionContext<'_>) -> Checked;

/// The registries in which the image must be read before a deletion can be evaluated: those of the replica and the
/// source, every one that replicates or may replicate to the replica's, and every one that is recorded as having a
/// copy.
#[must_use]
pub fn registries_to_observe<'a>(
    deletion: &'a Deletion,
    lineage: &'a Lineage,
    rules: &'a BTreeMap<Registry, Result<ReplicationRules, String>>,
) -> BTreeSet<&'a Registry> {
    let believed = |registry: &&Registry| {
        lineage.placements.get(*registry).is_some_and(|placement| placement.status().may_be_there())
    };
    let recorded = replica(deletion, lineage).map(Placement::replicated).unwrap_or_default();
    let known = rules.iter().filter_map(|(registry, rules)| {
        let replicates =
            rules.as_ref().is_ok_and(|rules| rules.to(&deletion.image.repository, &deletion.registry).next().is_some());
        (replicates || recorded.contains_key(registry) || believed(&registry)).then_some(registry)
    });
    known.chain([&deletion.registry, &deletion.source]).collect()
}

/// What is recorded of the image in the replica's registry.
pub(super) fn replica<'a>(deletion: &Deletion, lineage: &'a Lineage) -> Option<&'a Placement> {
    lineage.placements.get(&deletion.registry)
}

/// Evaluates one deletion. `ask` evaluates the policy.
pub fn judge(context: &DeletionContext<'_>, ask: impl Fn(Action, &PolicyQuestion<'_>) -> PolicyAnswer) -> Decision {
    let mut decision = Decision {
        verdict: Verdict::Keep,
        checks: Vec::new(),
        action: None,
        policies: BTreeSet::new(),
        size_bytes: None,
    };
    let facts: [(CheckName, CheckOf); 5] = [
        (CheckName::Origin, origin),
        (CheckName::Native, native),
        (CheckName::Source, source),
        (CheckName::Replica, is_there),
        (CheckName::Manifest, manifest),
    ];
    for (name, check) in facts {
        if !decision.note(name, check(context)) {
            return decision;
        }
    }
    let Observation::Present(seen) = &context.replica else { return decision };
    decision.size_bytes = Some(seen.size_bytes);
    let known = ReplicaFacts::seen(context, seen);
    let (action, answer) = match permitted(&known.question(context.deletion, context.now, context.other_copies()), &ask)
    {
        Ok(permitted) => permitted,
        Err((refusal, policies)) => {
            decision.policies = policies;
            decision.note(CheckName::Policy, Err((Verdict::Keep, refusal)));
            return decision;
        }
    };
    decision.action = Some(action);
    decision.policies.clone_from(&answer.policies);
    let permits = answer.policies.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = [
        (CheckName::Policy, Ok(format!("{action} is permitted by {permits}"))),
        (CheckName::Policy, archived_already(action, seen)),
        (CheckName::Grace, grace(context, &answer)),
        (CheckName::Breaker, breaker(context)),
        (CheckName::Approval, approval(context, &answer)),
    ];
    for (name, checked) in rest {
        if checked == Ok(String::new()) {
            continue;
        }
        if !decision.note(name, checked) {
            return decision;
        }
    }
    decision.verdict = Verdict::Execute(action);
    decision
}

impl Decision {
    /// Records the result of a check; returns whether to go on.
    fn note(&mut self, check: CheckName, checked: Checked) -> bool {
        match checked {
            Ok(why) => {
                self.checks.push(Check::passed(check, why));
                true
            }
            Err((verdict, why)) => {
                self.checks.push(Check::stopped(check, why));
                self.verdict = verdict;
                false
            }
        }
    }
}

impl DeletionContext<'_> {
    /// The number of other registries in which the image was just observed and is not about to be deleted.
    fn other_copies(&self) -> u64 {
        let stays = |(registry, other): &(&&Registry, &PeerRegistry<'_>)| {
            matches!(other.observation, Observation::Present(_)) && !self.going.contains(**registry)
        };
        self.others.iter().filter(stays).count() as u64
    }

    fn observation(&self, registry: &Registry) -> &Observation {
        self.others.get(registry).map_or(&Observation::NotAsked, |other| &other.observation)
    }
}

/// 1. The image came by replication from this source, it was never pushed to this registry, and no other source still
///    has it.
fn origin(context: &DeletionContext<'_>) -> Checked {
    let Deletion { source, registry, image, .. } = context.deletion;
    let keep = |why: String| Err((Verdict::Keep, why));
    let Some(placement) = replica(context.deletion, context.lineage) else {
        return keep(format!("nothing is recorded of it in {registry}"));
    };
    if !is_exact(&image.digest) {
        return keep(format!("`{}` is not a whole SHA-256 digest", image.digest));
    }
    if let Some(at) = placement.pushed() {
        return keep(format!("it was pushed to {registry} itself, {at}"));
    }
    let replicated = placement.replicated();
    let Some(at) = replicated.get(source) else {
        return keep(format!("no replication from {source} is recorded"));
    };
    for (other, state) in &context.others {
        let by_rule = match state.rules {
            Ok(rules) => rules.to(&image.repository, registry).next().is_some(),
            Err(why) if *other != source => {
                return Err((
                    Verdict::Retry,
                    format!("{other} may replicate here, and its rules cannot be read: {why}"),
                ));
            }
            Err(_) => false,
        };
        if *other == source || !(by_rule || replicated.contains_key(*other)) {
            continue;
        }
        match &state.observation {
            Observation::Present(_) => return keep(format!("{other} replicates it here as well, and still has it")),
            Observation::Missing | Observation::NoRepository => {}
            Observation::Unreadable(why) => {
                return Err((Verdict::Retry, format!("{other} replicates here as well and cannot be read: {why}")));
            }
            Observation::NotAsked => {
                return Err((Verdict::Retry, format!("{other} replicates here as well and was not asked")));
            }
        }
    }
    Ok(format!("replicated from {source} {at}, never pushed to {registry}"))
}

/// Whether a digest is a complete SHA-256, which a call to ECR requires. AWS's own sample events have others.
fn is_exact(digest: &Digest) -> bool {
    let encoded = digest.encoded();
    digest.as_str().starts_with("sha256:")
        && encoded.len() == 64
        && encoded.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// 2. ECR does not replicate this deletion itself: neither to this registry, nor from it to others.
fn native(context: &DeletionContext<'_>) -> Checked {
    let Deletion { source, registry, image, .. } = context.deletion;
    match context.others.get(source).map(|other| other.rules) {
        Some(Ok(rules)) => {
            if let Some(number) = rules.native_deletes(&image.repository, registry) {
                let what = match &context.replica {
                    Observation::Present(_) => "it has not deleted this replica",
                    Observation::Missing | Observation::NoRepository => "this replica is gone",
                    Observation::Unreadable(_) | Observation::NotAsked => "this replica could not be looked at",
                };
                let why = format!("rule {number} of {source} has ECR replicate deletions itself: {what}");
                return Err((Verdict::Keep, why));
            }
        }
        Some(Err(why)) => {
            return Err((Verdict::Retry, format!("the replication rules of {source} cannot be read: {why}")));
        }
        None => return Err((Verdict::Retry, format!("the replication rules of {source} were not read"))),
    }
    match context.onwards {
        Ok(rules) => match rules.carries_deletions_on(&image.repository) {
            None => Ok(format!("{source} does not replicate deletions to {registry}")),
            Some(number) => {
                let why = format!("rule {number} of {registry} would make ECR delete it in other registries, too");
                Err((Verdict::Keep, why))
            }
        },
        Err(why) => Err((Verdict::Retry, format!("the replication rules of {registry} cannot be read: {why}"))),
    }
}

/// 3. The source does not have the image, in any storage class.
fn source(context: &DeletionContext<'_>) -> Checked {
    let source = &context.deletion.source;
    match (context.observation(source), &context.deletion.tag) {
        (Observation::Present(seen), None) => {
            let archived = if seen.archived { ", archived" } else { "" };
            Err((Verdict::SourceHasImage, format!("{source} has it{archived}")))
        }
        (Observation::Present(seen), Some(tag)) if seen.tags.contains(tag) => {
            Err((Verdict::Keep, format!("{source} has tag {tag} on it")))
        }
        (Observation::Present(_), Some(tag)) => Ok(format!("{source} has it without tag {tag}")),
        (Observation::Missing, None) => match context.lineage.cause_of_loss(source) {
            Cause::Repository { by } => {
                Err((Verdict::Keep, format!("its whole repository was deleted in {source} by {by}")))
            }
            _ => Ok(format!("{source} does not have it")),
        },
        (Observation::Missing, Some(_)) => Err((Verdict::Keep, format!("{source} has lost the whole image"))),
        (Observation::NoRepository, None) if context.lineage.was_deleted_itself(source) => {
            Ok(format!("{source} does not have it: it was deleted before its repository"))
        }
        (Observation::NoRepository, _) => {
            Err((Verdict::Keep, format!("its whole repository is gone in {source}: that is never mirrored")))
        }
        (Observation::Unreadable(why), _) => Err((Verdict::Retry, format!("{source} cannot be read: {why}"))),
        (Observation::NotAsked, _) => Err((Verdict::Retry, format!("{source} was not asked"))),
    }
}

/// 4. The replica is there, and has another tag left if only a tag is to be removed.
fn is_there(context: &DeletionContext<'_>) -> Checked {
    let registry = &context.deletion.registry;
    match (&context.replica, &context.deletion.tag) {
        (Observation::Present(seen), None) => Ok(describe(seen)),
        (Observation::Present(seen), Some(tag)) if !seen.tags.contains(tag) => {
            Err((Verdict::AlreadyGone, format!("tag {tag} is not on it in {registry}")))
        }
        (Observation::Present(seen), Some(tag)) if seen.tags.len() == 1 => {
            Err((Verdict::Keep, format!("{tag} is its last tag, and ECR deletes an image with its last tag")))
        }
        (Observation::Present(seen), Some(_)) => Ok(describe(seen)),
        (Observation::Missing | Observation::NoRepository, _) => {
            Err((Verdict::AlreadyGone, format!("it is not in {registry}")))
        }
        (Observation::Unreadable(why), _) => Err((Verdict::Retry, format!("{registry} cannot be read: {why}"))),
        (Observation::NotAsked, _) => Err((Verdict::Retry, format!("{registry} was not asked"))),
    }
}

fn describe(seen: &ObservedImage) -> String {
    let tags: Vec<_> = seen.tags.iter().map(Tag::as_str).collect();
    let tags = if tags.is_empty() { "untagged".to_owned() } else { format!("tagged {}", tags.join(", ")) };
    let pulled = seen.last_pulled_at.map_or_else(|| "never pulled".to_owned(), |at| format!("last pulled {at}"));
    let archived = if seen.archived { ", archived" } else { "" };
    format!("there, {tags}, {} bytes, {pulled}{archived}", seen.size_bytes)
}

/// 5. No other manifest that stays needs the image. References by an index are known only from ECR's answer to the
///    deletion.
fn manifest(context: &DeletionContext<'_>) -> Checked {
    let Observation::Present(ObservedImage { subject: Some(subject), kind, .. }) = &context.replica else {
        return Ok("it refers to no other manifest".to_owned());
    };
    if context.deletion.tag.is_some() {
        return Ok("only a tag is to go".to_owned());
    }
    let subject = subject.short();
    match &context.subject {
        SubjectState::NotThere => Ok(format!("its subject {subject} is not there")),
        SubjectState::DeletedFirst => Ok(format!("its subject {subject} goes before it")),
        SubjectState::Stays if context.now.duration_since(context.deletion.since) > MAX_REFERENCE_WAIT => {
            Err((Verdict::Keep, format!("it is a {} of {subject}, which stays", kind.as_str())))
        }
        SubjectState::Stays => {
            Err((Verdict::Retry, format!("it is a {} of {subject}, which is still there", kind.as_str())))
        }
        SubjectState::Unknown(why) => {
            Err((Verdict::Retry, format!("whether its subject {subject} is there is not known: {why}")))
        }
    }
}

/// 6. What the policy permits: for an image deletion, else archiving; for a tag its removal.
fn permitted(
    question: &PolicyQuestion<'_>,
    ask: impl Fn(Action, &PolicyQuestion<'_>) -> PolicyAnswer,
) -> Result<(Action, PolicyAnswer), (String, BTreeSet<String>)> {
    let actions: &[Action] = if question.tag.is_some() { &[Action::Untag] } else { &[Action::Delete, Action::Archive] };
    let mut refusals = Vec::new();
    let mut policies = BTreeSet::new();
    for action in actions {
        let answer = ask(*action, question);
        if let Some(error) = answer.errors.first() {
            // The policy that failed might be one that forbids, so no other action is tried.
            return Err((format!("{action} is refused, a policy failed: {error}"), answer.policies));
        }
        let extra = *action == Action::Delete && !question.replica_only_tags.is_empty() && !answer.replica_only_tags;
        if answer.permitted && !extra {
            return Ok((*action, answer));
        }
        let why = if answer.permitted {
            let tags: Vec<_> = question.replica_only_tags.iter().map(Tag::as_str).collect();
            format!("has tags that its source never had ({}), and no policy names them", tags.join(", "))
        } else if answer.policies.is_empty() {
            "no policy permits it".to_owned()
        } else {
            let by: Vec<_> = answer.policies.iter().map(String::as_str).collect();
            format!("forbidden by {}", by.join(", "))
        };
        refusals.push((*action, why));
        policies.extend(answer.policies);
    }
    let first = refusals.first().map(|(_, why)| why.clone()).unwrap_or_default();
    if refusals.iter().all(|(_, why)| *why == first) {
        return Err((first, policies));
    }
    let each: Vec<_> = refusals.into_iter().map(|(action, why)| format!("{action}: {why}")).collect();
    Err((each.join("; "), policies))
}

fn archived_already(action: Action, seen: &ObservedImage) -> Checked {
    if action == Action::Archive && seen.archived {
        return Err((Verdict::AlreadyGone, "it is archived already".to_owned()));
    }
    Ok(String::new())
}

/// 6a. The grace period is over.
fn grace(context: &DeletionContext<'_>, answer: &PolicyAnswer) -> Checked {
    let until = context.deletion.since.saturating_add(answer.grace).unwrap_or(Timestamp::MAX);
    if context.now < until {
        return Err((Verdict::Wait(until), format!("{:#} of grace, until {until}", answer.grace)));
    }
    Ok(format!("{:#} of grace, over since {until}", answer.grace))
}

/// 7. The breaker of the source is closed.
fn breaker(context: &DeletionContext<'_>) -> Checked {
    match &context.breaker.opened {
        Some(opened) => {
            Err((Verdict::Hold, format!("the breaker of {} is open: {}", context.deletion.source, opened.why)))
        }
        None => Ok(format!("the breaker of {} is closed", context.deletion.source)),
    }
}

/// 8. An operator approved the deletion, if the policy requires it.
fn approval(context: &DeletionContext<'_>, answer: &PolicyAnswer) -> Checked {
    match context.deletion.approved() {
        _ if !answer.approval => Ok(String::new()),
        Some(act) => Ok(format!("approved by {} {}", act.by, act.at)),
        None => Err((Verdict::NeedsApproval, "the policy wants a person to approve it".to_owned())),
    }
}

/// Estimates when a new deletion is due and which action will be taken, from what is recorded. No registry was read
/// yet.
pub fn estimate(deletion: &mut Deletion, lineage: &Lineage, ask: impl Fn(Action, &PolicyQuestion<'_>) -> PolicyAnswer) {
    let known = ReplicaFacts::recorded(deletion, lineage);
    let copies = lineage.placements.iter().filter(|(registry, placement)| {
        **registry != deletion.registry && placement.status() < PlacementStatus::ProbablyAbsent
    });
    let question = known.question(deletion, deletion.changed_at, copies.count() as u64);
    let (action, policies, grace) = match permitted(&question, &ask) {
        Ok((action, answer)) => (Some(action), answer.policies, answer.grace),
        Err((_, policies)) => (None, policies, ask(Action::Delete, &question).grace),
    };
    if deletion.status == DeletionStatus::Pending {
        let due = deletion.since.saturating_add(grace).unwrap_or(Timestamp::MAX);
        (deletion.action, deletion.policies, deletion.due) = (action, policies, Some(due.max(deletion.changed_at)));
    }
}
