//! The breaker: how much may be mirrored from one source at once. One bad script must not reach every region.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    fact::Cause,
    image::{Registry, RepositoryName},
};

/// Deletions of a repository below which its share is not limited: one of three images is 33 %.
pub const SHARE_JUDGED_FROM: u32 = 10;

/// What is counted apart, because thousands are normal for one and an accident for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum BreakerClass {
    /// Expired by a lifecycle policy, as CloudTrail tells.
    Lifecycle,
    /// Everything else: people, programs, unknown causes.
    Principals,
}

impl BreakerClass {
    /// The class of a cause.
    #[must_use]
    pub fn of(cause: &Cause) -> Self {
        if matches!(cause, Cause::Lifecycle { .. }) { Self::Lifecycle } else { Self::Principals }
    }

    /// The word for it, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::Principals => "principals",
        }
    }
}

/// How much may go in one window: both limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimit {
    /// Images in one replica's registry.
    pub images: u32,
    /// Percent of one repository, judged from [`SHARE_JUDGED_FROM`] images on.
    pub percent: u32,
}

/// The limits of every breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// For people and unknown causes.
    pub principals: BreakerLimit,
    /// For lifecycle policies.
    pub lifecycle: BreakerLimit,
    /// The time in which is counted, in whole hours.
    pub window: SignedDuration,
}

impl Default for BreakerLimits {
    /// People: 100 images and 10 %; lifecycle policies: 10,000 images and 50 %; in 24 hours.
    fn default() -> Self {
        Self {
            principals: BreakerLimit { images: 100, percent: 10 },
            lifecycle: BreakerLimit { images: 10_000, percent: 50 },
            window: SignedDuration::from_hours(24),
        }
    }
}

impl BreakerLimits {
    /// The limit of a class.
    #[must_use]
    pub fn of(&self, class: BreakerClass) -> BreakerLimit {
        match class {
            BreakerClass::Lifecycle => self.lifecycle,
            BreakerClass::Principals => self.principals,
        }
    }
}

/// The breaker of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breaker {
    /// Since when and why nothing is mirrored from this source; nothing while it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    /// When a person last closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// What was counted, by whom it went, where and in which repository.
    #[serde(skip)]
    pub counts: BTreeMap<CountKey, Count>,
    /// How often it was stored.
    #[serde(default)]
    pub version: u64,
}

/// Why a breaker is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Opened {
    /// Since when.
    pub at: Timestamp,
    /// What was too much.
    pub why: String,
}

/// A person closed a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reset {
    /// Who.
    pub by: String,
    /// When: what was counted before does not count any more.
    pub at: Timestamp,
    /// So many images may go in the window after it, whatever the limits say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<u32>,
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountKey {
    /// By whom it went at the source.
    pub class: BreakerClass,
    /// The registry of the replicas.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
}

/// Images, by the hour in which they were counted (hours since 1970).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// By hour.
    pub hours: BTreeMap<i64, u32>,
}

/// What is about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// So many images more.
    pub images: u32,
    /// Images of the repository that the source has left at least; `None` if it was not read.
    pub left: Option<u32>,
}

const HOUR: i64 = 3600;

impl Breaker {
    /// The images counted in the window that ends now.
    #[must_use]
    pub fn counted(&self, place: &CountKey, limits: &BreakerLimits, now: Timestamp) -> u32 {
        let since = self.counts_since(limits, now);
        let hours = self.counts.get(place).map(|count| &count.hours);
        hours.map_or(0, |hours| hours.range(since..).map(|(_, images)| images).sum())
    }

    /// The first hour that counts: the whole hour in which the window begins, none before the last reset.
    fn counts_since(&self, limits: &BreakerLimits, now: Timestamp) -> i64 {
        let window = now.as_second().saturating_sub(limits.window.as_secs()).div_euclid(HOUR);
        // What was counted in the hour of the reset is gone: a reset clears the counts.
        self.reset.as_ref().map_or(window, |reset| window.max(reset.at.as_second().div_euclid(HOUR)))
    }

    /// The images that a class may lose in a registry.
    fn images(&self, limit: BreakerLimit, limits: &BreakerLimits, now: Timestamp) -> (u32, bool) {
        let allowed = self.reset.as_ref().and_then(|reset| {
            let ends = reset.at.saturating_add(limits.window).unwrap_or(Timestamp::MAX);
            reset.allow.filter(|_| now < ends)
        });
        (allowed.unwrap_or(0).max(limit.images), allowed.is_some())
    }

    /// Counts what is about to go, or opens: then nothing of it may go.
    ///
    /// # Errors
    /// Why it is open now.
    pub fn count(
        &mut self,
        planned: &BTreeMap<CountKey, Planned>,
        limits: &BreakerLimits,
        now: Timestamp,
    ) -> Result<(), Opened> {
        if let Some(opened) = &self.opened {
            return Err(opened.clone());
        }
        if let Some(why) = self.too_much(planned, limits, now) {
            let opened = Opened { at: now, why };
            self.opened = Some(opened.clone());
            return Err(opened);
        }
        let since = self.counts_since(limits, now);
        for (place, planned) in planned {
            let count = self.counts.entry(place.clone()).or_default();
            count.hours.retain(|hour, _| *hour >= since);
            let counted = count.hours.entry(now.as_second().div_euclid(HOUR)).or_default();
            *counted = counted.saturating_add(planned.images);
        }
        Ok(())
    }

    fn too_much(
        &self,
        planned: &BTreeMap<CountKey, Planned>,
        limits: &BreakerLimits,
        now: Timestamp,
    ) -> Option<String> {
        let hours = limits.window.as_hours();
        let mut by_registry: BTreeMap<(BreakerClass, &Registry), u32> = BTreeMap::new();
        for place in self.counts.keys().filter(|place| !planned.contains_key(*place)) {
            *by_registry.entry((place.class, &place.registry)).or_default() += self.counted(place, limits, now);
        }
        for (place, more) in planned {
            let images = self.counted(place, limits, now).saturating_add(more.images);
            let sum = by_registry.entry((place.class, &place.registry)).or_default();
            *sum = sum.saturating_add(images);
            let limit = limits.of(place.class);
            let (_, allowed) = self.images(limit, limits, now);
            if more.images == 0 || allowed || images < SHARE_JUDGED_FROM {
                continue;
            }
            let Some(left) = more.left else {
                return Some(format!("{}: {images} images in {hours} h; repository size unknown", place.repository));
            };
            let all = u64::from(left) + u64::from(images);
            if u64::from(images) * 100 > all * u64::from(limit.percent) {
                let share = u64::from(images) * 100 / all;
                return Some(format!(
                    "{}: {images} images in {hours} h, {share} % of the repository; limit {} % (deletions by {})",
                    place.repository,
                    limit.percent,
                    place.class.as_str()
                ));
            }
        }
        let sums = by_registry.into_iter();
        sums.filter(|((class, registry), _)| {
            planned.iter().any(|(place, more)| place.class == *class && place.registry == **registry && more.images > 0)
        })
        .find_map(|((class, registry), sum)| {
            let (limit, _) = self.images(limits.of(class), limits, now);
            (sum > limit).then(|| {
                format!("{registry}: {sum} images in {hours} h; limit {limit} (deletions by {})", class.as_str())
            })
        })
    }

    /// A person closes it; what was counted before does not count any more.
    pub fn reset(&mut self, by: &str, allow: Option<u32>, now: Timestamp) {
        self.opened = None;
        self.counts.clear();
        self.reset = Some(Reset { by: by.to_owned(), at: now, allow });
    }

    /// Images that the source must have left for these deletions to be within the share, if the share is limited.
    #[must_use]
    pub fn needed_left(&self, place: &CountKey, more: u32, limits: &BreakerLimits, now: Timestamp) -> Option<u32> {
        let images = self.counted(place, limits, now).saturating_add(more);
        let percent = limits.of(place.class).percent.clamp(1, 100);
        (images >= SHARE_JUDGED_FROM).then(|| images.saturating_mul(100) / percent)
    }
}
