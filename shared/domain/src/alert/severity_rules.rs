//! Which severity problems have, by repository: rules of the operator.

use std::{collections::BTreeSet, str::FromStr};

use super::{AlertKind, Severity};
use crate::{controls::wildcard, image::RepositoryName};

/// Rules such as `prod/*=critical,sandbox/*=info`. The first one whose pattern covers a repository decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeverityRules(Vec<SeverityRule>);

/// The severity of problems in some repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeverityRule {
    pattern: String,
    severity: Severity,
}

/// A text that is no rule.
#[derive(Debug, thiserror::Error)]
pub enum SeverityRuleError {
    /// Another form.
    #[error("`{0}` is not a pattern and a severity, as in `prod/*=critical`")]
    Form(String),
    /// A pattern that covers no repository.
    #[error("`{0}` is not a pattern of repositories, as in `prod/*`")]
    Pattern(String),
    /// A severity that does not exist.
    #[error("`{severity}` of `{pattern}` is not a severity: info, warning or critical")]
    Severity {
        /// The pattern of the rule.
        pattern: String,
        /// The severity as it was written.
        severity: String,
    },
}

impl FromStr for SeverityRule {
    type Err = SeverityRuleError;

    fn from_str(text: &str) -> Result<Self, SeverityRuleError> {
        let (pattern, severity) = text.split_once('=').ok_or_else(|| SeverityRuleError::Form(text.to_owned()))?;
        let of_repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "*._-/".contains(c);
        if pattern.is_empty() || !pattern.chars().all(of_repository) {
            return Err(SeverityRuleError::Pattern(pattern.to_owned()));
        }
        let known = Severity::ALL.into_iter().find(|known| known.as_str() == severity);
        let unknown = || SeverityRuleError::Severity { pattern: pattern.to_owned(), severity: severity.to_owned() };
        Ok(Self { pattern: pattern.to_owned(), severity: known.ok_or_else(unknown)? })
    }
}

impl FromIterator<SeverityRule> for SeverityRules {
    fn from_iter<T: IntoIterator<Item = SeverityRule>>(rules: T) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl SeverityRules {
    /// The severity of a problem with images of some repositories: the highest of them. Kinds whose
    /// own severity is `info` keep it everywhere.
    #[must_use]
    pub fn severity<'a>(
        &self,
        kind: AlertKind,
        repositories: impl IntoIterator<Item = &'a RepositoryName>,
    ) -> Severity {
        if kind.severity() == Severity::Info {
            return Severity::Info;
        }
        let of = |repository: &RepositoryName| {
            let rule = self.0.iter().find(|rule| wildcard(&rule.pattern, repository.as_str()));
            rule.map_or(kind.severity(), |rule| rule.severity)
        };
        let repositories: BTreeSet<_> = repositories.into_iter().collect();
        repositories.into_iter().map(of).max().unwrap_or(kind.severity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> SeverityRules {
        text.split(',').map(|rule| rule.parse::<SeverityRule>().unwrap()).collect()
    }

    fn severity(rules: &SeverityRules, kind: AlertKind, repositories: &[&str]) -> Severity {
        let repositories: Vec<RepositoryName> = repositories.iter().map(|name| name.parse().unwrap()).collect();
        rules.severity(kind, &repositories)
    }

    #[test]
    fn the_first_rule_decides_and_the_highest_severity_of_all_repositories() {
        let rules = rules("prod/legacy-*=info,prod/*=critical,sandbox/*=info");
        let late = |repositories: &[&str]| severity(&rules, AlertKind::ReplicationLate, repositories);
        assert_eq!(late(&["prod/api"]), Severity::Critical);
        assert_eq!(late(&["prod/legacy-api"]), Severity::Info);
        assert_eq!(late(&["team/app"]), Severity::Warning, "that of the kind");
        assert_eq!(late(&["sandbox/a", "team/app"]), Severity::Warning);
        assert_eq!(late(&["sandbox/a", "prod/api"]), Severity::Critical);
        assert_eq!(late(&[]), Severity::Warning);
        assert_eq!(severity(&rules, AlertKind::DeletionDone, &["prod/api"]), Severity::Info);
    }

    #[test]
    fn a_rule_that_is_wrong_is_named() {
        for (text, error) in [
            ("prod/*", "`prod/*` is not a pattern and a severity, as in `prod/*=critical`"),
            ("Prod/*=critical", "`Prod/*` is not a pattern of repositories, as in `prod/*`"),
            ("=critical", "`` is not a pattern of repositories, as in `prod/*`"),
            ("prod/*=urgent", "`urgent` of `prod/*` is not a severity: info, warning or critical"),
            ("prod/*=Critical", "`Critical` of `prod/*` is not a severity: info, warning or critical"),
            ("prod/* = critical", "`prod/* ` is not a pattern of repositories, as in `prod/*`"),
        ] {
            assert_eq!(text.parse::<SeverityRule>().unwrap_err().to_string(), error);
        }
    }
}
