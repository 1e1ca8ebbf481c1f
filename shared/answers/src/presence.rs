//! Whether an image is where it should be: `where` and `wait`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use aws::registry::Registries;
use domain::{
    expectation::{ExpectedReplica, ReplicaState, expected_replicas},
    image::{Digest, Image, MalformedError, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::Observation,
    replication::{CopyStatus, ReplicationSettings},
    time::time_text,
};
use jiff::Timestamp;
use retry::CallError;
use serde::Serialize;
use store::{ImageRecord, Table};
use utoipa::ToSchema;

use crate::{
    answer,
    error::Error,
    reference::{Reference, TagReference},
};

/// A registry, or every registry in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One registry.
    Registry(Registry),
    /// Every registry in this region that has, had or should have the image.
    Region(String),
}

impl FromStr for Place {
    type Err = MalformedError;

    fn from_str(text: &str) -> Result<Self, MalformedError> {
        if text.contains('/') {
            return text.parse().map(Self::Registry);
        }
        // Any account will do: only the region is checked.
        Registry::new("000000000000", text).map(|registry| Self::Region(registry.region().to_owned()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(registry) => registry.fmt(f),
            Self::Region(region) => region.fmt(f),
        }
    }
}

impl Place {
    fn includes(&self, registry: &Registry) -> bool {
        match self {
            Self::Registry(one) => one == registry,
            Self::Region(region) => region == registry.region(),
        }
    }
}

/// Whether an image is in registries, with the tag by which it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Presence {
    /// What was asked for.
    pub asked: String,
    /// The image that it means where it was pushed.
    #[serde(flatten)]
    pub image: Image,
    /// The registries to which it was pushed, and that have it, by name.
    pub pushed_to: Vec<Registry>,
    /// The registries, by name.
    pub registries: Vec<PresenceIn>,
    /// Registries, by name, to which the image was pushed and whose replication rules are not known: there may be more destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules_unknown: Vec<Registry>,
}

/// Whether an image is in one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PresenceIn {
    /// The registry.
    pub registry: Registry,
    /// Whether the image can be pulled from there, by the tag by which it was asked for.
    pub there: bool,
    /// Whether it should be there: the registry was asked for, a rule replicates to it, or the image was pushed to it.
    pub wanted: bool,
    /// The state of the replica; absent if no rule replicates to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ReplicaState>,
    /// What is known, in one line.
    pub summary: String,
}

impl Presence {
    /// Whether it is in every registry where it should be, and all of these are known.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        let mut wanted = self.registries.iter().filter(|one| one.wanted).peekable();
        self.rules_unknown.is_empty() && wanted.peek().is_some() && wanted.all(|one| one.there)
    }

    /// Whether to wait for it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.is_everywhere() {
            true => Outcome::Arrived,
            false if self.failed().next().is_some() => Outcome::Failed,
            false => Outcome::Waiting,
        }
    }

    /// The registries where it should be and that will not arrive without a new push or a backfill.
    fn failed(&self) -> impl Iterator<Item = &PresenceIn> {
        let is_final = |state| matches!(state, ReplicaState::Failed | ReplicaState::Deleted | ReplicaState::Untagged);
        self.registries.iter().filter(move |one| one.wanted && !one.there && one.state.is_some_and(is_final))
    }
}

/// What a pipeline that waits for an image does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in every registry where it should be.
    Arrived,
    /// A copy failed or was deleted: it will not arrive without a new push or a backfill.
    Failed,
    /// It may still arrive.
    Waiting,
}

/// The image that a reference means where it was pushed, with what is recorded about it.
struct Meaning {
    record: ImageRecord,
    tag: Option<Tag>,
    /// The image that has the tag, by registry.
    tagged: BTreeMap<Registry, Digest>,
}

/// Answers `where`: in the given places, or without any in every registry that has, had or should have the image.
///
/// # Errors
/// When the image is unknown, no registry is known in a region, or the table cannot be read.
pub async fn presence(
    table: &Table,
    reference: &Reference,
    places: &[Place],
    now: Timestamp,
) -> Result<Presence, Error> {
    let Meaning { record, tag, tagged } = meaning(table, reference).await?;
    let named = reference.registry().cloned();
    let known = table.known_registries().await?;
    let settings: BTreeMap<Registry, ReplicationSettings> =
        known.iter().filter_map(|known| Some((known.registry.clone(), known.settings.clone()?))).collect();
    let ImageRecord { lineage, expectations, .. } = &record;
    let expected = expected_replicas(lineage, &settings, expectations, now);
    let expected: BTreeMap<_, _> = expected.into_iter().map(|replica| (replica.registry.clone(), replica)).collect();
    let mut candidates: BTreeSet<&Registry> =
        expected.keys().chain(lineage.placements.keys()).chain(tagged.keys()).collect();
    for place in places {
        match place {
            Place::Registry(registry) => _ = candidates.insert(registry),
            Place::Region(_) if candidates.iter().any(|registry| place.includes(registry)) => {}
            Place::Region(region) => {
                let before = candidates.len();
                candidates.extend(known.iter().map(|known| &known.registry).filter(|one| place.includes(one)));
                if candidates.len() == before {
                    return Err(Error::UnknownRegion { region: region.clone() });
                }
            }
        }
    }
    let chosen =
        candidates.into_iter().filter(|one| places.is_empty() || places.iter().any(|place| place.includes(one)));
    let registries = chosen.map(|registry| {
        let one = One { lineage, tag: tag.as_ref(), tagged: tagged.get(registry), expected: expected.get(registry) };
        one.presence_in(registry, !places.is_empty() || named.as_ref() == Some(registry))
    });
    let pushed = lineage.placements.iter().filter(|(_, here)| here.pushed().is_some() && here.status().may_be_there());
    let pushed_to: Vec<_> = pushed.map(|(registry, _)| registry.clone()).collect();
    // Places that were asked for are known, whatever the rules are.
    let unknown = |source: &&Registry| places.is_empty() && !settings.contains_key(*source);
    Ok(Presence {
        asked: reference.to_string(),
        image: lineage.image.clone(),
        registries: registries.collect(),
        rules_unknown: pushed_to.iter().filter(unknown).cloned().collect(),
        pushed_to,
    })
}

/// What a reference means. A tag means the image that has it where it was pushed last; if no registry to which it was
/// pushed has the tag, the image that got it last.
async fn meaning(table: &Table, reference: &Reference) -> Result<Meaning, Error> {
    let Reference::Tagged(asked) = reference else {
        let image = answer::resolve(table, reference).await?.into_iter().next();
        let unknown = || Error::UnknownImage { asked: reference.to_string(), repository: None };
        let record = table.image_record(&image.ok_or_else(unknown)?).await?;
        if record.lineage.is_empty() {
            let Image { repository, .. } = record.lineage.image;
            return Err(Error::UnknownImage { asked: reference.to_string(), repository: Some(repository) });
        }
        return Ok(Meaning { record, tag: None, tagged: BTreeMap::new() });
    };
    let TagReference { name, .. } = asked;
    let intervals = table.tag_history(name).await?;
    if intervals.is_empty() {
        let (asked, repository) = (asked.to_string(), name.repository.clone());
        return Err(Error::UnknownTag { asked, registry: None, repository });
    }
    let mut open: Vec<_> = intervals.into_iter().filter(|interval| interval.ended.is_none()).collect();
    open.sort_by_key(|interval| std::cmp::Reverse(interval.from));
    let tagged: BTreeMap<_, _> = open.iter().rev().map(|one| (one.registry.clone(), one.digest.clone())).collect();
    if let Some(registry) = &asked.registry {
        // The registry's host name comes first: its image is meant.
        open.retain(|interval| interval.registry == *registry);
        if open.is_empty() {
            return Err(Error::PastTag { asked: asked.to_string() });
        }
    }
    let mut meant = None;
    let mut seen = BTreeSet::new();
    for interval in &open {
        if !seen.insert(&interval.digest) {
            continue;
        }
        let image = Image { repository: name.repository.clone(), digest: interval.digest.clone() };
        let record = table.image_record(&image).await?;
        let pushed = |(registry, here): (&Registry, &Placement)| {
            here.pushed().is_some() && tagged.get(registry) == Some(&interval.digest)
        };
        let pushed = record.lineage.placements.iter().any(pushed);
        if pushed || meant.is_none() {
            meant = Some(record);
        }
        if pushed {
            break;
        }
    }
    let record = meant.ok_or_else(|| Error::PastTag { asked: asked.to_string() })?;
    Ok(Meaning { record, tag: Some(name.tag.clone()), tagged })
}

/// What is recorded about the image in one registry.
struct One<'a> {
    lineage: &'a Lineage,
    tag: Option<&'a Tag>,
    /// The image that has the tag there.
    tagged: Option<&'a Digest>,
    expected: Option<&'a ExpectedReplica>,
}

impl One<'_> {
    fn presence_in(&self, registry: &Registry, asked_for: bool) -> PresenceIn {
        let here = self.lineage.placements.get(registry);
        let pushed = here.is_some_and(|here| here.pushed().is_some());
        let has_tag = self.tag.is_none() || self.tagged == Some(&self.lineage.image.digest);
        let there = here.map(Placement::status) == Some(PlacementStatus::Present) && has_tag;
        let state = self.expected.map(|expected| expected.state);
        PresenceIn {
            registry: registry.clone(),
            there,
            wanted: asked_for || state.is_some() || pushed,
            state: state.map(|state| if there { ReplicaState::Arrived } else { state }),
            summary: self.summary(registry, here, there),
        }
    }

    fn summary(&self, registry: &Registry, here: Option<&Placement>, there: bool) -> String {
        let tagged = self.tag.map(|tag| format!(", tagged {tag}")).unwrap_or_default();
        if there {
            let since = self.lineage.since(registry).map(|at| format!(", since {}", time_text(at)));
            return format!("present{tagged}{}", since.unwrap_or_default());
        }
        if let (Some(other), Some(tag)) = (self.tagged.filter(|other| **other != self.lineage.image.digest), self.tag) {
            let state = self.expected.map(|expected| format!("; {}", in_words(expected))).unwrap_or_default();
            return format!("{tag} is another image there: {}{state}", other.short());
        }
        match (here.map(Placement::status), self.expected) {
            (Some(PlacementStatus::Archived), _) => "archived: it cannot be pulled until it is restored".to_owned(),
            (_, Some(expected)) if expected.state != ReplicaState::Arrived => in_words(expected),
            (Some(PlacementStatus::Present), _) => {
                format!("present, but without the tag {}", self.tag.map(Tag::as_str).unwrap_or_default())
            }
            (Some(status), _) => {
                let at = here.and_then(Placement::gone_at).map(|at| format!(" since {}", time_text(at)));
                format!("{}{}", status.words(), at.unwrap_or_default())
            }
            (None, _) => "not recorded there, and no known rule replicates to it".to_owned(),
        }
    }
}

fn in_words(expected: &ExpectedReplica) -> String {
    let why = expected.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}{why}", expected.state_text)
}

/// Asks ECR about the copies that are not recorded as arrived. What it says replaces what is recorded; nothing is stored.
///
/// # Errors
/// When ECR cannot be asked about the copies. A destination that cannot be read stays as it is.
pub async fn ask_ecr(
    registries: &Registries,
    presence: &mut Presence,
    source: &Registry,
    tag: Option<&Tag>,
) -> Result<(), CallError> {
    let Some(copies) = registries.copies(source, &presence.image).await? else { return Ok(()) };
    for one in presence.registries.iter_mut().filter(|one| one.wanted && !one.there) {
        match copies.get(&one.registry) {
            Some(CopyStatus::Complete) => match registries.observe(&one.registry, &presence.image).await {
                Ok(Observation::Present(seen)) if tag.is_none_or(|tag| seen.tags.contains(tag)) && !seen.archived => {
                    (one.there, one.state) = (true, Some(ReplicaState::Arrived));
                    one.summary = "present, as ECR says; no event reported it yet".to_owned();
                }
                Ok(Observation::Present(_)) => {
                    one.summary = "ECR says that the copy is complete, but the image lacks the tag there".to_owned();
                }
                Ok(_) => one.summary = "ECR says that the copy is complete, but the image is not there".to_owned(),
                Err(_) => one.summary = "ECR says that the copy is complete; the registry cannot be read".to_owned(),
            },
            Some(CopyStatus::Failed(code)) => {
                one.state = Some(ReplicaState::Failed);
                one.summary = format!("failed: ECR says {}", code.as_deref().unwrap_or("no reason"));
            }
            Some(CopyStatus::InProgress) => {
                one.state = Some(ReplicaState::Replicating);
                "replicating, as ECR says".clone_into(&mut one.summary);
            }
            // ECR copies what is pushed after a rule: here is no copy, and none will come.
            None if one.state == Some(ReplicaState::NotExpected) => one.wanted = false,
            None => {}
        }
    }
    Ok(())
}

/// The same answer from ECR alone, for a reference that names its registry: the image there, and its rules' destinations.
/// `None` if the registry does not have the image yet.
///
/// # Errors
/// When the registry cannot be read.
pub async fn presence_by_ecr(
    registries: &Registries,
    reference: &TagReference,
    source: &Registry,
    places: &[Place],
) -> Result<Option<Presence>, CallError> {
    let (repository, tag) = (&reference.name.repository, &reference.name.tag);
    let Some(digest) = registries.digest_of_tag(source, repository, tag).await? else { return Ok(None) };
    let rules = registries.rules(source).await?;
    let covering = rules.rules.iter().filter(|rule| rule.covers(repository));
    let mut wanted: BTreeSet<Registry> = covering.flat_map(|rule| rule.destinations.iter().cloned()).collect();
    wanted.extend(places.iter().filter_map(|place| match place {
        Place::Registry(registry) => Some(registry.clone()),
        Place::Region(_) => None,
    }));
    wanted.insert(source.clone());
    wanted.retain(|registry| places.is_empty() || places.iter().any(|place| place.includes(registry)));
    let rows = wanted.into_iter().map(|registry| PresenceIn {
        there: registry == *source,
        wanted: true,
        state: None,
        summary: if registry == *source { "present, as ECR says" } else { "not begun, as ECR says" }.to_owned(),
        registry,
    });
    let mut presence = Presence {
        asked: reference.to_string(),
        image: Image { repository: repository.clone(), digest },
        pushed_to: vec![source.clone()],
        registries: rows.collect(),
        rules_unknown: Vec::new(),
    };
    ask_ecr(registries, &mut presence, source, Some(tag)).await?;
    Ok(Some(presence))
}
