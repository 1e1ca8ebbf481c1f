//! Names for accounts, which people read and write instead of 12 digits.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
    str::FromStr,
};

use domain::image::Registry;

use crate::failure::CliError;

/// The names of some accounts.
#[derive(Debug, Default)]
pub struct Aliases {
    names: BTreeMap<String, String>,
}

/// Why a file of aliases cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}` line {line}: {reason}", file.display())]
pub struct AliasError {
    file: PathBuf,
    line: usize,
    reason: String,
}

/// The file that is read unless another is named.
#[must_use]
pub fn default_file() -> PathBuf {
    let folders = directories::ProjectDirs::from("", "", "ecr-lineage");
    folders.map_or_else(|| PathBuf::from("aliases.toml"), |folders| folders.config_dir().join("aliases.toml"))
}

impl Aliases {
    /// The aliases for a command line: they are read before it is parsed, because its registries may begin with one.
    ///
    /// # Errors
    /// When the file that is named cannot be read, or a line of it is wrong.
    pub fn of_arguments(arguments: &[OsString]) -> Result<Self, CliError> {
        let mut texts = arguments.iter().filter_map(|argument| argument.to_str());
        let mut named = std::env::var_os("ECR_LINEAGE_ALIASES").map(PathBuf::from);
        while let Some(text) = texts.next() {
            match text.strip_prefix("--aliases") {
                Some("") => named = texts.next().map(PathBuf::from),
                Some(rest) => named = rest.strip_prefix('=').map(PathBuf::from).or(named),
                None if text == "--" => break,
                None => {}
            }
        }
        let file = named.clone().unwrap_or_else(default_file);
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(Self::parse(&file, &text)?),
            // The default file is optional.
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(source) => Err(CliError::Unreadable { path: file, source }),
        }
    }

    /// Reads lines such as `111122223333 = "prod"`, a subset of TOML.
    fn parse(file: &Path, text: &str) -> Result<Self, AliasError> {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |reason: String| AliasError { file: file.to_owned(), line: number + 1, reason };
            let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if line.is_empty() {
                continue;
            }
            let parts = line.split_once('=').map(|(account, name)| (unquoted(account), unquoted(name)));
            let Some((account, name)) = parts else {
                return Err(wrong(format!("`{line}` is not a name for an account: write `111122223333 = \"prod\"`")));
            };
            if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong(format!("`{account}` is not an account ID, which has 12 digits")));
            }
            let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !is_name {
                let form = "a lower-case letter, then lower-case letters, digits and hyphens";
                return Err(wrong(format!("`{name}` is not a name: {form}")));
            }
            if let Some((other, _)) = names.iter().find(|(other, known)| **known == name || **other == account) {
                return Err(wrong(format!("`{account}` and `{other}`: each account has one name, and each name one")));
            }
            names.insert(account, name);
        }
        Ok(Self { names })
    }

    /// What begins with a registry, such as `prod/eu-west-1`, with the account's ID instead of its name.
    ///
    /// # Errors
    /// When the text is no such value.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, text: &str) -> Result<T, String> {
        let resolved = text.split_once('/').and_then(|(name, rest)| Some(format!("{}/{rest}", self.account(name)?)));
        resolved.as_deref().unwrap_or(text).parse().map_err(|error: T::Err| error.to_string())
    }

    fn account(&self, name: &str) -> Option<&str> {
        self.names.iter().find(|(_, known)| *known == name).map(|(account, _)| account.as_str())
    }

    /// A text with the names of accounts instead of their IDs, wherever a registry stands.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for (account, name) in &self.names {
            let id = format!("{account}/");
            let mut rest = shown.as_str();
            let mut replaced = String::new();
            while let Some((before, after)) = rest.split_once(&id) {
                // A repository may have 12 digits in its name; a registry stands alone and is followed by a region.
                let plain = anstream::adapter::strip_str(before).to_string();
                let alone = !plain.ends_with(|last: char| last.is_ascii_alphanumeric() || "/-_.".contains(last));
                let region = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(after.len());
                let is_region = after.get(..region).is_some_and(|region| Registry::new(account, region).is_ok());
                let replacement = if alone && is_region { format!("{name}/") } else { id.clone() };
                replaced = replaced + before + &replacement;
                rest = after;
            }
            shown = replaced + rest;
        }
        shown
    }
}

/// A key or a value of TOML, without its quotes.
fn unquoted(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(text: &str) -> Result<Aliases, String> {
        Aliases::parse(Path::new("aliases.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_registry_is_shown_and_taken_by_the_name_of_its_account() {
        let aliases = aliases("# ours\n111122223333 = \"prod\"\n\"444455556666\" = 'asia' # Tokyo\n").unwrap();
        let registry = |text| aliases.parsed::<Registry>(text);
        assert_eq!(registry("prod/eu-west-1"), registry("111122223333/eu-west-1"));
        assert_eq!(registry("prod/eu-west-1").unwrap().as_str(), "111122223333/eu-west-1");
        assert!(registry("test/eu-west-1").is_err() && registry("prod/nowhere/at").is_err());
        for (text, shown) in [
            ("111122223333/eu-west-1 to 444455556666/ap-northeast-1", "prod/eu-west-1 to asia/ap-northeast-1"),
            ("\u{1b}[1m111122223333/eu-west-1\u{1b}[0m,", "\u{1b}[1mprod/eu-west-1\u{1b}[0m,"),
            ("arn:aws:iam::111122223333:role/dana", "arn:aws:iam::111122223333:role/dana"),
            ("mine/111122223333/eu-west-1", "mine/111122223333/eu-west-1"),
            ("111122223333/Not a region", "111122223333/Not a region"),
        ] {
            assert_eq!(aliases.shown(text), shown);
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, reason) in [
            ("prod", "line 1: `prod` is not a name for an account"),
            ("\nprod = \"111122223333\"", "line 2: `prod` is not an account ID"),
            ("111122223333 = \"Prod/1\"", "`Prod/1` is not a name"),
            ("111122223333 = \"a\"\n444455556666 = \"a\"", "line 2: `444455556666` and `111122223333`"),
        ] {
            let error = aliases(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
