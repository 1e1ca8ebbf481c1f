//! Configuration from environment variables.

use aws::environment::{ConfigErrors, Environment};

/// Configuration of `alert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `BUS_NAME`: the event bus on which alerts are published; `default` is the bus that every AWS account has.
    pub bus: String,
}

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// When `BUS_NAME` is not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment::new(variable);
        let bus = environment.required("BUS_NAME", "the event bus, such as `default`");
        environment.finish(Self { bus })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_must_be_named() {
        let named = Config::read(|name| (name == "BUS_NAME").then(|| "default".to_owned()));
        assert_eq!(named, Ok(Config { bus: "default".into() }));
        for nothing in [None, Some(String::new())] {
            let error = Config::read(|_| nothing.clone()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "environment variable `BUS_NAME` is not set: the event bus, such as `default`"
            );
        }
    }
}
