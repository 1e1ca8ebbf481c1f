//! Configuration from environment variables.

use aws::environment::{ConfigErrors, Environment};

/// Configuration of `record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table to record into.
    pub table: String,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// When `TABLE_NAME` is not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let table = environment.table();
        environment.finish(Self { table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_must_be_named() {
        let named = Config::read(|name| (name == "TABLE_NAME").then(|| "lineage".to_owned()));
        assert_eq!(named, Ok(Config { table: "lineage".into() }));
        for nothing in [None, Some(String::new())] {
            let error = Config::read(|_| nothing.clone()).unwrap_err();
            assert_eq!(error.to_string(), "environment variable `TABLE_NAME` is not set: the DynamoDB table");
        }
    }
}
