//! Configuration from environment variables.

use std::{collections::BTreeSet, path::PathBuf};

use aws::{
    environment::{ConfigErrors, Environment},
    registry::Roles,
};
use domain::{
    alert::{SeverityRule, SeverityRules},
    breaker::{BreakerLimit, BreakerLimits},
    image::Registry,
    plan::Mode,
    usage::UsageService,
};
use jiff::SignedDuration;

/// Configuration of `mirror`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `MODE`: `observe` (the default) or `enforce`.
    pub mode: Mode,
    /// `POLICY_FILE`: the Cedar file with the deletion policy; without it every replica is kept.
    pub policy: Option<PathBuf>,
    /// `READ_ROLE`, `DELETE_ROLE`, `EXTERNAL_ID`: the names of the roles in every account, and the STS external ID that
    /// the roles' trust policies require.
    pub roles: Roles,
    /// `REGISTRIES`: registries, separated by commas, that may replicate although none of their events was received
    /// yet.
    pub known: BTreeSet<Registry>,
    /// `BREAKER_IMAGES`, `BREAKER_PERCENT`, `BREAKER_LIFECYCLE_IMAGES`, `BREAKER_LIFECYCLE_PERCENT`,
    /// `BREAKER_WINDOW_HOURS`.
    pub limits: BreakerLimits,
    /// `SEVERITY_RULES`: the severity of alerts by repository, as in `prod/*=critical`, separated by commas; the first rule
    /// that covers a repository decides.
    pub severity_rules: SeverityRules,
    /// `USAGE_SERVICES`: `ECS`, `LAMBDA` and `INSPECTOR`, separated by commas: what they run is kept. Without any, nothing
    /// is known of the use of images.
    pub usage: BTreeSet<UsageService>,
    /// `USAGE_REVISIONS`: for each service of ECS, the newest task definitions of its family whose images are kept, too.
    pub revisions: u32,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// Every missing or malformed variable, reported at once.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let (table, reader) = (environment.table(), environment.reader());
        let delete =
            environment.required("DELETE_ROLE", "the role that deletes replicas, by its name in every account");
        let mode = match environment.text("MODE").as_deref() {
            None | Some("observe") => Mode::Observe,
            Some("enforce") => Mode::Enforce,
            Some(other) => {
                environment.invalid("MODE", format!("is `{other}`: expected `observe` or `enforce`"));
                Mode::Observe
            }
        };
        let known = environment.list("REGISTRIES").into_iter().collect();
        let defaults = BreakerLimits::default();
        let (principals, lifecycle) = (defaults.principals, defaults.lifecycle);
        let limits = BreakerLimits {
            principals: BreakerLimit {
                images: environment.number("BREAKER_IMAGES", 0..=1_000_000, principals.images),
                percent: environment.number("BREAKER_PERCENT", 1..=100, principals.percent),
            },
            lifecycle: BreakerLimit {
                images: environment.number("BREAKER_LIFECYCLE_IMAGES", 0..=1_000_000, lifecycle.images),
                percent: environment.number("BREAKER_LIFECYCLE_PERCENT", 1..=100, lifecycle.percent),
            },
            window: SignedDuration::from_hours(environment.number("BREAKER_WINDOW_HOURS", 1..=720, 24).into()),
        };
        let roles = Roles { delete: Some(delete), ..reader };
        let policy = environment.text("POLICY_FILE").map(PathBuf::from);
        let severity_rules = environment.list::<SeverityRule>("SEVERITY_RULES").into_iter().collect();
        let usage = environment.list::<UsageService>("USAGE_SERVICES").into_iter().collect();
        let revisions = environment.number("USAGE_REVISIONS", 1..=100, 1);
        environment.finish(Self { table, mode, policy, roles, known, limits, severity_rules, usage, revisions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    const NEEDED: [(&str, &str); 3] = [("TABLE_NAME", "lineage"), ("READ_ROLE", "r"), ("DELETE_ROLE", "d")];

    #[test]
    fn observe_is_the_default_mode() {
        let config = read(&NEEDED).unwrap();
        assert_eq!((config.mode, config.policy, config.limits), (Mode::Observe, None, BreakerLimits::default()));
        let enforce = [&NEEDED[..], &[("MODE", "enforce"), ("REGISTRIES", "111122223333/eu-west-1, ")]].concat();
        let config = read(&enforce).unwrap();
        assert_eq!((config.mode, config.known.len()), (Mode::Enforce, 1));
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let wrong = [("MODE", "on"), ("REGISTRIES", "here"), ("BREAKER_PERCENT", "0"), ("READ_ROLE", "")];
        let mistakes = read(&wrong).unwrap_err().to_string();
        for part in [
            "`TABLE_NAME` is not set",
            "`READ_ROLE` is not set",
            "`DELETE_ROLE`",
            "`MODE` is `on`",
            "`here`",
            "1 to 100",
        ] {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
    }
}
