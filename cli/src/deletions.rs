//! Deletions to be mirrored: listed, and what people do about them.

use std::collections::BTreeMap;

use aws::table::{Stored, Table};
use domain::{
    alert::{Alert, Kind},
    breaker::{Breaker, Class, Limits},
    deletion::{Deletion, Did, Status},
    image::Registry,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    answer,
    failure::Failure,
    options::{ActOptions, DeletionsOptions},
    target::Target,
};

/// As many of a status and source are listed.
const MOST: usize = 1_000;

/// Deletions, the newest first.
#[derive(Debug, Serialize)]
pub struct Deletions {
    /// They.
    pub deletions: Vec<Deletion>,
}

/// Answers `deletions`.
///
/// # Errors
/// When the table cannot be read.
pub async fn list(table: &Table, options: &DeletionsOptions) -> Result<Deletions, Failure> {
    let wanted = [
        (options.pending, &[Status::Pending, Status::Executing][..]),
        (options.held, &[Status::Held]),
        (options.waiting, &[Status::AwaitingApproval]),
        (options.done, &[Status::Done]),
        (options.kept, &[Status::Kept]),
        (options.failed, &[Status::Failed]),
    ];
    let mut statuses: Vec<_> =
        wanted.iter().filter(|(on, _)| *on).flat_map(|(_, statuses)| *statuses).copied().collect();
    if statuses.is_empty() {
        statuses = Status::ALL.into_iter().filter(|status| !matches!(status, Status::Done | Status::Kept)).collect();
    }
    let since = Timestamp::now().checked_sub(options.since).unwrap_or(Timestamp::UNIX_EPOCH);
    let deletions = with_status(table, &statuses, options.source.as_ref(), since).await?;
    Ok(Deletions { deletions })
}

/// The deletions with some statuses, from one source or from all, that changed since a time.
pub(crate) async fn with_status(
    table: &Table,
    statuses: &[Status],
    source: Option<&Registry>,
    since: Timestamp,
) -> Result<Vec<Deletion>, Failure> {
    let sources = match source {
        Some(source) => [source.clone()].into(),
        None => table.registries().await?,
    };
    let mut deletions = Vec::new();
    for source in sources {
        for status in statuses {
            deletions.extend(table.deletions(*status, &source, since, MOST).await?);
        }
    }
    deletions.sort_by(|a, b| b.changed_at.cmp(&a.changed_at).then_with(|| a.place().cmp(&b.place())));
    Ok(deletions)
}

/// What somebody did, and where the deletions stand now.
#[derive(Debug, Serialize)]
pub struct Acted {
    /// What was done.
    pub did: Did,
    /// By whom.
    pub by: String,
    /// To which deletions.
    pub deletions: Vec<Deletion>,
}

/// Does something about every deletion of an image that is meant.
///
/// # Errors
/// When there is none, when it cannot be done to any of them, or when the table cannot be read or written.
pub async fn act(target: &Target, options: &ActOptions, did: Did) -> Result<Acted, Failure> {
    let by = target.who().await?;
    let (table, now) = (&target.table, Timestamp::now());
    let (mut acted, mut refused, mut asked) = (Vec::new(), None, None);
    for image in answer::resolve(table, &options.image).await? {
        let meant = |deletion: &Deletion| {
            options.registry.as_ref().is_none_or(|registry| deletion.registry == *registry)
                && options.tag.as_ref().is_none_or(|tag| deletion.tag.as_ref() == Some(tag))
        };
        for mut deletion in table.dossier(&image).await?.deletions.into_iter().filter(meant) {
            match deletion.act(did, &by, now) {
                Ok(()) => {}
                Err(impossible) => {
                    refused = Some(impossible);
                    continue;
                }
            }
            if table.put_deletion(&mut deletion).await? == Stored::Known {
                return Err(Failure::Changed { what: format!("the deletion of {image} in {}", deletion.registry) });
            }
            acted.push(deletion);
        }
        asked = Some(image);
    }
    match (acted.is_empty(), refused, asked) {
        (true, Some(impossible), _) => Err(impossible.into()),
        (true, None, Some(asked)) => Err(Failure::NoDeletion { asked, registry: options.registry.clone() }),
        _ => Ok(Acted { did, by, deletions: acted }),
    }
}

/// The breakers of all sources.
#[derive(Debug, Serialize)]
pub struct Breakers {
    /// By source.
    pub breakers: BTreeMap<Registry, BreakerStatus>,
}

/// One breaker.
#[derive(Debug, Serialize)]
pub struct BreakerStatus {
    /// Its state.
    #[serde(flatten)]
    pub breaker: Breaker,
    /// What it counted in the last 24 hours, by class and registry of the replicas.
    pub counted: BTreeMap<Class, BTreeMap<Registry, u32>>,
    /// How many deletions it holds.
    pub held: usize,
}

/// Answers `breaker status`.
///
/// # Errors
/// When the table cannot be read.
pub async fn breakers(table: &Table, source: Option<&Registry>) -> Result<Breakers, Failure> {
    let sources = match source {
        Some(source) => [source.clone()].into(),
        None => table.registries().await?,
    };
    let mut breakers = BTreeMap::new();
    for source in sources {
        let status = status(table, &source).await?;
        let told = status.breaker.opened.is_some() || status.breaker.reset.is_some() || !status.counted.is_empty();
        if told {
            breakers.insert(source, status);
        }
    }
    Ok(Breakers { breakers })
}

async fn status(table: &Table, source: &Registry) -> Result<BreakerStatus, Failure> {
    let (breaker, limits, now) = (table.breaker(source).await?, Limits::default(), Timestamp::now());
    let mut counted: BTreeMap<Class, BTreeMap<Registry, u32>> = BTreeMap::new();
    for place in breaker.counts.keys() {
        let count = breaker.counted(place, &limits, now);
        if count > 0 {
            *counted.entry(place.class).or_default().entry(place.registry.clone()).or_default() += count;
        }
    }
    let held = table.deletions(Status::Held, source, Timestamp::UNIX_EPOCH, MOST).await?;
    let held = held.iter().filter(|deletion| deletion.held_by_breaker()).count();
    Ok(BreakerStatus { breaker, counted, held })
}

/// A breaker that was closed.
#[derive(Debug, Serialize)]
pub struct WasReset {
    /// The source.
    pub source: Registry,
    /// By whom.
    pub by: String,
    /// So many images may go in the next window, whatever the limits say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<u32>,
    /// How many deletions are judged again.
    pub released: usize,
}

/// Closes a breaker, and lets everything that it holds be judged again.
///
/// # Errors
/// When the table cannot be read or written.
pub async fn reset(target: &Target, source: &Registry, allow: Option<u32>) -> Result<WasReset, Failure> {
    let by = target.who().await?;
    let (table, now) = (&target.table, Timestamp::now());
    if table.reset_breaker(source, &by, allow, now).await? == Stored::Known {
        return Err(Failure::Changed { what: format!("the breaker of {source}") });
    }
    let message = format!("the breaker of {source} was closed by {by}");
    table.put_alert(&Alert::told(Kind::BreakerReset, &source.to_string(), message, now)).await?;
    let mut released = 0;
    loop {
        let held = table.deletions(Status::Held, source, Timestamp::UNIX_EPOCH, MOST).await?;
        let before = released;
        for mut deletion in held.into_iter().filter(Deletion::held_by_breaker) {
            // Who holds it for another reason meanwhile is faster, and right.
            if deletion.act(Did::Release, &by, now).is_ok() && table.put_deletion(&mut deletion).await? == Stored::New {
                released += 1;
            }
        }
        if released == before {
            return Ok(WasReset { source: source.clone(), by, allow, released });
        }
    }
}
