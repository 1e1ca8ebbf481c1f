//! The checks that decide whether a deletion is mirrored to a replica, in their order, from what was just read.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use super::{Check, CheckName, Deletion, DeletionStatus, MAX_REFERENCE_WAIT, question::ReplicaFacts};
use crate::{
    fact::Cause,
    image::{Digest, Image, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::{Candidate, Observation, Observations, ObservedImage},
    policy::{Action, ManifestKind, PolicyAnswer, PolicyQuestion},
    replication::ReplicationRules,
    usage::USED_AGAIN_AFTER,
};

/// Evaluates the policy.
pub type Ask<'a> = &'a dyn Fn(Action, &PolicyQuestion<'_>) -> PolicyAnswer;

/// Everything that decides about one deletion.
#[derive(Debug, Clone, Copy)]
pub struct DeletionContext<'a> {
    /// The deletion.
    pub deletion: &'a Deletion,
    /// What is recorded about the image.
    pub lineage: &'a Lineage,
    /// The time of the evaluation.
    pub now: Timestamp,
    /// Everything that was read.
    pub observations: &'a Observations,
    /// The images that earlier steps of the same plan delete, with the registries and the numbers of the steps.
    pub going: &'a BTreeMap<Image, BTreeMap<Registry, usize>>,
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
    /// A hold covers it, or the breaker is open: on hold, and evaluated again at this time, if there is one.
    Hold(Option<Timestamp>),
    /// An operator must approve.
    NeedsApproval,
}

/// The result of one check, with what it read, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The check permits the deletion.
    Passed(String),
    /// The check is not about this deletion.
    NotApplicable,
    /// The check decides: the deletion does not run now, or not at all.
    Stopped(Verdict, String),
}

use Checked::{NotApplicable, Passed, Stopped};

/// A verdict and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// The checks that apply, in order; the last one decided.
    pub checks: Vec<Check>,
    /// What the policy permits; `None` if it was not evaluated or permits nothing.
    pub action: Option<Action>,
    /// The names of the policies that decided.
    pub policies: BTreeSet<String>,
    /// The size of the replica in bytes.
    pub size_bytes: Option<u64>,
}

/// One check.
type CheckOf = fn(&Review<'_>) -> Checked;

/// Every check of one deletion, in order: the first that stops decides. A plan adds those that depend on its other
/// deletions: the count of the breaker, and the mode.
const CHECKS: [(CheckName, CheckOf); 15] = [
    (CheckName::Origin, whole_digest),
    (CheckName::Origin, origin),
    (CheckName::Origin, other_sources),
    (CheckName::Native, native),
    (CheckName::Source, source),
    (CheckName::Replica, is_there),
    (CheckName::Manifest, manifest),
    (CheckName::Usage, usage),
    (CheckName::Policy, policy),
    (CheckName::Policy, not_archived),
    (CheckName::Paused, paused),
    (CheckName::Hold, hold),
    (CheckName::Grace, grace),
    (CheckName::Breaker, breaker),
    (CheckName::Approval, approval),
];

/// What the policy permits, or why nothing, and the policies that decided.
pub type Permission = Result<(Action, PolicyAnswer), (String, BTreeSet<String>)>;

/// A deletion under review. The policy is asked once, when the first check needs its answer.
struct Review<'a> {
    context: &'a DeletionContext<'a>,
    ask: Ask<'a>,
    permission: OnceCell<Permission>,
}

/// The registries in which the image must be read before a deletion can be evaluated: those of the replica and the
/// source, every one that replicates or may replicate to the replica's, and every one that is recorded as having a
/// copy.
#[must_use]
pub fn registries_to_observe<'a>(
    Candidate { deletion, lineage }: &'a Candidate,
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

/// Evaluates one deletion.
#[must_use]
pub fn judge(context: &DeletionContext<'_>, ask: Ask<'_>) -> Decision {
    let review = Review { context, ask, permission: OnceCell::new() };
    let mut decision = Decision {
        verdict: Verdict::Keep,
        checks: Vec::new(),
        action: None,
        policies: BTreeSet::new(),
        size_bytes: None,
    };
    let goes_on = CHECKS.iter().all(|(name, check)| decision.note(*name, check(&review)));
    match review.permission.into_inner() {
        Some(Ok((action, answer))) => (decision.action, decision.policies) = (Some(action), answer.policies),
        Some(Err((_, policies))) => decision.policies = policies,
        None => return decision,
    }
    if let Observation::Present(seen) = context.replica() {
        decision.size_bytes = Some(seen.size_bytes);
    }
    if let Some(action) = decision.action.filter(|_| goes_on) {
        decision.verdict = Verdict::Execute(action);
    }
    decision
}

impl Decision {
    /// Records the result of a check; returns whether to go on.
    pub(crate) fn note(&mut self, check: CheckName, checked: Checked) -> bool {
        match checked {
            NotApplicable => true,
            Passed(why) => {
                self.checks.push(Check::passed(check, why));
                true
            }
            Stopped(verdict, why) => {
                self.checks.push(Check::stopped(check, why));
                self.verdict = verdict;
                false
            }
        }
    }

    /// Whether the deletion is to be executed now.
    #[must_use]
    pub fn executes(&self) -> bool {
        matches!(self.verdict, Verdict::Execute(_))
    }
}

impl<'a> DeletionContext<'a> {
    fn observation(&self, registry: &Registry) -> &'a Observation {
        self.observations.image(registry, &self.deletion.image)
    }

    /// The observation of the image in the replica's registry.
    pub(crate) fn replica(&self) -> &'a Observation {
        self.observation(&self.deletion.registry)
    }

    /// The rules of a registry, or why they are not known.
    fn rules(&self, registry: &Registry) -> Result<&'a ReplicationRules, &'a str> {
        match self.observations.rules.get(registry) {
            Some(Ok(rules)) => Ok(rules),
            Some(Err(why)) => Err(why),
            None => Err("they were not asked for"),
        }
    }

    /// The step of the same plan that deletes an image in the replica's registry before this deletion.
    pub(crate) fn goes_first(&self, image: &Image) -> Option<usize> {
        self.going.get(image)?.get(&self.deletion.registry).copied()
    }

    /// The number of other registries in which the image was just observed and is not about to be deleted.
    fn other_copies(&self) -> u64 {
        let going = self.going.get(&self.deletion.image);
        let stays = |registry: &&Registry| {
            **registry != self.deletion.registry
                && matches!(self.observation(registry), Observation::Present(_))
                && going.is_none_or(|going| !going.contains_key(*registry))
        };
        self.observations.rules.keys().filter(stays).count() as u64
    }
}

impl Review<'_> {
    fn permission(&self) -> &Permission {
        self.permission.get_or_init(|| {
            let Observation::Present(seen) = self.context.replica() else {
                return Err(("the replica was not read".to_owned(), BTreeSet::new()));
            };
            let known = ReplicaFacts::seen(self.context, seen);
            let copies = self.context.other_copies();
            permitted(&known.question(self.context.deletion, self.context.now, copies), self.ask)
        })
    }
}

/// 1a. The digest is whole: a call to ECR deletes nothing else.
fn whole_digest(review: &Review<'_>) -> Checked {
    let digest = &review.context.deletion.image.digest;
    if !is_exact(digest) {
        return Stopped(Verdict::Keep, format!("`{digest}` is not a whole SHA-256 digest"));
    }
    NotApplicable
}

/// Whether a digest is a complete SHA-256, which a call to ECR requires. AWS's own sample events have others.
fn is_exact(digest: &Digest) -> bool {
    let encoded = digest.encoded();
    digest.as_str().starts_with("sha256:")
        && encoded.len() == 64
        && encoded.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// 1b. The image came by replication from this source, and was never pushed to this registry.
fn origin(Review { context, .. }: &Review<'_>) -> Checked {
    let Deletion { source, registry, .. } = context.deletion;
    let Some(placement) = replica(context.deletion, context.lineage) else {
        return Stopped(Verdict::Keep, format!("nothing is recorded of it in {registry}"));
    };
    if let Some(at) = placement.pushed() {
        return Stopped(Verdict::Keep, format!("it was pushed to {registry} itself, {at}"));
    }
    match placement.replicated().get(source) {
        Some(at) => Passed(format!("replicated from {source} {at}, never pushed to {registry}")),
        None => Stopped(Verdict::Keep, format!("no replication from {source} is recorded")),
    }
}

/// 1c. No other registry that replicates here still has the image.
fn other_sources(Review { context, .. }: &Review<'_>) -> Checked {
    let Deletion { source, registry, image, .. } = context.deletion;
    let recorded = replica(context.deletion, context.lineage).map(Placement::replicated).unwrap_or_default();
    for other in context.observations.rules.keys().filter(|other| *other != registry && *other != source) {
        let by_rule = match context.rules(other) {
            Ok(rules) => rules.to(&image.repository, registry).next().is_some(),
            Err(why) => {
                let why = format!("{other} may replicate here, and its rules cannot be read: {why}");
                return Stopped(Verdict::Retry, why);
            }
        };
        if !by_rule && !recorded.contains_key(other) {
            continue;
        }
        let (verdict, why) = match context.observation(other) {
            Observation::Missing | Observation::NoRepository => continue,
            Observation::Present(_) => (Verdict::Keep, "replicates it here as well, and still has it".to_owned()),
            Observation::Unreadable(why) => {
                (Verdict::Retry, format!("replicates here as well and cannot be read: {why}"))
            }
            Observation::NotAsked => (Verdict::Retry, "replicates here as well and was not asked".to_owned()),
        };
        return Stopped(verdict, format!("{other} {why}"));
    }
    NotApplicable
}

/// 2. ECR does not replicate this deletion itself: neither to this registry, nor from it to others.
fn native(Review { context, .. }: &Review<'_>) -> Checked {
    let Deletion { source, registry, image, .. } = context.deletion;
    let unread = |of: &Registry, why| format!("the replication rules of {of} cannot be read: {why}");
    match context.rules(source).map(|rules| rules.native_deletes(&image.repository, registry)) {
        Err(why) => return Stopped(Verdict::Retry, unread(source, why)),
        Ok(None) => {}
        Ok(Some(number)) => {
            let what = match context.replica() {
                Observation::Present(_) => "it has not deleted this replica",
                Observation::Missing | Observation::NoRepository => "this replica is gone",
                Observation::Unreadable(_) | Observation::NotAsked => "this replica could not be looked at",
            };
            let why = format!("rule {number} of {source} has ECR replicate deletions itself: {what}");
            return Stopped(Verdict::Keep, why);
        }
    }
    match context.rules(registry).map(|rules| rules.carries_deletions_on(&image.repository)) {
        Err(why) => Stopped(Verdict::Retry, unread(registry, why)),
        Ok(None) => Passed(format!("{source} does not replicate deletions to {registry}")),
        Ok(Some(number)) => {
            let why = format!("rule {number} of {registry} would make ECR delete it in other registries, too");
            Stopped(Verdict::Keep, why)
        }
    }
}

/// 3. The source does not have the image, in any storage class.
fn source(Review { context, .. }: &Review<'_>) -> Checked {
    let source = &context.deletion.source;
    match (context.observation(source), &context.deletion.tag) {
        (Observation::Present(seen), None) => {
            let archived = if seen.archived { ", archived" } else { "" };
            Stopped(Verdict::SourceHasImage, format!("{source} has it{archived}"))
        }
        (Observation::Present(seen), Some(tag)) if seen.tags.contains(tag) => {
            Stopped(Verdict::Keep, format!("{source} has tag {tag} on it"))
        }
        (Observation::Present(_), Some(tag)) => Passed(format!("{source} has it without tag {tag}")),
        (Observation::Missing, None) => match context.lineage.cause_of_loss(source) {
            Cause::Repository { by } => {
                Stopped(Verdict::Keep, format!("its whole repository was deleted in {source} by {by}"))
            }
            _ => Passed(format!("{source} does not have it")),
        },
        (Observation::Missing, Some(_)) => Stopped(Verdict::Keep, format!("{source} has lost the whole image")),
        (Observation::NoRepository, None) if context.lineage.was_deleted_itself(source) => {
            Passed(format!("{source} does not have it: it was deleted before its repository"))
        }
        (Observation::NoRepository, _) => {
            Stopped(Verdict::Keep, format!("its whole repository is gone in {source}: that is never mirrored"))
        }
        (Observation::Unreadable(why), _) => Stopped(Verdict::Retry, format!("{source} cannot be read: {why}")),
        (Observation::NotAsked, _) => Stopped(Verdict::Retry, format!("{source} was not asked")),
    }
}

/// 4. The replica is there, and has another tag left if only a tag is to be removed.
fn is_there(Review { context, .. }: &Review<'_>) -> Checked {
    let registry = &context.deletion.registry;
    match (context.replica(), &context.deletion.tag) {
        (Observation::Present(seen), Some(tag)) if !seen.tags.contains(tag) => {
            Stopped(Verdict::AlreadyGone, format!("tag {tag} is not on it in {registry}"))
        }
        (Observation::Present(seen), Some(tag)) if seen.tags.len() == 1 => {
            Stopped(Verdict::Keep, format!("{tag} is its last tag, and ECR deletes an image with its last tag"))
        }
        (Observation::Present(seen), _) => Passed(describe(seen)),
        (Observation::Missing | Observation::NoRepository, _) => {
            Stopped(Verdict::AlreadyGone, format!("it is not in {registry}"))
        }
        (Observation::Unreadable(why), _) => Stopped(Verdict::Retry, format!("{registry} cannot be read: {why}")),
        (Observation::NotAsked, _) => Stopped(Verdict::Retry, format!("{registry} was not asked")),
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
fn manifest(Review { context, .. }: &Review<'_>) -> Checked {
    let Deletion { registry, image, tag, since, .. } = context.deletion;
    let Observation::Present(ObservedImage { subject: Some(digest), kind, .. }) = context.replica() else {
        return Passed("it refers to no other manifest".to_owned());
    };
    if tag.is_some() {
        return Passed("only a tag is to go".to_owned());
    }
    let subject = Image { repository: image.repository.clone(), digest: digest.clone() };
    let (digest, kind) = (digest.short(), kind.as_str());
    let unknown =
        |why: &str| Stopped(Verdict::Retry, format!("whether its subject {digest} is there is not known: {why}"));
    match context.observations.image(registry, &subject) {
        // A referrer of a referrer waits for the next run, because one run deletes all referrers at once.
        Observation::Present(seen) if context.goes_first(&subject).is_some() && seen.kind != ManifestKind::Referrer => {
            Passed(format!("its subject {digest} goes before it"))
        }
        Observation::Present(_) if context.now.duration_since(*since) > MAX_REFERENCE_WAIT => {
            Stopped(Verdict::Keep, format!("it is a {kind} of {digest}, which stays"))
        }
        Observation::Present(_) => Stopped(Verdict::Retry, format!("it is a {kind} of {digest}, which is still there")),
        Observation::Missing | Observation::NoRepository => Passed(format!("its subject {digest} is not there")),
        Observation::Unreadable(why) => unknown(why),
        Observation::NotAsked => unknown("not read"),
    }
}

/// 5b. Nothing uses it, as far as the services say that are configured. What is in use is looked at again every day,
///     and kept for good after 30 days.
fn usage(Review { context, .. }: &Review<'_>) -> Checked {
    let Deletion { registry, image, since, .. } = context.deletion;
    let Some(usage) = &context.observations.usage else { return NotApplicable };
    let users = context.observations.users(context.deletion);
    if !users.is_empty() {
        let why = format!("in use in {registry}: {}", users.summary());
        let again = context.now.saturating_add(USED_AGAIN_AFTER).unwrap_or(Timestamp::MAX);
        let waits = context.now.duration_since(*since) <= MAX_REFERENCE_WAIT;
        return Stopped(if waits { Verdict::Wait(again) } else { Verdict::Keep }, why);
    }
    match usage.unknown(registry, image) {
        Some(why) => Stopped(Verdict::Retry, format!("whether it is in use is not known: {why}")),
        None => Passed(format!("nothing that was read in {registry} uses it")),
    }
}

/// 6a. The policy permits it.
fn policy(review: &Review<'_>) -> Checked {
    match review.permission() {
        Ok((action, answer)) => {
            let permits = answer.policies.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            Passed(format!("{action} is permitted by {permits}"))
        }
        Err((refusal, _)) => Stopped(Verdict::Keep, refusal.clone()),
    }
}

/// 6b. It is not archived already, if the policy only permits that.
fn not_archived(review: &Review<'_>) -> Checked {
    match (review.permission(), review.context.replica()) {
        (Ok((Action::Archive, _)), Observation::Present(seen)) if seen.archived => {
            Stopped(Verdict::AlreadyGone, "it is archived already".to_owned())
        }
        _ => NotApplicable,
    }
}

/// 7. No operator paused the deletions of the source.
fn paused(Review { context, .. }: &Review<'_>) -> Checked {
    let Some(controls) = &context.observations.controls else {
        return Stopped(Verdict::Retry, "pauses and holds were not read".to_owned());
    };
    match controls.paused(&context.deletion.source, context.now) {
        Some(pause) => Stopped(Verdict::Wait(pause.evaluated_at(context.now)), pause.summary()),
        None => NotApplicable,
    }
}

/// 8. No hold of an operator covers the image.
fn hold(Review { context, .. }: &Review<'_>) -> Checked {
    let Deletion { source, image, .. } = context.deletion;
    let controls = context.observations.controls.as_ref();
    match controls.and_then(|controls| controls.held(source, image, context.now)) {
        Some(hold) => Stopped(Verdict::Hold(Some(hold.evaluated_at(context.now))), hold.summary()),
        None => NotApplicable,
    }
}

/// 9. The grace period is over.
fn grace(review: &Review<'_>) -> Checked {
    let Ok((_, PolicyAnswer { grace, .. })) = review.permission() else { return policy(review) };
    let until = review.context.deletion.since.saturating_add(*grace).unwrap_or(Timestamp::MAX);
    if review.context.now < until {
        return Stopped(Verdict::Wait(until), format!("{grace:#} of grace, until {until}"));
    }
    Passed(format!("{grace:#} of grace, over since {until}"))
}

/// 10. The breaker of the source is closed.
fn breaker(Review { context, .. }: &Review<'_>) -> Checked {
    let source = &context.deletion.source;
    let Some(breaker) = context.observations.breakers.get(source) else {
        return Stopped(Verdict::Retry, format!("the breaker of {source} was not read"));
    };
    match &breaker.opened {
        Some(opened) => Stopped(Verdict::Hold(None), format!("the breaker of {source} is open: {}", opened.why)),
        None => Passed(format!("the breaker of {source} is closed")),
    }
}

/// 11. An operator approved the deletion, if the policy requires it.
fn approval(review: &Review<'_>) -> Checked {
    let Ok((_, answer)) = review.permission() else { return policy(review) };
    match review.context.deletion.approved() {
        _ if !answer.approval => NotApplicable,
        Some(act) => Passed(format!("approved {} by {}", act.at, act.by_and_reason())),
        None => Stopped(Verdict::NeedsApproval, "the policy wants a person to approve it".to_owned()),
    }
}

/// What the policy permits: for an image deletion, else archiving; for a tag its removal.
pub fn permitted(question: &PolicyQuestion<'_>, ask: Ask<'_>) -> Permission {
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

/// Estimates when a new deletion is due and which action will be taken, from what is recorded. No registry was read
/// yet.
pub fn estimate(deletion: &mut Deletion, lineage: &Lineage, ask: Ask<'_>) {
    let known = ReplicaFacts::recorded(deletion, lineage);
    let copies = lineage.placements.iter().filter(|(registry, placement)| {
        **registry != deletion.registry && placement.status() < PlacementStatus::ProbablyAbsent
    });
    let question = known.question(deletion, deletion.changed_at, copies.count() as u64);
    let (action, needs_approval, policies, grace) = match permitted(&question, ask) {
        Ok((action, answer)) => (Some(action), answer.approval, answer.policies, answer.grace),
        Err((_, policies)) => (None, false, policies, ask(Action::Delete, &question).grace),
    };
    if deletion.status == DeletionStatus::Pending {
        let due = deletion.since.saturating_add(grace).unwrap_or(Timestamp::MAX);
        (deletion.action, deletion.needs_approval) = (action, needs_approval);
        (deletion.policies, deletion.due) = (policies, Some(due.max(deletion.changed_at)));
    }
}
