//! Configuration from environment variables.

use aws::{
    environment::{ConfigErrors, Environment},
    registry::Roles,
};

/// Configuration of `query`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `READ_ROLE`, `EXTERNAL_ID`: the name of the role that reads in every account, and the STS external ID that the
    /// role's trust policy requires.
    pub roles: Roles,
    /// `CHANGES`: `refuse` (the default), or `allow` for every caller that IAM authenticated.
    pub may_change: bool,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// Every missing or malformed variable, reported at once.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let (table, roles) = (environment.table(), environment.reader());
        let may_change = match environment.text("CHANGES").as_deref() {
            None | Some("refuse") => false,
            Some("allow") => true,
            Some(other) => {
                environment.invalid("CHANGES", format!("is `{other}`: expected `refuse` or `allow`"));
                false
            }
        };
        environment.finish(Self { table, roles, may_change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_refused_by_default() {
        let read = |changes: Option<&str>| {
            Config::read(|name| match name {
                "CHANGES" => changes.map(str::to_owned),
                "TABLE_NAME" | "READ_ROLE" => Some(name.to_lowercase()),
                _ => None,
            })
        };
        assert!(!read(None).unwrap().may_change);
        assert!(!read(Some("refuse")).unwrap().may_change);
        assert!(read(Some("allow")).unwrap().may_change);
        let error = read(Some("yes")).unwrap_err();
        assert_eq!(error.to_string(), "environment variable `CHANGES` is `yes`: expected `refuse` or `allow`");
    }
}
