//! Configuration from environment variables.

use std::collections::BTreeSet;

use aws::{
    environment::{ConfigErrors, Environment},
    registry::Roles,
};
use domain::{
    alert::{SeverityRule, SeverityRules},
    image::Registry,
};

/// Configuration of `watch`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `READ_ROLE`, `EXTERNAL_ID`: the name of the role that reads in every account, and the STS external ID that the
    /// role's trust policy requires.
    pub roles: Roles,
    /// `DEAD_LETTERS_URL`: the dead-letter queue of `record`; without it the queue is not checked.
    pub dead_letters: Option<String>,
    /// `REGISTRIES`: registries that must have a stack before their first event arrives.
    pub registries: BTreeSet<Registry>,
    /// `ACCOUNT_IDS`: the accounts from which a stack is expected. With `ORGANIZATION_ID`, or without both, each registry
    /// that replication names is expected to have one.
    pub admitted: Option<BTreeSet<String>>,
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
        let dead_letters = environment.text("DEAD_LETTERS_URL");
        let registries = environment.list("REGISTRIES").into_iter().collect();
        let accounts: BTreeSet<_> = environment.list("ACCOUNT_IDS").into_iter().collect();
        let organization = environment.text("ORGANIZATION_ID").is_some();
        let admitted = (!organization && !accounts.is_empty()).then_some(accounts);
        let severity_rules = environment.list::<SeverityRule>("SEVERITY_RULES").into_iter().collect();
        environment.finish(Self { table, roles, dead_letters, registries, admitted, severity_rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_are_known_unless_an_organization_may_send() {
        let admitted = |organization: &str| {
            let variable = |name: &str| match name {
                "ACCOUNT_IDS" => Some("111122223333,444455556666".to_owned()),
                "ORGANIZATION_ID" => Some(organization.to_owned()),
                "TABLE_NAME" | "READ_ROLE" => Some(name.to_owned()),
                _ => None,
            };
            Config::read(variable).unwrap().admitted
        };
        assert_eq!(admitted(""), Some(["111122223333", "444455556666"].map(str::to_owned).into()));
        assert_eq!(admitted("o-a1b2c3d4e5"), None);
    }

    #[test]
    fn a_severity_rule_that_is_wrong_is_named() {
        let variable = |name: &str| match name {
            "SEVERITY_RULES" => Some("prod/*=critical, sandbox/*=low".to_owned()),
            "TABLE_NAME" | "READ_ROLE" => Some(name.to_owned()),
            _ => None,
        };
        let error = Config::read(variable).unwrap_err().to_string();
        let wrong = "has a wrong part: `low` of `sandbox/*` is not a severity: info, warning or critical";
        assert_eq!(error, format!("environment variable `SEVERITY_RULES` {wrong}"));
    }

    #[test]
    fn the_table_and_the_role_must_be_named() {
        let all = |name: &str| ["TABLE_NAME", "READ_ROLE"].contains(&name).then(|| name.to_lowercase());
        let config = Config::read(all).unwrap();
        assert_eq!((config.table.as_str(), config.roles.read.as_deref()), ("table_name", Some("read_role")));
        for (missing, meaning) in [
            ("TABLE_NAME", "the DynamoDB table"),
            ("READ_ROLE", "the role that reads registries, by its name in every account"),
        ] {
            let error = Config::read(|name| all(name).filter(|_| name != missing)).unwrap_err();
            assert_eq!(error.to_string(), format!("environment variable `{missing}` is not set: {meaning}"));
        }
    }
}
