//! Deletions of replicas: lists and operator actions.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use domain::{
    activity::OperatorAct,
    controls::HoldPattern,
    deletion::{CheckName, Deletion, DeletionStatus, OperatorAction},
    image::{Image, Registry, RepositoryPattern, Tag},
    time::time_text,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use store::{Listed, Stored, Table};
use utoipa::ToSchema;

use crate::{
    READS_AT_A_TIME,
    activity::Unrecorded,
    answer,
    basis::Basis,
    controls,
    cursor::Cursor,
    described::{Describe, DescribedDeletion, described},
    error::Error,
    reference::Reference,
    registries::short_reason,
    time::Period,
};

/// Deletions of one status and source that are read at most in one step.
pub(crate) const MOST: usize = 1_000;

/// Deletions of replicas.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deletions {
    /// The deletions, by their last change, newest first.
    pub deletions: Vec<TaggedDeletion>,
    /// Every status in words.
    #[schema(value_type = BTreeMap<String, String>)]
    pub status_texts: BTreeMap<DeletionStatus, &'static str>,
    /// The cursor for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<Listed>>,
}

/// A deletion, and the tags of its replica.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TaggedDeletion {
    /// The deletion.
    #[serde(flatten, serialize_with = "described_one")]
    #[schema(value_type = DescribedDeletion)]
    pub deletion: Deletion,
    /// The tags that the replica has, or had when it was deleted, as far as is recorded, by name.
    pub tags: BTreeSet<Tag>,
}

impl TaggedDeletion {
    /// Adds the tags to deletions, in their order.
    pub(crate) async fn all(table: &Table, deletions: Vec<Deletion>) -> Result<Vec<Self>, store::Error> {
        let images: BTreeSet<Image> = deletions.iter().map(|deletion| deletion.image.clone()).collect();
        let read = stream::iter(images)
            .map(|image| async move { table.placements(&image).await.map(|lineage| (image, lineage)) })
            .buffer_unordered(READS_AT_A_TIME);
        let lineages: BTreeMap<_, _> = read.try_collect().await?;
        let tagged = deletions.into_iter().map(|deletion| {
            let replica = lineages.get(&deletion.image).and_then(|lineage| lineage.placements.get(&deletion.registry));
            let tags = replica.map(|replica| replica.last_tags().into_iter().cloned().collect());
            Self { tags: tags.unwrap_or_default(), deletion }
        });
        Ok(tagged.collect())
    }
}

fn described_one<S: Serializer>(deletion: &Deletion, serializer: S) -> Result<S::Ok, S::Error> {
    deletion.describe().serialize(serializer)
}

impl Deletions {
    async fn new(
        table: &Table,
        mut deletions: Vec<Deletion>,
        next_cursor: Option<Listed>,
        now: Timestamp,
    ) -> Result<Self, store::Error> {
        controls::add_stops(&mut deletions, &table.controls().await?, now);
        let deletions = TaggedDeletion::all(table, deletions).await?;
        let status_texts = DeletionStatus::ALL.map(|status| (status, status.words())).into();
        Ok(Self { deletions, status_texts, next_cursor: next_cursor.map(Cursor) })
    }
}

/// Selects deletions for a list.
#[derive(Debug, Clone)]
pub struct DeletionFilter<'a> {
    /// Deletions with one of these statuses.
    pub statuses: BTreeSet<DeletionStatus>,
    /// Deletions from this source; without one, from every source.
    pub source: Option<&'a Registry>,
    /// Deletions in this registry; without one, in every registry.
    pub registry: Option<&'a Registry>,
    /// Deletions in these repositories; without a pattern, in every repository.
    pub repositories: Option<&'a RepositoryPattern>,
    /// Deletions that changed last in this time.
    pub changed: Period,
}

impl DeletionFilter<'_> {
    /// The deletions with these statuses that changed last in this time, everywhere.
    #[must_use]
    pub fn everywhere(statuses: BTreeSet<DeletionStatus>, changed: Period) -> Self {
        Self { statuses, source: None, registry: None, repositories: None, changed }
    }

    fn selects(&self, deletion: &Deletion) -> bool {
        self.changed.contains(deletion.changed_at)
            && self.registry.is_none_or(|registry| *registry == deletion.registry)
            && self.repositories.is_none_or(|pattern| pattern.covers(&deletion.image.repository))
    }

    /// Every status except `done` and `kept`.
    #[must_use]
    pub fn not_over() -> BTreeSet<DeletionStatus> {
        DeletionStatus::ALL
            .into_iter()
            .filter(|status| !matches!(status, DeletionStatus::Done | DeletionStatus::Kept))
            .collect()
    }

    /// Of a registry or a repository that is not known, nothing can be said.
    async fn names_what_is_known(&self, table: &Table) -> Result<(), Error> {
        let repository = self.repositories.and_then(RepositoryPattern::name);
        if self.registry.is_some() || repository.is_some() {
            Basis::read(table, self.registry, repository.as_ref()).await?;
        }
        Ok(())
    }

    /// The lists that together have what the filter selects.
    async fn groups(&self, table: &Table) -> Result<Vec<(DeletionStatus, Registry)>, Error> {
        let sources = sources(table, self.source).await?;
        let of_status = |status| sources.iter().map(move |source| (status, source.clone()));
        Ok(self.statuses.iter().copied().flat_map(of_status).collect())
    }
}

/// Answers `deletions`.
///
/// # Errors
/// When the source, the registry or the repository is unknown, or the table cannot be read.
pub async fn list(table: &Table, filter: &DeletionFilter<'_>, now: Timestamp) -> Result<Deletions, Error> {
    filter.names_what_is_known(table).await?;
    Ok(Deletions::new(table, stored(table, filter).await?, None, now).await?)
}

/// Every deletion that a filter selects, as it is stored, newest first.
///
/// # Errors
/// When the source is unknown, or the table cannot be read.
pub(crate) async fn stored(table: &Table, filter: &DeletionFilter<'_>) -> Result<Vec<Deletion>, Error> {
    Ok(newest(table, filter, None, usize::MAX).await?.0)
}

/// One page of `deletions`, after a deletion.
///
/// # Errors
/// When the source, the registry or the repository is unknown, or the table cannot be read.
pub async fn page(
    table: &Table,
    filter: &DeletionFilter<'_>,
    after: Option<&Listed>,
    most: usize,
    now: Timestamp,
) -> Result<Deletions, Error> {
    filter.names_what_is_known(table).await?;
    let (deletions, next) = newest(table, filter, after, most).await?;
    Ok(Deletions::new(table, deletions, next, now).await?)
}

/// The position of a deletion in a list, the newest first: by its last change as the index orders it, then by name.
fn position(at: &Listed) -> (Reverse<String>, String, &Registry, Option<&Tag>) {
    (Reverse(at.changed_at.to_string()), at.image.to_string(), &at.registry, at.tag.as_ref())
}

fn listed(deletion: &Deletion) -> Listed {
    let Deletion { image, registry, tag, changed_at, .. } = deletion.clone();
    Listed { image, registry, tag, changed_at }
}

/// The newest deletions that a filter selects, after one of them, at most `most`; and the last of them if there are more.
async fn newest(
    table: &Table,
    filter: &DeletionFilter<'_>,
    after: Option<&Listed>,
    most: usize,
) -> Result<(Vec<Deletion>, Option<Listed>), Error> {
    let groups = filter.groups(table).await?;
    let read = stream::iter(groups)
        .map(|(status, source)| async move { newest_of_group(table, status, &source, filter, after, most).await });
    let mut read = read.buffered(READS_AT_A_TIME);
    let (mut found, mut more) = (Vec::new(), false);
    while let Some((deletions, continues)) = read.try_next().await? {
        found.extend(deletions.into_iter().map(|deletion| (listed(&deletion), deletion)));
        more |= continues;
    }
    found.sort_by(|(a, _), (b, _)| position(a).cmp(&position(b)));
    more |= found.len() > most;
    found.truncate(most);
    let next = found.last().map(|(at, _)| at.clone()).filter(|_| more);
    Ok((found.into_iter().map(|(_, deletion)| deletion).collect(), next))
}

/// The newest deletions of one status and source, after a deletion of any: at least `most`, if there are as many. Also
/// returns whether there are more; those are older than each that is returned.
async fn newest_of_group(
    table: &Table,
    status: DeletionStatus,
    source: &Registry,
    filter: &DeletionFilter<'_>,
    after: Option<&Listed>,
    most: usize,
) -> Result<(Vec<Deletion>, bool), store::Error> {
    let changed = filter.changed;
    let until = after.map(|after| after.changed_at).into_iter().chain(changed.to).min();
    let is_wanted = |deletion: &Deletion| {
        filter.selects(deletion) && after.is_none_or(|after| position(&listed(deletion)) > position(after))
    };
    let (mut found, mut continued): (Vec<Deletion>, _) = (Vec::new(), None);
    loop {
        let chunk = most.saturating_add(1).min(MOST);
        let (read, next) = table.deletions(status, source, changed.from, until, continued.as_ref(), chunk).await?;
        found.extend(read.into_iter().filter(is_wanted));
        let Some(next) = next else { return Ok((found, false)) };
        // Those that changed at the same time are in no order: all of them are read, or none is returned.
        let oldest = next.changed_at.to_string();
        let newer = || found.iter().filter(|deletion| deletion.changed_at.to_string() > oldest).count();
        if found.len() >= most && newer() >= most {
            found.retain(|deletion| deletion.changed_at.to_string() > oldest);
            return Ok((found, true));
        }
        continued = Some(next);
    }
}

/// The position at which the next page of recorded deletions starts, by status and source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionsPageToken {
    status: DeletionStatus,
    source: Registry,
    /// The last deletion of the previous page; without one, start from the first.
    after: Option<Listed>,
}

/// Every deletion with one of these statuses, of a source or of every source.
///
/// # Errors
/// When the table cannot be read.
pub(crate) async fn all(
    table: &Table,
    statuses: &[DeletionStatus],
    source: Option<&Registry>,
) -> Result<Vec<Deletion>, Error> {
    let mut found = Vec::new();
    for source in sources(table, source).await? {
        for status in statuses {
            let mut after = None;
            loop {
                let since = Timestamp::UNIX_EPOCH;
                let (more, next) = table.deletions(*status, &source, since, None, after.as_ref(), MOST).await?;
                found.extend(more);
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// One page of the deletions of every status that changed since a time, as they are stored: by status, then by source.
///
/// # Errors
/// When the table cannot be read.
pub(crate) async fn recorded_page(
    table: &Table,
    since: Timestamp,
    from: Option<DeletionsPageToken>,
    most: usize,
) -> Result<(Vec<Deletion>, Option<DeletionsPageToken>), store::Error> {
    let sources = table.registries().await?;
    let mut deletions = Vec::new();
    for status in DeletionStatus::ALL {
        for source in &sources {
            let after = match &from {
                Some(place) if (place.status, &place.source) > (status, source) => continue,
                Some(place) if (place.status, &place.source) == (status, source) => place.after.as_ref(),
                _ => None,
            };
            let place = |after| Some(DeletionsPageToken { status, source: source.clone(), after });
            if deletions.len() >= most {
                return Ok((deletions, place(None)));
            }
            let (more, next) = table.deletions(status, source, since, None, after, most - deletions.len()).await?;
            deletions.extend(more);
            if next.is_some() {
                return Ok((deletions, place(next)));
            }
        }
    }
    Ok((deletions, None))
}

/// The sources of a question: one, or every known registry.
pub(crate) async fn sources(table: &Table, only: Option<&Registry>) -> Result<BTreeSet<Registry>, Error> {
    let known = table.registries().await?;
    match only {
        Some(source) if known.contains(source) => Ok([source.clone()].into()),
        Some(source) => Err(Error::UnknownRegistry { registry: source.clone() }),
        None => Ok(known),
    }
}

/// An operator action, and the deletions after it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acted {
    /// The action.
    pub action: OperatorAction,
    /// What the caller did, in words, such as `put on hold`.
    pub action_text: &'static str,
    /// The caller who acted.
    pub by: String,
    /// Why, in the caller's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The deletions that the action changed, in their new state, by registry and tag.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub deletions: Vec<Deletion>,
    /// The deletions that were approved before, if the action is an approval, by registry and tag. It changed nothing
    /// about them.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub approved_before: Vec<Deletion>,
    /// The number of deletions that another process changed at the same time, so that the action was not applied.
    #[serde(skip_serializing_if = "is_zero")]
    pub changed: usize,
    /// What was done, in one line.
    pub summary: String,
    #[serde(skip)]
    unrecorded: Unrecorded,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
pub(crate) fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Acted {
    fn new(act: &Act<'_>) -> Self {
        let Act { action, by, reason, .. } = act;
        Self {
            action: *action,
            action_text: action.past_tense(),
            by: (*by).to_owned(),
            reason: short_reason(*reason),
            deletions: Vec::new(),
            approved_before: Vec::new(),
            changed: 0,
            summary: String::new(),
            unrecorded: Unrecorded::default(),
        }
    }

    /// Applies the action to one deletion.
    async fn apply(&mut self, table: &Table, mut deletion: Deletion, now: Timestamp) -> Result<(), Error> {
        if self.action == OperatorAction::Approve && !deletion.status.is_final() && deletion.approved().is_some() {
            self.approved_before.push(deletion);
            return Ok(());
        }
        deletion.act(self.action, &self.by, self.reason.as_deref(), now)?;
        if table.put_deletion(&mut deletion).await? == Stored::Known {
            self.changed += 1;
            return Ok(());
        }
        let act = OperatorAct::new(self.action.into(), Some(&deletion.registry), &self.by, now);
        let pattern = Some(HoldPattern::of_image(&deletion.image));
        let act = OperatorAct { reason: self.reason.clone(), pattern, tag: deletion.tag.clone(), ..act };
        self.unrecorded = std::mem::take(&mut self.unrecorded).record(table, act).await;
        self.deletions.push(deletion);
        Ok(())
    }

    /// The answer with its text.
    fn finished(mut self) -> Result<Self, Error> {
        let because = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let count = |count: usize| if count == 1 { "1 deletion".to_owned() } else { format!("{count} deletions") };
        let mut parts = Vec::new();
        if !self.deletions.is_empty() || self.approved_before.is_empty() {
            parts.push(format!("{} {} by {}{because}", count(self.deletions.len()), self.action_text, self.by));
        }
        if self.action == OperatorAction::Cancel {
            parts.push("that is final: only a new deletion at the source starts a new one".to_owned());
        }
        if let Some(before) = self.approved_before.first().and_then(Deletion::approved) {
            let reason = before.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let (by, at) = (&before.by, time_text(before.at));
            parts.push(format!("{} approved before, by {by} {at}{reason}", count(self.approved_before.len())));
        }
        if self.changed > 0 {
            parts.push(format!("{} changed at the same time, look again", count(self.changed)));
        }
        self.summary = parts.join("; ");
        std::mem::take(&mut self.unrecorded).or(&self.summary.clone(), self)
    }
}

/// An operator's action: who, why and when.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// The action.
    pub action: OperatorAction,
    /// The caller.
    pub by: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// When.
    pub now: Timestamp,
}

/// Selects the deletions of an operator action.
#[derive(Debug, Clone)]
pub struct DeletionSelector {
    /// The image.
    pub image: Reference,
    /// Only the deletions in this registry.
    pub registry: Option<Registry>,
    /// The deletions of the image itself, of its tags, or one of them.
    pub scope: DeletionScope,
}

/// Selects among the deletions of an image.
#[derive(Debug, Clone)]
pub enum DeletionScope {
    /// All: that of the image, and those of its tags.
    All,
    /// The deletion of this tag.
    OfTag(Tag),
    /// Exactly the version that the caller saw: anything newer is rejected (optimistic lock).
    Seen {
        /// The tag, if the deletion is of a tag and not of the image.
        tag: Option<Tag>,
        /// The version that the caller saw.
        version: u64,
    },
}

impl DeletionScope {
    fn means(&self, deletion: &Deletion) -> bool {
        match self {
            Self::All => true,
            Self::OfTag(tag) => deletion.tag.as_ref() == Some(tag),
            Self::Seen { tag, .. } => deletion.tag == *tag,
        }
    }

    fn is_another(&self, deletion: &Deletion) -> bool {
        matches!(self, Self::Seen { version, .. } if *version != deletion.version)
    }
}

/// Applies an operator action to every selected deletion.
///
/// # Errors
/// When no deletion is selected, when none of them allows the action, when a deletion changed concurrently, or when the
/// table cannot be read or written.
pub async fn act(table: &Table, selector: &DeletionSelector, act: &Act<'_>) -> Result<Acted, Error> {
    let (mut acted, mut refused, mut asked) = (Acted::new(act), None, None);
    for image in answer::resolve(table, &selector.image).await? {
        let is_selected = |deletion: &Deletion| {
            selector.registry.as_ref().is_none_or(|registry| deletion.registry == *registry)
                && selector.scope.means(deletion)
        };
        for deletion in table.image_record(&image).await?.deletions.into_iter().filter(is_selected) {
            let what = format!("the deletion of {image} in {}", deletion.registry);
            if selector.scope.is_another(&deletion) {
                return Err(Error::Changed { what });
            }
            match acted.apply(table, deletion, act.now).await {
                Err(Error::InvalidTransition(invalid)) => refused = Some(invalid),
                done => done?,
            }
            if acted.changed > 0 {
                return Err(Error::Changed { what });
            }
        }
        asked = Some(image);
    }
    match (acted.deletions.is_empty() && acted.approved_before.is_empty(), refused, asked) {
        (true, Some(invalid), _) => Err(invalid.into()),
        (true, None, Some(asked)) => Err(Error::NoDeletion { asked, registry: selector.registry.clone() }),
        _ => acted.finished(),
    }
}

/// The number and size of some deletions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeletionTotal {
    /// The number of deletions: one for each replica, or tag of one.
    pub deletions: usize,
    /// The number of images.
    pub images: usize,
    /// The sum of sizes that ECR reports, in bytes; replicas share layers, so deleting them may free less.
    pub bytes: u64,
    /// The number of deletions of images whose size is not known: `mirror` reads it when the deletion is due.
    pub sizes_unknown: usize,
    /// The registries of the replicas, by name.
    pub registries: BTreeSet<Registry>,
    /// When the first of the images was deleted at the source.
    pub since: Timestamp,
}

impl DeletionTotal {
    /// The numbers of some deletions; `None` if there are none.
    pub(crate) fn of(deletions: &[&Deletion]) -> Option<Self> {
        Some(Self {
            deletions: deletions.len(),
            images: deletions.iter().map(|deletion| &deletion.image).collect::<BTreeSet<_>>().len(),
            bytes: deletions.iter().filter(|one| one.tag.is_none()).filter_map(|one| one.size_bytes).sum(),
            sizes_unknown: deletions.iter().filter(|one| one.tag.is_none() && one.size_bytes.is_none()).count(),
            registries: deletions.iter().map(|deletion| deletion.registry.clone()).collect(),
            since: deletions.iter().map(|deletion| deletion.since).min()?,
        })
    }

    /// The numbers in words, such as `3 deletions of 2 images in 2 registries, 1.20 GB, deleted since <time>`.
    pub(crate) fn summary(&self) -> String {
        let Self { deletions, images, bytes, sizes_unknown, registries, since } = self;
        let size = match (bytes, sizes_unknown) {
            (_, 0) => size_text(*bytes),
            (0, _) => "size unknown".to_owned(),
            (_, unknown) => format!("{}, size of {unknown} unknown", size_text(*bytes)),
        };
        let all = (counted(*deletions, "deletion"), counted(*images, "image"), size);
        let registries = match registries.first() {
            Some(only) if registries.len() == 1 => only.to_string(),
            _ => format!("{} registries", registries.len()),
        };
        format!("{} of {} in {registries}, {}, deleted since {}", all.0, all.1, all.2, time_text(*since))
    }
}

pub(crate) fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// A size in words, such as `1.20 GB`.
fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{:02} kB", bytes / 1_000, bytes % 1_000 / 10),
        1_000_000..1_000_000_000 => format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000),
        _ => format!("{}.{:02} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 10_000_000),
    }
}

/// Selects many deletions for an operator action. What is not given does not limit.
#[derive(Debug, Clone, Default)]
pub struct ManyDeletions {
    /// Repositories, as in `prod/*`.
    pub repository: Option<RepositoryPattern>,
    /// The source.
    pub source: Option<Registry>,
    /// The registry of the replicas.
    pub registry: Option<Registry>,
    /// The name of a policy that decided.
    pub policy: Option<String>,
    /// The source deleted the image at least this long ago.
    pub older_than: Option<SignedDuration>,
}

/// The deletions that an action is about to change.
#[derive(Debug)]
pub struct PlannedAct {
    /// The deletions.
    pub deletions: Vec<Deletion>,
    /// What the action will do, in one line: the number, the repositories and the size.
    pub summary: String,
}

/// The deletions that an action on many would change: those that await approval, those that are not over, or those that
/// were kept or failed.
///
/// # Errors
/// When the table cannot be read.
pub async fn planned(
    table: &Table,
    many: &ManyDeletions,
    action: OperatorAction,
    now: Timestamp,
) -> Result<PlannedAct, Error> {
    let statuses: &[_] = match action {
        OperatorAction::Approve => &[DeletionStatus::AwaitingApproval],
        OperatorAction::Retry => &[DeletionStatus::Kept, DeletionStatus::Failed],
        _ => &[DeletionStatus::Pending, DeletionStatus::Held, DeletionStatus::AwaitingApproval],
    };
    // What was reported too late is evaluated again only for an operator who names the image.
    let too_old = |deletion: &Deletion| deletion.checks.last().is_some_and(|check| check.check == CheckName::Age);
    let mut deletions = all(table, statuses, many.source.as_ref()).await?;
    deletions.retain(|deletion| !too_old(deletion));
    deletions.retain(|deletion| {
        many.repository.as_ref().is_none_or(|pattern| pattern.covers(&deletion.image.repository))
            && many.registry.as_ref().is_none_or(|registry| deletion.registry == *registry)
            && many.policy.as_ref().is_none_or(|policy| deletion.policies.contains(policy))
            && many.older_than.is_none_or(|age| now.duration_since(deletion.since) >= age)
            && deletion.allowed_actions().contains(&action)
    });
    let mut repositories: BTreeMap<_, usize> = BTreeMap::new();
    deletions.iter().for_each(|deletion| *repositories.entry(&deletion.image.repository).or_default() += 1);
    let named: Vec<_> = repositories.iter().map(|(repository, count)| format!("{repository} {count}")).collect();
    let total = DeletionTotal::of(&deletions.iter().collect::<Vec<_>>()).map(|total| total.summary());
    let summary = format!("{} {}: {}", action.as_str(), total.unwrap_or_default(), named.join(", "));
    Ok(PlannedAct { deletions, summary })
}

/// Applies an operator action to the deletions that were shown. What another process changed meanwhile stays as it is.
///
/// # Errors
/// When the table cannot be written.
pub async fn act_on_many(table: &Table, planned: PlannedAct, act: &Act<'_>) -> Result<Acted, Error> {
    let mut acted = Acted::new(act);
    for deletion in planned.deletions {
        match acted.apply(table, deletion, act.now).await {
            Err(Error::InvalidTransition(_)) => acted.changed += 1,
            done => done?,
        }
    }
    acted.finished()
}
