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

/// The distribution of the replication lags of several images.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Distribution {
    /// The number of images.
    pub count: usize,
    /// The median lag, in seconds.
    pub p50_seconds: u32,
    /// The 90th percentile, in seconds.
    pub p90_seconds: u32,
    /// The 99th percentile, in seconds.
    pub p99_seconds: u32,
    /// The longest lag, in seconds.
    pub worst_seconds: u32,
    /// The share of images whose lag is at most the threshold, from 0 to 1.
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
    /// The distribution of lags in seconds; `None` if there are no lags. A percentile is the nearest rank, so it is
    /// always a lag that was measured.
    #[must_use]
    pub fn of(mut lags: Vec<u32>, threshold_seconds: u32) -> Option<Self> {
        lags.sort_unstable();
        let worst_seconds = *lags.last()?;
        let count = lags.len();
        let percentile = |percent: usize| lags.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        let within = lags.partition_point(|lag| *lag <= threshold_seconds);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 copies")]
        Some(Self {
            count,
            p50_seconds: percentile(50)?,
            p90_seconds: percentile(90)?,
            p99_seconds: percentile(99)?,
            worst_seconds,
            within: within as f64 / count as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_lags() {
        assert_eq!(Distribution::of(Vec::new(), 60), None);
        let one = Distribution::of(vec![7], 6).unwrap();
        assert_eq!((one.p50_seconds, one.p99_seconds, one.worst_seconds, one.within), (7, 7, 7, 0.0));
        let hundred = Distribution::of((1..=100).rev().collect(), 75).unwrap();
        assert_eq!((hundred.p50_seconds, hundred.p90_seconds, hundred.p99_seconds), (50, 90, 99));
        assert_eq!((hundred.worst_seconds, hundred.within), (100, 0.75));
        let three = Distribution::of(vec![10, 20, 30], 20).unwrap();
        assert_eq!((three.p50_seconds, three.p90_seconds), (20, 30));
    }
}
