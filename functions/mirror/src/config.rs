//! What the function is told by its environment.

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use aws::registry::Roles;
use domain::{
    breaker::{Limit, Limits},
    image::Registry,
};
use jiff::SignedDuration;

use crate::Mode;

/// Configuration of `mirror`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `MODE`: `observe` (the default) or `enforce`.
    pub mode: Mode,
    /// `POLICY_FILE`: the Cedar file that says what may go; without it everything is kept.
    pub policy: Option<PathBuf>,
    /// `READ_ROLE`, `DELETE_ROLE`, `EXTERNAL_ID`: the names of the roles in every account, and what they want to be told.
    pub roles: Roles,
    /// `REGISTRIES`: registries, separated by commas, that may replicate although no event ever came from them.
    pub known: BTreeSet<Registry>,
    /// `BREAKER_IMAGES`, `BREAKER_PERCENT`, `BREAKER_LIFECYCLE_IMAGES`, `BREAKER_LIFECYCLE_PERCENT`,
    /// `BREAKER_WINDOW_HOURS`.
    pub limits: Limits,
}

/// Everything that is wrong with the environment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Config {
    /// Reads the configuration through a function that knows the environment.
    ///
    /// # Errors
    /// Everything that is missing or malformed, at once.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        let mut required = |name: &str, meaning: &str| {
            text(name).unwrap_or_else(|| {
                mistakes.push(format!("environment variable `{name}` is not set: {meaning}"));
                String::new()
            })
        };
        let table = required("TABLE_NAME", "the DynamoDB table");
        let read = required("READ_ROLE", "the role that reads registries, by its name in every account");
        let delete = required("DELETE_ROLE", "the role that deletes replicas, by its name in every account");
        let mode = match text("MODE").as_deref() {
            None | Some("observe") => Mode::Observe,
            Some("enforce") => Mode::Enforce,
            Some(other) => {
                mistakes.push(format!("environment variable `MODE` is `{other}`: expected `observe` or `enforce`"));
                Mode::Observe
            }
        };
        let mut known = BTreeSet::new();
        for name in text("REGISTRIES").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.parse() {
                Ok(registry) => _ = known.insert(registry),
                Err(error) => mistakes.push(format!("environment variable `REGISTRIES`: {error}")),
            }
        }
        let defaults = Limits::default();
        let mut number = |name: &str, range: std::ops::RangeInclusive<u32>, default: u32| {
            let Some(text) = text(name) else { return default };
            u32::from_str(&text).ok().filter(|number| range.contains(number)).unwrap_or_else(|| {
                let (least, most) = (range.start(), range.end());
                mistakes.push(format!(
                    "environment variable `{name}` is `{text}`: expected a number from {least} to {most}"
                ));
                default
            })
        };
        let limits = Limits {
            people: Limit {
                images: number("BREAKER_IMAGES", 0..=1_000_000, defaults.people.images),
                percent: number("BREAKER_PERCENT", 1..=100, defaults.people.percent),
            },
            lifecycle: Limit {
                images: number("BREAKER_LIFECYCLE_IMAGES", 0..=1_000_000, defaults.lifecycle.images),
                percent: number("BREAKER_LIFECYCLE_PERCENT", 1..=100, defaults.lifecycle.percent),
            },
            window: SignedDuration::from_hours(number("BREAKER_WINDOW_HOURS", 1..=720, 24).into()),
        };
        let roles = Roles { read: Some(read), delete: Some(delete), external_id: text("EXTERNAL_ID") };
        let policy = text("POLICY_FILE").map(PathBuf::from);
        if mistakes.is_empty() {
            Ok(Self { table, mode, policy, roles, known, limits })
        } else {
            Err(Mistakes(mistakes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
        Config::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    const NEEDED: [(&str, &str); 3] = [("TABLE_NAME", "lineage"), ("READ_ROLE", "r"), ("DELETE_ROLE", "d")];

    #[test]
    fn nothing_is_touched_unless_somebody_says_so() {
        let config = read(&NEEDED).unwrap();
        assert_eq!((config.mode, config.policy, config.limits), (Mode::Observe, None, Limits::default()));
        let enforce = [&NEEDED[..], &[("MODE", "enforce"), ("REGISTRIES", "111122223333/eu-west-1, ")]].concat();
        let config = read(&enforce).unwrap();
        assert_eq!((config.mode, config.known.len()), (Mode::Enforce, 1));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
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
