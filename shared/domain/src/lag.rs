//! Replication lag: the time from the push at the source until the replica has the image.

use serde::Serialize;

use crate::{
    evidence::PlacementKey,
    fact::{Fact, Subject, What},
    image::{Registry, RepositoryName},
};

/// The registries and the repository whose lags are measured together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lane {
    /// The source registry.
    pub source: Registry,
    /// The destination registry.
    pub destination: Registry,
    /// The repository, which has the same name in both registries.
    pub repository: RepositoryName,
}

/// The distribution of the replication lags of several images, and how many of them did not arrive.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Distribution {
    /// The number of images that arrived.
    pub count: usize,
    /// The number of images that are late, failed, missing or untagged now.
    pub not_arrived: usize,
    /// The median lag of those that arrived, in seconds; absent if none arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<u32>,
    /// The 90th percentile, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_seconds: Option<u32>,
    /// The 99th percentile, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<u32>,
    /// The longest lag, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_seconds: Option<u32>,
    /// The share of images whose lag is at most the threshold, from 0 to 1, of all: also of those that did not arrive.
    pub within: f64,
}

/// The evidence from which the lag of a replication is measured: that of the same image and tag at its source. `None`
/// if the fact is not a replication.
#[must_use]
pub fn measured_from(fact: &Fact) -> Option<PlacementKey> {
    match (&fact.subject, &fact.what) {
        (Subject::Image(image), What::Replicated { source, tag }) => {
            Some(PlacementKey { image: image.clone(), registry: source.clone(), tag: tag.clone() })
        }
        _ => None,
    }
}

impl Distribution {
    /// The distribution of lags in seconds, beside copies that did not arrive; `None` if there are neither. A percentile is
    /// the nearest rank, so it is always a lag that was measured.
    #[must_use]
    pub fn of(mut lags: Vec<u32>, not_arrived: usize, threshold_seconds: u32) -> Option<Self> {
        lags.sort_unstable();
        let count = lags.len();
        let all = count + not_arrived;
        let percentile = |percent: usize| lags.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        let within = lags.partition_point(|lag| *lag <= threshold_seconds);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 copies")]
        (all > 0).then(|| Self {
            count,
            not_arrived,
            p50_seconds: percentile(50),
            p90_seconds: percentile(90),
            p99_seconds: percentile(99),
            worst_seconds: lags.last().copied(),
            within: within as f64 / all as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_lags() {
        assert_eq!(Distribution::of(Vec::new(), 0, 60), None);
        let one = Distribution::of(vec![7], 0, 6).unwrap();
        assert_eq!((one.p50_seconds, one.p99_seconds, one.worst_seconds, one.within), (Some(7), Some(7), Some(7), 0.0));
        let hundred = Distribution::of((1..=100).rev().collect(), 0, 75).unwrap();
        let percentiles = (hundred.p50_seconds, hundred.p90_seconds, hundred.p99_seconds);
        assert_eq!(percentiles, (Some(50), Some(90), Some(99)));
        assert_eq!((hundred.worst_seconds, hundred.within), (Some(100), 0.75));
        let three = Distribution::of(vec![10, 20, 30], 0, 20).unwrap();
        assert_eq!((three.p50_seconds, three.p90_seconds), (Some(20), Some(30)));
    }

    #[test]
    fn what_did_not_arrive_was_not_within_the_threshold() {
        let some = Distribution::of(vec![10, 20, 3_000], 1, 60).unwrap();
        assert_eq!((some.count, some.not_arrived, some.within), (3, 1, 0.5));
        let none = Distribution::of(Vec::new(), 2, 60).unwrap();
        assert_eq!((none.p50_seconds, none.worst_seconds, none.within), (None, None, 0.0));
    }
}
