//! Policies: checked, and asked what they would do. Nothing here touches anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use domain::{
    deletion::{Check, Deletion, Status, Verdict, Wanted},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement},
    policy::Action,
};
use jiff::{SignedDuration, Timestamp};
use mirror::decide::{Candidate, Decided};
use policy::{Invalid, Policy, Problem};
use serde::Serialize;

use crate::{answer, deletions, failure::Failure, reference::Reference, target::Target};

/// Policies, and what is wrong with them.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// By file, in the order of the call.
    pub files: Vec<CheckedFile>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct CheckedFile {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, in the order of the text; nothing if it can be used.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// Whether all can be used.
    #[must_use]
    pub fn all_usable(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }
}

/// Answers `policy check`.
#[must_use]
pub fn check(files: &[PathBuf]) -> Checked {
    let files = files.iter().map(|file| {
        let problems = mirror::load_policy(Some(file)).err().map(|Invalid { problems, .. }| problems);
        CheckedFile { file: file.clone(), problems: problems.unwrap_or_default() }
    });
    Checked { files: files.collect() }
}

/// What a policy would do.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The policy.
    pub policy: String,
    /// Each replica, by what would become of it.
    pub replicas: Vec<Previewed>,
    /// The sums.
    pub totals: BTreeMap<Would, Total>,
}

/// What would become of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// Deleted.
    Delete,
    /// Moved to the archive storage class.
    Archive,
    /// Left without a tag.
    Untag,
    /// Kept.
    Keep,
    /// Gone already.
    Gone,
    /// Nobody can tell: a registry could not be read. That keeps it.
    Unknown,
}

/// How many and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Replicas.
    pub images: usize,
    /// Their sizes as ECR tells them; replicas share layers, so less may be freed.
    pub bytes: u64,
}

/// What would become of one replica.
#[derive(Debug, Serialize)]
pub struct Previewed {
    /// What.
    pub would: Would,
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// The tag, if only a tag is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Whether the loss was recorded as a deletion, or the replica is an orphan without one.
    pub recorded: bool,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The policies that decided.
    pub policies: BTreeSet<String>,
    /// The check that decided.
    pub why: String,
}

/// Answers `policy preview`: every deletion that was recorded in a time, and every orphan, judged now from fresh reads.
///
/// # Errors
/// When the policy cannot be used, or the table cannot be read. A registry that cannot be read leaves its replicas unknown.
pub async fn preview(target: &Target, file: &Path, since: SignedDuration) -> Result<Preview, Failure> {
    let mirror = target.mirror(mirror::load_policy(Some(file))?);
    let (table, now) = (&target.table, Timestamp::now());
    let from = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut known = BTreeMap::new();
    for deletion in deletions::with_status(table, &Status::ALL, None, from).await? {
        let lineage = table.dossier(&deletion.image).await?.lineage;
        known.insert(key(&deletion), (Candidate { deletion, lineage }, true));
    }
    for registry in table.registries().await? {
        for orphan in table.orphans(&registry).await? {
            let lineage = table.dossier(&orphan.image).await?.lineage;
            if let Some(deletion) = imagined(&lineage, &registry, now) {
                known.entry(key(&deletion)).or_insert((Candidate { deletion, lineage }, false));
            }
        }
    }
    let recorded: BTreeSet<_> =
        known.iter().filter(|(_, (_, recorded))| *recorded).map(|(key, _)| key.clone()).collect();
    let candidates = known.into_values().map(|(candidate, _)| candidate).collect();
    let decided = mirror.decide(candidates, now).await?;
    let mut replicas: Vec<_> = decided
        .all
        .into_iter()
        .map(|decided| {
            let recorded = recorded.contains(&key(&decided.deletion));
            Previewed::of(decided, recorded)
        })
        .collect();
    replicas.sort_by(|a, b| (a.would, &a.image, &a.registry, &a.tag).cmp(&(b.would, &b.image, &b.registry, &b.tag)));
    let mut totals: BTreeMap<Would, Total> = BTreeMap::new();
    for replica in &replicas {
        let total = totals.entry(replica.would).or_default();
        total.images += 1;
        total.bytes += replica.size_bytes.unwrap_or(0);
    }
    Ok(Preview { policy: file.display().to_string(), replicas, totals })
}

impl Previewed {
    fn of(decided: Decided, recorded: bool) -> Self {
        let Decided { deletion, decision, .. } = decided;
        let would = match (&decision.verdict, decision.action) {
            (Verdict::PutOff, None) => Would::Unknown,
            (Verdict::Gone, _) => Would::Gone,
            (Verdict::Keep | Verdict::Present | Verdict::PutOff, _) | (_, None) => Would::Keep,
            (_, Some(Action::Delete)) => Would::Delete,
            (_, Some(Action::Archive)) => Would::Archive,
            (_, Some(Action::Untag)) => Would::Untag,
        };
        Self {
            would,
            image: deletion.image,
            registry: deletion.registry,
            tag: deletion.tag,
            recorded,
            size_bytes: decision.size_bytes,
            policies: decision.policies,
            why: decision.checks.last().map(|check| check.why.clone()).unwrap_or_default(),
        }
    }
}

type Key = (Image, Registry, Option<Tag>);

fn key(deletion: &Deletion) -> Key {
    (deletion.image.clone(), deletion.registry.clone(), deletion.tag.clone())
}

/// The deletion of a replica that nobody asked for, from the source that lost it last.
fn imagined(lineage: &Lineage, registry: &Registry, now: Timestamp) -> Option<Deletion> {
    let replica = lineage.placements.get(registry)?;
    let lost = |source: &Registry| lineage.placements.get(source).and_then(Placement::gone_at);
    let (source, arrived) =
        replica.replicated().into_iter().max_by_key(|(source, arrived)| (lost(source), *arrived))?;
    let since = lost(source).unwrap_or(now).max(arrived);
    let wanted = Wanted { registry: registry.clone(), tag: None, since };
    let mut deletion = Deletion::open(None, &lineage.image, source, wanted, now)?;
    // However old: here somebody asks on purpose.
    deletion.status = Status::Pending;
    Some(deletion)
}

/// Why a replica was or would be kept or deleted.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// What was decided before, of the image and of its tags.
    pub recorded: Vec<Deletion>,
    /// What would be decided now.
    pub now: Vec<Judged>,
}

/// What would be decided now.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// The tag, if only a tag is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// What would become of it.
    pub would: Would,
    /// What was checked, in order; the last one decided.
    pub checks: Vec<Check>,
}

/// Answers `policy explain`.
///
/// # Errors
/// When the image is no replica there, the policy cannot be used, or the table cannot be read.
pub async fn explain(
    target: &Target,
    image: &Reference,
    registry: &Registry,
    policy: Option<&Path>,
) -> Result<Explained, Failure> {
    let mirror = target.mirror(load(policy)?);
    let now = Timestamp::now();
    // A tag may mean different images in different registries: the one that is meant is there.
    let mut last = None;
    for image in answer::resolve(&target.table, image).await? {
        let dossier = target.table.dossier(&image).await?;
        let mut recorded = dossier.deletions;
        recorded.retain(|deletion| deletion.registry == *registry);
        let mut deletions = recorded.clone();
        if deletions.iter().all(|deletion| deletion.tag.is_some()) {
            deletions.extend(imagined(&dossier.lineage, registry, now));
        }
        if deletions.is_empty() {
            last = Some(image);
            continue;
        }
        let candidate = |deletion| Candidate { deletion, lineage: dossier.lineage.clone() };
        let decided = mirror.decide(deletions.into_iter().map(candidate).collect(), now).await?;
        let judged = decided.all.into_iter().map(|decided| {
            let (tag, checks) = (decided.deletion.tag.clone(), decided.decision.checks.clone());
            Judged { tag, would: Previewed::of(decided, true).would, checks }
        });
        return Ok(Explained { image, registry: registry.clone(), recorded, now: judged.collect() });
    }
    match last {
        Some(image) => Err(Failure::NoReplica { image, registry: registry.clone() }),
        None => Err(Failure::UnknownImage { asked: format!("{image:?}"), repository: None }),
    }
}

fn load(policy: Option<&Path>) -> Result<Policy, Failure> {
    Ok(mirror::load_policy(policy)?)
}
