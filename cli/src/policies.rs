//! Policies: checked.

use std::path::PathBuf;

use policy::{InvalidPolicyError, PolicyProblem};
use serde::Serialize;

/// Policies, and what is wrong with them.
#[derive(Debug, Serialize)]
pub struct CheckedPolicies {
    /// By file, in the order of the call.
    pub files: Vec<CheckedFile>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct CheckedFile {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, in the order of the text; nothing if it can be used.
    pub problems: Vec<PolicyProblem>,
}

impl CheckedPolicies {
    /// Whether all can be used.
    #[must_use]
    pub fn all_usable(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }
}

/// Answers `policy check`.
#[must_use]
pub fn check(files: &[PathBuf]) -> CheckedPolicies {
    let files = files.iter().map(|file| {
        let problems = decide::load_policy(Some(file)).err().map(|InvalidPolicyError { problems, .. }| problems);
        CheckedFile { file: file.clone(), problems: problems.unwrap_or_default() }
    });
    CheckedPolicies { files: files.collect() }
}
