//! The circuit breaker: how many deletions of one source are mirrored per window. One faulty script must not delete
//! images in every region.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, AlertKind},
    fact::Cause,
    image::{Registry, RepositoryName},
    named::named,
    time::time_text,
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
    /// The length of the window, as `mirror` used it when it last counted images or opened the breaker, in hours; absent
    /// if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<i64>,
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
    /// When the breaker was reset. Deletions that were counted before do not count.
    pub at: Timestamp,
    /// The number of images that may be deleted in the window after the reset, in all registries and classes together.
    /// It replaces the limits of images. Absent if the limits apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<u32>,
    /// Whether the limit of the share does not apply in that window.
    #[serde(default)]
    pub ignore_share: bool,
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
    /// The reset after which the images were counted; absent if there was none. After the next reset they do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_reset: Option<Timestamp>,
}

/// A deletion that is about to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The key under which it is counted.
    pub key: CountKey,
    /// The number of images: 1, or 0 if the deletion was counted before.
    pub images: u32,
    /// A lower bound of the images that are left in the source's repository; `None` if it was not read.
    pub left: Option<u32>,
}

const HOUR: i64 = 3600;

impl Breaker {
    /// The number of images counted in the window that ends at `now`, since the last reset.
    #[must_use]
    pub fn counted(&self, key: &CountKey, limits: &BreakerLimits, now: Timestamp) -> u32 {
        let since = Self::counts_since(limits, now);
        let count = self.counts.get(key).filter(|count| count.after_reset == self.reset_at());
        count.map_or(0, |count| count.hours.range(since..).map(|(_, images)| images).sum())
    }

    /// Whether an image that was counted at a time still counts: in the window, and since the last reset.
    #[must_use]
    pub fn still_counts(&self, counted_at: Timestamp, limits: &BreakerLimits, now: Timestamp) -> bool {
        counted_at.as_second().div_euclid(HOUR) >= Self::counts_since(limits, now)
            && self.reset_at().is_none_or(|reset| counted_at > reset)
    }

    /// The hour in which the window begins.
    fn counts_since(limits: &BreakerLimits, now: Timestamp) -> i64 {
        now.as_second().saturating_sub(limits.window.as_secs()).div_euclid(HOUR)
    }

    fn reset_at(&self) -> Option<Timestamp> {
        self.reset.as_ref().map(|reset| reset.at)
    }

    /// The last reset, while the window after it lasts; and when that ends.
    #[must_use]
    pub fn in_force(&self, limits: &BreakerLimits, now: Timestamp) -> Option<(&Reset, Timestamp)> {
        let reset = self.reset.as_ref()?;
        let ends = reset.at.saturating_add(limits.window).unwrap_or(Timestamp::MAX);
        (now < ends).then_some((reset, ends))
    }

    /// The number of images that a reset's allowance still covers, and why the breaker opens when more are to be
    /// deleted; `None` if there is no allowance, or if its window is over.
    #[must_use]
    pub fn allowance(&self, limits: &BreakerLimits, now: Timestamp) -> Option<(u32, String)> {
        let (Reset { by, at, allow, .. }, _) = self.in_force(limits, now)?;
        let allow = (*allow)?;
        let used = self.counts.keys().map(|key| self.counted(key, limits, now)).sum();
        let why = format!("all {allow} images that {by} allowed {} are used", time_text(*at));
        Some((allow.saturating_sub(used), why))
    }

    /// Counts deletions that are about to be executed, in their order, and says of each whether it may be. If a limit is
    /// exceeded, none may be; if an allowance is, those that it covers. The breaker opens unless all may.
    pub fn count(&mut self, planned: &[Planned], limits: &BreakerLimits, now: Timestamp) -> Vec<bool> {
        self.window_hours = Some(limits.window.as_hours());
        let (mut left, used_up) = self.allowance(limits, now).unwrap_or((u32::MAX, String::new()));
        let mut covers = |images| left.checked_sub(images).map(|fewer| left = fewer).is_some();
        let mut may: Vec<_> = planned.iter().map(|one| self.opened.is_none() && covers(one.images)).collect();
        let mut sums: BTreeMap<_, (u32, Option<u32>)> = BTreeMap::new();
        for (one, _) in planned.iter().zip(&may).filter(|(_, may)| **may) {
            sums.entry(&one.key).or_insert((0, one.left)).0 += one.images;
        }
        if let Some(why) = self.too_much(&sums, limits, now) {
            self.opened = Some(Opened { at: now, why });
            may.fill(false);
            return may;
        }
        if may.contains(&false) {
            self.opened.get_or_insert(Opened { at: now, why: used_up });
        }
        let (since, after_reset) = (Self::counts_since(limits, now), self.reset_at());
        for (key, (images, _)) in sums {
            let count = self.counts.entry(key.clone()).or_default();
            if count.after_reset != after_reset {
                *count = Count { after_reset, ..Count::default() };
            }
            count.hours.retain(|hour, _| *hour >= since);
            let counted = count.hours.entry(now.as_second().div_euclid(HOUR)).or_default();
            *counted = counted.saturating_add(images);
        }
        may
    }

    /// Why deletions exceed a limit; `None` if they do not.
    fn too_much(
        &self,
        planned: &BTreeMap<&CountKey, (u32, Option<u32>)>,
        limits: &BreakerLimits,
        now: Timestamp,
    ) -> Option<String> {
        let (hours, reset) = (limits.window.as_hours(), self.in_force(limits, now).map(|(reset, _)| reset));
        let mut sums: BTreeMap<(BreakerClass, &Registry), (u32, bool)> = BTreeMap::new();
        for key in self.counts.keys() {
            sums.entry((key.class, &key.registry)).or_default().0 += self.counted(key, limits, now);
        }
        for (key, (more, left)) in planned {
            let (sum, grows) = sums.entry((key.class, &key.registry)).or_default();
            (*sum, *grows) = (sum.saturating_add(*more), *grows || *more > 0);
            let images = self.counted(key, limits, now).saturating_add(*more);
            if *more == 0 || reset.is_some_and(|reset| reset.ignore_share) || images < SHARE_JUDGED_FROM {
                continue;
            }
            let repository = &key.repository;
            let Some(left) = left else {
                return Some(format!("{repository}: {images} images in {hours} h; repository size unknown"));
            };
            let (all, limit) = (u64::from(*left) + u64::from(images), limits.of(key.class).percent);
            let share = u64::from(images) * 100 / all;
            if u64::from(images) * 100 > all * u64::from(limit) {
                return Some(format!(
                    "{repository}: {images} images in {hours} h, {share} % of the repository; limit {limit} % \
                     (deletions by {})",
                    key.class.as_str()
                ));
            }
        }
        // An allowance replaces the limits of images.
        let allowed = reset.is_some_and(|reset| reset.allow.is_some());
        let mut sums = sums.into_iter().filter(|(_, (_, grows))| *grows && !allowed);
        sums.find_map(|((class, registry), (sum, _))| {
            let (limit, class) = (limits.of(class).images, class.as_str());
            (sum > limit)
                .then(|| format!("{registry}: {sum} images in {hours} h; limit {limit} (deletions by {class})"))
        })
    }

    /// The alert about the opening, while the breaker is open: one for each opening.
    #[must_use]
    pub fn opening(&self, source: &Registry) -> Option<Alert> {
        let Opened { at, why } = self.opened.as_ref()?;
        let why = format!("the breaker of {source} opened: {why}");
        Some(Alert::notice(AlertKind::BreakerOpened, &source.to_string(), why, *at))
    }

    /// An operator's reset: the breaker closes. What was counted before does not count.
    pub fn reset(&mut self, reset: Reset) {
        self.opened = None;
        self.reset = Some(reset);
    }

    /// The number of images that the source's repository must have left for these deletions to be within the share;
    /// `None` if there are too few deletions for the share to be limited.
    #[must_use]
    pub fn needed_left(&self, key: &CountKey, more: u32, limits: &BreakerLimits, now: Timestamp) -> Option<u32> {
        let images = self.counted(key, limits, now).saturating_add(more);
        let percent = limits.of(key.class).percent.clamp(1, 100);
        (images >= SHARE_JUDGED_FROM).then(|| images.saturating_mul(100) / percent)
    }
}
