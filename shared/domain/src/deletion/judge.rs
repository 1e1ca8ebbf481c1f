//! Whether a replica may follow its source: the checks, in their order, from what was just read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Check, CheckName, Deletion, PATIENCE, Status};
use crate::{
    breaker::Breaker,
    fact::Cause,
    image::{Digest, Image, Registry, Tag},
    lineage::{Lineage, Placement},
    policy::{Action, Answer, Kind, Question},
    replication::Rules,
};

/// An image as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its tags.
    pub tags: BTreeSet<Tag>,
    /// Whether it is in the archive storage class, or on its way back from there.
    pub archived: bool,
    /// When it was pushed there, by somebody or by replication.
    pub pushed_at: Option<Timestamp>,
    /// When it was last pulled there, up to 24 hours late.
    pub last_pulled_at: Option<Timestamp>,
    /// Its size.
    pub size_bytes: u64,
    /// What the manifest is.
    pub kind: Kind,
    /// What it refers to, if it is a referrer.
    pub subject: Option<Digest>,
}

/// What a look into a registry showed of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Look {
    /// It is there, in whatever storage class.
    There(Seen),
    /// The repository is there, the image is not.
    Missing,
    /// The repository is not there.
    NoRepository,
    /// The registry could not be asked, for this reason.
    Unreadable(String),
    /// Nobody asked.
    #[default]
    NotAsked,
}

/// Another registry than the replica's.
#[derive(Debug, Clone)]
pub struct Other<'a> {
    /// Its replication rules, or why they could not be read.
    pub rules: &'a Result<Rules, String>,
    /// What it has of the image.
    pub look: Look,
}

/// Whether the subject of a referrer stays where the referrer is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stays {
    /// It has no subject, or its subject is not there.
    #[default]
    No,
    /// Its subject goes just before it.
    Goes,
    /// Its subject is there, and stays for now.
    Yes,
    /// Nobody could find out.
    Unknown(String),
}

/// Everything that decides about one deletion.
#[derive(Debug)]
pub struct Case<'a> {
    /// The deletion.
    pub deletion: &'a Deletion,
    /// What is recorded of the image.
    pub lineage: &'a Lineage,
    /// Now.
    pub now: Timestamp,
    /// The replica.
    pub replica: Look,
    /// The replication rules of the replica's registry, or why they could not be read.
    pub onwards: &'a Result<Rules, String>,
    /// Every other registry that is known.
    pub others: BTreeMap<&'a Registry, Other<'a>>,
    /// Registries whose copy of this image goes at the same time, or may have.
    pub going: &'a BTreeSet<Registry>,
    /// Whether the replica's subject stays.
    pub subject: Stays,
    /// The breaker of the source.
    pub breaker: &'a Breaker,
}

/// What to do about a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All checks passed: this may be done now.
    Go(Action),
    /// There is nothing left to do.
    Gone,
    /// The replica stays.
    Keep,
    /// The replica stays because its source has the image after all: what is recorded of the source is wrong.
    Present,
    /// Judge again at this time.
    Wait(Timestamp),
    /// Something could not be found out, or something else must go first: judge again later.
    PutOff,
    /// The breaker is open.
    Hold,
    /// A person must approve.
    Ask,
}

/// A verdict and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// What was checked, in order; the last check decided.
    pub checks: Vec<Check>,
    /// What the policy permits, if it was asked and permits anything.
    pub action: Option<Action>,
    /// The policies that decided.
    pub policies: BTreeSet<String>,
    /// The size of the replica.
    pub size_bytes: Option<u64>,
}

type Checked = Result<String, (Verdict, String)>;
type CheckOf = fn(&Case<'_>) -> Checked;

/// The registries that must be asked for the image before a deletion can be judged: the replica's, every one that
/// replicates or may replicate there, and every one that is believed to have a copy.
#[must_use]
pub fn to_look_at<'a>(
    deletion: &'a Deletion,
    lineage: &'a Lineage,
    rules: &'a BTreeMap<Registry, Result<Rules, String>>,
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

fn replica<'a>(deletion: &Deletion, lineage: &'a Lineage) -> Option<&'a Placement> {
    lineage.placements.get(&deletion.registry)
}

/// Judges one deletion. `ask` is the policy.
pub fn judge(case: &Case<'_>, ask: impl Fn(Action, &Question<'_>) -> Answer) -> Decision {
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
        if !decision.note(name, check(case)) {
            return decision;
        }
    }
    let Look::There(seen) = &case.replica else { return decision };
    decision.size_bytes = Some(seen.size_bytes);
    let known = Known::seen(case, seen);
    let (action, answer) = match permitted(&known.question(case.deletion, case.now, case.other_copies()), &ask) {
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
        (CheckName::Grace, grace(case, &answer)),
        (CheckName::Breaker, breaker(case)),
        (CheckName::Approval, approval(case, &answer)),
    ];
    for (name, checked) in rest {
        if checked == Ok(String::new()) {
            continue;
        }
        if !decision.note(name, checked) {
            return decision;
        }
    }
    decision.verdict = Verdict::Go(action);
    decision
}

impl Decision {
    /// Takes the result of a check; says whether to go on.
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

impl Case<'_> {
    /// In how many other registries the image was just seen, and stays.
    fn other_copies(&self) -> u64 {
        let stays = |(registry, other): &(&&Registry, &Other<'_>)| {
            matches!(other.look, Look::There(_)) && !self.going.contains(**registry)
        };
        self.others.iter().filter(stays).count() as u64
    }

    fn look(&self, registry: &Registry) -> &Look {
        self.others.get(registry).map_or(&Look::NotAsked, |other| &other.look)
    }
}

/// 1. It came by replication from this source, nobody pushed it here, and no other source of it still has it.
fn origin(case: &Case<'_>) -> Checked {
    let Deletion { source, registry, image, .. } = case.deletion;
    let keep = |why: String| Err((Verdict::Keep, why));
    let Some(placement) = replica(case.deletion, case.lineage) else {
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
    for (other, state) in &case.others {
        let by_rule = match state.rules {
            Ok(rules) => rules.to(&image.repository, registry).next().is_some(),
            Err(why) if *other != source => {
                return Err((
                    Verdict::PutOff,
                    format!("{other} may replicate here, and its rules cannot be read: {why}"),
                ));
            }
            Err(_) => false,
        };
        if *other == source || !(by_rule || replicated.contains_key(*other)) {
            continue;
        }
        match &state.look {
            Look::There(_) => return keep(format!("{other} replicates it here as well, and still has it")),
            Look::Missing | Look::NoRepository => {}
            Look::Unreadable(why) => {
                return Err((Verdict::PutOff, format!("{other} replicates here as well and cannot be read: {why}")));
            }
            Look::NotAsked => {
                return Err((Verdict::PutOff, format!("{other} replicates here as well and was not asked")));
            }
        }
    }
    Ok(format!("replicated from {source} {at}, never pushed to {registry}"))
}

/// A digest that can be acted on. AWS's own sample events have others.
fn is_exact(digest: &Digest) -> bool {
    let encoded = digest.encoded();
    digest.as_str().starts_with("sha256:")
        && encoded.len() == 64
        && encoded.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// 2. ECR does not replicate this deletion by itself: neither here, nor from here onwards.
fn native(case: &Case<'_>) -> Checked {
    let Deletion { source, registry, image, .. } = case.deletion;
    match case.others.get(source).map(|other| other.rules) {
        Some(Ok(rules)) => {
            if let Some(number) = rules.native_deletes(&image.repository, registry) {
                let what = match &case.replica {
                    Look::There(_) => "it has not deleted this replica",
                    Look::Missing | Look::NoRepository => "this replica is gone",
                    Look::Unreadable(_) | Look::NotAsked => "this replica could not be looked at",
                };
                let why = format!("rule {number} of {source} has ECR replicate deletions itself: {what}");
                return Err((Verdict::Keep, why));
            }
        }
        Some(Err(why)) => {
            return Err((Verdict::PutOff, format!("the replication rules of {source} cannot be read: {why}")));
        }
        None => return Err((Verdict::PutOff, format!("the replication rules of {source} were not read"))),
    }
    match case.onwards {
        Ok(rules) => match rules.carries_deletions_on(&image.repository) {
            None => Ok(format!("{source} does not replicate deletions to {registry} by itself")),
            Some(number) => {
                let why = format!("rule {number} of {registry} would have ECR delete it elsewhere as well, unasked");
                Err((Verdict::Keep, why))
            }
        },
        Err(why) => Err((Verdict::PutOff, format!("the replication rules of {registry} cannot be read: {why}"))),
    }
}

/// 3. The source really lacks it, in every storage class.
fn source(case: &Case<'_>) -> Checked {
    let source = &case.deletion.source;
    match (case.look(source), &case.deletion.tag) {
        (Look::There(seen), None) => {
            let archived = if seen.archived { ", archived" } else { "" };
            Err((Verdict::Present, format!("{source} has it{archived}")))
        }
        (Look::There(seen), Some(tag)) if seen.tags.contains(tag) => {
            Err((Verdict::Keep, format!("{source} has tag {tag} on it")))
        }
        (Look::There(_), Some(tag)) => Ok(format!("{source} has it without tag {tag}")),
        (Look::Missing, None) => match case.lineage.cause_of_loss(source) {
            Cause::Repository { by } => {
                Err((Verdict::Keep, format!("its whole repository was deleted in {source} by {by}")))
            }
            _ => Ok(format!("{source} does not have it")),
        },
        (Look::Missing, Some(_)) => Err((Verdict::Keep, format!("{source} has lost the whole image"))),
        (Look::NoRepository, _) => {
            Err((Verdict::Keep, format!("its whole repository is gone in {source}: that is never mirrored")))
        }
        (Look::Unreadable(why), _) => Err((Verdict::PutOff, format!("{source} cannot be read: {why}"))),
        (Look::NotAsked, _) => Err((Verdict::PutOff, format!("{source} was not asked"))),
    }
}

/// 4. The replica is really there, and keeps a tag if only a tag is to go.
fn is_there(case: &Case<'_>) -> Checked {
    let registry = &case.deletion.registry;
    match (&case.replica, &case.deletion.tag) {
        (Look::There(seen), None) => Ok(describe(seen)),
        (Look::There(seen), Some(tag)) if !seen.tags.contains(tag) => {
            Err((Verdict::Gone, format!("tag {tag} is not on it in {registry}")))
        }
        (Look::There(seen), Some(tag)) if seen.tags.len() == 1 => {
            Err((Verdict::Keep, format!("{tag} is its last tag, and ECR deletes an image with its last tag")))
        }
        (Look::There(seen), Some(_)) => Ok(describe(seen)),
        (Look::Missing | Look::NoRepository, _) => Err((Verdict::Gone, format!("it is not in {registry}"))),
        (Look::Unreadable(why), _) => Err((Verdict::PutOff, format!("{registry} cannot be read: {why}"))),
        (Look::NotAsked, _) => Err((Verdict::PutOff, format!("{registry} was not asked"))),
    }
}

fn describe(seen: &Seen) -> String {
    let tags: Vec<_> = seen.tags.iter().map(Tag::as_str).collect();
    let tags = if tags.is_empty() { "untagged".to_owned() } else { format!("tagged {}", tags.join(", ")) };
    let pulled = seen.last_pulled_at.map_or_else(|| "never pulled".to_owned(), |at| format!("last pulled {at}"));
    let archived = if seen.archived { ", archived" } else { "" };
    format!("there, {tags}, {} bytes, {pulled}{archived}", seen.size_bytes)
}

/// 5. It is not needed by another manifest that stays. Of indexes only ECR knows, when it is asked to delete.
fn manifest(case: &Case<'_>) -> Checked {
    let Look::There(Seen { subject: Some(subject), kind, .. }) = &case.replica else {
        return Ok("it refers to no other manifest".to_owned());
    };
    if case.deletion.tag.is_some() {
        return Ok("only a tag is to go".to_owned());
    }
    let subject = subject.short();
    match &case.subject {
        Stays::No => Ok(format!("its subject {subject} is not there")),
        Stays::Goes => Ok(format!("its subject {subject} goes before it")),
        Stays::Yes if case.now.duration_since(case.deletion.since) > PATIENCE => {
            Err((Verdict::Keep, format!("it is a {} of {subject}, which stays", kind.word())))
        }
        Stays::Yes => Err((Verdict::PutOff, format!("it is a {} of {subject}, which is still there", kind.word()))),
        Stays::Unknown(why) => {
            Err((Verdict::PutOff, format!("whether its subject {subject} is there is not known: {why}")))
        }
    }
}

/// 6. What the policy permits: of an image deletion, else the archive; of a tag its removal.
fn permitted(
    question: &Question<'_>,
    ask: impl Fn(Action, &Question<'_>) -> Answer,
) -> Result<(Action, Answer), (String, BTreeSet<String>)> {
    let actions: &[Action] = if question.tag.is_some() { &[Action::Untag] } else { &[Action::Delete, Action::Archive] };
    let mut refusals = Vec::new();
    let mut policies = BTreeSet::new();
    for action in actions {
        let answer = ask(*action, question);
        if let Some(error) = answer.errors.first() {
            // A policy that failed might have been the one that forbids: nothing else is asked.
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

fn archived_already(action: Action, seen: &Seen) -> Checked {
    if action == Action::Archive && seen.archived {
        return Err((Verdict::Gone, "it is archived already".to_owned()));
    }
    Ok(String::new())
}

/// 6a. The time of grace is over.
fn grace(case: &Case<'_>, answer: &Answer) -> Checked {
    let until = case.deletion.since.saturating_add(answer.grace).unwrap_or(Timestamp::MAX);
    if case.now < until {
        return Err((Verdict::Wait(until), format!("{:#} of grace, until {until}", answer.grace)));
    }
    Ok(format!("{:#} of grace, over since {until}", answer.grace))
}

/// 7. The breaker of the source is closed.
fn breaker(case: &Case<'_>) -> Checked {
    match &case.breaker.opened {
        Some(opened) => {
            Err((Verdict::Hold, format!("the breaker of {} is open: {}", case.deletion.source, opened.why)))
        }
        None => Ok(format!("the breaker of {} is closed", case.deletion.source)),
    }
}

/// 8. A person approved it, where the policy wants that.
fn approval(case: &Case<'_>, answer: &Answer) -> Checked {
    match case.deletion.approved() {
        _ if !answer.approval => Ok(String::new()),
        Some(act) => Ok(format!("approved by {} {}", act.by, act.at)),
        None => Err((Verdict::Ask, "the policy wants a person to approve it".to_owned())),
    }
}

/// What a policy is told about the replica.
struct Known<'a> {
    tags: BTreeSet<Tag>,
    replica_only_tags: BTreeSet<Tag>,
    pushed_at: Option<Timestamp>,
    replicated_at: Timestamp,
    last_pulled_at: Option<Timestamp>,
    size_bytes: u64,
    kind: Kind,
    archived: bool,
    cause: Cause,
    image: &'a Image,
}

impl<'a> Known<'a> {
    /// What was just seen.
    fn seen(case: &Case<'a>, seen: &Seen) -> Self {
        let Self { pushed_at, replicated_at, cause, image, .. } = Self::recorded(case.deletion, case.lineage);
        Self {
            replica_only_tags: replica_only(case.deletion, case.lineage, seen.tags.iter()),
            tags: seen.tags.clone(),
            pushed_at,
            replicated_at,
            last_pulled_at: seen.last_pulled_at,
            size_bytes: seen.size_bytes,
            kind: seen.kind,
            archived: seen.archived,
            cause,
            image,
        }
    }

    /// What is recorded.
    fn recorded(deletion: &'a Deletion, lineage: &Lineage) -> Self {
        let placement = replica(deletion, lineage);
        let tags: BTreeSet<Tag> =
            placement.map(Placement::current_tags).unwrap_or_default().into_iter().cloned().collect();
        let at_source = lineage.placements.get(&deletion.source);
        let arrived = placement.and_then(|placement| placement.replicated().get(&deletion.source).copied());
        Self {
            replica_only_tags: replica_only(deletion, lineage, tags.iter()),
            tags,
            pushed_at: at_source.and_then(Placement::pushed),
            replicated_at: arrived.unwrap_or(deletion.since),
            last_pulled_at: None,
            size_bytes: 0,
            kind: Kind::Image,
            archived: placement.is_some_and(|placement| placement.status() == crate::lineage::Status::Archived),
            cause: match &deletion.tag {
                None => lineage.cause_of_loss(&deletion.source),
                Some(_) => lineage.cause(&deletion.source, deletion.since),
            },
            image: &deletion.image,
        }
    }

    fn question<'q>(&'q self, deletion: &'q Deletion, now: Timestamp, other_copies: u64) -> Question<'q> {
        Question {
            source: &deletion.source,
            image: self.image,
            registry: &deletion.registry,
            tags: &self.tags,
            replica_only_tags: &self.replica_only_tags,
            pushed_at: self.pushed_at,
            replicated_at: self.replicated_at,
            last_pulled_at: self.last_pulled_at,
            size_bytes: self.size_bytes,
            kind: self.kind,
            archived: self.archived,
            now,
            since: deletion.since,
            cause: &self.cause,
            other_copies,
            tag: deletion.tag.as_ref(),
        }
    }
}

/// The tags that the source never had: neither was one set there, nor did one come from there.
fn replica_only<'t>(deletion: &Deletion, lineage: &Lineage, tags: impl Iterator<Item = &'t Tag>) -> BTreeSet<Tag> {
    let evidence = |registry: &Registry, tag: &Tag| lineage.placements.get(registry)?.tags.get(tag);
    tags.filter(|tag| {
        let set = evidence(&deletion.source, tag).is_some_and(|tag| tag.pullable().is_some());
        let came = evidence(&deletion.registry, tag).is_some_and(|tag| tag.replicated.contains_key(&deletion.source));
        !set && !came
    })
    .cloned()
    .collect()
}

/// When a new deletion is due, and what would be done as far as is recorded: nothing was looked at yet.
pub fn estimate(deletion: &mut Deletion, lineage: &Lineage, ask: impl Fn(Action, &Question<'_>) -> Answer) {
    let known = Known::recorded(deletion, lineage);
    let copies = lineage.placements.iter().filter(|(registry, placement)| {
        **registry != deletion.registry && placement.status() < crate::lineage::Status::ProbablyAbsent
    });
    let question = known.question(deletion, deletion.changed_at, copies.count() as u64);
    let (action, policies, grace) = match permitted(&question, &ask) {
        Ok((action, answer)) => (Some(action), answer.policies, answer.grace),
        Err((_, policies)) => (None, policies, ask(Action::Delete, &question).grace),
    };
    if deletion.status == Status::Pending {
        let due = deletion.since.saturating_add(grace).unwrap_or(Timestamp::MAX);
        (deletion.action, deletion.policies, deletion.due) = (action, policies, Some(due.max(deletion.changed_at)));
    }
}
