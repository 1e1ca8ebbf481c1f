//! What a function is told by its environment: read through a function that knows it, all mistakes told at once.

use std::{error::Error, fmt, ops::RangeInclusive, str::FromStr};

use retry::chain;

use crate::registry::Roles;

/// The environment, and what is wrong with it so far.
pub struct Environment<F> {
    variable: F,
    errors: Vec<String>,
}

/// Everything that is wrong with the environment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// An environment that knows its variables by this function.
    pub fn new(variable: F) -> Self {
        Self { variable, errors: Vec::new() }
    }

    /// A variable, unless it is missing or empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|text| !text.is_empty())
    }

    /// A variable that must be there, and what it means.
    pub fn required(&mut self, name: &str, meaning: &str) -> String {
        let text = self.text(name);
        text.unwrap_or_else(|| {
            self.errors.push(format!("environment variable `{name}` is not set: {meaning}"));
            String::new()
        })
    }

    /// `TABLE_NAME`.
    pub fn table(&mut self) -> String {
        self.required("TABLE_NAME", "the DynamoDB table")
    }

    /// `READ_ROLE` and `EXTERNAL_ID`: the name of the role that reads in every account, and what it wants to be told.
    pub fn reader(&mut self) -> Roles {
        let read = self.required("READ_ROLE", "the role that reads registries, by its name in every account");
        Roles { read: Some(read), delete: None, external_id: self.text("EXTERNAL_ID") }
    }

    /// A number within a range, or what it is if nobody says.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let Some(text) = self.text(name) else { return default };
        text.parse().ok().filter(|number| range.contains(number)).unwrap_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.invalid(name, format!("is `{text}`: expected a number from {least} to {most}"));
            default
        })
    }

    /// Names, separated by commas.
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

    /// Something else that is wrong with a variable.
    pub fn invalid(&mut self, name: &str, what: String) {
        self.errors.push(format!("environment variable `{name}` {what}"));
    }

    /// What was read, if nothing is wrong.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish<T>(self, config: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(self.errors)) }
    }
}
