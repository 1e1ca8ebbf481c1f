//! Configuration from environment variables. A getter is passed in, and all errors are reported at once.

use std::{error::Error, fmt, ops::RangeInclusive, str::FromStr};

use retry::chain;

use crate::registry::Roles;

/// Reads environment variables and collects the errors.
pub struct Environment<F> {
    /// What the variables are, in errors.
    kind: &'static str,
    variable: F,
    errors: Vec<String>,
}

/// All errors in the environment variables.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// An environment whose variables this function returns.
    pub fn new(variable: F) -> Self {
        Self::of("environment variable", variable)
    }

    /// Other variables that work like an environment; errors call each of them `kind`.
    pub fn of(kind: &'static str, variable: F) -> Self {
        Self { kind, variable, errors: Vec::new() }
    }

    /// A variable, unless it is missing or empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|text| !text.is_empty())
    }

    /// A variable that must be set; `meaning` explains it in the error.
    pub fn required(&mut self, name: &str, meaning: &str) -> String {
        let text = self.text(name);
        text.unwrap_or_else(|| {
            self.errors.push(format!("{} `{name}` is not set: {meaning}", self.kind));
            String::new()
        })
    }

    /// `TABLE_NAME`.
    pub fn table(&mut self) -> String {
        self.required("TABLE_NAME", "the DynamoDB table")
    }

    /// `READ_ROLE` and `EXTERNAL_ID`: the name of the role that reads registries, the same in every account, and the
    /// STS external ID that its trust policies require.
    pub fn reader(&mut self) -> Roles {
        let read = self.required("READ_ROLE", "the role that reads registries, by its name in every account");
        Roles { read: Some(read), delete: None, external_id: self.text("EXTERNAL_ID") }
    }

    /// A number within a range, or the default if the variable is not set.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let Some(text) = self.text(name) else { return default };
        text.parse().ok().filter(|number| range.contains(number)).unwrap_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.invalid(name, format!("is `{text}`: expected a number from {least} to {most}"));
            default
        })
    }

    /// A list of values, separated by commas.
    pub fn list<T: FromStr<Err: Error>>(&mut self, name: &str) -> Vec<T> {
        let text = self.text(name).unwrap_or_default();
        let mut list = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(value) => list.push(value),
                Err(error) => self.invalid(name, format!("has a wrong part: {}", chain(&error))),
            }
        }
        list
    }

    /// Adds an error about a variable.
    pub fn invalid(&mut self, name: &str, what: String) {
        self.errors.push(format!("{} `{name}` {what}", self.kind));
    }

    /// The configuration, if there are no errors.
    ///
    /// # Errors
    /// All errors.
    pub fn finish<T>(self, config: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(self.errors)) }
    }
}
