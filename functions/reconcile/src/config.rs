//! Configuration from environment variables.

use std::collections::{BTreeMap, BTreeSet};

use aws::{
    environment::{ConfigErrors, Environment},
    registry::Roles,
};
use domain::{
    alert::{SeverityRule, SeverityRules},
    image::Registry,
};
use jiff::SignedDuration;

/// Configuration of `reconcile`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `READ_ROLE`, `EXTERNAL_ID`: the name of the role that reads in every account, and the STS external ID that the
    /// role's trust policy requires.
    pub roles: Roles,
    /// `REGISTRIES`: registries, separated by commas, to list although none of their events was received yet.
    pub known: BTreeSet<Registry>,
    /// `RECONCILE_EVERY_HOURS`: the interval between two runs through a registry; default 24 hours.
    pub every: SignedDuration,
    /// `RECONCILE_CALLS_PER_SECOND`: calls per second to each registry; default 10.
    pub per_second: u32,
    /// `RECONCILE_LIMITS`: calls per second for some registries, as in `111122223333/eu-west-1=2`, separated by commas.
    pub exceptions: BTreeMap<Registry, u32>,
    /// `SEVERITY_RULES`: the severity of alerts by repository, as in `prod/*=critical`, separated by commas; the first rule
    /// that covers a repository decides.
    pub severity_rules: SeverityRules,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// Every missing or malformed variable, reported at once.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let (table, roles) = (environment.table(), environment.reader());
        let known = environment.list("REGISTRIES").into_iter().collect();
        let hours = environment.number("RECONCILE_EVERY_HOURS", 1..=720, 24);
        let per_second = environment.number("RECONCILE_CALLS_PER_SECOND", 1..=1_000, 10);
        let limits: Vec<RegistryRateLimit> = environment.list("RECONCILE_LIMITS");
        let exceptions = limits.into_iter().map(|limit| (limit.registry, limit.per_second)).collect();
        let every = SignedDuration::from_hours(hours.into());
        let severity_rules = environment.list::<SeverityRule>("SEVERITY_RULES").into_iter().collect();
        environment.finish(Self { table, roles, known, every, per_second, exceptions, severity_rules })
    }
}

/// Calls per second to one registry.
struct RegistryRateLimit {
    registry: Registry,
    per_second: u32,
}

/// The error of a text that is not a rate limit.
#[derive(Debug, thiserror::Error)]
enum RateLimitError {
    #[error("`{0}` is not a registry and a number from 1 to 1000, as in `111122223333/eu-west-1=2`")]
    Form(String),
    #[error(transparent)]
    Registry(#[from] domain::image::MalformedError),
}

impl std::str::FromStr for RegistryRateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let malformed = || RateLimitError::Form(text.to_owned());
        let (registry, number) = text.split_once('=').ok_or_else(malformed)?;
        let per_second = number.parse().ok().filter(|number| (1..=1_000).contains(number)).ok_or_else(malformed)?;
        Ok(Self { registry: registry.parse()?, per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let needed = [("TABLE_NAME", "lineage"), ("READ_ROLE", "reader")];
        let find = |name: &str| variables.iter().chain(&needed).find(|(key, _)| *key == name).map(|(_, value)| *value);
        Config::read(|name| find(name).map(str::to_owned))
    }

    #[test]
    fn registries_are_listed_daily_by_default() {
        let config = read(&[]).unwrap();
        assert_eq!((config.every, config.per_second), (SignedDuration::from_hours(24), 10));
        assert!(config.known.is_empty() && config.exceptions.is_empty());
        let limits = ("RECONCILE_LIMITS", "111122223333/eu-west-1=2, 444455556666/us-east-1=50");
        let config = read(&[limits, ("REGISTRIES", "111122223333/eu-west-1")]).unwrap();
        assert_eq!(config.exceptions.values().copied().collect::<Vec<_>>(), [2, 50]);
        assert_eq!(config.known.len(), 1);
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let wrong = [("TABLE_NAME", ""), ("RECONCILE_EVERY_HOURS", "0"), ("RECONCILE_LIMITS", "here=2, 1=0, 7")];
        let mistakes = read(&wrong).unwrap_err().to_string();
        for part in ["`TABLE_NAME` is not set", "1 to 720", "`here`", "`1=0`", "`7`"] {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
    }
}
