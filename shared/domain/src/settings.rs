//! With which policy, mode and limits `mirror` runs: what it stores about itself, so that questions about deletions are
//! answered with what decides about them.

use std::{collections::BTreeSet, fmt::Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{breaker::BreakerLimits, image::Registry, plan::Mode, usage::UsageService};

/// With what `mirror` runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MirrorSettings {
    /// When the running process of `mirror` started its first run.
    pub since: Timestamp,
    /// Whether permitted deletions are executed.
    pub mode: Mode,
    /// The policy.
    pub policy: PolicyInUse,
    /// The limits of the circuit breakers.
    pub limits: BreakerLimits,
    /// Configured registries, by name, which may replicate even if no event ever came from them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Registry>))]
    pub known: BTreeSet<Registry>,
    /// The services whose images are kept, in order: ECS, LAMBDA, INSPECTOR; none if the use of images is not read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<UsageService>))]
    pub usage: BTreeSet<UsageService>,
    /// For each service of ECS, the newest revisions of its task definition whose images are kept, too.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub revisions: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// The policy that `mirror` loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PolicyInUse {
    /// The file's name.
    pub name: String,
    /// The SHA-256 hash of the text, as `sha256sum FILE` prints it; absent if the policy is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The text; absent if the policy is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why the policy is invalid: no deletion is mirrored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl PolicyInUse {
    /// A valid policy, or why it is invalid. The name may be a path: its folder is left out.
    #[must_use]
    pub fn new(name: &str, text: Result<&str, String>) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name).to_owned();
        match text {
            Ok(text) => Self { name, sha256: Some(sha256(text)), text: Some(text.to_owned()), problem: None },
            Err(problem) => Self { name, sha256: None, text: None, problem: Some(problem) },
        }
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hash, byte| {
        _ = write!(hash, "{byte:02x}");
        hash
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        // FIPS 180-2, appendix B.1: the message `abc`.
        let policy = PolicyInUse::new("/opt/policies/p.cedar", Ok("abc"));
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((policy.name.as_str(), policy.sha256.as_deref()), ("p.cedar", Some(hash)));
    }
}
