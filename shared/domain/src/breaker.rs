//! The circuit breaker: how many deletions of one source are mirrored per window. One faulty script must not delete
//! images in every region.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    fact::Cause,
    image::{Registry, RepositoryName},
    named::named,
};

/// The number of deletions in a repository from which on its share is limited. Below it, a share says little: one of
/// three images is 33 %.
pub const SHARE_JUDGED_FROM: u32 = 10;

named! {
    /// The classes of deletions that are counted separately, because thousands are normal for one and an accident for
    /// the other.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum BreakerClass {
        /// Images that a lifecycle policy expired, according to CloudTrail.
        Lifecycle = "lifecycle",
        /// Everything else: people, roles, pipelines and unknown causes.
        Principals = "principals",
    }
}

impl BreakerClass {
    /// The class of a cause.
    #[must_use]
    pub fn of(cause: &Cause) -> Self {
        if matches!(cause, Cause::Lifecycle { .. }) { Self::Lifecycle } else { Self::Principals }
    }
}

/// The limits of deletions in one window. Both apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BreakerLimit {
    /// The number of images in one destination registry.
    pub images: u32,
    /// The share of one repository in percent, checked from [`SHARE_JUDGED_FROM`] images on.
    pub percent: u32,
}

/// The limits of every breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BreakerLimits {
    /// For the class [`BreakerClass::Principals`].
    pub principals: BreakerLimit,
    /// For the class [`BreakerClass::Lifecycle`].
    pub lifecycle: BreakerLimit,
    /// The length of the window, in whole hours.
    #[serde(rename = "window_hours", with = "whole_hours")]
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub window: SignedDuration,
}

/// A duration as a number of hours.
mod whole_hours {
    use jiff::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(duration.as_hours())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        i64::deserialize(deserializer).map(|hours| SignedDuration::from_secs(hours.saturating_mul(3_600)))
    }
}

impl Default for BreakerLimits {
    /// Principals: 100 images and 10 %; lifecycle policies: 10,000 images and 50 %; window: 24 hours.
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

/// The circuit breaker of one source registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breaker {
    /// Since when and why the breaker is open; absent while it is closed. An open breaker puts deletions of this source
    /// on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    /// When an operator last reset the breaker; absent if none ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// The counted images, by class, destination registry and repository.
    #[serde(skip)]
    pub counts: BTreeMap<CountKey, Count>,
    /// The number of times the breaker was stored, for optimistic locking.
    #[serde(default)]
    pub version: u64,
}

/// Why a breaker is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Opened {
    /// Since when the breaker is open.
    pub at: Timestamp,
    /// Which limit was exceeded, and by what.
    pub why: String,
}

/// An operator's reset of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reset {
    /// The operator's ARN, or another name of the caller.
    pub by: String,
    /// When the breaker was reset. Deletions that were counted before no longer count.
    pub at: Timestamp,
    /// The number of images that may be deleted per class and registry in the window after the reset, if that is more
    /// than the limit. The limit of the share does not apply in that window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<u32>,
}

/// The key of a count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountKey {
    /// The class of the cause at the source.
    pub class: BreakerClass,
    /// The registry of the replicas.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
}

/// The number of images, by the hour in which they were counted (hours since 1970).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Hours since 1970 to the number of images.
    pub hours: BTreeMap<i64, u32>,
    /// The length of the window when the last image was counted, in hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<i64>,
}

/// The deletions of one class, registry and repository that are about to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The number of images to be deleted.
    pub images: u32,
    /// A lower bound of the images that are left in the source's repository; `None` if it was not read.
    pub left: Option<u32>,
}

const HOUR: i64 = 3600;

impl Breaker {
    /// The number of images counted in the window that ends at `now`.
    #[must_use]
    pub fn counted(&self, place: &CountKey, limits: &BreakerLimits, now: Timestamp) -> u32 {
        let since = self.counts_since(limits, now);
        let hours = self.counts.get(place).map(|count| &count.hours);
        hours.map_or(0, |hours| hours.range(since..).map(|(_, images)| images).sum())
    }

    /// The length of the window when an image was last counted, in hours; `None` if none was, or if it is not recorded.
    #[must_use]
    pub fn window_hours(&self) -> Option<i64> {
        self.counts.values().max_by_key(|count| count.hours.keys().next_back().copied())?.window_hours
    }

    /// The first hour that counts: the hour in which the window begins, or that of the last reset if it is later.
    fn counts_since(&self, limits: &BreakerLimits, now: Timestamp) -> i64 {
        let window = now.as_second().saturating_sub(limits.window.as_secs()).div_euclid(HOUR);
        // A reset clears the counts, so what was counted earlier in the hour of the reset is gone.
        self.reset.as_ref().map_or(window, |reset| window.max(reset.at.as_second().div_euclid(HOUR)))
    }

    /// The number of images that a class may lose in a registry, and whether a reset's allowance applies.
    fn images(&self, limit: BreakerLimit, limits: &BreakerLimits, now: Timestamp) -> (u32, bool) {
        let allowed = self.reset.as_ref().and_then(|reset| {
            let ends = reset.at.saturating_add(limits.window).unwrap_or(Timestamp::MAX);
            reset.allow.filter(|_| now < ends)
        });
        (allowed.unwrap_or(0).max(limit.images), allowed.is_some())
    }

    /// Counts deletions that are about to be executed. If they exceed a limit, the breaker opens and none may be
    /// executed.
    ///
    /// # Errors
    /// When the breaker is open, or opens now: the reason.
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
            count.window_hours = Some(limits.window.as_hours());
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

    /// An operator's reset: the breaker closes, and the counts start at zero.
    pub fn reset(&mut self, by: &str, allow: Option<u32>, now: Timestamp) {
        self.opened = None;
        self.counts.clear();
        self.reset = Some(Reset { by: by.to_owned(), at: now, allow });
    }

    /// The number of images that the source's repository must have left for these deletions to be within the share;
    /// `None` if there are too few deletions for the share to be limited.
    #[must_use]
    pub fn needed_left(&self, place: &CountKey, more: u32, limits: &BreakerLimits, now: Timestamp) -> Option<u32> {
        let images = self.counted(place, limits, now).saturating_add(more);
        let percent = limits.of(place.class).percent.clamp(1, 100);
        (images >= SHARE_JUDGED_FROM).then(|| images.saturating_mul(100) / percent)
    }
}
